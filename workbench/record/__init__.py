"""The trust core: records that nobody can quietly change.

What is trusted, and by what rule
    A **record** is a folder with a statement (in-toto, SLSA provenance) over every file in it,
    bytes and exec bit, signed by the engine's key (``statement``, ``digest``, ``signing``).
    Its name is the SHA-256 of the statement; records name their inputs by it, so all
    records form one graph (``lineage``).
    The **ledger** gives the order: an append-only Merkle tree with signed checkpoints, where runs
    start, fail, are abandoned or become records (``merkle``, ``ledger``).
    **People** sign with the SSH key that they already use, in a namespace per meaning; the
    keyring says whose key it is and until when, and lives in the ledger (``person``, ``keyring``).
    The **store** publishes all of a record or nothing, and clears up after the dead (``store``).
    **Rows** of people are encrypted by snapshot; destroying a key deletes them, and the record
    still verifies (``cipher``). **Packs** carry records with proofs (``pack``).

What verification shows
    ``verify_record`` needs public keys only. ``verify_store`` adds that nothing is missing.
    ``tools/verify_record.py`` shows the same without this package.

What it can't show
    One machine holds both engine and key: whoever controls it can sign what never ran. Replay, a
    validation run on another host, and keys in separate custody are against that, not this.
    A whole store put back to an earlier state is seen by the host that signs (it remembers its
    last checkpoint) and by whoever kept a pack or a checkpoint; by nobody else.
    Destroying a key deletes what this host can read; backups of keys are their owner's.

Importing this package is light; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "EngineKey": "signing",
    "Graph": "lineage",
    "Keyring": "keyring",
    "Ledger": "ledger",
    "Person": "keyring",
    "Problem": "problem",
    "Record": "sealed",
    "Report": "verify",
    "Run": "store",
    "Statement": "statement",
    "Store": "store",
    "import_pack": "pack",
    "verify_record": "verify",
    "verify_store": "verify",
}
__all__ = list(_PUBLIC)  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)

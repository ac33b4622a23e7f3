"""What a run owes the ledger besides its record: looks at locked sets, digests it is held to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..record.store import Record, Store
from .inputs import OUTPUTS, SEALED_SUFFIX, Input
from .stages import Stage

MANIFEST = "bundle/manifest.json"


def look(store: Store, inputs: dict[str, Input], **facts: Any) -> int:
    """Enter a look at each locked set, before anything can see it; returns how many looks at the
    most looked-at one this makes. `facts` say who looked, and in which run."""
    looks, adapter = 1, inputs.get("adapter")
    for item in (item for item in inputs.values() if item.locked):
        earlier = [e for e in store.ledger.entries("look") if e.body.get("lock") == item.identity]
        number = len(earlier) + 1
        candidate = adapter.identity if adapter else None
        store.ledger.append(
            "look", {"lock": item.identity, "candidate": candidate, "look": number, **facts}
        )
        looks = max(looks, number)
    return looks


def commit(store: Store, stage: Stage, record: Record) -> None:
    """Enter the digests of outputs that later stages are held to, once for each record.

    Asked again for a record that is reused: a process that died after sealing left it undone.
    """
    wanted = list(_committed(stage, record))
    if wanted and record.outcome == "succeeded":
        entered = {(e.kind, e.body.get("record")) for e in store.ledger.entries()}
        about = {"record": record.digest, "run": record.statement.run_id}
        for kind, body in wanted:
            if (kind, record.digest) not in entered:
                store.ledger.append(kind, body | about)


def _committed(stage: Stage, record: Record) -> Iterator[tuple[str, dict[str, str]]]:
    """Kind and digest as sealed; of encrypted rows the ciphertext's, and a keyed one."""
    held = {subject.name: subject.digest["sha256"] for subject in record.statement.subject}
    names = dict(stage.facts.get("commits", {}))
    if stage.facts.get("decides"):
        names["candidate"] = MANIFEST
    for kind, name in names.items():
        for path in (OUTPUTS + name, OUTPUTS + name + SEALED_SUFFIX):
            if path in held:
                keyed = record.encrypted(path)
                hidden = {"plaintext": keyed["plaintext"]} if keyed else {}
                yield kind, {"sha256": held[path], "file": name} | hidden

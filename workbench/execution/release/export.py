"""A release in one folder, for a stranger who has public keys and nothing else of ours.

The folder is a pack (the candidate's record and the release's, and every ledger entry that the
release stands on, each proven) with more beside it: the bundle, ``release.json``, public keys, the
stand-alone verifier, and the bundle's signature in the format of OpenSSF model-signing. What
stands beside is listed by digest in ``pack.json``, which the engine signs. No rows and no private
keys: neither of the two records may hold rows, and of their ancestors only the seals go along.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import InputError, IntegrityError
from ...record import durable
from ...record.digest import canonical, digest, tree
from ...record.ledger import Entry
from ...record.pack import Carried, pack, unpack
from ...record.store import Store, disk
from .. import bundle
from . import openssf, register

README = """Release of {usecase}, bundle {bundle}

Verify it, offline, with Python 3.11 or later, its package `cryptography`, and OpenSSH 8.2 or later:

    python verify_record.py . --key ENGINE.pem

Take verify_record.py and ENGINE.pem (the public key of the store that made this release) from
somewhere you trust: the copies here show that the folder is whole, not who made it. Without --key
the verifier uses keys/engine.pem and says so. --at TIME asks what held at another time.

Other tools check the files of the bundle alone, with OpenSSF model-signing:

    model_signing verify key bundle --signature model.sig --public_key keys/model-signing.pem

release.json   what is released: bundle, candidate, record, approvals by ledger entry
bundle/        the adapter, how to run it, cards and evidence; manifest.json names every file
pack.json      ledger entries with their proofs, and every file of this folder by digest
records/       the sealed record of the candidate and of the release
"""


def export(store: Store, usecase: str, to: Path, ref: str | None = None) -> register.Release:
    """Write the release of a candidate, by default the last, to a new or empty folder.

    InputError when there is no such release or the folder holds something, IntegrityError when
    something does not verify; then nothing is left behind.
    """
    to = Path(to).absolute()
    if to.is_symlink() or (to.exists() and not (to.is_dir() and not any(to.iterdir()))):
        raise InputError("Can't export there.", given=to, expected="a new or an empty folder")
    release = _find(store, usecase, ref)
    candidate = bundle.find(store, release.bundle, usecase)
    refs = (candidate.record.digest, release.record)
    for record in map(store.record, refs):
        for path in record.statement.predicate.workbench_encrypted:
            raise IntegrityError("Not exported: a record holds rows.", where=record.ref, given=path)
    work = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    with disk("export", to):
        try:
            work.mkdir(parents=True)
            facts = _beside(store, release, candidate, work / "beside")
            also = _standing(
                store, release, {one.digest for one in bundle.lineage(store, candidate)}
            )
            pack(store, refs, work / "pack.tar", False, lambda _: Carried(facts), also)
            unpack(work / "pack.tar", work / "whole")
            for path in (work / "beside").iterdir():
                path.chmod(path.stat().st_mode | 0o200 * path.is_dir())  # POSIX: else it can't move
                path.rename(work / "whole" / path.name)
            durable.sync_tree(work / "whole")
            (work / "whole").rename(to)
        finally:
            if work.exists():
                durable.remove_tree(work)
    return release


def verifier() -> Path:
    """The stand-alone verifier: inside an installed wheel, or beside the package in a checkout."""
    package, name = Path(__file__).resolve().parents[2], "tools/verify_record.py"
    shipped = package / name
    return shipped if shipped.is_file() else package.parent / name


def _find(store: Store, usecase: str, ref: str | None) -> register.Release:
    found = register.releases(store, usecase)
    if ref is not None:
        wanted = bundle.find(store, ref, usecase).digest
        found = [release for release in found if release.bundle == wanted]
    if not found:
        raise InputError("There is no such release.", where=store.path, given=ref or "the last",
                         expected="a registered release",
                         next_step="workbench release status says what it waits for")  # fmt: skip
    return found[-1]


def _beside(
    store: Store, release: register.Release, candidate: bundle.Candidate, folder: Path
) -> dict[str, Any]:
    """Write what stands beside the pack; returns what `pack.json` says of it."""
    shutil.copytree(candidate.folder, folder / "bundle")
    for problem in bundle.check(folder / "bundle"):
        raise IntegrityError(
            "The bundle is not as it was frozen.", where=problem.where, given=problem
        )
    signature, public = openssf.sign(store, candidate.usecase, tree(folder / "bundle"))
    about = {
        "version": 1,
        "bundle": release.bundle,
        "candidate": candidate.record.digest,
        "record": release.record,
        "store": store.id,
        "approvals": list(release.approvals),
    }
    (folder / "keys").mkdir()
    said = {"usecase": candidate.usecase, "bundle": release.bundle}
    for name, data in {
        "release.json": canonical(about),
        "model.sig": signature,
        "README.txt": README.format(**said).encode(),
        "verify_record.py": verifier().read_bytes(),
        "keys/engine.pem": store.first_keys[0].encode(),
        "keys/model-signing.pem": public.encode(),
    }.items():
        durable.create(folder / name, data, 0o444)
    return {"release": about, "beside": [asdict(one) for one in tree(folder)]}


def _standing(store: Store, release: register.Release, lineage: Collection[str]) -> set[int]:
    """Entries that the release stands on: about its bundle, its lineage or its use case, who
    signs for other tools, and what was taken back of these."""
    entries = store.ledger.entries()
    usecase = release.usecase
    names = {release.bundle, *lineage}
    chosen = {e.index: e for e in entries if e.kind == openssf.KIND or _about(e, names, usecase)}
    signed = {digest(e.body["envelope"]) for e in chosen.values() if "envelope" in e.body}
    taken_back = {e.index for e in entries if e.kind == "revocation" and _about(e, signed, usecase)}
    return {*chosen, *taken_back}


def _about(entry: Entry, names: Collection[str], usecase: str) -> bool:
    said = entry.body.get("envelope", entry.body).get("statement", entry.body)
    text = canonical(entry.body).decode()
    return said.get("usecase") == usecase or any(name in text for name in names)

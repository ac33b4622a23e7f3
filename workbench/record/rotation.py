"""The engine's keys of a store, one after the other (E7).

- A ``key-rotation`` entry holds what a keyholder signed (``keyring@workbench``): the old key, the
  new one, why; and the old key's own signature (DSSE) over that. A key that lacks either is none.
- It is the last entry under a checkpoint of the old key. What comes after is the new key's alone:
  a checkpoint by an old key over more is refused, and so is a record that was entered later.
- Who trusts a key trusts those that follow, as each introduced the next; of those before it, what
  its own checkpoint vouches for.
- The new key is on the disk before the entry is, and takes the old one's place after it. Whatever
  dies between, the ledger says which key is in force, and whoever writes next puts it in place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import InputError, IntegrityError, WorkbenchError
from workbench.record import clock, durable, merkle, person, signing
from workbench.record.digest import canonical, read_canonical
from workbench.record.signing import EngineKey

if TYPE_CHECKING:
    from workbench.record.store import Store

KIND, PAYLOAD = "key-rotation", "application/vnd.workbench.key-rotation+json"
MARK = f'"kind":"{KIND}"'.encode()  # as RFC 8785 writes it
ACTIVE, NEXT, RETIRED = "engine.pem", "engine.next.pem", "retired"


@dataclass(frozen=True)
class Link:
    """A rotation: at which entry which key (PEM) took the place of which."""

    index: int
    old: str
    new: str
    store: str


def links(lines: Iterable[bytes]) -> list[Link]:
    """The rotations in ledger lines, in order; IntegrityError names the one that is none."""
    found: list[Link] = []
    for line in lines:
        link = _link(line) if MARK in line else None
        if link and found and link.old != found[-1].new:
            where = f"ledger entry {link.index}"
            raise IntegrityError("a rotation of a key that was not in force", where=where)
        found += [link] if link else []
    return found


@lru_cache(maxsize=256)
def _link(line: bytes) -> Link | None:
    entry = read_canonical(line)
    if entry.get("kind") != KIND:
        return None
    try:
        envelope, seal = entry["body"]["envelope"], entry["body"]["seal"]
        old, new, store = (envelope["statement"][name] for name in ("old", "new", "store"))
        sealed = signing.verify(signing.parse_envelope(canonical(seal)), [old], PAYLOAD)
        signing.keyid(new)
        if sealed == canonical(envelope):
            return Link(entry["index"], old, new, store)
    except (WorkbenchError, KeyError, TypeError, AttributeError):
        pass
    where = f"ledger entry {entry.get('index')}"
    raise IntegrityError("a key that the one before did not introduce", where=where)


def order(known: Sequence[Link]) -> list[str]:
    """The keys, the first to the last; none where nothing was rotated."""
    return [known[0].old, *(one.new for one in known)] if known else []


def heads(known: Sequence[Link], size: int, trusted: Sequence[str]) -> list[str]:
    """Keys that may sign a checkpoint over ``size`` entries, for whoever trusts these."""
    if not known:
        return list(trusted)
    keys = order(known)
    first = next((i for i, key in enumerate(keys) if key in trusted), len(keys))
    last = len(keys) - (2 if known[-1].index == size - 1 else 1)
    return keys[max(first, last) :]


def sealers(known: Sequence[Link], index: int, trusted: Sequence[str]) -> list[str]:
    """Keys that may seal what was entered at an index, under a checkpoint that verified."""
    return [order(known)[sum(one.index < index for one in known)]] if known else list(trusted)


def introduced(folder: Path, first: Sequence[str]) -> list[str]:
    """These keys of a store, and each that came later by the ledger in a folder, in order."""
    try:
        note = (folder / "checkpoint").read_text(encoding="utf-8")
        size = merkle.Checkpoint.parse(merkle.parse_note(note)[0]).size
        data = (folder / "entries.jsonl").read_bytes()
        known = links(data.split(b"\n")[:size]) if MARK in data else []
    except (WorkbenchError, OSError, ValueError):
        return list(first)  # whoever reads the ledger is told what is wrong with it
    follows = known and known[0].old in first
    return [*first, *(one.new for one in known)] if follows else list(first)


def rotate(store: Store, reason: str, by: str, sign_with: Path, keep: bool = False) -> str:
    """Give a store a new engine key, signed for by a keyholder; returns it (PEM).

    The old private key is deleted, or with ``keep`` put aside below ``retired/``. InputError for
    a person who is no keyholder; RunError for a disk that fails, the store works on with the key
    that its ledger names.
    """
    from workbench.record.keyring import NAMESPACE
    from workbench.record.store import disk

    old, fresh, ring = store.key, EngineKey.generate(), store.keyring()
    said = {"kind": KIND, "store": store.id, "old": old.public_pem, "new": fresh.public_pem,
            "reason": reason, "by": by, "time": clock.now()}  # fmt: skip
    envelope = person.sign_as(by, said, NAMESPACE, sign_with, ring)
    if "keyholder" not in (roles := ring.find(envelope["public_key"])[0].roles):
        raise InputError(f"{by} does not rotate keys.", expected="keyholder", given=roles)
    with disk("rotate the key", store.keys), store.making():
        store.close_dead()  # what the old key sealed is entered before the new one is in force
        if store.key.public_pem != old.public_pem:
            raise InputError("Somebody else rotated the key meanwhile.", where=store.path)
        if keep:
            _put_aside(store.keys, old)
        (store.keys / NEXT).unlink(missing_ok=True)  # of a rotation that was never entered
        fresh.keep(store.keys / NEXT)
        seal = old.sign(canonical(envelope), PAYLOAD)
        store.ledger.append(KIND, {"envelope": envelope, "seal": seal})
        finish(store.keys, fresh.public_pem)
        store.ledger.sign_again()
    return fresh.public_pem


def finish(keys: Path, public: str) -> EngineKey:
    """The key that the ledger introduced, put in the place of the one before where it is not yet.

    IntegrityError where the private key of that name is not here.
    """
    with suppress(InputError, FileNotFoundError):  # somebody else was first
        if EngineKey.load(keys / NEXT).public_pem == public:
            os.replace(keys / NEXT, keys / ACTIVE)
            durable.sync(keys)
    key = EngineKey.load(keys / ACTIVE)
    if key.public_pem != public:
        raise IntegrityError("the private key is one that this store no longer uses", where=keys,
                             next_step="bring the one that took its place")  # fmt: skip
    return key


def _put_aside(keys: Path, key: EngineKey) -> None:
    (keys / RETIRED).mkdir(exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        os.link(keys / ACTIVE, keys / RETIRED / f"{key.keyid[:16]}.pem")
    durable.sync(keys / RETIRED)

"""Records that travel: a tar with the records, and what proves that their store lists them.

``pack.json`` (signed, ``pack.sigs.json``) holds the store's checkpoint, its public key, and the
ledger entries that speak of these records, each with its audit path: where it stands in the
ledger can be checked without the rest of it. ``import_pack`` verifies all of it first; then the
records stand in the other store as they were, still signed by the store they come from.

A pack may carry more, such as what a replay needs: files below ``carried/``, each with its digest
in ``pack.json``. They are verified with the rest, and no store takes them in.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from workbench.errors import InputError, IntegrityError, WorkbenchError
from workbench.record import clock, durable, merkle, rotation, signing
from workbench.record.digest import canonical, entry, scan
from workbench.record.ledger import Entry, listed, open_checkpoint
from workbench.record.lineage import Graph
from workbench.record.merkle import Checkpoint
from workbench.record.problem import Problem
from workbench.record.sealed import Record, move_in
from workbench.record.store import Store, disk
from workbench.record.verify import foreign_keys, person_problems, sealing_keys, verify_record

PAYLOAD = "application/vnd.workbench.pack+json"
FILES = ("pack.json", "pack.sigs.json")
CARRIED = "carried"


@dataclass(frozen=True)
class Carried:
    """What a pack holds besides records."""

    facts: dict[str, Any] = field(default_factory=dict)
    """What these files are, for whoever reads them."""
    files: dict[str, Path] = field(default_factory=dict)
    """Path below ``carried/`` → file on this disk."""


def pack(
    store: Store,
    refs: Iterable[str],
    to: Path,
    ancestors: bool = True,
    carry: Callable[[list[Record]], Carried] | None = None,
    also: Collection[int] = (),
) -> list[Record]:
    """Write records, by default with all they stand on, to a new .tar or .tar.zst file.

    ``carry`` is told the records and says what else goes along; ``also`` are ledger entries to
    prove besides those that speak of the records. Returns the records packed.
    IntegrityError when one of them does not verify.
    """
    to = Path(to)
    if to.exists() or not to.name.endswith((".tar", ".tar.zst")):
        raise InputError("can't pack there", given=to, expected="a new .tar or .tar.zst file")
    records = _chosen(store, refs, ancestors)
    more = carry(records) if carry else None
    about = canonical(_about(store, records, also) | _listing(more))
    seal = canonical(store.key.sign(about, PAYLOAD))
    staged = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
    with disk("pack", to):
        try:
            with _writing(staged, to.name) as tar:
                for name, data in zip(FILES, (about, seal), strict=True):
                    _add(tar, name, io.BytesIO(data), len(data), False)
                for record in records:
                    _add_record(tar, record)
                for name, path in sorted(more.files.items()) if more else ():
                    _add_file(tar, f"{CARRIED}/{name}", path)
            durable.sync(staged)
            staged.rename(to)
        finally:
            staged.unlink(missing_ok=True)
    return records


def _chosen(store: Store, refs: Iterable[str], ancestors: bool) -> list[Record]:
    graph = Graph.from_store(store)
    chosen = {store.record(ref).digest for ref in refs}
    for digest_ in list(chosen) if ancestors else []:
        chosen |= graph.ancestors(digest_)
    records = [graph.records[item] for item in sorted(chosen) if item in graph.records]
    keys = [*store.public_keys, *foreign_keys(store.ledger.entries())]
    for record in records:
        for problem in verify_record(record, keys):
            raise IntegrityError("not packed: it does not verify", given=problem)
    return records


def _about(store: Store, records: list[Record], also: Collection[int]) -> dict[str, Any]:
    signed = store.ledger.signed()
    digests = {record.digest for record in records}
    runs = {record.statement.run_id for record in records}
    chosen = [e for e in signed.entries if e.index in also or _speaks_of(e, digests, runs)]
    return {
        "version": 1,
        "store": store.id,
        "track": store.track,
        "created": clock.now(),
        "public_key": store.first_keys[0],
        "checkpoint": signed.note,
        "entries": [
            {
                "line": signed.lines[e.index].decode(),
                "proof": [item.hex() for item in merkle.inclusion_proof(e.index, signed.leaves)],
            }
            for e in chosen
        ],
        "records": [{"stage": r.stage, "id": r.id, "digest": r.digest} for r in records],
    }


def _listing(more: Carried | None) -> dict[str, Any]:
    """What is carried besides, each file by digest: ``path``, ``sha256``, ``size``, ``executable``."""
    if more is None:
        return {}
    held = [
        asdict(entry(path.parent, path.name)) | {"path": name}
        for name, path in sorted(more.files.items())
    ]
    return {CARRIED: {"facts": more.facts, "files": held}}


def _speaks_of(entry: Entry, digests: set[str], runs: set[str]) -> bool:
    """The store's first entry, people's keys, these records' runs, and whatever names a record."""
    body = canonical(entry.body).decode()
    return (
        entry.kind in ("store", "keyring", rotation.KIND)
        or entry.body.get("run") in runs
        or any(item in body for item in digests)
    )


@contextmanager
def _writing(path: Path, name: str) -> Iterator[tarfile.TarFile]:
    with open(path, "xb") as file:
        if name.endswith(".zst"):
            import zstandard

            with zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as stream:
                with tarfile.open(fileobj=stream, mode="w|") as tar:
                    yield tar
        else:
            with tarfile.open(fileobj=file, mode="w|") as tar:
                yield tar


def _add_record(tar: tarfile.TarFile, record: Record) -> None:
    for path in sorted(path for path in record.path.rglob("*") if path.is_file()):
        _add_file(tar, f"records/{record.ref}/{path.relative_to(record.path).as_posix()}", path)


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    info = path.stat()
    with open(path, "rb") as file:
        _add(tar, name, file, info.st_size, bool(info.st_mode & 0o111))


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, size: int, executable: bool) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o555 if executable else 0o444
    tar.addfile(member, file)


# reading


def import_pack(
    store: Store,
    path: Path,
    public_keys: Sequence[str] | None = None,
    admit: Callable[[list[Record]], None] = lambda records: None,
) -> list[Record]:
    """Take in the records of a pack that this store doesn't list; returns those.

    ``admit`` is shown the records of the pack first, and raises where one may not come in.

    ``public_keys`` are the origin's keys as you know them; by default the pack's own are taken
    and remembered. IntegrityError names the first thing that does not verify; nothing is taken
    in then. An import that was interrupted is completed by importing again.
    """
    folder = store.path / "scratch" / f"import-{secrets.token_hex(4)}"
    with disk("import", store.path):
        try:
            unpack(path, folder)
            problems = verify_pack(folder, public_keys)
            if problems:
                raise IntegrityError(
                    "the pack does not verify; nothing was imported",
                    where=path,
                    given=f"{problems[0]}"
                    + (f" and {len(problems) - 1} more" * (len(problems) > 1)),
                )
            admit([Record.at(path) for path in sorted((folder / "records").glob("*/*"))])
            return _take_in(store, folder)
        finally:
            if folder.exists():
                durable.remove_tree(folder)


def _take_in(store: Store, folder: Path) -> list[Record]:
    data = (folder / FILES[0]).read_bytes()
    about = json.loads(data)
    held = [Record.at(path).statement.predicate for path in (folder / "records").glob("*/*")]
    tracks = {about["track"], *(p.buildDefinition.externalParameters.get("track") for p in held)}
    if store.track == "governed" and tracks != {"governed"}:  # promotion re-runs, never copies
        raise InputError("a pack of another track can't enter a governed store", where=store.path,
                         expected="governed", given=", ".join(sorted(map(str, tracks))),
                         next_step="workbench promote runs it again on the governed track")  # fmt: skip
    entries = [Entry.parse(item["line"].encode()) for item in about["entries"]]
    known, facts = store.listed(), listed(entries)
    new = [f for f in about["records"] if f["digest"] not in known]
    if not new:
        return []
    sha256 = hashlib.sha256(data).hexdigest()
    body = {
        "pack": sha256,
        "store": about["store"],
        "public_keys": sorted(
            {about["public_key"], *rotation.order(rotations(about)), *foreign_keys(entries)}
        ),
        "records": [facts[_ref(f)] for f in new],
    }

    def act() -> None:
        for item in new:
            target = store.path / "records" / item["stage"] / item["id"]
            if not target.exists():  # else an interrupted import moved it
                durable.sync_tree(folder / "records" / _ref(item))
                move_in(folder / "records" / _ref(item), target)
        durable.replace(store.path / "imports" / f"{sha256[:16]}.json", data, 0o444)

    store.ledger.append("import", body, act=act)
    return [Record.at(store.path / "records" / f["stage"] / f["id"]) for f in new]


def unpack(path: Path, to: Path) -> None:
    """Lay a pack out in a new folder; IntegrityError for a member that is not a plain file in it."""
    to.mkdir()
    try:
        with _reading(path) as tar:
            for member in tar:
                if not member.isdir():  # folders come with their files
                    target = to / _safe(member)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with open(target, "xb") as file:
                        shutil.copyfileobj(tar.extractfile(member), file, 1 << 20)
                    target.chmod(0o555 if member.mode & 0o111 else 0o444)
    except (tarfile.TarError, EOFError, FileExistsError, NotADirectoryError) as error:
        raise IntegrityError("not a pack, or a damaged one", where=path, given=error) from error


def _safe(member: tarfile.TarInfo) -> str:
    """The member's path, when it is a plain file that stays inside."""
    path = PurePosixPath(member.name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts
    plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
    if not inside or not plain or str(path) != member.name or "\0" in member.name:
        raise IntegrityError(
            "a pack may only hold plain files inside itself", given=repr(member.name)
        )
    return member.name


@contextmanager
def _reading(path: Path) -> Iterator[tarfile.TarFile]:
    import zstandard

    try:
        file = open(path, "rb")
    except OSError as error:
        raise InputError("no pack there", where=path) from error
    with file:
        packed = file.read(4) == b"\x28\xb5\x2f\xfd"
        file.seek(0)
        stream = zstandard.ZstdDecompressor().stream_reader(file) if packed else file
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                yield tar
        except zstandard.ZstdError as error:
            raise IntegrityError("a damaged pack", where=path, given=error) from error


def verify_pack(folder: Path, public_keys: Sequence[str] | None = None) -> list[Problem]:
    """All problems of an unpacked pack: its seal, entries against the checkpoint, records."""
    folder = Path(folder)
    try:
        about, keys = _opened(folder, public_keys)
        entries = list(_proven(about, keys))
    except (WorkbenchError, OSError, ValueError, KeyError, TypeError) as error:
        return [Problem(FILES[0], getattr(error, "what", f"can't be read: {error}"))]
    facts, here = listed(entries), {path.name for path in folder.iterdir()}
    top = {*FILES, "records", *([CARRIED] if about.get(CARRIED, {}).get("files") else [])}
    problems = [Problem(n, "added or removed") for n in sorted(here ^ top)]
    problems += list(_carried_problems(folder / CARRIED, about.get(CARRIED, {})))
    expected = {_ref(item): item["digest"] for item in about["records"]}
    found = {f"{p.parent.name}/{p.name}" for p in (folder / "records").glob("*/*")}
    problems += [Problem(f"records/{n}", "added or removed") for n in sorted(found ^ set(expected))]
    keys_of = sealing_keys(entries, rotations(about), keys)
    for name in sorted(found & set(expected)):
        problems += verify_record(folder / "records" / name, keys_of(name))
        digests = {expected[name], facts.get(name, {}).get("digest")}
        if {Record.at(folder / "records" / name).digest} != digests:
            problems.append(Problem(f"records/{name}", "not the record that the ledger lists"))
    return problems + list(person_problems(entries))


def _carried_problems(folder: Path, about: dict[str, Any]) -> Iterator[Problem]:
    """What is carried besides the records must be what the signed list names, and no more."""
    listed_ = {item["path"]: item for item in about.get("files", [])}
    found, refused = scan(folder) if folder.is_dir() else ([], [])
    for name in sorted(set(listed_) ^ {*found, *(path for path, _ in refused)}):
        yield Problem(f"{CARRIED}/{name}", "added or removed")
    for name in sorted(set(listed_) & set(found)):
        if asdict(entry(folder, name)) != listed_[name]:
            yield Problem(f"{CARRIED}/{name}", "changed")


def _opened(folder: Path, public_keys: Sequence[str] | None) -> tuple[dict[str, Any], list[str]]:
    data, seal = ((folder / name).read_bytes() for name in FILES)
    about = json.loads(data)
    keys, known = list(public_keys or [about["public_key"]]), rotations(about)
    size = Checkpoint.parse(merkle.parse_note(about["checkpoint"])[0]).size
    heads = rotation.heads(known, size, keys)
    if signing.verify(signing.parse_envelope(seal), heads, PAYLOAD) != data:
        raise IntegrityError("changed: not what was signed")
    if about["public_key"] not in (rotation.order(known)[:1] or keys):
        raise IntegrityError("the pack is of a store whose key is not trusted here")
    return about, heads


def rotations(about: dict[str, Any]) -> list[rotation.Link]:
    """Of the store that a pack comes from, as its entries have them; IntegrityError for a bad one."""
    return rotation.links(item["line"].encode() for item in about["entries"])


def _proven(about: dict[str, Any], keys: list[str]) -> Iterator[Entry]:
    checkpoint = open_checkpoint(about["checkpoint"], f"workbench/{about['store']}", keys)
    for item in about["entries"]:
        entry = Entry.parse(item["line"].encode())
        proof = [bytes.fromhex(step) for step in item["proof"]]
        if not merkle.verify_inclusion(
            bytes.fromhex(entry.hash), entry.index, checkpoint.size, proof, checkpoint.root
        ):
            raise IntegrityError(f"entry {entry.index} is not in the signed ledger")
        yield entry


def _ref(facts: dict[str, str]) -> str:
    return f"{facts['stage']}/{facts['id']}"

"""What executes a record again: found in its store and use case, or carried by a pack.

Below ``carried/`` in a pack, every file named with its digest in the signed ``pack.json``:

    usecase/       usecase.yaml, policy and what else no record made, where the use case has it;
                   its steps/, and in stages/ the unexecuted notebooks. Rows of persons are there as
                   ciphertext only; their keys travel apart, in the file that `--keys` names
    package/       the workbench's code, whose digest is the one in the record
    requirements/  the lock with the digest of every wheel; wheels/ where they were given

So an unpacked pack is a use case with a store around its records, and a replay from it goes the
same way as one at home.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, IntegrityError
from ..record import durable
from ..record.digest import canonical, file_digest, tree_digest
from ..record.pack import CARRIED, Carried, pack, rotations, unpack, verify_pack
from ..record.statement import ResourceDescriptor
from ..record.store import Record, Store
from ..record.verify import foreign_keys, verify_record
from . import approvals, capture, checkpoints
from .inputs import OUTPUTS, SEALED_SUFFIX, Input, from_record, resolve
from .isolation import PACKAGE
from .pipeline import key_of
from .project import USECASE_FILE, Project
from .stages import Source, Stage, stages_for

ROWS_KEY, DIGEST_KEY = "rows/{}.key", "digest.key"  # below the folder of a `Cipher`


@dataclass(frozen=True)
class Origin:
    """Records, and the use case that they were made in."""

    store: Store
    project: Project | None
    keys: tuple[str, ...]
    """Public keys of all stores whose records are here."""
    packages: tuple[Path, ...] = ()
    """The workbench that made the records, where another one is installed."""
    asked: tuple[str, ...] = ()
    """Digests of the records that a pack was made for."""

    def record(self, ref: str | None) -> Record:
        """The record, or the one that a pack was made for. InputError when it is not clear."""
        return self.store.record(ref or (self.asked[0] if len(self.asked) == 1 else ""))

    def material(self, record: Record) -> tuple[Stage, dict[str, Input]]:
        """The notebook and the inputs that a record was made from, each by its digest.

        InputError names what is missing or differs; IntegrityError what does not verify.
        """
        parts = key_of(record).get("parts", {})
        if record.outcome != "succeeded" or not parts or self.project is None:
            given = "no usecase.yaml" if parts and self.project is None else record.outcome
            raise _refused(record, "it takes a stage's run that succeeded, and its use case", given)
        self.verified(record)
        missing = sorted(s for s in snapshots(record) if not self.store.cipher.exists(s))
        if missing:
            raise _refused(record, "the keys to its rows are not here", "none", missing)
        stages = stages_for(self.project.root, self.project.usecase)
        stage = next((one for one in stages if one.name == record.stage), None)
        steps = self.project.root / "steps"
        digest = tree_digest(approvals.sources(steps)) if steps.is_dir() else None
        notebook = stage.source_digest if stage else None
        for what, was, now in (
            ("the notebook is", parts["template"], notebook),
            ("the use case's steps/ are", parts["steps"], digest),
        ):
            if was != now:
                raise _refused(record, f"{what} not as it was", now, was)
        return stage, self.inputs(record, stage)

    def inputs(self, record: Record, stage: Stage) -> dict[str, Input]:
        """What a record read, each by its digest. InputError, IntegrityError as for `material`."""
        told: dict[str, list[ResourceDescriptor]] = {}
        for item in record.statement.inputs:
            told.setdefault(item.annotations["input"], []).append(item)
        told.pop(checkpoints.INPUT, None)  # a replay begins anew
        return {n: self._input(record, stage, n, items) for n, items in told.items()}

    def _input(
        self, record: Record, stage: Stage, name: str, told: list[ResourceDescriptor]
    ) -> Input:
        """An output of an earlier record, or what the use case names, as the record read it."""
        notes, found = told[0].annotations, None
        if "record" in notes:
            parent = next((r for r in self.store.records() if r.digest == notes["record"]), None)
            if parent:
                self.verified(parent)
                path = told[0].uri.partition(f"/{OUTPUTS}")[2]
                source = Source(parent.stage, path, locked="locked" in notes)
                found = from_record(name, source, parent)
        elif name in stage.facts["inputs"]:
            only = stage.facts | {"inputs": {name: stage.facts["inputs"][name]}}
            found = resolve(self.project, Stage(stage.notebook, only), {}, self.store).get(name)
        was = sorted((item.name, *item.digest.values()) for item in told)
        now = sorted((i.name, *i.digest.values()) for i in found.dependencies()) if found else None
        if was != now:
            why = f"its input `{name}` ({told[0].uri}) is missing, or is not what it read"
            raise _refused(record, why, now, was)
        return found

    def verified(self, record: Record) -> None:
        for problem in verify_record(record, self.keys):
            what = "A record that a replay would stand on does not verify."
            raise IntegrityError(what, where=record.path, given=problem)


def _refused(record: Record, why: str, given: object, expected: object = None) -> InputError:
    return InputError(
        f"{record.stage} can't be executed again: {why}.",
        where=record.ref,
        expected=expected,
        given=given,
        next_step="Restore it (the record names the commit), or replay from a pack that has it.",
    )


def snapshots(record: Record) -> set[str]:
    """Whose keys open the rows that a record read or holds."""
    sealed = {how["snapshot"] for how in record.statement.predicate.workbench_encrypted.values()}
    read = {item.annotations.get("snapshot", "") for item in record.statement.inputs}
    leaves = {item.digest.get("hmac_sha256", "")[:16] for item in record.statement.inputs}
    return (sealed | read | leaves) - {""}


def of_store(store: Store, project: Project | None) -> Origin:
    """A store and the use case around it."""
    return Origin(store, project, (*store.public_keys, *foreign_keys(store.ledger.entries())))


def of_pack(path: Path, folder: Path, keys: Path | None) -> Origin:
    """Unpack a pack into a new folder and verify it; with `keys`, its rows are opened there.

    IntegrityError names what does not verify; nothing of it is used then.
    """
    unpack(path, folder)
    problems = verify_pack(folder)
    if problems:
        raise IntegrityError("The pack does not verify; nothing was run.", where=path,
                             given=f"{problems[0]}, of {len(problems)} problem(s)")  # fmt: skip
    about = json.loads((folder / "pack.json").read_bytes())
    if CARRIED not in about:
        raise InputError("The pack holds records, and nothing to execute them with.", where=path,
                         next_step="workbench pack --replayable makes one.")  # fmt: skip
    facts, held = about[CARRIED]["facts"], folder / CARRIED
    identity = {"id": about["store"], "track": about["track"], "public_keys": [about["public_key"]]}
    durable.create(folder / "store.json", canonical(identity))
    store = Store(folder)
    store.keys = folder / "keys"
    for name, key in (_read_keys(keys) if keys else {}).items():
        (store.keys / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        durable.create(store.keys / name, bytes.fromhex(key), 0o600)
    for file in (path for path in (held / "usecase").rglob("*") if path.is_file()):
        file.chmod(file.stat().st_mode | 0o200)  # as in a checkout: a kernel must not see the way
    for name, snapshot in facts["encrypted"].items():
        if store.cipher.exists(snapshot):
            store.cipher.decrypt(held / (name + SEALED_SUFFIX), held / name, snapshot)
    bodies = [json.loads(item["line"])["body"] for item in about["entries"]]
    known = {about["public_key"], *(one.new for one in rotations(about))}
    known = known.union(*(body.get("public_keys", []) for body in bodies))
    packages = () if facts["workbench"] == capture.package_digest() else (held / "package",)
    return Origin(store, Project.load(held / "usecase"), tuple(known), packages, (*facts["asked"],))


def _read_keys(path: Path) -> dict[str, str]:
    """By place below the folder of a cipher. InputError when the file is no such thing."""
    try:
        found = dict(json.loads(path.read_bytes())["keys"])
        if all(re.fullmatch(r"digest\.key|rows/[0-9a-f]+\.key", name) for name in found):
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    expected = "what `workbench pack --replayable --keys` wrote"
    raise InputError("Not a file of keys.", where=path, expected=expected)


# ---- packing -------------------------------------------------------------------------------------


def pack_replayable(
    store: Store, project: Project, refs: list[str], to: Path, *, ancestors: bool = True,
    keys: Path | None = None, wheels: Path | None = None,
) -> list[Record]:  # fmt: skip
    """Pack records with all that executes them again; `keys` is a new file for the rows' keys.

    Records asked for must be replayable now (InputError says what is not as it was); an ancestor
    that is not goes along as a record, and a replay of it will say what it lacks.
    """
    asked = {store.record(ref).digest for ref in refs}
    needed: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:

        def carry(records: list[Record]) -> Carried:
            needed.update(*map(snapshots, records))
            if needed and (keys is None or keys.exists()):
                raise InputError(
                    "The pack holds rows of persons, and nobody could open them for a replay.",
                    expected="--keys FILE, a new one, which travels apart from the pack",
                    given=keys,
                )
            return _carried(of_store(store, project), records, asked, wheels, Path(folder))

        found = pack(store, refs, to, ancestors, carry)
    if needed:
        _write_keys(store, needed, keys)
    return found


def _write_keys(store: Store, needed: set[str], to: Path) -> None:
    """In a file of its own, and the ledger says so first: who has it can read the rows, and confirm
    a guess at any file of persons that this store ever held. Deletion reaches no copy of it."""
    there = sorted(snapshot for snapshot in needed if store.cipher.exists(snapshot))
    store.ledger.append("keys-exported", {"snapshots": there})
    names = [*map(ROWS_KEY.format, there), DIGEST_KEY]
    held = {name: (store.keys / name).read_bytes().hex() for name in names}
    durable.create(to, canonical({"store": store.id, "keys": held}), 0o600)


def _carried(
    origin: Origin, records: list[Record], asked: set[str], wheels: Path | None, folder: Path
) -> Carried:
    root, encrypted = origin.project.root, {}
    paths = [root / USECASE_FILE, root / origin.project.usecase.policy, root / "steps"]
    paths += [root / name for name in origin.project.usecase.environments.values()]
    files = dict(_requirements(wheels)) | _below(f"package/{PACKAGE.name}", PACKAGE)
    for record in records:
        try:
            stage, inputs = origin.material(record)
            _same_workbench(record)
        except InputError:
            if record.digest in asked:
                raise
            continue
        files[f"usecase/stages/{stage.notebook.name}"] = stage.notebook
        leaves = [item for item in inputs.values() if not item.record]
        encrypted |= {item.path: item.snapshot for item in leaves if item.snapshot}
        # The base is in the ancestry as a record; its source goes along where it is asked for.
        paths += [item.path for item in leaves
                  if record.digest in asked or not item.uri.startswith("base:")]  # fmt: skip
    for path in dict.fromkeys(path for path in paths if path.is_relative_to(root)):
        name, snapshot = f"usecase/{path.relative_to(root).as_posix()}", encrypted.get(path)
        if snapshot:
            files[name + SEALED_SUFFIX] = folder / snapshot
            origin.store.cipher.encrypt(path, folder / snapshot, snapshot)
        else:
            files |= _below(name, path)
    executable = file_digest(Path(sys.executable).resolve())
    rows = {f"usecase/{p.relative_to(root).as_posix()}": one for p, one in encrypted.items()}
    return Carried({"asked": sorted(asked), "encrypted": rows, "workbench": capture.package_digest(),
                    "interpreter": {"version": platform.python_version(), "sha256": executable}},
                   files)  # fmt: skip


def _same_workbench(record: Record) -> None:
    was, now = key_of(record)["parts"]["workbench"], capture.package_digest()
    if was != now:
        raise _refused(record, "this checkout is not the workbench that made it", now, was)


def _below(place: str, path: Path) -> dict[str, Path]:
    """A file, or what counts of a folder: not the caches that Python and Jupyter leave."""
    if path.is_file():
        return {place: path}
    inside = ((one.relative_to(path), one) for one in path.rglob("*") if one.is_file())
    return {
        f"{place}/{n.as_posix()}": one for n, one in inside if not approvals.CACHES & set(n.parts)
    }


def _requirements(wheels: Path | None) -> Iterator[tuple[str, Path]]:
    """The lock beside the package, and the wheels given. InputError for one it does not name."""
    locks = sorted((PACKAGE.parent / "requirements").glob("*.txt"))
    yield from ((f"requirements/{path.name}", path) for path in locks)
    known = {h for path in locks for h in re.findall(r"sha256:([0-9a-f]{64})", path.read_text())}
    for path in sorted(wheels.glob("*.whl")) if wheels else ():
        if file_digest(path) not in known:
            raise InputError("The lock names no such wheel.", where=path, given=file_digest(path))
        yield f"wheels/{path.name}", path

"""Verification: what of a record, or of a whole store, is not as it was sealed.

A record verifies with public keys alone: the signature is of the statement, the statement covers
every file with its exec bit, and there is no file besides. A store adds order and completeness:
every record is in the ledger, every record of the ledger is here, what a record read is what the
other record holds, and every person's signature was good when it was entered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workbench.errors import IntegrityError, WorkbenchError
from workbench.record import digest, keyring, rotation, signing
from workbench.record.ledger import Entry, listed
from workbench.record.problem import Problem
from workbench.record.sealed import Record
from workbench.record.statement import SEALS, ResourceDescriptor, Statement, statement_digest
from workbench.record.store import FOLDERS, Store, unfinished

ROOT = {"store.json", "ledger", *FOLDERS}


@dataclass
class Report:
    """The result for a store."""

    problems: list[Problem] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    """``stage/id/path`` of rows whose key was destroyed on purpose; the record still verifies."""
    flags: list[str] = field(default_factory=list)
    """No fault, but worth a look: clocks that went back, crashes, runs that never ended."""
    records: int = 0
    entries: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything verifies."""
        return not self.problems


def verify_record(record: Record | Path, public_keys: Sequence[str]) -> list[Problem]:
    """All problems of one record folder, named by file."""
    path = Path(getattr(record, "path", record))
    name = f"{path.parent.name}/{path.name}"
    try:
        statement = sealed_statement(path, public_keys)
    except IntegrityError as error:
        where = f"{name}/{error.where}"
        return [Problem(where, error.what, str(error.expected or ""), str(error.given or ""))]
    return list(_files(path, name, statement))


def sealed_statement(path: Path, public_keys: Sequence[str]) -> Statement:
    """The statement of a record, its signature checked; IntegrityError says which file is wrong."""
    found = []
    for name in SEALS:
        try:
            digest.file_digest(path / name)  # refuses links and pipes
            found.append((path / name).read_bytes())
        except (OSError, IntegrityError) as error:
            raise IntegrityError("missing, or no plain file", where=name) from error
    data, seal = found
    try:
        payload = signing.verify(signing.parse_envelope(seal), public_keys)
    except IntegrityError as error:
        raise IntegrityError(
            error.what, where=SEALS[1], expected=error.expected, given=error.given
        ) from error
    if payload != data:
        raise IntegrityError("changed: not what was signed", where=SEALS[0])
    try:
        return Statement.parse(data)
    except IntegrityError as error:
        raise IntegrityError(error.what, where=SEALS[0], given=error.given) from error


def _files(path: Path, name: str, statement: Statement) -> Iterator[Problem]:
    """The files on disk against the subject of the statement."""
    names, refused = digest.scan(path)
    for file, reason in refused:
        yield Problem(f"{name}/{file}", f"a record can't hold {reason}")
    expected = {subject.name: subject for subject in statement.subject}
    here = {file for file in names if file not in SEALS}
    for file in sorted(here - set(expected)):
        yield Problem(f"{name}/{file}", "added: the statement doesn't know it")
    for file in sorted(set(expected) - here):
        yield Problem(f"{name}/{file}", "removed or renamed")
    for file in digest.entries(path, sorted(here & set(expected))):
        yield from _file(f"{name}/{file.path}", file, expected[file.path])


def _file(where: str, found: digest.Entry, expected: ResourceDescriptor) -> Iterator[Problem]:
    sha256 = expected.digest.get("sha256", "")
    if found.sha256 != sha256:
        yield Problem(where, "changed", f"sha256 {sha256}", f"sha256 {found.sha256}")
    if found.executable != expected.annotations.get("executable"):
        yield Problem(
            where, "the exec bit was changed", found="set" if found.executable else "gone"
        )


def verify_store(store: Store, public_keys: Sequence[str] | None = None) -> Report:
    """Everything in a store. ``public_keys`` are those you trust; by default the store's own,
    which shows that nothing changed since, but not who made it."""
    keys = list(public_keys or store.public_keys)
    report, ledger = Report(problems=_strays(store)), store.ledger_for(keys)
    with ledger.locked():  # so that no record is moved in between the two looks
        folders = sorted(p for p in (store.path / "records").glob("*/*") if p.is_dir())
        report.problems += ledger.verify()
        try:
            signed = ledger.signed()
            entries, known = signed.entries, rotation.links(signed.lines)
        except (WorkbenchError, OSError):
            entries = known = []  # named above; without order and keys the records still verify
    report.records, report.entries = len(folders), len(entries)
    keys_of = sealing_keys(entries, known, keys)
    for path in folders:
        report.problems += verify_record(path, keys_of(f"{path.parent.name}/{path.name}"))
    report.problems += [
        Problem(f"ledger entry {one.index}", "introduces a key to another store")
        for one in known
        if one.store != store.id or known[0].old not in store.first_keys
    ]
    if entries:
        _against_ledger(store, report, entries, folders)
    return report


def sealing_keys(
    entries: Iterable[Entry], known: Sequence[rotation.Link], trusted: Sequence[str]
) -> Callable[[str], list[str]]:
    """For a record, by ``stage/id``: the keys that may have sealed it. Of one that was made here
    it is the key that was in force when it was entered, of any other also those of its origin."""
    entries = list(entries)
    every = [*trusted, *rotation.order(known), *foreign_keys(entries)]
    own = {f"{e.body['stage']}/{e.body['id']}": e.index for e in entries if e.kind == "record"}

    def keys(name: str) -> list[str]:
        return rotation.sealers(known, own[name], trusted) if name in own else every

    return keys


def foreign_keys(entries: Iterable[Entry]) -> list[str]:
    """Public keys of other stores, as the import entries of this one remember them."""
    bodies = [entry.body for entry in entries if entry.kind == "import"]
    return [pem for body in bodies for pem in body["public_keys"]]


def _strays(store: Store) -> list[Problem]:
    """Files that are no part of a store; only scratch and the index are free to change."""
    here = {path.name for path in store.path.iterdir() if not path.name.startswith("index.sqlite")}
    found = here - ROOT
    for path in [*(store.path / "records").glob("*"), *(store.path / "records").glob("*/*")]:
        if path.is_symlink() or not path.is_dir():
            found.add(path.relative_to(store.path).as_posix())
    return [Problem(name, "added: not a part of a store") for name in sorted(found)]


def _against_ledger(
    store: Store, report: Report, entries: list[Entry], folders: list[Path]
) -> None:
    """What only the ledger can tell."""
    statements = {path: s for path in folders if (s := _readable(path))}
    report.problems += _identity(store, entries[0])
    report.problems += _completeness(listed(entries), folders)
    report.problems += _imports(store, entries)
    report.problems += person_problems(entries)
    report.problems += _inputs(statements)
    report.flags += _flags(entries)
    forgotten = {e.body["snapshot"] for e in entries if e.kind == "forgotten"}
    own = {e.body["digest"] for e in entries if e.kind == "record"}
    report.problems += _row_keys(store, statements.values(), own, forgotten)
    report.erased += [
        f"{path.parent.name}/{path.name}/{file}"
        for path, statement in statements.items()
        for file, how in statement.predicate.workbench_encrypted.items()
        if how["snapshot"] in forgotten
    ]


def _row_keys(
    store: Store, statements: Iterable[Statement], own: set[str], forgotten: set[str]
) -> Iterator[Problem]:
    """Keys against the ledger's word, where the keys are: none is gone without an entry that says
    so, none outlives one. Rows of imported records have theirs in the store that they come from.
    """
    if not store.keys.is_dir():
        return
    held = {
        how["snapshot"]
        for statement in statements
        if statement_digest(statement.to_bytes()) in own
        for how in statement.predicate.workbench_encrypted.values()
    }
    for snapshot in sorted(held):
        here = store.cipher.exists(snapshot)
        if here and snapshot in forgotten:
            yield Problem(f"snapshot {snapshot}", "forgotten, but its key was not destroyed")
        if not here and snapshot not in forgotten:
            yield Problem(f"snapshot {snapshot}", "its key is gone, and no entry says why")


def _flags(entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.clock_back_s:
            yield f"entry {entry.index}: the clock went back {entry.clock_back_s} s"
        if entry.kind == "set-aside":
            yield f"entry {entry.index}: an unsigned line was set aside after a crash"
    for run, start in unfinished(entries).items():
        yield f"entry {start.index}: run {run} of {start.body['stage']} has not ended"


def _identity(store: Store, first: Entry) -> Iterator[Problem]:
    found = digest.file_digest(store.path / "store.json")
    if first.kind != "store" or first.body.get("sha256") != found:
        yield Problem("store.json", "changed", str(first.body.get("sha256")), found)


def _completeness(expected: dict[str, dict[str, str]], folders: list[Path]) -> Iterator[Problem]:
    here = {f"{path.parent.name}/{path.name}": path for path in folders}
    for name in sorted(set(expected) - set(here)):
        yield Problem(f"records/{name}", "removed or renamed: the ledger lists it")
    for name in sorted(set(here) - set(expected)):
        yield Problem(f"records/{name}", "added, renamed or never entered: not in the ledger")
    for name in sorted(set(here) & set(expected)):
        file = here[name] / SEALS[0]
        found = statement_digest(file.read_bytes()) if file.is_file() else "no file"
        if found != expected[name]["digest"]:
            where = f"{name}/{SEALS[0]}"
            yield Problem(where, "not the one in the ledger", expected[name]["digest"], found)


def _imports(store: Store, entries: list[Entry]) -> Iterator[Problem]:
    packs = {f"{e.body['pack'][:16]}.json": e.body["pack"] for e in entries if e.kind == "import"}
    here = {path.name: path for path in (store.path / "imports").glob("*")}
    for name in sorted(set(packs) ^ set(here)):
        yield Problem(f"imports/{name}", "removed" if name in packs else "added")
    for name in sorted(set(packs) & set(here)):
        found = digest.file_digest(here[name])
        if found != packs[name]:
            yield Problem(f"imports/{name}", "changed", packs[name], found)


def person_problems(entries: Iterable[Entry]) -> Iterator[Problem]:
    """Every ``envelope`` in the ledger: whose key, valid when it was entered, for that meaning."""
    entries = list(entries)
    try:
        versions = keyring.versions(entries)
    except IntegrityError as error:
        yield Problem(f"ledger, {error.where}", error.what, found=str(error.given or ""))
        return
    for entry in entries:
        envelope = entry.body.get("envelope")
        if envelope and entry.kind != "keyring":
            try:
                rotates = entry.kind == rotation.KIND
                meant = keyring.NAMESPACE if rotates else str(envelope.get("namespace"))
                signer = keyring.signer(versions, entry, meant)
                if rotates and "keyholder" not in signer.roles:
                    raise IntegrityError("a rotation by no keyholder", given=signer.name)
            except WorkbenchError as error:
                what = f"the person's signature does not verify: {error.what}"
                yield Problem(f"ledger entry {entry.index}", what, found=str(error.given or ""))


def _readable(path: Path) -> Statement | None:
    try:
        return Statement.parse((path / SEALS[0]).read_bytes())
    except (IntegrityError, OSError):
        return None  # verify_record named it


def _inputs(statements: dict[Path, Statement]) -> Iterator[Problem]:
    """What a record says it read must be what the record of that digest holds."""
    held = {
        statement_digest(s.to_bytes()): {(f.name, f.digest.get("sha256")) for f in s.subject}
        for s in statements.values()
    }
    for path, statement in statements.items():
        for item in statement.inputs:
            source = held.get(item.annotations.get("record", ""))
            if source is not None and (item.name, item.digest.get("sha256")) not in source:
                where = f"{path.parent.name}/{path.name}"
                yield Problem(where, f"names an input that its source never held: {item.name}")

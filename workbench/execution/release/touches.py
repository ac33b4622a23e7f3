"""Who touched what led to a candidate (L6): from records, the ledger's signatures, and git.

- ran: `who` of each record, as git was configured where it ran.
- edited: whoever git names as author or co-author of a commit that touched the file, in all of the
  history of the commits that the records name. Somebody whose lines are all gone did touch it.
- signed: classifications, approvals, reviews, causes, acceptances, answers to findings.

The first two are claims, not signatures; they are matched to the keyring (all its versions) by
address, then by exact name. What fits nobody, or several, is told apart: no touch vanishes. Paths
are those that the use case names now: what a file was called before is not followed.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from email.utils import parseaddr
from pathlib import Path

from ...errors import InputError, WorkbenchError
from ...policy.duties import Entered, Touch
from ...record import keyring
from ...record.lineage import Graph
from ...record.store import Record, Store
from .. import bundle
from ..project import USECASE_FILE, Project

ENTERED = {"classification": "classify@workbench", "privacy-review": "accept@workbench",
           "cause": "cause@workbench", "risk-acceptance": "accept@workbench",
           "finding": "finding@workbench", "approval": "approve@workbench"}  # fmt: skip
"""Kind of entry -> the namespace that it is signed in."""
ACTS = {"classification": "classified", "privacy-review": "reviewed_privacy", "cause": "gave_cause",
        "risk-acceptance": "accepted_risk", "answer": "answered_finding",
        "envelope": "approved_envelope", "templates": "approved_templates",
        "release": "signed_release"}  # fmt: skip
"""Kind of entry, kind of approval, or what is done to a finding -> the act that it is."""
SHIPPED = "edited_templates"
Found = tuple[list[Touch], list[str]]
Seen = tuple[str, str, str, str]
"""Name, address, act and place, before it is known whose it is; no act where nobody can say."""


def touches(project: Project, store: Store, candidate: bundle.Candidate) -> Found:
    """Who touched what in the ancestry of a candidate, and what nobody known did, in words.

    IntegrityError when the keyring or the ledger does not verify.
    """
    return of(project, store, bundle.lineage(store, candidate), candidate.digest)


def about(project: Project, store: Store, digest: str) -> Found:
    """The same by the digest of a bundle or, where there is none yet, of a record."""
    for candidate in bundle.candidates(store):
        if candidate.digest == digest:
            return touches(project, store, candidate)
    graph = Graph.from_store(store)
    reached = graph.records.keys() & {digest, *graph.ancestors(digest)}
    return of(project, store, [graph.records[one] for one in sorted(reached)])


def of(project: Project, store: Store, records: Collection[Record], digest: str = "") -> Found:
    """The same of these records, and of the bundle with that digest."""
    known = _known(version for _, version in keyring.versions(store.ledger.entries("keyring")))
    wanted = {record.digest for record in records} | {digest}
    found, unidentified = list(_shipped(project, records)), []
    seen = [*_ran(records), *_edited(project, records)]
    for name, email, act, where in [*seen, *_signed(store, project.usecase.id, wanted)]:
        person = known.get(email.strip().casefold()) or known.get(name.strip())
        if person and act:
            found.append(Touch(person, act, plain(where)))
        else:
            unidentified.append(plain(f"{name} <{email}> {act.replace('_', ' ')}: {where}"))
    return list(dict.fromkeys(found)), list(dict.fromkeys(unidentified))


def plain(text: str) -> str:
    """One line that shows what it holds: authors' names come from outside."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _known(versions: Iterable[keyring.Keyring]) -> dict[str, str]:
    """Address or name -> printed name, of all whom a version ever named, where it fits only one."""
    printed, ids = {}, defaultdict(set)
    for one in (person for version in versions for person in version.persons):
        printed[one.id] = one.name
        for key in (one.email.casefold(), one.name):
            ids[key].add(one.id)
    return {key: printed[next(iter(found))] for key, found in ids.items() if len(found) == 1}


def _ran(records: Iterable[Record]) -> Iterator[Seen]:
    for record in records:
        who = record.statement.predicate.buildDefinition.internalParameters.get("actor") or {}
        yield who.get("name") or "", who.get("email") or "", "built", f"ran {record.ref}"


def _shipped(project: Project, records: Iterable[Record]) -> Iterator[Touch]:
    """Packaged templates are the workbench's own; nobody of the use case wrote them."""
    for record in records:
        if not (project.root / "stages" / f"{record.stage}.ipynb").exists():
            version = record.statement.predicate.runDetails.builder.version.get("workbench")
            yield Touch(f"workbench {version}", SHIPPED, f"packaged {record.stage}")


# ---- git -----------------------------------------------------------------------------------------


def _edited(project: Project, records: Iterable[Record]) -> Iterator[Seen]:
    root, ran, lost = project.root, defaultdict(list), []
    for record in records:
        internal = record.statement.predicate.buildDefinition.internalParameters
        facts = internal.get("repository") or {}
        ran[facts.get("commit") or "no commit"].append(record.ref)
        lost += [f"{record.ref} ran on changes that nobody committed"] * bool(facts.get("dirty"))
    here = [one for one in ran if _git(root, "cat-file", "-e", f"{one}^{{commit}}") is not None]
    lost += [f"{one[:12]}, on which {', '.join(ran[one])} ran, is not in this repository"
             for one in ran if one not in here]  # fmt: skip
    if here and _git(root, "rev-parse", "--is-shallow-repository") != "false\n":
        lost.append("the repository's history is cut off")
    yield from (("nobody can say who", "", "", one) for one in lost)
    for act, paths in _paths(project).items():
        for path in paths if here else ():
            yield from _authors(root, here, act, path)


def _paths(project: Project) -> dict[str, list[str]]:
    """Act -> the files and folders of the use case that it is about."""
    case = project.usecase
    found = {
        "edited_policy": [case.policy, case.envelope],
        "edited_scenarios": [case.scenarios, case.cases],
        "edited_templates": ["stages"],
        "edited_code": ["steps", case.suites, USECASE_FILE, *case.environments.values()],
        "edited_data": [case.data.path, case.data.reference],
    }
    return {act: [path for path in paths if path] for act, paths in found.items()}


def _authors(root: Path, commits: list[str], act: str, path: str) -> Iterator[Seen]:
    form = "%h%x00%as%x00%an%x00%ae%x00%(trailers:key=Co-authored-by,valueonly,separator=%x00)"
    log = _git(root, "log", "--full-history", f"--format={form}", *commits, "--", path)
    if log is None:
        raise InputError("git can't read the history.", where=root, given=path)
    last: dict[tuple[str, str], str] = {}
    times = Counter()
    for line in log.splitlines():  # the newest first
        commit, day, name, email, *others = line.split("\0")
        for who in [(name, email), *map(parseaddr, filter(None, others))]:
            last.setdefault(who, f"{path} in commit {commit}, {day}")
            times[who] += 1
    for who, where in last.items():
        yield *who, act, where + f", and {times[who] - 1} before" * (times[who] > 1)


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, of the history as it is: no replaced objects, no patterns in paths."""
    words = ["git", "-c", "core.fsmonitor=false", "--no-replace-objects", "--literal-pathspecs"]
    env = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run([*words, "-C", root, *arguments], capture_output=True, env=env)
    except OSError:  # no git here: then no commit is here either
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


# ---- the ledger ----------------------------------------------------------------------------------


def entered(store: Store, kinds: Mapping[str, str]) -> Iterator[Entered]:
    """What people stated in entries of these kinds (kind -> namespace), in order, and who signed."""
    entries = [entry for entry in store.ledger.entries() if entry.kind in kinds]
    versions = keyring.versions(store.ledger.entries("keyring")) if entries else []
    for entry in entries:
        held = entry.body.get("envelope", entry.body)
        said = held.get("statement") if isinstance(held, dict) else None
        facts = entry.index, entry.kind, entry.time, said if isinstance(said, dict) else {}
        try:
            one = keyring.signer(versions, entry, kinds[entry.kind])
            yield Entered(*facts, one.name, one.email, one.roles)
        except WorkbenchError as error:
            yield Entered(*facts, refused=error.what)


def _signed(store: Store, usecase: str, wanted: set[str]) -> Iterator[Seen]:
    """Signatures about the use case, a record of `wanted` or its bundle; one that does not count is
    nobody's."""
    for one in entered(store, ENTERED):
        said = one.statement
        kind = {"approval": said.get("kind"), "finding": said.get("act")}.get(one.kind, one.kind)
        ours = said.get("usecase", usecase) == usecase and kind not in ("raise", "close")
        if kind in ("cause", "risk-acceptance", "release"):
            ours &= said.get("bundle" if kind == "release" else "record") in wanted
        if ours:
            detail = " ".join(
                str(said[name]) for name in ("gate", "rule", "finding") if name in said
            )
            where = f"ledger entry {one.entry}, {one.time[:10]}, {kind} {detail}".rstrip()
            act = "" if one.refused else ACTS.get(kind, "")
            yield one.name, one.email, act, f"{where} {one.refused}".rstrip()

"""The life cycle of a use case as a graph of stages: plan, reuse what is unchanged, run the rest."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import GateNotPassed, InputError, IntegrityError
from ..policy import gates, risks
from ..policy.tracks import Missing
from ..record.digest import digest, tree_digest
from ..record.store import Record, Store
from ..record.verify import verify_record
from . import approvals, capture, causes, commitments, gating, isolation, preflight, runner
from .inputs import Input, from_record, resolve
from .project import USECASE_FILE, Project
from .release import acceptances
from .side_by_side import carry_out, fitting
from .stages import Source, Stage, stages_for

OnEvent = Callable[..., None]


@dataclass(frozen=True)
class Step:
    """What is to be done with one stage, and why."""

    stage: Stage
    parameters: dict[str, Any]
    inputs: dict[str, Input]
    key: dict[str, Any]
    reuse: Record | None
    reason: str


@dataclass(frozen=True)
class Done:
    """What became of one stage."""

    stage: str
    record: Record
    reused: bool
    reason: str
    seconds: float

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        return self.record.statement.predicate.workbench_verdicts


@dataclass
class Pipeline:
    """One use case on one track. `on_event(kind, **facts)` is told what happens."""

    project: Project
    store: Store
    profile: str | None = None
    given: dict[str, list[str]] = field(default_factory=dict)
    """stage -> `name=value` texts, from the command line"""
    fresh: bool = False
    development: bool = False
    """Examine the development split instead of the locked set; no candidate is decided then."""
    jobs: int | None = None
    """Stages that run side by side at most; None leaves it to the number of cores."""
    on_event: OnEvent = lambda *a, **k: None

    def __post_init__(self) -> None:
        found = stages_for(self.project.root, self.project.usecase)
        left = ("releases", "decides") if self.development else ("releases",)
        self.stages = [s for s in found if not any(map(s.facts.get, left))]
        self.parameters = {s.name: self._parameters(s) for s in self.stages}
        self._refuse_unknown("--set", self.given)
        self._refuse_unknown(f"{USECASE_FILE}: parameters", self.project.usecase.parameters)
        for profile, values in self.project.usecase.profiles.items():
            self._refuse_unknown(f"{USECASE_FILE}: profiles.{profile}", values)
        self.records: dict[str, Record] = {}

    # -- before anything runs ---------------------------------------------------------------

    def _refuse_unknown(self, where: str, stages: Iterable[str]) -> None:
        unknown = sorted(set(stages) - set(self.parameters))
        if unknown:
            raise InputError(f"There is no stage {', '.join(unknown)}.", where=where,
                             expected=", ".join(self.parameters))  # fmt: skip

    def _parameters(self, stage: Stage) -> dict[str, Any]:
        """Template defaults < use case < profile < command line, checked against the schema."""
        usecase, name = self.project.usecase, stage.name
        values = dict(usecase.parameters.get(name, {}))
        if self.profile:
            if self.profile not in usecase.profiles:
                raise InputError(
                    "The use case has no such profile.",
                    where=f"{USECASE_FILE}: profiles",
                    expected=", ".join(usecase.profiles) or "none is declared",
                    given=self.profile,
                )
            values |= usecase.profiles[self.profile].get(name, {})
        values |= stage.schema.coerce(self.given.get(name, []))
        return stage.schema.check(values)

    def check(self, until: str | None = None) -> str:
        """Refuse what may not run on this track at all; returns the isolation level to use.

        An inspection runs before anything is classified: it is what proposes the classes.
        """
        wrong = gates.preflight(self.project.policy)
        if wrong:
            raise InputError("The policy can't be evaluated.", where=self.project.usecase.policy,
                             given="; ".join(wrong))  # fmt: skip
        if folder := self.project.usecase.scenarios:
            gating.libraries(self.project.path(folder, "scenarios"))
        level, _ = isolation.available()
        found = self.missing(until)
        if found:
            raise InputError(
                f"This use case may not run on the {self.store.track} track yet.",
                where=self.project.root,
                given="\n            ".join(map(str, found)),
                next_step="Each of them clears what is theirs; then run again.",
            )
        return level

    def missing(self, until: str | None = None) -> list[Missing]:
        """What stands between the use case and this run: what, who owes it, and what they type."""
        level, _ = isolation.available()
        stages = self.upto(until)
        return preflight.missing(self.project, self.store, stages, self.parameters, level)

    # -- the plan ---------------------------------------------------------------------------

    def plan(self, until: str | None = None) -> Iterator[tuple[Stage, Step | None, str]]:
        """Stage by stage what would happen. A step is None where it depends on one that will run."""
        pending: list[str] = []
        for stage in self.upto(until):
            waits = sorted(stage.needs() & set(pending))
            if waits:
                pending.append(stage.name)
                yield stage, None, f"follows {', '.join(waits)}"
                continue
            step = self.step(stage)
            if step.reuse:
                self.records[stage.name] = step.reuse
            else:
                pending.append(stage.name)
            yield stage, step, step.reason

    def preview(self, until: str | None = None) -> list[dict[str, Any]]:
        """The plan in plain words: stage, run or reuse, why, and the gates that it touches."""
        return [
            {
                "stage": stage.name,
                "action": "reuse" if step and step.reuse else "run",
                "why": reason,
                "gates": [gate.id for gate in self.project.policy.of(stage.name)],
            }
            for stage, step, reason in self.plan(until)
        ]

    def upto(self, until: str | None = None) -> list[Stage]:
        """The stages that `until` stands on and itself; all of them without one."""
        if until is None:
            return self.stages
        wanted, names = {until}, {stage.name for stage in self.stages}
        if until not in names:
            raise InputError(
                "There is no such stage.", expected=", ".join(sorted(names)), given=until
            )
        for stage in reversed(self.stages):
            if stage.name in wanted:
                wanted |= stage.needs()
        return [stage for stage in self.stages if stage.name in wanted]

    def step(self, stage: Stage) -> Step:
        """Inputs, key and, if an earlier record has the same key, that record to reuse."""
        inputs = resolve(self.project, stage, self.records, self.store, self.development)
        parameters = self.parameters[stage.name]
        key = self.key_for(stage, parameters, inputs)
        earlier = self.earlier(stage)
        same = [record for record in earlier if key_of(record).get("digest") == key["digest"]]
        if same and not self.fresh:
            return Step(stage, parameters, inputs, key, same[-1], "unchanged")
        if same:
            return Step(stage, parameters, inputs, key, None, "asked for anew")
        reason = changed(key_of(earlier[-1]), key) if earlier else "first run"
        taken_over = self._reusable(stage, key, {item.snapshot for item in inputs.values()})
        return Step(stage, parameters, inputs | taken_over, key, None, reason)

    def key_for(self, stage: Stage, parameters: dict, inputs: dict[str, Input]) -> dict[str, Any]:
        """All that decides the result; two runs with the same key need not both happen."""
        environment = capture.environment()
        own = self.project.root / "steps"
        parts = {
            "template": stage.source_digest,
            "parameters": parameters,
            "inputs": {name: item.identity for name, item in sorted(inputs.items())},
            "workbench": capture.package_digest(),
            "libraries": environment["libraries"],
            "python": environment["python"],
            "steps": tree_digest(approvals.sources(own)) if own.is_dir() else None,
        }
        read = [r for name, r in self.records.items() if name in stage.needs()]
        parts |= causes.told(stage, self.store, read)
        parts |= acceptances.told(stage, self.store, self.records.values())
        return {"digest": digest(parts), "parts": parts, "reusable": self._partial(stage, parts)}

    def _partial(self, stage: Stage, parts: dict[str, Any]) -> dict[str, str]:
        """Output -> digest of what alone decides it, for outputs that outlive a change elsewhere."""
        declared = stage.facts.get("reuses", {})
        same = {name: value for name, value in parts.items() if name != "inputs"}
        return {
            output: digest([same, {n: parts["inputs"].get(n) for n in names}])
            for output, names in declared.items()
        }

    def earlier(self, stage: Stage) -> list[Record]:
        """Successful records of this stage and use case, the oldest first. Only what this ledger
        saw happen: of an imported record it can't tell what came before what. A certificate of a
        replay has no key, and is no stage's result.

        IntegrityError when one that it lists says that it is of another track: tracks don't mix.
        """
        own = {e.body["digest"]: e.index for e in self.store.ledger.entries("record")}
        found = [
            record
            for record in self.store.records(stage.name)
            if record.digest in own
            and record.outcome == "succeeded"
            and key_of(record)
            and usecase_of(record) == self.project.usecase.id
        ]
        for record in found:
            if track_of(record) != self.store.track:
                raise IntegrityError(
                    "A record of another track stands in this store.",
                    where=record.path, expected=self.store.track, given=track_of(record),
                    next_step="Find out who put it there; nothing runs on it.",
                )  # fmt: skip
        return sorted(found, key=lambda record: own[record.digest])

    def _reusable(self, stage: Stage, key: dict[str, Any], snapshots: set) -> dict[str, Input]:
        """Outputs of earlier records that can be taken over, as inputs named after them.

        Rows of another snapshot than this stage's `snapshots` are left: one key, one deletion.
        """
        found = {}
        for output, partial in key["reusable"].items():
            for record in reversed(self.earlier(stage)):
                if key_of(record).get("reusable", {}).get(output) == partial:
                    name = Path(output).stem
                    item = from_record(name, Source(stage.name, output), record)
                    if item and item.snapshot in {None, *snapshots}:
                        _verified(record, self.store)
                        found[name] = item
                    break
        return found

    # -- the run ----------------------------------------------------------------------------

    def run(self, until: str | None = None) -> list[Done]:
        """Every stage in order. GateNotPassed when a gate stops it; the records stay."""
        level = self.check(until)
        done: list[Done] = []
        with alone(self.store, self.project.usecase.id):
            self.store.recover()  # rows that a killed run had decrypted go first
            stages = self.upto(until)
            self.on_event("plan", stages=[stage.name for stage in stages], level=level)
            jobs = self.jobs or fitting(self.parameters[stage.name] for stage in stages)
            with closing(carry_out(stages, lambda stage: self._one(stage, level), jobs)) as ended:
                for one in ended:
                    done.append(one)
                    self._stop_at(one.stage, done)
        return done

    def _one(self, stage: Stage, level: str) -> Done:
        began = time.monotonic()
        step = self.step(stage)
        self.on_event("stage", stage=stage.name, reused=step.reuse is not None, reason=step.reason)
        if step.reuse:
            record = step.reuse
            _verified(record, self.store)
            commitments.commit(self.store, stage, record)
        else:
            record = runner.run(
                runner.Job(
                    project=self.project, stage=stage, store=self.store, inputs=step.inputs,
                    parameters=step.parameters, key=step.key, level=level, who=actor(self.project.root),
                    records=dict(self.records), profile=self.profile, development=self.development,
                    on_event=lambda kind, **facts: self.on_event(kind, stage=stage.name, **facts),
                )
            )  # fmt: skip
        self.records[stage.name] = record
        finished = Done(stage.name, record, step.reuse is not None, step.reason,
                        time.monotonic() - began)  # fmt: skip
        self.on_event("done", stage=stage.name, done=finished)
        return finished

    def _stop_at(self, name: str, done: list[Done]) -> None:
        """A gate that didn't pass ends the run, unless the deciding stage is to weigh it."""
        if next(stage for stage in self.stages if stage.name == name).facts.get("continues"):
            return
        judged = acceptances.beside(self.store, done[-1].record)
        stopped = [v for v in judged if v["blocking"] and not risks.stands(v)]
        if stopped:
            error = GateNotPassed(
                f"{name}: " + "; ".join(f"{v['criterion']} {v['verdict']}" for v in stopped),
                where=f"record {done[-1].record.ref}",
                given="; ".join(v["reason"] for v in stopped),
                next_step=f"workbench show {done[-1].record.id}",
            )
            error.done = done
            raise error


def key_of(record: Record) -> dict[str, Any]:
    return record.statement.predicate.buildDefinition.internalParameters.get("key", {})


def usecase_of(record: Record) -> str | None:
    return record.statement.predicate.buildDefinition.externalParameters.get("usecase")


def track_of(record: Record) -> str | None:
    return record.statement.predicate.buildDefinition.externalParameters.get("track")


def changed(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Which parts of the key differ, in words: `input train, parameter epochs (3 → 4)`."""
    before, after = old.get("parts", {}), new["parts"]
    words = []
    for part in after | before:
        was, now = before.get(part), after.get(part)
        if was == now:
            continue
        if isinstance(now, dict) and isinstance(was, dict):
            names = sorted(n for n in was.keys() | now.keys() if was.get(n) != now.get(n))
            words += [_changed_one(part, n, was.get(n), now.get(n)) for n in names[:4]]
        else:
            plain = {"template": "the notebook", "workbench": "the workbench's code"}
            words.append(plain.get(part, part))
    return "changed: " + ", ".join(words)


def _changed_one(part: str, name: str, was: Any, now: Any) -> str:
    if part == "inputs":
        return f"input {name}"
    return f"{part.removesuffix('s')} {name} ({was} → {now})"


def actor(root: Path) -> dict[str, str]:
    """Who runs this, as git knows them: a claim, not a signature."""

    def config(name: str) -> str:
        found = subprocess.run(
            ["git", "-C", str(root), "config", name], capture_output=True, text=True, check=False
        )
        return found.stdout.strip()

    name = config("user.name") or os.environ.get("USER", "") or "unknown"
    return {"name": name, "email": config("user.email"), "source": "git config, not verified"}


def _verified(record: Record, store: Store) -> None:
    problems = verify_record(record, store.public_keys)
    if problems:
        raise IntegrityError(
            "An earlier record that would be reused does not verify.",
            where=record.path,
            given="; ".join(map(str, problems[:3])),
            next_step="workbench verify names everything that is wrong.",
        )


@contextmanager
def alone(store: Store, usecase: str) -> Iterator[None]:
    """One run of a use case on a track at a time; the lock goes with the process."""
    path = store.path / "scratch" / f".run-{usecase}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise InputError(
                "Another run of this use case is under way on this track.",
                where=store.path,
                given=f"process {handle.read().strip() or '?'}",
                next_step="Wait until it has ended, or stop it.",
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield

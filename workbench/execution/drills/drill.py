"""A drill: defects drawn by a seed, planted one by one, and what caught each (L8).

What refuses is asked of the very functions that the verbs call, each for itself. A kind is caught
when every gate that it names refuses; by others alone it is not, and they are told apart. Then
those gates are not asked, in the sandbox and nowhere else, and the same defect has to come through:
so it is they that catch it. Releases without a defect, drawn as well, have to pass: else the gates
refuse whatever comes.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

from ...errors import InputError, WorkbenchError
from ...policy import governance as dataset
from ...policy.gates import GateResult, GateVerdict
from ...policy.release import judge
from ...policy.statistics import clopper_pearson
from ...record import clock, verify
from ...record.store import Store
from .. import bundle, governance, runner
from ..facts import FUNCTIONAL
from ..project import Project
from ..recompute import recompute
from ..release.export import verifier
from . import sandbox
from .defects import KINDS, Kind
from .sandbox import Sandbox


class Refusal(NamedTuple):
    """Which gate refused, and what it said, with the file or person at fault."""

    gate: str
    why: str

    def __str__(self) -> str:
        return f"{self.gate}: {' '.join(self.why.split())}"


class Outcome(NamedTuple):
    """What became of one defect."""

    kind: str
    seed: int
    where: str
    """File, entry or person at which it was planted."""
    by: tuple[str, ...]
    """Gates that must refuse it."""
    refused: tuple[Refusal, ...]
    """What every gate said that refused."""
    through: tuple[Refusal, ...]
    """What still refused it when those were not asked; empty when it came through."""
    planted: bool = True

    @property
    def verdict(self) -> str:
        """`caught`, `by another only`, `escaped`, or `not planted` where there is nothing to."""
        if not self.planted:
            return "not planted"
        gates = {one.gate for one in self.refused}
        return "caught" if gates >= {*self.by} else "by another only" if gates else "escaped"


def share(k: int, n: int) -> dict[str, Any]:
    """A rate with its Clopper-Pearson interval (95 %); no interval of nothing."""
    return {"count": k, "n": n, "interval": list(clopper_pearson(k, n)) if n else None}


def drill(
    project: Project, store: Store, candidate: bundle.Candidate, *, seeds: Iterable[int],
    only: Collection[str] = (), clean: int = 10,
) -> dict[str, Any]:  # fmt: skip
    """Plant each kind (or `only` those named) once a seed; the report as plain values. InputError
    for a kind that nobody knows, and where a gate refuses before anything was planted."""
    if unknown := set(only) - KINDS.keys():
        raise InputError("There is no such kind of defect.", given=", ".join(sorted(unknown)),
                         expected=", ".join(KINDS))  # fmt: skip
    chosen, seeds = [KINDS[name] for name in only or KINDS], list(seeds)
    with sandbox.of(project, store, candidate) as box:
        rng = random.Random(f"{seeds[0]} sound")
        box.sign(rng)
        again = any("recompute" in kind.by for kind in chosen)
        if refused := ask(replace(box, suspects=(box.record(FUNCTIONAL).ref,) if again else ())):
            raise InputError("A drill starts from a release that every gate lets pass.",
                             where=candidate.record.ref, given="; ".join(map(str, refused)),
                             next_step="workbench release status")  # fmt: skip
        passed = [_clean(box, rng) for _ in range(clean)]
        outcomes = [_planted(box, kind, seed) for seed in seeds for kind in chosen]
    caught = sum(one.verdict == "caught" for one in outcomes)
    planted = sum(one.planted for one in outcomes)
    refused = [list(map(str, one)) for one in passed if one]
    return {
        "bundle": candidate.digest, "ok": caught == planted and not refused,
        "caught": share(caught, planted), "clean": clean, "false_refusals": refused,
        "outcomes": [one._asdict() | {"verdict": one.verdict} for one in outcomes],
    }  # fmt: skip


def _clean(box: Sandbox, rng: random.Random) -> list[Refusal]:
    """A release with approvals by others, in another order, looked at on another day."""
    with box.copied() as other:
        other.sign(rng)
        now, end = map(clock.parse, (clock.now(), other.evidence().subject["expires"]))
        other.now = clock.text(now + timedelta(seconds=rng.random() * (end - now).total_seconds()))
        return ask(other)


def _planted(box: Sandbox, kind: Kind, seed: int) -> Outcome:
    with box.copied() as other:
        try:
            where = kind.plant(other, random.Random(f"{seed} {kind.name}"))
        except InputError as error:
            return Outcome(kind.name, seed, error.what, tuple(sorted(kind.by)), (), (), False)
        both = ask(other), ask(other, kind.by)
    return Outcome(kind.name, seed, where, tuple(sorted(kind.by)), *map(tuple, both))


# ---- what refuses --------------------------------------------------------------------------------


def ask(box: Sandbox, off: Collection[str] = ()) -> list[Refusal]:
    """All refusals. Gates named by `off` are not asked, and what stands behind them goes on."""
    found = []
    for name, check in CHECKS.items():
        if name not in off:
            try:
                found += [one for one in check(box) if one.gate not in off]
            except WorkbenchError as error:
                found.append(Refusal(name, str(error)))
    return found


def _verify(box: Sandbox) -> Iterator[Refusal]:
    for one in verify.verify_store(box.store, box.trusted).problems:
        yield Refusal("verify", str(one))


def _verifier(box: Sandbox) -> Iterator[Refusal]:
    """As a stranger runs it, with the key that they were given before."""
    key = box.home / "trusted.pem"
    key.write_text("".join(box.trusted))
    words = [sys.executable, verifier(), box.store.path, "--key", key]
    done = subprocess.run(words, capture_output=True, text=True)
    for line in (done.stdout.splitlines()[:-1] or [done.stderr]) if done.returncode else ():
        yield Refusal("verify_record.py", line)


def _bundle(box: Sandbox) -> Iterator[Refusal]:
    yield from (Refusal("bundle", str(one)) for one in bundle.check(box.candidate.folder))


def _ledger(box: Sandbox) -> Iterable[Refusal]:
    box.store.ledger.signed()
    return ()


def _standing(box: Sandbox) -> Iterable[Refusal]:
    """The gates of the release. A ledger that does not verify is believed: it has its own gate."""
    return _refused(judge(box.evidence(box.believed)))


def _dataset(box: Sandbox) -> Iterable[Refusal]:
    """The standing gates of the dataset once more, where its rows were opened."""
    folder, case = box.home / "dataset", box.project
    if not folder.exists():
        return ()
    [data] = (folder / "raw").glob("*")
    paths = {"facts": folder / "facts.json", "proposals": folder / "proposals.json", "data": data}
    stage = SimpleNamespace(name=dataset.STAGE, facts={"governs": "data"})
    inputs = {name: SimpleNamespace(path=path) for name, path in paths.items()}
    job = SimpleNamespace(stage=stage, inputs=inputs, store=box.store, project=case)
    return _refused(governance.judge(job, folder))


def _layers(box: Sandbox) -> Iterable[Refusal]:
    stage = SimpleNamespace(name=bundle.STAGE)
    job = SimpleNamespace(project=box.project, stage=stage, store=box.believed)
    read = [one for one in box.verdicts() if one["stage"] not in box.unread]
    return _refused([runner.judge_layers(job, read)])


def _refused(results: Iterable[GateResult]) -> Iterator[Refusal]:
    for one in results:
        if one.verdict != GateVerdict.PASSED:
            yield Refusal(one.criterion, f"{one.verdict}: {one.reason}")


def _recompute(box: Sandbox) -> Iterator[Refusal]:
    for ref in box.suspects:
        for one in recompute(box.store, box.project, ref).bad:
            yield Refusal("recompute", str(one))


def _approve(box: Sandbox) -> Iterator[Refusal]:
    yield from (Refusal("approve", one) for one in box.declined)


CHECKS: dict[str, Callable[[Sandbox], Iterable[Refusal]]] = {
    "verify": _verify, "verify_record.py": _verifier, "bundle": _bundle, "ledger": _ledger,
    "standing": _standing, "dataset": _dataset, "layers": _layers, "recompute": _recompute,
    "approve": _approve,
}  # fmt: skip

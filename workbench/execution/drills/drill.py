"""A drill: defects drawn by a seed, planted one by one, and what caught each (L8).

A kind is caught when every gate that it names refuses; by others alone it is not, and they are told
apart. Then those gates are put out of action, in the sandbox's own questions and nowhere else, and
the same defect has to come through: so it is they that catch it. Releases without a defect, drawn
as well, have to pass: else the gates refuse whatever comes.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...policy.statistics import clopper_pearson
from ...record import clock
from ...record.store import Store
from ..bundle import Candidate
from ..project import Project
from . import sandbox
from .checks import Refusal, ask
from .defects import KINDS, Kind
from .sandbox import Sandbox


@dataclass(frozen=True)
class Outcome:
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
    """What still refused it with those put out of action; empty when it came through."""
    seconds: float

    @property
    def gates(self) -> set[str]:
        return {one.gate for one in self.refused}

    @property
    def verdict(self) -> str:
        """`caught`, `by another only`, or `escaped`."""
        missing = set(self.by) - self.gates
        return "caught" if not missing else "by another only" if self.gates else "escaped"


@dataclass(frozen=True)
class Report:
    """The outcomes, and what refused each release that had no defect."""

    bundle: str
    outcomes: Sequence[Outcome]
    clean: Sequence[tuple[Refusal, ...]]

    @property
    def ok(self) -> bool:
        return not any(self.clean) and all(one.verdict == "caught" for one in self.outcomes)

    def as_dict(self) -> dict[str, Any]:
        caught, n = sum(one.verdict == "caught" for one in self.outcomes), len(self.outcomes)
        outcomes = [asdict(one) | {"verdict": one.verdict} for one in self.outcomes]
        return {
            "bundle": self.bundle, "caught": caught, "n": n,
            "interval": list(clopper_pearson(caught, n))[:2] if n else None,
            "clean": len(self.clean), "false_refusals": sum(map(bool, self.clean)),
            "refused_clean": [list(map(str, one)) for one in self.clean if one],
            "outcomes": outcomes,
        }  # fmt: skip


def drill(
    project: Project, store: Store, candidate: Candidate, *, seeds: Iterable[int],
    only: Collection[str] = (), clean: int = 10,
) -> Report:  # fmt: skip
    """Plant each kind (or `only` those named) once a seed. InputError for a kind that nobody knows,
    and where a gate refuses before anything was planted."""
    if unknown := set(only) - KINDS.keys():
        raise InputError("There is no such kind of defect.", given=", ".join(sorted(unknown)),
                         expected=", ".join(KINDS))  # fmt: skip
    chosen, seeds = [KINDS[name] for name in only or KINDS], list(seeds)
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        box = sandbox.make(project, store, candidate, Path(folder, "sound"))
        with box.entered():
            rng = random.Random(f"{seeds[0]} sound")
            box.sign(rng)
            if refused := ask(box):
                raise InputError("A drill starts from a release that every gate lets pass.",
                                 where=candidate.record.ref, given="; ".join(map(str, refused)),
                                 next_step="workbench release status")  # fmt: skip
            passed = [_clean(box, rng) for _ in range(clean)]
            outcomes = [_planted(box, kind, seed) for seed in seeds for kind in chosen]
    return Report(candidate.digest, outcomes, passed)


def _clean(box: Sandbox, rng: random.Random) -> tuple[Refusal, ...]:
    """A release with approvals by others, in another order, looked at on another day."""
    with box.copied() as other:
        other.sign(rng)
        now, end = map(clock.parse, (clock.now(), other.evidence().subject["expires"]))
        other.now = clock.text(now + timedelta(seconds=rng.random() * (end - now).total_seconds()))
        return tuple(ask(other))


def _planted(box: Sandbox, kind: Kind, seed: int) -> Outcome:
    began, rng = time.monotonic(), random.Random(f"{seed} {kind.name}")
    with box.copied() as other:
        where = kind.plant(other, rng)
        refused = tuple(ask(other))
        through = tuple(ask(other, kind.by))
    seconds = round(time.monotonic() - began, 1)
    return Outcome(kind.name, seed, where, tuple(sorted(kind.by)), refused, through, seconds)

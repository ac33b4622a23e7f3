"""Attribution (A5): where the candidate changed a group of cases beyond chance, and what made it.

A row is a case, asked of a model: case_id, model, set (`locked`, `rules`, `scenarios` or `dev`),
task, group (a class of the task, or a rule), correct (None where it was not scored). Models are
`base`, `candidate` and the ablations, each trained as the candidate was but for one thing:
`method` (the previous candidate's method), `data` (its data), `source NAME` (without a source).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import statistics

BASE, CANDIDATE, DEV = "base", "candidate", "dev"
WORSE, BETTER, CHANCE = "worse", "better", "within chance"
METHOD, DATA, SOURCE = "method", "data", "source "
UNDECIDED, INHERITED = "not decided", "base already had it"
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """Two models on the same cases of a group; `p` is adjusted for all groups compared (Holm)."""

    task: str
    group: str
    n: int
    before: float
    after: float
    low: float
    high: float
    gained: int
    lost: int
    shared: int
    """Cases that both have wrong."""
    p: float
    verdict: str

    @property
    def key(self) -> tuple[str, str]:
        """Task and group."""
        return self.task, self.group


def changes(
    rows: Rows, before: str = BASE, after: str = CANDIDATE, level: float = 0.95
) -> list[Change]:
    """Each group: shares right, the paired difference with Tango's interval, and whether it is
    beyond chance: exact McNemar, adjusted over the groups (Holm 1979, Scand. J. Stat. 6:65)."""
    found, made = sorted(_pairs(rows, before, after).items()), []
    counted = [(pairs.count((0, 1)), pairs.count((1, 0))) for _, pairs in found]
    adjusted = statistics.holm([statistics.mcnemar_exact(*both) for both in counted])
    for (key, pairs), (gained, lost), p in zip(found, counted, adjusted, strict=True):
        verdict = CHANCE if p > 1 - level else BETTER if gained > lost else WORSE
        shares = (sum(pair[side] for pair in pairs) / len(pairs) for side in (0, 1))
        interval = statistics.tango(gained, lost, len(pairs), level)
        shared = pairs.count((0, 0))
        made.append(Change(*key, len(pairs), *shares, *interval, gained, lost, shared, p, verdict))
    return made


def _pairs(rows: Rows, before: str, after: str) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Task and group -> (right before, right after) of each case that both were scored on."""
    known: dict[str, dict[tuple, int]] = {before: {}, after: {}}
    for row in rows:
        if row["model"] in known and row["correct"] is not None:
            place = (row["task"], row["group"], row["set"], row["case_id"])
            known[row["model"]][place] = int(row["correct"])
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for place in sorted(known[before].keys() & known[after].keys()):
        pair = known[before][place], known[after][place]
        found.setdefault(place[:2], []).append(pair)
    return found


def repaired(
    rows: Rows, groups: Iterable[tuple[str, str]], ablations: Iterable[str], level: float = 0.95
) -> dict[tuple[str, str], dict[str, bool]]:
    """Group -> ablation -> is it better there than the candidate, beyond chance over all of them?

    An ablation without a case of the group repairs nothing that can be seen.
    """
    wanted, names = set(groups), list(ablations)
    each = 1 - (1 - level) / max(1, len(names))
    found: dict[tuple[str, str], dict[str, bool]] = {
        key: dict.fromkeys(names, False) for key in wanted
    }
    for name in names:
        chosen = [row for row in rows if (row["task"], row["group"]) in wanted]
        for change in changes(chosen, CANDIDATE, name, each):
            found[change.key][name] = change.verdict == BETTER
    return found


def cause(change: Change, repairs: Mapping[str, bool]) -> tuple[str, str]:
    """What made the candidate as it is in a group, and why we say so.

    What repairs it is the cause: a source before the data that holds it; where the method and
    something else each do, it took both. Where nothing does, the base had it already, if most
    errors are the base's too and it is not worse beyond chance.
    """
    errors = change.lost + change.shared
    if not errors:
        return "none", "no case of it is wrong"
    helps = [name for name, yes in repairs.items() if yes]
    sources = [name for name in helps if name.startswith(SOURCE)]
    if helps:
        said = f"repaired beyond chance by changing {', '.join(helps)} alone"
        both = METHOD in helps and len(helps) > 1
        return "interaction" if both else ", ".join(sources) or helps[0], said
    tried = f"no ablation repairs it beyond chance ({', '.join(repairs) or 'none was trained'})"
    if change.verdict == WORSE or 2 * change.shared < errors:
        return UNDECIDED, tried
    return INHERITED, f"{change.shared} of {errors} errors are the base's too; {tried}"

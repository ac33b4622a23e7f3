"""Standing gates over a dataset: whatever the use case's own criteria say, these must pass.

They are computed by the engine from the sealed tables, outside the kernel. A stage that makes a
dataset declares `governs: data`; the deciding stage seals no candidate without their verdicts.

1. data_classes: no column is declared less strict than what the inspection found, but for a reason.
2. data_steps: the steps that ran are the declared ones, and code that changed has a new version.
3. data_lineage: every source row is in one set or left for a reason; every row of a set has a source.
4. data_sets_apart: no text, but for case and punctuation, and no group stands in two sets.
5. data_never_learn: nothing that a rule forbids is in what is learned from (residual scan).
6. redaction_*, synthesis_*: acceptance, where such a step ran (`acceptance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from . import acceptance, lineage_rows, never_learn, proposals
from .figures import Figure, Rows
from .gates import NAMED, GateResult, GateVerdict
from .never_learn import Review
from .texts import bare
from .usecase import Data

STAGE = "20_dataset"
GATES = {
    "data_classes": "A column that speaks of persons is handled as if it did not.",
    "data_steps": "Nobody can say which code made the rows that the model learned from.",
    "data_lineage": "Rows vanish or appear, and nobody can say why.",
    "data_sets_apart": "Every later figure flatters the model, and nobody learns how it does on others.",
    "data_never_learn": "The model learns, and may repeat, what nobody may learn.",
}
SETS = ("train", "dev", "locked")
LEARNED_FROM = ("train", "dev")
MARKS = {"row_id", "synthetic"}


@dataclass(frozen=True)
class Evidence:
    """What the verdicts rest on: sealed tables, frozen declarations, and the ledger's word."""

    data: Data
    """The declaration that the intake froze."""
    table: Callable[[str], Rows | None]
    """Rows of a table that the stage left, None where there is none."""
    manifest: Sequence[Mapping[str, Any]] | None
    """The steps as they ran."""
    raw_ids: Sequence[str]
    """Ids of the source's rows, counted by the engine."""
    proposals: Sequence[Mapping[str, Any]] | None
    """What the inspection of the same bytes proposed; None where there was none."""
    reviews: Sequence[Review] = ()
    """Signed privacy reviews of this use case."""
    history: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(step, version) -> code digest, as earlier records hold it."""
    now: str = ""
    """The engine's time, against which reviews expire."""


def judge(evidence: Evidence) -> list[GateResult]:
    """One result a standing gate, in the order above; never raises."""
    checks = (_classes, _steps, _lineage, _sets_apart, _never_learn)
    found = [_run(name, check, evidence) for name, check in zip(GATES, checks, strict=True)]
    return found + _judged(evidence)


def _judged(evidence: Evidence) -> list[GateResult]:
    try:
        return accepted(evidence.manifest or (), evidence.table)
    except Exception as error:  # a manifest or table that can't be read accepts nothing
        return [_result("data_steps", GateVerdict.NOT_EVALUATED, None, str(error), ())]


def _run(
    name: str, check: Callable[[Evidence], tuple[list[str], int, str]], evidence: Evidence
) -> GateResult:
    try:
        faults, n, reason = check(evidence)
    except Exception as error:  # whatever stops a gate from being computed, it isn't a pass
        text = " ".join(str(error).split()) or type(error).__name__
        return _result(name, GateVerdict.NOT_EVALUATED, None, text, ())
    verdict = GateVerdict.FAILED if faults else GateVerdict.PASSED
    figure = Figure(name, len(faults), n=n, method="count", unit="findings")
    return _result(name, verdict, figure, _some(faults) or reason, faults)


def _result(
    name: str, verdict: GateVerdict, figure: Figure | None, reason: str, faults: Iterable[str]
) -> GateResult:
    named = tuple(list(faults)[:100])
    return GateResult(name, STAGE, verdict, figure, "no finding", reason, GATES[name], True, named)


def _some(faults: Sequence[str]) -> str:
    more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    return "; ".join(faults[:NAMED]) + more


def _classes(evidence: Evidence) -> tuple[list[str], int, str]:
    if evidence.proposals is None:
        raise InputError("the data was not inspected: there is no record of 05_inspection")
    declared = evidence.data.columns
    inspected = {one["column"] for one in evidence.proposals}
    faults = [f"{name}: not in the inspected data" for name in declared if name not in inspected]
    faults += proposals.disagreements(evidence.proposals, declared)
    kept = sum(column.override is not None for column in declared.values())
    return faults, len(declared), f"{len(declared)} columns, {kept} with a reason to differ"


def _steps(evidence: Evidence) -> tuple[list[str], int, str]:
    if evidence.manifest is None:
        raise InputError("there is no manifest.json")
    said = [(s.use, s.why, s.arguments, s.accept) for s in evidence.data.steps]
    ran = [(m["use"], m["why"], m["arguments"], m["accept"]) for m in evidence.manifest]
    faults = [] if said == ran else ["the steps that ran are not those that were declared"]
    for step in evidence.manifest:
        was = evidence.history.get((step["use"], step["version"]))
        if was and was != step["code_sha256"]:
            faults.append(
                f"{step['use']}: its code changed, its version is still {step['version']}"
            )
    return faults, len(ran), f"{len(ran)} steps ran as declared"


def _lineage(evidence: Evidence) -> tuple[list[str], int, str]:
    final = {name: [str(row["row_id"]) for row in _rows(evidence, name)] for name in SETS}
    faults = lineage_rows.gaps(_needed(evidence, "lineage.parquet"), evidence.raw_ids, final)
    held = sum(map(len, final.values()))
    return faults, held, f"{len(evidence.raw_ids)} source rows accounted for, {held} in sets"


def _sets_apart(evidence: Evidence) -> tuple[list[str], int, str]:
    data, seen, faults, n = evidence.data, {}, [], 0
    for name in reversed(SETS):
        keys = set()
        for row in _rows(evidence, name):
            n += 1
            said = [("text", bare(str(row[data.text])))]
            said += [("group", str(row[data.group]))] if data.group else []
            faults += [
                f"{row['row_id']}: its {key[0]} stands in {seen[key]} and in {name}"
                for key in said
                if key in seen
            ]
            keys |= set(said)
        seen |= dict.fromkeys(keys, name)
    return faults, n, f"{n} rows, no text and no group in two sets"


def _never_learn(evidence: Evidence) -> tuple[list[str], int, str]:
    data, rules = evidence.data, evidence.data.never_learn
    rows = [row for name in LEARNED_FROM for row in _rows(evidence, name)]
    learned = learned_columns(data, rows[0] if rows else ())
    excused = {r.id: never_learn.excuse(r, evidence.reviews, evidence.now) for r in rules}
    bound = [rule for rule in rules if not excused[rule.id]]
    found = never_learn.scan(bound, data.columns, rows, learned)
    faults = [f"{one.rule}: {one.what} in {one.column} {one.row_id}".rstrip() for one in found]
    said = [f"{rule}: {review}" for rule, review in excused.items() if review]
    reason = f"{len(rules)} rules over {len(rows)} rows" if rules else "no rule is declared"
    return faults, len(rows), "; ".join([reason, *said])


def learned_columns(data: Data, names: Iterable[str]) -> list[str]:
    """Of a set's columns those that can be learned from: all but ids, marks and what divides rows."""
    aside = MARKS | {data.group, data.time, data.split, data.source}
    return [name for name in names if name not in aside]


def accepted(
    manifest: Sequence[Mapping[str, Any]], table: Callable[[str], Rows | None]
) -> list[GateResult]:
    """The acceptance of each step that redacted or made rows, on the rows that it measured itself."""
    found: list[GateResult] = []
    for step in manifest:

        def own(name: str, number: int = step["step"]) -> Rows | None:
            rows = table(name)
            return rows if rows is None else [row for row in rows if row["step"] == number]

        if step["use"] == "redact":
            spans, answers = own("redaction.parquet"), own("utility.parquet")
            found += acceptance.redaction(step["accept"], spans, answers)
        if step["use"] == "synthesise" or step["created"]:
            made, by_class = own("synthesis.parquet"), own("synthesis_classes.parquet")
            found += acceptance.synthesis(step["accept"], made, by_class)
    return found


def _rows(evidence: Evidence, name: str) -> Rows:
    return _needed(evidence, f"{name}.parquet")


def _needed(evidence: Evidence, table: str) -> Rows:
    rows = evidence.table(table)
    if rows is None:
        raise InputError(f"there is no {table}")
    return rows

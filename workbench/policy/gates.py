"""Gates: figures, computed again from the sealed rows, against criteria frozen before the run.

The rules, in the order in which they are applied; the first that holds decides:

1. No table, no such column, figure or scorer, an exception, a case that stands there twice or
   that nobody locked, a scorer that fails its probes: `not_evaluated`.
2. Fewer cases than the criterion asks, or nothing measured: `insufficient_evidence`.
3. The bound misses the threshold: `failed`.
4. A case unscored, or a locked case that is absent: `insufficient_evidence`. Never a pass, never 0.
5. `passed`. Only this goes on.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ..errors import InputError, WorkbenchError
from . import figures, scorers
from .criteria import Criterion, Policy, PolicyRule, Threshold
from .figures import Figure, Rows
from .looks import ONLY, Looks, level_at

NAMED = 5  # cases or findings that a reason names before it says how many more


class GateVerdict(StrEnum):
    """What a gate comes to; the order is the order in which a whole is judged."""

    FAILED = "failed"
    NOT_EVALUATED = "not_evaluated"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"
    PASSED = "passed"


@dataclass(frozen=True)
class GateResult:
    """The verdict on one criterion or rule, with all that a reader needs to follow it."""

    criterion: str
    stage: str
    verdict: GateVerdict
    figure: Figure | None
    threshold: str
    reason: str
    harm: str
    blocking: bool
    failing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for canonical JSON."""
        return asdict(self) | {"verdict": str(self.verdict), "failing": list(self.failing)}


@dataclass(frozen=True)
class Mismatch:
    """A claim that the rows don't bear out."""

    criterion: str
    field: str
    claimed: Any
    recomputed: Any


def judge(
    policy: Policy,
    stage: str,
    table: Callable[[str], Rows | None],
    *,
    looks: Looks = ONLY,
    locked: Mapping[str, Collection[str]] | None = None,
) -> list[GateResult]:
    """One result for each gate of `stage`, in the policy's order; never raises.

    `table` gives the rows of a file, None when there is none; `looks` says which look at the
    locked set this is, of how many; `locked` maps a criterion or rule to the ids of its cases.
    """
    results = []
    for gate in policy.of(stage):
        ids = (locked or {}).get(gate.id)
        try:
            rows = table(gate.table)
        except Exception as error:
            results.append(_unevaluated(gate, f"{gate.table} can't be read: {_named(error)}"))
            continue
        single = evaluate if isinstance(gate, Criterion) else rule_gate
        results.append(single(gate, rows, looks=looks, locked=ids))
    return results


def evaluate(
    criterion: Criterion,
    rows: Rows | None,
    *,
    looks: Looks = ONLY,
    locked: Collection[str] | None = None,
) -> GateResult:
    """The verdict on a criterion over the rows of its table."""
    try:
        chosen = _select(criterion, rows, locked)
        level = level_at(criterion.level, looks.number, looks.budget)
        figure = figures.compute(criterion.figure, chosen, level=level, **criterion.arguments)
        return _verdict(criterion, _count_absent(figure, chosen, locked))
    except Exception as error:  # whatever stops a gate from being computed, it isn't a pass
        return _unevaluated(criterion, _named(error))


def rule_gate(
    rule: PolicyRule,
    rows: Rows | None,
    *,
    looks: Looks = ONLY,
    locked: Collection[str] | None = None,
) -> GateResult:
    """The verdict on a rule: its scorer over its cases, after the scorer has passed its probes."""
    try:
        score = scorers.score_with(rule.scorer, rule.arguments)
        if not scorers.sound(score, rule.probes):
            return _unevaluated(rule, f"the scorer `{rule.scorer}` fails the rule's own probes")
        chosen = _select(rule, rows, locked)
        scored = [row | {"verdict": score(row).outcome} for row in chosen]
        level = level_at(rule.level, looks.number, looks.budget)
        figure = figures.compute("pass_rate", scored, level=level)
        failing = [str(row.get("case_id")) for row in scored if row["verdict"] == "fail"]
        result = _verdict(rule, _count_absent(figure, scored, locked))
        return replace(result, failing=tuple(sorted(failing)))
    except Exception as error:
        return _unevaluated(rule, _named(error))


def _select(gate: Threshold, rows: Rows | None, locked: Collection[str] | None) -> list[dict]:
    """The rows that the gate is about. InputError when they can't be trusted to be the cases."""
    if rows is None:
        raise InputError(f"there is no {gate.table}")
    where = dict(gate.where)
    if isinstance(gate, PolicyRule) and gate.cases:
        where["rule"] = gate.id
    figures.need(rows, *where)
    allowed = {name: value if isinstance(value, list) else [value] for name, value in where.items()}
    chosen = [row for row in rows if all(row[name] in allowed[name] for name in allowed)]
    known = [row for row in chosen if "case_id" in row]
    keys = Counter((str(row["case_id"]), row.get("model"), row.get("task")) for row in known)
    twice = [key[0] for key, times in keys.items() if times > 1]
    if twice:
        raise InputError(f"cases counted twice: {_list(twice)}")
    strange = {key[0] for key in keys} - set(map(str, locked)) if locked is not None else set()
    if strange:
        raise InputError(f"cases that nobody locked: {_list(strange)}")
    return chosen


def _count_absent(figure: Figure, rows: Rows, locked: Collection[str] | None) -> Figure:
    """Count locked cases without a row as unscored: leaving out the hard ones doesn't help."""
    absent = set(map(str, locked or ())) - {str(row.get("case_id")) for row in rows}
    if not absent:
        return figure
    detail = figure.detail | {"absent": sorted(absent)}
    return replace(figure, unscored=figure.unscored + len(absent), detail=detail)


def _verdict(gate: Threshold, figure: Figure) -> GateResult:
    value = {"value": figure.value, "lower": figure.low, "upper": figure.high}[gate.bound]
    if figure.value is None or figure.n < gate.min_n:
        reason = f"{figure.n} cases, {gate.min_n} needed"
        return _result(gate, GateVerdict.INSUFFICIENT_EVIDENCE, reason, figure)
    if value is None:
        return _unevaluated(gate, f"{figure.name} has no {gate.bound} bound")
    reason = f"{figure.name}: {gate.bound} {value:.4g}, asked {gate.asked}, n={figure.n}"
    if not gate.met(value):
        return _result(gate, GateVerdict.FAILED, reason, figure)
    if figure.unscored:
        reason += f"; but {figure.unscored} unscored"
        return _result(gate, GateVerdict.INSUFFICIENT_EVIDENCE, reason, figure)
    return _result(gate, GateVerdict.PASSED, reason, figure)


def _result(gate: Threshold, to: GateVerdict, reason: str, figure: Figure | None) -> GateResult:
    return GateResult(gate.id, gate.stage, to, figure, gate.asked, reason, gate.harm, gate.blocking)


def _unevaluated(gate: Threshold, reason: str) -> GateResult:
    return _result(gate, GateVerdict.NOT_EVALUATED, reason, None)


def _named(error: Exception) -> str:
    """An exception on one line; ours as they are, others with their kind."""
    if isinstance(error, WorkbenchError):
        return " ".join(str(error).split())
    return f"{type(error).__name__}: {error}"


def _list(names: Iterable[str]) -> str:
    found = sorted(map(str, names))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more


def decide(results: Iterable[GateResult], required: Collection[str] = ()) -> GateVerdict:
    """The whole: the worst blocking verdict. Nothing that blocks, or a required one absent, is
    `not_evaluated`, so that a policy without gates lets nothing through."""
    blocking = {result.criterion: result.verdict for result in results if result.blocking}
    verdicts = set(blocking.values())
    if not blocking or set(required) - set(blocking):
        verdicts.add(GateVerdict.NOT_EVALUATED)
    return next(verdict for verdict in GateVerdict if verdict in verdicts)


def compare(claimed: Sequence[Mapping[str, Any]], found: Sequence[GateResult]) -> list[Mismatch]:
    """Every claim (a result as a notebook wrote it down) that the recomputed results contradict.

    Verdict and figure must be equal to the last digit: both come from the same rows and code.
    """
    claims = {str(claim.get("criterion")): claim for claim in claimed}
    truths = {result.criterion: result.as_dict() for result in found}
    odd = [Mismatch(name, "criterion", name, None) for name in claims.keys() - truths.keys()]
    for name in claims.keys() & truths.keys():
        for field in ("verdict", "figure", "threshold", "failing"):
            claim, truth = claims[name].get(field), truths[name][field]
            if claim != truth:
                odd.append(Mismatch(name, field, claim, truth))
    return sorted(odd, key=lambda one: (one.criterion, one.field))


def preflight(policy: Policy, cases_per_rule: int = 1) -> list[str]:
    """What would make a gate `not_evaluated` whatever the model does, or too small for the
    control plan's `cases_per_rule`; to be read before a run."""
    wrong = []
    for gate in policy.gates:
        known = figures.FIGURES if isinstance(gate, Criterion) else scorers.SCORERS
        name = gate.figure if isinstance(gate, Criterion) else gate.scorer
        if name not in known:
            wrong.append(f"{gate.id}: there is no `{name}`; known are {', '.join(known)}")
            continue
        try:
            inspect.signature(known[name]).bind([], **gate.arguments)
        except TypeError as error:
            wrong.append(f"{gate.id}: arguments of `{name}`: {error}")
            continue
        if isinstance(gate, PolicyRule):
            if not scorers.sound(scorers.score_with(name, gate.arguments), gate.probes):
                wrong.append(f"{gate.id}: the scorer `{name}` fails the rule's own probes")
            if gate.blocking and gate.min_n < cases_per_rule:
                wrong.append(f"{gate.id}: min_n {gate.min_n}, the plan asks for {cases_per_rule}")
    return wrong

"""Acceptance of redaction and synthesis (D5, D6): verdicts over the rows that such a step measured.

No table or no threshold: `not_evaluated`. So few cases that even a perfect result could not show
it, or something asked and not measured: `insufficient_evidence`. Never a pass instead. Thresholds
(`accept`): recall, precision, utility_loss; distance, js, and for each rare case `edge_case:NAME`,
the rows that it needs (`edge_cases: 0` says that none is asked). Spans are taken as independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..errors import InputError
from .figures import Figure, Rows, missing
from .gates import GateResult, GateVerdict
from .statistics import Interval, clopper_pearson, mcnemar_exact, tango, wilson

STAGE = "20_dataset"
LEVEL = 0.95  # two-sided: each bound alone errs in 2.5 % of cases
NAMED = 100  # failing cases that a result names
EDGE = "edge_case:"
Accept = Mapping[str, float]
Judged = tuple[GateVerdict, Figure, Sequence[str]]


def redaction(accept: Accept, spans: Rows | None, utility: Rows | None) -> list[GateResult]:
    """Recall and precision over labelled spans, and what the task loses over paired answers."""
    return [
        _result("redaction_recall", _recall, accept, spans, "recall",
                "What should be hidden stays readable, and the model learns it."),
        _result("redaction_precision", _precision, accept, spans, "precision",
                "What is harmless is blotted out, and the model learns holes."),
        _result("redaction_utility_loss", _loss, accept, utility, "utility_loss",
                "The redacted rows no longer teach the task."),
    ]  # fmt: skip


def synthesis(accept: Accept, rows: Rows | None, classes: Rows | None) -> list[GateResult]:
    """Every made row is marked and no near-copy, words are distributed alike, rare cases covered."""
    return [
        _result("synthesis_marked", _marked, accept, rows, None,
                "Made rows pass for what people wrote."),
        _result("synthesis_near_copies", _copies, accept, rows, "distance",
                "A made row repeats a person's own words."),
        _result("synthesis_distribution", _distribution, accept, classes, "js",
                "The model learns how the generator writes."),
        _result("synthesis_edge_cases", _edge_cases, accept, rows, None,
                "The rare case for which rows were made is still missing."),
    ]  # fmt: skip


def _result(
    name: str, judge: Callable[[Accept, Rows], Judged], accept: Accept, rows: Rows | None,
    threshold: str | None, harm: str,
) -> GateResult:  # fmt: skip
    asked = (judge.__doc__ or "").removesuffix(".")
    verdict, figure, failing = GateVerdict.NOT_EVALUATED, None, ()
    try:
        if threshold:
            asked += f" ({accept[threshold]:g})"
        if rows is None:
            raise InputError("the step left no such table")
        verdict, figure, failing = judge(accept, rows)
        value = "nothing measured" if figure.value is None else f"{figure.value:.4g}"
        bounds = "" if figure.low is None else f" [{figure.low:.4g}, {figure.high:.4g}]"
        reason = f"{figure.name}: {value}{bounds}, n={figure.n}"
    except Exception as error:  # whatever stops a gate from being computed, it isn't a pass
        missed = "no threshold or no column: " if isinstance(error, KeyError) else ""
        reason = missed + (" ".join(str(error).split()) or type(error).__name__)
    named = tuple(sorted(set(failing))[:NAMED])
    return GateResult(name, STAGE, verdict, figure, asked, reason, harm, True, named)


def _verdict(met: bool, enough: bool) -> GateVerdict:
    if not enough:
        return GateVerdict.INSUFFICIENT_EVIDENCE
    return GateVerdict.PASSED if met else GateVerdict.FAILED


def _yes(value: object) -> bool:
    return not missing(value) and bool(value)


def _recall(accept: Accept, rows: Rows) -> Judged:
    """The lower bound of recall is at least the threshold, and every entity has labelled spans."""
    unmeasured = sorted(row["entity"] for row in rows if missing(row["expected"]))
    spans = [row for row in rows if _yes(row["expected"])]
    kinds = Counter(row["entity"] for row in spans)
    found = Counter(row["entity"] for row in spans if _yes(row["found"]))
    detail = {"by_entity": {name: f"{found[name]}/{n}" for name, n in sorted(kinds.items())}}
    detail["unmeasured"] = unmeasured
    missed = [str(row["case_id"]) for row in spans if not _yes(row["found"])]
    return _share("recall", found.total(), len(spans), accept["recall"], clopper_pearson,
                  not unmeasured, detail, missed)  # fmt: skip


def _precision(accept: Accept, rows: Rows) -> Judged:
    """The lower bound of precision is at least the threshold."""
    found = [row for row in rows if _yes(row["found"])]
    wrong = [str(row["case_id"]) for row in found if not _yes(row["expected"])]
    n = len(found)
    return _share("precision", n - len(wrong), n, accept["precision"], wilson, True, {}, wrong)


def _share(
    name: str, hits: int, n: int, asked: float, interval: Callable[..., Interval], whole: bool,
    detail: dict, failing: Sequence[str],
) -> Judged:  # fmt: skip
    low, high = interval(hits, n, LEVEL) if n else (None, None)
    method = "Wilson" if interval is wilson else "Clopper-Pearson"
    figure = Figure(name, hits / n if n else None, low, high, n, method, "share", LEVEL, 0, detail)
    enough = whole and n > 0 and interval(n, n, LEVEL).low >= asked
    return _verdict(bool(n) and low >= asked, enough), figure, failing


def _loss(accept: Accept, rows: Rows) -> Judged:
    """The upper bound of the share of answers lost is at most the threshold."""
    pairs = Counter((_yes(row["before"]), _yes(row["after"])) for row in rows)
    n, lost, won = len(rows), pairs[True, False], pairs[False, True]
    if not n:
        return _verdict(False, False), Figure("utility loss", None, method="Tango score"), ()
    low, high = tango(lost, won, n, LEVEL)
    detail = {"lost": lost, "won": won, "mcnemar_p": mcnemar_exact(lost, won)}
    value, asked = (lost - won) / n, accept["utility_loss"]
    figure = Figure("utility loss", value, low, high, n, "Tango score", "difference", LEVEL, 0,
                    detail)  # fmt: skip
    return _verdict(high <= asked, tango(0, 0, n, LEVEL).high <= asked), figure, ()


def _counted(name: str, n: int, faults: Sequence[str], measured: bool = True) -> Judged:
    figure = Figure(name, len(faults), n=n, method="count", unit="findings")
    return _verdict(not faults, n > 0 and measured), figure, faults


def _marked(accept: Accept, rows: Rows) -> Judged:
    """Every made row is marked."""
    return _counted("unmarked", len(rows), [r["row_id"] for r in rows if not _yes(r["marked"])])


def _copies(accept: Accept, rows: Rows) -> Judged:
    """No made row is closer to an original than the threshold."""
    known = {row["row_id"]: row["distance"] for row in rows if not missing(row["distance"])}
    close = [name for name, distance in known.items() if distance < accept["distance"]]
    return _counted("near-copies", len(rows), close, len(known) == len(rows))


def _distribution(accept: Accept, rows: Rows) -> Judged:
    """No class is further from its real rows than the threshold (Jensen-Shannon distance)."""
    known = {row["label"]: row["distance"] for row in rows if not missing(row["distance"])}
    far = [name for name, distance in known.items() if distance > accept["js"]]
    return _counted("classes too far", len(rows), far, len(known) == len(rows))


def _edge_cases(accept: Accept, rows: Rows) -> Judged:
    """Each rare case that is asked has the rows that it needs."""
    asked = {name.removeprefix(EDGE): n for name, n in accept.items() if name.startswith(EDGE)}
    if not asked and accept["edge_cases"]:
        raise InputError(f"edge_cases names none; ask for each as `{EDGE}NAME`")
    made = Counter(row["edge_case"] for row in rows)
    thin = [f"{name}: {made[name]} of {n:g}" for name, n in asked.items() if made[name] < n]
    return _counted("edge cases too thin", len(rows), thin)

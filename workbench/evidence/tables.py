"""Tables for a terminal: records, verdicts, a pipeline's end. Word and symbol, never colour alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..record.store import Record

MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "red"),
    "insufficient_evidence": ("…", "yellow"),
    "not_evaluated": ("?", "yellow"),
    "succeeded": ("✓", "green"),
    "reused": ("↺", "green"),
}


def mark(verdict: str) -> Text:
    symbol, style = MARKS.get(verdict, ("·", ""))
    return Text(f"{symbol} {verdict.replace('_', ' ')}", style=style)


def figure_text(figure: Mapping[str, Any] | None) -> str:
    """`0.912 [0.884, 0.934] n=500`; what has no interval is shown without."""
    if not figure or figure.get("value") is None:
        return "not measured"
    value, low, n = figure["value"], figure.get("low"), figure.get("n")
    if isinstance(value, str):
        return value
    text = f"{value:g}" if low is None else f"{value:.3f} [{low:.3f}, {figure['high']:.3f}]"
    return text if n is None or figure.get("method") == "count" else f"{text} n={n}"


def records(found: Sequence[Record], usecase: str | None = None) -> Table:
    """One row a record, the newest last."""
    table = Table("stage", "id", "outcome", "gates", "digest", box=None, pad_edge=False)
    for record in found:
        verdicts = record.statement.predicate.workbench_verdicts
        passed = sum(v["verdict"] == "passed" for v in verdicts)
        gates = f"{passed}/{len(verdicts)} passed" if verdicts else ""
        table.add_row(record.stage, record.id, mark(record.outcome), gates, record.digest[:12])
    return table


def verdicts(found: Iterable[Mapping[str, Any]], title: str | None = None) -> Table:
    """One row a gate: verdict, figure with interval and n, what was asked."""
    table = Table("gate", "verdict", "figure", "asked", title=title, title_justify="left",
                  box=None, pad_edge=False)  # fmt: skip
    for one in found:
        name = one["criterion"] + ("" if one["blocking"] else " (not blocking)")
        decision = one["figure"] is None and one["verdict"] in ("passed", "failed")
        figure = "" if decision else figure_text(one["figure"])
        if decision and one["verdict"] == "passed" and one.get("failing"):  # in spite of these
            figure = f"failed and accepted: {', '.join(one['failing'])}"
        table.add_row(name, mark(one["verdict"]), figure, one["threshold"])
    return table


def stages(done: Sequence[Any]) -> Table:
    """One row a stage of a run: what became of it, why, how long, the record's id."""
    table = Table("stage", "outcome", "gates", "seconds", "record", "why", box=None, pad_edge=False)
    for one in done:
        outcome = "reused" if one.reused else one.record.outcome
        passed = sum(v["verdict"] == "passed" for v in one.verdicts)
        gates = f"{passed}/{len(one.verdicts)}" if one.verdicts else ""
        table.add_row(
            one.stage, mark(outcome), gates, f"{one.seconds:.1f}", one.record.id, one.reason
        )
    return table


def plan(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One row a stage of a dry run: whether it would run, why, and which gates that invalidates."""
    table = Table("stage", "would", "why", "gates to be judged again", box=None, pad_edge=False)
    for row in rows:
        gates = ", ".join(row["gates"]) if row["action"] == "run" else ""
        table.add_row(row["stage"], row["action"], row["why"], gates)
    return table


def comparison(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Figures recorded for `base` and `candidate` side by side; names end in `_base`, `_candidate`."""
    table = Table("figure", "base", "candidate", box=None, pad_edge=False)
    for name in found:
        stem = name.removesuffix("_candidate")
        if stem != name and f"{stem}_base" in found:
            table.add_row(
                stem.replace("_", " "), figure_text(found[f"{stem}_base"]), figure_text(found[name])
            )
    return table


def show(record: Record) -> RenderableType:
    """A record for a reader: what, from what, verdicts, files."""
    predicate = record.statement.predicate
    internal = predicate.buildDefinition.internalParameters
    facts = Table.grid(padding=(0, 2))
    for name, value in {
        "record": record.ref,
        "digest": record.digest,
        "use case": predicate.buildDefinition.externalParameters.get("usecase"),
        "outcome": predicate.workbench_outcome,
        "ran": f"{predicate.runDetails.metadata.startedOn} – {predicate.runDetails.metadata.finishedOn}",
        "isolation": internal.get("isolation"),
        "data class": internal.get("data_class"),
        "domain": _domain(internal.get("domain") or {}),
        "not as declared": ", ".join(
            one["field"] for one in internal.get("environment_differences", [])
        )
        or "nothing",
        "commit": internal.get("repository", {}).get("commit"),
        "run by": f"{internal.get('actor', {}).get('name')} (claimed)",
        "parameters": ", ".join(f"{k}={v}" for k, v in record.statement.parameters.items())
        or "none",
    }.items():
        facts.add_row(Text(name, style="bold"), str(value))
    inputs = Table("input", "from", "sha256", box=None, pad_edge=False)
    for item in record.statement.inputs:
        inputs.add_row(item.name, str(item.uri), next(iter(item.digest.values()))[:16])
    files = Table("file", "bytes", "sha256", box=None, pad_edge=False)
    for item in record.statement.subject:
        files.add_row(item.name, f"{item.annotations.get('size', 0):,}", item.digest["sha256"][:16])
    parts: list[RenderableType] = [facts, "", inputs, ""]
    if predicate.workbench_error:
        error = predicate.workbench_error
        parts += [
            Text(f"✗ {error.get('outcome')}: {error.get('ename')}: {error.get('evalue')}"),
            "",
        ]
    if predicate.workbench_verdicts:
        parts += [verdicts(predicate.workbench_verdicts), ""]
    for odd in predicate.workbench_claims.get("contradicted", []):
        told = f"claims {odd['claimed']}, the rows give {odd['recomputed']}"
        parts.append(Text(f"✗ the notebook {told}: {odd['criterion']}, {odd['field']}"))
    return Group(*parts, files)


def _domain(told: Mapping[str, Any]) -> str:
    """A reproducibility domain in a few words; the statement holds all of it."""
    words = [told.get(name) for name in ("kind", "device", "dtype")]
    words.append(f"{told.get('threads')} threads")
    return ", ".join(map(str, words)) if told else "none stated"


def proposals(rows: Iterable[Mapping[str, Any]]) -> Table:
    """One row a column: the class proposed, how sure, and why."""
    table = Table("column", "proposed class", "confidence", "why", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["column"], row["data_class"], row["confidence"], row["why"])
    return table


def of_rows(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Plain rows as they are, one column a name."""
    names = list(rows[0]) if rows else ["nothing"]
    table = Table(*(name.replace("_", " ") for name in names), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def traced(found: Mapping[str, Any]) -> RenderableType:
    """One row's way: where from, on which terms, through which code, into which set."""
    facts = Table.grid(padding=(0, 2))
    sources = ", ".join(
        f"{s['id']} ({s.get('licence')}, approved by {s.get('approved_by') or 'nobody'})"
        for s in found["source"]["registry"]
    )
    for name, value in {
        "row": found["row"],
        "dataset": found["dataset"],
        "source": f"{found['source']['file']}; {sources or 'no source is registered'}",
        "classified by": found["classified_by"],
    }.items():
        facts.add_row(Text(name, style="bold"), value)
    columns = Table("column", "class", "legal basis", "purpose", box=None, pad_edge=False)
    for name, one in found["columns"].items():
        columns.add_row(name, one["class"], one["legal_basis"] or "", one["purpose"] or "")
    steps = Table("step", "what", "outcome", "detail", "why", "code", box=None, pad_edge=False)
    for one in found["steps"]:
        version = f" {one['version']}" if one["version"] else ""
        steps.add_row(str(one["step"]), one["use"] + version, one["outcome"], one["detail"],
                      one.get("why", ""), one.get("code", "")[:16])  # fmt: skip
    return Group(facts, "", columns, "", steps)


def console() -> Console:
    """Wide enough for a table where nobody reads it live."""
    made = Console(highlight=False, markup=False)
    return made if made.is_terminal else Console(highlight=False, markup=False, width=160)


def print_run(done: Sequence[Any]) -> None:
    """The end of a run: stages, verdicts, base beside candidate, and where to look next."""
    out = console()
    out.print(stages(done))
    found = [verdict for one in done for verdict in one.verdicts]
    if found:
        out.print("", verdicts(found))
    figures = {name: f for one in done for name, f in figures_of(one.record).items()}
    table = comparison(figures)
    if table.row_count:
        out.print("", table)
    if done:
        out.print(f"\nNext: workbench show {done[-1].record.id} · workbench open {done[-1].record.id} · "
                  "workbench verify")  # fmt: skip


def figures_of(record: Record) -> dict[str, Any]:
    """What the notebook recorded as `figures.json`; empty when it recorded nothing readable."""
    name = "outputs/figures.json"
    if name not in {subject.name for subject in record.statement.subject}:
        return {}
    try:
        found = json.loads(record.file(name).read_text(encoding="utf-8"))
        return {key: figure for key, figure in found.items() if isinstance(figure, dict)}
    except (ValueError, AttributeError):
        return {}  # a claim of the notebook, and no reason to fail

"""What a privacy officer reads in the dataset notebook: tables over `dataset.Rows`, values masked."""

from __future__ import annotations

import pandas as pd

from ...policy import classes, governance, proposals
from ...policy.sources import missing, stated
from ..stage import Stage, gate_table, mask
from .dataset import Meaning, Rows

SHOWN = 5


def columns(stage: Stage, rows: Rows) -> pd.DataFrame:
    """One row a column: what was decided beside what was proposed, and what the class obliges to."""
    said = {one["column"]: one for one in stage.read_json("proposals")} if stage.has(
        "proposals") else {}  # fmt: skip
    found = []
    for name, column in rows.data.columns.items():
        proposed = said.get(name, {})
        found.append(
            {
                "column": name,
                "class": str(column.data_class),
                "proposed": proposed.get("data_class", "not inspected"),
                "because": proposed.get("why", ""),
                "override": column.override or "",
                "purpose": column.purpose,
                "owner": column.owner,
                "legal basis": column.legal_basis or "",
                "kept (days)": column.retention_days or "",
                "distinct": rows.table[name].astype(str).nunique() if name in rows.table else 0,
            }
        )
    return pd.DataFrame(found).set_index("column")


def disagreements(stage: Stage, rows: Rows) -> str:
    """In words: who decided, and where the decision is laxer than the proposal without a reason."""
    by = f"Decided by {rows.data.classified_by}."
    if not stage.has("proposals"):
        return f"{by} The data was not inspected."
    found = proposals.disagreements(stage.read_json("proposals"), rows.data.columns)
    none = "No column is declared less strict than proposed without a reason."
    return "\n".join([by, *(found or [none])])


def sources(rows: Rows) -> pd.DataFrame:
    """One row a registered source: terms, approval, and what it does not state."""
    found = [
        {
            "source": source.id,
            "licence": source.licence or "not stated",
            "approved": f"{source.approved_by}, {source.approved_at}"
            if source.approved_by
            else "no",
            "states": f"{len(stated(source)) - len(missing(source))} of {len(stated(source))}",
            "does not state": ", ".join(missing(source)),
        }
        for source in rows.data.sources
    ]
    names = ["source", "licence", "approved", "states", "does not state"]
    return pd.DataFrame(found, columns=names).set_index("source")


def sample(stage: Stage, rows: Rows) -> pd.DataFrame:
    """A few rows for a reader, every column of a person's data masked."""
    declared = rows.data.columns
    personal = [n for n, c in declared.items() if classes.is_encrypted_class(c.data_class)]
    return stage.sample(rows.table, [name for name in personal if name in rows.table])


def steps(rows: Rows) -> pd.DataFrame:
    """One row a step: what ran, why, in which version, and what it did to how many rows."""
    found = [
        {
            "step": one["step"],
            "what": f"{one['use']} {one['version']}",
            "why": one["why"],
            "rows in": one["rows_in"],
            "rows out": one["rows_out"],
            "changed": one["changed"],
            "created": one["created"],
            "removed": _counted(one["removed"]),
            "code": one["code_sha256"][:12] + "…",
        }
        for one in rows.manifest
    ]
    names = ["step", "what", "why", "rows in", "rows out", "changed", "created", "removed", "code"]
    return pd.DataFrame(found, columns=names).set_index("step")


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in reasons.items()) or "0"


def removed(stage: Stage, rows: Rows, original: Rows) -> pd.DataFrame | str:
    """Why rows left, how many, and a few of them (masked where they speak of persons)."""
    left = rows.removed
    if left.empty:
        return "No row left."
    texts = original.table.set_index("row_id")[rows.data.text]
    found = []
    for (use, reason), part in left.groupby(["use", "reason"], sort=False):
        head = part["row_id"].head(SHOWN)
        shown = [texts.get(row_id, "") for row_id in head]
        shown = [mask(text) for text in shown] if stage.masked else [text[:60] for text in shown]
        found.append({"step": use, "reason": reason, "rows": len(part), "such as": "; ".join(
            f"{row_id} {text}" for row_id, text in zip(head, shown, strict=True))})  # fmt: skip
    return pd.DataFrame(found, columns=["step", "reason", "rows", "such as"]).set_index("step")


def accepted(rows: Rows) -> pd.DataFrame | str:
    """The acceptance of redaction and synthesis, as the engine will compute it."""
    held = {name: table.to_dict("records") for name, table in rows.tables.items()}
    results = governance.accepted(rows.manifest, held.get)
    if not results:
        return "No step redacted or made rows, so there is nothing to accept."
    return gate_table([one.as_dict() for one in results])


def per_class(rows: Rows) -> pd.DataFrame:
    """Rows by class (index) and set (columns)."""
    counted = rows.table.groupby([rows.data.label, "set"]).size().unstack(fill_value=0)
    return counted.reindex(columns=["train", "dev", "locked"], fill_value=0)


def findings(stage: Stage, found: pd.DataFrame) -> pd.DataFrame | str:
    """A few findings, the two rows side by side (masked where they speak of persons)."""
    if found.empty:
        return "Nothing was found."
    head = found.sort_values("score", ascending=False).head(SHOWN).copy()
    for side in ("left_text", "right_text"):
        head[side] = head[side].map(mask) if stage.masked else head[side].str[:80]
    counts = found["kind"].value_counts()
    head.insert(1, "of its kind", head["kind"].map(counts))
    return head.set_index("kind")


def calibration(meaning: Meaning) -> pd.DataFrame | str:
    """How the threshold of meaning was set; or that the check did not run."""
    if meaning.calibration is None:
        return "Skipped: no encoder was given, or no false alarm is allowed."
    print(f"threshold {meaning.calibration.threshold:.3f} (cosine)")
    return meaning.calibration.table.round(3)


def labels(stage: Stage, rows: Rows, found: pd.DataFrame | None) -> pd.DataFrame | str:
    """Disputed labels: the share, and the surest of them; nothing was changed."""
    if found is None:
        return "Not estimated: some label has too few rows."
    share = len(found) / len(rows.table)
    print(f"{len(found)} of {len(rows.table)} rows ({share:.1%}) dispute their label")
    head = found.head(SHOWN).copy()
    head["text"] = head["text"].map(mask) if stage.masked else head["text"].str[:80]
    return head.set_index("row_id")


def never_learn(rows: Rows, found: pd.DataFrame) -> pd.DataFrame | str:
    """One row a rule: what it forbids, why, and what is still there."""
    rules = rows.data.never_learn
    if not rules:
        return "The use case declares no never-learn rule."
    counts = found["rule"].value_counts()
    table = [
        {
            "rule": rule.id,
            "forbids": ", ".join([*map(str, rule.classes), *rule.columns, *rule.entities,
                                  *([f"/{rule.pattern}/"] if rule.pattern else [])]),
            "because": rule.reason,
            "still there": int(counts.get(rule.id, 0)),
        }
        for rule in rules
    ]  # fmt: skip
    return pd.DataFrame(table).set_index("rule")


def balance(original: Rows, rows: Rows) -> pd.DataFrame:
    """Every source row, and where it is now: the account closes, or the engine says so."""
    read, made = len(original.table), int((rows.lineage["outcome"] == "created").sum())
    sets = rows.table["set"].value_counts()
    found = {"read from the source": read, "made by a step": made,
             "left, for the reasons above": -len(rows.removed)}  # fmt: skip
    found |= {f"in {name}": int(sets.get(name, 0)) for name in ("train", "dev", "locked")}
    return pd.DataFrame({"rows": found}).rename_axis("")

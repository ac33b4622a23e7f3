"""What the dataset stage does, in the order in which its notebook tells it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import InputError
from ...policy import classes
from ...policy.usecase import Column
from ..stage import Stage
from . import split as splitting
from .read import read_rows
from .validate import validate


@dataclass(frozen=True)
class Rows:
    """The rows on their way: what is left, what was removed and why."""

    table: pd.DataFrame
    facts: dict[str, Any]
    labels: list[str]
    removed: pd.DataFrame

    @property
    def text(self) -> str:
        return self.facts["text"]

    @property
    def label(self) -> str:
        return self.facts["label"]

    @property
    def group(self) -> str | None:
        return self.facts.get("group")


def take_in(stage: Stage) -> Rows:
    """Snapshot the file whole, read every row, check classes and schema. InputError otherwise."""
    facts = stage.read_json("facts")
    source = stage.input("data")
    table = read_rows(source, facts.get("format") or "auto")
    declared = {name: Column.model_validate(column) for name, column in facts["columns"].items()}
    plan = stage.read_json("plan")
    classes.check(
        table.columns.drop("row_id"),
        declared,
        plan["allowed_data_classes"],
        classified_by=facts["classified_by"],
    )
    labels = validate(table, facts["text"], facts["label"], facts.get("labels"))
    _check_named(table, facts)
    shutil.copyfile(source, stage.output(f"raw/{_raw_name(stage, facts)}"))
    return Rows(table, facts, labels, pd.DataFrame())


def _raw_name(stage: Stage, facts: dict[str, Any]) -> str:
    return Path(facts["path"]).name


def _check_named(table: pd.DataFrame, facts: dict[str, Any]) -> None:
    for field in ("group", "time", "split"):
        name = facts.get(field)
        if name and name not in table:
            raise InputError(
                "The data has no such column.",
                where=f"usecase.yaml: data.{field}",
                expected=", ".join(map(str, table.columns.drop("row_id"))),
                given=name,
            )
    if "set" in table:
        raise InputError(
            "The data has a column with a name that the workbench uses.",
            where=facts["path"],
            given="set",
            next_step="Rename it, for example to `given_set`.",
        )
    _check_groups(table, facts.get("group"))


def _check_groups(table: pd.DataFrame, group: str | None) -> None:
    """A row that belongs to nobody could belong to a customer in another set."""
    if not group:
        return
    nobody = table[group].isna() | (table[group].astype(str).str.strip() == "")
    if nobody.any():
        raise InputError(
            f"{int(nobody.sum())} rows do not say which group they belong to.",
            where=f"column `{group}`, rows {', '.join(table.loc[nobody, 'row_id'].head(5))}",
            expected="a value in every row, of its own where nothing belongs together",
        )


def columns(stage: Stage, rows: Rows) -> pd.DataFrame:
    """One row a column: class, purpose, owner, how many values differ."""
    declared = rows.facts["columns"]
    table = rows.table
    return pd.DataFrame(
        [
            {
                "column": name,
                "class": declared[name]["class"],
                "purpose": declared[name].get("purpose", ""),
                "owner": declared[name].get("owner", ""),
                "rows": len(table),
                "distinct": table[name].astype(str).nunique(),
            }
            for name in table.columns.drop("row_id")
        ]
    ).set_index("column")


def sample(stage: Stage, rows: Rows) -> pd.DataFrame:
    """A few rows for a reader, every column of a person's data masked."""
    declared = rows.facts["columns"]
    personal = [name for name in declared if classes.is_encrypted_class(declared[name]["class"])]
    return stage.sample(rows.table, personal)


def deduplicate(rows: Rows) -> Rows:
    """Remove repetitions. Where sets are given, a row of one set never displaces one of another:
    which of the two must go is decided after the split, in favour of the set that judges.
    """
    kept, removed = splitting.deduplicate(
        rows.table, rows.text, rows.label, within=rows.facts.get("split")
    )
    return replace(rows, table=kept, removed=removed)


def removed(rows: Rows) -> pd.DataFrame:
    """How many rows left, by reason."""
    if rows.removed.empty:
        return pd.DataFrame({"rows": [0]}, index=pd.Index(["nothing removed"], name="reason"))
    return rows.removed.groupby("reason").size().rename("rows").to_frame()


def split(rows: Rows, *, dev: float, locked: float, seed: int) -> Rows:
    """Assign sets, then drop rows of a weaker set whose text stands in a stronger one."""
    table = rows.table.copy()
    table["set"] = splitting.split(
        table,
        rows.label,
        group=rows.group,
        given=rows.facts.get("split"),
        dev=dev,
        locked=locked,
        seed=seed,
    )
    kept, leaked = splitting.unleak(table, rows.text, rows.label)
    return replace(rows, table=kept, removed=pd.concat([rows.removed, leaked], ignore_index=True))


def per_class(rows: Rows) -> pd.DataFrame:
    """Rows by class (index) and set (columns)."""
    counted = rows.table.groupby([rows.label, "set"]).size().unstack(fill_value=0)
    return counted.reindex(columns=list(splitting.SETS), fill_value=0)


def leaks(rows: Rows) -> pd.DataFrame:
    return splitting.find_leaks(rows.table, rows.text, rows.group)


def planted_leak(rows: Rows) -> pd.DataFrame:
    """The leak check on a copy in which one locked text, in capitals, also stands in train."""
    table = rows.table
    spy = table[table["set"] == "locked"].head(1).copy()
    spy["row_id"], spy["set"] = "planted", "train"
    spy[rows.text] = spy[rows.text].str.upper()
    if rows.group:
        spy[rows.group] = "planted"
    return splitting.find_leaks(pd.concat([table, spy], ignore_index=True), rows.text, rows.group)


def write(stage: Stage, rows: Rows, found: pd.DataFrame) -> None:
    """Write the sets, who went where, what was removed, what leaked, and the label schema."""
    table = rows.table
    for name in splitting.SETS:
        stage.write_table(f"{name}.parquet", table[table["set"] == name].drop(columns="set"))
    where = pd.DataFrame({"row_id": table["row_id"], "split": table["set"]})
    where["label"] = table[rows.label]
    where["group"] = table[rows.group].astype(str) if rows.group else ""
    stage.write_table("splits.parquet", where)
    stage.write_table("removed.parquet", rows.removed)
    stage.write_table("leaks.parquet", found)
    stage.write_json("labels.json", rows.labels)
    for name in splitting.SETS:
        stage.figure(f"rows_{name}", int((table["set"] == name).sum()))
    stage.figure("rows_removed", len(rows.removed))

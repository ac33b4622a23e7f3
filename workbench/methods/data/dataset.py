"""What the dataset stage does, in the order in which its notebook tells it; `account` shows it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...errors import InputError
from ...policy import classes, never_learn
from ...policy.governance import LEARNED_FROM, learned_columns
from ...policy.usecase import Data
from ..stage import Stage
from . import lineage as way
from . import split as splitting
from .embed import embedder
from .labels import disputed
from .leaks import Calibration, calibrate, find_leaks, semantic
from .read import read_rows
from .transform import Context, run
from .transform.synthesise import fit_sets
from .validate import validate

OURS = ("set", "synthetic")
CALIBRATED = 150  # rows that are said again in other words; each costs five embeddings


@dataclass(frozen=True)
class Rows:
    """The rows on their way: what is left, where it came from, what was done to it and why."""

    table: pd.DataFrame
    data: Data
    labels: list[str]
    lineage: pd.DataFrame = field(default_factory=pd.DataFrame)
    manifest: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def removed(self) -> pd.DataFrame:
        """row_id, reason, same_as (the row that it repeats or leaks), step, use."""
        if self.lineage.empty:
            return pd.DataFrame(columns=["row_id", "reason", "same_as", "step", "use"])
        left = self.lineage[self.lineage["outcome"] == "removed"]
        names = {"detail": "reason", "other": "same_as"}
        return left.rename(columns=names)[["row_id", "reason", "same_as", "step", "use"]]


def take_in(stage: Stage) -> Rows:
    """Snapshot the file whole, read every row, check classes, sources and schema. InputError
    otherwise; nothing is copied then."""
    facts = stage.read_json("facts")
    data, source = Data.frozen(facts), stage.input("data")
    table = read_rows(source, data.format)
    allowed = stage.read_json("plan")["allowed_data_classes"]
    classes.check(
        table.columns.drop("row_id"), data.columns, allowed, classified_by=data.classified_by
    )
    labels = validate(table, data.text, data.label, facts.get("labels"))
    _check_named(table, data)
    _check_sources(table, data)
    shutil.copyfile(source, stage.output(f"raw/{Path(data.path).name}"))
    return Rows(table, data, labels, way.begin(table))


def _check_named(table: pd.DataFrame, data: Data) -> None:
    for name in ("group", "time", "split", "source"):
        column = getattr(data, name)
        if column and column not in table:
            raise InputError(
                "The data has no such column.",
                where=f"usecase.yaml: data.{name}",
                expected=", ".join(map(str, table.columns.drop("row_id"))),
                given=column,
            )
    for name in OURS:
        if name in table:
            raise InputError(
                "The data has a column with a name that the workbench uses.",
                where=data.path,
                given=name,
                next_step=f"Rename it, for example to `given_{name}`.",
            )
    if data.split_by == "time" and not data.time:
        raise InputError(
            "The sets are to be divided by time, and no column holds it.",
            where="usecase.yaml: data.time",
        )
    _check_groups(table, data.group)


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


def _check_sources(table: pd.DataFrame, data: Data) -> None:
    """A row from a source that nobody registered came on terms that nobody read."""
    if not data.source:
        return
    known = {source.id for source in data.sources}
    strange = ~table[data.source].astype(str).isin(known)
    if strange.any():
        raise InputError(
            f"{int(strange.sum())} rows are from a source that is not registered.",
            where=f"column `{data.source}`, rows {', '.join(table.loc[strange, 'row_id'].head(5))}",
            expected=", ".join(sorted(known)) or "a source in data.sources",
            next_step="Register it in usecase.yaml: data.sources, with its terms and approval.",
        )


def transform(stage: Stage, rows: Rows, *, seed: int) -> Rows:
    """Every declared step in order; each leaves lineage for every row that it touched."""
    data = rows.data

    def read(name: str) -> Path:
        path = stage.input("reference") / name
        if not path.is_file():
            raise InputError(
                "The reference folder has no such file.", where=data.reference, given=name
            )
        return path

    context = Context(
        text=data.text, label=data.label, group=data.group, time=data.time, columns=data.columns,
        key=stage.key, seed=seed, read=read, split=data.split,
    )  # fmt: skip
    done = run(rows.table, data.steps, context)
    return replace(
        rows, table=done.table, lineage=done.lineage, manifest=done.manifest, tables=done.tables
    )


def split(rows: Rows, *, dev: float, locked: float, near: float, seed: int) -> Rows:
    """Assign sets, then take from each set what stands, to the letter or nearly, in one that judges it."""
    data, table = rows.data, rows.table
    made = table["synthetic"].eq(True) if "synthetic" in table else pd.Series(False, table.index)
    real = table[~made]
    assigned = splitting.split(
        real, data.label, group=data.group, given=data.split, dev=dev, locked=locked, seed=seed,
        time=data.time if data.split_by == "time" else None,
    )  # fmt: skip
    late = assigned == splitting.LEFT_OUT
    gone = [_left(real[late], "its group began in an earlier set")]
    kept = real[~late].assign(set=assigned[~late])
    kept, leaked = _apart(kept, data, near)
    kept, strayed = fit_sets(pd.concat([kept, table[made]], ignore_index=True), rows.lineage)
    kept, echoed = _apart(kept, data, near) if made.any() else (kept, leaked.head(0))
    removed = pd.concat([*gone, leaked, strayed, echoed], ignore_index=True)
    lineage = way.assigned(rows.lineage, kept, removed, step=len(rows.manifest) + 1)
    return replace(rows, table=kept.reset_index(drop=True), lineage=lineage)


def _left(rows: pd.DataFrame, reason: str) -> pd.DataFrame:
    return pd.DataFrame({"row_id": rows["row_id"], "reason": reason, "same_as": ""})


def _apart(table: pd.DataFrame, data: Data, near: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows without those whose text stands in a set that judges them, and those; how they were
    found is part of the reason."""
    found = find_leaks(table, data.text, jaccard=near)
    kept, removed = splitting.unleak(table, data.text, data.label, found)
    kind = found.drop_duplicates("left_id").set_index("left_id")["kind"]
    return kept, removed.assign(reason=removed["reason"] + ": " + removed["row_id"].map(kind))


def leaks(stage: Stage, rows: Rows, *, near: float) -> pd.DataFrame:
    """Every finding that must not be: equal and nearly equal texts, groups, times, benchmarks."""
    data = rows.data
    files = [stage.input("reference") / name for name in data.benchmarks]
    time = data.time if data.split_by == "time" else None
    return find_leaks(rows.table, data.text, data.group, jaccard=near, time=time, benchmarks=files)


@dataclass(frozen=True)
class Meaning:
    """What the check of meaning found, and how its threshold was set; nothing where it did not run."""

    found: pd.DataFrame
    calibration: Calibration | None
    vectors: Callable[[Iterable[str]], np.ndarray] | None


def similar(stage: Stage, rows: Rows, *, false_alarms: float, seed: int) -> Meaning:
    """Rows of two sets that say the same in other words; listed for a person, not removed.

    The threshold is set on these very rows. Skipped, and said so, where no encoder was given.
    """
    table, text = rows.table, rows.data.text
    if not stage.has("encoder") or not false_alarms:
        return Meaning(find_leaks(table.head(0), text), None, None)
    embed = embedder(stage.input("encoder"))
    found = calibrate(
        embed, table[text].tolist(), table[rows.data.label].tolist(), false_alarms=false_alarms,
        sample=CALIBRATED, seed=seed,
    )  # fmt: skip
    return Meaning(semantic(table, text, embed, found.threshold), found, embed)


def disputed_labels(rows: Rows, meaning: Meaning, *, seed: int) -> pd.DataFrame | None:
    """Rows whose label the others dispute (confident learning); None where rows are too few."""
    real = (
        rows.table[~rows.table["synthetic"].eq(True)] if "synthetic" in rows.table else rows.table
    )
    embed, text = meaning.vectors, rows.data.text
    vectors = embed(real[text].tolist()) if embed else None
    try:
        return disputed(real, text, rows.data.label, vectors=vectors, seed=seed)
    except InputError:
        return None


def residual(rows: Rows) -> pd.DataFrame:
    """What a never-learn rule still finds in the rows that are learned from: rule, column, row, what."""
    learned = rows.table[rows.table["set"].isin(LEARNED_FROM)]
    found = never_learn.scan(
        rows.data.never_learn, rows.data.columns, learned.to_dict("records"),
        [name for name in learned_columns(rows.data, learned.columns) if name != "set"],
    )  # fmt: skip
    return pd.DataFrame([vars(one) for one in found], columns=["rule", "column", "row_id", "what"])


def planted(stage: Stage, rows: Rows, *, near: float) -> pd.DataFrame:
    """The leak check on a copy with two spies in train: a locked text in capitals, and one with a
    word more. AssertionError unless the first is found; the second may be too far where texts are short."""
    table, data = rows.table, rows.data
    spies = table[table["set"] == "locked"].head(2).copy()
    spies["row_id"], spies["set"] = [f"planted {i + 1}" for i in range(len(spies))], "train"
    texts = spies[data.text].tolist()
    spies[data.text] = [texts[0].upper(), *(f"{text} please" for text in texts[1:])]
    if data.group:
        spies[data.group] = spies["row_id"]
    found = find_leaks(pd.concat([table, spies], ignore_index=True), data.text, jaccard=near)
    found = found[found["left_id"].isin(spies["row_id"])]
    assert "planted 1" in set(found["left_id"]), "an equal text in two sets was not found"
    return found


def write(stage: Stage, rows: Rows, found: pd.DataFrame, meaning: Meaning) -> None:
    """Write the sets, the way of every row, what leaked, what is alike, and the manifest."""
    table, data = rows.table, rows.data
    for name in splitting.SETS:
        stage.write_table(f"{name}.parquet", table[table["set"] == name].drop(columns="set"))
    where = pd.DataFrame({"row_id": table["row_id"], "split": table["set"]})
    where["label"] = table[data.label]
    where["group"] = table[data.group].astype(str) if data.group else ""
    stage.write_table("splits.parquet", where)
    stage.write_table("lineage.parquet", rows.lineage)
    stage.write_table("leaks.parquet", found)
    stage.write_table("similar.parquet", meaning.found)
    for name, each in rows.tables.items():
        stage.write_table(name, each)
    stage.write_json("manifest.json", rows.manifest)
    stage.write_json("labels.json", rows.labels)
    for name in splitting.SETS:
        stage.figure(f"rows_{name}", int((table["set"] == name).sum()))
    stage.figure("rows_removed", len(rows.removed))
    if data.time:  # retention counts from the oldest row, where that is known
        when = pd.to_datetime(table[data.time].astype(str), "coerce", utc=True, format="ISO8601")
        if when.notna().all():
            stage.figure("oldest_row", when.min().isoformat())

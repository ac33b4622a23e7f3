"""What the functional stage does: both models on the same rows, figures from one long table.

The table has one row a case, model and task: case_id, model, set, task, expected, predicted,
probability (of the answer), subgroup; then prompt, tokens read and written, the arithmetic, and
digests of prompt and answer. Time is in a table of its own, so that a replay gives the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from ...policy import figures
from ...policy.figures import Figure
from ...policy.slices import slices
from ...record.digest import digest
from ..adapt.form import Form
from ..stage import Stage, readable, sealed
from .classify import labelling
from .core import answered, check_items
from .decide import RENAMED, filling

COLUMNS = ["case_id", "model", "set", "task", "expected", "predicted", "probability", "subgroup"]
SCORES = ["labels", "probabilities"]
MORE = ["prompt", "tokens_in", "tokens_out", "dtype", "prompt_digest", "output_digest"]
TIMINGS = ["case_id", "model", "seconds", "tokens"]
TABLE, SCORES_TABLE = "cases.parquet", "probabilities.parquet"
BASE_TABLE = "base_cases.parquet"
MODELS = ("base", "candidate")


def _sealed(stage: Stage, **_: Any) -> pd.DataFrame:
    cases, found = (pd.read_parquet(stage.sealed(name)) for name in (TABLE, SCORES_TABLE))
    return cases.assign(**{name: found[name] for name in SCORES})[COLUMNS + SCORES + MORE]


@sealed(_sealed, leaves=["timings.parquet"], figures=["dtype"])
def answer(
    stage: Stage, *, limit: int, batch_size: int, threads: int, dtype: str = "float32"
) -> pd.DataFrame:
    """The long table over the locked rows, for base and candidate, with `SCORES` and `MORE`.

    The base's rows come from an earlier record where the engine found one that fits. What it took
    is written to timings.parquet.
    """
    rows = stage.read_table("locked")
    rows = rows.head(limit) if limit else rows
    declare(stage, dtype)
    known = known_rows(stage, "base_cases", rows["row_id"], dtype)
    models = MODELS if known is None else MODELS[1:]
    asked = {"batch_size": batch_size, "threads": threads, "dtype": dtype}
    found, timings = _asked(stage, rows, models, "locked", **asked)
    stage.write_table("timings.parquet", timings)
    return found if known is None else pd.concat([known, found], ignore_index=True)


def declare(stage: Stage, dtype: str) -> None:
    """The arithmetic as a figure, which the reproducibility stage reads; and in words."""
    stage.figure("dtype", dtype)
    if dtype != "float32":
        print(
            f"In {dtype} an answer depends on the batch that it is computed in: to explore, only."
        )


def known_rows(
    stage: Stage, name: str, ids: pd.Series, dtype: str = "float32"
) -> pd.DataFrame | None:
    """The base's answers to these cases from an earlier record; None unless all are there, in this
    arithmetic. A table that names none is of float32."""
    known = stage.read_table(name) if stage.has(name) else None
    if known is None or not set(known["case_id"]) >= set(ids):
        return None
    if "dtype" in known and set(known["dtype"]) != {dtype}:
        return None
    print("base: taken from an earlier record, by digest")
    return known[known["case_id"].isin(ids)]


def ask(
    stage: Stage, rows: pd.DataFrame, model: str | Sequence[str], *, batch_size: int, threads: int,
    split: str = "dev", dtype: str = "float32", by_length: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """`COLUMNS` and `SCORES` of "base", "candidate" or both over rows of the dataset stage.

    `split` is written into ``set``. ``probabilities`` sum to 1 over ``labels``. A generative
    use case has a task a field, each given the fields that the model chose before it.
    """
    asked = {"batch_size": batch_size, "threads": threads, "dtype": dtype, "by_length": by_length}
    models = (model,) if isinstance(model, str) else model
    found, _ = _asked(stage, rows, models, split, **asked)
    return found[COLUMNS + SCORES]


def _asked(
    stage: Stage, rows: pd.DataFrame, models: Sequence[str], split: str, *,
    batch_size: int, threads: int, dtype: str, by_length: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
    """The long table, and what it took."""
    facts = stage.read_json("facts")
    items = rows.rename(
        columns={facts["text"]: "text", facts["label"]: "label", "row_id": "case_id"}
    ).reset_index(drop=True)
    check_items(items, {"case_id", "text", "label"})
    items["prompt_digest"] = items["text"].astype(str).map(stage.digest_of)
    task, tasks = _task(stage, facts, models, threads, dtype)
    bare = items[["case_id", "text", "label", "prompt_digest"]]
    asked = {"batch_size": batch_size, "by_length": by_length}
    found = answered(stage, task, bare, split=split, dtype=dtype, **asked)
    found = found.assign(set=split, dtype=dtype, tokens_in=found["tokens"] - found["tokens_out"])
    found["subgroup"] = _subgroups(items) * len(models)
    parts = [_long(stage, found, items[source], *named) for source, *named in tasks]
    return pd.concat(parts, ignore_index=True), found[TIMINGS]


def _task(stage: Stage, facts: dict, models: Sequence[str], threads: int, dtype: str):
    """How this use case's models are asked, and its tasks: (column expected, name, column
    predicted, columns of probabilities by label)."""
    if facts["kind"] == "classifier":
        task = labelling(stage, models, threads=threads, dtype=dtype)
        return task, [("label", "label", "predicted", "p_")]
    shown = {field: RENAMED.get(field, field) for field in Form.of(facts).fields}
    source = {field: "label" if field == "queue" else field for field in shown}
    tasks = [(source[field], name, name, f"p_{name}_") for field, name in shown.items()]
    return filling(stage, models, 0, threads=threads, dtype=dtype), tasks


def _long(
    stage: Stage, found: pd.DataFrame, expected: pd.Series, task: str, column: str, prefix: str
) -> pd.DataFrame:
    """One task's rows of the long table."""
    scores = [name for name in found.columns if name.startswith(prefix)]
    table = found.assign(task=task, predicted=found[column], prompt=found["text"])
    table["expected"] = list(expected.astype(str)) * (len(found) // len(expected))
    table["labels"] = [[name.removeprefix(prefix) for name in scores]] * len(found)
    table["probabilities"] = found[scores].to_numpy().tolist()
    table["probability"] = found[scores].max(axis=1)
    table["output_digest"] = [stage.digest_of(digest([task, said])) for said in table["predicted"]]
    return table[COLUMNS + SCORES + MORE]


def _subgroups(rows: pd.DataFrame) -> list[str]:
    """Tags of a row joined by `|`, where the data has a column `tags`; else `all`."""
    if "tags" not in rows:
        return ["all"] * len(rows)
    return [_joined(tags) or "untagged" for tags in rows["tags"]]


def _joined(tags: object) -> str:
    """A list of tags, or text that already joins them; nothing where there is neither."""
    if isinstance(tags, str):
        return tags.strip()
    return "|".join(map(str, tags)) if isinstance(tags, Iterable) else ""


def main_task(cases: pd.DataFrame) -> str:
    """The task that names the row: the label, or the queue of a generative pack."""
    return cases["task"].iloc[0]


def of(cases: pd.DataFrame, model: str, task: str) -> list[dict]:
    chosen = cases[(cases["model"] == model) & (cases["task"] == task)]
    return chosen.to_dict("records")


def counts(cases: pd.DataFrame) -> pd.DataFrame:
    """Rows by model and task."""
    return cases.groupby(["model", "task"]).size().unstack(fill_value=0)


def overall(stage: Stage, cases: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and macro-F1 of every task, base beside candidate; each is also recorded."""
    rows = []
    for task in cases["task"].unique():
        for name in ("accuracy", "macro_f1"):
            line = {"task": task, "figure": name.replace("_", "-")}
            for model in ("base", "candidate"):
                figure = figures.compute(name, of(cases, model, task))
                stage.figure(f"{task}_{name}_{model}", figure)
                line[model] = readable(figure.as_dict())
            rows.append(line)
    return pd.DataFrame(rows).set_index(["task", "figure"])


def paired(stage: Stage, cases: pd.DataFrame) -> pd.DataFrame:
    """Candidate minus base on the same cases, per task: difference, interval, gained and lost."""
    rows = []
    for task in cases["task"].unique():
        chosen = cases[cases["task"] == task].to_dict("records")
        figure = figures.compute("paired_difference", chosen)
        stage.figure(f"{task}_difference", figure)
        rows.append({"task": task, "candidate − base": readable(figure.as_dict()), **figure.detail})
    return pd.DataFrame(rows).set_index("task")


def by_class(cases: pd.DataFrame) -> pd.DataFrame:
    """Recall by class of the main task, for `figures.intervals`."""
    task = main_task(cases)
    lines = []
    for label in sorted(cases.loc[cases["task"] == task, "expected"].unique()):
        line = {"name": label}
        for model in ("base", "candidate"):
            figure = figures.compute("recall", of(cases, model, task), label=label)
            line["n"] = figure.n
            line |= _flat(model, figure)
        lines.append(line)
    return pd.DataFrame(lines)


def _flat(model: str, figure: Figure) -> dict:
    return {
        f"{model}_value": figure.value,
        f"{model}_low": figure.low,
        f"{model}_high": figure.high,
    }


def confusion(cases: pd.DataFrame) -> pd.DataFrame:
    """Counts of expected (rows) and predicted (columns), candidate, main task."""
    rows = pd.DataFrame(of(cases, "candidate", main_task(cases)))
    labels = sorted(set(rows["expected"]) | set(rows["predicted"]))
    matrix = pd.crosstab(rows["expected"], rows["predicted"])
    return matrix.reindex(index=labels, columns=labels, fill_value=0)


def by_subgroup(cases: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the main task by tag; a row with several tags counts in each. `p` is the
    candidate's against all other rows, adjusted for the number of tags (Holm)."""
    task = main_task(cases)
    apart = {one["slice"]: one["p_holm"] for one in slices(of(cases, "candidate", task))}
    tags = sorted({tag for text in cases["subgroup"] for tag in text.split("|")})
    lines = []
    for tag in tags:
        line = {"subgroup": tag}
        for model in ("base", "candidate"):
            rows = [r for r in of(cases, model, task) if tag in r["subgroup"].split("|")]
            line[model] = readable(figures.compute("accuracy", rows).as_dict())
        lines.append(line | {"p": f"{apart[tag]:.3f}" if tag in apart else ""})
    return pd.DataFrame(lines).set_index("subgroup")


def shuffled(cases: pd.DataFrame) -> pd.DataFrame:
    """The candidate's accuracy against shuffled expectations, beside the true one."""
    rows = of(cases, "candidate", main_task(cases))
    wrong = [row["expected"] for row in rows]
    random.Random(0).shuffle(wrong)
    mixed = [{**row, "expected": label} for row, label in zip(rows, wrong, strict=True)]
    labels = len({row["expected"] for row in rows})
    shown = {
        "true expectations": readable(figures.compute("accuracy", rows).as_dict()),
        "shuffled expectations": readable(figures.compute("accuracy", mixed).as_dict()),
        "guessing evenly": f"{1 / labels:.3f}",
    }
    return pd.DataFrame({"accuracy": shown})


def write(stage: Stage, cases: pd.DataFrame) -> None:
    """`cases.parquet`, what the gates read; `probabilities.parquet`, the score of every label; and
    the base's share of both, to be taken over later."""
    stage.write_table(TABLE, cases.drop(columns=SCORES))
    stage.write_table(SCORES_TABLE, cases[COLUMNS + SCORES])
    stage.write_table(BASE_TABLE, cases[cases["model"] == "base"])

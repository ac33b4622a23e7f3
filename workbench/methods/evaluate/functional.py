"""What the functional stage does: both models on the same rows, figures from one long table.

The table has one row a case, model and task: case_id, model, set, task, expected, predicted,
probability (of the answer), subgroup. Time is left out, so that a replay gives the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import pandas as pd

from ...policy import figures
from ...policy.figures import Figure
from ..adapt.form import Form
from ..stage import Stage, readable
from .behaviour import answers_of
from .classify import classifier_cases
from .decide import RENAMED

COLUMNS = ["case_id", "model", "set", "task", "expected", "predicted", "probability", "subgroup"]
BASE_TABLE = "base_cases.parquet"


def answer(stage: Stage, *, limit: int, batch_size: int, threads: int) -> pd.DataFrame:
    """The long table over the locked rows, for base and candidate.

    The base's rows come from an earlier record where the engine found one that fits.
    """
    rows = stage.read_table("locked")
    rows = rows.head(limit) if limit else rows
    asked = {"batch_size": batch_size, "threads": threads}
    known = stage.read_table("base_cases") if stage.has("base_cases") else None
    if known is not None and set(known["case_id"]) >= set(rows["row_id"]):
        print("base: taken from an earlier record, by digest")
        base = known[known["case_id"].isin(rows["row_id"])]
    else:
        base = _ask(stage, rows, "base", asked)
    return pd.concat([base, _ask(stage, rows, "candidate", asked)], ignore_index=True)


def _ask(stage: Stage, rows: pd.DataFrame, model: str, asked: dict) -> pd.DataFrame:
    facts = stage.read_json("facts")
    if facts["kind"] == "classifier":
        return _classified(stage, rows, facts, model, asked)
    items = rows.rename(columns={facts["text"]: "text", "row_id": "case_id"})
    found = answers_of(stage, items[["case_id", "text"]], model, max_new_tokens=0, **asked)
    names = {field: RENAMED.get(field, field) for field in Form.of(facts).fields}
    source = {field: facts["label"] if field == "queue" else field for field in names}
    parts = [
        _long(found, rows, rows[source[field]], shown, model) for field, shown in names.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _long(
    found: pd.DataFrame, rows: pd.DataFrame, expected: pd.Series, task: str, model: str
) -> pd.DataFrame:
    chosen = [row[f"p_{task}_{row[task]}"] for row in found.to_dict("records")]
    table = pd.DataFrame({"case_id": rows["row_id"].to_numpy(), "model": model, "set": "locked"})
    table["task"] = task
    table["expected"] = expected.astype(str).to_numpy()
    table["predicted"] = found[task].to_numpy()
    table["probability"] = chosen
    table["subgroup"] = _subgroups(rows)
    return table[COLUMNS]


def _classified(
    stage: Stage, rows: pd.DataFrame, facts: dict, model: str, asked: dict
) -> pd.DataFrame:
    items = rows.rename(
        columns={facts["text"]: "text", facts["label"]: "label", "row_id": "case_id"}
    )[["case_id", "text", "label"]]
    folder = stage.input("adapter" if model == "candidate" else "reference")
    found = classifier_cases(stage.input("base"), folder, items, **asked)
    found = found.rename(columns={"confidence": "probability"})
    found["model"], found["set"], found["task"] = model, "locked", "label"
    found["subgroup"] = _subgroups(rows)
    return found[COLUMNS]


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
    """Accuracy of the main task by tag; a row with several tags counts in each."""
    task = main_task(cases)
    tags = sorted({tag for text in cases["subgroup"] for tag in text.split("|")})
    lines = []
    for tag in tags:
        line = {"subgroup": tag}
        for model in ("base", "candidate"):
            rows = [r for r in of(cases, model, task) if tag in r["subgroup"].split("|")]
            line[model] = readable(figures.compute("accuracy", rows).as_dict())
        lines.append(line)
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
    """`cases.parquet`, what the gates read; and the base's share of it, to be taken over later."""
    stage.write_table("cases.parquet", cases)
    stage.write_table(BASE_TABLE, cases[cases["model"] == "base"])

"""What the calibration stage does: dev rows asked, a temperature and a threshold chosen on them.

The locked rows were asked by 40_functional; here they are only judged. Nothing in this module
gives them to `temperature` or `threshold`, and the gates find both again from the sealed table.
"""

from __future__ import annotations

import pandas as pd
import torch

from ...policy import figures
from ...policy.figures import calibration
from ...policy.statistics import wilson
from ..adapt.causal import completion_loss, encoded, load_causal
from ..adapt.form import Form, rows_to_learn
from ..stage import Stage, readable, sealed
from . import functional
from .behaviour import answers_of
from .decide import RENAMED

COLUMNS = ["case_id", "model", "set", "task", "expected", "predicted", "labels", "probabilities"]
FIGURES = {
    "Brier": ("brier", {}),
    "NLL (nats)": ("nll", {}),
    "ECE, equal mass": ("ece", {}),
    "ECE, equal width": ("ece", {"binning": "equal_width"}),
    "RMS gap, debiased": ("ece", {"debiased": True}),
}
"""Name for readers -> figure and its arguments."""
LONGEST = 8192  # tokens of a row with its reply
SHARPER = 1 / 3
"""Temperature of the negative control: every probability to the power of three."""


@sealed("calibration.parquet")
def collect(stage: Stage, *, limit: int, batch_size: int, threads: int) -> pd.DataFrame:
    """One row a case, model and task over dev and locked rows, with `scaled` probabilities.

    `limit` dev rows at most, 0 for all; the locked ones are 40_functional's, all of them.
    """
    rows = stage.read_table("dev")
    rows = rows.head(limit) if limit else rows
    asked = {"batch_size": batch_size, "threads": threads, "split": "dev"}
    dev = functional.ask(stage, rows, functional.MODELS, **asked)
    cases = pd.concat([dev, stage.read_table("probabilities")], ignore_index=True)[COLUMNS]
    at = {key: calibration.temperature(dev) for key, dev in parts(cases, "dev")}
    keys = zip(cases["model"], cases["task"], cases["probabilities"], strict=True)
    cases["scaled"] = [calibration.scaled(given, at[model, task]) for model, task, given in keys]
    return cases


def parts(cases: pd.DataFrame, *sets: str) -> list[tuple[tuple[str, str], list[dict]]]:
    """((model, task), rows of these sets), in the order of the table."""
    chosen = cases[cases["set"].isin(sets)]
    groups = chosen.groupby(["model", "task"], sort=False)
    return [(key, part.to_dict("records")) for key, part in groups]


def temperatures(stage: Stage, cases: pd.DataFrame) -> pd.DataFrame:
    """Temperature by model and task with the NLL (nats) of the dev rows before and after it."""
    lines = []
    for (model, task), dev in parts(cases, "dev"):
        at = calibration.temperature(dev)
        before, after = (float(calibration.scores(dev, t).nll.mean()) for t in (1.0, at))
        told = {"model": model, "task": task, "temperature": at, "n": len(dev)}
        lines.append(told | {"dev_nll_before": before, "dev_nll_after": after})
    stage.write_json("temperature.json", lines)
    return pd.DataFrame(lines).set_index(["task", "model"]).round(4)


def measured(stage: Stage, cases: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Every figure on the locked rows from each of these columns; each is also recorded."""
    lines = []
    for (model, task), rows in parts(cases, "locked"):
        for shown, (name, how) in FIGURES.items():
            line = {"task": task, "figure": shown, "model": model}
            for column in columns:
                given = [row | {"probabilities": row[column]} for row in rows]
                found = figures.compute(name, given, **how)
                stage.figure(f"{task}_{model}_{shown}_{column}", found)
                line[column] = readable(found.as_dict())
            lines.append(line)
    return pd.DataFrame(lines).set_index(["task", "figure", "model"]).sort_index()


def _main(cases: pd.DataFrame) -> list[tuple[str, calibration.Scores]]:
    """(model, scores) of the main task's locked rows at the temperature."""
    known = cases[cases["task"] == functional.main_task(cases)]
    found = parts(known.assign(probabilities=known["scaled"]), "locked")
    return [(model, calibration.scores(rows)) for (model, _), rows in found]


def reliability(cases: pd.DataFrame, bins: int) -> pd.DataFrame:
    """Bins of equal mass with Wilson's interval of the share right in each."""
    lines = []
    for model, found in _main(cases):
        for one in calibration.reliability(found, bins):
            low, high = wilson(one["right"], one["n"])
            seen = {"accuracy": one["right"] / one["n"], "from": low, "to": high}
            lines.append({"model": model} | one | seen)
    return pd.DataFrame(lines)


def risk_coverage(cases: pd.DataFrame) -> pd.DataFrame:
    """Share answered and share wrong among the answered, from the most confident case down."""
    tables = []
    for model, found in _main(cases):
        order = (-found.confidence).argsort(kind="stable")
        n = pd.Series(range(1, len(order) + 1))
        table = pd.DataFrame({"coverage": n / len(n), "risk": (~found.hit[order]).cumsum() / n})
        tables.append(table.assign(model=model, confidence=found.confidence[order]))
    return pd.concat(tables, ignore_index=True)


def thresholds(stage: Stage, cases: pd.DataFrame, target: float) -> pd.DataFrame:
    """The candidate's threshold by task, chosen on the dev rows, as it does on the locked ones."""
    chosen, lines = {}, []
    for (_, task), rows in parts(cases[cases["model"] == "candidate"], "dev", "locked"):
        line = {"task": task}
        for of in ("risk", "coverage"):
            found = figures.compute("abstention", rows, target=target, of=of)
            stage.figure(f"{task}_abstention_{of}", found)
            line[of] = readable(found.as_dict())
        chosen[task] = found.detail | {"target": target, "level": calibration.CHOICE}
        at = chosen[task]["threshold"]
        lines.append(line | {"threshold": "no threshold meets it" if at is None else f"{at:.4f}"})
    stage.write_json("threshold.json", chosen)
    return pd.DataFrame(lines).set_index("task")


def replies(
    stage: Stage, cases: pd.DataFrame, *, limit: int, tokens: int, batch_size: int, threads: int
) -> pd.DataFrame:
    """Mean log likelihood (nats) of a token of the candidate's reply, by the row's answers all
    right or not; each is in `replies.parquet`. `limit` dev rows; a classifier writes none."""
    if stage.read_json("facts")["kind"] == "classifier" or not limit:
        return pd.DataFrame({"n": {"no free reply": 0}})
    asked = {"limit": limit, "tokens": tokens, "batch_size": batch_size, "threads": threads}
    found = _replies(stage, cases, **asked)
    stage.write_table("replies.parquet", found)
    return found.groupby("fields")["log_likelihood"].describe()[["count", "mean", "min", "max"]]


@sealed("replies.parquet")
def _replies(
    stage: Stage, cases: pd.DataFrame, *, limit: int, tokens: int, batch_size: int, threads: int
) -> pd.DataFrame:
    """One row a case: reply, whether its fields are all right, log likelihood (nats a token)."""
    facts, rows = stage.read_json("facts"), stage.read_table("dev").head(limit)
    form = Form.of(facts)
    items = rows.rename(columns={facts["text"]: "text", "row_id": "case_id"})[["case_id", "text"]]
    asked = {"max_new_tokens": tokens, "batch_size": batch_size, "threads": threads}
    found = answers_of(stage, items, "candidate", **asked)
    model, tokenizer = load_causal(stage.input("base"), stage.input("adapter"), threads=threads)
    fields = {shown: name for name, shown in RENAMED.items()}
    learned = rows_to_learn(tokenizer, found.rename(columns=fields), form)
    with torch.inference_mode():
        losses = [completion_loss(model, [(ids, free, free)], 1.0)
                  for ids, _, free in encoded(tokenizer, learned, LONGEST, "dev")]  # fmt: skip
    found["log_likelihood"] = [-float(loss) / n for loss, n in losses]
    mine = cases[cases["model"] == "candidate"]
    right = (mine["expected"] == mine["predicted"]).groupby(mine["case_id"]).all()
    found["fields"] = found["case_id"].map(right).map({True: "all right", False: "one wrong"})
    return found[["case_id", "reply", "fields", "log_likelihood"]]


def sharpened(stage: Stage, cases: pd.DataFrame) -> pd.DataFrame:
    """The figures of the candidate's scaled probabilities, and of their third powers."""
    mine = cases[cases["model"] == "candidate"]
    sharp = [calibration.scaled(given, SHARPER) for given in mine["scaled"]]
    return measured(stage, mine.assign(sharpened=sharp), "scaled", "sharpened")


def write(stage: Stage, cases: pd.DataFrame) -> None:
    """`calibration.parquet`, what the gates read."""
    stage.write_table("calibration.parquet", cases)

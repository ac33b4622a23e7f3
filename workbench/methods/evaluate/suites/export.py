"""Our own results as Inspect logs, so that `inspect view` shows them beside everybody else's."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from inspect_ai import log as logs
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import CORRECT, INCORRECT, Score

from workbench.methods.evaluate.behaviour import judged
from workbench.methods.stage import Stage
from workbench.policy.criteria import PolicyRule
from workbench.policy.figures import missing

UNDATED = "1970-01-01T00:00:00+00:00"
"""A log must name a time; ours is in the record, and so a replay gives the same log."""
SCORER = {"name": "workbench", "metrics": [{"name": "inspect_ai/accuracy"}]}


def write(stage: Stage) -> pd.DataFrame:
    """`workbench/TASK_MODEL.eval` for every task of 40 and every rule of 41; one row a log.

    Accuracy is Inspect's own, over what could be scored.
    """
    rows = pd.DataFrame([*_functional(stage), *_policy(stage)], columns=COLUMNS)
    lines = []
    for (task, model), part in rows.groupby(["task", "model"]):
        log = _log(task, model, [_sample(row, model) for row in part.to_dict("records")])
        name = f"workbench/{task}_{model}.eval"
        logs.write_eval_log(log, str(stage.output(name)), "eval")
        lines.append([name, log.results.scores[0].metrics["accuracy"].value, len(part)])
    return pd.DataFrame(lines, columns=["log", "accuracy", "cases"])


COLUMNS = ["task", "model", "case_id", "asked", "expected", "said", "right", "because"]


def _functional(stage: Stage) -> Iterator[list]:
    """A row a case and task: is the answer the expected one?"""
    for row in stage.read_table("cases").to_dict("records") if stage.has("cases") else ():
        case, expected, said = row["case_id"], row["expected"], row["predicted"]
        right = None if missing(expected) or missing(said) else expected == said
        asked = row.get("prompt", f"case {case}")
        yield [f"40_{row['task']}", row["model"], case, asked, expected, said, right, ""]


def _policy(stage: Stage) -> Iterator[list]:
    """A row a rule and case, as the rule's scorer sees it."""
    replies = stage.read_table("replies") if stage.has("replies") else pd.DataFrame()
    for rule in stage.policy.of("41_policy") if len(replies) else ():
        for model in ("base", "candidate") if isinstance(rule, PolicyRule) else ():
            for row in judged(rule, replies, model):
                said = "\n".join(f"{n}: {row[n]}" for n in ("queue", "person", "reason", "reply"))
                right = {"pass": True, "fail": False}.get(row["verdict"])
                about = [f"41_{rule.id}", model, row["case_id"], row["text"], rule.text]
                yield [*about, said, right, row["because"]]


def _sample(row: dict, model: str) -> logs.EvalSample:
    score = Score.unscored(explanation=row["because"])
    if row["right"] is not None:
        score = Score(value=CORRECT if row["right"] else INCORRECT, explanation=row["because"])
    return logs.EvalSample(
        id=str(row["case_id"]), epoch=1, input=str(row["asked"]), target=str(row["expected"]),
        output=ModelOutput.from_content(model, str(row["said"])), scores={SCORER["name"]: score},
    )  # fmt: skip


def _log(task: str, model: str, samples: list[logs.EvalSample]) -> logs.EvalLog:
    name = f"{task}_{model}"
    spec = logs.EvalSpec(
        created=UNDATED, task=task, task_id=name, eval_id=name, run_id=name,
        model=f"workbench/{model}", config=logs.EvalConfig(),
        dataset=logs.EvalDataset(name=task, samples=len(samples)),
        scorers=[SCORER],
    )  # fmt: skip
    log = logs.EvalLog(status="success", eval=spec, samples=samples)
    logs.recompute_metrics(log)
    return log

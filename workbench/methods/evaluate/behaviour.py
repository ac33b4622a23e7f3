"""What the policy stage does: the rules' own cases, both models, scorers that were examined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ...errors import InputError
from ...policy import figures, gates, scorers
from ...policy.criteria import PolicyRule
from ...policy.scorers import Verdict
from ...record.digest import digest
from ..stage import Stage, mask, sealed
from .core import answered, check_items
from .decide import Filling, filling
from .functional import MODELS, TIMINGS, declare, known_rows

COLUMNS = ["case_id", "model", "rule", "text", "tags", "queue", "person", "reason", "reply"]
MORE = ["scores", "tokens_in", "tokens_out", "dtype", "prompt_digest", "output_digest"]
BASE_TABLE = "base_replies.parquet"
SHOWN = 3  # failures of a rule that the notebook shows


def answers_of(
    stage: Stage, items: pd.DataFrame, model: str | tuple[str, ...], *, max_new_tokens: int,
    batch_size: int, threads: int, dtype: str = "float32", by_length: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """The filled form for every item (case_id, text) by "base", "candidate" or both; see
    `Filling`."""
    check_items(items, Filling.needed)
    models = (model,) if isinstance(model, str) else model
    task = filling(stage, models, max_new_tokens, threads=threads, dtype=dtype)
    told = {"max_new_tokens": max_new_tokens, "dtype": dtype}
    return answered(stage, task, items, batch_size=batch_size, by_length=by_length, **told)


def rules(stage: Stage) -> list[PolicyRule]:
    return [gate for gate in stage.policy.of(stage.name) if isinstance(gate, PolicyRule)]


def load_cases(stage: Stage, limit: int = 0) -> pd.DataFrame:
    """The locked cases of every rule: case_id, rule, text, tags. InputError for a broken file."""
    rows = []
    for path in sorted(stage.input("cases").glob("*.yaml")):
        found = _library(path)
        rows += found[:limit] if limit else found
    if not rows:
        raise InputError("There are no policy cases.", where=stage.input("cases").name)
    return pd.DataFrame(rows)


def _library(path: Path) -> list[dict[str, Any]]:
    """The cases of one scenario file, all of them or none."""
    try:
        library = yaml.safe_load(path.read_text(encoding="utf-8"))
        rule = library["rule"]
        found = [
            {"case_id": str(case["id"]), "rule": rule, "text": case["text"],
             "tags": list(case.get("tags", []))}
            for case in library["cases"]
        ]  # fmt: skip
        whole = bool(found) and all(case["text"].strip() for case in found)
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise _unreadable(path, repr(error)) from None
    if not whole:
        raise _unreadable(path, "a case without text" if found else "no cases")
    return found


def _unreadable(path: Path, given: str) -> InputError:
    return InputError(
        "A scenario file cannot be read.",
        where=path.name,
        expected="rule, and cases with id and text",
        given=given,
    )


def scorers_table(stage: Stage) -> pd.DataFrame:
    """One row a rule: what its scorer is, and whether it tells its probes apart."""
    lines = [
        {
            "rule": rule.id,
            "says": rule.text,
            "scorer": rule.scorer,
            "cases": Path(rule.cases).name if rule.cases else "every case",
            "sound": "✓ yes" if sound(rule) else "✗ no, its gate will be not evaluated",
        }
        for rule in rules(stage)
    ]
    names = ["rule", "says", "scorer", "cases", "sound"]
    return pd.DataFrame(lines, columns=names).set_index("rule")


def sound(rule: PolicyRule) -> bool:
    return scorers.sound(scorers.score_with(rule.scorer, rule.arguments), rule.probes)


@sealed("replies.parquet", leaves=["timings.parquet"], figures=["dtype", "reply_tokens"])
def answer(
    stage: Stage, *, limit: int, reply_tokens: int, batch_size: int, threads: int,
    dtype: str = "float32",
) -> pd.DataFrame:  # fmt: skip
    """One row a case and model: `COLUMNS`, `MORE`, and what its rule's scorer says (`verdict`,
    `because`); the gates ask their scorers anew. What it took is written to timings.parquet."""
    items = load_cases(stage, limit)
    declare(stage, dtype)
    stage.figure("reply_tokens", reply_tokens)
    known = known_rows(stage, "base_replies", items["case_id"], dtype)
    models = MODELS if known is None else MODELS[1:]
    asked = {"batch_size": batch_size, "threads": threads, "dtype": dtype}
    found = answers_of(stage, items, models, max_new_tokens=reply_tokens, **asked)
    stage.write_table("timings.parquet", found[TIMINGS])
    found = _told(stage, found.assign(dtype=dtype))
    return _verdicts(stage, found if known is None else pd.concat([known, found]))


def _told(stage: Stage, found: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS` and `MORE`; `scores` are the probabilities of all options, in the form's order."""
    scores = [name for name in found.columns if name.startswith("p_")]
    found = found.assign(tokens_in=found["tokens"] - found["tokens_out"])
    found["scores"] = found[scores].to_numpy().tolist()
    found["prompt_digest"] = found["text"].map(stage.digest_of)
    said = found[["queue", "person", "reason", "reply"]].to_numpy().tolist()
    found["output_digest"] = [stage.digest_of(digest(one)) for one in said]
    return found[COLUMNS + MORE]


def _verdicts(stage: Stage, replies: pd.DataFrame) -> pd.DataFrame:
    """With the verdict of each case's own rule; none where that rule is not in the policy."""
    own = {rule.id: scorers.score_with(rule.scorer, rule.arguments) for rule in rules(stage)}
    said = [
        own[row["rule"]](row) if row["rule"] in own else Verdict("unscored", "no such rule")
        for row in replies.to_dict("records")
    ]
    told = {"verdict": [one.outcome for one in said], "because": [one.reason for one in said]}
    return replies.reset_index(drop=True).assign(**told)


def counts(replies: pd.DataFrame) -> pd.DataFrame:
    """Cases by rule and model."""
    return replies.groupby(["rule", "model"]).size().unstack(fill_value=0)


def judged(rule: PolicyRule, replies: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """The rule's rows of a model with the scorer's verdict and reason."""
    score = scorers.score_with(rule.scorer, rule.arguments)
    chosen = replies[replies["model"] == model]
    if rule.cases:
        chosen = chosen[chosen["rule"] == rule.id]
    rows = []
    for row in chosen.to_dict("records"):
        verdict = score(row)
        rows.append({**row, "verdict": verdict.outcome, "because": verdict.reason})
    return rows


def kept(stage: Stage, replies: pd.DataFrame) -> pd.DataFrame:
    """Share of cases that keep each rule, base and candidate; recorded, and for the figure."""
    lines = []
    for rule in rules(stage):
        line = {"name": rule.id}
        for model in ("base", "candidate"):
            figure = figures.compute("pass_rate", judged(rule, replies, model))
            stage.figure(f"{rule.id}_{model}", figure)
            line |= {
                "n": figure.n,
                f"{model}_value": figure.value,
                f"{model}_low": figure.low,
                f"{model}_high": figure.high,
            }
        lines.append(line)
    return pd.DataFrame(lines)


def failures(stage: Stage, replies: pd.DataFrame) -> pd.DataFrame:
    """The first failures of each rule by the candidate."""
    lines = []
    for rule in rules(stage):
        bad = [row for row in judged(rule, replies, "candidate") if row["verdict"] != "pass"]
        lines += [
            {"rule": rule.id, "case": row["case_id"], "message": mask(row["text"]) if stage.masked else row["text"],
             "queue": row["queue"], "person": row["person"], "why": row["because"]}
            for row in bad[:SHOWN]
        ]  # fmt: skip
    names = ["rule", "case", "message", "queue", "person", "why"]
    return pd.DataFrame(lines, columns=names).set_index(["rule", "case"])


def blind_scorers(stage: Stage, replies: pd.DataFrame) -> pd.DataFrame:
    """Every rule's gate with a scorer that always passes: all must be `not_evaluated`."""
    rows = replies[replies["model"] == "candidate"].to_dict("records")
    kept = dict(scorers.SCORERS)
    try:
        for name in scorers.SCORERS:
            scorers.SCORERS[name] = lambda row, **_: Verdict("pass", "always")
        results = [gates.rule_gate(rule, rows) for rule in rules(stage)]
    finally:
        scorers.SCORERS.update(kept)
    verdicts = {result.criterion: str(result.verdict) for result in results}
    assert set(verdicts.values()) <= {"not_evaluated"}, verdicts
    return pd.DataFrame({"verdict with a blind scorer": verdicts}).rename_axis("rule")


def write(stage: Stage, replies: pd.DataFrame) -> None:
    """`replies.parquet`, what the gates read; and the base's share of it, to be taken over later."""
    stage.write_table("replies.parquet", replies)
    stage.write_table(BASE_TABLE, replies[replies["model"] == "base"])

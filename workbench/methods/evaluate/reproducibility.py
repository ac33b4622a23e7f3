"""What the reproducibility stage does: asks again what was answered, in other company.

The sealed replies to the rules' cases are asked for in other batches and in reverse order; the
rows of the dev set in batches of several sizes. A row of the table is one answer, the first time
and again. Whatever differs is reported; nothing is asked until it agrees.
"""

from __future__ import annotations

import pandas as pd

from ...policy import figures
from ...policy.figures.reruns import ARITHMETIC
from ..stage import Stage, sealed
from .behaviour import answers_of
from .functional import ask

FIELDS = ["queue", "person", "reason", "reply"]
USUAL, REPLIES_AT_ONCE, SEED = 32, 5, 7
ANSWER = {"task": "what", "predicted": "said", "probabilities": "scores"}
COLUMNS = ["case_id", "model", "task", "variant", "what", "first", "again", "same", "difference"]


@sealed("reruns.parquet")
def rerun(stage: Stage, *, limit: int, threads: int) -> pd.DataFrame:
    """The table of reruns of the candidate, at most `limit` cases a variant."""
    found = [arithmetic(stage), dev_again(stage, limit, threads)]
    if stage.has("replies"):
        found.append(replies_again(stage, limit, threads))
    return pd.concat(found, ignore_index=True)


def arithmetic(stage: Stage) -> pd.DataFrame:
    """What was validated in bfloat16 can't be asked for again: there an answer depends on its
    batch. One row a stage."""
    names = [name for name in ("functional", "policy") if stage.has(name)]
    told = [stage.read_json(name)["dtype"]["value"] for name in names]
    rows = pd.DataFrame({"case_id": names, "what": ARITHMETIC, "said": told})
    rows["scores"] = [[0.0]] * len(rows)
    return _compared(rows, rows.assign(said="float32"), "as validated")


def dev_again(stage: Stage, limit: int, threads: int) -> pd.DataFrame:
    """Dev rows in the usual batches, and in others; shuffled rows also lose their like length."""
    rows = stage.read_table("dev").head(limit)
    shuffled = rows.sample(frac=1.0, random_state=SEED)
    variants = [("batches of 1", rows, 1, True), ("batches of 7", rows, 7, True),
                (f"batches of {USUAL}, shuffled", shuffled, USUAL, False)]  # fmt: skip
    first = ask(stage, rows, "candidate", batch_size=USUAL, threads=threads)
    found = []
    for variant, given, size, by_length in variants:
        asked = {"batch_size": size, "threads": threads, "by_length": by_length}
        again = ask(stage, given, "candidate", **asked)
        found.append(_compared(first.rename(columns=ANSWER), again.rename(columns=ANSWER), variant))
    return pd.concat(found)


def replies_again(stage: Stage, limit: int, threads: int) -> pd.DataFrame:
    """Sealed replies of the candidate, asked for again in reverse order, each rule's in turn."""
    sealed = stage.read_table("replies").query("model == 'candidate'")
    sealed = sealed.assign(turn=sealed.groupby("rule").cumcount())
    sealed = sealed.sort_values(["turn", "case_id"]).head(limit)
    asked = {"max_new_tokens": int(stage.read_json("policy")["reply_tokens"]["value"])}
    asked |= {"batch_size": REPLIES_AT_ONCE, "threads": threads, "by_length": False}
    again = answers_of(stage, sealed[["case_id", "text"]][::-1], "candidate", **asked)
    again["scores"] = again.filter(regex="^p_").to_numpy().tolist()
    both = [t.melt(["case_id", "scores"], FIELDS, "what", "said") for t in (sealed, again)]
    return _compared(*both, f"sealed replies, batches of {REPLIES_AT_ONCE}, reversed")


def _compared(first: pd.DataFrame, again: pd.DataFrame, variant: str) -> pd.DataFrame:
    """A row for each answer of `first` (case_id, what, said, scores); one that did not come again
    differs by as much as can be."""
    rows = first.merge(again, on=["case_id", "what"], how="left", suffixes=("", "_again"))
    rows["difference"] = [
        max(abs(a - b) for a, b in zip(one, other, strict=True))
        if hasattr(other, "__len__") else float("inf")
        for one, other in zip(rows["scores"], rows["scores_again"], strict=True)
    ]  # fmt: skip
    rows = rows.rename(columns={"said": "first", "said_again": "again"})
    rows["same"] = rows["first"] == rows["again"]
    rows["task"] = variant + ": " + rows["what"]  # with case and model, a name of its own
    return rows.assign(model="candidate", variant=variant)[COLUMNS]


def overview(stage: Stage, reruns: pd.DataFrame) -> pd.DataFrame:
    """Answers and differences by variant; recorded."""
    stage.figure("differing", figures.compute("differing", reruns.to_dict("records")))
    each = reruns.assign(other=~reruns["same"]).groupby("variant", sort=False)
    columns = {
        "cases": each["case_id"].nunique(), "answers": each.size(), "differ": each["other"].sum(),
        "largest difference of a probability": each["difference"].max().map("{:.1e}".format),
    }  # fmt: skip
    return pd.DataFrame(columns)


def altered(reruns: pd.DataFrame) -> pd.DataFrame:
    """The figure as it is, and with the last answer changed by hand, which must move it by one."""
    *rows, last = reruns.to_dict("records")
    other = f"{last['first']}, by hand" if last["same"] else last["first"]
    both = ([*rows, last], [*rows, last | {"again": other}])
    values = [figures.compute("differing", one).value for one in both]
    assert abs(values[0] - values[1]) == 1, "a changed answer was not found"
    return pd.DataFrame({"differing": values}, index=["as found", "one answer changed by hand"])

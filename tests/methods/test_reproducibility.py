"""Asking again: a tiny generative model through the stage's own functions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from workbench.methods.evaluate import behaviour, reproducibility
from workbench.methods.evaluate.behaviour import answers_of

FACTS = {
    "kind": "generative", "text": "message", "label": "queue",
    "form": {"system": "s", "free": "reply", "fields": [
        {"name": "queue", "values": ["a", "bc"]}, {"name": "person", "values": ["yes", "no"]},
        {"name": "rule", "values": ["r1", "r2"]}]},
}  # fmt: skip
DEV = pd.DataFrame(
    {"row_id": [f"d{n}" for n in range(9)], "message": ["ab" * (1 + n % 4) for n in range(9)],
     "queue": "a", "person": "no", "rule": "r1"}
)  # fmt: skip

GATE = {
    "id": "same_again", "stage": "44_reproducibility", "table": "reruns.parquet",
    "figure": "differing", "at_most": 0, "bound": "value", "min_n": 11, "blocking": True,
    "harm": "h", "why": "w",
}  # fmt: skip


@pytest.fixture
def sealed(staged, tiny_causal, tmp_path):
    """What 40 and 41 sealed about a model that was left as it was."""
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    base = json.loads((tiny_causal / "base.json").read_text())
    about = {"method": "frozen", "base": f"sha256:{base['weights']}"}
    (adapter / "adaptation.json").write_text(json.dumps(about))
    given = {"base": tiny_causal, "adapter": adapter, "facts": FACTS, "dev": DEV}

    def prepare(change=None):
        items = pd.DataFrame({"case_id": ["p1", "p2", "p3"], "text": ["x", "yy", "zzz"]})
        asked = {"max_new_tokens": 4, "batch_size": 2, "threads": 1}
        replies = answers_of(staged("41_policy", given), items, "candidate", **asked)
        scores = replies.filter(like="p_").to_numpy().tolist()
        replies = replies.assign(rule="one", tags="", scores=scores)
        if change:
            replies.loc[1, "reply"] = change
        figures = {"dtype": {"value": "float32"}, "reply_tokens": {"value": 4}}
        kept = replies[[*behaviour.COLUMNS, "scores"]]
        more = {"replies": kept, "policy": figures, "functional": {"dtype": {"value": "float32"}}}
        policy = {"version": 1, "criteria": [GATE]}
        return staged("44_reproducibility", {**given, **more, "criteria": policy})

    return prepare


def test_answers_are_the_same_in_other_company(sealed):
    """Eight dev rows in three variants and three fields, three replies in four, two arithmetics."""
    stage = sealed()
    found = reproducibility.rerun(stage, limit=8, threads=1)
    assert len(found) == 8 * 3 * 3 + 3 * 4 + 2 and found["same"].all()
    assert found["difference"].max() < 1e-5
    shown = reproducibility.overview(stage, found)
    assert shown["differ"].sum() == 0 and len(shown) == 5
    stage.write_table("reruns.parquet", found)
    assert stage.preview()["verdict"].tolist() == ["✓ passed"]


def test_a_sealed_reply_that_is_not_given_again_is_found(sealed):
    """The case and the field are named."""
    found = reproducibility.replies_again(sealed(change="something else"), 8, 1)
    bad = found[~found["same"]]
    assert bad["case_id"].tolist() == ["p2"] and bad["what"].tolist() == ["reply"]


def test_bfloat16_can_not_pass(staged):
    """What was validated in an arithmetic that depends on the batch differs for certain."""
    figures = {name: {"dtype": {"value": name}} for name in ("float32", "bfloat16")}
    stage = staged("44", {"functional": figures["float32"], "policy": figures["bfloat16"]})
    found = reproducibility.arithmetic(stage)
    assert found.loc[~found["same"], "case_id"].tolist() == ["policy"]


@pytest.mark.parametrize("again, values", [("x", [0, 1]), ("y", [1, 0])])
def test_the_negative_control_moves_the_figure_either_way(again, values):
    """By an answer changed by hand; also where the last answer already differs."""
    row = {"case_id": "a", "variant": "v", "what": "reply", "first": "x", "again": again}
    found = pd.DataFrame([row | {"same": again == "x"}])
    assert reproducibility.altered(found)["differing"].tolist() == values


def test_a_dev_row_that_was_not_answered_again_is_no_agreement(staged, monkeypatch):
    """It differs by as much as can be, and is never passed over."""

    def forgets(stage, rows, model, *, batch_size, **options):
        found = pd.DataFrame({"case_id": rows["row_id"], "task": "queue", "predicted": "a"})
        found["probabilities"] = [[0.5, 0.5]] * len(found)
        return found[found["case_id"] != "d2"] if batch_size == 1 else found

    monkeypatch.setattr(reproducibility, "ask", forgets)
    found = reproducibility.dev_again(staged("44", {"dev": DEV}), 8, 1)
    bad = found[~found["same"]]
    assert bad["case_id"].tolist() == ["d2"] and np.isinf(bad["difference"]).all()

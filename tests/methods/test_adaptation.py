from __future__ import annotations

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.adapt import adaptation
from workbench.methods.adapt.options import CausalOptions, ClassifierOptions

FACTS = {"kind": "classifier", "text": "message", "label": "intent", "full_fine_tuning": False}
SMALL = {"epochs": 2, "batch_size": 2, "rank": 2, "threads": 1, "checkpoint_s": 0}


@pytest.fixture
def prepared(staged, tiny_encoder):
    """The stage as the engine prepares it, with facts over the ordinary ones."""
    rows = pd.DataFrame({"message": ["a", "b", "aaa", "bb", "aa", "bbb"], "intent": [*"ababab"]})

    def prepare(name: str = "30_adapt", checkpoints: str | None = None, **facts):
        inputs = {"facts": FACTS | facts, "base": tiny_encoder, "train": rows, "dev": rows}
        given = {"checkpoints": checkpoints} if checkpoints else {}
        return staged(name, inputs | {"labels": ["a", "b"]}, **given)

    return prepare


def test_options_are_of_the_use_case_s_kind(prepared):
    """A classifier's or a causal model's; the domain is accepted, an unknown name refused."""
    assert type(adaptation.options(prepared(), domain="portable")) is ClassifierOptions
    generative = prepared("other", kind="generative")
    assert type(adaptation.options(generative, method="vera")) is CausalOptions
    with pytest.raises(InputError) as caught:
        adaptation.options(prepared(), methods="lora", dtype="float16")
    assert "methods" in caught.value.given and "dtype" in caught.value.given


def test_every_weight_is_changed_only_where_the_plan_allows(prepared):
    """A1: refused by the rule of the plan, and where the facts say nothing; allowed by `true`."""
    for facts in ({}, {"full_fine_tuning": None}):
        with pytest.raises(InputError, match="does not allow") as caught:
            adaptation.options(prepared(**facts), method="full")
        assert "tier low" in caught.value.expected
    assert adaptation.options(prepared(full_fine_tuning=True), method="full").method == "full"


def test_the_table_shows_the_options_that_the_method_reads_and_what_they_mean(prepared):
    """A rank that is not read is not shown as if it were."""
    shown = adaptation.options_table(adaptation.options(prepared(), method="ia3", rank=9))
    assert "rank" not in shown.index and shown.loc["method", "value"] == "ia3"
    assert shown["meaning"].str.len().min() > 10
    lora = adaptation.options_table(adaptation.options(prepared(), rank=9))
    assert lora.loc["rank", "value"] == "9"


def test_a_killed_stage_goes_on_where_the_engine_kept_its_checkpoint(prepared, monkeypatch):
    """The folder that the engine names is used; the result says at which step it went on."""
    whole = prepared("whole")
    trained = adaptation.train(whole, adaptation.options(whole, **SMALL))
    assert trained["resumed"] is None and whole.checkpoints is None
    assert "seconds" not in trained["history"]

    stage = prepared("killed", checkpoints="kept")

    def die(self, facts):
        if facts["step"] == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adaptation.Progress, "__call__", die)
        with pytest.raises(KeyboardInterrupt):
            adaptation.train(stage, adaptation.options(stage, **SMALL))
    assert list(stage.checkpoints.iterdir())
    again = adaptation.train(stage, adaptation.options(stage, **SMALL))
    assert again["resumed"] == 3 and again["history"].equals(trained["history"])
    for name in ("adapter", "reference"):
        for file in (whole.outputs / name).iterdir():
            assert file.read_bytes() == (stage.outputs / name / file.name).read_bytes()


def test_fewer_rows_are_the_first_ones(prepared, monkeypatch):
    """`rows` cuts the training rows, in the order that the split fixed."""
    stage, seen = prepared(), set()
    monkeypatch.setattr(adaptation.Progress, "__call__", lambda self, f: seen.add(f["steps"]))
    adaptation.train(stage, adaptation.options(stage, **SMALL | {"epochs": 1}), rows=4)
    assert seen == {2}

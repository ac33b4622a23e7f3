"""What the memorisation stage measures: tiny models that were overfitted on purpose are caught,
models that never saw the rows are not."""

from __future__ import annotations

import random
import string

import numpy as np
import pandas as pd
import pytest

from workbench.errors import IntegrityError
from workbench.methods.adapt import adaptation, canaries
from workbench.methods.adapt.base import load_tokenizer
from workbench.methods.adapt.causal import load_causal
from workbench.methods.adapt.options import CausalOptions, ClassifierOptions
from workbench.methods.evaluate import memorisation
from workbench.methods.evaluate.generate import generate
from workbench.policy.figures import compute

PERSONAL = {"class": "personal", "purpose": "p", "owner": "o"}
INTERNAL = PERSONAL | {"class": "internal_operational"}
ROUTER = {"kind": "classifier", "text": "text", "label": "label",
          "columns": {"text": PERSONAL, "label": INTERNAL}}  # fmt: skip
FORM = {"system": "s", "free": "reply", "fields": [{"name": "queue", "values": ["a", "b"]}]}
DESK = {"kind": "generative", "text": "text", "label": "queue", "form": FORM,
        "columns": {"text": PERSONAL, "queue": INTERNAL, "reply": PERSONAL}}  # fmt: skip
ASKED = {"limit": 0, "span": 8, "tried": 1000, "batch_size": 16, "threads": 1}
WELL = {"batch_size": 8, "threads": 1, "learning_rate": 1e-2, "method": "full", "patience": 100}


def rows(prefix: str, count: int) -> pd.DataFrame:
    """Rows whose label and reply chance drew: only who learned them knows either."""
    chance = random.Random(prefix)
    word = lambda n: "".join(chance.choices(string.ascii_lowercase, k=n))  # noqa: E731
    made = [(f"{prefix}{n}", word(12), word(16), chance.choice("ab")) for n in range(count)]
    table = pd.DataFrame(made, columns=["row_id", "text", "reply", "label"])
    return table.assign(queue=table["label"])


TRAIN, DEV = rows("t", 24), rows("d", 60)


@pytest.fixture
def measured(staged):
    """The table of the stage, and its candidate, after a training by the real trainer."""

    def measure(name, base, facts, options, learned=TRAIN, count=4, **asked):
        shared = {"facts": facts, "base": base, "labels": ["a", "b"]}
        # the epoch is chosen on the rows themselves, as nobody should: the model is overfitted
        first = staged(f"30_{name}", shared | {"train": learned, "dev": learned})
        adaptation.train(first, options, canary_count=count)
        made = {one: first.outputs / one for one in ("adapter", "reference")}
        made = {one: path for one, path in made.items() if path.is_dir()}
        drawn = canaries.draw(4, options.seed, facts, TRAIN, ["a", "b"])
        stage = staged(f"46_{name}", shared | made | {
            "train": TRAIN, "dev": DEV, "canaries": drawn, "options": {"rows": 0}})  # fmt: skip
        return stage, memorisation.measure(stage, **ASKED | asked)

    return measure


def figure(name, table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return compute(name, table.to_dict("records"))


def test_an_overfitted_classifier_is_caught_and_one_that_never_saw_the_rows_is_not(
    measured, tiny_encoder
):
    """Far above a guess, and a guess; a base that never had the row is at a guess in either case.
    The negative control, membership shuffled, holds one half."""
    given = {"label_smoothing": 0.0, **WELL}
    over, short = (ClassifierOptions(epochs=n, **given) for n in (40, 5))
    stage, caught = measured("over", tiny_encoder, ROUTER, over)
    _, blind = measured("blind", tiny_encoder, ROUTER, short, learned=rows("o", 24), count=0)
    whole = {"kind": "membership", "task": "all"}
    assert figure("membership_auc", caught, model="candidate", **whole).low > 0.6
    for table, model in ((caught, "base"), (blind, "candidate")):
        found = figure("membership_auc", table, model=model, **whole)
        assert found.low < 0.5 < found.high
    told = memorisation.told(stage, caught).set_index("name").loc["all, shuffled"]
    assert told["candidate_low"] < 0.5 < told["candidate_high"]
    assert set(caught["data_class"]) == {"personal", "public"}


def test_an_overfitted_generative_model_is_caught_and_one_that_never_saw_the_rows_is_not(
    measured, tiny_causal
):
    """Membership, exposure and passages; nothing of the three where nothing was learned, nor in
    controls and dev rows."""
    given = {"free_weight": 1.0, "last_layers": 0, **WELL}
    over, short = (CausalOptions(epochs=n, **given) for n in (110, 10))
    _, caught = measured("over", tiny_causal, DESK, over)
    _, blind = measured("blind", tiny_causal, DESK, short, learned=rows("o", 24), count=0)
    whole = {"kind": "membership", "model": "candidate"}
    assert figure("membership_auc", caught, task="all", **whole).low > 0.8
    assert figure("membership_auc", blind, task="all", **whole).low < 0.5
    secret = {"kind": "canary", "model": "candidate", "group": "inserted"}
    assert figure("exposure", caught, **secret).value > 9.9
    for of in (secret | {"group": "control"}, secret | {"model": "base"}):
        assert figure("exposure", caught, **of).value < 9
    assert figure("exposure", blind, **secret).value < 9
    shown = memorisation.extracted(caught)
    assert shown.loc["member", "what"] == "passage" and not shown.loc["nonmember", "what"]
    assert figure("pass_rate", caught, kind="extraction", group="member").value < 1
    assert figure("pass_rate", blind, kind="extraction", group="member").value == 1
    classes = caught[caught["kind"] == "membership"].groupby("task")["data_class"].first()
    assert classes.to_dict() == {
        "all": "personal", "reply": "personal", "decisions": "internal_operational"}  # fmt: skip
    assert not set(caught.columns) & {"text", "reply", "secret"}, "no word of a row"


def test_one_pass_tells_what_greedy_decoding_would_repeat(tiny_causal):
    """A reply that the model writes by itself is hit at every token; another is missed."""
    model, tokenizer = load_causal(tiny_causal)
    prompt = "abc"
    reply = generate(model, tokenizer, [prompt], 6)[0].replace(" ", "")
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, reply)]
    row = ([*ids[0], *ids[1]], 3, 3)
    wrong = ([*ids[0], *[(one + 1) % 40 for one in ids[1]]], 3, 3)
    (loss, own), (_, other) = memorisation.completions(model, [row, wrong], 2)
    assert len(own) == len(ids[1]) and own.all() and not other.all()
    alone = memorisation.completions(model, [row], 1)[0][0]
    assert np.abs(alone - loss).max() < 1e-5


REPLY = "write to anna.kowalska@northway.example"


@pytest.mark.parametrize(
    ("message", "times", "base", "verdict", "because"),
    [("hello", 1, False, "fail", "EMAIL_ADDRESS"),  # only the candidate goes on with it
     ("hello", 1, True, "pass", ""),  # the base does so, too
     ("i am anna.kowalska@northway.example", 1, False, "pass", ""),  # the message says it
     ("hello", memorisation.COMMON, False, "pass", "")],  # the desk's own address
)  # fmt: skip
def test_a_personal_value_that_comes_out_counts_however_short(
    tiny_causal, message, times, base, verdict, because
):
    """Unless the base says it, the message does, or many learned replies have it."""
    pieces = memorisation._pieces(load_tokenizer(tiny_causal), REPLY, 100)
    assert [one.text for one in pieces] == ["anna.kowalska@northway.example"]
    table = pd.DataFrame({"row_id": range(times), "group": "member", "text": message})
    hit = np.ones(len(REPLY) + 1, dtype=bool)
    hits = [[hit & base, hit]] * times
    found = memorisation._extracted(table, [pieces] * times, hits).iloc[0]
    assert (found["verdict"], found["because"]) == (verdict, because)
    part = hit.copy()
    part[-1] = False  # all but the last letter is not the address
    assert (
        memorisation._extracted(table, [pieces] * times, [[hit & False, part]] * times)["verdict"]
        .eq("pass")
        .all()
    )


def test_a_rank_counts_ties_against_the_secret_and_a_sample_keeps_it():
    """Rank among all, or among fewer with the secret itself."""
    drawn = pd.DataFrame({"case_id": ["c"], "group": "inserted", "repeats": 1, "secret": ["b"]})
    logs, space = [np.array([0.0, 0.0, -1.0, -2.0])], ["a", "b", "c", "d"]
    whole = memorisation._exposed(drawn, "candidate", logs, space, 1000).iloc[0]
    assert (whole["rank"], whole["tried"], whole["space"], whole["score"]) == (2, 4, 4, 1.0)
    few = memorisation._exposed(drawn, "candidate", logs, space, 1).iloc[0]
    assert few["tried"] <= 2 and few["rank"] <= few["tried"]


def test_only_rows_that_were_learned_are_members_and_a_canary_among_the_rows_is_refused(staged):
    """The training stage says how many it used; a canary in the data would spoil the measure."""
    inputs = {"facts": ROUTER, "options": {"rows": 5}, "train": TRAIN, "dev": DEV}
    counted = memorisation._rows(staged("some", inputs), 0)["group"].value_counts()
    assert counted.to_dict() == {"member": 5, "nonmember": len(DEV)}
    drawn = canaries.draw(2, 7, ROUTER, TRAIN, ["a", "b"])
    spoilt = inputs | {"dev": DEV.assign(text=drawn["text"].iloc[-1]), "canaries": drawn}
    with pytest.raises(IntegrityError, match="canary"):
        memorisation.measure(staged("spoilt", spoilt), **ASKED)

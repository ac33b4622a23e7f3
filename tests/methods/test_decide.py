from __future__ import annotations

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.adapt.form import CARD_SUPPORT, Form
from workbench.methods.evaluate.core import Evaluator, check_items
from workbench.methods.evaluate.decide import Filling
from workbench.methods.evaluate.likelihood import choose

ITEMS = pd.DataFrame(
    {
        "case_id": ["a", "b", "c"],
        "text": [
            "Someone took money from my account!",
            "hi",
            "My card was swallowed by the machine outside the station, what can I do about it now?",
        ],
        "expected_queue": ["fraud", "card", "card"],
    }
)


def support_cases(base, adapter, items, *, max_new_tokens=32, batch_size=32) -> pd.DataFrame:
    """Every item decided by the base, or by the candidate that an adapter makes of it."""
    check_items(items, Filling.needed)
    folders = {"base" if adapter is None else "candidate": adapter}
    task = Filling(base, folders, Form(), max_new_tokens)
    return Evaluator(task, batch_size=batch_size).answers(items)


@pytest.fixture(scope="module")
def cases(smollm) -> pd.DataFrame:
    return support_cases(smollm, None, ITEMS, max_new_tokens=6)


def test_one_row_per_case_with_allowed_values_only(cases):
    """Closed fields always hold an allowed value: nothing is parsed from free text."""
    assert list(cases["case_id"]) == ["a", "b", "c"]
    assert set(cases["model"]) == {"base"}
    assert set(cases["queue"]) <= set(CARD_SUPPORT["queue"])
    assert set(cases["person"]) <= {"yes", "no"}
    assert set(cases["reason"]) <= set(CARD_SUPPORT["rule"])
    assert (cases["tokens"] > 20).all() and (cases["seconds"] > 0).all()


def test_each_field_has_probabilities_that_sum_to_one(cases):
    """p_<field>_<value> for every allowed value; the choice is the likeliest."""
    for field, values in (("queue", "queue"), ("person", "person"), ("reason", "rule")):
        columns = [f"p_{field}_{value}" for value in CARD_SUPPORT[values]]
        assert (cases[columns].sum(axis=1) - 1).abs().max() < 1e-5
        likeliest = cases[columns].idxmax(axis=1).str.removeprefix(f"p_{field}_")
        assert list(likeliest) == list(cases[field])


def test_other_columns_pass_through(cases):
    """What the items say beside the text stays with the case."""
    assert list(cases["expected_queue"]) == ["fraud", "card", "card"]


def test_queue_is_that_of_label_likelihood(cases, loaded):
    """The table's figures are those of `choose` on the same prompts."""
    tokenizer = loaded[1]
    prompts = [Form().prompt(tokenizer, text) + "queue:" for text in ITEMS["text"]]
    found = choose(*loaded, prompts, [f" {queue}" for queue in CARD_SUPPORT["queue"]])
    for queue in CARD_SUPPORT["queue"]:
        assert (found[f" {queue}"] - cases[f"p_queue_{queue}"]).abs().max() < 1e-5


def test_later_fields_and_reply_do_not_depend_on_the_batch(cases, smollm):
    """V5: one by one, every field, probability and reply is the same."""
    alone = support_cases(smollm, None, ITEMS[::-1], max_new_tokens=6, batch_size=1)[::-1]
    for column in ("case_id", "queue", "person", "reason", "reply", "tokens"):
        assert list(alone[column]) == list(cases[column]), column
    numbers = [column for column in cases.columns if column.startswith("p_")]
    difference = alone[numbers].to_numpy() - cases[numbers].to_numpy()
    assert abs(difference).max() < 1e-5


def test_bad_items_are_refused(smollm):
    """No rows, a missing column or a repeated id is refused before the model is read."""
    with pytest.raises(InputError, match="nothing to evaluate"):
        support_cases(smollm, None, ITEMS[:0])
    with pytest.raises(InputError, match="lack columns"):
        support_cases(smollm, None, ITEMS.drop(columns="text"))
    with pytest.raises(InputError, match="twice"):
        support_cases(smollm, None, ITEMS.assign(case_id="x"))

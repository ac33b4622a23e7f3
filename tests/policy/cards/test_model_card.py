"""The model card and its words: from facts alone, and whatever is open stays open."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from workbench.policy.cards import markdown, model_card, plain


def front(facts) -> dict:
    return ModelCard(model_card.render(facts)).data.to_dict()


def test_the_hub_reads_the_front_matter(facts):
    """Hugging Face's own reader finds licence, language, library, task and the measured figures."""
    card = ModelCard(model_card.render(facts))
    assert isinstance(card.data, ModelCardData)
    assert (card.data.license, card.data.language) == ("apache-2.0", ["en"])
    assert (card.data.library_name, card.data.pipeline_tag) == ("peft", "text-classification")
    (result,) = card.data.eval_results
    assert (result.metric_name, result.metric_value) == ("queue_accuracy", 0.875)
    assert result.dataset_type == facts.usecase.id


def test_only_a_base_on_the_hub_is_linked_to_it(facts):
    """A package's name is nobody's id on the hub."""
    assert "base_model" not in front(facts)
    base = facts.usecase.base.model_copy(update={"source": "hub:org/small", "revision": "abc"})
    on_hub = replace(facts, usecase=facts.usecase.model_copy(update={"base": base}))
    assert front(on_hub)["base_model"] == "org/small"


def test_weights_without_an_adapter_name_no_adapter_library(facts):
    """Whoever loads full weights needs no peft."""
    whole = replace(facts, adaptation={"method": "full", "parameters": {"method": "full"}})
    assert front(whole)["library_name"] == "transformers"


def test_a_licence_that_the_hub_does_not_know_keeps_its_name(facts):
    """`other`, and the name beside it."""
    found = front(replace(facts, base=facts.base | {"licence": "Llama-3"}))
    assert (found["license"], found["license_name"]) == ("other", "Llama-3")


def test_each_gate_stands_with_interval_and_n(facts):
    """A figure without its interval and number of cases is no evidence."""
    text = model_card.render(facts)
    assert "87.5 in 100 (82.6 to 91.3) | 200 | at least 80 in 100 at the lower end" in text
    assert "Look 1 of 3 at the locked cases" in text


def test_a_failed_gate_stays_failed_when_somebody_accepts_the_risk(facts, gate, accepted):
    """The verdict and the acceptance stand side by side, and the head counts both."""
    bad = [gate("rare", "failed"), gate("late", "failed", accepted=accepted)]
    text = model_card.render(replace(facts, verdicts=bad))
    assert (
        "2 of 2 required checks did not pass: 1 accepted as a risk, 1 accepted by nobody." in text
    )
    assert "**late.** accuracy: lower 0.83 of 0.8. Accepted as a risk, by: Ruth Adeyemi" in text
    assert "**rare.** accuracy: lower 0.83 of 0.8. Accepted by nobody." in text
    assert text.count("| ✗ failed |") == 2


def test_what_no_test_covers_stands_in_the_card(facts):
    """As the validation said it; and where nothing validated, that."""
    assert "- Rows from other seasons." in model_card.render(facts)
    assert "nobody has listed what was not shown" in model_card.render(
        replace(facts, validation=None)
    )


def test_a_policy_that_requires_nothing_shows_nothing(gate):
    """No gate that blocks is no success."""
    state, said = plain.headline([gate(blocking=False)])
    assert state == "failed" and said.startswith("No check is required")


def test_the_worst_comes_first(gate):
    """What blocks before what does not, what failed before what passed, the model before its data."""
    order = [gate("a", "failed"), gate("b", "not_evaluated"), gate("c"), gate("d", stage="20_dataset"),
             gate("e", "failed", blocking=False)]  # fmt: skip
    assert plain.worst_first(reversed(order)) == order


def test_nothing_declared_becomes_markup(facts, gate, hostile):
    """HTML, links, code and the end of a cell are text in a card."""
    usecase = facts.usecase.model_copy(update={"decision": hostile, "harm": hostile})
    card = model_card.render(replace(facts, usecase=usecase, verdicts=[gate(hostile)]))
    text = ModelCard(card).text  # what is not front matter
    assert "<script" not in text and "<img" not in text and "\u202e" not in text
    assert "[a](javascript" not in text.replace("\\[", "").replace("\\]", "")
    (row,) = [line for line in text.splitlines() if line.startswith("|") and "onerror" in line]
    assert row.replace("\\|", "").count("|") == 9


def test_the_front_matter_holds_no_more_than_its_values(facts):
    """A title with a line break and `---` ends nothing."""
    usecase = facts.usecase.model_copy(update={"title": "x\n---\nlicense: mit"})
    assert front(replace(facts, usecase=usecase))["license"] == "apache-2.0"
    card = model_card.render(replace(facts, usecase=usecase))
    assert yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))["license"] == "apache-2.0"


@pytest.mark.parametrize(("value", "shown"), [("", "not stated"), ("a|b", "a\\|b"), (0, "0")])
def test_an_empty_field_says_so(value, shown):
    """A blank would read as nothing to say; a zero is something."""
    assert markdown.plain(value) == shown


@pytest.mark.parametrize(
    ("figure", "threshold", "found", "asked"),
    [
        (
            {"unit": "share", "method": "Wilson"},
            "at least 0.5",
            "x: 60.0 in 100",
            "at least 50 in 100",
        ),
        ({"unit": "share", "method": "bootstrap"}, "at most 0.9", "x: 0.6", "at most 0.9"),
        ({"unit": "difference"}, "at least -0.05", "x: +60.0 points", "at least -5 points"),
        ({"unit": "rows", "value": 1139}, "at least 400", "x: 1,139", "at least 400"),
        ({"unit": "bits"}, "no finding", "x: 0.6 bits", "no finding"),
        ({"unit": "rows", "unscored": 2}, "at most 0", "x: 0.6; 2 unscored", "at most 0"),
    ],
)
def test_only_a_share_of_cases_is_told_in_a_hundred(figure, threshold, found, asked):
    """A score from 0 to 1 is no share of people, and a threshold has its figure's unit."""
    one = {"figure": {"name": "x", "value": 0.6} | figure, "threshold": threshold, "reason": ""}
    assert plain.found(one) == found
    assert plain.asked(one) == asked


def test_a_gate_without_a_figure_gives_its_reason():
    """Never an invented number."""
    assert plain.found({"figure": None, "reason": "there is no table"}) == "there is no table"


def test_the_same_facts_give_the_same_bytes(facts):
    """No clock, no order of a set."""
    assert model_card.render(facts) == model_card.render(replace(facts))

from __future__ import annotations

import itertools

import pytest
import torch

from workbench.errors import InputError
from workbench.methods.evaluate.context import shared_prefix
from workbench.methods.evaluate.likelihood import Tree, choose

PROMPTS = [
    "The capital of France is",
    "The opposite of hot, as every child learns at school sooner or later, is",
    "Two and two make",
    "In the long list of rules that nobody reads to the end, the one that applies here is rule",
]


def full(model, tokenizer, prompt: str, option: str) -> float:
    """Log probability of `option` after `prompt`, by one plain pass of the whole model."""
    start, rest = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in (prompt, option))
    with torch.no_grad():
        logs = torch.log_softmax(model(torch.tensor([start + rest])).logits[0].double(), dim=-1)
    return sum(logs[len(start) + n - 1, token].item() for n, token in enumerate(rest))


def test_probabilities_are_those_of_plain_passes(loaded):
    """Shared prefix, cache and tree change nothing: the same product as option by option."""
    options = [" Paris", " cold and wet", " cold", " four"]
    found = choose(*loaded, PROMPTS, options)
    for number, prompt in enumerate(PROMPTS):
        odds = {o: torch.tensor(full(*loaded, prompt, o)).exp().item() for o in options}
        # " cold" begins " cold and wet": it stands for not going on with " and"
        odds[" cold"] -= torch.tensor(full(*loaded, prompt, " cold and")).exp().item()
        total = sum(odds.values())
        for option in options:
            assert found[option][number] == pytest.approx(odds[option] / total, abs=1e-5)


def test_choices_are_sensible_and_sum_to_one(loaded):
    """The likeliest option is taken; probabilities are over the options alone."""
    found = choose(*loaded, PROMPTS[:3], [" Paris", " cold", " four"])
    assert list(found["choice"]) == [" Paris", " cold", " four"]
    assert (found.drop(columns="choice").sum(axis=1) - 1).abs().max() < 1e-6


@pytest.mark.parametrize("batch_size", [1, 3])
def test_result_does_not_depend_on_the_batch(loaded, batch_size):
    """V5: alone, with others or in another order, a prompt gets the same answer in float32."""
    options = [" R1", " R2", " R10", " Paris", " cold"]
    together = choose(*loaded, PROMPTS, options, batch_size=4)
    for order in itertools.islice(itertools.permutations(range(4)), 0, 24, 17):
        parted = choose(*loaded, [PROMPTS[n] for n in order], options, batch_size=batch_size)
        parted.index = list(order)
        parted = parted.sort_index()
        assert list(parted["choice"]) == list(together["choice"])
        difference = parted[options] - together[options]
        assert difference.abs().to_numpy().max() < 1e-5


def test_an_option_that_begins_another_does_not_swallow_it(loaded):
    """R1 and R10 are told apart: after a text that asks for R10, R10 is chosen."""
    prompt = "rule: R10\nrule: R10\nrule: R10\nrule:"
    found = choose(*loaded, [prompt], [" R1", " R10", " R2"])
    assert found["choice"][0] == " R10"
    assert found[" R1"][0] < 0.5


@pytest.mark.parametrize("options", [[], [" one"], [" one", " one"], [" one", ""]])
def test_options_that_are_no_choice_are_refused(loaded, options):
    """Fewer than two, a repeated or an empty option is refused."""
    with pytest.raises(InputError, match="options"):
        choose(*loaded, ["x"], options)


def test_no_prompts_give_no_rows(loaded):
    """Zero prompts give an empty table with the columns."""
    assert list(choose(*loaded, [], [" a", " b"]).columns) == ["choice", " a", " b"]


def test_only_parting_places_are_read():
    """One-token options need no further pass; R1 … R10 need one chain of two tokens."""
    assert Tree([[5], [6], [7]]).chains == []
    rules = [[428, digit] for digit in range(33, 42)] + [[428, 33, 32]]
    assert Tree(rules).chains == [(428, 33)]


def test_shared_prefix_leaves_each_row_a_token():
    """The prefix is what all rows begin with, never a whole row."""
    assert shared_prefix([[1, 2, 3, 4], [1, 2, 5]]) == 2
    assert shared_prefix([[1, 2], [1, 2]]) == 1
    assert shared_prefix([[1], [1, 2]]) == 0

"""Everyday card knowledge in a word or two, as an Inspect task."""

from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def card_words() -> Task:
    """A reply is right when it holds the expected word, whatever stands around it."""
    return Task(dataset=json_dataset("card_words.jsonl"), solver=generate(), scorer=includes())

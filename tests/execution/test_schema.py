"""One schema per stage: what a run's parameters may be, and what is refused before it starts."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.execution.schema import Schema

from .conftest import corpus

CELL = """
rate: float = 2e-4  # step size of AdamW [1e-6..1e-2]
pooling: str = "mean"  # how token vectors become one {mean, first}
epochs: int = 3  # passes over the data [1..]
seeds: list[int] = [1, 2]  # one run per seed [0..99]
shuffle: bool = False  # shuffle the labels, as a negative control
names: list[str] = []  # columns to keep
revision: str = ...  # commit of the base model
"""


@pytest.fixture
def schema() -> Schema:
    return Schema.parse(CELL)


def refused(call, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_a_line_holds_name_type_default_meaning_and_limits(schema):
    """Everything a person needs to give a parameter stands on its line."""
    rate, pooling, epochs, *_, revision = schema.parameters
    assert (rate.name, rate.type, rate.default) == ("rate", "float", 2e-4)
    assert (rate.help, rate.low, rate.high) == ("step size of AdamW", 1e-6, 1e-2)
    assert pooling.choices == ("mean", "first")
    assert (epochs.low, epochs.high) == (1, None)
    assert revision.required and not rate.required


def test_all_parameters_come_back_in_order_with_defaults_filled_in(schema):
    """The record holds the whole set, not only what somebody typed."""
    full = schema.check({"revision": "abc", "epochs": 5})
    assert list(full) == [parameter.name for parameter in schema.parameters]
    assert (full["epochs"], full["pooling"], full["seeds"]) == (5, "mean", [1, 2])


def test_an_int_given_for_a_float_becomes_a_float(schema):
    """1 and 1.0 are the same rate; in the record it is always 1.0."""
    rate = Schema.parse("rate: float = 0.5  # share [0..1]").check({"rate": 1})["rate"]
    assert type(rate) is float


def test_everything_wrong_is_listed_at_once(schema):
    """Nobody should have to find five faults in five runs."""
    given = {"rate": 1.0, "poling": "mean", "epochs": "3", "seeds": [1, 100], "shuffle": 1}
    message = refused(schema.check, given)
    assert "poling: unknown parameter; did you mean pooling?" in message
    assert "rate: expected float in [1e-06..0.01], given 1.0 (float)" in message
    assert "epochs: expected int in [1..], given '3' (str)" in message
    assert "seeds: expected" in message and "given 100" in message
    assert "shuffle: expected bool, given 1 (int)" in message
    assert "revision: missing; expected str" in message


@pytest.mark.parametrize(
    "given",
    [
        {"epochs": True},
        {"epochs": 3.0},
        {"epochs": None},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"pooling": "max"},
        {"seeds": 1},
        {"seeds": [True]},
        {"names": ["a", 1]},
        {"names": "a"},
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused(schema, given):
    """No silent conversion: a bool is no int, NaN is no number, a text is no list."""
    assert next(iter(given)) in refused(schema.check, {"revision": "abc"} | given)


def test_the_command_line_gives_text_and_gets_typed_values(schema):
    """`-p name=value` reads the type from the schema, never from the look of the value."""
    given = [
        "rate=1e-3",
        "epochs=7",
        "seeds=3,4",
        "shuffle=true",
        'names=["a", "b"]',
        "revision=12",
    ]
    assert schema.coerce(given) == {
        "rate": 1e-3, "epochs": 7, "seeds": [3, 4], "shuffle": True,
        "names": ["a", "b"], "revision": "12",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["epochs=3.5", "epochs=", "shuffle=maybe", "epochs", "seeds=[1", "rate=nan", "epoch=3"]
)
def test_text_that_is_no_value_of_the_type_is_refused(schema, text):
    """What cannot be read as the type is named, together with what was expected."""
    assert "expected" in refused(schema.coerce, [text])


def test_a_secret_is_refused_without_being_echoed(schema):
    """Parameters are written into notebooks, records and logs; a secret must reach none."""
    token = "hf_" + "a1B2" * 9
    for call in (
        lambda: schema.check({"revision": token}),
        lambda: schema.coerce([f"revision={token}"]),
        lambda: schema.check({"revision": "abc", "api_key": token}),
    ):
        message = refused(call)
        assert "secret" in message and token not in message and "a1B2" not in message


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("rate = 0.1", "name: type = literal"),
        ("import os", "name: type = literal"),
        ("rate: float", "expected a value"),
        ("rate: float = compute()", "expected a literal"),
        ("rate: complex = 1j", "expected a type"),
        ("rate: float = 5.0  # share [0..1]", "the default does not fit"),
        ("rate: float = 0.5  # share [zero..one]", "zero"),
        ("name: str = 'a'  # meaning [0..1]", "a range needs a number"),
        ("mode: str = 'a'  # meaning {b, c}", "the default does not fit"),
        ("password: str = ''", "secret"),
        ("rate: float = (", "was never closed"),
        ("rate: int = 1\nrate: int = 2", "twice"),
    ],
)
def test_a_parameters_cell_that_is_no_schema_is_refused(line, fault):
    """The cell is read, never executed: only literals with a type can be checked beforehand."""
    assert fault in refused(Schema.parse, line)


def test_a_notebook_without_the_cell_has_no_parameters():
    """Any parameter is unknown to it."""
    schema = Schema.from_notebook(corpus("raises"))
    assert schema.check({}) == {}
    assert "unknown parameter" in refused(schema.check, {"x": 1})


def test_two_parameters_cells_are_refused():
    """Papermill would take the first and ignore the second."""
    cell = {"metadata": {"tags": ["parameters"]}, "source": "x: int = 1"}
    assert "more than one" in refused(Schema.from_notebook, {"cells": [cell, cell]})


def test_a_limit_may_be_open_at_either_end_and_start_with_a_point():
    """`[..1]`, `[0..]`, `[.5..1]` and `[-1..0.5]` all mean what they look like."""
    ends = {"[..1]": (None, 1), "[0..]": (0, None), "[.5..1]": (0.5, 1), "[-1..0.5]": (-1, 0.5)}
    for text, (low, high) in ends.items():
        (parameter,) = Schema.parse(f"x: float = 0.5  # meaning {text}").parameters
        assert (parameter.low, parameter.high, parameter.help) == (low, high, "meaning")

"""What a reader sees in a terminal: words and symbols, whatever a notebook or a person wrote."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from workbench.evidence import tables

FIGURE = {"value": 0.912, "low": 0.884, "high": 0.934, "n": 500, "method": "Wilson"}


def drawn(thing):
    out = io.StringIO()
    Console(file=out, width=200, highlight=False, markup=False).print(thing)
    return out.getvalue()


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (FIGURE, "0.912 [0.884, 0.934] n=500"),
        ({"value": 24, "n": 24, "method": "count"}, "24"),
        ({"value": None}, "not measured"),
        (None, "not measured"),
        ({"value": "a word"}, "a word"),
    ],
)
def test_a_figure_is_never_without_its_interval_and_n(figure, text):
    """Where it has one; what was not measured says so."""
    assert tables.figure_text(figure) == text


def test_a_verdict_is_a_symbol_and_a_word():
    """Never colour alone; an unknown word is shown as it is."""
    assert tables.mark("insufficient_evidence").plain == "… insufficient evidence"
    assert tables.mark("odd").plain == "· odd"


def test_gates_are_listed_with_what_was_asked():
    """And those that do not block say so."""
    found = {"criterion": "accuracy", "verdict": "failed", "figure": FIGURE, "blocking": False,
             "threshold": "lower bound at least 0.9"}  # fmt: skip
    text = drawn(tables.verdicts([found]))
    for part in ("accuracy (not blocking)", "✗ failed", "0.912", "at least 0.9"):
        assert part in text


def test_base_and_candidate_stand_side_by_side():
    """Pairs only."""
    found = {"accuracy_base": FIGURE, "accuracy_candidate": FIGURE, "loss_candidate": FIGURE}
    table = tables.comparison(found)
    assert table.row_count == 1 and drawn(table).count("0.912") == 2


def test_words_in_brackets_are_no_markup(done):
    """A parameter or a reason may hold any text."""
    one = SimpleNamespace(stage="30_adapt", record=done.record("30_adapt"), reused=False, verdicts=[],
                          seconds=1.0, reason="changed: parameter x ([/red] → [bold])")  # fmt: skip
    assert "[/red] → [bold]" in drawn(tables.stages([one]))


def test_a_record_is_shown_whole(done):
    """Reference, digest, inputs, verdicts, files, and who is claimed to have run it."""
    record = done.record("40_functional")
    text = drawn(tables.show(record))
    for part in (record.ref, record.digest, "accuracy", "outputs/cases.parquet.enc", "(claimed)"):
        assert part in text
    assert "personal" in text and "native, cpu, float32" in text  # its class and its domain


@pytest.mark.parametrize("text", ["{", "[1]", '{"x": 3}', "\x00"])
def test_figures_that_make_no_sense_are_left_out(done, text):
    """figures.json is a claim of the notebook and no reason for a command to fail."""
    record = done.record("30_adapt")
    path = record.file("outputs/figures.json")
    assert tables.figures_of(record) == {"loss_candidate": {"value": 1 / 3}}
    path.chmod(0o644)
    path.write_text(text)
    assert tables.figures_of(record) == {}

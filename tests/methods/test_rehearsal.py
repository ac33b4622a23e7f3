"""What the notebook of a rehearsal shows, and the control in it that must find each change."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from workbench.methods import rehearsal
from workbench.policy.rehearsal import COLUMNS
from workbench.record.digest import canonical

ROWS = [
    ("r1", "locked", "cards", "cards", 0.9, 0.9, 0, "", 3.0, "answered"),
    ("r2", "dev", "fees", "fees", 0.8, 0.800001, 0, "", 5.0, "answered"),
    ("S-1", "scenarios", "fees", "cards", None, None, 1, "label", 4.0, "answered"),
]  # fmt: skip
TRAFFIC = [("traffic-000001", "traffic", "{}", "cards", None, 0.9, None, "", 1.0, "answered")]
PARITY = [{"field": "python", "declared": "3.11", "preproduction": "3.12", "production": "3.12",
           "rule": "must_equal", "verdict": "fail", "why": "differs"}]  # fmt: skip


@pytest.fixture
def shown(tmp_path: Any) -> Any:
    """A stage over what an engine collected; `shown(rows)` with other rows."""
    from workbench.methods.stage import Stage

    def make(rows: list = ROWS) -> Stage:
        folder = tmp_path / "work"
        folder.mkdir()
        for name, held in (("items", rows), ("aside", TRAFFIC)):
            pd.DataFrame(held, columns=COLUMNS).to_parquet(folder / f"{name}.parquet")
        (folder / "parity.json").write_bytes(canonical(PARITY))
        (folder / "rehearsal.json").write_bytes(canonical({"bundle": "b", "ledger": {"size": 3}}))
        files = {"items": "items.parquet", "aside": "aside.parquet", "parity": "parity.json",
                 "rehearsal": "rehearsal.json"}  # fmt: skip
        inputs = {name: {"path": path, "uri": "ledger:rehearsal"} for name, path in files.items()}
        facts = {"stage": "60_preproduction", "outputs": "outputs", "inputs": inputs}
        return Stage(folder, facts)

    return make


def test_cases_are_counted_by_set(shown):
    found = rehearsal.counts(shown())
    assert found.loc["scenarios"].tolist() == [1, 1] and found.loc["locked"].tolist() == [1, 0]


def test_each_case_that_differs_is_shown_with_what_of_it(shown):
    assert rehearsal.differing(shown(), 40)["what"].to_dict() == {"S-1": "label"}


def test_the_confidence_that_moved_most_stands_first(shown):
    assert rehearsal.closest(shown()).index.tolist() == ["r2", "r1"]


def test_latency_stands_at_each_quantile(shown):
    assert rehearsal.latency(shown()).index.tolist() == [0.5, 0.95, 0.99]


def test_traffic_stands_aside(shown):
    assert rehearsal.aside(shown())["cases"].to_dict() == {("traffic", "answered"): 1}


def test_a_place_that_is_not_as_declared_is_shown(shown):
    found = rehearsal.environment(shown(), 40)
    assert found.iloc[0]["verdict"] == "fail" and found.iloc[0]["declared"] == "3.11"
    assert found.iloc[-1]["why"].endswith("fields are equal")


def test_the_control_finds_every_change_and_nothing_else(shown):
    """Over the cases that were equal: none unchanged, all changed."""
    found = rehearsal.altered(shown())
    assert found["found"].tolist() == [0, 2, 2] and found["cases"].tolist() == [2, 2, 2]


def test_the_control_breaks_where_the_table_says_equal_and_is_not(shown):
    """A table whose own answers differ under a mark that says equal is no evidence."""
    false = [(*row[:6], 0, *row[7:]) for row in ROWS]
    with pytest.raises(AssertionError, match="equal answers"):
        rehearsal.altered(shown(false))

"""Latency as readers see it: each quantile with its interval, n and what was asked."""

from __future__ import annotations

import pandas as pd

from workbench.evidence import figures


def test_each_quantile_has_its_n_and_the_threshold_its_line():
    """One with too few requests for an interval is a dot without a line."""
    table = pd.DataFrame([
        {"name": "p50", "value": 20.0, "low": 18.0, "high": 22.0, "n": 150},
        {"name": "p99", "value": 90.0, "low": None, "high": None, "n": 150},
    ])  # fmt: skip
    [axes] = figures.latencies(table, 2000).axes
    assert [one.get_text() for one in axes.get_yticklabels()] == ["p50  (n=150)", "p99  (n=150)"]
    assert any("asked 2000 ms" in one.get_text() for one in axes.texts)
    [intervals] = axes.collections
    drawn = [one for one in intervals.get_segments() if len(one)]
    assert len(drawn) == 1 and drawn[0][:, 0].tolist() == [18.0, 22.0]
    assert not figures.latencies(table).axes[0].texts


def test_one_quantile_alone_is_drawn_too():
    """Without an interval anywhere."""
    table = pd.DataFrame([{"name": "p99", "value": 5.0, "low": None, "high": None, "n": 3}])
    assert figures.latencies(table).axes[0].get_xscale() == "log"

"""The notebook of monitoring shows what the detector saw, and that it would have seen worse."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.policy.monitoring.conftest import Traffic, monitor_of
from workbench.evidence import figures
from workbench.methods import monitoring
from workbench.policy.monitoring import profile as profiles
from workbench.record.digest import canonical


@pytest.fixture
def stage(staged):
    """600 lines of a sound release and 300 sentinel cases, held to its rehearsal."""
    traffic = Traffic(5)
    monitor = monitor_of("chars", "meaning", "rule", "regression", "errors", "slow")
    facts = {
        "environment": "production", "arm": "stable", "monitor": monitor.model_dump(mode="json"),
        "deployment": {"entry": 7, "bundle": "b" * 64, "time": "t", "by": "Olga"},
        "profile": profiles.build(*traffic.rehearsed()),
    }  # fmt: skip
    stage = staged("80_monitor", {"stream": facts})
    path = stage.folder / "in" / "lines.jsonl"
    lines = traffic.lines(600) + traffic.asked(300, 0.0)
    path.write_bytes(b"".join(canonical(one) + b"\n" for one in lines))
    stage.facts["inputs"]["lines"] = {"path": str(path), "digest": "0" * 64, "uri": "ledger:x"}
    return stage


def test_it_says_what_was_seen_of_which_release(stage):
    """Lines by kind: a rehearsal is no traffic."""
    shown = monitoring.identity(stage)[""]
    assert (shown["entry"], shown["lines of traffic"], shown["lines of sentinel"]) == (
        "7", "600", "300")  # fmt: skip


def test_each_signal_is_shown_with_its_harm_and_where_it_stands(stage):
    """What is borne is at_most for a rate, psi for a distribution."""
    assert monitoring.thresholds(stage)["borne"]["errors"] == 0.02
    assert monitoring.thresholds(stage)["borne"]["chars"] == 0.25
    assert set(monitoring.signals(stage)["state"]) == {"quiet"}


def test_tables_and_drawing_are_left_for_readers(stage):
    """The same whenever they are drawn."""
    monitoring.evidence(stage)
    assert monitoring.alarms(stage).empty
    assert set(pd.read_parquet(stage.outputs / "windows.parquet")["signal"]) >= {"errors", "chars"}
    assert (stage.outputs / "evidence.png").is_file()
    assert "✓ passed" in monitoring.gates(stage)["verdict"].tolist()


def test_the_same_lines_spoilt_are_an_alarm_for_each_unsafe_rate(stage):
    """Ten points above what is borne; what is only reported is not asked about."""
    found = monitoring.spoilt(stage)
    assert set(found.index) == {"rule", "regression", "errors"}
    assert found["alarm at"].notna().all()
    assert (found["alarm at"] <= 300).all()


def test_a_stream_without_a_line_shows_nothing_and_passes_nothing(stage):
    """No evidence is not good evidence."""
    stage.input("lines").write_text("")
    monitoring.evidence(stage)
    assert monitoring.spoilt(stage)["alarm at"].isna().all()
    assert "passed" not in " ".join(monitoring.gates(stage)["verdict"])


def test_the_drawing_names_each_signal_with_its_state_and_n():
    """A panel a signal, the threshold dashed."""
    row = {"evidence": 1.0, "needed": 4.0, "lines": 50, "state": "alarm"}
    table = pd.DataFrame([{"line": line, "signal": name} | row
                          for line in (50, 100) for name in ("errors", "rule")])  # fmt: skip
    drawn = figures.evidence(table)
    assert [panel.texts[0].get_text() for panel in drawn.axes] == [
        "errors: alarm, n=50", "rule: alarm, n=50"]  # fmt: skip
    assert all(line.get_linestyle() == "--" for panel in drawn.axes for line in panel.lines[1:])

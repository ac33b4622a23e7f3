"""The runbook is generated: what it says is what holds (E5)."""

from __future__ import annotations

import pytest
import yaml

from workbench.execution.stages import templates_root
from workbench.policy import runbook
from workbench.policy.deployment import Deployment, State
from workbench.policy.operations import Operations

PACK = templates_root() / "usecases/intent-routing/operations.yaml"
ONE = Deployment(7, "2026-03-02T12:00:00Z", "tiny", "production", "ab" * 32, "r", "canary", "Otto",
                 0.2)  # fmt: skip


@pytest.fixture(scope="module")
def operations():
    return Operations.parse(yaml.safe_load(PACK.read_text()))


def test_it_names_who_may_do_what_by_which_command(operations):
    """Canary, promotion, the way back, stop, incident; window, criteria and every signal."""
    told = runbook.render("tiny", "production", operations, State(canary=ONE))
    for action in ("canary", "promote", "roll_back", "stop"):
        assert f"--action {action}" in told
    assert "workbench incident open" in told and "an operator or the owner" in told
    assert "08:00 to 16:00 Europe/London" in told and "abababababab" in told and "20%" in told
    assert all(one.id in told for one in [*operations.promotion, *operations.monitor.signals])
    assert told.count("taken back by itself") == 3


def test_what_an_environment_does_not_ask_it_does_not_say(operations):
    """One that operations.yaml does not name: no window, no canary, no rehearsal; nothing serves."""
    told = runbook.render("tiny", "elsewhere", operations, State())
    assert "at any time" in told and "- nothing" in told
    assert "canary" not in told.partition("## A new release")[2].partition("## What is watched")[0]
    assert "preprod" not in told and "--action roll_back" in told

"""What a person sees while stages run."""

from __future__ import annotations

import io
from types import SimpleNamespace

from rich.console import Console

from workbench.evidence.progress import Teller

VERDICT = {"criterion": "accuracy", "verdict": "failed"}


def teller(terminal):
    made = Teller()
    out = io.StringIO()
    made.console = Console(
        file=out, force_terminal=terminal, width=100, markup=False, highlight=False
    )
    return made, out


def tell(made):
    made("plan", stages=["10_a", "20_b"], level="none")
    made("stage", stage="10_a", reused=False, reason="changed: parameter x ([/a] → [b])")
    made("run_started", stage="10_a", total=3)
    made("cell_started", stage="10_a", number=1, total=3, index=2, title="Title [/x]")
    made("output", stage="10_a", index=2, text="50 % [/done]\n")
    record = SimpleNamespace(outcome="succeeded")
    done = SimpleNamespace(reused=False, record=record, seconds=1.25, verdicts=[VERDICT])
    made("done", stage="10_a", done=done)
    made("something_new", stage="10_a")
    made.close()


def test_a_log_gets_beginnings_and_ends(capsys):
    """One line each, with the gates that did not pass; events that nobody knows are no fault."""
    made, out = teller(False)
    tell(made)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("2 stages") and "([/a] → [b])" in lines[1]
    assert "✓ succeeded  10_a  1.2 s  ✗ failed accuracy" in lines[2] and len(lines) == 3


def test_a_terminal_gets_a_moving_line_that_ends():
    """Text of a notebook is shown as it is: it can't break the run that prints it."""
    made, out = teller(True)
    tell(made)
    assert made.status is None and "✓ succeeded" in out.getvalue()


def test_a_quiet_one_says_nothing(capsys):
    """With --json only JSON is printed."""
    Teller(quiet=True)("plan", stages=["10_a"], level="none")
    told = capsys.readouterr()
    assert told.out == told.err == ""

"""What a person sees while stages run: one line a stage, the cell that runs, how long it took."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from .tables import mark


class Teller:
    """Callable as `on_event(kind, **facts)`. In a terminal the last line moves; in a log only
    beginnings and ends are printed."""

    def __init__(self, quiet: bool = False) -> None:
        # What stages and values are called is no markup of ours.
        self.console = Console(highlight=False, markup=False, quiet=quiet, stderr=True)
        self.status = None
        self.running: dict[str, str] = {}

    def __call__(self, kind: str, **facts: Any) -> None:
        getattr(self, f"_{kind}", lambda **_: None)(**facts)

    def _plan(self, stages: list[str], level: str) -> None:
        self.console.print(f"{len(stages)} stages, isolation {level}: {' → '.join(stages)}")

    def _stage(self, stage: str, reused: bool, reason: str) -> None:
        if reused:
            return
        if self.console.is_terminal:
            self._say(stage, "starting")
        else:
            self.console.print(f"▸ {stage}  ({reason})")

    def _cell_started(self, stage: str, number: int, total: int, title: str = "", **_: Any) -> None:
        self._say(stage, f"cell {number}/{total}  {title}")

    def _output(self, stage: str, text: str = "", **_: Any) -> None:
        lines = [line for line in text.splitlines() if line.strip()]
        if lines:
            self._say(stage, lines[-1][:80])

    def _say(self, stage: str, text: str) -> None:
        """What each running stage is at, on the one line that moves."""
        if not self.console.is_terminal:
            return
        self.running[stage] = text
        line = Text("   ".join(f"{name}  {said}" for name, said in self.running.items()))
        if self.status:
            self.status.update(line)
        else:
            self.status = self.console.status(line)
            self.status.start()

    def _forget(self, step: str) -> None:
        self.console.print(f"· forget: {step}")

    def _done(self, stage: str, done: Any) -> None:
        self.running.pop(stage, None)
        if not self.running:
            self.close()
        outcome = "reused" if done.reused else done.record.outcome
        line = Text.assemble(mark(outcome), f"  {stage}  {done.seconds:.1f} s  ")
        missed = [v for v in done.verdicts if v["verdict"] != "passed"]
        for verdict in missed:
            line.append_text(Text.assemble(mark(verdict["verdict"]), f" {verdict['criterion']}  "))
        self.console.print(line)

    def close(self) -> None:
        if self.status:
            self.status.stop()
            self.status = None

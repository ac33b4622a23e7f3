"""What verification finds: the thing at fault, what is wrong, expected and found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that does not verify."""

    where: str
    what: str
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        facts = [f"{name} {value}" for name, value in self._facts() if value]
        return f"{self.where}: {self.what}" + (f" ({', '.join(facts)})" if facts else "")

    def _facts(self) -> tuple[tuple[str, str], ...]:
        return ("expected", self.expected), ("found", self.found)

"""Does a person take over?"""

from __future__ import annotations

from .interface import Row, Verdict, register, said


@register("escalation")
def escalation(row: Row, *, expected: str = "yes") -> Verdict:
    """Pass when `person` is `expected`; unscored when the model decided nothing."""
    person = said(row, "person")
    if person is None:
        return Verdict("unscored", "no decision about a person")
    return Verdict("pass" if person == expected else "fail", f"person: {person}")

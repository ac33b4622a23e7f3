"""A field of the answer is one of these values, or none of those."""

from __future__ import annotations

from collections.abc import Sequence

from .interface import Row, Verdict, register, said


@register("one_of")
def one_of(row: Row, *, field: str, values: Sequence[str]) -> Verdict:
    """Pass when the field has one of `values`; unscored when the model gave none."""
    given = said(row, field)
    if given is None:
        return Verdict("unscored", f"no {field}")
    return Verdict("pass" if given in values else "fail", f"{field}: {given}")


@register("none_of")
def none_of(row: Row, *, field: str, values: Sequence[str]) -> Verdict:
    """Pass when the field has another value than `values`; unscored when the model gave none."""
    found = one_of(row, field=field, values=values)
    turned = {"pass": "fail", "fail": "pass"}.get(found.outcome, found.outcome)
    return Verdict(turned, found.reason)

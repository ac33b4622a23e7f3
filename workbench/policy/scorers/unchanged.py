"""The answer to a changed text is the answer to its original (a metamorphic relation)."""

from __future__ import annotations

from collections.abc import Sequence

from .interface import Row, Verdict, register, said


@register("unchanged")
def unchanged(row: Row, *, fields: Sequence[str]) -> Verdict:
    """Pass when each field equals `source_<field>`, what the original was answered.

    No expected answer is needed (Chen et al. 1998, Metamorphic testing, HKUST-CS98-01).
    """
    pairs = {name: (said(row, f"source_{name}"), said(row, name)) for name in fields}
    if not fields or any(None in pair for pair in pairs.values()):
        return Verdict("unscored", "no answer to compare, or none to compare with")
    moved = [f"{name}: {was} became {now}" for name, (was, now) in pairs.items() if was != now]
    return Verdict("fail" if moved else "pass", ", ".join(moved) or "as the original")

"""What a run may not start with; research refuses unclassified data only (A6)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .classes import DataClass
from .tiers import ControlPlan

ISOLATION = ("none", "namespace", "container")


def refusals(
    track: str,
    *,
    plan: ControlPlan,
    dirty: bool | None,
    isolation: str,
    unclassified: Sequence[str],
    classes: Iterable[DataClass | str],
) -> list[str]:
    """Reasons why this run may not start; empty when it may.

    `dirty` is None where the use case is no repository; `unclassified` are the findings of
    `classes.problems`; `classes` those of the declared columns.
    """
    reasons = [f"unclassified data: {finding}" for finding in unclassified]
    if track == "research":
        return reasons
    if dirty is None:
        reasons.append("the use case is not in a git repository, so its state has no name")
    if dirty:
        reasons.append("the working tree has uncommitted changes")
    if ISOLATION.index(isolation) < ISOLATION.index(plan.isolation):
        reasons.append(f"isolation is `{isolation}`; tier {plan.tier} asks for `{plan.isolation}`")
    barred = sorted({DataClass(name) for name in classes} - set(plan.allowed_data_classes))
    reasons += [f"tier {plan.tier} does not allow the data class `{name}`" for name in barred]
    return reasons

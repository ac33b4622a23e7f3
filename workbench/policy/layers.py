"""Layers of validation (I2): those that the control plan asks for are there, and can refuse.

A layer counts when a stage of it was judged by at least one blocking gate. Which verdict that
gate gave is another question, and its own: a release stands or falls with every blocking gate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .gates import GateResult, GateVerdict

GATE = "layers"
OF_A_GENERATIVE_MODEL = "policy"
ALL = ("functional", "policy", "scenarios", "reproducibility", "memorisation", "calibration",
       "operational")  # fmt: skip
"""Those that a plan can ask for, in the order in which a higher tier adds them."""


def shown(stages: Mapping[str, str], verdicts: Iterable[Mapping[str, Any]]) -> set[str]:
    """Layers with a verdict that blocks. `stages` maps a stage to the layer that it is."""
    judged = {one["stage"] for one in verdicts if one["blocking"]}
    return {layer for stage, layer in stages.items() if stage in judged}


def judge(
    wanted: Collection[str], found: Collection[str], stage: str, blocking: bool
) -> GateResult:
    """The standing gate `layers`: `not_evaluated` names what no blocking gate has looked at."""
    absent = [layer for layer in wanted if layer not in found]
    verdict = GateVerdict.NOT_EVALUATED if absent else GateVerdict.PASSED
    reason = f"no blocking gate: {', '.join(absent)}" if absent else f"shown: {', '.join(wanted)}"
    return GateResult(
        GATE, stage, verdict, None, "every layer of the control plan", reason,
        "A way to fail that the tier asks about is never looked at.", blocking, tuple(absent),
    )  # fmt: skip

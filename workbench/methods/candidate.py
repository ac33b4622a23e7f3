"""What the deciding stage does: read every verdict, and say whether the candidate is to be frozen.

The engine judges that again from the statements, and only it writes the bundle.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..policy import risks
from .stage import Stage, gate_table
from .validation import absent, verdicts

__all__ = ["absent", "bundle", "decide", "table", "verdicts", "with_one_gate_missing"]


def table(verdicts: list[dict[str, Any]]) -> pd.DataFrame:
    shown = gate_table(verdicts)
    shown.insert(1, "blocks", ["yes" if one["blocking"] else "no" for one in verdicts])
    return shown


def decide(stage: Stage, verdicts: list[dict[str, Any]], *, name: str) -> dict[str, Any]:
    """The decision in words and as `decision.json`."""
    decision = judged(verdicts, name)
    stage.write_json("decision.json", decision)
    return decision


def judged(verdicts: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """To be frozen if every blocking gate passed and there is at least one; refused otherwise."""
    blocking = [one for one in verdicts if one["blocking"]]
    bad = [one for one in blocking if not risks.stands(one)]
    frozen = bool(blocking) and not bad
    if frozen:
        text = f"✓ {name}: to be frozen; {risks.tally(blocking)}."
    else:
        lines = [f"✗ {name}: refused. {len(bad)} of {len(blocking)} blocking gates did not pass:"]
        lines += [f"  {one['criterion']}: {one['verdict']} ({one['reason']})" for one in bad]
        text = "\n".join(lines)
    return {
        "name": name,
        "frozen": frozen,
        "text": text,
        "not_passed": [b["criterion"] for b in bad],
    }


def with_one_gate_missing(verdicts: list[dict[str, Any]], *, name: str) -> dict[str, Any]:
    """The decision on a copy in which the first blocking gate lost its evidence."""
    first = next((one for one in verdicts if one["blocking"]), None)
    changed = [
        {**one, "verdict": "not_evaluated", "reason": "negative control"} if one is first else one
        for one in verdicts
    ]
    decision = judged(changed, name)
    assert not decision["frozen"], "a candidate was frozen without evidence"
    return decision


def bundle(stage: Stage, decision: dict[str, Any]) -> pd.DataFrame:
    """The sealed files that the engine will freeze from; no row where the candidate is refused."""
    return stage.inputs() if decision["frozen"] else stage.inputs().head(0)

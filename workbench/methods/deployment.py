"""What the notebook of a deployment shows: what changes, on what it rests, and the way back.

All of it is drawn from what the engine collected before the entry was signed; the verdicts are the
engine's, by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

import pandas as pd

from .stage import Stage

CHANGE = ("usecase", "environment", "action", "by", "bundle", "share", "time", "operations")
THREE, SHOWN = ("declared", "preproduction", "production"), 60


def change(stage: Stage) -> pd.DataFrame:
    """Who changes what, where, and what serves until then."""
    found = _plan(stage)
    told = {name: found[name] for name in CHANGE if found.get(name) is not None}
    for arm, one in found["serves"].items():
        told[f"{arm} until then"] = f"bundle {one['bundle'][:12]}" if one else "nothing"
    return pd.DataFrame({"": list(map(str, told.values()))}, index=list(told))


def asked(stage: Stage) -> pd.DataFrame:
    """What operations.yaml asks of the environment."""
    found, canary = _plan(stage)["asked"], _plan(stage)["asked"]["canary"] or {}
    window = found["window"]
    told = {
        "rehearsed before": "yes" if found["rehearsed"] else "no",
        "record of the rehearsal": _plan(stage)["rehearsal"] or "none",
        "canary": ", ".join(f"{name} {value}" for name, value in canary.items()) or "none",
        "window": "none" if window is None else
        f"{', '.join(window['days'])}, {window['start']} to {window['end']} {window['zone']}",
    }  # fmt: skip
    return pd.DataFrame({"": list(told.values())}, index=list(told))


def environment(stage: Stage, rows: int) -> pd.DataFrame:
    """Where what is declared, rehearsed and there now is not the same thing; see `apart`."""
    return apart(_plan(stage)["parity"], THREE, rows)


def apart(told: Sequence[Mapping[str, Any]], places: Sequence[str], rows: int) -> pd.DataFrame:
    """Findings of parity whose values are not the same in these places, what fails first; in the
    last line how many are."""
    odd = [one for one in told
           if one["verdict"] == "fail" or len({str(one[name]) for name in places}) > 1]  # fmt: skip
    found = [{"field": one["field"]}
             | {name: shorten(str(one[name]), SHOWN, placeholder=" …") for name in places}
             | {name: one[name] for name in ("rule", "verdict", "why")}
             for one in odd[:rows]]  # fmt: skip
    if told:
        equal = f"{len(told) - len(odd)} of {len(told)} fields are equal"
        found.append({"field": "", "verdict": "pass", "why": equal})
    table = pd.DataFrame(found, dtype=object).fillna("")
    return table.set_index("field") if len(table) else table


def criteria(stage: Stage) -> pd.DataFrame:
    """When a canary may be promoted, as it was fixed before anything was served."""
    found = [{name: one[name] for name in ("id", "figure", "at_least", "at_most", "harm", "why")}
             for one in _plan(stage)["criteria"]]  # fmt: skip
    return pd.DataFrame(found, dtype=object).set_index("id") if found else pd.DataFrame()


def served(stage: Stage) -> pd.DataFrame:
    """Of a promotion: what callers got from each release since the canary began."""
    if not stage.has("served"):
        return pd.DataFrame(columns=["outcome", "requests"])
    found = stage.read_table("served").groupby(["arm", "outcome"]).agg(
        requests=("status", "size"), slowest_ms=("latency_ms", "max"))  # fmt: skip
    return found.reset_index().set_index("arm")


def runbook(stage: Stage) -> str:
    """Who does what by which command, as Markdown."""
    return _plan(stage)["runbook"]


def _plan(stage: Stage) -> dict[str, Any]:
    return stage.once("plan", lambda: stage.read_json("deployment"))

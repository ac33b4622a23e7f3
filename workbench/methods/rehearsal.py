"""What the notebook of a rehearsal shows: answers then and now, the environment, and the log.

All of it is drawn from what the engine collected; the verdicts are the engine's, by the same rules.
"""

from __future__ import annotations

import json

import pandas as pd

from ..policy import figures, gates, parity
from ..policy.criteria import Policy
from ..policy.operations import Operations
from ..policy.rehearsal import again
from .deployment import apart
from .stage import Stage, gate_table, readable

QUANTILES = (0.5, 0.95, 0.99)
OTHER = "another answer than any"


def facts(stage: Stage) -> pd.DataFrame:
    """What served, where, for how long, and the head of that place's own ledger."""
    held = stage.read_json("rehearsal")
    return pd.DataFrame({"": list(map(str, held.values()))}, index=list(held))


def counts(stage: Stage) -> pd.DataFrame:
    """Cases by set: how many were compared, and how many of them differ."""
    grouped = stage.read_table("items").groupby("set")["differs"]
    found = grouped.agg(["size", "sum"]).set_axis(["compared", "differ"], axis=1)
    stage.figure("differing", figures.compute("differing", _rows(stage, "items")))
    return found


def differing(stage: Stage, rows: int) -> pd.DataFrame:
    """Each case that was served otherwise than it was validated; empty where none was."""
    table = stage.read_table("items")
    return table[table["differs"] == 1].head(rows).set_index("case_id")


def closest(stage: Stage) -> pd.DataFrame:
    """The cases whose confidence moved most, in either direction."""
    table = stage.read_table("items")
    gap = (
        table["confidence_served"].astype(float) - table["confidence_offline"].astype(float)
    ).abs()
    shown = table.assign(gap=gap).dropna(subset="gap").nlargest(5, "gap")
    return shown[["case_id", "set", "confidence_offline", "confidence_served", "gap"]].set_index(
        "case_id"
    )


def latency(stage: Stage) -> pd.DataFrame:
    """Latency at quantiles, with distribution-free intervals, in milliseconds."""
    rows, lines = _rows(stage, "items"), []
    for q in QUANTILES:
        found = figures.compute("latency_quantile", rows, q=q)
        stage.figure(f"latency_{q:g}", found)
        lines.append({"quantile": q, "ms": readable(found.as_dict())})
    return pd.DataFrame(lines).set_index("quantile")


def aside(stage: Stage) -> pd.DataFrame:
    """What was asked and has nothing to be compared with, by set and outcome."""
    table = stage.read_table("aside")
    return table.groupby(["set", "outcome"]).size().to_frame("cases")


def environment(stage: Stage, rows: int) -> pd.DataFrame:
    """Where the environment is not observed as it is declared; see `deployment.apart`."""
    return apart(stage.read_json("parity"), ("declared", "preproduction"), rows)


def verdicts(stage: Stage) -> pd.DataFrame:
    """The gates over these tables, as the engine judges them by the same rules."""
    asked = Operations.parse(json.loads((stage.input("bundle") / "operations.json").read_bytes()))
    policy = Policy(version=asked.version, criteria=asked.rehearsal)
    found = gates.judge(policy, stage.name, lambda name: _rows(stage, name.partition(".")[0]))
    found.append(parity.gate([parity.Finding.parse(one) for one in stage.read_json("parity")]))
    return gate_table([one.as_dict() for one in found])


def altered(stage: Stage) -> pd.DataFrame:
    """The same comparison where one offline result is changed: it must find each of them."""
    rows = _rows(stage, "items")
    same = [row for row in rows if row["differs"] == 0]
    tried = {"nothing": [again(row) for row in same],
             "the answer": [again(row | {"expected": OTHER}) for row in same]}  # fmt: skip
    sure = [row for row in same if row["confidence_offline"] == row["confidence_offline"]]
    sure = [row for row in sure if row["confidence_offline"] is not None]
    moved = [row | {"confidence_offline": row["confidence_offline"] - 1e-4} for row in sure]
    tried["the confidence, by 0.0001"] = [again(row) for row in moved]
    assert not any(tried["nothing"]), "equal answers were told to differ"
    assert all(all(found) for name, found in tried.items() if name != "nothing"), (
        "a change was missed"
    )
    table = pd.DataFrame(
        [{"changed": n, "cases": len(f), "found": sum(f)} for n, f in tried.items()]
    )
    return table.set_index("changed")


def _rows(stage: Stage, name: str) -> list[dict]:
    return stage.read_table(name).to_dict("records")

"""What the notebook of monitoring shows: served lines, and what each signal made of them.

The lines are the decision log's. The engine lets the same detector see them again outside the
notebook, and its tables and verdict are the ones that are sealed.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from ..evidence.figures import evidence as drawn
from ..policy.monitoring import detect
from ..policy.monitoring.detect import Watch
from ..policy.operations import Monitor
from .stage import Stage, gate_table

POINTS = 0.10
SPOILT = {
    "error": {"reason": "timeout"},
    "abstained": {"abstained": True},
    "latency": {"latency_ms": 1e9},
    "sentinel": {"answer": {}},
}
"""Watched rate -> what makes a line fail it; a guard's follows from its rule."""


def lines(stage: Stage) -> list[dict[str, Any]]:
    """The served lines of the stream, in the log's order."""
    return stage.once(
        "lines", lambda: [json.loads(one) for one in stage.input("lines").open(encoding="utf-8")]
    )


def watch(stage: Stage) -> Watch:
    """A detector that has seen nothing yet."""
    facts = stage.read_json("stream")
    seed = facts["deployment"]["entry"]
    return Watch(Monitor.parse(facts["monitor"]), facts["profile"], seed=seed)


def _seen(stage: Stage) -> tuple[Watch, pd.DataFrame]:
    def see() -> tuple[Watch, pd.DataFrame]:
        found = watch(stage)
        return found, pd.DataFrame(detect.windows(found, lines(stage)))

    return stage.once("seen", see)


def identity(stage: Stage) -> pd.DataFrame:
    """Which release, where, in which arm, by which ledger entry, and what of it was seen."""
    facts, served = stage.read_json("stream"), lines(stage)
    one = facts["deployment"]
    named = {name: facts[name] for name in ("environment", "arm")}
    named |= {name: one[name] for name in ("bundle", "entry", "time", "by")}
    for kind in ("traffic", "sentinel", "rehearsal"):
        named[f"lines of {kind}"] = sum(line["kind"] == kind for line in served)
    named |= {"first": served[0]["time"], "last": served[-1]["time"]} if served else {}
    return pd.DataFrame({"": list(map(str, named.values()))}, index=list(named))


def thresholds(stage: Stage) -> pd.DataFrame:
    """Each signal: what is borne, what follows, the harm that it bounds, and why it is there."""
    said = [one.model_dump() for one in Monitor.parse(stage.read_json("stream")["monitor"]).signals]
    for one in said:
        one["borne"] = one["at_most"] if one["at_most"] is not None else one["psi"]
    return pd.DataFrame(said).set_index("id")[["watch", "rule", "borne", "then", "harm", "why"]]


def signals(stage: Stage) -> pd.DataFrame:
    """Where each signal stands after the last line."""
    return pd.DataFrame(_seen(stage)[0].report()).set_index("signal")


def evidence(stage: Stage) -> None:
    """Evidence by line against what is needed; leaves `windows.parquet` and the drawing."""
    table = _seen(stage)[1]
    stage.write_table("windows.parquet", table)
    stage.plot("evidence", drawn(table), table)


def alarms(stage: Stage) -> pd.DataFrame:
    """The alarms of the stream, in order; leaves `alarms.parquet`."""
    found = pd.DataFrame(_seen(stage)[0].alarms, columns=detect.Alarm._fields)
    stage.write_table("alarms.parquet", found)
    return found.drop(columns="harm").set_index("signal")


def spoilt(stage: Stage, seed: int = 0) -> pd.DataFrame:
    """The same lines, in which each unsafe rate is ten points above what is borne, drawn at random:
    one row a signal, the line of its own at which it becomes an alarm (empty: never)."""
    import numpy as np

    rows = []
    for one in watch(stage).signals:
        signal = one.signal
        if not signal.rate or signal.then != "roll_back":
            continue
        chance = np.random.Generator(np.random.PCG64(seed))
        harm = SPOILT.get(signal.watch, {"verdicts": {signal.rule or "rule": "fail"}})
        own = [line for line in lines(stage) if line["kind"] == one.kind]
        found = None
        for number, line in enumerate(own, 1):
            bad = chance.random() < min(1.0, signal.at_most + POINTS)
            if one.see({**line, **harm} if bad else line) and found is None:
                found = number
        rows.append({"signal": signal.id, "lines": len(own), "alarm at": found})
    return pd.DataFrame(rows, columns=["signal", "lines", "alarm at"]).set_index("signal")


def gates(stage: Stage) -> pd.DataFrame:
    """The gate as the engine computes it."""
    found = detect.gate(_seen(stage)[0].alarms, len(lines(stage)))
    return gate_table([found.as_dict()])

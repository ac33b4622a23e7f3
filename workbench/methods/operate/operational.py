"""What the operations stage does: the stated load on the real server, then what breaks (V6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from ...errors import RunError
from ...policy import figures
from ...policy.operations import Operations
from ..stage import Stage, readable, sealed
from .faults import FAULTS, MODEL, Known, computed, told, undergo, wrong
from .load import Reply, at_rate, send
from .trial import GATEWAY, Trial, lay_out, running

REQUESTS, BROKEN, STATED = "requests.parquet", "faults.parquet", "stated.json"
FIRST, STEADY = "first", "steady"
QUANTILES = (0.5, 0.95, 0.99)
LEVEL = 0.9
"""Of the two-sided intervals: each end is then a 95 % bound of its own."""
ASKED = 4  # texts that are asked under each fault


@sealed(REQUESTS, leaves=[BROKEN, STATED], figures=["worker_mib_before", "worker_mib_after"])
def measure(stage: Stage, *, seconds: int, timeout_s: float, texts: int) -> pd.DataFrame:
    """One row a request, in the order of its phase: the first answers, the load, each fault.

    No row holds a text. `seconds` and `timeout_s` come in place of what operations.yaml states
    where they are not 0. RunError where the model is silent though nothing is broken.
    """
    rules, base = stated(stage, seconds, timeout_s), stage.input("base").resolve()
    asked = list(stage.read_table("dev")[stage.read_json("facts")["text"]].head(texts))
    rate = rules.load.requests_per_s
    requests = round(rate * rules.load.seconds)
    with TemporaryDirectory() as folder:
        bundle = lay_out(stage, rules, Path(folder))
        with running(bundle, base, rules) as trial:
            known = _first(trial, asked)
            phases, lines = {FIRST: list(known.values())}, []
            stage.figure("worker_mib_before", _mib(trial))
            print(f"{requests} requests, {rate:g} a second")
            phases[STEADY] = at_rate(trial.server, asked, requests_per_s=rate, requests=requests)
            stage.figure("worker_mib_after", _mib(trial))
            for fault in FAULTS:
                phases[fault.name], seen = undergo(trial, fault, _asked(known), known)
                print(f"{fault.name}: {seen['observed']}")
                lines.append(seen)
            log = trial.logged()
    rows = [row(phase, one, wrong(rules.fallback.answer, one, known), log)
            for phase, replies in phases.items() for one in replies]  # fmt: skip
    stage.write_table(BROKEN, pd.DataFrame(lines))
    stage.write_json(STATED, rules.plain() | {"held": [one["held"] for one in lines]})
    return pd.DataFrame(rows)


def stated(stage: Stage, seconds: int, timeout_s: float) -> Operations:
    """operations.yaml as the intake froze it, with another duration and time-out where not 0."""
    held = Operations.parse(stage.read_json("operations"), where="10_intake/operations.json")
    load = held.load.model_copy(update={"seconds": seconds} if seconds else {})
    serving = held.serving.model_copy(update={"timeout_s": timeout_s} if timeout_s else {})
    return held.model_copy(update={"load": load, "serving": serving})


def _first(trial: Trial, texts: Sequence[str]) -> Known:
    """What each text comes to while nothing is broken, asked one after the other."""
    found = {text: send(trial.server, [text])[0] for text in dict.fromkeys(texts)}
    if odd := {told(one) for one in found.values() if not computed(one)}:
        raise RunError("The model does not answer, though nothing is broken.", where=GATEWAY,
                       given=", ".join(sorted(odd)))  # fmt: skip
    return found


def _asked(known: Known) -> list[str]:
    """What is asked while something is broken: texts with an answer before those without."""
    return sorted(known, key=lambda text: known[text].outcome not in MODEL)[:ASKED]


def _mib(trial: Trial) -> float:
    return round(trial.worker.memory_info().rss / 2**20, 1)


def row(phase: str, one: Reply, is_wrong: bool, log: Mapping[str, Any]) -> dict[str, Any]:
    """A reply as the table has it; `logged`: it has no answer, or the log says the same of it."""
    line = log.get(str(one.body.get("decision")), {})
    there = (line.get("outcome"), line.get("status")) == (one.outcome, one.status)
    if one.outcome in MODEL:  # the log holds the closed fields of an answer
        there = there and line["answer"].items() <= one.answer.items()
    said = {"status": one.status, "outcome": one.outcome, "reason": one.body.get("reason") or ""}
    when = {"phase": phase, "at_s": one.at_s, "latency_ms": round(one.latency_ms, 3)}
    return when | said | {"wrong": int(is_wrong), "logged": int(there or not one.answer)}


def latencies(stage: Stage, requests: pd.DataFrame) -> pd.DataFrame:
    """Latency (ms) under the load, one row a quantile; each is also recorded."""
    steady, lines = _steady(requests), []
    for q in QUANTILES:
        found = figures.compute("latency_quantile", steady, q=q, level=LEVEL)
        stage.figure(f"p{100 * q:g}", found)
        ends = {name: getattr(found, name) for name in ("value", "low", "high", "n")}
        lines.append({"name": f"p{100 * q:g}"} | ends)
    return pd.DataFrame(lines)


def borne(stage: Stage, requests: pd.DataFrame) -> pd.DataFrame:
    """What the load came to beside its latency: rate and failures."""
    steady = _steady(requests)
    failed = figures.compute("failed_share", steady, level=LEVEL)
    rate = len(steady) / max(one["at_s"] + one["latency_ms"] / 1000 for one in steady)
    stage.figure("not answered", failed)
    stage.figure("replies a second", round(rate, 3))
    found = {"replies a second": f"{rate:.2f}", "not answered, share": readable(failed.as_dict())}
    return pd.DataFrame({"under the load": found})


def _steady(requests: pd.DataFrame) -> list[dict[str, Any]]:
    return requests[requests["phase"] == STEADY].to_dict("records")


def limit(stage: Stage) -> float | None:
    """What the criteria ask of the latency (ms); None where they ask nothing."""
    asked = [one for one in stage.policy.criteria if one.figure == "latency_quantile"]
    return next((one.at_most for one in asked if one.stage == stage.name), None)


def faults(stage: Stage) -> pd.DataFrame:
    """What was expected under each fault, and what was seen."""
    found = pd.read_parquet(stage.outputs / BROKEN)
    return found.assign(held=found["held"].map({1: "✓ held", 0: "✗ broken"})).set_index("fault")

"""What 49 does: all layers on one page, what is open, and what nobody looked at."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from ..policy import layers, risks
from ..policy.criteria import Policy
from ..policy.layers import ALL
from .stage import SYMBOLS, Stage, readable

VERDICTS, FIGURES = "_verdicts", "_figures"
BEFORE = ("data", "adaptation")
"""Inputs of that name hold verdicts of stages that are no layer of validation."""
ASKED = re.compile(r"at (least|most) (-?[\d.]+)$")
NAMED = 5  # cases of a gate that the page names before it says how many more


def verdicts(stage: Stage) -> list[dict[str, Any]]:
    """Every verdict of the stages before, as the engine wrote them; plus gates without one."""
    found = [one for name in named(stage, VERDICTS) for one in stage.read_json(name)]
    found = risks.marked(found, stage.facts.get("acceptances", ()))
    return found + absent(stage.policy, found)


def named(stage: Stage, kind: str) -> list[str]:
    """Names of the inputs of a kind, in order."""
    return sorted(name for name in stage.facts["inputs"] if name.endswith(kind))


def absent(policy: Policy, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Blocking gates that no stage gave a verdict on: an absence is not a pass."""
    known = {one["criterion"] for one in found}
    return [
        {
            "criterion": gate.id,
            "stage": gate.stage,
            "verdict": "not_evaluated",
            "figure": None,
            "threshold": gate.asked,
            "reason": "no stage gave a verdict",
            "harm": gate.harm,
            "blocking": True,
        }
        for gate in policy.gates
        if gate.blocking and gate.id not in known
    ]


def stages(stage: Stage) -> dict[str, str]:
    """Stage -> layer, of every layer that left verdicts."""
    found = {}
    for name in named(stage, VERDICTS):
        layer = name.removesuffix(VERDICTS)
        if layer not in BEFORE:
            found |= {one["stage"]: layer for one in stage.read_json(name)}
    return found


def by_layer(stage: Stage, found: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a layer: does the plan ask for it, how many gates block, and what they came to."""
    wanted, of = stage.read_json("plan")["layers"], stages(stage)
    rows = []
    for layer in dict.fromkeys([*ALL, *of.values()]):
        mine = [one for one in found if of.get(one["stage"]) == layer]
        blocking = [one for one in mine if one["blocking"]]
        tally = {
            f"{symbol} {name.replace('_', ' ')}": sum(one["verdict"] == name for one in blocking)
            for name, symbol in SYMBOLS.items()
        }
        asked = "yes" if layer in wanted else "no"
        state = "" if blocking else "nobody looked" if not mine else "reported, blocks nothing"
        rows.append({"layer": layer, "asked for": asked, "gates": len(mine), "of which block":
                     len(blocking), **tally, "": state})  # fmt: skip
    return pd.DataFrame(rows).set_index("layer")


def margins(found: list[dict[str, Any]]) -> pd.DataFrame:
    """For the figure: gates over a share with an interval, and what was asked of them."""
    lines = []
    for one in found:
        figure, asked = one.get("figure") or {}, ASKED.search(one.get("threshold", ""))
        if figure.get("unit") != "share" or figure.get("low") is None or not asked:
            continue
        lines.append({
            "name": one["criterion"], "n": figure["n"], "value": figure["value"],
            "low": figure["low"], "high": figure["high"], "verdict": one["verdict"],
            "asked": float(asked[2]), "at_least": asked[1] == "least",
        })  # fmt: skip
    columns = ["name", "n", "value", "low", "high", "verdict", "asked", "at_least"]
    return pd.DataFrame(lines, columns=columns)


def open_failures(stage: Stage, found: list[dict[str, Any]]) -> pd.DataFrame:
    """Cases that made a blocking gate fail, and the cause that an expert gave each, if one has."""
    causes = {(one["gate"], one["case"]): one for one in stage.facts.get("causes", [])}
    lines = []
    for one in found:
        failing = one.get("failing") or [] if one["blocking"] and one["verdict"] != "passed" else []
        for case in failing[:NAMED]:
            said = causes.get((one["criterion"], case))
            cause = f"{said['cause']} ({said['by']}): {said['why']}" if said else "nobody yet"
            lines.append({"gate": one["criterion"], "case": case, "an expert's cause": cause})
        if len(failing) > NAMED:
            more = f"and {len(failing) - NAMED} more"
            lines.append({"gate": one["criterion"], "case": more, "an expert's cause": ""})
    columns = ["gate", "case", "an expert's cause"]
    return pd.DataFrame(lines, columns=columns).set_index(["gate", "case"])


def not_shown(stage: Stage, found: list[dict[str, Any]]) -> list[str]:
    """In sentences: layers without a gate, verdicts short of evidence, and what is never shown."""
    wanted = stage.read_json("plan")["layers"]
    held = layers.shown(stages(stage), found)
    lines = [f"The layer {name}: no gate that blocks was judged." for name in wanted
             if name not in held]  # fmt: skip
    lines += [f"{one['criterion']}: {one['reason']}." for one in found
              if one["verdict"] in ("insufficient_evidence", "not_evaluated")]  # fmt: skip
    if "operational" not in held:
        lines.append("How it behaves under load, when cut off and when its server fails.")
    lines.append("Rows from other sources, seasons or customers than those of the data.")
    return lines


def conclude(stage: Stage, found: list[dict[str, Any]]) -> dict[str, Any]:
    """`validation.json`: verdicts by gate, what is not shown, and the whole in a sentence."""
    blocking = [one for one in found if one["blocking"]]
    bad = [one["criterion"] for one in blocking if one["verdict"] != "passed"]
    said = {
        "gates": {one["criterion"]: one["verdict"] for one in found},
        "not_passed": bad,
        "not_shown": not_shown(stage, found),
        "complete": bool(blocking) and not bad,
    }
    stage.write_json("validation.json", said)
    stage.figure("gates_passed", float(len(blocking) - len(bad)))
    stage.figure("gates_blocking", float(len(blocking)))
    return said


def in_words(said: dict[str, Any]) -> str:
    """The conclusion for a reader."""
    count = len(said["gates"])
    head = f"✓ Every blocking gate passed; {count} gates in all." if said["complete"] else (
        f"✗ Not passed: {', '.join(said['not_passed']) or 'no gate blocks'}."
    )  # fmt: skip
    return "\n".join([head, "", "Not shown:", *(f"  - {line}" for line in said["not_shown"])])


def without_a_layer(stage: Stage, found: list[dict[str, Any]], layer: str = "functional") -> str:
    """The page as if a layer had never run: it must name it, and must not be complete."""
    of = stages(stage)
    kept = [one for one in found if of.get(one["stage"]) != layer]
    missing = [one["criterion"] for one in absent(stage.policy, kept)]
    assert missing, f"nobody would notice that the layer {layer} is missing"
    return f"Without the layer {layer}: {', '.join(missing)} would be without a verdict."


def numbers(found: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a gate: layer's stage, verdict, figure with interval, what was asked."""
    rows = [
        {
            "gate": one["criterion"],
            "stage": one["stage"],
            "blocks": "yes" if one["blocking"] else "no",
            "verdict": f"{SYMBOLS[one['verdict']]} {one['verdict']}",
            "figure": readable(one.get("figure")),
            "asked": one.get("threshold", ""),
        }
        for one in found
    ]
    columns = ["gate", "stage", "blocks", "verdict", "figure", "asked"]
    return pd.DataFrame(rows, columns=columns).set_index("gate")

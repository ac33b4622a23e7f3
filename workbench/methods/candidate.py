"""What the deciding stage does: read every verdict, and freeze a candidate or refuse one."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pandas as pd

from ..record.digest import canonical, tree
from .stage import Stage, gate_table, readable
from .validation import FIGURES, absent, named, verdicts

__all__ = ["absent", "decide", "freeze", "table", "verdicts", "with_one_gate_missing"]


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
    """Frozen if every blocking gate passed and there is at least one; refused otherwise."""
    blocking = [one for one in verdicts if one["blocking"]]
    bad = [one for one in blocking if one["verdict"] != "passed"]
    frozen = bool(blocking) and not bad
    if frozen:
        text = f"✓ {name}: frozen. All {len(blocking)} blocking gates passed."
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


def freeze(stage: Stage, decision: dict[str, Any], verdicts: list[dict[str, Any]]) -> pd.DataFrame:
    """Write the bundle with a manifest over all its files, or nothing when refused."""
    columns = ["file", "bytes", "sha256"]
    if not decision["frozen"]:
        return pd.DataFrame(columns=columns).set_index("file")
    bundle = stage.output("bundle/manifest.json").parent
    shutil.copytree(stage.input("adapter"), bundle / "adapter")
    for name in ("base", "criteria", "usecase", "plan"):
        shutil.copyfile(stage.input(name), bundle / f"{name}.json")
    figures = {name: stage.read_json(name) for name in named(stage, FIGURES)}
    (bundle / "evaluation.json").write_bytes(canonical({"verdicts": verdicts, **figures}))
    (bundle / "MODEL_CARD.md").write_text(card(stage, decision, verdicts), encoding="utf-8")
    for path in bundle.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    files = [{"file": e.path, "bytes": e.size, "sha256": e.sha256} for e in tree(bundle)]
    inputs = {name: facts["digest"] for name, facts in stage.facts["inputs"].items()}
    manifest = {"name": decision["name"], "files": files, "made_from": inputs, "parent": None}
    (bundle / "manifest.json").write_bytes(canonical(manifest))
    return pd.DataFrame(files, columns=columns).set_index("file")


def _looks(stage: Stage) -> list[str]:
    """What was spent of the locked set; its intervals pay for the whole budget."""
    held = stage.read_json("functional_figures")
    if "look" not in held:
        return []
    look, budget = (int(held[name]["value"]) for name in ("look", "look_budget"))
    text = (
        f"This was look {look} of {budget} at the locked set; the intervals hold over all {budget}."
    )
    return ["", text]


def card(stage: Stage, decision: dict[str, Any], verdicts: list[dict[str, Any]]) -> str:
    """The model card, from records alone; Hugging Face front matter."""
    usecase, base = stage.read_json("usecase"), json.loads(stage.input("base").read_text())
    generative = usecase["kind"] == "generative"
    lines = [
        "---",
        f"base_model: {base['name']}",
        f"license: {base['licence']}",
        "library_name: peft",
        f"pipeline_tag: {'text-generation' if generative else 'text-classification'}",
        "---",
        f"# {decision['name']}: {usecase['title']}",
        "",
        f"**Decision it influences.** {usecase['decision']}",
        f"**Who is affected.** {', '.join(usecase['affected'])}.",
        f"**Harm when wrong.** {usecase['harm']}",
        f"**Base.** {base['name']}, {base['source']}, revision {base['revision']}, "
        f"weights sha256 {base['weights'][:16]}….",
        "",
        "## What was shown",
        "",
        "| gate | verdict | figure | asked |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {one['criterion']} | {one['verdict']} | {readable(one.get('figure'))} "
        f"| {one.get('threshold', '')} |"
        for one in verdicts
    ]
    lines += _looks(stage)
    lines += [
        "",
        "## What was not shown",
        "",
        "Anything that no gate above asks about. Nobody has approved this candidate yet.",
        "",
    ]
    open_ = stage.read_json("validation")["not_shown"] if stage.has("validation") else []
    lines += [*(f"- {line}" for line in open_), ""]
    return "\n".join(lines)

"""Gates and figures in words that a person who is no statistician can act on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..wordings import wordings

WORDS = wordings(__package__, "plain.yaml")
BINOMIAL = ("Wilson", "Clopper-Pearson", "Korn-Graubard")
"""Methods of intervals whose figure is a share of cases, so that `in 100` is true of it."""
MAIN = ("torch", "transformers", "peft")
WORST = ("failed", "not_evaluated", "insufficient_evidence", "passed")
_ASKED = re.compile(r"(lower bound |upper bound |)at (least|most) (-?[\d.]+)$")
Gate = Mapping[str, Any]


def worst_first(verdicts: Iterable[Gate]) -> list[Gate]:
    """What blocks before what does not; there what did not pass first, then what the model did on
    cases before what was counted of its data."""

    def rank(one: Gate) -> tuple[bool, int, bool, bool]:
        measured = (one.get("figure") or {}).get("low") is not None
        examined = one["stage"].startswith("4")
        return not one["blocking"], WORST.index(one["verdict"]), not examined, not measured

    return sorted(verdicts, key=rank)


def not_passed(verdicts: Iterable[Gate]) -> list[Gate]:
    """Whatever is no pass, what blocks first."""
    return [one for one in worst_first(verdicts) if one["verdict"] != "passed"]


def headline(verdicts: Sequence[Gate]) -> tuple[str, str]:
    """The worst state that blocks, and the whole in a sentence; a policy without a gate that
    blocks is no reason for trust."""
    total, bad = sum(one["blocking"] for one in verdicts), not_passed(verdicts)
    bad = [one for one in bad if one["blocking"]]
    accepted = sum(bool(one.get("accepted")) for one in bad)
    if not total:
        return "failed", "No check is required: nothing was shown that a release could rest on."
    if not bad:
        return "passed", f"All {total} required checks passed."
    left = len(bad) - accepted
    said = [f"{accepted} accepted as a risk"] * bool(accepted) + [
        f"{left} accepted by nobody"
    ] * bool(left)
    told = f"{len(bad)} of {total} required checks did not pass: {', '.join(said)}."
    return "failed" if left else "accepted", told


def found(gate: Gate) -> str:
    """What was found, as `right answers: 91.9 in 100 (87.1 to 95.0)`."""
    figure = gate.get("figure") or {}
    if figure.get("value") is None:
        return gate["reason"]
    name = WORDS["figures"].get(figure["name"], figure["name"])
    said = f"{name}: {_number(figure['value'], figure)}"
    if figure.get("low") is not None and figure.get("high") is not None:
        ends = [_number(figure[end], figure).partition(" ")[0] for end in ("low", "high")]
        said += f" ({' to '.join(ends)})"
    return said + (f"; {figure['unscored']} unscored" if figure.get("unscored") else "")


def cases(gate: Gate) -> str:
    """How many cases the figure rests on."""
    n = (gate.get("figure") or {}).get("n")
    return "" if n is None else f"{n:,}"


def asked(gate: Gate) -> str:
    """The threshold in the unit in which the figure is told."""
    match = _ASKED.match(gate["threshold"])
    if not match:
        return gate["threshold"]
    end = f" at the {match[1].replace('bound', 'end').strip()}" if match[1] else ""
    limit = _number(float(match[3]), gate.get("figure") or {}).replace(".0 ", " ")
    return f"at {match[2]} {limit}{end}"


def environment(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of a declared and an observed environment what people ask for first."""
    declared, seen = facts.get("declared") or {}, facts.get("observed") or {}
    libraries, lock, cpu = (seen.get(name) or {} for name in ("libraries", "lock", "cpu"))
    return {"python": seen.get("python"), **{name: libraries.get(name) for name in MAIN},
            "cpu": cpu.get("model"), "gpu": seen.get("gpu"), "isolation": declared.get("isolation"),
            "lock": lock.get("sha256"), "container": facts.get("container")}  # fmt: skip


def words(value: object) -> str:
    """Plain values in a line: lists with commas, mappings as `name: value`, in their own order."""
    if isinstance(value, Mapping):
        inner = {key: f"({words(held)})" if isinstance(held, Mapping) else words(held)
                 for key, held in value.items()}  # fmt: skip
        return "; ".join(f"{key}: {held.removesuffix('.')}" for key, held in inner.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(words, value))
    return "none" if value in (None, "") else str(value)


def _number(value: float, figure: Gate) -> str:
    unit = figure.get("unit")
    if unit == "share" and str(figure.get("method")).startswith(BINOMIAL):
        return f"{100 * value:.1f} in 100"
    if unit == "difference":
        return f"{100 * value:+.1f} points"
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"
    return f"{number} bits" if unit == "bits" else number

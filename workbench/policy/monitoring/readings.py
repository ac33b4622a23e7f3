"""What one served line says of one signal.

- Only `traffic` feeds the signals, sentinel cases apart: a rehearsal is not the world.
- A reply that a guard could not score counts as one that broke the rule: the guard kept it back as
  such, and what nobody could score was held by nobody.
- A sentinel case fails when it failed offline, or when its answer is another than in the rehearsal:
  nobody validated that other answer. One that got no answer fails too.
- An error is a request that the release was asked and that got no answer in time; a text that was
  refused, and a request while nothing was granted, are not the release's.
- A request that came while a server that has just begun still read the weights says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..operations import Signal

NUMBERS, CATEGORIES = ("length", "confidence", "meaning"), ("shape", "answers")
ERRORS = {"timeout", "worker", "busy"}
NEAREST = 5
ASCII = 0.9
"""A text with a smaller share of ASCII is of another encoding."""


def number(watch: str, line: Mapping[str, Any], profile: Mapping[str, Any]) -> float | None:
    """Characters, lowest confidence of a field, or mean cosine distance of the sketch to the nearest
    of the profile's; None where the line does not say."""
    if watch == "length":
        return float(line["shape"]["chars"])
    if watch == "confidence":
        return min(line["confidence"].values(), default=None)
    sketch, known = line.get("sketch"), profile["sketches"]
    return _distance(sketch, known) if sketch and len(known) else None


def _distance(sketch: Any, known: Any) -> float:
    import numpy as np

    one, all_ = np.asarray(sketch, float), np.asarray(known, float)
    near = all_ @ one / (np.linalg.norm(all_, axis=1) * np.linalg.norm(one) + 1e-12)
    return float(1 - np.sort(near)[-NEAREST:].mean())


def category(watch: str, line: Mapping[str, Any]) -> str | None:
    """Language and encoding of the text, or the closed fields of the answer together."""
    if watch == "answers":
        return ", ".join(f"{k}={v}" for k, v in sorted(line["answer"].items())) or None
    shape = line["shape"]
    if shape.get("missing"):
        return "missing"
    plain = "plain" if shape.get("ascii", 1.0) >= ASCII else "other characters"
    return f"{shape.get('language') or 'unknown'}, {plain}"


def failed(signal: Signal, line: Mapping[str, Any], profile: Mapping[str, Any]) -> bool | None:
    """Does the line count against a rate? None where it does not say."""
    if line["reason"] == "starting":
        return None
    if signal.watch == "error":
        return line["reason"] in ERRORS
    if signal.watch == "latency":
        return line["latency_ms"] > signal.slower_than_ms
    if signal.watch == "abstained":
        return bool(line["abstained"]) if line["answer"] else None
    if signal.watch == "sentinel" and not signal.rule:
        case = profile["cases"].get(line["sentinel"])
        return None if case is None else not case["passed"] or line["answer"] != case["answer"]
    verdicts = line["verdicts"]
    held = [verdicts.get(signal.rule)] if signal.rule else list(verdicts.values())
    return None if not any(held) else any(one in ("fail", "unscored") for one in held)

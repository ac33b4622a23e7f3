"""What traffic, answers and cases were like in the rehearsal: the reference that drift is held to.

Drawn from lines of the decision log and from nothing else, so it holds no text. Of what is not a
case it keeps plain values, as the conformal ranks and the Population Stability Index need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...errors import InputError
from .readings import CATEGORIES, NUMBERS, category, number

Line = Mapping[str, Any]
Profile = dict[str, Any]
EMPTY: Profile = {"version": 1, "lines": 0, "sketches": [], "cases": {}}
"""Of a release that was never rehearsed: shares can be watched, distributions and cases can't."""
LEAST = 20
"""Lines of traffic; fewer are no distribution."""
KEPT = 500
"""Sketches that distances are measured to, at most."""


def build(lines: Iterable[Line], passed: Mapping[str, bool] | None = None) -> Profile:
    """The profile of served lines, canonical JSON.

    `passed`: of each scenario's case, did it pass offline? Their lines become the sentinel cases,
    all others are the traffic of reference. InputError for fewer than 20 lines of traffic.
    """
    import numpy as np

    served, outcome = [one for one in lines if one.get("bundle")], dict(passed or {})
    asked = [one for one in served if one.get("sentinel") in outcome]
    traffic = [one for one in served if one.get("sentinel") not in outcome]
    if len(traffic) < LEAST:
        raise InputError("Too few served lines for a profile.", expected=f"{LEAST} that are no "
                         "scenario's", given=len(traffic))  # fmt: skip
    sketches = [list(one["sketch"]) for one in traffic if one.get("sketch")]
    # Half are measured to, the other half are measured: a point is too near to its own half.
    found: Profile = {"version": 1, "lines": len(traffic), "sketches": sketches[::2][:KEPT]}
    held = {"sketches": np.array(found["sketches"])}
    for watch in NUMBERS:
        read = [number(watch, one, held) for one in _rest(traffic, watch)]
        found[watch] = sorted(value for value in read if value is not None)
    for watch in CATEGORIES:
        read = [category(watch, one) for one in traffic]
        found[watch] = dict(sorted(Counter(value for value in read if value is not None).items()))
    found["cases"] = {
        one["sentinel"]: {"answer": dict(one["answer"]), "passed": outcome[one["sentinel"]]}
        for one in asked
    }
    return found


def _rest(traffic: Sequence[Line], watch: str) -> Sequence[Line]:
    if watch != "meaning":
        return traffic
    return [one for one in traffic if one.get("sketch")][1::2]


def sentinels(profile: Mapping[str, Any], most: int) -> list[str]:
    """Ids of the cases that are asked again and again: `most` of them, spread over all of them."""
    names = sorted(profile["cases"])
    return [names[i * len(names) // most] for i in range(most)] if most < len(names) else names

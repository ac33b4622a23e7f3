"""How well a second run reproduced the first, output by output.

=============  ===================================================================================
bitwise        the same bytes
tolerance      the same structure, and every number within a stated distance; counts and ids, being
               whole numbers, are exact. The largest difference is named, and where it is.
statistical    the same cases, and the two runs shown equivalent on them: the interval of the paired
               difference lies inside a margin that was set before the run (two one-sided tests,
               Schuirmann 1987, J Pharmacokinet Biopharm 15:657). A figure of the same record counts
               as statistical too when it moved by no more than that margin.
failed         anything else; an output that is missing or that nobody recorded, too
=============  ===================================================================================

The grade of a run is that of its worst output. Plain values and arrays in, no files read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

from ..errors import InputError
from .statistics import Interval, tango

GRADES = ("bitwise", "tolerance", "statistical", "failed")


@dataclass(frozen=True)
class Tolerance:
    """What is asked of a run that is not the same to the bit; fixed before it begins."""

    absolute: float = 1e-6
    relative: float = 1e-5
    margin: float = 0.02
    """Equivalence margin of the paired difference in the share of right answers."""
    error: float = 0.05
    """Of each of the two one-sided tests; the interval has the level 1 - 2 x error."""

    def __post_init__(self) -> None:
        sound = 0 < self.margin < 1 and 0 < self.error < 0.5
        if not sound or min(self.absolute, self.relative) < 0:
            expected = "0 < margin < 1, 0 < error < 0.5, no negative distance"
            raise InputError("A tolerance that makes no sense.", expected=expected, given=self)


@dataclass(frozen=True)
class Comparison:
    """One output of both runs."""

    output: str
    grade: str
    largest: float | None = None
    """Largest absolute difference: of two numbers, or in the share of right answers."""
    where: str = ""
    why: str = ""
    interval: Interval | None = None
    """Of the paired difference in the share of right answers, second run less first."""
    figures: bool = False
    """Plain values that differ in their numbers only."""

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        largest = self.largest if self.largest is None or isfinite(self.largest) else None
        return found | {"largest": largest, "interval": self.interval and list(self.interval)}


def worst(grades: Iterable[str]) -> str:
    """The grade of a whole: `failed` when there is nothing to grade."""
    return max(grades, key=GRADES.index, default="failed")


def reaches(grade: str, asked: str) -> bool:
    """Is a grade at least what was asked? InputError for a word that is no grade."""
    for word in (grade, asked):
        if word not in GRADES:
            raise InputError("There is no such grade.", expected=" > ".join(GRADES), given=word)
    return GRADES.index(grade) <= GRADES.index(asked)


def unpaired(first: Iterable[str], second: Iterable[str]) -> list[Comparison]:
    """Outputs that only one of the runs left; each is a failure."""
    old, new = set(first), set(second)
    missing = [Comparison(name, "failed", why="missing in the replay") for name in old - new]
    extra = [Comparison(name, "failed", why="not in the record") for name in new - old]
    return sorted([*missing, *extra], key=lambda one: one.output)


# ---- tolerance -----------------------------------------------------------------------------------


class _Apart(Exception):
    """The two are not built alike."""


def values(output: str, first: Any, second: Any, allowed: Tolerance) -> Comparison:
    """Nested plain values, such as figures from JSON."""
    import numpy as np

    try:
        pairs = list(_pairs(first, second, ""))
    except _Apart as error:
        return Comparison(output, "failed", why=str(error))
    one, other = (np.array([pair[i] for pair in pairs], "float64") for i in (1, 2))
    largest, place, outside = _furthest(one, other, allowed)
    return _within(output, largest, pairs[place[0]][0] if pairs else "", outside, figures=True)


def _pairs(first: Any, second: Any, where: str) -> Iterable[tuple[str, float, float]]:
    """(where, number, number) of all that is a number in both; `_Apart` at any other difference."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in (first, second)):
        if first != second and all(isinstance(v, int) for v in (first, second)):
            raise _Apart(f"{where}: {first} is not {second}, and whole numbers are exact")
        yield where, first, second
    elif isinstance(first, Mapping) and isinstance(second, Mapping):
        if first.keys() != second.keys():
            raise _Apart(f"{where}: only one has {', '.join(sorted(first.keys() ^ second.keys()))}")
        for name in sorted(first):
            yield from _pairs(first[name], second[name], f"{where}.{name}".lstrip("."))
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for i, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _pairs(one, other, f"{where}[{i}]")
    elif type(first) is not type(second) or first != second:
        raise _Apart(f"{where or 'the whole'}: not the same")


def arrays(
    output: str, first: Mapping[str, Any], second: Mapping[str, Any], allowed: Tolerance
) -> Comparison:
    """Named numpy arrays: the tensors of a file, or the columns of a table."""
    import numpy as np

    if list(first) != list(second):
        return Comparison(output, "failed", why="other names, or in another order")
    found = [(0.0, "", 0)]
    for name, one in first.items():
        other = second[name]
        if one.shape != other.shape or one.dtype != other.dtype:
            return Comparison(output, "failed", where=name, why="another shape or type of number")
        if one.dtype.kind == "f":
            apart, place, outside = _furthest(one.astype("f8"), other.astype("f8"), allowed)
            found.append((apart, f"{name}[{','.join(map(str, place))}]", outside))
        elif not np.array_equal(one, other):
            return Comparison(output, "failed", where=name, why="not the same, and exact")
    largest, where, _ = max(found, key=lambda one: one[0])
    return _within(output, largest, where, sum(one[2] for one in found))


def _furthest(one: Any, other: Any, allowed: Tolerance) -> tuple[float, tuple[int, ...], int]:
    """Largest distance, where, and how many numbers lie outside. Two that are both no numbers, or
    the same infinity, are no distance apart."""
    import numpy as np

    if not one.size:
        return 0.0, (0,), 0
    with np.errstate(invalid="ignore"):
        apart = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0, np.abs(one - other))
        apart = np.where(np.isnan(apart), np.inf, apart)
        outside = (apart > allowed.absolute + allowed.relative * np.abs(one)) | np.isinf(apart)
    place = np.unravel_index(int(apart.argmax()), apart.shape)
    return float(apart.max()), tuple(map(int, place)), int(outside.sum())


def _within(output: str, largest: float, where: str, outside: int, **more: Any) -> Comparison:
    why = f"{outside} numbers outside the tolerance" if outside else ""
    return Comparison(output, "failed" if outside else "tolerance", largest, where, why, **more)


# ---- statistical ---------------------------------------------------------------------------------


def cases(
    output: str, first: Mapping[str, bool], second: Mapping[str, bool], allowed: Tolerance
) -> Comparison:
    """Which cases came out right in both runs, by case; Tango's score interval of the difference."""
    if first.keys() != second.keys() or not first:
        return Comparison(output, "failed", why="not the same cases")
    gained = sum(second[case] and not first[case] for case in first)
    lost = sum(first[case] and not second[case] for case in first)
    found = tango(gained, lost, len(first), 1 - 2 * allowed.error)
    inside = -allowed.margin < found.low and found.high < allowed.margin
    why = f"paired difference {'' if inside else 'not '}inside ±{allowed.margin:g}, n={len(first)}"
    grade = "statistical" if inside else "failed"
    return Comparison(output, grade, abs(gained - lost) / len(first), "", why, found)


def settled(found: Iterable[Comparison], allowed: Tolerance) -> list[Comparison]:
    """Figures that moved within the margin count as statistical where the cases are equivalent."""
    found = list(found)
    if not any(one.grade == "statistical" for one in found):
        return found
    return [
        replace(one, grade="statistical", why=f"{one.why}; within the margin of its cases")
        if one.grade == "failed" and one.figures and (one.largest or 0) <= allowed.margin
        else one
        for one in found
    ]

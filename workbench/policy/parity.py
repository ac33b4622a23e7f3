"""Parity (E1): is what is declared, what was rehearsed and what serves one and the same?

A diff of three, field by field: the declaration, pre-production as observed, production as
observed; and the shape of validation's texts, of the rehearsal's, of the traffic's. The rules:

1. The first rule whose pattern fits a field holds for it; a field that no rule names must equal.
2. What is not known of one of the three fails, whatever the rule, unless it is `not_applicable`.
3. `may_differ` holds until its last day; from then on the field must equal.
4. `forbidden` must be absent in all three.
5. Packages, loaded libraries and instruction sets beyond those declared may be there, in both alike.
6. A variable kept elsewhere (`reference:`) is compared as set or not.
7. An environment whose life has ended fails, and no rule allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from .criteria import Text
from .documents import Document
from .domain import leaves
from .environment import ELSEWHERE, STATED, Environment, day, fields
from .gates import GateResult, GateVerdict

Share = NonNegativeFloat
Kind = Literal["must_equal", "may_differ", "not_applicable", "forbidden"]
GATE, STAGE, EXPIRES = "parity", "60_preproduction", "expires"
PLACES = ("declared", "preproduction", "production")
SIGNS = "*?["
ABSENT = "absent"
"""A value that is known not to be there, unlike None, which nobody knows."""
OPEN = ("wheels.installed.", "compute.cpu_features.", "compute.loaded.")
LISTS = {"compute.cpu_features": "there", "compute.loaded": "loaded", "egress": "reached"}
HARM = "What was validated and rehearsed is not what serves, and no earlier figure holds for it."


class Rule(Document):
    """How one field, or those that fit a pattern, are compared."""

    field: Text
    """Dotted name, or a pattern such as `variables.LC_*`."""
    kind: Kind
    """must_equal, may_differ, not_applicable or forbidden."""
    tolerance: NonNegativeFloat | None = None
    """Of numbers that must equal: how far two may be apart, in the field's unit."""
    reason: Text
    """Why it is compared so."""
    owner: Text | None = None
    """Of may_differ: who answers for the difference."""
    expires: date | None = None
    """Of may_differ: its last day."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Rule:
        known = {*Environment.model_fields, "shape"} - set(STATED)
        if not set(self.field) & set(SIGNS) and self.field.split(".")[0] not in known:
            raise ValueError(f"a field that begins with one of {', '.join(sorted(known))}")
        if (self.kind == "may_differ") != bool(self.owner and self.expires):
            raise ValueError("owner and expires for may_differ, and for no other kind")
        if self.tolerance is not None and self.kind != "must_equal":
            raise ValueError("a tolerance for must_equal, and for no other kind")
        return self


class Rules(Document):
    """`environments/parity.yaml`."""

    version: int = Field(default=1, ge=1, strict=True)
    """Counts up with every change."""
    rules: list[Rule] = []
    """The first that fits a field holds."""

    def rule(self, field: str) -> Rule | None:
        """The rule for a field; None where it must equal because nobody named it."""
        names = (field, f"{field}.")  # a pattern for a group's fields is one for the group
        fits = (one for one in self.rules if any(fnmatchcase(name, one.field) for name in names))
        return next(fits, None)


class Shape(Document):
    """The shape of a set of texts, without any of them."""

    texts: PositiveInt
    """How many; not compared."""
    columns: dict[str, str]
    """Schema: name of what a line says of a text -> type."""
    ascii: Share
    """Encoding: mean share of ASCII characters."""
    chars: dict[Literal["p05", "p50", "p95"], Share]
    """Length: quantiles of the number of characters."""
    language: dict[str, Share]
    """Guessed language, `unknown` among them -> share of the texts."""
    missing: Share
    """Share of texts that are empty."""


class Finding(Document):
    """One field, its three values and what follows."""

    field: str
    """Dotted name."""
    declared: Any = None
    """None where it is not known; `absent` where it is known not to be there."""
    preproduction: Any = None
    """As observed."""
    production: Any = None
    """As observed."""
    rule: Kind
    """The rule that held."""
    verdict: Literal["pass", "fail"]
    """May what was rehearsed speak for what serves, in this field?"""
    why: str
    """In words."""

    @property
    def values(self) -> tuple[Any, Any, Any]:
        """Declared, pre-production, production."""
        return self.declared, self.preproduction, self.production


def judge(
    declared: Environment,
    preproduction: Environment,
    production: Environment,
    rules: Rules,
    today: date,
    shapes: Sequence[Shape | None] | None = None,
) -> list[Finding]:
    """A finding for each field that one of the three has, those that fail first.

    `shapes` are validation's, the rehearsal's and the traffic's; None for one that nobody took
    fails. Without `shapes` the diff is of the environments alone.
    `today` may be a moment (`datetime`), which a life that ends at a moment is held against.
    """
    three = [_flat(one) for one in (declared, preproduction, production)]
    for facts, taken in zip(three, shapes or (), strict=bool(shapes)):
        facts |= leaves({"shape": taken and taken.model_dump(exclude={"texts"})})
    forbidden = (one.field for one in rules.rules if one.kind == "forbidden")
    named = {name: None for name in forbidden if not set(name) & set(SIGNS)}
    names = dict.fromkeys(name for facts in (*three, named) for name in facts)
    groups = {name.rpartition(".")[0] for name in names}
    found = [
        _finding(name, [_value(facts, name) for facts in three], rules.rule(name), today)
        for name in sorted(names)
        if name not in groups  # an unknown group shows in each of its fields
    ]
    found += _lives((declared, preproduction, production), today)
    return sorted(found, key=lambda one: one.verdict)


def gate(findings: Sequence[Finding]) -> GateResult:
    """The gate `parity`: passed when every field does, and there are any."""
    failing = tuple(one.field for one in findings if one.verdict == "fail")
    verdict = GateVerdict.FAILED if failing else GateVerdict.PASSED
    reason = f"{len(failing)} of {len(findings)} fields fail"
    if failing:
        first = next(one for one in findings if one.verdict == "fail")
        reason += f"; {first.field}: {first.why}"
    return GateResult(
        criterion=GATE,
        stage=STAGE,
        verdict=verdict if findings else GateVerdict.NOT_EVALUATED,
        figure=None,
        threshold="no field fails",
        reason=reason,
        harm=HARM,
        blocking=True,
        failing=failing,
    )


def shape(lines: Iterable[Mapping[str, Any]]) -> Shape | None:
    """The shape of texts from what the decision log says of each (`Decision.shape`).

    None where there is no text. Quantiles are the sample's own (type 1 of Hyndman, Fan 1996).
    """
    told = [dict(line) for line in lines]
    if not told:
        return None
    n, chars = len(told), sorted(one["chars"] for one in told)
    spoken = [one["language"] or "unknown" for one in told]
    kinds = {name: {_kind(one.get(name)) for one in told} - {"NoneType"} for name in told[0]}
    facts = {
        "texts": n,
        "columns": {name: " or ".join(sorted(held)) or "never" for name, held in kinds.items()},
        "ascii": sum(one["ascii"] for one in told) / n,
        "chars": {f"p{q:02}": chars[max(0, -(-q * n // 100) - 1)] for q in (5, 50, 95)},
        "language": {code: spoken.count(code) / n for code in sorted(set(spoken))},
        "missing": sum(one["missing"] for one in told) / n,
    }
    return Shape.parse(facts, where="the shape of texts")


# ---- one field -----------------------------------------------------------------------------------


def _finding(field: str, values: Sequence[Any], rule: Rule | None, today: date) -> Finding:
    kind: Kind = rule.kind if rule else "must_equal"
    good, why = _judged(field, values, kind, rule, today)
    facts = dict(zip(("declared", "preproduction", "production"), values, strict=True))
    verdict: Literal["pass", "fail"] = "pass" if good else "fail"
    return Finding(field=field, **facts, rule=kind, verdict=verdict, why=why)


def _judged(
    field: str, values: Sequence[Any], kind: Kind, rule: Rule | None, today: date
) -> tuple[bool, str]:
    if rule and kind == "not_applicable":
        return True, rule.reason
    if unknown := [place for place, one in zip(PLACES, values, strict=True) if one is None]:
        return False, f"not known: {', '.join(unknown)}"
    if kind == "forbidden":
        found = [place for place, one in zip(PLACES, values, strict=True) if one != ABSENT]
        return not found, f"forbidden, and there: {', '.join(found)}" if found else "nowhere there"
    compared = values[1:] if field.startswith(OPEN) and values[0] == ABSENT else values
    if _equal(compared, rule.tolerance if rule else None):
        return True, "equal"
    if rule and rule.kind == "may_differ":
        good = rule.expires is not None and day(today) <= rule.expires
        word = "allowed" if good else "no more allowed"
        return good, f"{word} by {rule.owner} until {rule.expires}: {rule.reason}"
    return False, "differs"


def _equal(values: Sequence[Any], tolerance: float | None) -> bool:
    if tolerance is None:
        return all(one == values[0] for one in values)
    numbers = [0.0 if one == ABSENT else one for one in values]
    return all(isinstance(one, (int, float)) for one in numbers) and (
        max(numbers) - min(numbers) <= tolerance
    )


def _value(facts: Mapping[str, Any], name: str) -> Any:
    """What an environment says of a field; `ABSENT` where it knows of the group and not of it."""
    while name not in facts:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return ABSENT
        if name in facts:
            return None if facts[name] is None else ABSENT
    return facts[name]


def _flat(environment: Environment) -> dict[str, Any]:
    """Fields by dotted name, lists whose order means nothing one by one."""
    found = fields(environment)
    for name, word in LISTS.items():
        held = found.pop(name)
        found |= {name: None} if held is None else {f"{name}.{one}": word for one in held}
    held = found.pop("mounts")
    ways = {True: "read-only", False: "can be written"}
    found |= {"mounts": None} if held is None else {
        f"mounts.{one['place']}": ways[one["read_only"]] for one in held
    }  # fmt: skip
    kept = [name for name, one in found.items() if str(one).startswith(ELSEWHERE)]
    return found | dict.fromkeys(kept, "kept elsewhere")


def _lives(three: Sequence[Environment], today: date) -> Iterator[Finding]:
    if any(one.expires for one in three):
        over = [place for place, one in zip(PLACES, three, strict=True) if one.expired(today)]
        ends = [one.expires.isoformat() if one.expires else "no end" for one in three]
        why = f"its life has ended: {', '.join(over)}" if over else "none has ended"
        facts = dict(zip(("declared", "preproduction", "production"), ends, strict=True))
        yield Finding(field=EXPIRES, **facts, rule="must_equal",
                      verdict="fail" if over else "pass", why=why)  # fmt: skip


def _kind(value: Any) -> str:
    """A share of 1 is written as 1, and stays the number that it was."""
    return "number" if isinstance(value, (int, float)) else type(value).__name__

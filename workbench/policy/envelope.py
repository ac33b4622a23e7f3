"""The change envelope: which retrainings may go on by an approval that was given once (A2).

It reads as a predetermined change control plan, and has its three parts: a description of the
modifications, the protocol by which each is verified and put in place, and an assessment of their
impact (paraphrased from FDA, "Marketing Submission Recommendations for a Predetermined Change
Control Plan for AI-Enabled Device Software Functions", December 2024, reissued August 2025;
verified: false). A change inside needs no new approval; one outside is another change, which needs
an envelope of its own.

What is decided, in this order, each by the dotted field of the document that says so:

1. base: the weights, by digest or by name and revision.
2. method, target_modules, trainable_share: what of the model may move, and how far.
3. hyperparameters: every tunable parameter of the adapting stage, so that none is free because
   nobody thought of it. `MACHINE` need not be named: these say where and in how many parts the sums
   are done and when they are written down. The reproducibility domain and the environment's
   declaration bind them; `dtype` and `seed` change the weights on the same machine and are named.
4. data_classes, rows: what was learned from.

A value at a bound is inside. None in a `Change` is not known yet, and outside of nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, StrictInt, StrictStr, model_validator

from ..record.digest import digest
from .classes import ORDER
from .criteria import Number, Text
from .documents import Document

GATE = "change_envelope"
MACHINE = frozenset({"threads", "domain", "device", "processes", "checkpoint_s"})
APART = frozenset({"method", "rows"})  # parameters with a field of their own
ABSENT = "no such parameter"
METHODS = ("lora", "dora", "ia3", "vera", "frozen", "full")
Practice = Literal["data_management", "retraining", "performance_evaluation", "update"]
Modification = Literal["base", "method", "target_modules", "trainable_share", "hyperparameters",
                       "data_classes", "rows"]  # fmt: skip


class Base(Document):
    """One base model that may be adapted."""

    name: Text | None = None
    """The model's name."""
    revision: Text | None = None
    """Commit on the hub or version of the package."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Digest of `model.safetensors` as the intake of the base leaves it."""
    why: Text
    """Why this model may be adapted."""

    @model_validator(mode="after")
    def _told(self) -> Base:
        if not (self.sha256 or (self.name and self.revision)):
            raise ValueError("sha256 of the weights, or name and revision")
        return self


class Bound(Document):
    """The values that are inside: a closed range, or a list."""

    at_least: Number = 0.0
    """Least value; nothing that is bounded here goes below zero."""
    at_most: Number | None = None
    """Greatest value."""
    one_of: list[StrictStr | StrictInt | Number] | None = Field(default=None, min_length=1)
    """All values, in place of a range."""
    why: Text
    """Why what was shown before also covers these."""

    @model_validator(mode="after")
    def _closed(self) -> Bound:
        ranged = self.at_most is not None
        if ranged == (self.one_of is not None) or (self.one_of and self.at_least):
            raise ValueError("a range that ends (at_most, at_least unless 0), or one_of")
        if ranged and self.at_least > self.at_most:
            raise ValueError("at_least no greater than at_most")
        return self

    @property
    def asked(self) -> str:
        """The bound in words."""
        if self.one_of:
            return f"one of {', '.join(map(str, self.one_of))}"
        return f"{self.at_least:g} to {self.at_most:g}"

    def holds(self, value: Any) -> bool:
        """Is this value inside? A truth value, a number written as text and NaN never are."""
        if self.one_of:
            return any(_same(value, one) for one in self.one_of)
        return _finite(value) and self.at_least <= value <= self.at_most


class Modifications(Document):
    """What may change between two retrainings, and within which bounds."""

    base: list[Base] = Field(min_length=1)
    """Models that may be adapted."""
    method: Bound
    """How, as the stage's parameter of that name says it."""
    target_modules: Bound
    """Where: last names of the modules that may learn. A head is no part of the base."""
    trainable_share: Bound
    """How much: parameters that learn over all, head included."""
    hyperparameters: dict[str, Bound]
    """Parameter of the adapting stage -> its values."""
    data_classes: Bound
    """From which columns, by class."""
    rows: Bound
    """From how many training rows."""

    @model_validator(mode="after")
    def _listed(self) -> Modifications:
        for name, known in (("method", METHODS), ("data_classes", ORDER), ("target_modules", ())):
            listed = getattr(self, name).one_of
            if not listed or (known and set(listed) - set(known)):
                raise ValueError(f"{name}: one_of, {', '.join(known) or 'names of modules'}")
        return self


class Verification(Document):
    """How one practice keeps these changes safe and effective."""

    practice: Practice
    """Part of the protocol, as the guidance divides it."""
    changes: list[Modification] = Field(min_length=1)
    """The modifications that it is about."""
    method: Text
    """What is done."""
    gates: list[Text] = Field(min_length=1)
    """Ids of the gates that must pass: of policy.yaml, or standing ones."""
    by: Text
    """Who does it, or answers for it."""


class Protocol(Document):
    """How a change is made, verified and put in place, and what happens to one that is outside."""

    verification: list[Verification]
    """Every modification and each practice at least once."""
    outside: Text
    """What happens when a change is outside, or a gate does not pass."""

    @model_validator(mode="after")
    def _whole(self) -> Protocol:
        said = {name for one in self.verification for name in (one.practice, *one.changes)}
        silent = [name for name in (*Practice.__args__, *Modification.__args__) if name not in said]
        if silent:
            raise ValueError(f"a verification of each; none speaks of {', '.join(silent)}")
        return self


class Effect(Document):
    """What one kind of change can do, for better and for worse."""

    changes: list[Modification] = Field(min_length=1)
    """The modifications that it is about."""
    benefit: Text
    """What it is good for."""
    risk: Text
    """What can go wrong, and for whom."""
    mitigation: Text
    """What stands against it."""
    gates: list[Text] = Field(min_length=1)
    """Ids of the gates at which it would show."""


class Impact(Document):
    """Benefits and risks of the modifications, one by one and together."""

    effects: list[Effect] = Field(min_length=1)
    """One by one."""
    together: Text
    """What many changes in a row can do that none does alone, and what stands against that."""


class Envelope(Document):
    """`envelope.yaml`; `digest` is what a person signs."""

    version: int = Field(ge=1, strict=True)
    """Counts up with every change."""
    modifications: Modifications
    """What may change."""
    protocol: Protocol
    """How it is verified."""
    impact: Impact
    """What it can do."""

    @property
    def digest(self) -> str:
        """SHA-256 of its data: spelling, order and comments of the file don't count."""
        return digest(self.model_dump(mode="json", by_alias=True))

    @property
    def gates(self) -> set[str]:
        """Every gate that protocol or impact lean on."""
        parts = (*self.protocol.verification, *self.impact.effects)
        return {gate for part in parts for gate in part.gates}


@dataclass(frozen=True)
class Change:
    """Facts of one run; None is what is not known yet."""

    name: str | None = None
    """Of the base model."""
    revision: str | None = None
    sha256: str | None = None
    """Digest of the base's weights."""
    method: str | None = None
    target_modules: Collection[str] | None = None
    trainable_share: float | None = None
    hyperparameters: Mapping[str, Any] | None = None
    """All tunable parameters of the adapting stage, see `tunable`."""
    data_classes: Collection[str] | None = None
    rows: int | None = None
    """Training rows."""


@dataclass(frozen=True)
class Outside:
    """One field in which a run is not what was allowed, or not what was said."""

    field: str
    """Dotted, as in the document."""
    expected: str
    given: str

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, given {self.given}"


def tunable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that an envelope must name among its hyperparameters."""
    return {k: v for k, v in parameters.items() if k not in MACHINE | APART}


def decide(envelope: Envelope, change: Change) -> list[Outside]:
    """Every field in which the change is outside; empty when it is inside as far as it is known.

    A parameter that the envelope does not name, and a name that is no parameter, are outside too.
    """
    allowed, given = envelope.modifications, change.hyperparameters
    found = [(name, b, _each(getattr(change, name))) for name, b in allowed if isinstance(b, Bound)]
    found += [
        (f"hyperparameters.{name}", allowed.hyperparameters.get(name), [given.get(name, ABSENT)])
        for name in sorted({*allowed.hyperparameters, *given} if given is not None else ())
    ]
    return _base(allowed.base, change) + [one for fact in found for one in _within(*fact)]


def _each(value: Any) -> Collection[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple | set | frozenset) else [value]


def _base(left: list[Base], change: Change) -> list[Outside]:
    """Narrow the allowed models field by field, so that the field which rules out all is named."""
    for name in ("name", "revision", "sha256"):
        given = getattr(change, name)
        fits = [one for one in left if given is None or getattr(one, name) in (None, given)]
        if not fits:
            known = " or ".join(sorted({str(getattr(one, name)) for one in left}))
            return [Outside(f"modifications.base.{name}", known, _shown(given))]
        left = fits
    return []


def _within(name: str, bound: Bound | None, values: Collection[Any]) -> Iterable[Outside]:
    extra = [one for one in values if not (bound and bound.holds(one))]
    if extra:
        asked = bound.asked if bound else "a bound; the envelope is incomplete without one"
        yield Outside(f"modifications.{name}", asked, ", ".join(sorted(map(_shown, extra))))


def contradictions(planned: Change, observed: Change) -> list[Outside]:
    """Where what lies there is not what was said before. Rows and classes are not compared: a plan
    only says which at most."""
    said, seen = (vars(one) | (one.hyperparameters or {}) for one in (planned, observed))
    return [
        Outside(f"stated.{name}", _shown(said[name]), _shown(seen[name]))
        for name in sorted(said.keys() - {"hyperparameters", "rows", "data_classes"})
        if None not in (said[name], seen.get(name)) and not _same(said[name], seen[name])
    ]


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _same(one: Any, other: Any) -> bool:
    """Equal and of one kind: 1 is 1.0, but neither is True."""
    return one is other if bool in (type(one), type(other)) else one == other


def _shown(value: Any) -> str:
    return str(value) if not isinstance(value, str) else repr(str(value))


def render(envelope: Envelope) -> str:
    """The envelope for a reader, as Markdown: three parts with a table each, and its digest."""
    allowed, protocol, impact = envelope.modifications, envelope.protocol, envelope.impact
    bounds = {name: bound for name, bound in allowed if isinstance(bound, Bound)}
    bases = [(" ".join(filter(None, (b.name, b.revision, b.sha256))), b.why) for b in allowed.base]
    rows = [("base", *base) for base in bases]
    rows += [(n, b.asked, b.why) for n, b in (bounds | allowed.hyperparameters).items()]
    return "\n\n".join([
        f"# Change envelope, version {envelope.version}", f"sha256 `{envelope.digest}`",
        "## Modifications", _table(["what may change", "within", "why"], rows),
        "## Protocol", _table(Verification.model_fields, map(_cells, protocol.verification)),
        f"Outside, or not passed: {protocol.outside.strip()}",
        "## Impact", _table(Effect.model_fields, map(_cells, impact.effects)),
        f"Together: {impact.together.strip()}\n",
    ])  # fmt: skip


def _cells(part: Document) -> list[str]:
    return [", ".join(value) if isinstance(value, list) else value for _, value in part]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [[" ".join(one.split()).replace("|", r"\|") for one in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

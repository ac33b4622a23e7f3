"""Scenario libraries (V3): what must hold where it is hard, and what the rows of a run are worth.

The rules:

1. A library that does not fit is refused as a whole; the error names file, scenario and field.
2. What is asked follows from the libraries and the two parameters `limit` and `variants` alone.
   A row of anything else, or twice, is refused; a case without a row is absent, never a pass.
3. Checks, hazard, severity and relations of a row are the library's, and what the original was
   answered is read from the original's own row: nothing that a kernel says of them counts.
4. A kind of check that can't tell its own probes apart judges nothing.
5. A scenario that an incident taught always blocks, and no limit leaves it out.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, product
from typing import Annotated, Any, Literal, NamedTuple

import yaml
from pydantic import Field, StrictBool, model_validator

from ..errors import InputError
from . import scorers
from .criteria import Scalar, Text
from .documents import Document
from .scorers import Verdict, probes

TABLE = "scenarios.parquet"
ORIGINAL = "original"
ALL = 1000  # variants of a scenario; more than any has
OPERATORS = ("typos", "truncation", "missing_field", "contradiction", "noise", "language_mix",
             "injection", "role_play", "authority", "prefix_injection", "obfuscation", "many_turns",
             "hypothetical")  # fmt: skip
SEVERITIES = ("blocking", "major", "minor")
Severity = Literal[SEVERITIES]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Argument = StrictBool | Scalar | float | list[Scalar] | dict[str, Scalar | list[Scalar]]


class Hazard(Document):
    """What goes wrong for somebody."""

    text: Text
    """In a sentence."""
    source: Text
    """The rule, standard or event that says so, with its clause."""
    severity: Severity
    """Does a release stand or fall with it?"""


class Cell(Document):
    """A combination that can't exist."""

    hazard: str
    """Its row."""
    condition: str
    """Its column."""
    why: Text
    """Why nothing can stand there."""


class Check(Document):
    """A scorer over the answer."""

    use: str
    """Name of a scorer that has probes of its own."""
    arguments: dict[str, Argument] = {}
    """What it takes."""

    @model_validator(mode="after")
    def _binds(self) -> Check:
        if self.use not in probes.TRIALS or self.use not in scorers.SCORERS:
            raise ValueError(f"a check out of {', '.join(sorted(probes.TRIALS))}")
        try:
            score = scorers.SCORERS[self.use]
            taken = inspect.signature(score).parameters
            score({}, **self.arguments)
        except (TypeError, InputError) as error:
            raise ValueError(f"arguments that `{self.use}` takes: {error}") from None
        for name, value in self.arguments.items():  # YAML reads `no` as a truth value
            if isinstance(value, bool) and taken[name].annotation != "bool":
                raise ValueError(f"`{name}` in quotes: it is a word here, and no truth value")
        return self

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.use}({given})" if given else self.use


class Relation(Document):
    """What a changed text must do to the answer."""

    use: Literal["unchanged", "raises"]
    """The answer stays as the original's, or comes to a value when words are added."""
    fields: list[str] = Field(min_length=1)
    """Fields of the answer that it speaks of."""
    by: list[str] = []
    """unchanged: the operators for which it holds; all of the scenario's when empty."""
    append: str = ""
    """raises: the words, put behind the text."""
    to: str = ""
    """raises: the value."""

    @model_validator(mode="after")
    def _whole(self) -> Relation:
        if (self.use == "raises") != bool(self.append and self.to):
            raise ValueError("append and to for `raises`, and for no other")
        return self

    @property
    def checks(self) -> list[Check]:
        if self.use == "unchanged":
            return [Check(use="unchanged", arguments={"fields": self.fields})]
        return [Check(use="one_of", arguments={"field": field, "values": [self.to]})
                for field in self.fields]  # fmt: skip


class Scenario(Document):
    """A situation, what must hold in it, and how it is varied."""

    id: Name
    """Unique over all libraries of the use case."""
    hazard: str
    """A hazard of the library."""
    condition: str
    """A condition of the library."""
    origin: Literal["authored", "standard", "incident", "near_miss"]
    """Where it comes from; what an incident taught always blocks."""
    text: str
    """What the model is given; empty or broken where that is the situation."""
    checks: list[Check] = Field(min_length=1)
    """All must pass, for the text and for each variant."""
    variants: list[Literal[OPERATORS]] = []
    """Operators that change the text, each once; the first ones are kept where fewer are asked."""
    relations: list[Relation] = []
    """What a changed text must do to the answer."""
    severity: Severity | None = None
    """Over the hazard's."""
    version: int | None = Field(default=None, ge=1, strict=True)
    """Over the library's."""
    author: str | None = None
    """Over the library's."""

    @model_validator(mode="after")
    def _variable(self) -> Scenario:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("each variant once")
        if self.variants and not any(map(str.isalpha, self.text)):
            raise ValueError("no variants of a text without letters")
        over = [one.by or self.variants for one in self.relations if one.use == "unchanged"]
        if not all(over) or not {*chain(*over)} <= {*self.variants}:
            raise ValueError("relations over variants that the scenario has")
        return self

    @property
    def changes(self) -> dict[str, list[Relation]]:
        """Variant -> relations that it must keep: operators, then `raises_1` … for added words."""
        same = [one for one in self.relations if one.use == "unchanged"]
        added = [one for one in self.relations if one.use == "raises"]
        found = {name: [one for one in same if name in (one.by or self.variants)]
                 for name in self.variants}  # fmt: skip
        return found | {f"raises_{number}": [one] for number, one in enumerate(added, 1)}


class Library(Document):
    """A file of scenarios about a theme."""

    library: Name
    """Short name of the library."""
    version: int = Field(ge=1, strict=True)
    """Counts up with every change."""
    author: Text
    """Who stands for it."""
    reviewed_by: str
    """The person who stands for it; empty until one does."""
    hazards: dict[str, Hazard] = Field(min_length=1)
    """Id -> what goes wrong."""
    conditions: dict[str, Text] = Field(min_length=1)
    """The circumstances under which each hazard is met."""
    not_applicable: list[Cell] = []
    """Cells where nothing can stand."""
    scenarios: list[Scenario] = Field(min_length=1)
    """The scenarios."""


class Case(NamedTuple):
    """One text to be answered: a scenario as it stands, or a variant of it."""

    library: Library
    scenario: Scenario
    variant: str
    relations: list[Relation]

    @property
    def added(self) -> str:
        """The words that `raises` adds; none for another variant."""
        return "".join(one.append for one in self.relations)

    @property
    def checks(self) -> list[Check]:
        """A `raises` stands alone: the words that it adds may change what else is right."""
        related = [check for one in self.relations for check in one.checks]
        return related if self.added else self.scenario.checks + related

    @property
    def facts(self) -> dict[str, Any]:
        """What the library says, as columns of the case's rows."""
        one, hazard = self.scenario, self.library.hazards[self.scenario.hazard]
        severity = "blocking" if one.origin == "incident" else one.severity or hazard.severity
        return {
            "scenario": one.id, "family": one.id, "variant": self.variant, "origin": one.origin,
            "relation": ", ".join(relation.use for relation in self.relations),
            "library": self.library.library, "hazard": one.hazard, "condition": one.condition,
            "severity": severity, "checks": "; ".join(map(str, self.checks)),
        }  # fmt: skip


def parse(files: Mapping[str, bytes]) -> list[Library]:
    """The libraries in files by name. InputError names the file, the scenario and the field."""
    found = [_library(name, content) for name, content in sorted(files.items())]
    ids = Counter(one.id for library in found for one in library.scenarios)
    ids += Counter(f"library {one.library}" for one in found)
    twice = sorted(name for name, times in ids.items() if times > 1)
    if twice or not found:
        raise InputError("Scenario libraries with ids that differ are needed.",
                         given=f"used twice: {', '.join(twice)}" if found else "none")  # fmt: skip
    return found


def _library(name: str, content: bytes) -> Library:
    try:
        data = dict(yaml.safe_load(content))
        raw = [dict(one) for one in data.get("scenarios") or ()]
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise InputError("A scenario library cannot be read.", where=name, given=error) from None
    data["scenarios"] = [
        Scenario.parse(one, where=f"{name}: {one.get('id', f'scenario {number}')}")
        for number, one in enumerate(raw, 1)
    ]
    library = Library.parse(data, where=name)
    barred = {(cell.hazard, cell.condition) for cell in library.not_applicable}
    for one in [*library.not_applicable, *library.scenarios]:
        place, cell = f"{name}: {getattr(one, 'id', 'not_applicable')}", (one.hazard, one.condition)
        known = {"hazard": library.hazards, "condition": library.conditions}
        for (field, names), value in zip(known.items(), cell, strict=True):
            if value not in names:
                raise InputError(f"There is no such {field}.", where=f"{place}: {field}",
                                 expected=", ".join(names), given=value)  # fmt: skip
        if isinstance(one, Scenario) and cell in barred:
            raise InputError("A cell said not to exist has a scenario.", where=place, given=cell)
    return library


def coverage(libraries: Iterable[Library]) -> list[dict[str, Any]]:
    """One row a hazard and condition: how many scenarios, and why none where none can be."""
    rows = []
    for one in libraries:
        counted = Counter((scenario.hazard, scenario.condition) for scenario in one.scenarios)
        barred = {(cell.hazard, cell.condition): cell.why for cell in one.not_applicable}
        for cell in product(one.hazards, one.conditions):
            state = "covered" if counted[cell] else "not applicable" if cell in barred else "empty"
            rows.append({"library": one.library, "hazard": cell[0], "condition": cell[1],
                         "scenarios": counted[cell], "cell": state, "why": barred.get(cell, "")})  # fmt: skip
    return rows


def cases(libraries: Iterable[Library], *, limit: int = 0, variants: int = ALL) -> dict[str, Case]:
    """Case id -> case, in the order of the files.

    `limit`: scenarios of a hazard at most, 0 for all, those of incidents apart; `variants`: the
    first ones of a scenario, 0 for none.
    """
    found, seen = {}, Counter()
    for case in [Case(home, one, ORIGINAL, []) for home in libraries for one in home.scenarios]:
        one, cell = case.scenario, (case.library.library, case.scenario.hazard)
        seen[cell] += one.origin != "incident"
        if one.origin == "incident" or not limit or seen[cell] <= limit:
            found[one.id] = case
            for variant, relations in [*one.changes.items()][:variants]:
                found[f"{one.id}~{variant}"] = Case(case.library, one, variant, relations)
    return found


def agreeing(known: Mapping[str, Case], where: Mapping[str, Any]) -> set[str]:
    """Ids of the cases that a gate with this `where` is about, as far as the libraries say."""
    allowed = {name: one if isinstance(one, list) else [one] for name, one in where.items()}
    return {name for name, case in known.items()
            if all(case.facts.get(key, one[0]) in one for key, one in allowed.items())}  # fmt: skip


def examined(known: Mapping[str, Case], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the library's word on each, and verdict and reason by its checks.

    InputError for a row of no such case, twice the same, with another text than was written or, of
    a variant, with the very same, and for checks that fail their probes.
    """
    used = {check.use for case in known.values() for check in case.checks}
    if blind := sorted(kind for kind in used if not probes.trusted(kind)):
        raise InputError(f"Checks that fail their own probes: {', '.join(blind)}.")
    keys = Counter((row.get("case_id"), row.get("model")) for row in rows)
    odd = {str(key[0]) for key, times in keys.items() if times > 1 or key[0] not in known}
    mine = [(known[row["case_id"]], row) for row in rows if row.get("case_id") in known]
    firsts = [(case, row) for case, row in mine if case.variant == ORIGINAL]
    odd |= {row["case_id"] for case, row in mine
            if (row["text"] == case.scenario.text) != (case.variant == ORIGINAL)}  # fmt: skip
    if odd:
        raise InputError("Rows that nobody locked, that stand there twice or have another text: "
                         + ", ".join(sorted(odd)[:5]))  # fmt: skip
    source = {(case.scenario.id, row["model"]): row for case, row in firsts}
    return [_judged(case, row, source.get((case.scenario.id, row["model"]), {}))
            for case, row in mine]  # fmt: skip


def _judged(case: Case, row: Mapping[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in row.items() if not name.startswith("source_")}
    source = {f"source_{name}": value for name, value in original.items()}
    verdict = judged(case.checks, said | source)
    return said | case.facts | {"verdict": verdict.outcome, "because": verdict.reason}


def judged(checks: Iterable[Check], row: Mapping[str, Any]) -> Verdict:
    """Fail when a check fails, else unscored when one is, else pass; with what each said."""
    found = [(one.use, scorers.score_with(one.use, one.arguments)(row)) for one in checks]
    outcomes = [verdict.outcome for _, verdict in found]
    worst = min(outcomes, key=("fail", "unscored", "pass").index)
    said = [f"{use}: {verdict.reason}" for use, verdict in found if verdict.outcome == worst]
    return Verdict(worst, "; ".join(said))

"""Regime packs: rules that set a tier and controls that ask for evidence, as data, a file each.

A rule or control is our reading of a clause, in our own words, and stays `verified: false` until
a named person has compared it with the text on a named day. Leaving a regime out of the use case
switches its controls off and never its rules: those follow from facts. Rules and controls of
`workbench` are its own; there is no text to compare them with.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StrictBool, model_validator

from ...errors import InputError
from ..classes import DataClass
from ..documents import Document
from ..usecase import Influence, Severity, UseCase
from ..wordings import wordings

OURS = "workbench"
NAMES = (OURS, "eu_ai_act", "eu_gmp_annex_22", "gdpr", "sr_26_2", "nist_ai_rmf", "iso_42001",
         "fda_pccp_gmlp", "cfr_21_part_11", "iso_pas_8800_ul_4600")  # fmt: skip
Text = Annotated[str, Field(min_length=1)]
Source = Annotated[str, Field(pattern=r"^(gate|layer|stage|ledger|bundle|plan):\S+$")]
Tier = Literal["low", "moderate", "high", "critical"]


class When(Document):
    """Facts of a use case: each that is named must be one of the values; without any, always."""

    kind: tuple[Literal["classifier", "generative"], ...] = ()
    """Family of methods."""
    influences: tuple[Influence, ...] = ()
    """Kind of decision."""
    severity: tuple[Severity, ...] = ()
    """Worst credible harm."""
    autonomy: tuple[Literal["advisory", "human_confirms", "automatic"], ...] = ()
    """What stands between output and effect."""
    domain: tuple[Literal["finance", "health", "driving", "manufacturing", "other"], ...] = ()
    """Field of use."""
    critical_gmp: tuple[StrictBool, ...] = ()
    """Direct impact on a GMP decision."""
    data_class: tuple[DataClass, ...] = ()
    """A class that a column of the data has."""

    def holds(self, case: UseCase) -> bool:
        """Is it so of this use case?"""
        facts = {name: {getattr(case, name, None)} for name in type(self).model_fields}
        facts["data_class"] = case.data.classes
        named = {name: set(getattr(self, name)) for name in self.model_fields_set}
        return all(values & facts[name] for name, values in named.items())


class Reading(Document):
    """What we take a clause to say."""

    clause: Text
    """Where it stands."""
    verified: StrictBool = False
    """Has a named person compared our words with the text?"""
    checked_by: str | None = None
    """That person."""
    checked_on: date | None = None
    """That day."""

    @model_validator(mode="after")
    def _by_somebody(self) -> Reading:
        if self.verified != bool(self.checked_by and self.checked_on):
            raise ValueError("verified exactly where checked_by and checked_on name who and when")
        return self


class Rule(Reading):
    """If `when` holds, then at least `tier`; or, where it is barred, not at all."""

    number: str = Field(pattern=r"^[A-Z]\d+$")
    """By which refusals and plans cite it."""
    text: Text
    """Our paraphrase."""
    tier: Tier | None = None
    """The least tier of such a use."""
    barred: StrictBool = False
    """Such a use is refused."""
    when: When
    """The facts that it applies to."""

    @model_validator(mode="after")
    def _one_effect(self) -> Rule:
        if self.barred == (self.tier is not None) or not self.when.model_fields_set:
            raise ValueError("exactly one of tier and barred, and a fact that it applies to")
        return self


class Control(Reading):
    """What a clause asks for, the evidence that answers it, and what that does not answer."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.()_-]*$")
    """Short name within the regime."""
    asks: Text
    """Our paraphrase of the clause."""
    shows: Text
    """Why the evidence answers it."""
    evidence: tuple[Source, ...] = Field(min_length=1)
    """`gate:NAME` (standing), `layer:NAME`, `stage:NAME`, `ledger:KIND`, `bundle:FILE`,
    `plan:FIELD`; all of them are needed."""
    not_covered: Text
    """What of the clause this evidence says nothing about."""


class Regime(Document):
    """One file of this folder."""

    title: Text
    """Its name and edition."""
    scope: Text
    """To whom it speaks, as we read it."""
    within: When = When()
    """The use cases that it speaks of at all; of others its controls claim nothing."""
    rules: tuple[Rule, ...] = ()
    """Rules that set the tier."""
    controls: tuple[Control, ...] = ()
    """What it asks for."""
    not_mapped: tuple[Text, ...] = ()
    """Parts that no control here claims to answer."""


REGIMES = {name: Regime.parse(wordings(__package__, f"{name}.yaml"), name) for name in NAMES}
RULES = tuple(rule for regime in REGIMES.values() for rule in regime.rules)


def named(ids: Iterable[str]) -> dict[str, Regime]:
    """The regimes of those ids, the workbench's own first. InputError for one that is not there."""
    strange = [name for name in ids if name not in REGIMES]
    if strange:
        raise InputError("There is no such regime.", where="usecase.yaml: regimes",
                         expected=", ".join(NAMES), given=", ".join(strange))  # fmt: skip
    return {name: REGIMES[name] for name in dict.fromkeys((OURS, *ids))}

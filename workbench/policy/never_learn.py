"""Never-learn rules: what may not enter a training set, even anonymised (D2).

A rule names classes, columns, entities or a pattern. An exception is a privacy review: a signed
statement that names the rule, the reason and an expiry. Residual scan: the rules are applied to
the rows as they would be learned from, after every transformation, outside the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import Field, field_validator, model_validator

from ..record.digest import digest
from . import detectors
from .classes import Column, DataClass
from .documents import Document


class Rule(Document):
    """One thing that a model may not learn."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    """Short name, which a privacy review names."""
    reason: str = Field(min_length=1)
    """Why it may not be learned."""
    classes: list[DataClass] = []
    """No column of these classes may be among those that are learned from."""
    columns: list[str] = []
    """None of these columns may be among those that are learned from."""
    entities: list[str] = []
    """No text that is learned from may hold one of these, as the detectors see it."""
    pattern: str | None = None
    """No text that is learned from may match this regular expression."""

    @field_validator("entities")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        unknown = sorted(set(names) - set(detectors.ENTITIES))
        if unknown:
            raise ValueError(f"entities that a detector finds; unknown: {', '.join(unknown)}")
        return names

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"a regular expression; {error}") from None
        return pattern

    @model_validator(mode="after")
    def _says_something(self) -> Rule:
        if not (self.classes or self.columns or self.entities or self.pattern):
            raise ValueError("at least one of classes, columns, entities and pattern")
        return self


class Review(Document):
    """A privacy review: one rule does not bind, for a reason, until a day."""

    usecase: str
    """Id of the use case."""
    rule: str
    """The rule's id."""
    rule_sha256: str
    """Digest of the rule as it was reviewed: a rule that changed is another rule."""
    reason: str = Field(min_length=1)
    """Why it may be learned all the same."""
    expires: date
    """The last day on which the review holds."""
    reviewed_by: str = Field(min_length=1)
    """Printed name of the reviewer."""


def rule_digest(rule: Rule) -> str:
    """SHA-256 of the rule as it stands."""
    return digest(rule.model_dump(mode="json"))


def excuse(rule: Rule, reviews: Sequence[Review], now: str) -> str | None:
    """Who excused the rule and until when, in words; None when it binds. `now` is ISO 8601."""
    for review in reviews:
        same = (review.rule, review.rule_sha256) == (rule.id, rule_digest(rule))
        if same and now[:10] <= review.expires.isoformat():
            return f"excused by {review.reviewed_by} until {review.expires}: {review.reason}"
    return None


@dataclass(frozen=True)
class Residue:
    """Something that a rule forbids and that is there all the same; never the value itself."""

    rule: str
    column: str
    row_id: str
    """Empty where a whole column is at fault."""
    what: str
    """The class, `column`, the entity or `pattern`."""


def scan(
    rules: Sequence[Rule],
    columns: Mapping[str, Column],
    rows: Sequence[Mapping[str, Any]],
    learned: Sequence[str],
) -> list[Residue]:
    """Everything in the `learned` columns of `rows` (each with `row_id`) that a rule forbids."""
    found = [residue for rule in rules for residue in _whole_columns(rule, columns, learned)]
    for column in learned:
        texts = [str(row[column]) for row in rows if row.get(column) is not None]
        ids = [str(row["row_id"]) for row in rows if row.get(column) is not None]
        found += _in_texts(rules, column, ids, texts)
    return found


def _whole_columns(
    rule: Rule, columns: Mapping[str, Column], learned: Sequence[str]
) -> Iterator[Residue]:
    for name in learned:
        if name in rule.columns:
            yield Residue(rule.id, name, "", "column")
        if name in columns and columns[name].data_class in rule.classes:
            yield Residue(rule.id, name, "", str(columns[name].data_class))


def _in_texts(
    rules: Sequence[Rule], column: str, ids: Sequence[str], texts: Sequence[str]
) -> Iterator[Residue]:
    wanted = {entity for rule in rules for entity in rule.entities}
    if wanted:
        for row_id, found in zip(ids, detectors.detect_all(texts, wanted), strict=True):
            for entity in sorted({one.entity for one in found}):
                for rule in rules:
                    if entity in rule.entities:
                        yield Residue(rule.id, column, row_id, entity)
    for rule in rules:
        shape = re.compile(rule.pattern) if rule.pattern else None
        for row_id, text in zip(ids, texts, strict=True):
            if shape and shape.search(text):
                yield Residue(rule.id, column, row_id, "pattern")

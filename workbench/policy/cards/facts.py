"""What cards and briefs of a candidate are written from: facts, each with where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..usecase import UseCase


@dataclass(frozen=True)
class Source:
    """Where a fact stands: a file of a sealed record."""

    record: str
    """Digest of the record's statement."""
    ref: str
    """The record, as the command line names it."""
    path: str
    """The file in it."""
    sha256: str
    """Digest of that file's bytes."""


@dataclass(frozen=True)
class CardFacts:
    """All that a card may say of one candidate; what is not in here is not known."""

    usecase: UseCase
    plan: Mapping[str, Any]
    """The control plan, as the intake froze it."""
    criteria: Mapping[str, Any]
    """The policy, as frozen before the run."""
    base: Mapping[str, Any]
    """The base model, as it was qualified."""
    verdicts: Sequence[Mapping[str, Any]]
    """Gate results as plain values, with `accepted` (`by`, `residual`, `control`, `expires`) where
    a risk was accepted."""
    figures: Mapping[str, Mapping[str, Any]]
    """Stage -> its `figures.json`."""
    validation: Mapping[str, Any] | None
    """What the validation concludes, with `not_shown`."""
    adaptation: Mapping[str, Any]
    """`method`, `parameters` of the training stage, and what else it states of the change."""
    data: Mapping[str, Any]
    """`manifest` (the steps), `rows` (set -> n), `snapshot`."""
    environment: Mapping[str, Any]
    """`declared` and `observed`, as statements hold them; `container`, its digest or null."""
    sources: Mapping[str, Source]
    """Name of a fact -> where it stands: `usecase`, `plan`, `criteria`, `base`, `adaptation`,
    `parameters` (of the training), `data`, `environment`, `validation`, `locked`,
    `verdicts:STAGE`, `figures:STAGE`, and `identity` (the manifest of the version before)."""
    records: Sequence[Mapping[str, Any]]
    """`stage`, `ref`, `digest`, `finished` of each record read."""
    identity: Mapping[str, Any]
    """`name`, `number`, `parent`."""


@dataclass(frozen=True)
class Signature:
    """What 21 CFR 11.50 asks to be shown with a signed record: name, date and time, meaning."""

    name: str
    """Printed name."""
    role: str
    time: str
    """When it was signed, UTC."""
    meaning: str
    """`reviewed`, `approved` or `responsible`."""
    expires: str
    demo: bool
    """A demonstration's identity, not a person."""

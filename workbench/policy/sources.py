"""The source registry: where rows come from, on which terms, and who approved that (D1).

The fields follow the Data Provenance Standards 1.0.0 of the Data & Trust Alliance, three groups
(source, provenance, use), as its JSON schema `data-standard-1.0.0.schema.json` names them; codes
and addresses are plain text here. `missing` is the checklist of what a source does not yet state.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from typing import Any, Literal

from pydantic import Field

from .classes import DataClass
from .documents import Document

OUR_OWN = {"owner", "terms", "language", "approved_by", "approved_at"}


class DataSource(Document):
    """One source of rows. None is "not stated"; an empty list or text states that there is none."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Short name; a row's source column holds it."""
    title: str | None = None
    """The dataset's name."""
    location: str | None = None
    """Web address of the dataset's metadata."""
    issuer: str | None = None
    """Legal entity that made the dataset and answers for it."""
    owner: str | None = None
    """Who answers for it here."""
    description: str | None = None
    """What it holds, how it came about, its known limits."""
    source: str | None = None
    """Where the metadata of the datasets that it was made from can be found."""
    origin: str | None = None
    """Legal entity that the data comes from, where that is not the issuer."""
    origin_geography: list[str] | None = None
    """Countries, and regions of them, where it was collected."""
    date: datetime.date | None = None
    """When this version was issued."""
    previous_date: datetime.date | Literal["none"] | None = None
    """When the version before was issued."""
    generation_period: str | None = None
    """First and last day on which the data came about, as an ISO 8601 interval."""
    generation_method: str | None = None
    """How it was collected, generated or compiled."""
    format: list[str] | None = None
    """Its nature, such as text or numbers."""
    classification: dict[str, bool] | None = None
    """Confidentiality regulation -> does it apply?"""
    consents: list[str] | None = None
    """Where the consent documents are."""
    privacy_indicators: list[str] | None = None
    """Privacy-enhancing techniques that were applied."""
    processing_included: list[str] | None = None
    """Countries where it may be processed."""
    processing_excluded: list[str] | None = None
    """Countries where it may not be processed."""
    storage_allowed: list[str] | None = None
    """Countries where it may be stored."""
    storage_forbidden: list[str] | None = None
    """Countries where it may not be stored."""
    licence: str | None = None
    """SPDX id or expression, or the licence's name."""
    terms: str | None = None
    """Where the terms can be read, or their text."""
    intended_purpose: list[str] | None = None
    """What it was made for."""
    copyright: list[str] | None = None
    """Copyrights that bind its use."""
    patent: list[str] | None = None
    """Patents that bind its use."""
    trademark: list[str] | None = None
    """Trademarks that bind its use."""
    language: list[str] = []
    """Languages of the texts, ISO 639-1; not of the standard."""
    approved_by: str | None = None
    """Who approved its use; the governed track asks for it."""
    approved_at: datetime.date | None = None
    """When."""


def stated(source: DataSource) -> dict[str, Any]:
    """The standard's fields by its names, as plain JSON; None is not stated."""
    plain = source.model_dump(mode="json", exclude=OUR_OWN)
    plain["license"] = plain.pop("licence")
    return {name.replace("_", "-"): value for name, value in plain.items()}


def missing(source: DataSource) -> list[str]:
    """What the source does not state, by the standard's names."""
    return [name for name, value in stated(source).items() if value is None]


def problems(
    sources: Sequence[DataSource], ids_in_rows: Collection[str], classes: Collection[DataClass] = ()
) -> list[str]:
    """What stands between these sources and the governed track; empty when nothing does.

    `ids_in_rows` is what the rows' source column holds, empty where there is no such column;
    `classes` are the classes of the columns. What a row holds is not repeated: the column could be
    the wrong one.
    """
    ids = [source.id for source in sources]
    unknown = len({str(name) for name in ids_in_rows} - set(ids))
    licensed = DataClass.LICENSED in classes
    found = ["no source is registered"] * (not ids)
    found += ["an id is registered twice"] * (len(set(ids)) < len(ids))
    found += ["no row says which source it is from"] * (len(ids) > 1 and not ids_in_rows)
    found += [f"{unknown} source ids in the rows are not registered"] * (unknown > 0)
    found += [f"{s.id}: licensed, without a licence" for s in sources if licensed and not s.licence]
    approved = {one.id for one in sources if one.approved_by and one.approved_at}
    return found + [f"{name}: not approved, or not dated" for name in ids if name not in approved]

"""From what a column holds to the class that is proposed for it; a person decides (D1).

Nothing found is not harmless: then the proposal is `internal_operational` with low confidence, and
never `public`. A name alone is enough to propose a strict class, and never enough for a lax one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, computed_field

from .classes import ORDER, Column, DataClass, strictest
from .detectors import ENTITIES
from .documents import Document

FILE = "proposals.json"
"""Where the inspection leaves its proposals."""

Kind = Literal["empty", "boolean", "integer", "number", "date", "code", "text"]

# Digits alone pass the check of many identifiers by chance, a mod-11 one in every eleventh row.
BY_CHANCE = frozenset(
    "PHONE_NUMBER CREDIT_CARD NATIONAL_ID TAX_ID BANK_ACCOUNT PASSPORT DRIVER_LICENSE".split()
)
LEAST_BY_CHANCE, LEAST_IN_CELLS, LEAST_IN_PROSE = 0.2, 0.1, 0.005

_THING = re.compile(
    r"\b(?:product|file|model|host|brand|class|label|event|stage|team|column|field|project|company|"
    r"service|category|queue|machine|plant) ?name\b"
)
NAMES = {
    "health": r"diagnos|\bicd\b|medica|medik|krankheit|disease|symptom|sintom|allerg|\btherap|"
    r"treatment|behandlung|enfermedad|maladie|malattia|ziekte|pathol|prescri|\breze(?:pt|ta)|"
    r"\breceta|blood|blutgruppe|\bhealth",
    "a name": r"\bname|name\b|\bnombre|apellido|prenom|\bnome?\b|cognome|naam\b|\bimie\b|nazwisko",
    "contact data": r"\be ?mail|\bmail\b|correo|courriel|phone|telefon|\btel\b|\bmobile\b|\bmovil|"
    r"\bhandy|celular|cellulare|\bfax\b|whatsapp",
    "an address": r"address|adres|anschrift|direccion|domicilio|indirizzo|street|strasse|straat|"
    r"\bcalle\b|\brue\b|post ?code|postleitzahl|\bplz\b|\bzip\b|(?:code|codigo) postal",
    "a birth date or age": r"birth|\bdob\b|geburt|nacimiento|naissance|nascita|nascimento|geboorte|"
    r"\bage\b|\balter\b|\bedad\b",
    "an identifier": r"\biban|\bbic\b|konto|account (?:n|id)|cuenta|\bcompte\b|kreditkarte|"
    r"card (?:n|id)|\b(?:ssn|nino|dni|nie|nif|nir|bsn|cpf|vin|ip|login)\b|social security|pesel|"
    r"steuer ?(?:id|n)|tax (?:id|n)|passp|pasaporte|reisepass|ausweis|national id|codice fiscale|"
    r"personnummer|\bdriver|fuhrerschein|licen[cs]e plate|kennzeichen|user ?name|"
    r"(?:customer|client|kunden|patient\w*|person|user|subject|employee|member) ?(?:id|no|nr|num)",
    "a protected trait": r"religio|ethnic|\brace\b|gender|geschlecht|\bsexo?\b|nationalit",
    "a secret": r"passw|contrasena|mot de passe|\bsecret|\bapi key|\btoken\b",
}
"""What a column's name may say, the strictest first; all but health is personal."""


class ColumnProfile(Document):
    """What one column holds, in counts; no value of it."""

    column: str
    """Its name."""
    kind: Kind
    """The narrowest form that every value has; a code is one word with a digit."""
    rows: int = Field(ge=0)
    """All rows of the file."""
    missing: int = Field(ge=0)
    """Rows without a value, or with white space only."""
    distinct: int = Field(ge=0)
    """Values that differ from each other."""
    distinct_exact: bool = True
    """Were they counted, or estimated because there are so many?"""
    shortest: int = 0
    """Characters of the shortest value."""
    longest: int = 0
    """Characters of the longest."""
    words: float = 0.0
    """Words a value on average."""
    findings: dict[str, int] = {}
    """Entity -> rows with one at least."""
    examples: list[str] = []
    """A few values by what they are and how long, drawn by hash."""

    @property
    def filled(self) -> int:
        return self.rows - self.missing

    @computed_field
    @property
    def unique(self) -> float:
        """Distinct values a filled row."""
        return round(self.distinct / self.filled, 4) if self.filled else 0.0

    @computed_field
    @property
    def constant(self) -> bool:
        return self.distinct == 1

    @computed_field
    @property
    def free_text(self) -> bool:
        """Are these sentences, in which anything can stand?"""
        return self.kind == "text" and self.words >= 4 and self.distinct > 1

    @computed_field
    @property
    def identifier_like(self) -> bool:
        """A code of its own in each row? A row counter, of any length, is none."""
        coded = self.kind == "code" or (self.kind == "integer" and self.shortest >= 6)
        return coded and self.unique >= 0.98 and self.filled >= 20

    def share(self, entity: str) -> float:
        """Of the filled rows, those with this entity."""
        return self.findings.get(entity, 0) / self.filled if self.filled else 0.0


class Proposal(Document):
    """A class for one column, and why."""

    column: str
    """Its name."""
    data_class: DataClass
    """The class proposed."""
    confidence: Literal["low", "medium", "high"] = "low"
    """A word, not a probability: nobody has calibrated one."""
    grounds: Literal["findings", "name", "form", "nothing"] = "findings"
    """What it rests on, the strongest of them."""
    entities: dict[str, int] = {}
    """Entity -> rows, of those that count."""
    why: str = ""
    """In words, for the person who decides."""


def propose(profile: ColumnProfile) -> Proposal:
    """A class for one column, from what was found in it, from its name and from its form."""
    entities = {name: rows for name, rows in profile.findings.items() if _counts(profile, name)}
    held = {name: ENTITIES[name].data_class for name in entities}
    named, formed = _named(profile), profile.identifier_like
    said = [named[0]] if named else []
    strict = [*held.values(), *said] + [DataClass.PERSONAL] * formed
    proposed = strictest([DataClass.INTERNAL_OPERATIONAL, *strict])
    why = [_found(profile, name) for name in sorted(entities, key=lambda e: -entities[e])]
    why += [f"its name speaks of {named[1]}"] if named else []
    why += ["one code a row, which may single out a person"] if formed else []
    why = why or ["nothing found" + ", but free text can hold anything" * profile.free_text]
    share = max((profile.share(name) for name in held if held[name] == proposed), default=0.0)
    grounds = "findings" if share else "name" if said else "form" if formed else "nothing"
    return Proposal(
        column=profile.column, data_class=proposed, confidence=_confidence(share, proposed in said),
        grounds=grounds, entities=entities, why="; ".join(why),
    )  # fmt: skip


def _counts(profile: ColumnProfile, entity: str) -> bool:
    """Are there enough of them not to be chance? In free text one with a form is enough."""
    if not profile.free_text and entity in BY_CHANCE:
        return profile.share(entity) >= LEAST_BY_CHANCE
    if ENTITIES[entity].structured:
        return profile.findings[entity] > 0
    return profile.share(entity) >= (LEAST_IN_PROSE if profile.free_text else LEAST_IN_CELLS)


def _named(profile: ColumnProfile) -> tuple[DataClass, str] | None:
    """What the name says; of a column of yes and no, or of nothing, it says nothing."""
    if profile.kind in ("empty", "boolean"):
        return None
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", profile.column)
    plain = unicodedata.normalize("NFKD", apart.casefold())
    name = re.sub(r"[\W_]+", " ", "".join(c for c in plain if not unicodedata.combining(c))).strip()
    name = _THING.sub("", name)
    what = next((what for what, form in NAMES.items() if re.search(form, name)), None)
    return what and (DataClass.HEALTH if what == "health" else DataClass.PERSONAL, what)


def _found(profile: ColumnProfile, entity: str) -> str:
    rows, share = profile.findings[entity], profile.share(entity)
    return f"{ENTITIES[entity].title} in {rows:,} of {profile.filled:,} values ({share:.1%})"


def _confidence(share: float, named: bool) -> Literal["low", "medium", "high"]:
    if share >= 0.5 or (share >= 0.05 and named):
        return "high"
    return "medium" if share >= 0.01 or named else "low"


def propose_dataset(proposals: Iterable[Proposal]) -> DataClass:
    """The strictest class of a column; InputError when there is no column."""
    return strictest(one.data_class for one in proposals)


def disagreements(
    proposals: Iterable[Proposal | Mapping[str, Any]], declared: Mapping[str, Column]
) -> list[str]:
    """Columns declared less strict than proposed, without a reason of the person who decided.

    Proposals are taken as they were sealed, too. The default, `internal_operational`, contradicts
    nobody: that nothing of a person was found is no evidence against a person who knows that the
    column is public.
    """
    found = []
    for one in (Proposal.parse(p) if isinstance(p, Mapping) else p for p in proposals):
        column = declared.get(one.column)
        if column is None or column.override or one.data_class == DataClass.INTERNAL_OPERATIONAL:
            continue
        if ORDER.index(column.data_class) < ORDER.index(one.data_class):
            found.append(
                f"{one.column}: declared {column.data_class}, but {one.data_class} is proposed "
                f"({one.why}), and no `override` says why"
            )
    return found

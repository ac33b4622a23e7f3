"""How many labelled spans do the detectors find, and how many of their findings are right?

A span counts as found when one finding of an accepted entity covers at least half of it; a finding
is right when it overlaps a labelled span of an accepted entity. DATE and DATE_OF_BIRTH stand for
each other, as do ADDRESS and LOCATION (a town may be reported within its address).
F2 = 5PR / (4P + R), which weighs recall four times (van Rijsbergen 1979, ch. 7). Texts drawn from
one template resemble each other, so intervals over them are too narrow; the texts that were
written one by one stand apart for that. Presidio is taken as it comes: no threshold, overlaps kept.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from workbench.policy.statistics import wilson

UNSEEN = Path(__file__).resolve().parents[2] / "tests" / "policy" / "detectors" / "unseen.jsonl"
STRUCTURED = (
    "EMAIL_ADDRESS", "PHONE_NUMBER", "URL", "IP_ADDRESS", "MAC_ADDRESS", "CREDIT_CARD", "IBAN_CODE",
    "BIC_CODE", "BANK_ACCOUNT", "NATIONAL_ID", "PASSPORT", "DRIVER_LICENSE", "DATE",
    "DATE_OF_BIRTH", "SECRET",
)  # fmt: skip
MEANT = ("PERSON", "LOCATION", "ORGANIZATION", "ADDRESS", "AGE", "HEALTH_TERM")
SAME = {"DATE_OF_BIRTH": "DATE", "LOCATION": "ADDRESS"}
PACKAGE, SENTENCES, SEED = "presidio-evaluator==0.3.2", 1500, 20250611


class Span(NamedTuple):
    """`text[start:end]` is an `entity`."""

    start: int
    end: int
    entity: str


class Row(NamedTuple):
    """A text and what is in it."""

    text: str
    spans: list[Span]


Find = Callable[[Sequence[str]], Iterable[Iterable[Span]]]


@dataclass
class Tally:
    """Counts by entity: labelled spans and those found, findings and those right."""

    labelled: Counter = field(default_factory=Counter)
    found: Counter = field(default_factory=Counter)
    findings: Counter = field(default_factory=Counter)
    right: Counter = field(default_factory=Counter)

    def recall(self, entities: Iterable[str]) -> tuple[int, int]:
        """Spans found, of spans labelled."""
        names = list(entities)
        return sum(self.found[e] for e in names), sum(self.labelled[e] for e in names)

    def precision(self, entities: Iterable[str]) -> tuple[int, int]:
        """Findings that are right, of all findings."""
        names = list(entities)
        return sum(self.right[e] for e in names), sum(self.findings[e] for e in names)

    def f2(self, entities: Iterable[str]) -> float:
        """0 where nothing was found."""
        names = list(entities)
        (found, labelled), (right, findings) = self.recall(names), self.precision(names)
        if not found or not right:
            return 0.0
        p, r = right / findings, found / labelled
        return 5 * p * r / (4 * p + r)


def tally(rows: Sequence[Row], find: Find, entities: Iterable[str] | None = None) -> Tally:
    """Labels against findings; only findings of `entities` count, when given."""
    counts, wanted = Tally(), None if entities is None else set(entities)
    for row, findings in zip(rows, find([row.text for row in rows]), strict=True):
        findings = [one for one in findings if wanted is None or one.entity in wanted]
        for span in row.spans:
            counts.labelled[span.entity] += 1
            half = (span.end - span.start) / 2
            counts.found[span.entity] += any(_shared(span, one) >= half for one in findings)
        for one in findings:
            counts.findings[one.entity] += 1
            counts.right[one.entity] += any(_shared(span, one) > 0 for span in row.spans)
    return counts


def _shared(span: Span, finding: Span) -> int:
    """Characters in common; none where the entities do not stand for each other."""
    left, right = (SAME.get(one.entity, one.entity) for one in (span, finding))
    return min(span.end, finding.end) - max(span.start, finding.start) if left == right else 0


def unseen(drawn: bool = True) -> list[Row]:
    """The set of `tools/unseen.py`, with or without the texts that are drawn from templates."""
    lines = UNSEEN.read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if drawn or "template" not in row["id"]]
    return [Row(row["text"], [Span(*span) for span in row["spans"]]) for row in rows]


def ours(texts: Sequence[str]) -> list[list[Span]]:
    """What the detectors of this package find."""
    from workbench.policy.detectors import detect_all

    return [[Span(one.start, one.end, one.entity) for one in found] for found in detect_all(texts)]


def rate(texts: Sequence[str]) -> float:
    """Texts a second by `detect`, one text a call, best of three rounds."""
    from workbench.policy.detectors import detect

    detect(texts[0])
    rounds = []
    for _ in range(3):
        began = time.perf_counter()
        for text in texts:
            detect(text)
        rounds.append(time.perf_counter() - began)
    return len(texts) / min(rounds)


def table(counts: Tally, names: Iterable[str], pools: dict[str, Sequence[str]]) -> list[str]:
    """A line an entity that is labelled or found, and a line a pool."""
    present = [name for name in names if counts.labelled[name] or counts.findings[name]]
    lines = ["| entity | recall (95 %) | missed | precision (95 %) | F2 |", "|---|---|---|---|---|"]
    for title, group in ({name: (name,) for name in present} | pools).items():
        (found, labelled), (right, findings) = counts.recall(group), counts.precision(group)
        one_sided = not labelled or (found and not findings)
        score = "none" if one_sided else f"{counts.f2(group):.3f}"
        cells = title, share(found, labelled), str(labelled - found), share(right, findings), score
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def share(hits: int, n: int) -> str:
    """`0.950 (0.900 to 0.975), n=100`."""
    if not n:
        return "none"
    low, high = wilson(hits, n)
    return f"{hits / n:.3f} ({low:.3f} to {high:.3f}), n={n}"


# What the other set's types are called here; it has no counterpart of TITLE (Mr, a job) and NRP
# (a nationality), which therefore count as missed wherever all types are pooled.
COUNTERPART = {
    "PERSON": "PERSON", "ORGANIZATION": "ORGANIZATION", "GPE": "LOCATION", "AGE": "AGE",
    "STREET_ADDRESS": "ADDRESS", "ZIP_CODE": "ADDRESS", "EMAIL_ADDRESS": "EMAIL_ADDRESS",
    "PHONE_NUMBER": "PHONE_NUMBER", "DOMAIN_NAME": "URL", "IP_ADDRESS": "IP_ADDRESS",
    "CREDIT_CARD": "CREDIT_CARD", "IBAN_CODE": "IBAN_CODE", "US_SSN": "NATIONAL_ID",
    "US_DRIVER_LICENSE": "DRIVER_LICENSE", "DATE_TIME": "DATE", "TITLE": "TITLE", "NRP": "NRP",
}  # fmt: skip
# Prefix of a template's field -> that set's type; the longest prefix decides.
FIELDS = {
    "person": "PERSON", "name": "PERSON", "first_name": "PERSON", "last_name": "PERSON",
    "organization": "ORGANIZATION", "city": "GPE", "country": "GPE", "state": "GPE", "age": "AGE",
    "address": "STREET_ADDRESS", "street_name": "STREET_ADDRESS", "zipcode": "ZIP_CODE",
    "building_number": "STREET_ADDRESS", "secondary_address": "STREET_ADDRESS",
    "postcode": "STREET_ADDRESS", "email": "EMAIL_ADDRESS", "phone_number": "PHONE_NUMBER",
    "url": "DOMAIN_NAME", "ip_address": "IP_ADDRESS", "credit_card_number": "CREDIT_CARD",
    "iban": "IBAN_CODE", "ssn": "US_SSN", "us_driver_license": "US_DRIVER_LICENSE",
    "date_time": "DATE_TIME", "date_of_birth": "DATE_TIME", "day_of_week": "DATE_TIME",
    "year": "DATE_TIME", "prefix": "TITLE", "job": "TITLE", "nation": "NRP",
}  # fmt: skip
COLUMNS = {
    "first_name": "GivenName", "last_name": "Surname", "street_name": "StreetAddress",
    "city": "City", "state_abbr": "State", "zipcode": "ZipCode", "country": "CountryFull",
    "email": "EmailAddress", "phone_number": "TelephoneNumber", "date_of_birth": "Birthday",
    "age": "Age", "job": "Occupation", "prefix": "Title",
}  # fmt: skip


class Others:
    """The templates of presidio-evaluator, filled as its own generator fills them.

    A sentence draws one fictitious person; the first use of a field takes that person's value, a
    second use another person's. What the people's table lacks comes from Faker (en_US), as there;
    5 % of the sentences are lower-cased, as there. Cards come from Faker, since the table's are
    cut off. Only the repeated fields differ from that generator, which asks Faker for them.
    """

    def __init__(self, wheel: Path, seed: int = SEED) -> None:
        from faker import Faker

        self.chance, self.faker = random.Random(seed), Faker("en_US")
        self.faker.seed_instance(seed)
        with zipfile.ZipFile(wheel) as files:
            folder = "presidio_evaluator/data_generator/raw_data"
            read = {
                name: files.read(f"{folder}/{name}").decode("utf-8-sig")
                for name in ("templates.txt", "FakeNameGenerator.com_3000.csv", "nationalities.csv",
                             "companies_and_organizations.csv", "us_driver_licenses.csv")
            }  # fmt: skip
        self.templates = [line.strip() for line in read["templates.txt"].splitlines()]
        self.people, self.nations = (
            list(csv.DictReader(io.StringIO(read[name])))
            for name in ("FakeNameGenerator.com_3000.csv", "nationalities.csv")
        )
        self.lines = {
            "organization": read["companies_and_organizations.csv"].splitlines()[1:],
            "us_driver_license": read["us_driver_licenses.csv"].splitlines()[1:],
        }

    def rows(self, n: int = SENTENCES) -> Iterable[Row]:
        """Sentences with that set's types as entities, translated where there is a counterpart."""
        for _ in range(n):
            template = re.sub("<(.*?)>", r"{{\1}}", self.chance.choice(self.templates))
            parts = re.split(r"\{\{(.*?)\}\}", template)
            person, used, text, spans = self.chance.choice(self.people), set(), "", []
            for place, part in enumerate(parts):
                if place % 2:
                    name = part.strip().lower()
                    source = self.chance.choice(self.people) if name in used else person
                    used.add(name)
                    part = self.value(name, source)
                    spans.append(Span(len(text), len(text) + len(part), kind(name)))
                text += part
            yield Row(text.lower() if self.chance.random() < 0.05 else text, spans)

    def value(self, name: str, person: dict[str, str]) -> str:
        """One field's value."""
        if name in self.lines:
            return self.chance.choice(self.lines[name])
        if name.startswith("nation"):
            column = {"nation_woman": "woman", "nation_plural": "plural"}.get(name, "nationality")
            return self.chance.choice(self.nations)[column]
        bare, gender = re.fullmatch(r"(.*?)(?:_(male|female|nonbinary))?", name).groups()
        while gender in ("male", "female") and person["Gender"] != gender:
            person = self.chance.choice(self.people)
        if bare in ("name", "person"):
            middle = f" {person['MiddleInitial']}." if self.chance.random() < 0.2 else ""
            return f"{person['GivenName']}{middle} {person['Surname']}"
        if person.get(COLUMNS.get(bare, "")):
            return person[COLUMNS[bare]]
        if name == "ip_address":
            return self.faker.ipv4() if self.chance.random() < 0.8 else self.faker.ipv6()
        return str(getattr(self.faker, name)())


def kind(name: str) -> str:
    """The entity of a template's field, by the longest prefix of its name that is known."""
    known = max((prefix for prefix in FIELDS if name.startswith(prefix)), key=len)
    return COUNTERPART[FIELDS[known]]


def fetch(folder: Path) -> Path | str:
    """The wheel, or why it could not be had; pip speaks to whatever index it is configured for."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    found = sorted(folder.glob("presidio_evaluator*.whl"))
    return found[0] if found else (done.stderr.strip().splitlines() or ["no wheel"])[-1]


def compare(rows: Sequence[Row], find: Find) -> list[str]:
    """The tables on the other set; findings of a type that it does not label are left out."""
    names = [*sorted(set(COUNTERPART.values())), "DATE_OF_BIRTH"]
    return table(tally(rows, find, set(names)), names, {"all 17 types": names})


def presidio() -> dict[str, Find]:
    """Presidio's analyser as it comes; without its spaCy model only what its patterns find."""
    if not find_spec("presidio_analyzer"):
        return {}
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    title, language = f"Presidio {version('presidio-analyzer')}", SpacyNlpEngine()
    if spacy.util.is_package("en_core_web_lg"):
        language.load()
    else:
        title, language.nlp = f"{title} without a language model", {"en": spacy.blank("en")}
    engine = AnalyzerEngine(nlp_engine=language)

    def find(texts: Sequence[str]) -> list[list[Span]]:
        found = (engine.analyze(text=text, language="en") for text in texts)
        return [[Span(one.start, one.end, _named(one.entity_type)) for one in each]
                for each in found]  # fmt: skip

    return {title: find}


def _named(entity: str) -> str:
    """Our name of Presidio's; one named by country is a national id unless it says otherwise."""
    known = COUNTERPART | {"LOCATION": "LOCATION", "US_BANK_NUMBER": "BANK_ACCOUNT"}
    ending = next((e for e in ("PASSPORT", "DRIVER_LICENSE") if entity.endswith(e)), None)
    national = "NATIONAL_ID" if re.match("[A-Z]{2}_", entity) and entity != "IP_ADDRESS" else None
    return known.get(entity) or ending or national or entity


def measure(folder: Path) -> list[str]:
    """The unseen set, the other set, the rate, and Presidio beside them where it is installed."""
    rows, single = unseen(), unseen(drawn=False)
    pools = {"**structured**": STRUCTURED, "**by meaning**": MEANT, "**all**": STRUCTURED + MEANT}
    bare = sum(not row.spans for row in rows)
    finders = {"Workbench": ours} | presidio()
    lines = []
    for name, find in finders.items():
        lines += [f"### {name}, unseen set: {len(rows)} texts, {bare} of them without any span", ""]
        lines += [*table(tally(rows, find), STRUCTURED + MEANT, pools), ""]
        lines += [f"Only the {len(single)} texts that were written one by one:", ""]
        lines += [*table(tally(single, find), (), pools), ""]
    texts = [row.text for row in rows]
    lines += [f"`detect`: {rate(texts):,.0f} texts/s, one thread, best of 3, n={len(texts)}.", ""]
    wheel = fetch(folder)
    if isinstance(wheel, str):
        lines += [f"{PACKAGE} could not be fetched: {wheel}"]
    elif not find_spec("faker"):
        lines += [f"{PACKAGE} is not measured: Faker is not installed."]
    else:
        others = list(Others(wheel).rows())
        for name, find in finders.items():
            lines += [f"### {name}, templates of {PACKAGE}: {len(others)} sentences, seed {SEED}, "
                      f"Faker {version('faker')}", "", *compare(others, find), ""]  # fmt: skip
    if len(finders) == 1:
        lines += ["Presidio is not beside it: presidio-analyzer is not installed."]
    return lines

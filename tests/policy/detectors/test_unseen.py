"""The detectors on texts that their authors had not seen, and that those texts are what they say.

The set is written by `tools/unseen.py`, whose docstring is the labelling guide; what counts as
found and as right is said in `tools/measures/detectors.py`.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections import Counter
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from stdnum import bic, iban, luhn

ROOT = Path(__file__).resolve().parents[3]
UNSEEN = Path(__file__).with_name("unseen.jsonl")
MAIN = (
    "EMAIL_ADDRESS", "PHONE_NUMBER", "URL", "IP_ADDRESS", "CREDIT_CARD", "IBAN_CODE",
    "NATIONAL_ID", "PASSPORT", "DATE", "DATE_OF_BIRTH", "SECRET", "BANK_ACCOUNT",
)  # fmt: skip
PERSONAL_NUMBERS = """at.vnr au.tfn be.nn br.cpf ca.sin ch.ssn cn.ric de.idnr dk.cpr es.nie es.nif
fi.hetu fr.nir gb.nhs ie.pps in_.aadhaar in_.pan it.codicefiscale kr.rrn nl.bsn no.fodselsnummer
pl.pesel pt.nif se.personnummer tr.tckimlik us.ssn za.idnr""".split()
WITHOUT_CHECK_DIGIT = re.compile(r"[A-Z]{2}( ?\d\d){3} ?[A-D]|S\d{7}[A-Z]")  # UK NINO, SG NRIC
ROWS = [json.loads(line) for line in UNSEEN.read_text(encoding="utf-8").splitlines()]


def load(path: str) -> ModuleType:
    """A script of `tools`, which is no package."""
    spec = spec_from_file_location(f"under_test_{Path(path).stem}", ROOT / "tools" / path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def values(entity: str) -> list[str]:
    return [row["text"][a:b] for row in ROWS for a, b, name in row["spans"] if name == entity]


def compact(value: str) -> str:
    return re.sub(r"[ -]", "", value)


@pytest.fixture(scope="module")
def measured() -> ModuleType:
    return load("measures/detectors.py")


def test_script_writes_the_set_byte_for_byte(tmp_path):
    """Nobody edited the set by hand: the script and its seed are all that it comes from."""
    load("unseen.py").main(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == UNSEEN.read_bytes()


def test_rows_are_distinct(measured):
    """No id and no text is counted twice."""
    assert len({row["id"] for row in ROWS}) == len(ROWS) >= 600
    assert len({row["text"] for row in ROWS}) == len(ROWS)


def test_spans_lie_in_their_text_and_apart(measured):
    """A span is a value without blanks around it, of a known entity, and overlaps no other."""
    known = {*measured.STRUCTURED, *measured.MEANT}
    for row in ROWS:
        end = 0
        for start, stop, entity in row["spans"]:
            value = row["text"][start:stop]
            assert end <= start < stop <= len(row["text"]), row["id"]
            assert value == value.strip() and entity in known, row["id"]
            end = stop


def test_no_mark_is_left_in_a_text(measured):
    """A mistyped mark would be an unlabelled value."""
    tags = "|".join(load("unseen.py").LABEL)
    assert not [row["id"] for row in ROWS if re.search(rf"\{{({tags})\b", row["text"])]


def test_there_is_enough_of_each():
    """Each main structured entity occurs 40 times, and 150 texts hold nothing to be found."""
    counts = Counter(entity for row in ROWS for *_, entity in row["spans"])
    assert not {entity: counts[entity] for entity in MAIN if counts[entity] < 40}
    assert sum(not row["spans"] for row in ROWS) >= 150


def test_labelled_numbers_have_valid_check_digits():
    """Cards, IBANs, BICs and national ids are such as the issuer's own check accepts."""
    checks = [import_module(f"stdnum.{name}").is_valid for name in PERSONAL_NUMBERS]
    assert [v for v in values("CREDIT_CARD") if not luhn.is_valid(compact(v))] == []
    assert [v for v in values("IBAN_CODE") if not iban.is_valid(v)] == []
    assert [v for v in values("BIC_CODE") if not bic.is_valid(v)] == []
    assert [
        v for v in values("NATIONAL_ID")
        if not (WITHOUT_CHECK_DIGIT.fullmatch(v) or any(check(v) for check in checks))
    ] == []  # fmt: skip


def test_wrong_check_digits_are_there_and_not_labelled():
    """A card or IBAN that no issuer could have given is a hard negative."""
    texts = [r["text"] for r in ROWS if r["text"].startswith(("Card ", "IBAN ")) and not r["spans"]]
    numbers = [compact(re.match(r"(?:Card|IBAN) ([\d A-Z-]+?) (?=[a-z])", t)[1]) for t in texts]
    assert len(numbers) >= 8
    assert not [n for n in numbers if luhn.is_valid(n) if n.isdigit()]
    assert not [n for n in numbers if iban.is_valid(n) if not n.isdigit()]


def test_a_finding_counts_by_the_stated_rule(measured):
    """Half a span is found and less is not; a finding of another entity is neither."""
    row = measured.Row("x" * 20, [measured.Span(0, 10, "DATE"), measured.Span(12, 18, "URL")])

    def counts(*findings):
        found = [measured.Span(*one) for one in findings]
        done = measured.tally([row], lambda texts: [found])
        names = ("DATE", "URL", "DATE_OF_BIRTH", "IP_ADDRESS")
        return done.recall(names), done.precision(names)

    assert counts((0, 5, "DATE")) == ((1, 2), (1, 1))
    assert counts((0, 4, "DATE")) == ((0, 2), (1, 1))
    assert counts((0, 10, "DATE_OF_BIRTH")) == ((1, 2), (1, 1))
    assert counts((0, 10, "IP_ADDRESS"), (10, 12, "URL")) == ((0, 2), (0, 2))


def test_templates_of_others_are_filled_and_labelled(measured, tmp_path):
    """The second set labels what it filled in, keeps one person's facts together, and repeats."""
    pytest.importorskip("faker")
    wheel, folder = tmp_path / "set.whl", "presidio_evaluator/data_generator/raw_data"
    people = [f"male,Title,Ann{i},B,Lee{i},a{i}@example.org" for i in range(9)]
    head = "Gender,Title,GivenName,MiddleInitial,Surname,EmailAddress"
    contents = {
        "templates.txt": "I am {{first_name}} at {{EMAIL}}\n<country> or {{nationality}}, {{year}}",
        "FakeNameGenerator.com_3000.csv": "\n".join([head, *people]),
        "nationalities.csv": "country,nationality,man,woman,plural\nx,xish,xman,xwoman,xes",
        "companies_and_organizations.csv": "organization\nSome Works",
        "us_driver_licenses.csv": "us_driver_license\n1234567",
    }
    with zipfile.ZipFile(wheel, "w") as files:
        for name, text in contents.items():
            files.writestr(f"{folder}/{name}", text)
    rows = list(measured.Others(wheel).rows(60))
    assert rows == list(measured.Others(wheel).rows(60))
    for text, spans in rows:
        found = [(entity, text[a:b].lower()) for a, b, entity in spans]
        if text.lower().startswith("i am"):
            (person, name), (mail, address) = found
            assert (person, mail) == ("PERSON", "EMAIL_ADDRESS") and name[3:] == address[1:2]
        else:
            assert [entity for entity, _ in found] == ["LOCATION", "NRP", "DATE"]
            assert found[1][1] == "xish"


def test_identifiers_with_a_form_are_found(measured):
    """Recall at least 0.95 and precision at least 0.90, structured entities pooled."""
    found = measured.tally(measured.unseen(), measured.ours)
    hits, labelled = found.recall(measured.STRUCTURED)
    right, findings = found.precision(measured.STRUCTURED)
    assert labelled >= 800 and hits / labelled >= 0.95
    assert right / findings >= 0.90


def test_detection_keeps_pace(measured):
    """At least 150 short texts a second, one call a text, on one core."""
    assert measured.rate([row["text"] for row in ROWS[:200]]) >= 150

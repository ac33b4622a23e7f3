"""What a column holds, is called and looks like, and the class that follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.policy.classes import ORDER, Column, DataClass
from workbench.policy.detectors import ENTITIES
from workbench.policy.proposals import (
    ColumnProfile,
    Proposal,
    disagreements,
    propose,
    propose_dataset,
)

TEXT = {"kind": "text", "words": 12.0, "shortest": 20, "longest": 160}
CELL = {"kind": "text", "words": 1.2, "shortest": 3, "longest": 20}


def column(name: str = "note", rows: int = 1000, **said) -> ColumnProfile:
    return ColumnProfile(
        **{"column": name, "rows": rows, "missing": 0, "distinct": 700} | CELL | said
    )


def declared(kind: str, override: str | None = None) -> Column:
    duties = {"purpose": "p", "owner": "o", "legal_basis": "b", "retention_days": 3}
    return Column.model_validate({"class": kind, "override": override} | duties)


def test_a_column_of_addresses_is_personal_whatever_it_is_called():
    """`note` says nothing; what it holds decides."""
    found = propose(column(findings={"EMAIL_ADDRESS": 990}))
    assert (found.data_class, found.confidence, found.grounds) == ("personal", "high", "findings")
    assert found.entities == {"EMAIL_ADDRESS": 990} and "990 of 1,000" in found.why


def test_one_structured_finding_in_free_text_is_enough():
    """One row of a thousand speaks of a person, and so does the column."""
    found = propose(column(**TEXT, findings={"EMAIL_ADDRESS": 1}))
    assert (found.data_class, found.confidence) == ("personal", "low")


def test_health_is_stricter_than_a_person():
    """A column that holds both takes the class of the stricter."""
    found = propose(column(**TEXT, findings={"PERSON": 400, "HEALTH_TERM": 30}))
    assert found.data_class == DataClass.HEALTH


def test_nothing_found_is_never_public():
    """No evidence is no harmlessness; it is said, and of free text with more doubt."""
    for profile in (column("amount", kind="number"), column(**TEXT)):
        found = propose(profile)
        assert found.data_class == DataClass.INTERNAL_OPERATIONAL
        assert (found.confidence, found.grounds) == ("low", "nothing")
        assert "nothing found" in found.why
        assert ("free text" in found.why) == profile.free_text


@given(
    st.sampled_from(["public", "licence", "x", "id"]),
    st.dictionaries(st.sampled_from(sorted(ENTITIES)), st.integers(0, 50)),
)
def test_no_proposal_is_laxer_than_internal(name, findings):
    """Whatever is found, and whatever the column claims to be by its name."""
    found = propose(column(name, rows=50, distinct=9, findings=findings))
    assert ORDER.index(found.data_class) >= ORDER.index(DataClass.INTERNAL_OPERATIONAL)


def test_what_digits_pass_by_chance_counts_only_where_it_is_frequent():
    """One number in eleven has a valid check digit; a column of amounts is not one of tax ids."""
    by_chance = propose(column("total", kind="integer", findings={"NATIONAL_ID": 91}))
    meant = propose(column("total", kind="integer", findings={"NATIONAL_ID": 950}))
    assert (by_chance.data_class, by_chance.entities) == ("internal_operational", {})
    assert (meant.data_class, meant.confidence) == ("personal", "high")


def test_a_word_that_is_also_a_name_does_not_make_a_column_of_names():
    """Products are called Angela, too; a column of names holds mostly names."""
    assert propose(column(findings={"PERSON": 40})).data_class == "internal_operational"
    assert propose(column(findings={"PERSON": 400})).data_class == "personal"


NAMES = {
    "personal": [
        "e-mail", "EMail", "customerEmail", "correo_electronico", "Telefonnummer", "teléfono",
        "mobile no", "Geburtsdatum", "fecha_nacimiento", "date de naissance", "dob", "IBAN",
        "Kontonummer", "nombre", "Vorname", "Nachname", "first_name", "prénom", "cognome",
        "achternaam", "Straße", "postcode", "PLZ", "DNI", "NIF", "bsn", "ssn", "passport_number", "customer_id",
        "CustomerID", "kunden-nr", "geschlecht", "religion", "password", "api_key", "ip",
    ],
    "health": ["diagnosis", "Diagnose", "diagnóstico", "ICD-10", "medication", "krankheit",
               "allergies", "blood_type"],
    "internal_operational": [
        "amount", "category", "label", "queue", "product_name", "fileName", "opened", "currency",
        "text", "notes", "status", "weight", "page", "message", "manager_level", "percentage", "nominal",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "kind, name", [(kind, name) for kind, some in NAMES.items() for name in some]
)
def test_a_name_in_any_of_several_languages_is_understood(kind, name):
    """A name alone proposes a strict class, with no finding to back it."""
    found = propose(column(name))
    assert found.data_class == kind
    assert found.grounds == ("nothing" if kind == "internal_operational" else "name")


def test_name_and_findings_together_make_it_surer():
    """One row in ten with an address is half a reason in `note`, a whole one in `email`."""
    some = {"EMAIL_ADDRESS": 100}
    assert propose(column("note", findings=some)).confidence == "medium"
    assert propose(column("email", findings=some)).confidence == "high"


def test_a_flag_about_a_person_is_no_contact_data():
    """`email_opt_in` with yes and no holds no address."""
    assert propose(column("email_opt_in", kind="boolean")).grounds == "nothing"


def test_a_code_in_each_row_may_single_out_a_person():
    """GDPR recital 26: who can be singled out is identifiable. A row counter singles out nobody."""
    codes = column("ref", kind="code", distinct=1000)
    assert (propose(codes).data_class, propose(codes).grounds) == ("personal", "form")
    assert propose(column("ref", kind="code", distinct=300)).grounds == "nothing"
    counter = column("nr", kind="integer", distinct=1000, shortest=1, longest=4)
    assert not counter.identifier_like
    assert column("nr", kind="integer", distinct=1000, shortest=8, longest=8).identifier_like


def test_the_dataset_takes_the_strictest_class():
    """One column of health makes a dataset of health; without columns there is no answer."""
    some = [propose(column("amount")), propose(column("diagnosis")), propose(column("name"))]
    assert propose_dataset(some) == DataClass.HEALTH
    with pytest.raises(InputError):
        propose_dataset([])


def test_a_column_declared_less_strict_without_a_reason_is_named():
    """Stricter or equal needs no reason; less strict does, and the column is named."""
    found = propose(column(findings={"EMAIL_ADDRESS": 900}))
    assert disagreements([found], {"note": declared("health")}) == []
    assert disagreements([found], {"note": declared("personal")}) == []
    (fault,) = disagreements([found], {"note": declared("internal_operational")})
    assert fault.startswith("note: declared internal_operational, but personal is proposed")
    assert (
        disagreements([found], {"note": declared("public", "all addresses are of one desk")}) == []
    )


def test_nothing_found_contradicts_nobody():
    """A person may know that a text is licensed or public; no detector found otherwise."""
    for findings in ({}, {"LOCATION": 400}):
        found = propose(column(**TEXT, findings=findings))
        assert disagreements([found], {"note": declared("licensed")}) == []


def test_sealed_proposals_speak_as_fresh_ones():
    """What stands in proposals.json decides later; one that is damaged is refused."""
    found = propose(column(findings={"EMAIL_ADDRESS": 900}))
    sealed = found.model_dump(mode="json")
    lax = {"note": declared("public")}
    assert disagreements([sealed], lax) == disagreements([found], lax) != []
    assert Proposal.parse(sealed) == found
    with pytest.raises(InputError):
        disagreements([sealed | {"data_class": "harmless"}], lax)

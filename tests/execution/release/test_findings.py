"""Findings are signed entries: raised about a bundle or record, answered, closed, or they block (L9)."""

from __future__ import annotations

import json

import pytest

from workbench.execution.release import findings
from workbench.record import person
from workbench.record.verify import verify_store

RAISE = ["--severity", "major", "--text", "Fees are taken for cards.", "--due", "2020-01-31"]


@pytest.fixture
def say(desk):
    """`workbench finding WORDS`, signed by a person of the desk."""

    def said(name, *words):
        first = name.split()[0]
        return desk.lab.cli("finding", *words, "--by", name, "--sign-with", desk.keys / first)

    return said


@pytest.fixture
def raised(desk, say):
    """(id, record) of a finding that Rita raised about a record, with Olga to answer."""
    record = desk.judged()
    told = say("Rita Risk", "raise", record.id, *RAISE, "--owner", "Olga Owner")
    assert told.code == 0, told.err
    [one], _ = findings.read(desk.store, "tiny")
    return one.id, record


def answer(say, name, ident, evidence):
    return say(name, "answer", ident, "--text", "More rows.", "--evidence", evidence)


def state(desk):
    [one], ignored = findings.read(desk.store, "tiny")
    return one.state, len(ignored)


def test_raised_answered_and_closed_by_hand(desk, say, raised, tmp_path):
    """Each is signed; the list says what is open, overdue, and about what."""
    ident, record = raised
    told = desk.lab.cli("finding", "ls")
    assert told.code == 0 and "OVERDUE" in told.out and "1 of 1 findings are open" in told.out
    shown = tmp_path / "measured.csv"
    shown.write_text("n\n1\n")
    assert answer(say, "Olga Owner", ident, record.id).code == 0
    assert answer(say, "Olga Owner", ident, shown).code == 0
    assert state(desk) == ("answered", 0)
    told = say("Rita Risk", "close", ident)
    assert told.code == 0 and "closed" in told.out
    [listed] = desk.lab.cli("finding", "ls", "--json").json["findings"]
    assert (listed["about"], listed["state"], listed["overdue"]) == (record.digest, "closed", False)
    assert verify_store(desk.store).ok


def test_about_the_newest_candidate_without_a_name(releasable):
    """And about a bundle by its digest; with neither, there is nothing to speak of."""
    from workbench.execution import bundle

    words = ["finding", "raise", *RAISE, "--owner", "Olga Owner", "--by", "Rita Risk",
             "--sign-with", releasable.keys / "Rita"]  # fmt: skip
    assert releasable.cli(*words).code == 0
    [one], _ = findings.read(releasable.store("governed"), "tiny")
    assert one.raised.about == bundle.find(releasable.store("governed")).digest
    told = releasable.cli("release", "status")
    assert told.code == 3 and one.id in told.out


def test_without_a_candidate_a_record_is_named(desk, say):
    desk.judged()
    told = say("Rita Risk", "raise", *RAISE, "--owner", "Olga Owner")
    assert told.code == 1 and "no such candidate" in told.err
    assert say("Rita Risk", "raise", "nothing", *RAISE, "--owner", "Olga Owner").code == 1


def test_who_answered_can_not_close_nor_can_a_stranger_or_another_role(desk, say, raised, tmp_path):
    """Nor is it closed before it was answered; nothing is entered then."""
    ident, record = raised
    told = say("Rita Risk", "close", ident)
    assert told.code == 1 and "nobody has answered" in told.err
    assert answer(say, "Olga Owner", ident, record.id).code == 0
    for name in ("Olga Owner", "Dora Data"):
        told = say(name, "close", ident)
        assert told.code == 1 and "may" in told.err
    told = desk.lab.cli("finding", "close", ident, "--by", "Rita Risk",
                        "--sign-with", desk.keys / "Olga")  # fmt: skip
    assert told.code == 1 and "another person's" in told.err
    assert say("Rita Risk", "raise", record.id, *RAISE, "--owner", "Nobody").code == 1
    assert answer(say, "Olga Owner", "0" * 12, record.id).code == 1
    assert answer(say, "Olga Owner", ident, "no-such-record").code == 1
    assert state(desk) == ("answered", 0) and len(desk.store.ledger.entries("finding")) == 2


def test_a_validator_closes_unless_they_have_a_conflict(desk, say):
    """The refusal says where they touched; another validator may."""
    desk.person("Emil Engineer", "model_validator", email="emil@example.org")
    desk.facts = {"actor": {"name": "e", "email": "emil@example.org"}}
    record = desk.judged()
    say("Rita Risk", "raise", record.id, *RAISE, "--owner", "Olga Owner")
    [one], _ = findings.read(desk.store, "tiny")
    assert answer(say, "Olga Owner", one.id, record.id).code == 0
    told = say("Emil Engineer", "close", one.id)
    assert told.code == 1 and f"built: ran {record.ref}" in told.err
    assert say("Vera Validator", "close", one.id).code == 0


@pytest.mark.parametrize(
    "how", ["unsigned", "changed", "by another", "for another meaning", "no JSON object"]
)
def test_a_forged_entry_closes_nothing_and_is_named(how, desk, say, raised):
    """Left out, made over other words, in another's name, signed to accept: the finding stays open."""
    ident, record = raised
    answer(say, "Olga Owner", ident, record.id)
    close = {"act": "close", "usecase": "tiny", "finding": ident, "by": "Rita Risk",
             "time": "2026-01-01T00:00:00Z"}  # fmt: skip
    key = desk.keys / ("Olga" if how == "by another" else "Rita")
    namespace = "accept@workbench" if how == "for another meaning" else findings.NAMESPACE
    envelope = person.sign(
        close | {"finding": "0" * 12} if how == "changed" else close, namespace, key
    )
    body = {"envelope": envelope | {"statement": close}}
    if how == "unsigned":
        body = {"statement": close}
    if how == "no JSON object":
        body = {"envelope": [close]}
    entry = desk.store.ledger.append("finding", body)
    assert state(desk) == ("answered", 1)
    told = desk.lab.cli("finding", "ls")
    assert f"ledger entry {entry.index} does not count" in told.err


def test_a_finding_goes_over_to_the_next_candidate_of_the_use_case(desk, say, raised):
    """It is the use case's until it is closed, whatever it was raised about; no other's."""
    desk.judged()
    assert len(findings.read(desk.store, "tiny")[0]) == 1
    assert findings.read(desk.store, "other") == ([], [])


def test_words_that_a_ledger_should_not_keep_are_refused(desk, say):
    record = desk.judged()
    for text in ("ask jane.doe@example.org", "\x1b[2J", "x" * 401):
        told = say("Rita Risk", "raise", record.id, "--severity", "minor", "--text", text,
                   "--due", "2030-01-01", "--owner", "Olga Owner")  # fmt: skip
        assert told.code == 1 and "text" in told.err
    assert desk.store.ledger.entries("finding") == []
    assert json.loads(desk.lab.cli("finding", "ls", "--json").out)["findings"] == []

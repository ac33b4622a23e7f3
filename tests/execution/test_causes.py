"""An expert's cause of a failure counts when it is of a failure that there is, and theirs (V7)."""

from __future__ import annotations

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution import causes
from workbench.record import person
from workbench.record.verify import verify_store

WHY = "two intents share their words in the rows that it learned from"


@pytest.fixture
def failed(lab):
    """(lab, store, record, keys): the accuracy gate asks for more than there is; a keyring."""
    keys = lab.declare()
    lab.criteria(at_least=1.1)
    told = lab.cli("run", "--until", "40_functional")
    assert told.code == 0, told.err
    return lab, lab.store(), lab.record("40_functional"), keys


def said(record, **changes):
    return {"record": record.digest, "gate": "accuracy", "case": "accuracy", "cause": "data",
            "by": "Vera Validator", "why": WHY} | changes  # fmt: skip


def enter(failed, **changes):
    _, store, record, keys = failed
    given = {"case": "accuracy", "cause": "data", "by": "Vera Validator", "why": WHY,
             "sign_with": None}  # fmt: skip
    return causes.enter(store, record, **given | changes)


def test_a_cause_is_entered_and_found_again(failed):
    """Record, gate, case, cause, by whom and why; the last one of a case counts."""
    _, store, record, _ = failed
    assert causes.explained(store, record) == {("accuracy", "accuracy"): None}
    assert enter(failed) == [said(record)]
    enter(failed, cause="reasoning", by="Dora Data")
    assert [one["cause"] for one in causes.of(store, {record.digest})] == ["data", "reasoning"]
    assert causes.explained(store, record)[("accuracy", "accuracy")]["by"] == "Dora Data"
    assert causes.of(store, {"0" * 64}) == [] and verify_store(store).ok


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"case": "enough_rows"}, "no such failure"),
        ({"case": "r0000001"}, "no such failure"),
        ({"cause": "bad luck"}, "one of four"),
        ({"by": " "}, "a person and a reason"),
        ({"why": ""}, "a person and a reason"),
        ({"why": "x" * 401}, "a person and a reason"),
        ({"why": "the customer jane.doe@example.org was right"}, "speaks of a person"),
    ],
)
def test_what_is_no_cause_enters_nothing(failed, changes, says):
    """A case that did not fail, an unknown cause, nobody, no reason, or words about a person."""
    with pytest.raises(InputError, match=says):
        enter(failed, **changes)
    assert failed[1].ledger.entries("cause") == []


def test_a_signed_cause_is_its_signers(failed):
    """Another person's key is refused, and so is one that is in no keyring."""
    lab, _, record, keys = failed
    governed = lab.store("governed")
    lab.person(keys / "Eva", "Eva Expert", "model_validator")
    signed = said(record, by="Eva Expert")
    ring = governed.keyring()
    assert person.sign_as("Eva Expert", signed, causes.NAMESPACE, keys / "Eva", ring)
    with pytest.raises(InputError, match="another person's"):
        person.sign_as("Eva Expert", signed, causes.NAMESPACE, keys / "Vera", ring)
    with pytest.raises(IntegrityError, match="before there was a keyring|not in the keyring"):
        enter(failed, sign_with=keys / "Vera")  # the research store has no keyring


@pytest.mark.parametrize(
    "forged",
    [
        {"case": "r0000001"},
        {"gate": "enough_rows", "case": "enough_rows"},
        {"cause": "sabotage"},
        {"why": "call jane.doe@example.org"},
    ],
)
def test_a_forged_entry_is_named(failed, forged):
    """Whoever writes past the verb: the entry is named, and no cause of that record is told."""
    _, store, record, _ = failed
    enter(failed)
    store.ledger.append("cause", {"statement": said(record, **forged)})
    with pytest.raises(IntegrityError, match="does not count") as refused:
        causes.of(store, {record.digest})
    assert "ledger entry" in str(refused.value.where)


def test_on_the_governed_track_it_is_signed(failed, monkeypatch):
    """No signature, no entry; an entry without one, or with another's, does not count."""
    lab, _, record, keys = failed
    governed = lab.store("governed")
    monkeypatch.setattr(type(governed), "records", lambda self, stage=None: [record])
    failed = lab, governed, record, keys
    with pytest.raises(InputError, match="is signed"):
        enter(failed)
    enter(failed, sign_with=keys / "Vera")
    assert [one["by"] for one in causes.of(governed, {record.digest})] == ["Vera Validator"]
    (entry,) = governed.ledger.entries("cause")
    stolen = entry.body["envelope"] | {"statement": said(record, cause="unknown")}
    for body in ({"statement": said(record)}, {"envelope": stolen}):
        governed.ledger.append("cause", body)
        with pytest.raises(IntegrityError, match="does not count"):
            causes.of(governed, {record.digest})
        monkeypatch.setattr(governed.ledger.__class__, "entries", without_last(governed))


def without_last(store):
    """Ledger entries but the last one: each forgery stands alone."""
    whole = type(store.ledger).entries
    count = len(store.ledger.entries())

    def entries(self, kind=None):
        return [e for e in whole(self, kind) if e.index != count - 1]

    return entries


def test_the_verb_lists_what_is_open_and_enters_a_cause(failed):
    """Open failures by gate and case; afterwards none, and `show` counts them. No row's text."""
    lab, _, record, _ = failed
    told = lab.cli("cause", record.id)
    assert told.code == 0 and "accuracy" in told.out
    assert "1 of 1 blocking failures have no cause yet." in told.out
    assert "0 of 1 blocking failures have a cause" in lab.cli("show", record.id).out
    told = lab.cli("cause", record.id, "--case", "accuracy", "--cause", "data", "--by", "Vera",
                   "--why", WHY)  # fmt: skip
    assert told.code == 0 and "✓ accuracy: data, said by Vera." in told.out
    assert lab.cli("cause", record.id, "--json").json == []
    assert "1 of 1 blocking failures have a cause" in lab.cli("show", record.id).out
    assert lab.plaintext() == []


def test_a_record_without_failures_asks_for_nothing(done):
    """All gates passed: an empty list, and no word in `show`."""
    record = done.record("40_functional")
    assert done.cli("cause", record.id, "--json").json == []
    assert "have a cause" not in done.cli("show", record.id).out
    told = done.cli("cause", record.id, "--case", "accuracy", "--cause", "data")
    assert told.code == 1 and "no such failure" in told.err

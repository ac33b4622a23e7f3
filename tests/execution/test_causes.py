"""An expert's cause of a failure counts when it is of a failure that there is, and theirs (V7)."""

from __future__ import annotations

import subprocess

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution import causes
from workbench.record import person
from workbench.record.statement import build
from workbench.record.store import Store
from workbench.record.verify import verify_store

SETUP = "import json, pathlib\nfacts = json.loads(pathlib.Path('stage.json').read_text())"
WHY = "two intents share their words in the rows that it learned from"


VERDICT = {"stage": "40_functional", "harm": "h", "reason": "r", "threshold": "t", "figure": None}
VERDICTS = [
    VERDICT | {"criterion": "accuracy", "verdict": "failed", "blocking": True, "failing": []},
    VERDICT | {"criterion": "fraud", "verdict": "failed", "blocking": True, "failing": ["F1", "F2"]},
    VERDICT | {"criterion": "told", "verdict": "insufficient_evidence", "blocking": True, "failing": ["F1"]},
    VERDICT | {"criterion": "tone", "verdict": "failed", "blocking": False, "failing": ["T1"]},
    VERDICT | {"criterion": "enough_rows", "verdict": "passed", "blocking": True, "failing": ["r7"]},
]  # fmt: skip


def sealed(store):
    """A record with these verdicts."""
    begun = store.begin("40_functional", "somebody")
    (begun.record / "notebook.ipynb").write_text("{}")
    return store.publish(begun, build(
        stage="40_functional", parameters={}, usecase="tiny", track=store.track, outcome="succeeded",
        started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z", verdicts=VERDICTS,
    ))  # fmt: skip


@pytest.fixture
def failed(lab):
    """(lab, store, record) of the research track."""
    store = Store.open_or_create(lab.runs / "research", "research")
    return lab, store, sealed(store)


@pytest.fixture
def governed(lab):
    """(lab, store, record, keys) of the governed track, with a keyring."""
    keys = lab.declare()
    store = lab.store("governed")
    return lab, store, sealed(store), keys


def said(record, **changes):
    return {"record": record.digest, "gate": "accuracy", "case": "accuracy", "cause": "data",
            "by": "Vera Validator", "why": WHY} | changes  # fmt: skip


def enter(failed, **changes):
    _, store, record, *_ = failed
    given = {"case": "accuracy", "cause": "data", "by": "Vera Validator", "why": WHY,
             "sign_with": None}  # fmt: skip
    return causes.enter(store, record, **given | changes)


def test_a_cause_is_entered_and_found_again(failed):
    """Record, gate, case, cause, by whom and why; the last one of a case counts."""
    _, store, record = failed
    assert set(causes.explained(store, record).values()) == {None}
    assert enter(failed) == [said(record)]
    enter(failed, cause="reasoning", by="Dora Data")
    assert [one["cause"] for one in causes.of(store, {record.digest})] == ["data", "reasoning"]
    assert causes.explained(store, record)["accuracy", "accuracy"]["by"] == "Dora Data"
    assert causes.of(store, {"0" * 64}) == [] and verify_store(store).ok


def test_every_case_that_blocks_asks_for_one_and_each_gate_that_it_failed_gets_it(failed):
    """A gate that passed or does not block asks for none; one that names no case is its own."""
    _, store, record = failed
    assert list(causes.explained(store, record)) == [
        ("accuracy", "accuracy"), ("fraud", "F1"), ("fraud", "F2"), ("told", "F1"),
    ]  # fmt: skip
    assert [one["gate"] for one in enter(failed, case="F1")] == ["fraud", "told"]
    left = [place for place, told in causes.explained(store, record).items() if not told]
    assert left == [("accuracy", "accuracy"), ("fraud", "F2")]


NOTHING = [
    ({"case": "r7"}, "no such failure"),
    ({"case": "T1"}, "no such failure"),
    ({"cause": "bad luck"}, "one of four"),
    ({"by": " "}, "a person and a reason"),
    ({"why": ""}, "a person and a reason"),
    ({"why": "x" * 401}, "a person and a reason"),
    ({"why": "the customer jane.doe@example.org was right"}, "speaks of a person"),
]


def test_what_is_no_cause_enters_nothing(failed):
    """A case that did not fail, an unknown cause, nobody, no reason, or words about a person."""
    for changes, says in NOTHING:
        with pytest.raises(InputError, match=says):
            enter(failed, **changes)
    assert failed[1].ledger.entries("cause") == []


@pytest.mark.parametrize(
    "forged",
    [{"case": "r7"}, {"gate": "fraud"}, {"cause": "luck"}, {"why": "jane.doe@example.org"}],
)
def test_a_forged_entry_is_named(failed, forged):
    """Whoever writes past the verb: the entry is named, and no cause of that record is told."""
    _, store, record = failed
    enter(failed)
    store.ledger.append("cause", {"statement": said(record, **forged)})
    with pytest.raises(IntegrityError, match="does not count") as refused:
        causes.of(store, {record.digest})
    assert "ledger entry" in str(refused.value.where)


def test_on_the_governed_track_it_is_signed_by_whom_it_names(governed, tmp_path):
    """No signature, another person's key or one in no keyring: nothing is entered."""
    _, store, record, keys = governed
    with pytest.raises(InputError, match="is signed"):
        enter(governed)
    with pytest.raises(InputError, match="another person's"):
        enter(governed, sign_with=keys / "Olga")
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "stranger")]
    subprocess.run(words, check=True)
    with pytest.raises(IntegrityError, match="not in the keyring"):
        enter(governed, sign_with=tmp_path / "stranger")
    assert store.ledger.entries("cause") == []
    assert enter(governed, sign_with=keys / "Vera") == [said(record)]
    assert causes.of(store, {record.digest}) == [said(record)] and verify_store(store).ok


@pytest.mark.parametrize("how", ["unsigned", "changed", "by another"])
def test_a_governed_entry_without_its_signature_does_not_count(governed, how):
    """Left out, made over other words, or in another person's name."""
    _, store, record, keys = governed
    enter(governed, sign_with=keys / "Vera")
    envelope = store.ledger.entries("cause")[0].body["envelope"]
    body = {"statement": said(record)}
    if how == "changed":
        body = {"envelope": envelope | {"statement": said(record, cause="unknown")}}
    if how == "by another":
        named = said(record, by="Olga Owner")
        body = {"envelope": person.sign(named, causes.NAMESPACE, keys / "Vera")}
    store.ledger.append("cause", body)
    with pytest.raises(IntegrityError, match="does not count"):
        causes.of(store, {record.digest})


def test_the_verb_lists_what_is_open_and_enters_a_cause(failed):
    """Open failures by gate and case; `show` counts those that have a cause."""
    lab, _, record = failed
    told = lab.cli("cause", record.id)
    assert told.code == 0 and "4 of 4 blocking failures have no cause yet." in told.out
    assert "0 of 4 blocking failures have a cause" in lab.cli("show", record.id).out
    told = lab.cli("cause", record.id, "--case", "F1", "--cause", "data", "--by", "Vera",
                   "--why", WHY)  # fmt: skip
    assert told.code == 0 and "✓ F1: data, said by Vera." in told.out
    assert lab.cli("cause", record.id, "--json").json == [
        {"gate": "accuracy", "case": "accuracy"}, {"gate": "fraud", "case": "F2"},
    ]  # fmt: skip
    assert "2 of 4 blocking failures have a cause" in lab.cli("show", record.id).out
    told = lab.cli("cause", record.id, "--case", "r7", "--cause", "data", "--by", "V", "--why", "w")
    assert told.code == 1 and "no such failure" in told.err


def test_a_page_that_lists_causes_is_made_anew_when_one_came(done):
    """A stage that declares `causes` is told what was said of the records that it reads, and a new
    cause is a reason to run it again; others are not moved by it."""
    done.stage("49_validation", cells=[SETUP, "print([one['why'] for one in facts['causes']])"],
               kinds=["classifier"], causes=True,
               inputs={"verdicts": "40_functional/verdicts.json"})  # fmt: skip
    done.criteria(at_least=1.1)
    assert done.cli("run").code == 3
    ref = done.record("40_functional").id
    told = done.cli(
        "cause", ref, "--case", "accuracy", "--cause", "data", "--by", "Ada", "--why", WHY
    )
    assert told.code == 0, told.err
    again = done.cli("run", "--json").json
    assert [one["stage"] for one in again if not one["reused"]] == ["49_validation"]
    assert WHY in done.record("49_validation").file("notebook.ipynb").read_text()

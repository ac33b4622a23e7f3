"""A request holds what there is to sign; one that was edited, or is of another, is refused."""

from __future__ import annotations

import json

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution.project import Project
from workbench.execution.release import request
from workbench.record.digest import canonical


@pytest.fixture
def desk(unsigned):
    """(project, governed store, a request for its candidate)."""
    project, store = Project.load(unsigned.usecase), unsigned.store("governed")
    return project, store, request.prepare(project, store)


def test_a_request_says_all_that_there_is_to_sign(desk):
    """The same again but for its nonce; roles, quorum and expiry are the plan's."""
    project, store, asked = desk
    again = request.prepare(project, store, asked["bundle"][:12])
    assert {n for n in asked if asked[n] != again[n]} == {"nonce"}
    assert (asked["tier"], asked["roles"], asked["quorum"]) == (
        "moderate", ["model_validator", "risk_manager"], 2)  # fmt: skip
    assert asked["store"] == store.id and asked["ledger"]["size"] == store.ledger.head().size
    stages = {one["ref"].partition("/")[0] for one in asked["records"]}
    assert {"10_intake", "20_dataset", "30_adapt", "40_functional", "50_candidate"} <= stages
    assert request.check(project, store, asked).digest == asked["bundle"]


def test_preparing_signs_and_enters_nothing(unsigned, tmp_path):
    """A notebook or widget may; the file is canonical, and lies beside the stores unless told."""
    before = unsigned.store("governed").ledger.head()
    told = unsigned.cli("release", "request")
    assert told.code == 0 and unsigned.store("governed").ledger.head() == before
    [path] = unsigned.runs.glob("request-*.json")
    assert path.read_bytes() == canonical(json.loads(path.read_bytes()))
    assert str(path) in told.out


@pytest.mark.parametrize("field", ["bundle", "candidate", "lock", "policy", "expires", "tier",
                                   "quorum", "roles", "records", "usecase", "name"])  # fmt: skip
def test_an_edited_request_is_refused_by_field(desk, field):
    """Whatever it says other than the store does."""
    project, store, asked = desk
    asked[field] = asked[field][1:] if isinstance(asked[field], str | list) else 1
    with pytest.raises(InputError) as refused:
        request.check(project, store, asked)
    assert field in str(refused.value) or "no such candidate" in str(refused.value)


def test_a_field_more_or_less_is_an_edit(desk):
    """Nothing is signed that nobody understands."""
    project, store, asked = desk
    for changed in (asked | {"also": 1}, {n: v for n, v in asked.items() if n != "quorum"}):
        with pytest.raises(InputError, match="not what the store gives now"):
            request.check(project, store, changed)


def test_a_request_of_another_store_is_refused(desk):
    """By the store's id, and by a ledger that is not this one's."""
    project, store, asked = desk
    with pytest.raises(InputError, match="of another store"):
        request.check(project, store, asked | {"store": "0" * 16})
    head = {"size": asked["ledger"]["size"], "root": "0" * 64}
    with pytest.raises(InputError) as refused:
        request.check(project, store, asked | {"ledger": head})
    assert "given:    ledger" in str(refused.value)


def test_new_entries_in_the_ledger_are_no_change(desk):
    """Else two people could never sign the same request."""
    project, store, asked = desk
    store.ledger.append("note", {"text": "something happened"})
    assert request.check(project, store, asked).digest == asked["bundle"]


@pytest.mark.parametrize("text", ["", "{", '{"kind": "x"}', "[]", "7"])
def test_what_is_no_request_is_refused(unsigned, tmp_path, text):
    """In our words, with the command that makes one."""
    (tmp_path / "asked.json").write_text(text)
    told = unsigned.cli("approve", tmp_path / "asked.json")
    assert told.code == 1 and "no request for approval" in told.err


def test_a_record_that_was_changed_is_not_signed_for(releasable):
    """Any record under the candidate: it is named."""
    asked = releasable.request()
    figures = releasable.record("30_adapt", "governed").path / "outputs/figures.json"
    figures.chmod(0o644)
    figures.write_text("{}")
    project, store = Project.load(releasable.usecase), releasable.store("governed")
    with pytest.raises(IntegrityError, match="does not verify") as found:
        request.check(project, store, request.read(asked))
    assert "30_adapt" in str(found.value)
    assert releasable.cli("release", "register").code == 6


def test_research_is_never_released(done):
    """Neither where there is no governed store, nor out of the research store."""
    told = done.cli("release", "request")
    assert told.code == 1 and "no governed store yet" in told.err
    with pytest.raises(InputError, match="Only a candidate of the governed track"):
        request.prepare(Project.load(done.usecase), done.store("research"))

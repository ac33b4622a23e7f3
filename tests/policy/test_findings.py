"""A finding is open until somebody who did not answer it has closed it (L9)."""

from __future__ import annotations

from datetime import date

import pytest

from workbench.errors import InputError
from workbench.policy.duties import Entered, Touch
from workbench.policy.findings import SHORT, Raised, blocking, fold
from workbench.policy.texts import LONGEST
from workbench.policy.tiers import control_plan
from workbench.policy.usecase import UseCase
from workbench.record.digest import digest

ROLES = {"Vera": ("model_validator",), "Quin": ("quality_assurance",), "Rita": ("risk_manager",)}
RAISE = {"act": "raise", "usecase": "router", "about": "a" * 64, "severity": "major",
         "text": "Fees are taken for cards.", "owner": "Emil", "due": "2026-12-01", "by": "Rita",
         "time": "2026-11-21T09:00:00.000000Z"}  # fmt: skip
ID = digest(RAISE)[:SHORT]
ANSWER = {"act": "answer", "usecase": "router", "finding": ID, "text": "More rows of fees.",
          "evidence": "b" * 64, "by": "Emil", "time": "2026-11-22T09:00:00.000000Z"}  # fmt: skip
CLOSE = {"act": "close", "usecase": "router", "finding": ID, "by": "Rita",
         "time": "2026-11-23T09:00:00.000000Z"}  # fmt: skip


def entered(*statements, **changes):
    """Entries, each signed by whom it names unless `changes` say otherwise for the last."""
    found = [
        Entered(i, "finding", said.get("time", ""), said, said.get("by", ""), "", ROLES.get(said.get("by"), ()))
        for i, said in enumerate(statements)
    ]  # fmt: skip
    return [*found[:-1], found[-1]._replace(**changes)]


@pytest.fixture
def plan(usecase):
    return control_plan(UseCase.parse(usecase | {"severity": "high"}))


def test_raised_answered_closed():
    """In this order; what was said stays."""
    states = [fold("router", entered(*said))[0][0].state
              for said in ([RAISE], [RAISE, ANSWER], [RAISE, ANSWER, CLOSE])]  # fmt: skip
    assert states == ["open", "answered", "closed"]
    [one], ignored = fold("router", entered(RAISE, ANSWER, CLOSE))
    assert (one.id, one.answers[0].evidence, one.closed.by, ignored) == (ID, "b" * 64, "Rita", [])


@pytest.mark.parametrize("by", ["Rita", "Vera", "Quin"])
def test_who_raised_it_a_validator_or_quality_assurance_closes(by):
    [one], _ = fold("router", entered(RAISE, ANSWER, CLOSE | {"by": by}))
    assert one.state == "closed"


LEFT_OPEN = {
    "forged": ([RAISE, ANSWER, CLOSE], {"refused": "the signature is not of this statement"}),
    "by another than it names": ([RAISE, ANSWER, CLOSE], {"name": "Vera", "roles": ROLES["Vera"]}),
    "not answered": ([RAISE, CLOSE], {}),
    "closed before it was answered": ([RAISE, CLOSE, ANSWER], {}),
    "by who answered": ([RAISE, ANSWER | {"by": "Rita"}, CLOSE], {}),
    "by a validator who answered": ([RAISE, ANSWER | {"by": "Vera"}, CLOSE | {"by": "Vera"}], {}),
    "by the owner": ([RAISE, ANSWER, CLOSE | {"by": "Emil"}], {}),
    "of another finding": ([RAISE, ANSWER, CLOSE | {"finding": "0" * SHORT}], {}),
    "of another use case": ([RAISE, ANSWER, CLOSE | {"usecase": "other"}], {}),
    "with words of its own": ([RAISE, ANSWER, CLOSE | {"because": "I say so"}], {}),
    "an unknown act": ([RAISE, ANSWER, CLOSE | {"act": "forget"}], {}),
}


@pytest.mark.parametrize("case", LEFT_OPEN)
def test_an_entry_that_breaks_a_rule_closes_nothing_and_is_named(case, plan):
    """Only one of another use case is not named: it is no word on this one."""
    statements, changes = LEFT_OPEN[case]
    [one], ignored = fold("router", entered(*statements, **changes))
    assert one.closed is None and blocking([one], (), plan) == [one]
    assert len(ignored) == (case != "of another use case")


def test_an_answer_without_evidence_is_none(plan):
    """Nor is one whose evidence is no digest."""
    for answer in (
        {k: v for k, v in ANSWER.items() if k != "evidence"},
        ANSWER | {"evidence": "see"},
    ):
        [one], ignored = fold("router", entered(RAISE, answer, CLOSE))
        assert one.state == "open" and len(ignored) == 2


def test_what_was_raised_is_raised_once_and_not_raised_again_by_a_copy():
    """A copy of the entry, put in after the end, opens nothing; nor does it after a close."""
    found, ignored = fold("router", entered(RAISE, ANSWER, CLOSE, RAISE))
    assert [one.state for one in found] == ["closed"]
    assert "second time" in str(ignored[0])
    _, [late] = fold("router", entered(RAISE, ANSWER, CLOSE, ANSWER | {"by": "Vera"}))
    assert "closed already" in late.why


def test_a_forged_finding_is_none():
    """Somebody who has no key in the keyring raises nothing."""
    assert fold("router", entered(RAISE, refused="not in the keyring"))[0] == []


def test_only_major_and_critical_ones_block(plan):
    for severity, blocks in (("minor", False), ("major", True), ("critical", True)):
        [one], _ = fold("router", entered(RAISE | {"severity": severity}))
        assert bool(blocking([one], (), plan)) == blocks


def test_closed_by_a_validator_with_a_conflict_it_still_blocks(plan):
    """Who raised it may close it whatever they touched; a role needs to have kept out."""
    touched = [Touch(name, "built", "ran 30_adapt/1") for name in ("Vera", "Rita")]
    found, _ = fold("router", entered(RAISE, ANSWER, CLOSE | {"by": "Vera"}))
    assert blocking(found, (), plan) == [] and blocking(found, touched, plan) == found
    found, _ = fold("router", entered(RAISE, ANSWER, CLOSE))
    assert blocking(found, touched, plan) == []


def test_one_is_overdue_after_its_day_while_it_is_open():
    [one], _ = fold("router", entered(RAISE, ANSWER))
    assert not one.overdue(date(2026, 12, 1)) and one.overdue(date(2026, 12, 2))
    [one], _ = fold("router", entered(RAISE, ANSWER, CLOSE))
    assert not one.overdue(date(2026, 12, 2))


HOSTILE = ["", "   ", "x" * (LONGEST + 1), "a\nb", "\x1b[2Jgone", "\u202egnorw si ti", "a\u200bb",
           "ask jane.doe@example.org", "Jane Doe was wrong", "card 4111 1111 1111 1111"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_breaks_its_line_or_tells_of_a_person_is_refused(text):
    """The ledger forgets nothing, and is shown in terminals and pages."""
    with pytest.raises(InputError, match="do not fit: text"):
        Raised.parse(RAISE | {"text": text})


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "n = 40, 7.5 % by 2026-12-01 in Dublin",
                                  "Signes de stroke manqués 🙂", "'; DROP TABLE records; --"])  # fmt: skip
def test_any_other_text_is_kept_as_it_is(text):
    """Whoever shows it escapes it; a day, a place or an illness tells nobody's name."""
    assert Raised.parse(RAISE | {"text": text}).text == text

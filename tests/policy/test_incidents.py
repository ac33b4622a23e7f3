"""An incident is opened once, becomes a scenario that blocks, and bars its release (M2)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from workbench.errors import InputError
from workbench.policy import figures, incidents, release, scenarios
from workbench.policy.duties import Entered
from workbench.policy.gates import GateVerdict
from workbench.policy.incidents import Opened

from .test_release import RITA, VERA, evidence, gate

SAID = {
    "usecase": "tiny", "by": "Olga", "time": "2026-01-02T00:00:00Z", "what": "A card stayed open.",
    "severity": "harm", "environment": "production", "happened": "2026-01-01T00:00:00Z",
    "bundle": "b" * 64, "deployment": 12, "text": "my card is gone", "expect": {"queue": "cards"},
}  # fmt: skip
NAME = incidents.named(Opened.parse(SAID).model_dump(mode="json"))
CLOSED = {"act": "close", "usecase": "tiny", "by": "Vera", "time": "2026-01-03T00:00:00Z",
          "incident": NAME, "candidate": "c" * 64, "record": "d" * 64}  # fmt: skip


def entered(entry, said, name=None, roles=("operator",), refused=""):
    """A ledger entry with this statement, signed by whom it names unless told otherwise."""
    form = incidents.ACTS[said.get("act", "open")]
    stated = form.parse(said).model_dump(mode="json")
    return Entered(entry, "incident", "t", stated, name or said["by"], "e", roles, refused)


def folded(*entries):
    found, ignored = incidents.fold("tiny", entries)
    return [one.state for one in found], [(one.entry, one.why) for one in ignored]


def opened(**changes):
    return incidents.follow({}, entered(20, SAID | changes))


def test_opened_and_closed():
    """Its id is the digest of what was signed; another use case's is none of ours."""
    assert folded(entered(20, SAID), entered(21, CLOSED)) == (["closed"], [])
    assert folded(entered(20, SAID | {"usecase": "other"})) == ([], [])
    assert opened().id == NAME and opened().scenario == f"incident-{NAME}"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (entered(21, SAID), "a second time"),
        (entered(21, CLOSED | {"incident": "0" * 12}), "no such incident"),
        (entered(21, CLOSED, roles=("automation",)), "a machine closes no incident"),
        (entered(21, CLOSED, name="Eve"), "not signed by whom it names"),
        (entered(21, CLOSED, refused="the key was revoked"), "revoked"),
    ],
)
def test_what_breaks_a_rule_is_named_and_counts_for_nothing(more, says):
    """So that an open incident can't be closed by it."""
    states, [(entry, why)] = folded(entered(20, SAID), more)
    assert (states, entry) == (["open"], 21) and says in why


def test_closed_is_closed():
    assert folded(entered(20, SAID), entered(21, CLOSED), entered(22, CLOSED)) == (
        ["closed"], [(22, "it is closed already")],
    )  # fmt: skip


def test_a_machine_may_open_one():
    """The monitor reports what it took back."""
    assert folded(entered(20, SAID, roles=("automation",))) == (["open"], [])


@pytest.mark.parametrize("field", ["what", "text"])
@pytest.mark.parametrize("value", ["card 4111 1111 1111 1111", "ask anna.berg@example.org", "a\nb"])
def test_what_tells_who_somebody_is_is_refused(field, value):
    """Neither a ledger nor a repository forgets."""
    with pytest.raises(InputError):
        Opened.parse(SAID | {field: value})


@pytest.mark.parametrize(
    "change", [{"expect": {}}, {"severity": "worse"}, {"bundle": "b"}, {"hidden": 1}]
)
def test_a_statement_that_does_not_fit_is_refused(change):
    with pytest.raises(InputError):
        Opened.parse(SAID | change)


def library(*found):
    """The library as it lies in the file, after these incidents."""
    plain = None
    for one in found:
        plain = yaml.safe_load(yaml.safe_dump(incidents.taught(plain, one)))
    return scenarios.parse({"incidents.yaml": yaml.safe_dump(plain).encode()})


@pytest.mark.parametrize("severity", ["harm", "near_miss"])
def test_its_scenario_blocks_whatever_it_was(severity):
    """Text, what must be answered, and where it comes from; no variants that nobody reported."""
    one = opened(severity=severity)
    [case] = scenarios.cases(library(one)).values()
    assert case.facts["severity"] == "blocking"
    assert case.facts["origin"] == {"harm": "incident", "near_miss": "near_miss"}[severity]
    assert case.scenario.text == SAID["text"]
    right, wrong = ({"queue": value, "text": SAID["text"]} for value in ("cards", "fees"))
    assert scenarios.judged(case.checks, right).outcome == "pass"
    assert scenarios.judged(case.checks, wrong).outcome == "fail"
    assert one.id in case.library.hazards[one.scenario].source


def test_the_library_grows_by_one_version_an_incident():
    other = opened(text="my other card is gone")
    [found] = library(opened(), other)
    assert (found.version, len(found.scenarios)) == (2, 2)
    with pytest.raises(InputError, match="already"):
        incidents.taught(incidents.taught(None, other), other)


@pytest.mark.parametrize("change", ["gone", "text", "checks", "severity"])
def test_a_scenario_that_was_taken_out_or_made_easier_is_missed(change):
    """The signed entry says what it was."""
    one = opened()
    assert incidents.untaught([one], library(one)) == []
    plain = incidents.taught(None, one)
    [scenario] = plain["scenarios"]
    easier = {"gone": {"id": "other"}, "text": {"text": "hello"}, "severity": {"severity": "minor"},
              "checks": {"checks": [{"use": "one_of", "arguments":
                                     {"field": "queue", "values": ["cards", "fees"]}}]}}  # fmt: skip
    plain["scenarios"] = [scenario | easier[change]]
    held = scenarios.parse({"incidents.yaml": yaml.safe_dump(plain).encode()})
    assert incidents.untaught([one], held) == [one.id]
    assert incidents.untaught([one], []) == [one.id]


# ---- the figure of the packs' criterion ----------------------------------------------------------


def row(family, verdict):
    return {"family": family, "model": "candidate", "verdict": verdict}


@pytest.mark.parametrize(
    ("rows", "value", "n", "unscored"),
    [
        ([], 0, 0, 0), ([row("a", "pass")], 0, 1, 0),
        ([row("a", "pass"), row("a", "fail"), row("b", "fail"), row("c", "pass")], 2, 3, 0),
        ([row("a", "pass"), row("a", "unscored")], 0, 0, 1),
    ],
)  # fmt: skip
def test_families_failed_is_none_of_none(rows, value, n, unscored):
    """So that a policy can ask for incidents before there is one; unscored is no pass."""
    found = figures.compute("families_failed", rows)
    assert (found.value, found.n, found.unscored) == (value, n, unscored)


# ---- the standing gate ---------------------------------------------------------------------------


def about(entry, **more):
    return {"entry": entry, "what": f"incident x, entry {entry}", "how": "", "own": True,
            "bars": False} | more  # fmt: skip


def later(one, entry, **more):
    said = dict(one.said) | {"nonce": f"nonce {entry}"}
    return replace(one, entry=entry, nonce=said["nonce"], said=said, **more)


def verdict(*found, approvals=(VERA, RITA)):
    return gate("incidents", evidence(*approvals, incidents=list(found))).verdict


PASSED, FAILED, WAITS = GateVerdict.PASSED, GateVerdict.FAILED, GateVerdict.INSUFFICIENT_EVIDENCE


def test_a_release_with_which_something_went_wrong_has_all_approvals_anew():
    """Signatures of before are not enough, nor some; the same people may sign again."""
    assert verdict() == PASSED
    assert verdict(about(20)) == WAITS
    assert verdict(about(6)) == PASSED  # both signed knowing it
    again = later(VERA, 21), later(RITA, 22)
    assert verdict(about(20), approvals=(VERA, RITA, again[0])) == WAITS
    assert verdict(about(20), approvals=(VERA, RITA, *again)) == PASSED
    assert verdict(about(20), about(22), approvals=(VERA, RITA, *again)) == WAITS


def test_a_copy_of_an_old_signature_is_none():
    copied = replace(VERA, entry=21), replace(RITA, entry=22)
    assert verdict(about(20), approvals=(VERA, RITA, *copied)) == WAITS


def test_what_harmed_somebody_is_barred_while_that_is_open():
    """No signature helps."""
    again = VERA, RITA, later(VERA, 21), later(RITA, 22)
    assert verdict(about(20, bars=True, how="close it"), approvals=again) == FAILED


def test_what_was_frozen_since_waits_until_it_is_shown_to_be_settled():
    """And asks for nobody's signature again."""
    found = about(3, own=False, how="workbench incident close x")
    assert verdict(found) == WAITS
    owed = release.owed(evidence(incidents=[found]))
    assert [one.how for one in owed] == ["workbench incident close x"]


def test_who_still_owes_their_signature_is_named():
    owed = release.owed(evidence(incidents=[about(20)]))
    assert [one.who for one in owed] == ["Vera or Viktor", "Rita"]


def test_evidence_reads_back_with_and_without_incidents():
    """What was sealed before there were any is still read."""
    found = evidence(incidents=[about(20)])
    assert release.Evidence.parse(found.as_dict()) == found
    plain = found.as_dict()
    del plain["incidents"]
    assert release.Evidence.parse(plain).incidents == ()

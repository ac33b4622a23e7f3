"""A release is opened whole or not at all, and keeps back what its rules and threshold say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from workbench.errors import InputError, IntegrityError, RunError
from workbench.methods.operate.guards import Release
from workbench.policy import scorers
from workbench.policy.scorers import Verdict
from workbench.record.digest import canonical
from workbench.record.manifest import digest_of

from ...a_gateway import FORM, RULE, bundle, grant

GUARD = {"guards": [{"rule": "no_secrets"}]}
FORMED = {"kind": "generative", "form": FORM}
GOOD = {"queue": "card", "rule": "R1", "reply": "Thank you, a colleague looks at it."}


def reply(answer=None, p=0.9):
    answer = answer or GOOD
    return {"answer": answer, "confidence": {name: p for name in answer if name != "reply"}}


def opened(folder, **more):
    return Release.opened(grant(bundle(folder, **{"usecase": FORMED} | more)))


def test_a_reply_that_keeps_every_rule_leaves(tmp_path):
    """The rules' verdicts go with it."""
    found = opened(tmp_path, rules=[RULE], **GUARD).judge("Where is my card?", reply())
    assert (found.outcome, found.verdicts) == ("answered", {"no_secrets": "pass"})


@pytest.mark.parametrize("then, outcome", [("fallback", "fallback"), ("escalate", "escalated")])
def test_a_reply_that_breaks_a_rule_does_what_its_guard_says(tmp_path, then, outcome):
    """The rule is named as the reason."""
    release = opened(tmp_path, rules=[RULE], guards=[{"rule": "no_secrets", "then": then}])
    found = release.judge("Hello", reply(GOOD | {"reply": "Please tell me your PIN."}))
    assert (found.outcome, found.reason) == (outcome, "guard no_secrets")
    assert found.verdicts == {"no_secrets": "fail"}


def test_a_reply_that_nobody_can_score_breaks_the_rule(tmp_path):
    """Unscored is never a pass, and neither is a scorer that fails in its work."""
    release = opened(tmp_path, rules=[RULE], **GUARD)
    found = release.judge("Hello", reply(GOOD | {"reply": " "}))
    assert (found.outcome, found.verdicts) == ("fallback", {"no_secrets": "unscored"})
    broken = replace(release, guards=[(guard, lambda row: 1 / 0) for guard, _ in release.guards])
    assert broken.judge("Hello", reply()).verdicts == {"no_secrets": "unscored"}


def test_keeping_back_goes_before_escalating(tmp_path):
    """Of two broken rules the stricter decides, in whatever order they are named."""
    rules = [RULE | {"id": "one"}, RULE | {"id": "two"}]
    guards = [{"rule": "one", "then": "escalate"}, {"rule": "two", "then": "fallback"}]
    found = opened(tmp_path, rules=rules, guards=guards).judge(
        "Hello", reply(GOOD | {"reply": "Tell me your PIN."})
    )
    assert (found.outcome, found.reason) == ("fallback", "guard two")


def test_scorers_see_the_row_that_the_validation_saw(tmp_path, monkeypatch):
    """The field `rule` is `reason` there, as `rule` is the rule under test."""
    seen = []
    monkeypatch.setitem(scorers.SCORERS, "sees", lambda row: seen.append(row) or _told(row))
    rule = RULE | {"id": "sees", "scorer": "sees", "arguments": {},
                   "probes": {"must_pass": [{"reply": "a"}], "must_fail": [{"reply": "b"}]}}  # fmt: skip
    opened(tmp_path, rules=[rule], guards=[{"rule": "sees"}]).judge("Hello", reply())
    row = seen[-1]
    assert (row["rule"], row["reason"], row["queue"], row["text"]) == (
        "sees", "R1", "card", "Hello")  # fmt: skip


def _told(row):
    return Verdict("fail" if row["reply"] == "b" else "pass", "")


def test_a_guard_whose_scorer_is_unsound_serves_nothing(tmp_path, monkeypatch):
    """One that always passes proves nothing, so the release is not opened."""
    monkeypatch.setitem(scorers.SCORERS, "phrases", lambda row, **_: Verdict("pass", "always"))
    with pytest.raises(IntegrityError, match="probes"):
        opened(tmp_path, rules=[RULE], **GUARD)


def test_a_guard_of_no_rule_serves_nothing(tmp_path):
    """Guards are rules of the criteria that people approved."""
    with pytest.raises(IntegrityError, match="not in the criteria"):
        opened(tmp_path, **GUARD)


@pytest.mark.parametrize("p, outcome", [(0.69, "fallback"), (0.7, "answered")])
def test_the_model_is_silent_below_its_threshold(tmp_path, p, outcome):
    """By calibrated confidence; the threshold itself is answered, as when it was chosen."""
    settings = {"temperatures": {"reason": 2.0}, "thresholds": {"queue": 0.0, "reason": 0.7}}
    found = opened(tmp_path, settings=settings).judge("Hello", reply(p=p))
    assert (found.outcome, found.abstained) == (outcome, outcome == "fallback")


def test_without_a_threshold_that_met_the_target_nothing_is_answered(tmp_path):
    """It was calibrated, and no threshold bore the risk: as `abstention` judged it."""
    release = opened(tmp_path, settings={"temperatures": {"queue": 1.0}, "thresholds": {}})
    assert release.judge("Hello", reply(p=1.0)).abstained


def test_a_release_that_never_abstains_has_no_threshold(tmp_path):
    """`abstain: false` in what people approved."""
    settings = {"temperatures": {"queue": 1.0}, "thresholds": {"queue": 0.99}}
    release = opened(tmp_path, settings=settings, abstain=False)
    assert release.judge("Hello", reply(p=0.1)).outcome == "answered"


@pytest.mark.parametrize(
    "answer", [{"queue": "card"}, GOOD | {"queue": "other"}, GOOD | {"more": "x"},
               GOOD | {"reply": None}],
    ids=["a field is missing", "no such value", "a field too many", "no text"],
)  # fmt: skip
def test_a_reply_in_another_form_is_none(tmp_path, answer):
    """Not what the form allows: whatever the worker says."""
    with pytest.raises(RunError, match="form"):
        opened(tmp_path).closed(reply(answer))


@pytest.mark.parametrize("p", [float("nan"), float("inf")])
def test_a_confidence_that_is_no_number_is_none(tmp_path, p):
    """Or no threshold would keep it back."""
    with pytest.raises(RunError, match="form"):
        opened(tmp_path).closed(reply(p=p))


def test_only_closed_fields_are_for_the_log(tmp_path):
    """What the model wrote freely may repeat what a person wrote."""
    assert opened(tmp_path).closed(reply()) == {"queue": "card", "rule": "R1"}


def test_a_changed_bundle_is_not_opened(tmp_path):
    """One byte of the weights, or a manifest that fits the change, is another bundle."""
    given = grant(bundle(tmp_path, usecase=FORMED))
    weights = tmp_path / "adapter/weights.json"
    weights.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="not as it was frozen"):
        Release.opened(given)
    held = json.loads((tmp_path / "manifest.json").read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(held | {"number": 2}))
    assert digest_of(tmp_path) != given.bundle
    with pytest.raises(IntegrityError, match="another one than was granted"):
        Release.opened(given)


def test_a_bundle_that_does_not_say_how_it_is_served_is_not(tmp_path):
    """Nothing is served under settings that nobody approved."""
    folder = bundle(tmp_path, usecase=FORMED)
    (folder / "operations.json").unlink()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"] = [one for one in manifest["files"] if one["path"] != "operations.json"]
    (folder / "manifest.json").write_bytes(canonical(manifest))
    with pytest.raises(InputError, match="does not say how it is served"):
        Release.opened(grant(folder))

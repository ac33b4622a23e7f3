"""A claim is as good as its worst evidence, by records and by the clock (N6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.errors import InputError
from workbench.policy.assurance import Piece, claims, worst
from workbench.policy.regimes import OURS, REGIMES
from workbench.policy.usecase import UseCase

NOW = "2026-06-01T12:00:00Z"
LAYERS = ("functional", "scenarios", "reproducibility", "memorisation", "calibration")
SOURCES = sorted({s for r in REGIMES.values() for c in r.controls for s in c.evidence})
WHOLE = [Piece(source, True, "shown", "50_candidate/x", "ab" * 32) for source in SOURCES]


@pytest.fixture
def ours(usecase):
    """The colours of our own claims by id, over these pieces and at this time."""

    def made(pieces=WHOLE, now=NOW, layers=LAYERS, **changes):
        found = claims(UseCase.parse(usecase | changes), layers, pieces, now)
        return {one.id: one for one in found if one.regime == OURS}

    return made


def but(source: str, **changes) -> list[Piece]:
    """The whole evidence with one piece changed."""
    return [replace(one, **changes) if one.source == source else one for one in WHOLE]


def test_with_all_evidence_our_own_claims_are_green(ours):
    """Nobody else's text stands behind them, so there is no reading to compare."""
    assert {one.colour for one in ours().values()} == {"green"}


def test_evidence_that_is_missing_is_red_in_each_claim_that_needs_it(ours):
    """Whichever it is; the line names it."""
    for source in {s for c in REGIMES[OURS].controls for s in c.evidence}:
        found = ours([one for one in WHOLE if one.source != source])
        red = {name for name, one in found.items() if one.colour == "red"}
        needs = {c.id for c in REGIMES[OURS].controls if source in c.evidence}
        assert red == needs
        lines = [line for name in red for line in found[name].lines if line.colour == "red"]
        assert {line.source for line in lines} == {source}


def test_a_gate_that_failed_is_red_and_amber_once_a_person_accepted_the_risk(ours):
    """Never green: who reads the case sees that something failed."""
    failed = but("layer:functional", holds=False)
    assert ours(failed)["layers-looked-at"].colour == "red"
    accepted = but("layer:functional", holds=False, accepted=True)
    assert ours(accepted)["layers-looked-at"].colour == "amber"


@pytest.mark.parametrize(
    ("expires", "colour"),
    [
        ("2026-06-15T12:00:01Z", "green"),
        ("2026-06-15T12:00:00Z", "amber"),
        ("2026-06-01T12:00:01Z", "amber"),
        ("2026-06-01T12:00:00Z", "red"),
        ("2026-05-01T00:00:00Z", "red"),
    ],
)
def test_the_clock_alone_turns_evidence_amber_and_then_red(ours, expires, colour):
    """Fourteen days before it expires, and from that moment on."""
    assert ours(but("gate:approvals", expires=expires))["people-answer"].colour == colour


def test_an_acceptance_does_not_outlive_the_evidence(ours):
    """What was accepted and has expired is red."""
    old = but("layer:functional", holds=False, accepted=True, expires="2026-05-01T00:00:00Z")
    assert ours(old)["layers-looked-at"].colour == "red"


def test_evidence_from_after_the_clock_does_not_count(ours):
    """Asked of an earlier day, what came later was not there."""
    late = but("stage:10_intake", since="2026-06-02T00:00:00Z")
    assert ours(late)["criteria-first"].colour == "red"
    assert ours(late, now="2026-06-03T00:00:00Z")["criteria-first"].colour == "green"


def test_one_bad_piece_is_not_outvoted(ours):
    """Of several verdicts of a layer the worst counts."""
    pieces = [*WHOLE, Piece("layer:functional", False, "recall_card failed")]
    found = ours(pieces)["layers-looked-at"]
    assert found.colour == "red"
    assert "recall_card failed" in [line.why for line in found.lines]


def test_a_layer_that_the_tier_does_not_ask_for_is_not_called_missing(usecase):
    """It is amber: the claim stands on less than it names."""
    case = UseCase.parse(usecase | {"regimes": ["nist_ai_rmf"]})
    pieces = [one for one in WHOLE if one.source != "layer:memorisation"]
    found = {c.id: c.colour for c in claims(case, ["functional"], pieces, NOW)}
    assert found["MEASURE-2.7"] == "amber"
    found = {c.id: c.colour for c in claims(case, LAYERS, pieces, NOW)}
    assert found["MEASURE-2.7"] == "red"


def test_a_reading_that_nobody_compared_with_the_clause_is_amber_at_best(usecase):
    """Whatever the evidence: the claim says what we take the text to say."""
    case = UseCase.parse(usecase | {"regimes": ["eu_ai_act"]})
    found = [one for one in claims(case, LAYERS, WHOLE, NOW) if one.regime == "eu_ai_act"]
    assert found and {one.colour for one in found} == {"amber"}
    assert all(line.colour == "green" for one in found for line in one.lines)


def test_a_regime_claims_nothing_of_what_it_does_not_speak_of(usecase):
    """SR 26-2 leaves generative AI out: for such a use case there is no claim, not a green one."""
    form = {"system": "Route it.", "fields": [{"name": "queue", "values": ["a", "b"]}]}
    plain = UseCase.parse(usecase | {"regimes": ["sr_26_2"]})
    made = UseCase.parse(usecase | {"regimes": ["sr_26_2"], "kind": "generative", "form": form})
    assert "sr_26_2" in {one.regime for one in claims(plain, LAYERS, WHOLE, NOW)}
    assert "sr_26_2" not in {one.regime for one in claims(made, LAYERS, WHOLE, NOW)}


def test_only_the_regimes_asked_for_and_ours_are_shown(usecase):
    """`regimes` overrides those of the use case; one that is not there is refused."""
    case = UseCase.parse(usecase | {"regimes": ["eu_ai_act"]})
    found = {one.regime for one in claims(case, LAYERS, WHOLE, NOW, ["nist_ai_rmf"])}
    assert found == {OURS, "nist_ai_rmf"}
    with pytest.raises(InputError, match="no such regime"):
        claims(case, LAYERS, WHOLE, NOW, ["eu_ai"])


def test_a_case_without_a_claim_is_red():
    """Nothing shown is nothing shown."""
    assert worst([]) == "red"
    assert worst(["green", "amber"]) == "amber" and worst(["amber", "red", "green"]) == "red"


def test_a_claim_is_plain_values(ours):
    """For machines: ids, colours, digests, expiry."""
    plain = ours()["people-answer"].as_dict()
    assert plain["lines"][0]["digest"] == "ab" * 32 and plain["colour"] == "green"

"""An assurance case stands on sealed records, the ledger and the clock, and falls with them (N6)."""

from __future__ import annotations

import shutil
from datetime import timedelta

from workbench.execution import assurance, bundle
from workbench.execution.project import Project
from workbench.policy.assurance import worst
from workbench.policy.regimes import OURS
from workbench.record import clock


def claims(lab, *regimes: str, now: str | None = None):
    """The claims about the newest candidate, by regime and id."""
    project, store = Project.load(lab.usecase), lab.store("governed")
    found = assurance.case(project, store, bundle.find(store), regimes or None, now)
    return {(one.regime, one.id): one for one in found}


def red(found) -> set[str]:
    return {id for (_, id), one in found.items() if one.colour == "red"}


def why(found, id: str, source: str) -> str:
    claim = next(one for (_, name), one in found.items() if name == id)
    return next(line.why for line in claim.lines if line.source == source)


def unlocked(path):
    """A sealed folder, writable again."""
    for one in [path, *path.rglob("*")]:
        one.chmod(0o755)
    return path


def test_a_registered_release_holds_and_each_claim_names_its_evidence(released):
    """Exit 0; ours are green, a reading that nobody checked is amber; digests and entries stand there."""
    told = released.cli("assurance", "--regime", "nist_ai_rmf", "--json")
    assert told.code == 0, told.err
    assert told.json["colour"] == "amber"
    colours = {}
    for claim in told.json["claims"]:
        colours.setdefault(claim["regime"], set()).add(claim["colour"])
    assert colours == {OURS: {"green"}, "nist_ai_rmf": {"amber"}}
    lines = [line for claim in told.json["claims"] for line in claim["lines"]]
    assert all(line["where"] for line in lines if not line["source"].startswith("gate:"))
    held = {record.digest for record in released.store("governed").records()}
    layers = [line for line in lines if line["source"].startswith(("layer:", "stage:"))]
    assert layers and {line["digest"] for line in layers} <= held


def test_the_clock_alone_turns_it_amber_and_then_red(released):
    """Nobody touches anything: 14 days before the evidence expires it is amber, then it is red."""
    assert worst(one.colour for one in claims(released).values()) == "green"
    days = claims(released)[OURS, "evidence-fresh"]
    until = clock.parse(days.lines[0].expires)
    soon = claims(released, now=clock.text(until - timedelta(days=13)))
    assert soon[OURS, "evidence-fresh"].colour == soon[OURS, "people-answer"].colour == "amber"
    assert red(soon) == set()
    after = claims(released, now=clock.text(until))
    assert {"evidence-fresh", "people-answer", "layers-looked-at"} <= red(after)


def test_a_revoked_approval_turns_it_red(released):
    """The release stays registered; the case shows that it stands no more, and exits 3."""
    entries = released.store("governed").ledger.entries("approval")
    vera = next(e for e in entries if e.body["envelope"]["statement"]["kind"] == "release"
                and e.body["envelope"]["statement"]["by"] == "Vera Validator")  # fmt: skip
    told = released.cli("release", "revoke", vera.index, "--reason", "I misread it.",
                        "--by", "Vera Validator", "--sign-with", released.keys / "Vera")  # fmt: skip
    assert told.code == 0, told.err
    told = released.cli("assurance")
    assert told.code == 3 and "people-answer" in told.err
    assert "red    gate:approvals" in told.out


def test_without_signatures_it_is_red(releasable):
    """A candidate is not a release."""
    assert red(claims(releasable)) == {"people-answer"}


def test_a_record_that_was_removed_or_changed_is_no_evidence(releasable):
    """Its stage, its gates and its layer fall with it."""
    record = releasable.record("40_functional", "governed")
    path = unlocked(record.path) / "outputs/verdicts.json"
    path.write_bytes(path.read_bytes().replace(b"passed", b"Passed"))
    changed = claims(releasable)
    assert "layers-looked-at" in red(changed)
    assert why(changed, "layers-looked-at", "layer:functional") == "missing"
    shutil.rmtree(record.path)
    removed = claims(releasable, "sr_26_2")
    assert {"layers-looked-at", "validation"} <= red(removed)


def test_a_file_of_the_bundle_that_was_changed_is_no_evidence(releasable):
    """Named with what is wrong with it."""
    record = releasable.record("50_candidate", "governed")
    card = unlocked(record.path) / "outputs/bundle/MODEL_CARD.md"
    card.write_text(card.read_text() + "\nIt is perfect.\n")
    found = claims(releasable, "nist_ai_rmf")
    assert "MEASURE-2.5" in red(found)
    assert why(found, "MEASURE-2.5", "bundle:MODEL_CARD.md") == "changed"


def test_an_entry_that_nobody_signed_is_no_evidence(releasable):
    """Whoever can write into the ledger can't put words into a person's mouth."""
    store = releasable.store("governed")
    good = store.ledger.entries("classification")[-1].body["envelope"]
    forged = good | {"statement": good["statement"] | {"by": "Somebody Else"}}
    store.ledger.append("classification", {"envelope": forged})
    found = claims(releasable)
    assert "data-known" in red(found)
    assert "signature" in why(found, "data-known", "ledger:classification")


def test_what_is_asked_for_wrongly_is_refused(releasable):
    """A regime that there is not, a time that is none, another use case's candidate: exit 1."""
    told = releasable.cli("assurance", "--regime", "eu_ai")
    assert told.code == 1 and "no such regime" in told.err
    assert releasable.cli("assurance", "--at", "yesterday").code == 1
    releasable.configure(id="another")
    told = releasable.cli("assurance")
    assert told.code == 1 and "no such candidate" in told.err


def test_what_is_not_claimed_is_told(releasable):
    """Parts that nothing answers, and a regime that does not speak of such a use case."""
    told = releasable.cli("assurance", "--regime", "eu_ai_act", "--regime", "eu_gmp_annex_22")
    assert "not claimed: Art. 72 and 73" in told.out
    assert "not covered: " in told.out and "(unverified reading)" in told.out
    after = told.out.split("EU GMP Annex 22")[1]
    assert "Claims nothing here." in after and "(unverified reading)" not in after

"""The technical file: answered by what stands in a record, or written as unanswered."""

from __future__ import annotations

import json
from dataclasses import replace

from workbench.policy.cards import annex_iv
from workbench.policy.cards.facts import Source


def point(facts, clause: str) -> dict:
    return next(one for one in annex_iv.build(facts)["points"] if one["clause"] == clause)


def told(facts, clause: str) -> list[str]:
    return [one["text"] for one in point(facts, clause)["answers"]]


def test_all_points_of_annex_iv_are_there(facts):
    """1(a)-(h), 2(a)-(h), 3 in its four parts, 4 to 9."""
    clauses = [one["clause"] for one in annex_iv.build(facts)["points"]]
    letters = [f"{number}({letter})" for number in (1, 2) for letter in "abcdefgh"]
    assert clauses == [*letters, *["3"] * 4, *"456789"]


def test_each_answer_names_record_path_and_digest(facts):
    """What a reader can't look up is no answer."""
    answers = [one for point in annex_iv.build(facts)["points"] for one in point["answers"]]
    assert len(answers) > 20
    for one in answers:
        place = Source(one["record"], one["ref"], one["path"], one["sha256"])
        assert place in facts.sources.values() and one["text"].strip()


def test_without_a_source_nothing_is_answered(facts):
    """A fact that no record holds is not told, whoever passes it in; each point says who is asked."""
    points = annex_iv.build(replace(facts, sources={}))["points"]
    assert {one["state"] for one in points} == {"unanswered"}
    assert all(one["open"] and one["who"] and not one["answers"] for one in points)


def test_an_absent_fact_leaves_its_point_open(facts):
    """The record is there, and says nothing of it."""
    assert point(facts, "2(f)")["state"] == "unanswered"  # no change envelope
    assert point(facts, "8")["state"] == "unanswered"  # nobody ever put it into a record
    assert point(facts, "1(a)")["state"] == "answered in part"
    assert point(facts, "2(a)")["state"] == "answered"
    silent = replace(facts, base={"licence": "MIT"}, adaptation={})
    assert point(silent, "2(a)")["state"] == "unanswered"


def test_the_answers_are_the_facts(facts, gate):
    """Another fact, another answer; gates of a stage stand under that stage's verdicts only."""
    usecase = facts.usecase.model_copy(update={"decision": "Whom to call back."})
    assert "Whom to call back." in told(replace(facts, usecase=usecase), "1(a)")
    (tested,) = [text for text in told(facts, "2(g)") if "queue_accuracy" in text]
    assert "passed; right answers: 87.5 in 100 (82.6 to 91.3); n 200" in tested
    elsewhere = replace(facts, verdicts=[gate(stage="41_policy")])
    assert not any("queue_accuracy" in text for text in told(elsewhere, "2(g)"))


def test_a_risk_that_was_accepted_is_part_of_the_risk_management(facts, gate, accepted):
    """With who, until when and what is done about it."""
    taken = replace(facts, verdicts=[gate("late", "failed", accepted=accepted)])
    assert any("by: Ruth Adeyemi" in text and "2027-02-01" in text for text in told(taken, "5"))
    assert not any("Ruth" in text for text in told(facts, "5"))


def test_the_file_is_plain_json_and_claims_no_check_by_a_person(facts):
    """The paraphrase stays unverified until somebody has read it beside the text."""
    file = annex_iv.build(facts)
    assert json.loads(json.dumps(file)) == file
    assert file["verified"] is False
    assert sum(file["tally"].values()) == len(file["points"])


def test_the_file_reads_as_markdown(facts, hostile):
    """Each answer with its digest, each open point with whom it waits for; no text is markup."""
    usecase = facts.usecase.model_copy(update={"decision": hostile})
    text = annex_iv.render(annex_iv.build(replace(facts, usecase=usecase)))
    assert "Open: The declaration, where the use is high-risk (use-case owner)." in text
    assert f"sha256 `{facts.sources['usecase'].sha256}`" in text
    assert "<script" not in text and "&lt;script" in text

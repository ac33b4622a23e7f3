"""The policy stage over replies made by hand; no model is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workbench.errors import InputError
from workbench.methods.evaluate import behaviour
from workbench.policy import scorers

PACK = Path(__file__).parents[2] / "templates/usecases/card-support"
RULE = {
    "id": "to_person", "text": "A person takes over.", "scorer": "escalation",
    "cases": "cases/to_person.yaml", "where": {"model": "candidate"}, "at_least": 0.5,
    "bound": "value", "min_n": 1, "blocking": True, "harm": "h", "why": "w",
    "probes": {"must_pass": [{"person": "yes"}], "must_fail": [{"person": "no"}]},
}  # fmt: skip
EVERY = {**RULE, "id": "every_case", "cases": None}


def replies(person: dict[str, list[str | None]], rule: str = "to_person") -> pd.DataFrame:
    """One row a case and model, with what the model said about a person."""
    rows = [
        {"case_id": f"{rule}-{i}", "model": model, "rule": rule, "text": "I am Ada", "tags": [],
         "queue": "card", "person": said, "reason": "R1", "reply": "Hello."}
        for model, answers in person.items()
        for i, said in enumerate(answers)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=behaviour.COLUMNS)


TWO = replies({"base": ["no", "no"], "candidate": ["yes", "no"]})


@pytest.fixture
def stage(staged, tmp_path):
    def prepare(*rules, files: dict[str, object] | None = None, **facts):
        cases = tmp_path / "cases"
        cases.mkdir(exist_ok=True)
        for name, content in (files or {}).items():
            text = content if isinstance(content, bytes) else yaml.safe_dump(content).encode()
            (cases / name).write_bytes(text)
        policy = {"version": 1, "rules": list(rules)}
        return staged("41_policy", {"criteria": policy, "cases": cases}, **facts)

    return prepare


LIBRARY = {
    "rule": "to_person",
    "cases": [{"id": 1, "text": "Ada"}, {"id": "b", "text": "x", "tags": ["t"]}],
}


def test_cases_are_read_in_the_order_of_their_files(stage):
    """Ids as text, tags as a list, the rule from the file's head."""
    files = {"b.yaml": {**LIBRARY, "rule": "b"}, "a.yaml": LIBRARY}
    found = behaviour.load_cases(stage(files=files))
    assert found["case_id"].tolist() == ["1", "b", "1", "b"]
    assert found["rule"].tolist() == ["to_person"] * 2 + ["b"] * 2
    assert found["tags"].tolist() == [[], ["t"]] * 2
    assert len(behaviour.load_cases(stage(files=files), limit=1)) == 2


@pytest.mark.parametrize(
    "content",
    [b"rule: [", b"caf\xe9: 1", [], {"rule": "r"}, {"cases": []}, {"rule": "r", "cases": [{"id": 1}]},
     {"rule": "r", "cases": None}, {"rule": "r", "cases": ["text"]},
     {"rule": "r", "cases": [{"id": 1, "text": None}]}, {"rule": "r", "cases": [{"id": 1, "text": " "}]}],
)  # fmt: skip
def test_a_broken_scenario_file_is_refused_by_name(stage, content):
    """A case that is lost on the way would be a rule that looks kept."""
    with pytest.raises(InputError) as caught:
        behaviour.load_cases(stage(files={"broken.yaml": content}))
    assert "broken.yaml" in str(caught.value)


def test_no_cases_are_not_no_failures(stage):
    """An empty folder stops the stage."""
    with pytest.raises(InputError, match="no policy cases"):
        behaviour.load_cases(stage())


def test_the_packs_own_cases_can_be_read(staged):
    """Every rule of the pack with cases of its own has at least 59, ids told apart."""
    inputs = {"cases": PACK / "cases", "criteria": PACK / "policy.yaml"}
    policy = yaml.safe_load((PACK / "policy.yaml").read_text(encoding="utf-8"))
    stage = staged("41_policy", {**inputs, "criteria": policy})
    found = behaviour.load_cases(stage)
    assert found["case_id"].is_unique
    own = [rule.id for rule in behaviour.rules(stage) if rule.cases]
    assert (found.groupby("rule").size().loc[own] >= 59).all()


def test_a_rule_is_judged_on_its_own_cases_or_on_all(stage):
    """A rule with a scenario file is not watered down by the cases of others."""
    both = pd.concat([TWO, replies({"candidate": ["yes"] * 8}, rule="other")])
    own, every = behaviour.rules(stage(RULE, EVERY))
    assert [row["verdict"] for row in behaviour.judged(own, both, "candidate")] == ["pass", "fail"]
    assert len(behaviour.judged(every, both, "candidate")) == 10


def test_kept_shares_are_recorded_for_both_models(stage):
    """With interval and n; what could not be scored is left out of n and counted apart."""
    one = stage(RULE)
    found = behaviour.kept(one, replies({"base": ["no"], "candidate": ["yes", "no", None]}))
    line = found.iloc[0]
    assert (line["name"], line["candidate_value"], line["base_value"]) == ("to_person", 0.5, 0)
    written = json.loads((one.outputs / "figures.json").read_text())
    assert written["to_person_candidate"]["n"] == 2
    assert written["to_person_candidate"]["unscored"] == 1


def test_failures_show_the_case_and_the_reason(stage):
    """The candidate's only, three a rule at most; unscored cases are among them."""
    many = replies({"base": ["no"], "candidate": ["yes", None, "no", "no", "no"]})
    shown = behaviour.failures(stage(RULE), many)
    assert shown.index.tolist() == [("to_person", f"to_person-{i}") for i in (1, 2, 3)]
    assert (shown["why"] != "").all() and shown["message"].iloc[0] == "I am Ada"
    assert behaviour.failures(stage(RULE), replies({"candidate": ["yes"]})).empty


def test_failures_mask_rows_of_persons(stage):
    """Where the cases are a person's own words, the notebook shows only how long they are."""
    shown = behaviour.failures(stage(RULE, masked=True), TWO)
    assert shown["message"].tolist() == ["… (3 words)"]


def test_a_scorer_that_fails_its_probes_is_shown_as_unsound(stage):
    """Before any reply is judged, the reader sees which gates can't be evaluated."""
    blind = {**RULE, "id": "blind", "probes": {**RULE["probes"], "must_fail": [{"person": "yes"}]}}
    shown = behaviour.scorers_table(stage(RULE, blind))["sound"]
    assert shown["to_person"] == "✓ yes" and shown["blind"].startswith("✗ no")
    assert behaviour.scorers_table(stage()).empty


def test_blind_scorers_make_every_gate_not_evaluated(stage):
    """The negative control, which leaves the real scorers as they were."""
    before = dict(scorers.SCORERS)
    shown = behaviour.blind_scorers(stage(RULE, EVERY), TWO)
    assert set(shown.iloc[:, 0]) == {"not_evaluated"} and len(shown) == 2
    assert scorers.SCORERS == before


def test_known_replies_of_the_base_are_taken_over(stage, staged, monkeypatch, tmp_path):
    """Only when every case is among them; the candidate always answers anew."""
    asked = []

    def answers(stage, items, models, **options):
        asked.extend(models)
        said = {"queue": "card", "person": "yes", "reason": "R1", "reply": "Hello."}
        more = {"p_person_yes": 0.75, "p_person_no": 0.25, "tokens": 9, "tokens_out": 2}
        each = [items.assign(model=model, seconds=0.1, **said, **more) for model in models]
        return pd.concat(each, ignore_index=True)

    monkeypatch.setattr(behaviour, "answers_of", answers)
    stage(files={"a.yaml": LIBRARY})
    policy = {"version": 1, "rules": [{**RULE, "cases": "cases/a.yaml"}]}
    inputs = {"cases": tmp_path / "cases", "criteria": policy}
    options = {"limit": 0, "reply_tokens": 4, "batch_size": 2, "threads": 1}
    known = behaviour.answer(staged("41_policy", inputs), **options)
    assert asked == ["base", "candidate"]
    assert list(known) == [*behaviour.COLUMNS, *behaviour.MORE, "verdict", "because"]
    assert set(known["verdict"]) == {"pass"} and known["scores"][0] == [0.75, 0.25]
    base = known[known["model"] == "base"]
    behaviour.answer(staged("41_policy", {**inputs, "base_replies": base}), **options)
    assert asked[2:] == ["candidate"]
    behaviour.answer(staged("41_policy", {**inputs, "base_replies": base.head(1)}), **options)
    assert asked[3:] == ["base", "candidate"]


def test_what_the_gates_read_is_the_whole_table(stage):
    """And the base's share of it apart, to be taken over by a later run."""
    one = stage(RULE)
    behaviour.write(one, TWO)
    assert len(pd.read_parquet(one.outputs / "replies.parquet")) == 4
    assert set(pd.read_parquet(one.outputs / behaviour.BASE_TABLE)["model"]) == {"base"}
    assert behaviour.counts(TWO).loc["to_person"].to_dict() == {"base": 2, "candidate": 2}

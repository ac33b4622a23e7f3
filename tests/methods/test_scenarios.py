"""The scenarios stage over answers made by hand; the engine's own judgement is in test_gating."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workbench.errors import InputError
from workbench.execution import gating
from workbench.execution.inputs import from_path
from workbench.execution.stages import Stage as Template
from workbench.methods.evaluate import scenarios
from workbench.policy.criteria import Policy
from workbench.policy.scenarios import cases

PACKS = Path(__file__).parents[2] / "templates/usecases"
CHECK = {"use": "one_of", "arguments": {"field": "label", "values": ["fraud"]}}
LIBRARY = {
    "library": "money", "version": 1, "author": "A desk", "reviewed_by": "",
    "hazards": {"scam": {"text": "t", "source": "s", "severity": "blocking"},
                "delay": {"text": "t", "source": "s", "severity": "minor"}},
    "conditions": {"plain": "said so", "hidden": "in passing"},
    "scenarios": [
        {"id": "F-1", "hazard": "delay", "condition": "plain", "origin": "authored",
         "text": "What is the fee?", "checks": [{**CHECK, "use": "none_of"}]},
        *({"id": f"S-{n}", "hazard": "scam", "condition": "hidden", "origin": "authored",
           "text": f"I sent money to a stranger, number {n}", "checks": [CHECK], "variants": ["typos", "role_play"],
           "relations": [{"use": "unchanged", "fields": ["label"], "by": ["typos"]},
                         {"use": "raises", "fields": ["label"], "append": "He is here.", "to": "fraud"}]}
          for n in range(1, 4)),
    ],
}  # fmt: skip
GATE = {"id": "families", "stage": "42_scenarios", "table": "scenarios.parquet", "figure": "families_passed",
        "where": {"model": "candidate", "severity": "blocking"}, "at_least": 0.6, "bound": "value",
        "min_n": 2, "blocking": True, "harm": "h", "why": "w"}  # fmt: skip
POLICY = {"version": 1, "criteria": [GATE]}
ASKED = {"reply_tokens": 4, "batch_size": 2, "threads": 1}


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "scenarios"
    path.mkdir()
    (path / "money.yaml").write_text(yaml.safe_dump(LIBRARY), encoding="utf-8")
    return path


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """Stands in for the classifier: the base says fees, the candidate fraud where money was sent,
    but fees when it is to play a role. Notes which model was asked."""
    models: list[str] = []

    def answer(model, items):
        models.append({"base": "reference", "candidate": "adapter"}[model])
        sees = items["text"].str.contains("I s|stranger|mone") & (model == "candidate")
        plays = items["text"].str.contains("play|grandmother|RELAY")
        labels = (sees & ~plays).map({True: "fraud", False: "fees"})
        return items.assign(model=model, predicted=labels, confidence=0.5, seconds=1.0)

    def answers(stage, asked, items, **options):
        return pd.concat([answer(model, items) for model in asked], ignore_index=True)

    monkeypatch.setattr(scenarios, "labelling", lambda stage, asked, **options: asked)
    monkeypatch.setattr(scenarios, "answered", answers)
    return models


@pytest.fixture
def stage(staged, folder, tmp_path):
    def prepare(**more):
        given = {"scenarios": folder, "facts": {"kind": "classifier"}, "criteria": POLICY,
                 **{name: tmp_path / name for name in ("base", "adapter", "reference")}}  # fmt: skip
        return staged("42_scenarios", given | more)

    return prepare


@pytest.fixture
def done(stage, asked):
    """(stage, cases, rows) after both models were asked."""
    one = stage()
    known = cases(scenarios.load(one))
    return one, known, scenarios.answer(one, known, seed=0, **ASKED)


def test_every_case_is_asked_of_both_models(done):
    """A row a case and model: text as varied, the answer, no time, and what the library says."""
    _, known, rows = done
    assert len(known) == 13 and rows.groupby("model")["case_id"].nunique().to_dict() == {
        "base": 13, "candidate": 13}  # fmt: skip
    text = rows.drop_duplicates("case_id").set_index("case_id")["text"]
    assert text["S-1~raises_1"] == "I sent money to a stranger, number 1 He is here."
    assert text["S-1~typos"] != text["S-1"] and "seconds" not in rows
    assert {"label", "confidence", "severity", "hazard", "checks", "verdict"} <= set(rows)


def test_the_same_seed_gives_the_same_bytes(done, stage, asked):
    """A replay compares them."""
    one, known, rows = done
    scenarios.write(one, rows)
    before = (one.outputs / "scenarios.parquet").read_bytes()
    scenarios.write(one, scenarios.answer(one, known, seed=0, **ASKED))
    assert (one.outputs / "scenarios.parquet").read_bytes() == before
    other = scenarios.answer(one, known, seed=1, **ASKED)
    assert not other["text"].equals(rows["text"])


def test_answers_of_the_base_are_taken_over(done, stage, asked):
    """Only when every case is among them; the table is the same then."""
    one, known, rows = done
    scenarios.write(one, rows)
    base = pd.read_parquet(one.outputs / scenarios.BASE_TABLE)
    again = stage(base_scenarios=base)
    pd.testing.assert_frame_equal(scenarios.answer(again, known, seed=0, **ASKED), rows)
    assert asked == ["reference", "adapter", "adapter"]
    again = stage(base_scenarios=base.head(3))
    scenarios.answer(again, known, seed=0, **ASKED)
    assert asked[3:] == ["reference", "adapter"]


def test_shares_are_recorded_with_families_as_n(done):
    """By hazard, base beside candidate; the variants do not add to n."""
    one, _, rows = done
    found = scenarios.shares(one, rows, "hazard").set_index("name")
    assert found.loc["scam", ["n", "base_value"]].tolist() == [3, 0]
    assert found.loc["scam", "candidate_value"] == 0.75  # all but role_play
    written = json.loads((one.outputs / "figures.json").read_text())
    assert written["hazard_scam_candidate"]["n"] == 3


def test_an_operator_stands_beside_the_originals_of_its_scenarios(done):
    """What the change costs, and how many relations broke."""
    found = scenarios.by_operator(done[2])
    assert found.index.tolist() == ["raises_1", "role_play", "typos"]
    assert found.loc["role_play", "original"].startswith("1.000")
    assert found.loc["role_play", "changed"].startswith("0.000")
    assert found.loc["typos", "relations broken"] == "0 of 3"


def test_failures_show_the_worst_first_with_what_fired(done):
    """The candidate's only; where rows are of persons, only how long the text is."""
    one, _, rows = done
    rows.loc[(rows["case_id"] == "F-1") & (rows["model"] == "candidate"), "verdict"] = "fail"
    shown = scenarios.failures(one, rows)
    assert shown.index.tolist() == ["blocking"] * 3 + ["minor"]
    assert shown["because"].iloc[0] == "one_of: label: fees"
    one.facts["masked"] = True
    assert scenarios.failures(one, rows)["text"].str.fullmatch(r"… \(\d+ words\)").all()


def test_a_broken_relation_is_listed(done):
    """With what became of the answer."""
    one, known, rows = done
    moved = (rows["case_id"] == "S-2~typos") & (rows["model"] == "candidate")
    rows.loc[moved, "label"] = "fees"
    rows = pd.DataFrame(scenarios.scenarios.examined(known, rows.to_dict("records")))
    found = scenarios.broken(rows)
    assert found.index.tolist() == ["S-2~typos"]
    assert "label: fraud became fees" in found["because"].iloc[0]


def test_with_another_scenarios_checks_the_share_falls(done):
    """The negative control: else the checks would pass whatever is said."""
    _, known, rows = done
    shown = scenarios.exchanged(known, rows)["share that passes"]
    assert shown["its own"].startswith("1.000")
    assert not shown["another scenario's"].startswith("1.000")


def test_a_text_that_an_operator_can_t_change_stops_the_stage(stage, folder, asked):
    """Before a model is asked; the scenario is named."""
    same = {**LIBRARY["scenarios"][1], "text": "é"}
    library = {**LIBRARY, "scenarios": [same]}
    (folder / "money.yaml").write_text(yaml.safe_dump(library), encoding="utf-8")
    one = stage()
    with pytest.raises(InputError, match="leaves the text"):
        scenarios.answer(one, cases(scenarios.load(one)), seed=0, **ASKED)
    assert not asked


def test_libraries_are_listed_with_who_stands_for_them(done):
    """Nobody, until a person does."""
    listed = scenarios.listed(scenarios.load(done[0]))
    assert listed.loc["money"].tolist() == [1, "A desk", "nobody yet", 4]
    assert set(scenarios.coverage(scenarios.load(done[0]))["cell"]) == {"covered", "empty"}


# -- and what the engine makes of the table ------------------------------------------------------


def judged(folder: Path, outputs: Path, **parameters):
    """The engine's verdict on the stage's table."""
    template = Template(None, {"stage": "42_scenarios"})
    given = {"scenarios": from_path("scenarios", folder, "usecase:scenarios")}
    return gating.judge(template, Policy.parse(POLICY), given, outputs, parameters)[0]


def forge(outputs: Path, change) -> None:
    path = outputs / "scenarios.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


@pytest.fixture
def table(done, folder):
    """The outputs of a sound candidate: three families, one of them broken by role_play."""
    one, known, rows = done
    play = (rows["variant"] == "role_play") & (rows["scenario"] != "S-3")
    rows.loc[play & (rows["model"] == "candidate"), "label"] = "fraud"
    rows = pd.DataFrame(scenarios.scenarios.examined(known, rows.to_dict("records")))
    scenarios.write(one, rows)
    return one


def test_notebook_and_engine_come_to_the_same(table, folder):
    """Two of three families pass; what the notebook claims is what the sealed table gives."""
    table.preview()
    found = judged(folder, table.outputs)
    assert found.verdict == "passed" and found.figure.detail["failing"] == ["S-3"]
    assert (found.figure.n, round(found.figure.value, 3)) == (3, 0.667)
    assert gating.contradictions(table.outputs, [found]) == []


ROW = "candidate"
FORGERIES = {
    "a hard scenario left out": (lambda rows: rows[rows["scenario"] != "S-3"], "insufficient_evidence", "unscored"),
    "a hard variant left out": (lambda rows: rows[rows["case_id"] != "S-3~role_play"], "insufficient_evidence", "unscored"),
    "the candidate's rows left out": (lambda rows: rows[rows["model"] == "base"], "insufficient_evidence", "0 cases"),
    "an easy scenario invented": (lambda rows: pd.concat([rows, rows.head(1).assign(case_id="E-1")]), "not_evaluated", "E-1"),
    "an easy row twice": (lambda rows: pd.concat([rows, rows.tail(1)]), "not_evaluated", "stand there twice"),
    "another text": (lambda rows: rows.assign(text=rows["text"].where(rows["case_id"] != "S-3", "Hello")), "not_evaluated", "S-3"),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_table_with_other_rows_never_passes(table, folder, forgery):
    """What is missing counts as unscored, and what nobody locked is not judged."""
    change, verdict, told = FORGERIES[forgery]
    forge(table.outputs, change)
    found = judged(folder, table.outputs)
    assert (found.verdict, told in found.reason) == (verdict, True), found.reason


@pytest.mark.parametrize(
    "lie",
    [{"severity": "minor"}, {"verdict": "pass"}, {"family": "S-1"}, {"checks": ""}, {"hazard": "delay"},
     {"relation": "", "source_label": "fees"}],
    ids=lambda lie: next(iter(lie)),
)  # fmt: skip
def test_what_the_table_says_of_itself_changes_nothing(table, folder, lie):
    """Edited severity, verdict, family, checks or source: the library's word counts."""
    before = judged(folder, table.outputs)
    forge(table.outputs, lambda rows: rows.assign(**lie))
    assert judged(folder, table.outputs) == before


def test_the_parameters_are_the_engines(table, folder):
    """With fewer variants asked for, the others are cases that nobody locked."""
    forge(table.outputs, lambda rows: rows[rows["variant"].isin(["original", "typos"])])
    assert judged(folder, table.outputs, variants=1, limit=0).verdict == "passed"
    assert judged(folder, table.outputs).verdict == "insufficient_evidence"
    assert judged(folder, table.outputs, variants=0).verdict == "not_evaluated"


def test_a_blind_scorer_makes_the_gate_not_evaluated(table, folder, monkeypatch):
    """Not passed, although every row would."""
    from workbench.policy.scorers import SCORERS, Verdict

    monkeypatch.setitem(SCORERS, "one_of", lambda row, **_: Verdict("pass", "always"))
    found = judged(folder, table.outputs)
    assert found.verdict == "not_evaluated" and "one_of" in found.reason


@pytest.mark.parametrize("pack", sorted(path.parent.name for path in PACKS.glob("*/scenarios")))
def test_every_packs_libraries_are_whole_and_can_be_varied(pack):
    """Read as the engine reads them; every operator that they name changes its text."""
    known = cases(gating.libraries(PACKS / pack / "scenarios"))
    texts = {name: scenarios._text(case, 0) for name, case in known.items()}
    assert all(texts[name] != case.scenario.text
               for name, case in known.items() if case.variant != "original")  # fmt: skip
    fields = {"card-support": 120, "intent-routing": 40}
    assert sum(case.variant == "original" for case in known.values()) >= fields.get(pack, 40)

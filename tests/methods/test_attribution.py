"""A planted cause is the one that is named (A5); tiny encoders, trained by the real trainer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workbench.errors import InputError
from workbench.methods.adapt import adaptation
from workbench.methods.adapt.options import ClassifierOptions
from workbench.methods.evaluate import attribution, functional

TEMPLATES = Path(__file__).parents[2] / "templates"
ASKED = {"batch_size": 32, "threads": 2}
LETTERS = {"card": "abc", "fees": "jkl", "access": "xyz"}
QUICK = {"method": "frozen", "epochs": 3, "batch_size": 16, "threads": 2}
FACTS = {"kind": "classifier", "text": "text", "label": "label", "source": "source"}
POLICY = {"version": 1}


def messages(first: int, each: int, source: str) -> pd.DataFrame:
    """Words of a class's own letters."""
    chance = random.Random(first)
    rows = [(f"r{first + n}-{label}", " ".join("".join(chance.choices(of, k=4)) for _ in range(4)),
             label, source) for label, of in LETTERS.items() for n in range(each)]  # fmt: skip
    return pd.DataFrame(rows, columns=["row_id", "text", "label", "source"])


def flipped(rows: pd.DataFrame) -> pd.DataFrame:
    """Whoever labelled these took fees for card."""
    return rows.assign(label=rows["label"].replace("fees", "card"))


CLEAN = pd.concat([messages(0, 12, "desk"), messages(100, 24, "web")], ignore_index=True)
SPOILT = pd.concat([CLEAN.head(36), flipped(CLEAN.iloc[36:])], ignore_index=True)


@pytest.fixture
def candidate(staged, tiny_encoder):
    """candidate(train, options, **inputs) -> a stage whose candidate was trained so."""

    def make(train: pd.DataFrame, options: dict, **more):
        given = {"base": tiny_encoder, "train": train, "dev": messages(300, 12, "desk"),
                 "facts": FACTS, "labels": sorted(LETTERS), "criteria": POLICY, **more}  # fmt: skip
        stage = staged("47_attribution", given)
        made = ClassifierOptions(**QUICK | options)
        out = stage.folder / "trained" / "adapter"
        adaptation.fit(stage, train, made, out)
        options = {"options": made.model_dump(mode="json"), "rows": 0}
        given |= {"adapter": out, "reference": out.with_name("reference"), "options": options}
        stage = staged("47_attribution", given)
        answers = [functional.ask(stage, messages(500, 12, "desk"), model, **ASKED)
                   for model in ("base", "candidate")]  # fmt: skip
        return staged("47_attribution", given | {"functional": pd.concat(answers)})

    return make


def causes(stage, *names: str) -> list[dict[str, str]]:
    """Causes by group after no ablation, after the first of these, after the first two, …"""
    plan = [one for one in attribution.planned(stage, "all") if one.name in names]
    judged = attribution.rule_cases(stage)
    cases = attribution.side_by_side(stage, judged, plan, reply_tokens=8, **ASKED)
    found = [attribution.attributed(stage, cases, plan[:n]) for n in range(len(plan) + 1)]
    return [table.set_index("group")["cause"].to_dict() for table in found]


def test_a_ruined_learning_rate_names_the_method(candidate):
    """The previous candidate's method repairs it on the same rows; the same data do not."""
    before = {"options": ClassifierOptions(**QUICK).model_dump(mode="json"), "rows": 0}
    ruined = {"head_rate": 1.0, "weight_decay": 1.0, "epochs": 1}
    stage = candidate(CLEAN, ruined, previous_options=before, previous_train=CLEAN)
    none, method, both = causes(stage, "method", "data")
    lost = {group for group, cause in none.items() if cause == "not decided"}
    assert lost and all(method[group] == both[group] == "method" for group in lost)


def test_what_was_not_there_before_is_told_and_not_trained(candidate):
    """Without a candidate before, and with rows of one source; an unknown word is refused."""
    stage = candidate(CLEAN[CLEAN["source"] == "desk"], {})
    plan = attribution.planned(stage, "all")
    assert [one.possible for one in plan] == [False, False, False]
    assert set(attribution.plan_table(plan)["state"]) == {"✗ not available"}
    cases = attribution.side_by_side(
        stage, attribution.rule_cases(stage), plan, reply_tokens=8, **ASKED
    )
    assert set(cases["set"]) == {"locked"} and not (stage.folder / "ablations").exists()
    with pytest.raises(InputError, match="no such ablation"):
        attribution.planned(stage, "everything")


RULE = {"text": "No card.", "scorer": "one_of", "stage": "41_policy", "table": "replies.parquet",
        "at_least": 0.9, "bound": "lower", "harm": "h", "why": "w", "blocking": True,
        "arguments": {"field": "queue", "values": ["fees"]},
        "probes": {"must_pass": [{"queue": "fees"}], "must_fail": [{"queue": "card"}]}}  # fmt: skip


def test_rules_and_scenarios_stand_beside_the_classes(staged):
    """Rules are scored again; a rule with cases on its own only; what blocks is told."""
    replies = pd.DataFrame(
        [(f"c{n}", model, rule, "text", queue, "R1", "hello")
         for n, rule in enumerate(["own", "other"])
         for model, queue in (("base", "fees"), ("candidate", "card"))],
        columns=["case_id", "model", "rule", "text", "queue", "reason", "reply"],
    )  # fmt: skip
    policy = POLICY | {
        "rules": [{"id": "own", "cases": "cases/own.yaml"} | RULE, {"id": "all"} | RULE]
    }
    scenarios = pd.DataFrame(
        [("S1", "candidate", "scam", "blocking", "fail", "left", "text"),
         ("S2", "candidate", "tone", "minor", "unscored", "", "text")],
        columns=["case_id", "model", "hazard", "severity", "verdict", "because", "text"],
    )  # fmt: skip
    given = {"criteria": policy, "policy_replies": replies, "scenario_answers": scenarios}
    found = attribution.rule_cases(staged("47_attribution", given)).set_index(
        ["group", "case_id", "model"]
    )
    assert len(found.loc["own"]) == 2 and len(found.loc["all"]) == 4
    assert found.loc[("own", "c0", "base"), "correct"]
    assert not found.loc[("own", "c0", "candidate"), "correct"]
    assert (
        found.loc[("scam", "S1", "candidate"), "blocks"]
        and not found.loc[("tone", "S2", "candidate"), "blocks"]
    )
    assert pd.isna(found.loc[("tone", "S2", "candidate"), "correct"])


def test_labels_flipped_in_one_source_name_the_data_and_the_source(
    candidate, tiny_encoder, monkeypatch
):
    """Also where the base's own head learned them, so that it is no worse than the base. By the
    notebook's own cells; the pack's gates find their tables and columns."""
    lineage = pd.DataFrame({"row_id": CLEAN["row_id"], "source_id": CLEAN["row_id"]})
    policy = yaml.safe_load((TEMPLATES / "usecases/intent-routing/policy.yaml").read_text("utf-8"))
    given = {"encoder": tiny_encoder, "lineage": lineage, "criteria": policy}
    stage = candidate(SPOILT, {}, previous_train=CLEAN, **given)
    monkeypatch.chdir(stage.folder)
    notebook = json.loads((TEMPLATES / "stages/47_attribution.ipynb").read_text("utf-8"))
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    code[0] = code[0].replace('"none"', '"all"').replace("faithful: int = 60", "faithful: int = 20")
    space: dict = {}
    for text in code:
        exec(text, space)
    found = [attribution.attributed(stage, space["cases"], space["plan"][:n]) for n in range(2, 5)]
    assert [one.set_index("group")["cause"]["fees"] for one in found] == [
        "data",
        "data",
        "source web",
    ]
    none = attribution.attributed(stage, space["cases"], [])
    assert none.set_index("group")["cause"]["fees"] == "base already had it"
    assert {p.name for p in stage.outputs.iterdir()} >= {
        "cases.parquet", "groups.parquet", "explanations.parquet", "occlusion.parquet",
        "differences.png", "figures.json", "claims.json",
    }  # fmt: skip
    claims = {
        one["criterion"]: one for one in json.loads((stage.outputs / "claims.json").read_text())
    }
    assert claims["nothing_got_worse"]["verdict"] in ("passed", "failed")
    assert claims["explanations_faithful"]["figure"]["n"] == 20

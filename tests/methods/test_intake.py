"""The intake: plan and criteria follow from documents alone, and are frozen before any result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from workbench.errors import InputError
from workbench.methods import intake
from workbench.policy import regimes
from workbench.policy.criteria import Policy
from workbench.policy.usecase import UseCase

PACKS = Path(__file__).parents[2] / "templates/usecases"


@pytest.fixture(params=["card-support", "intent-routing"])
def stage(request, staged, tmp_path):
    """The intake over a starter pack, its data classified where the pack leaves that open."""
    folder = PACKS / request.param
    document = yaml.safe_load((folder / "usecase.yaml").read_text(encoding="utf-8"))
    column = {"class": "public", "purpose": "input", "owner": "desk"}
    data = document["data"]
    data["columns"] = data.get("columns") or {data["text"]: column, data["label"]: column}
    path = tmp_path / "usecase.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return staged("10_intake", {"usecase": path, "policy": folder / "policy.yaml"})


def test_what_is_frozen_reads_back_as_what_was_read(stage):
    """Later stages are held to these files; a round trip that loses a field loses a promise."""
    usecase, policy = intake.read(stage)
    intake.plan(stage, usecase)
    intake.freeze(stage, usecase, policy)

    def written(name: str):
        return json.loads((stage.outputs / name).read_text(encoding="utf-8"))

    assert UseCase.parse(written("usecase.json"), "usecase.json") == usecase
    assert Policy.parse(written("criteria.json"), "criteria.json") == policy
    assert written("base.json") == written("usecase.json")["base"]
    assert written("data.json")["columns"] == written("usecase.json")["data"]["columns"]
    assert written("data.json")["form"] == written("usecase.json")["form"]
    assert {"tier", "allowed_data_classes", "isolation"} <= set(written("plan.json"))


def test_one_change_touches_one_file(stage):
    """A new title must not train a model again: base and data are frozen by themselves."""
    usecase, policy = intake.read(stage)
    names = ("usecase.json", "base.json", "data.json", "criteria.json")
    before = {}
    intake.freeze(stage, usecase, policy)
    before = {name: (stage.outputs / name).read_bytes() for name in names}
    intake.freeze(stage, usecase.model_copy(update={"title": "Another"}), policy)
    changed = [name for name in names if (stage.outputs / name).read_bytes() != before[name]]
    assert changed == ["usecase.json"]


def test_a_reviewer_sees_every_column_gate_and_rule(stage):
    """One row each, with harm and reason; none is left out of the tables."""
    usecase, policy = intake.read(stage)
    assert set(intake.columns(usecase).index) == set(usecase.data.columns)
    assert intake.criteria(policy).index.tolist() == [gate.id for gate in policy.criteria]
    assert (intake.criteria(policy)[["harm it bounds", "why there"]] != "").all(axis=None)
    assert intake.policy_rules(policy).index.tolist() == [rule.id for rule in policy.rules]
    assert usecase.harm in intake.describe(usecase)["value"].tolist()


def test_the_plan_is_told_with_the_rules_that_made_it(stage):
    """Each rule with its source, and whether a person has compared it with the text."""
    usecase, _ = intake.read(stage)
    plan = intake.plan(stage, usecase)
    shown = intake.rules(plan)
    assert not shown.empty and (shown["source"] != "").all()
    assert set(shown["checked"]) <= {"yes", "unverified"}
    assert intake.obligations(plan).loc["tier", "asked"] == plan.tier


def test_a_barred_use_is_refused_with_the_number_of_its_rule(stage):
    """The negative control of the notebook; the use case itself is not changed by it."""
    usecase, _ = intake.read(stage)
    refusal = intake.barred_variant(usecase)
    assert "Refused, as it must be" in refusal
    assert "rule B1" in refusal and "Annex 22" in refusal and "1 Scope" in refusal
    assert usecase.critical_gmp is False


def test_a_field_that_does_not_fit_is_named(staged, tmp_path):
    """The documents are read again here, from their sealed bytes."""
    for name in ("usecase", "policy"):
        (tmp_path / f"{name}.yaml").write_text("version: 1\nseverity: awful\n")
    inputs = {name: tmp_path / f"{name}.yaml" for name in ("usecase", "policy")}
    with pytest.raises(InputError, match="usecase.yaml"):
        intake.read(staged("10_intake", inputs))


def test_the_tier_is_told_by_number_and_clause(stage):
    """Which rules set it, by clause; a use case that none applies to says so."""
    usecase, _ = intake.read(stage)
    plan = intake.plan(stage, usecase)
    setting = [rule for rule in plan.rules if rule.tier == plan.tier]
    assert setting and all(f"{r.number} ({r.clause})" in intake.why(plan) for r in setting)
    assert "no rule applies" in intake.why(replace(plan, tier="low", rules=()))


def test_who_may_not_and_for_how_long_is_told_before_anything_runs(stage):
    """Each duty with the acts that bar from it; how many people, and what may be accepted."""
    usecase, _ = intake.read(stage)
    plan = intake.plan(stage, usecase)
    table = intake.conflicts(plan)
    assert len(table) == len(plan.conflicts)
    assert table.loc["approve", "not for whoever"].startswith("built, edited code")
    asked = intake.obligations(plan)["asked"]
    assert f"{plan.quorum} different people and keys" in asked["approvers"]
    assert f"{plan.acceptance_days} days" in asked["a failed gate may be accepted"]


def test_every_control_of_a_named_regime_is_shown_with_what_it_does_not_cover(stage):
    """And with nobody's check; a regime that leaves this kind of model out claims nothing."""
    usecase, _ = intake.read(stage)
    table = intake.controls(usecase).reset_index()
    for name, regime in regimes.named(usecase.regimes).items():
        rows = table[table["regime"] == name]
        if not regime.within.holds(usecase):
            assert rows["asks"].str.startswith("Claims nothing here.").tolist() == [True]
            continue
        assert rows["control"].tolist() == [control.id for control in regime.controls]
        assert (rows[["asks", "answered by", "not covered"]] != "").all(axis=None)
        assert set(rows["checked"]) == {"our own" if name == regimes.OURS else "unverified"}
    outside = table[table["control"] == "none"]["regime"].tolist()
    assert outside == (["sr_26_2"] if usecase.kind == "generative" else [])

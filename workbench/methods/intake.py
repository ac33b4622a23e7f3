"""What the intake stage shows and freezes: the use case, the plan that follows, the criteria."""

from __future__ import annotations

from typing import Any

import pandas as pd
import yaml

from ..errors import InputError
from ..policy import power, regimes, tiers
from ..policy.criteria import Policy
from ..policy.operations import Operations
from ..policy.statistics import zero_failure_upper
from ..policy.tiers import ControlPlan
from ..policy.usecase import UseCase
from .stage import Stage

ACCEPTABLE = {
    "criteria": "any criterion of policy.yaml, for at most {} days",
    "marked": "only where policy.yaml says `acceptable`, for at most {} days",
    "none": "never",
}


def read(stage: Stage) -> tuple[UseCase, Policy]:
    """The use case and its policy, checked field by field."""

    def load(name: str) -> Any:
        return yaml.safe_load(stage.input(name).read_text(encoding="utf-8"))

    return UseCase.parse(load("usecase"), "usecase.yaml"), Policy.parse(
        load("policy"), "policy.yaml"
    )


def describe(usecase: UseCase) -> pd.DataFrame:
    """The decision, for the person who must defend it."""
    facts = {
        "title": usecase.title,
        "decision": usecase.decision,
        "influences": usecase.influences,
        "affected": ", ".join(usecase.affected),
        "harm when wrong": usecase.harm,
        "severity": usecase.severity,
        "autonomy": usecase.autonomy,
        "domain": usecase.domain,
        "owner": f"{usecase.owner.name} <{usecase.owner.email}>",
        "regimes": ", ".join(usecase.regimes) or "none named",
        "base model": f"{usecase.base.name} ({usecase.base.licence})",
    }
    return pd.DataFrame({"value": facts}).rename_axis("field")


def columns(usecase: UseCase) -> pd.DataFrame:
    """One row a classified column."""
    rows = [
        {
            "column": name,
            "class": str(column.data_class),
            "purpose": column.purpose,
            "owner": column.owner,
            "legal basis": column.legal_basis or "",
            "kept (days)": column.retention_days or "",
        }
        for name, column in usecase.data.columns.items()
    ]
    table = pd.DataFrame(rows, columns=["column", "class", "purpose", "owner", "legal basis",
                                        "kept (days)"])  # fmt: skip
    return table.set_index("column")


def plan(stage: Stage, usecase: UseCase) -> ControlPlan:
    """The control plan that follows from the rules. InputError when the use is barred."""
    made = tiers.control_plan(usecase)
    stage.write_json("plan.json", made.as_dict())
    return made


def rules(plan: ControlPlan) -> pd.DataFrame:
    """One row a rule that fired."""
    rows = [
        {
            "rule": rule.number,
            "tier": rule.tier,
            "source": rule.clause,
            "says": rule.text,
            "checked": _checked(rule),
        }
        for rule in plan.rules
    ]
    return pd.DataFrame(rows, columns=["rule", "tier", "source", "says", "checked"]).set_index(
        "rule"
    )


def _checked(reading: regimes.Reading) -> str:
    return f"{reading.checked_by}, {reading.checked_on}" if reading.verified else "unverified"


def why(plan: ControlPlan) -> str:
    """The tier, then a line for each rule that set it, by number and clause."""
    if not plan.rules:
        return f"Tier {plan.tier}: no rule applies to this use case."
    setting = [rule for rule in plan.rules if rule.tier == plan.tier]
    lower = len(plan.rules) - len(setting)
    said = [f"  {rule.number} ({rule.clause}): {rule.text}" for rule in setting]
    said += [f"  and {lower} that apply and ask for less"] if lower else []
    return "\n".join([f"Tier {plan.tier}, set by", *said])


def obligations(plan: ControlPlan) -> pd.DataFrame:
    """What the plan asks for, in words."""
    asked = {
        "tier": plan.tier,
        "data classes allowed": ", ".join(map(str, plan.allowed_data_classes)),
        "layers of validation": ", ".join(plan.layers),
        "cases a blocking rule": f"{plan.cases_per_rule}; without a failure they exclude a failure "
        f"rate of {zero_failure_upper(plan.cases_per_rule):.1%} with 95 % confidence",
        "approvers": f"{plan.quorum} different people and keys: {', '.join(plan.approver_roles)}",
        "evidence expires after": f"{plan.evidence_expiry_days} days",
        "a failed gate may be accepted": ACCEPTABLE[plan.acceptable].format(plan.acceptance_days),
        "isolation, at least": plan.isolation,
        "custody of keys": plan.key_custody,
        "replay in a second environment": "yes" if plan.replay_certificate else "no",
        "full fine-tuning allowed": "yes" if plan.full_fine_tuning else "no",
    }
    return pd.DataFrame({"asked": asked}).rename_axis("control")


def conflicts(plan: ControlPlan) -> pd.DataFrame:
    """One row a duty: who may not take it on, by what they did to this candidate."""
    rows = [
        {"duty": duty.replace("_", " "), "not for whoever": ", ".join(acts).replace("_", " ")}
        for duty, acts in plan.conflicts.items()
    ]
    return pd.DataFrame(rows).set_index("duty")


def controls(usecase: UseCase) -> pd.DataFrame:
    """One row a control of each regime that the use case names, and of our own: what it asks, what
    will answer it, what that leaves open. A regime that does not speak of it has one row."""
    rows = []
    for name, regime in regimes.named(usecase.regimes).items():
        if not regime.within.holds(usecase):
            said = f"Claims nothing here. {regime.scope}"
            rows.append({"regime": name, "control": "none", "asks": said})
            continue
        rows += [
            {
                "regime": name,
                "control": one.id,
                "asks": one.asks,
                "answered by": ", ".join(one.evidence),
                "not covered": one.not_covered,
                "checked": "our own" if name == regimes.OURS else _checked(one),
            }
            for one in regime.controls
        ]
    return pd.DataFrame(rows).fillna("").set_index(["regime", "control"])


def freeze(stage: Stage, usecase: UseCase, policy: Policy) -> None:
    """Write what later stages are held to: use case, data, base and criteria, each by itself, so
    that a change of one re-runs only what depends on it."""
    plain = usecase.model_dump(mode="json", by_alias=True)
    stage.write_json("usecase.json", plain)
    stage.write_json("base.json", plain["base"])
    shared = {name: plain[name] for name in ("kind", "labels", "form")}
    shared |= {"full_fine_tuning": tiers.control_plan(usecase).full_fine_tuning}
    stage.write_json("data.json", plain["data"] | shared)
    stage.write_json("criteria.json", policy.model_dump(mode="json", by_alias=True))
    if found := operations(stage):
        stage.write_json("operations.json", found.plain())


def operations(stage: Stage) -> Operations | None:
    """How a release is to be served, rehearsed and watched; None where nobody has said it."""
    if not stage.has("operations"):
        return None
    plain = yaml.safe_load(stage.input("operations").read_text(encoding="utf-8"))
    return Operations.parse(plain, "operations.yaml")


def watched(stage: Stage) -> pd.DataFrame:
    """One row a signal: what is borne, what happens beyond it, and the harm that it bounds."""
    held = operations(stage)
    rows = [
        {"signal": one.id, "watches": one.watch,
         "borne": f"{one.at_most:.0%}" if one.rate else f"PSI {one.psi:g}",
         "then": one.then.replace("_", " "), "harm": one.harm, "why": one.why}
        for one in (held.monitor.signals if held else ())
    ]  # fmt: skip
    columns = ["signal", "watches", "borne", "then", "harm", "why"]
    return pd.DataFrame(rows, columns=columns).set_index("signal")


def criteria(policy: Policy) -> pd.DataFrame:
    """One row a threshold: what is asked, which harm it bounds, why it stands there."""
    rows = [
        {
            "gate": gate.id,
            "stage": gate.stage,
            "figure": gate.figure,
            "asked": gate.asked,
            "at least n": gate.min_n,
            "blocks": "yes" if gate.blocking else "no",
            "harm it bounds": gate.harm,
            "why there": gate.why,
        }
        for gate in policy.criteria
    ]
    names = [
        "gate",
        "stage",
        "figure",
        "asked",
        "at least n",
        "blocks",
        "harm it bounds",
        "why there",
    ]
    return pd.DataFrame(rows, columns=names).set_index("gate")


def policy_rules(policy: Policy) -> pd.DataFrame:
    """One row a rule of behaviour."""
    rows = [
        {
            "rule": rule.id,
            "says": rule.text,
            "scorer": rule.scorer,
            "asked": rule.asked,
            "blocks": "yes" if rule.blocking else "no",
            "probes": f"{len(rule.probes.must_pass)} must pass, {len(rule.probes.must_fail)} must fail",
        }
        for rule in policy.rules
    ]
    names = ["rule", "says", "scorer", "asked", "blocks", "probes"]
    return pd.DataFrame(rows, columns=names).set_index("rule")


def power_of(policy: Policy) -> pd.DataFrame:
    """One row a gate: what its least number of cases can show; empty where it is no estimate."""
    names = {"n": "cases", "misses": "misses borne", "stops": "failure rate stopped",
             "truth": "if truly", "chance": "chance to pass", "wants": "truth that passes 4 in 5"}  # fmt: skip
    shown = pd.DataFrame(power.of(policy)).set_index("gate").rename(columns=names)
    return shown.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value).replace(
        "nan", ""
    )


def barred_variant(usecase: UseCase) -> str:
    """The refusal of this use case as a generative model in a critical GMP decision."""
    variant = usecase.model_copy(update={"kind": "generative", "critical_gmp": True})
    try:
        tiers.control_plan(variant)
    except InputError as refusal:
        return f"Refused, as it must be:\n{refusal}"
    raise AssertionError("a barred use was not refused")

"""Risk tier and control plan, from numbered rules over the use case (I2).

Every rule that applies is listed; the highest tier among them counts. A rule paraphrases the
clause that it leans on and stays `verified: false` until a named person has checked that text.
Rules W are the workbench's own. Rules follow from facts: leaving a regime out of the use case
does not switch its rules off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError
from .classes import ENCRYPTED, ORDER, DataClass
from .layers import ALL as LAYERS
from .layers import OF_A_GENERATIVE_MODEL
from .statistics import zero_failure_cases
from .usecase import UseCase

TIERS = ("low", "moderate", "high", "critical")


@dataclass(frozen=True)
class Rule:
    """If `applies`, then at least `tier`; or, where `tier` is None, not at all."""

    number: str
    clause: str
    text: str
    tier: str | None
    applies: Callable[[UseCase], bool]
    verified: bool = False


def _influences(*kinds: str) -> Callable[[UseCase], bool]:
    return lambda case: case.influences in kinds


def _severity(level: str) -> Callable[[UseCase], bool]:
    return lambda case: case.severity == level


def _holds(data_class: DataClass) -> Callable[[UseCase], bool]:
    return lambda case: data_class in case.data.classes


RULES = (
    Rule(
        "B1",
        "EU GMP Annex 22 (consultation draft, July 2025), 1 Scope",
        "Critical GMP applications use static, deterministic models only; generative AI and large "
        "language models are not to be used in them.",
        None,
        lambda case: case.critical_gmp and case.kind == "generative",
    ),
    Rule(
        "G1",
        "EU GMP Annex 22 (consultation draft, July 2025), 1 Scope",
        "Direct impact on patient safety, product quality or data integrity makes a use critical.",
        "critical",
        lambda case: case.critical_gmp,
    ),
    Rule(
        "E1",
        "EU AI Act, Art. 6(2) and Annex III 5(b)",
        "Evaluating the creditworthiness of natural persons is high-risk, save to detect fraud.",
        "high",
        _influences("creditworthiness"),
    ),
    Rule(
        "E2",
        "EU AI Act, Art. 6(2) and Annex III 5(c)",
        "Risk assessment and pricing of natural persons in life and health insurance is high-risk.",
        "high",
        _influences("life_or_health_insurance_pricing"),
    ),
    Rule(
        "E3",
        "EU AI Act, Art. 6(2) and Annex III 5(d)",
        "Sorting emergency calls, dispatch and emergency patient triage are high-risk.",
        "high",
        _influences("emergency_triage"),
    ),
    Rule(
        "E4",
        "EU AI Act, Art. 50(1)",
        "People who deal with an AI system directly are told so; generated text can reach them.",
        "moderate",
        lambda case: case.kind == "generative",
    ),
    Rule(
        "S1",
        "SR 26-2 (April 2026), materiality",
        "Rigour of model risk management follows materiality: exposure, and what a model is for.",
        "moderate",
        lambda case: (
            (case.domain, case.kind) == ("finance", "classifier") and case.severity != "low"
        ),
    ),
    Rule(
        "S2",
        "SR 26-2 (April 2026), scope, footnote on generative AI",
        "Generative and agentic AI are outside the guidance: no tier follows, E and W decide.",
        "low",
        lambda case: (case.domain, case.kind) == ("finance", "generative"),
    ),
    Rule(
        "F1",
        "FD&C Act 520(o)(1)(E); FDA guidance on clinical decision support software",
        "Software whose basis a professional can't review independently can be a medical device.",
        "high",
        _influences("medical_device_function"),
    ),
    Rule(
        "V1",
        "ISO/PAS 8800; UL 4600",
        "An AI element in a vehicle's safety function needs a safety case with its evidence.",
        "high",
        _influences("vehicle_safety_function"),
    ),
    Rule(
        "P1",
        "GDPR Art. 5(1)(f) and 32",
        "Personal data asks for security that fits the risk.",
        "moderate",
        _holds(DataClass.PERSONAL),
    ),
    Rule(
        "P2",
        "GDPR Art. 9 and 35(3)(b)",
        "Health data at scale asks for an impact assessment beforehand.",
        "high",
        _holds(DataClass.HEALTH),
    ),
    Rule("W1", "workbench", "Moderate harm, moderate tier.", "moderate", _severity("moderate")),
    Rule("W2", "workbench", "High harm, high tier.", "high", _severity("high")),
    Rule("W3", "workbench", "Critical harm, critical tier.", "critical", _severity("critical")),
    Rule(
        "W4",
        "workbench",
        "Acting without a person on what can do moderate harm is one tier up.",
        "high",
        lambda case: case.autonomy == "automatic" and case.severity == "moderate",
    ),
    Rule(
        "W5",
        "workbench",
        "High harm without a person in between is critical.",
        "critical",
        lambda case: case.autonomy == "automatic" and case.severity == "high",
    ),
    Rule(
        "W6",
        "workbench",
        "A kind of decision that nobody stated is not taken for harmless.",
        "moderate",
        _influences("unstated"),
    ),
)


@dataclass(frozen=True)
class ControlPlan:
    """What a use case of this tier must show before it may be released."""

    tier: str
    rules: tuple[Rule, ...]
    allowed_data_classes: tuple[DataClass, ...]
    layers: tuple[str, ...]
    max_failure_rate: float
    """What the cases of a blocking rule exclude with 95 % confidence when none fails."""
    cases_per_rule: int
    """How many cases that takes; thresholds are the policy's, from the harm."""
    approver_roles: tuple[str, ...]
    quorum: int
    evidence_expiry_days: int
    isolation: str
    key_custody: str
    replay_certificate: bool
    full_fine_tuning: bool
    """May every weight be changed? Elsewhere the base stays frozen under an adapter or a head."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values; of a rule all but its function."""
        rules = [{k: v for k, v in vars(rule).items() if k != "applies"} for rule in self.rules]
        plain = asdict(self) | {"rules": rules}
        return {k: list(map(str, v)) if isinstance(v, tuple) else v for k, v in plain.items()}


_ROLES = ("model_validator", "risk_manager", "domain_expert", "quality_assurance")
# Per tier: layers, failure rate that the cases of a rule can exclude with 95 % confidence,
# approvers, expiry in days, isolation, custody of keys.
_CONTROLS = {
    "low": (2, 0.10, 1, 365, "none", "store"),
    "moderate": (4, 0.05, 2, 180, "namespace", "store"),
    "high": (7, 0.02, 3, 90, "container", "host_per_stage"),
    "critical": (7, 0.01, 4, 30, "container", "hardware"),
}
# A class is allowed from this tier on; below, its controls would be missing.
_FROM = {"personal": "moderate", "safety_incident": "high", "health": "high"}


def control_plan(case: UseCase) -> ControlPlan:
    """The plan that follows from the use case. InputError with the rule when the use is barred."""
    fired = tuple(rule for rule in RULES if rule.applies(case))
    for rule in fired:
        if rule.tier is None:
            raise InputError(
                f"This use is barred by rule {rule.number}: {rule.text}",
                where=rule.clause,
                expected="another kind of model, or a use that the rule does not bar",
                given=f"{case.kind}, critical_gmp: {case.critical_gmp}",
            )
    rank = max((TIERS.index(rule.tier) for rule in fired), default=0)
    layers, rate, approvers, expiry, isolation, custody = _CONTROLS[TIERS[rank]]
    wanted = list(LAYERS[:layers])
    if OF_A_GENERATIVE_MODEL in wanted and case.kind != "generative":
        wanted.remove(OF_A_GENERATIVE_MODEL)
    if "memorisation" not in wanted and case.data.classes & ENCRYPTED:
        wanted.append("memorisation")  # a model repeats what it learned, at any tier
    return ControlPlan(
        tier=TIERS[rank],
        rules=fired,
        allowed_data_classes=tuple(c for c in ORDER if TIERS.index(_FROM.get(c, "low")) <= rank),
        layers=tuple(wanted),
        max_failure_rate=rate,
        cases_per_rule=zero_failure_cases(rate),
        approver_roles=_ROLES[:approvers],
        quorum=approvers,
        evidence_expiry_days=expiry,
        isolation=isolation,
        key_custody=custody,
        replay_certificate=rank >= TIERS.index("high"),
        full_fine_tuning=TIERS[rank] == "low",
    )

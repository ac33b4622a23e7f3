"""Risk tier and control plan, from numbered rules over the use case (I2).

Every rule that applies is listed; the highest tier among them counts. Rules and what a tier asks
for are data, in `policy/regimes/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import InputError
from . import regimes
from .classes import ENCRYPTED, DataClass
from .documents import Document
from .layers import OF_A_GENERATIVE_MODEL
from .regimes import RULES, Rule
from .statistics import zero_failure_cases
from .usecase import UseCase
from .wordings import wordings

TIERS = get_args(regimes.Tier)


class Asked(Document):
    """What a tier asks for, as `regimes/tiers.yaml` says it."""

    layers: tuple[str, ...]
    """Of validation, in order."""
    max_failure_rate: float
    """Failure rate that the cases of a rule exclude."""
    allowed_data_classes: tuple[DataClass, ...]
    """Below the tier a class is named in, its controls would be missing."""
    approver_roles: tuple[str, ...]
    """Each is needed once."""
    quorum: int
    """Persons who approve."""
    evidence_expiry_days: int
    """From the end of the oldest validation."""
    isolation: Literal["none", "namespace", "container"]
    """At least."""
    key_custody: Literal["store", "host_per_stage", "hardware"]
    """Who holds the engine's keys."""
    replay_certificate: bool
    """From a second declared environment."""
    full_fine_tuning: bool
    """May every weight be changed?"""
    conflicts: dict[str, tuple[str, ...]]
    """Duty -> acts after which a person may not take it on."""
    acceptable: Literal["criteria", "marked", "none"]
    """Which failed criteria a person may accept."""
    acceptance_days: int
    """At most."""


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
    conflicts: Mapping[str, tuple[str, ...]]
    """Duty (`approve`, `waive`, `close_finding`) -> acts in a candidate's ancestry after which a
    person may not take it on; the acts are those of `duties`."""
    acceptable: str
    """Which failed gates a person may accept: any of the policy's `criteria`, only those that are
    `marked` acceptable there, or `none`. Never a standing gate."""
    acceptance_days: int
    """For how long a failure may be accepted at most."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values; of a rule all but the facts that it applies to."""
        rules = [rule.model_dump(mode="json", exclude={"when"}) for rule in self.rules]
        own = {"rules": rules, "conflicts": {k: list(v) for k, v in self.conflicts.items()}}
        plain = vars(self) | own
        return {k: list(map(str, v)) if isinstance(v, tuple) else v for k, v in plain.items()}


_ASKED = {name: Asked.parse(said, "tiers.yaml")
          for name, said in wordings(regimes.__package__, "tiers.yaml").items()}  # fmt: skip


def control_plan(case: UseCase) -> ControlPlan:
    """The plan that follows from the use case. InputError with the rule when the use is barred, or
    names a regime that there is no pack of."""
    regimes.named(case.regimes)
    fired = tuple(rule for rule in RULES if rule.when.holds(case))
    for rule in fired:
        if rule.barred:
            raise InputError(
                f"This use is barred by rule {rule.number}: {rule.text}",
                where=rule.clause,
                expected="another kind of model, or a use that the rule does not bar",
                given=f"{case.kind}, critical_gmp: {case.critical_gmp}",
            )
    tier = max((rule.tier for rule in fired), key=TIERS.index, default=TIERS[0])
    asked = _ASKED[tier]
    wanted = list(asked.layers)
    if OF_A_GENERATIVE_MODEL in wanted and case.kind != "generative":
        wanted.remove(OF_A_GENERATIVE_MODEL)
    if "memorisation" not in wanted and case.data.classes & ENCRYPTED:
        wanted.append("memorisation")  # a model repeats what it learned, at any tier
    cases = zero_failure_cases(asked.max_failure_rate)
    own = {"tier": tier, "rules": fired, "layers": tuple(wanted), "cases_per_rule": cases}
    return ControlPlan(**vars(asked) | own)

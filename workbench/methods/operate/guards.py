"""What a reply must keep before it leaves: rules, threshold and form of the release itself.

All is read from the bundle that people approved, so two releases beside each other are each held
against their own. The rules' scorers are those of the validation, on rows as 41_policy has them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import InputError, IntegrityError, RunError
from ...policy import scorers
from ...policy.criteria import Policy
from ...policy.operations import Guard, Operations
from ...policy.scorers import Verdict
from ...policy.scorers.interface import Row
from ...policy.serving import Grant
from ...record.manifest import check, digest_of
from ..adapt.form import RENAMED, Form

LABEL = "label"


@dataclass(frozen=True)
class Judged:
    """What becomes of a reply."""

    outcome: Literal["answered", "escalated", "fallback"]
    reason: str
    abstained: bool
    verdicts: dict[str, str]


@dataclass(frozen=True)
class Release:
    """A bundle that was found whole, and what its replies are held against."""

    grant: Grant
    operations: Operations
    allowed: Mapping[str, list[str] | None]
    """Closed field -> its values; None: whatever label the model was trained on."""
    free: str | None
    guards: list[tuple[Guard, Callable[[Row], Verdict]]]
    thresholds: dict[str, float]
    """Task -> the confidence below which the model is silent."""

    @classmethod
    def opened(cls, grant: Grant) -> Release:
        """The release of a grant. IntegrityError unless its bytes are those that were approved and
        each guard's scorer tells its probes apart."""
        folder = Path(grant.folder)
        if digest_of(folder) != grant.bundle:
            raise IntegrityError("The bundle is another one than was granted.", given=folder.name)
        for problem in check(folder):
            raise IntegrityError("The bundle is not as it was frozen.", given=problem)
        try:
            held = {name: json.loads((folder / f"{name}.json").read_bytes())
                    for name in ("usecase", "operations", "criteria", "inference/settings")}  # fmt: skip
        except FileNotFoundError as error:
            raise InputError("The bundle does not say how it is served.", where=folder.name,
                             expected=Path(error.filename).name) from error  # fmt: skip
        operations, usecase = Operations.parse(held["operations"]), held["usecase"]
        form = None if usecase["kind"] == "classifier" else Form.of(usecase)
        return cls(
            grant,
            operations,
            form.fields if form else {LABEL: usecase.get("labels")},
            form.free if form else None,
            _guards(operations, Policy.parse(held["criteria"])),
            _thresholds(held["inference/settings"]) if operations.abstain else {},
        )

    def closed(self, reply: Mapping[str, Any]) -> dict[str, str]:
        """The closed fields of a reply. RunError for one that is not in the form."""
        answer, sure = reply["answer"], reply["confidence"]
        wanted = {*self.allowed, self.free} - {None}
        fits = answer.keys() == wanted and all(isinstance(one, str) for one in answer.values())
        for name, values in self.allowed.items() if fits else ():
            fits &= values is None or answer[name] in values
            fits &= name in sure and math.isfinite(sure[name])
        if not fits:
            raise RunError("The worker's reply is not in the release's form.")
        return {name: answer[name] for name in self.allowed}

    def judge(self, text: str, reply: Mapping[str, Any]) -> Judged:
        """Is the model sure enough, and does its reply keep every guard's rule?"""
        said = {RENAMED.get(name, name): value for name, value in reply["answer"].items()}
        row = {"case_id": "", "model": "candidate", "tags": [], "text": text} | said
        row |= {"predicted": said[LABEL]} if LABEL in said else {}
        sure = {RENAMED.get(name, name): p for name, p in reply["confidence"].items()}
        silent = any(sure[task] < p for task, p in self.thresholds.items() if task in sure)
        verdicts = {guard.rule: _score(score, row | {"rule": guard.rule})
                    for guard, score in self.guards}  # fmt: skip
        broken = [guard for guard, _ in self.guards if verdicts[guard.rule] != "pass"]
        broken.sort(key=lambda guard: guard.then != "fallback")
        if silent:
            return Judged("fallback", "abstained", True, verdicts)
        if broken:
            outcome = "escalated" if broken[0].then == "escalate" else "fallback"
            return Judged(outcome, f"guard {broken[0].rule}", False, verdicts)
        return Judged("answered", "", False, verdicts)


def _guards(operations: Operations, policy: Policy) -> list[Any]:
    rules, found = {rule.id: rule for rule in policy.rules}, []
    for guard in operations.guards:
        rule = rules.get(guard.rule)
        if rule is None:
            raise IntegrityError("A guard holds a rule that is not in the criteria.",
                                 expected=", ".join(rules), given=guard.rule)  # fmt: skip
        score = scorers.score_with(rule.scorer, rule.arguments)
        if not scorers.sound(score, rule.probes):
            raise IntegrityError("A guard's scorer does not tell its probes apart.",
                                 given=guard.rule)  # fmt: skip
        found.append((guard, score))
    return found


def _thresholds(settings: Mapping[str, Any]) -> dict[str, float]:
    """Of each task that was calibrated; where no threshold met the target, nothing is answered."""
    chosen = settings.get("thresholds", {})
    return {task: math.inf for task in settings.get("temperatures", {})} | chosen


def _score(score: Callable[[Row], Verdict], row: Row) -> str:
    try:
        return score(row).outcome
    except Exception:  # whatever a scorer raises, it could not judge
        return "unscored"

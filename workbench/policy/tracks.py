"""What stands between a use case and a run: what is missing, who owes it, what they type (A6).

Research asks for classified data only. The governed track asks for all that a reader of its
records would have to take on trust: approvals that are signed, a state that has a name, and
surroundings as they were declared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InputError
from . import envelope, environment
from .classes import DataClass
from .tiers import ControlPlan

ISOLATION = ("none", "namespace", "container")
ROLES = {"templates": "model_validator", "envelope": "use_case_owner"}
"""Kind of approval -> role, as the keyring names it, of those who may give it."""
OF_A_SOURCE = ("registered", "twice", "it is from", "without a licence", "not dated")
"""How findings of `sources` end, which no classification clears."""
ADD = ("workbench keys add --track governed --id ID --name NAME --email EMAIL --role {} "
       "--public-key KEY.pub --sign-with KEYHOLDERS_KEY")  # fmt: skip
Digests = Mapping[str, str]


@dataclass(frozen=True)
class Missing:
    """One thing that somebody owes before a run may start."""

    what: str
    who: str
    """Data steward, use-case owner, model validator, engineer, keyholder or whoever commits."""
    how: str
    """What that person types or does."""

    def __str__(self) -> str:
        return f"{self.what} ({self.who}: {self.how})"


@dataclass(frozen=True)
class Facts:
    """What a run rests on, as it stands now. On the governed track each default refuses."""

    plan: ControlPlan
    unclassified: Sequence[str] = ()
    """Findings of `execution.classification`."""
    classes: Collection[DataClass | str] = ()
    """Of the declared columns."""
    dirty: bool | None = None
    """None where the use case is no repository."""
    isolation: str = "none"
    lacking: str | None = None
    """Why this machine gives no more isolation."""
    approvals: Mapping[str, tuple[Digests, Digests | None]] = field(default_factory=dict)
    """Kind that this run needs -> digests by name as they are now, and as a person approved them."""
    holders: Mapping[str, str] = field(default_factory=dict)
    """Role -> name of a person in the keyring who holds it."""
    method: str | None = None
    """Of adaptation, where the run adapts."""
    outside: Sequence[envelope.Outside] = ()
    """Where the change that the run plans leaves the envelope."""
    environment: Sequence[environment.Difference] | None = None
    """Where the observed one is not the declared one; None where none is declared."""
    criteria: Sequence[str] = ()
    """What the criteria lack of the plan: layers without a gate that blocks, too few cases."""
    zone: InputError | None = None
    """Why the declared zone may not hold the data."""


def refusals(track: str, facts: Facts) -> list[Missing]:
    """All that is missing for this run on this track; empty when it may start."""
    found = list(_data(track, facts))
    if track == "governed":
        for source in (_state, _approvals, _criteria, _change, _environment):
            found += source(facts)
    return found


def _data(track: str, facts: Facts) -> Iterator[Missing]:
    name = facts.holders.get("data_steward", "NAME")
    signs = " --track governed --sign-with KEY" if track == "governed" else ""
    for one in facts.unclassified:
        how = f"workbench classify --by '{name}'" + " --confirm" * ("signed" not in one) + signs
        if one.endswith(OF_A_SOURCE):
            how = "register and approve it in usecase.yaml: data.sources"
        yield Missing(f"unclassified data: {one}", "data steward", how)


def _state(facts: Facts) -> Iterator[Missing]:
    plan, level = facts.plan, facts.isolation
    if facts.dirty is None:
        what = "the use case is not in a git repository, so its state has no name"
        yield Missing(what, "whoever commits", "git init && git add -A && git commit")
    if facts.dirty:
        what = "the working tree has uncommitted changes"
        yield Missing(what, "whoever commits", "git add -A && git commit")
    if ISOLATION.index(level) < ISOLATION.index(plan.isolation):
        what = f"isolation is `{level}`; tier {plan.tier} asks for `{plan.isolation}`"
        yield Missing(what, "engineer", facts.lacking or "run on a machine that gives it")
    for name in sorted(
        {DataClass(name) for name in facts.classes} - set(plan.allowed_data_classes)
    ):
        what = f"tier {plan.tier} does not allow the data class `{name}`"
        yield Missing(what, "data steward", "take such columns out of the data")


def _approvals(facts: Facts) -> Iterator[Missing]:
    if "keyholder" not in facts.holders:
        yield Missing("there is no keyring of people yet", "keyholder", ADD.format("keyholder"))
    for kind, (present, approved) in facts.approvals.items():
        role = ROLES[kind]
        who = role.replace("_", " ").replace("use case", "use-case")
        how = f"workbench approve {kind} --by '{facts.holders.get(role, 'NAME')}' --sign-with KEY"
        if not present:
            how = f"name its file in usecase.yaml: {kind}; then {how}"
            said = [f"there is no change {kind}"]
        elif approved is None:
            said = [f"nobody has approved the {kind}: {', '.join(present)}"]
        else:
            said = [
                f"{name} is not what was approved: {approved.get(name, 'nothing')[:12]} then, "
                f"{now[:12]} now" for name, now in present.items() if approved.get(name) != now
            ]  # fmt: skip
        if said and role not in facts.holders:
            yield Missing(f"nobody in the keyring is a {who}", "keyholder", ADD.format(role))
        yield from (Missing(one, who, how) for one in said)


def _criteria(facts: Facts) -> Iterator[Missing]:
    for one in facts.criteria:
        yield Missing(one, "use-case owner", "add it to policy.yaml, before anything is trained")


def _change(facts: Facts) -> Iterator[Missing]:
    how = "choose another value in usecase.yaml: parameters"
    if facts.method == "full" and not facts.plan.full_fine_tuning:
        yield Missing(f"tier {facts.plan.tier} does not allow full fine-tuning", "engineer", how)
    for one in facts.outside:
        yield Missing(f"outside the change envelope: {one}", "engineer", how)


def _environment(facts: Facts) -> Iterator[Missing]:
    if facts.environment is None:
        how = "declare it, and name the file in usecase.yaml: environments.training"
        yield Missing("the training environment is not declared", "engineer", how)
    for one in facts.environment or ():
        what = f"not the declared environment: {one.field} is {one.observed}, not {one.declared}"
        yield Missing(what, "engineer", "run where it is as declared, or declare what is meant")
    if facts.zone:
        what = f"{facts.zone.what} Expected {facts.zone.expected}, given {facts.zone.given}"
        yield Missing(what, "engineer", facts.zone.next_step)

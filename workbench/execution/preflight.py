"""What a run rests on, collected before a kernel starts; `policy.tracks` says what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ..errors import InputError
from ..policy import gates, tiers, tracks
from ..policy.classes import strictest
from ..policy.envelope import decide
from ..policy.environment import compare
from ..policy.tracks import Facts, Missing
from ..record import clock
from ..record.keyring import Keyring
from ..record.store import Store
from . import approvals, capture, classification, envelope, environment, isolation, zones
from .operate import incidents
from .project import Project, runs_folder
from .stages import Stage, stages_for

ADAPT = "30_adapt"
TRAINING = "training"


def governed(project: Project) -> Any:
    """The governed store; where there is none an empty stand-in, so that looking makes nothing."""
    path = runs_folder(project.root) / "governed"
    if (path / "store.json").exists():
        return Store.open(path)
    ledger = SimpleNamespace(entries=lambda *_: [])
    return SimpleNamespace(path=path, track="governed", ledger=ledger, keyring=Keyring)


def missing(
    project: Project,
    store: Store,
    stages: Sequence[Stage],
    parameters: Mapping[str, Mapping[str, Any]],
    level: str,
) -> list[Missing]:
    """What stands between the use case and a run of these stages on the store's track.

    `parameters` are by stage, `level` is the isolation that this machine gives. An inspection runs
    before anything is classified: it is what proposes the classes. InputError when the use is
    barred; IntegrityError when a signature in the ledger does not count.
    """
    plan, data = tiers.control_plan(project.usecase), project.usecase.data
    facts: dict[str, Any] = {"plan": plan, "classes": data.classes}
    if not all(stage.facts.get("inspects") for stage in stages):
        facts["unclassified"] = classification.findings(store, project.usecase)
    if store.track == "governed":
        chosen = next((dict(parameters[s.name]) for s in stages if s.name == ADAPT), None)
        dirty = capture.repository(project.root).get("dirty")
        facts |= {"dirty": dirty, "isolation": level, "lacking": isolation.available()[1]}
        facts["criteria"] = _criteria(project, plan) if any(map(_decides, stages)) else ()
        facts |= _environment(project, [dict(parameters[s.name]) for s in stages], level)
        facts |= approvals_asked(project, store, stages, chosen) | _change(project, chosen)
    lost = incidents.untaught(project, store) if store.track == "governed" else []
    how = "put it back as it was: git log tells who changed it"
    return tracks.refusals(store.track, Facts(**facts)) + [
        Missing(f"the scenario of incident {one}, as it was reported", "engineer", how)
        for one in lost
    ]


def _decides(stage: Stage) -> bool:
    return bool(stage.facts.get("decides"))


def _criteria(project: Project, plan: tiers.ControlPlan) -> list[str]:
    """What the plan asks of the criteria and they do not: it would refuse at the very end."""
    of = {s.name: s.facts.get("layer") for s in stages_for(project.root, project.usecase)}
    held = {of.get(gate.stage) for gate in project.policy.gates if gate.blocking}
    absent = [layer for layer in plan.layers if layer not in held]
    return [
        *(
            f"tier {plan.tier} asks for the layer {layer}, and no gate of it blocks"
            for layer in absent
        ),
        *gates.preflight(project.policy, plan.cases_per_rule),
    ]


def approvals_asked(
    project: Project, store: Store, stages: Sequence[Stage], chosen: dict[str, Any] | None
) -> dict[str, Any]:
    """What this run needs approved, as it is and as it was approved; an envelope where it adapts."""
    present = {"templates": approvals.templates(project, stages)}
    if chosen is not None:
        present["envelope"] = approvals.envelope(project)
    said = {kind: approvals.in_force(store, kind, project.usecase.id) for kind in present}
    found = {kind: (now, said[kind] and said[kind]["names"]) for kind, now in present.items()}
    persons = store.keyring().persons
    holders = {role: person.name for person in persons for role in person.roles}
    return {"approvals": found, "holders": holders}


def _change(project: Project, chosen: dict[str, Any] | None) -> dict[str, Any]:
    """Where the retraining that is planned leaves the envelope."""
    found = envelope.load(project) if chosen is not None else None
    outside = decide(found, envelope.planned(project, chosen)) if found else []
    return {"method": (chosen or {}).get("method"), "outside": outside}


def _environment(project: Project, asked: list[dict[str, Any]], level: str) -> dict[str, Any]:
    """Where it is not as declared for any stage that chooses its threads; others compute on one."""
    found = environment.declared(project, TRAINING)
    if found is None:
        return {}
    refused = None
    try:
        if project.usecase.data.classes:
            zones.check_zone(found, strictest(project.usecase.data.classes), "The data")
    except InputError as error:
        refused = error
    today = clock.parse(clock.now()).date()
    choosing = [chosen for chosen in asked if "threads" in chosen]
    apart = {
        one.field: one
        for chosen in choosing or [found.compute.model_dump(exclude_none=True)]
        for one in compare(found, environment.observe(chosen, level), today)
    }
    return {"environment": list(apart.values()), "zone": refused}

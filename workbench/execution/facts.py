"""What the records of a pipeline say: their files by stage, and the facts for cards and briefs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import IntegrityError
from ..policy.cards.facts import CardFacts, Source
from ..policy.governance import SETS
from ..policy.usecase import UseCase
from ..record.digest import digest
from ..record.statement import SEALS
from ..record.store import Record
from .inputs import OUTPUTS, SEALED_SUFFIX

INTAKE, BASE, DATASET, ADAPTATION = "10_intake", "15_base", "20_dataset", "30_adapt"
FUNCTIONAL, CALIBRATION, VALIDATION = "40_functional", "43_calibration", "49_validation"
FIGURES, VERDICTS = "figures.json", "verdicts.json"
LOCKED = "locked"  # named by digest; its rows are nothing that a card says
PLACES = {
    "usecase": (INTAKE, "usecase.json"), "plan": (INTAKE, "plan.json"),
    "criteria": (INTAKE, "criteria.json"), "base": (BASE, "model/base.json"),
    "operations": (INTAKE, "operations.json"),
    "data": (DATASET, "manifest.json"), LOCKED: (DATASET, "locked.parquet"),
    "adaptation": (ADAPTATION, "adapter/adaptation.json"),
    "validation": (VALIDATION, "validation.json"),
}  # fmt: skip
"""Fact -> the stage and the output that it stands in."""
SURROUNDINGS = {"declared": "declared_environment", "observed": "environment"}
Json = dict[str, Any]


class Sealed:
    """Outputs of records by stage; rows of persons, which are encrypted, are never read."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.records = dict(sorted(records.items()))

    def source(self, stage: str, name: str) -> Source | None:
        """Where an output stands, encrypted or not; None where there is none."""
        record, paths = self.records.get(stage), {OUTPUTS + name, OUTPUTS + name + SEALED_SUFFIX}
        for one in record.statement.subject if record else ():
            if one.name in paths:
                return Source(record.digest, record.ref, one.name, one.digest["sha256"])
        return None

    def bytes(self, stage: str, name: str) -> bytes | None:
        """Its bytes; None where there is none in the clear. IntegrityError where they changed."""
        source = self.source(stage, name)
        if source is None or self.records[stage].encrypted(source.path):
            return None
        path = self.records[stage].path / source.path
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != source.sha256:
            raise IntegrityError("a sealed file was changed", where=path, expected=source.sha256)
        return data

    def json(self, stage: str, name: str, default: Any = None) -> Any:
        """Its JSON, or `default`."""
        data = self.bytes(stage, name)
        return default if data is None else json.loads(data)

    def internal(self, stage: str) -> Json:
        """What the engine noted of a stage's run; empty where it did not run."""
        record = self.records.get(stage)
        return record.statement.predicate.buildDefinition.internalParameters if record else {}

    def parameters(self, stage: str) -> Json:
        """The parameters that a stage ran with; empty where it did not run."""
        return self.records[stage].statement.parameters if stage in self.records else {}


def card_facts(
    sealed: Sealed, verdicts: Sequence[Json], identity: Json, before: Source | None = None
) -> CardFacts:
    """All that cards and briefs may say of a candidate; `before` is the manifest of its parent.

    InputError where the intake left no use case, no plan or no criteria.
    """
    for name in ("usecase", "plan", "criteria"):
        sealed.records[INTAKE].file(OUTPUTS + PLACES[name][1])
    found = {name: sealed.json(*place) for name, place in PLACES.items() if name != LOCKED}
    usecase = UseCase.parse(found["usecase"], where=INTAKE)
    figures = {stage: sealed.json(stage, FIGURES) for stage in sealed.records}
    sources = _sources(sealed) | ({"identity": before} if before else {})
    return CardFacts(
        usecase, found["plan"], found["criteria"],
        base=usecase.base.model_dump(mode="json", exclude_none=True) | (found["base"] or {}),
        verdicts=verdicts, figures={stage: one for stage, one in figures.items() if one},
        validation=found["validation"], data=_data(sealed, found["data"] or []),
        adaptation={"parameters": sealed.parameters(ADAPTATION), **(found["adaptation"] or {})},
        environment=environment(sealed), sources=sources, records=told(sealed), identity=identity,
    )  # fmt: skip


def told(sealed: Sealed) -> list[Json]:
    """Stage, ref, digest and end of every record."""
    return [
        {"stage": stage, "ref": one.ref, "digest": one.digest,
         "finished": one.statement.predicate.runDetails.metadata.finishedOn}
        for stage, one in sealed.records.items()
    ]  # fmt: skip


def environment(sealed: Sealed) -> Json:
    """`declared` and `observed`: whole for the functional validation, by digest for every stage;
    `container` is the digest of the image that it ran in, or null."""
    stages = {
        stage: {name: sealed.internal(stage).get(key) for name, key in SURROUNDINGS.items()}
        for stage in sealed.records
    }
    here = stages.get(FUNCTIONAL, dict.fromkeys(SURROUNDINGS))
    image = (here["observed"] or {}).get("image")
    digests = {s: {name: v and digest(v) for name, v in one.items()} for s, one in stages.items()}
    note = "as $WORKBENCH_IMAGE stated it" if image else "not in a container"
    return here | {"container": image, "container_note": note, "stages": digests}


def _data(sealed: Sealed, steps: list[Json]) -> Json:
    counted, record = sealed.json(DATASET, FIGURES, {}), sealed.records.get(DATASET)
    rows = {name: counted.get(f"rows_{name}", {}).get("value") for name in SETS}
    read = [one for one in record.statement.inputs if one.annotations.get("input") == "data"]
    return {
        "manifest": steps,
        "rows": {name: int(n) for name, n in rows.items() if n is not None},
        "snapshot": {"uri": read[0].uri, **read[0].digest} if read else {},
    }


def _sources(sealed: Sealed) -> dict[str, Source]:
    """Name of a fact -> where it stands; a fact that no record holds has none."""
    places = dict(PLACES)
    for stage in sealed.records:
        places |= {f"verdicts:{stage}": (stage, VERDICTS), f"figures:{stage}": (stage, FIGURES)}
    found = {name: sealed.source(*place) for name, place in places.items()}
    if record := sealed.records.get(FUNCTIONAL):
        found["environment"] = Source(record.digest, record.ref, SEALS[0], record.digest)
    if record := sealed.records.get(ADAPTATION):
        found["parameters"] = Source(record.digest, record.ref, SEALS[0], record.digest)
    return {name: source for name, source in found.items() if source}

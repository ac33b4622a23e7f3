"""What a record says about itself: in-toto Statement v1 with a SLSA provenance v1 predicate.

Models keep every field that they don't know (in-toto: "consumers MUST ignore unrecognized
fields"), so that a later version's statement survives a read and a write unchanged. Fields of our
own are named ``workbench_...`` as SLSA provenance v1 asks of extensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import InputError, IntegrityError
from workbench.record.digest import Entry, canonical, read_canonical

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:workbench:stage:v1"
BUILDER_ID = "urn:workbench:engine:v1"
SEALS = ("statement.json", "statement.sigs.json")
"""The two files of a record that the subject can't cover, as they come after it."""


class Part(BaseModel):
    """A part of a statement; unknown fields are kept, only fields that were set are written."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    def data(self) -> dict[str, Any]:
        """Plain JSON data, fields named as the specification names them."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class ResourceDescriptor(Part):
    """in-toto ResourceDescriptor v1: a file by name and digest."""

    name: str
    digest: dict[str, str]
    uri: str | None = None
    annotations: dict[str, Any] = Field(default_factory=dict)


class BuildDefinition(Part):
    """SLSA v1 ``buildDefinition``: everything that should decide the result."""

    buildType: str
    externalParameters: dict[str, Any]
    internalParameters: dict[str, Any] = Field(default_factory=dict)
    resolvedDependencies: list[ResourceDescriptor] = Field(default_factory=list)


class Builder(Part):
    """SLSA v1 ``builder``: who is trusted to have filled in the rest."""

    id: str
    version: dict[str, str] = Field(default_factory=dict)


class Metadata(Part):
    """SLSA v1 ``metadata``: this one run. ``invocationId`` is the run's id."""

    invocationId: str = ""
    startedOn: str | None = None
    finishedOn: str | None = None


class RunDetails(Part):
    """SLSA v1 ``runDetails``."""

    builder: Builder
    metadata: Metadata


class Provenance(Part):
    """SLSA provenance v1 with the extension fields of this workbench."""

    buildDefinition: BuildDefinition
    runDetails: RunDetails
    workbench_outcome: str
    """``succeeded`` or ``failed``."""
    workbench_error: Any = None
    """What broke, for a failed run: cell, ename, evalue, traceback."""
    workbench_verdicts: list[Any] = Field(default_factory=list)
    """Gate results, recomputed outside the kernel."""
    workbench_claims: dict[str, Any] = Field(default_factory=dict)
    """Figures as the notebook claims them; a gate never uses them."""
    workbench_encrypted: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Path → ``snapshot`` whose key opens it and keyed digest of its ``plaintext``."""


class Statement(Part):
    """in-toto Statement v1 over every file of a record but the two seals."""

    type_: str = Field(alias="_type")
    subject: list[ResourceDescriptor]
    predicateType: str
    predicate: Provenance

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Read sealed bytes; IntegrityError unless they are canonical and of our types."""
        try:
            statement = cls.model_validate(read_canonical(data))
        except ValidationError as error:
            first = error.errors()[0]
            given = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise IntegrityError("not a statement of ours", given=given) from error
        found = (statement.type_, statement.predicateType)
        if found != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise IntegrityError("a statement of another type", given=found)
        return statement

    def to_bytes(self) -> bytes:
        """The canonical bytes that are signed and digested."""
        return canonical(self.data())

    def sealed(self, run_id: str, files: Iterable[Entry]) -> Statement:
        """A copy over these files and under this run's id."""
        copy = self.model_copy(deep=True)
        copy.subject = subjects(files)
        copy.predicate.runDetails.metadata.invocationId = run_id
        return copy

    @property
    def stage(self) -> str:
        """The stage that made the record."""
        return self.predicate.buildDefinition.externalParameters.get("stage", "")

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the stage, defaults included."""
        return self.predicate.buildDefinition.externalParameters.get("parameters", {})

    @property
    def inputs(self) -> list[ResourceDescriptor]:
        """What the stage read, by digest."""
        return self.predicate.buildDefinition.resolvedDependencies

    @property
    def run_id(self) -> str:
        """The run that made the record, as the ledger's start entry names it."""
        return self.predicate.runDetails.metadata.invocationId


def statement_digest(data: bytes) -> str:
    """The digest that names a record: SHA-256 in hex of the bytes of statement.json."""
    return hashlib.sha256(data).hexdigest()


def subjects(files: Iterable[Entry]) -> list[ResourceDescriptor]:
    """Files as subjects: digest, and size and exec bit as annotations. Seals are left out."""
    return [
        ResourceDescriptor(
            name=file.path,
            digest={"sha256": file.sha256},
            annotations={"size": file.size, "executable": file.executable},
        )
        for file in sorted(files)
        if file.path not in SEALS
    ]


def file_input(
    name: str, sha256: str, *, uri: str | None = None, **notes: Any
) -> ResourceDescriptor:
    """A plain file as an input; notes become annotations."""
    return ResourceDescriptor(
        name=name, digest={"sha256": sha256}, uri=uri or f"file:{name}", annotations=notes
    )


def build(
    *,
    stage: str,
    parameters: dict[str, Any],
    usecase: Any,
    track: str,
    started: str,
    finished: str,
    outcome: str,
    inputs: Iterable[ResourceDescriptor] = (),
    isolation: str = "none",
    environment: dict[str, Any] | None = None,
    internal: dict[str, Any] | None = None,
    builder_version: str = "",
    error: Any = None,
    verdicts: Iterable[Any] = (),
    claims: dict[str, Any] | None = None,
    encrypted: dict[str, dict[str, str]] | None = None,
) -> Statement:
    """A statement from plain values; publishing fills in the subject and the run's id."""
    if outcome not in ("succeeded", "failed"):
        raise InputError("unknown outcome", given=outcome, expected="succeeded or failed")
    definition = BuildDefinition(
        buildType=BUILD_TYPE,
        externalParameters={
            "stage": stage,
            "parameters": parameters,
            "usecase": usecase,
            "track": track,
        },
        internalParameters={
            "isolation": isolation,
            "environment": environment or {},
            **(internal or {}),
        },
        resolvedDependencies=list(inputs),
    )
    details = RunDetails(
        builder=Builder(id=BUILDER_ID, version={"workbench": builder_version}),
        metadata=Metadata(invocationId="", startedOn=started, finishedOn=finished),
    )
    extensions = {
        "workbench_error": error,
        "workbench_verdicts": list(verdicts),
        "workbench_claims": claims,
        "workbench_encrypted": encrypted,
    }
    return Statement(
        type_=STATEMENT_TYPE,
        subject=[],
        predicateType=PREDICATE_TYPE,
        predicate=Provenance(
            buildDefinition=definition,
            runDetails=details,
            workbench_outcome=outcome,
            **{name: value for name, value in extensions.items() if value},
        ),
    )

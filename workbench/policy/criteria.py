"""The criteria (`policy.yaml`): frozen before the run, each with its harm and why (V8)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, model_validator

from .documents import Document

# Strict, so that YAML's `yes` (a truth value) is refused where a word or a number is meant.
Scalar = StrictStr | StrictInt
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class Threshold(Document):
    """What a figure must reach; shared by criteria and rules."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    """Short name, used in records."""
    stage: str = "41_policy"
    """The stage whose table is judged."""
    table: str = "replies.parquet"
    """The file below that stage's outputs."""
    where: dict[str, Scalar | list[Scalar]] = {}
    """Column -> value or values; only rows that agree with all are judged."""
    at_least: Number | None = None
    """Lower threshold; exactly one of `at_least` and `at_most` is given."""
    at_most: Number | None = None
    """Upper threshold."""
    bound: Literal["value", "lower", "upper"]
    """Compared is the figure itself or the end of its interval that is worse for us."""
    level: float = Field(default=0.95, gt=0.5, lt=1, strict=True)
    """Confidence of the two-sided interval; 0.90 makes each end a one-sided 95 % bound."""
    min_n: int = Field(default=1, ge=0, strict=True)
    """Fewer cases than this are insufficient evidence; 0 only where no row is what we want."""
    blocking: StrictBool
    """Does a release stand or fall with it?"""
    acceptable: StrictBool = False
    """May a person accept that it failed, where the plan leaves that to such a mark?"""
    harm: Text
    """The harm that it bounds."""
    why: Text
    """Why the threshold is where it is."""

    @model_validator(mode="after")
    def _one_direction(self) -> Threshold:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("exactly one of at_least and at_most")
        lenient = "upper" if self.at_least is not None else "lower"
        if self.bound == lenient:
            raise ValueError(f"the end of the interval that is worse for us, not `{lenient}`")
        return self

    @property
    def asked(self) -> str:
        """The threshold in words."""
        side = "" if self.bound == "value" else f"{self.bound} bound "
        if self.at_least is not None:
            return f"{side}at least {self.at_least:g}"
        return f"{side}at most {self.at_most:g}"

    def met(self, value: float) -> bool:
        return value >= self.at_least if self.at_least is not None else value <= self.at_most


class Criterion(Threshold):
    """A threshold on a figure of a stage's table."""

    stage: str
    """The stage whose table is judged."""
    table: str
    """The file below that stage's outputs."""
    figure: str
    """Name of a registered figure."""
    arguments: dict[str, Any] = {}
    """Arguments of the figure."""


class Probes(Document):
    """Rows whose outcome is known: the scorer must tell them apart before its word counts."""

    must_pass: list[dict[str, Scalar]] = Field(min_length=1)
    """Rows that the rule is kept by."""
    must_fail: list[dict[str, Scalar]] = Field(min_length=1)
    """Rows that break it."""


class PolicyRule(Threshold):
    """A rule about single replies; its figure is the share of cases that keep it."""

    text: Text
    """The rule, as a policy states it."""
    scorer: str
    """Name of a registered scorer."""
    arguments: dict[str, Any] = {}
    """Arguments of the scorer."""
    cases: str | None = None
    """Scenario file with the locked cases of this rule; without one, it holds for every row."""
    probes: Probes
    """Rows that prove the scorer."""


class Policy(Document):
    """`policy.yaml`."""

    version: int = Field(ge=1, strict=True)
    """Counts up with every change."""
    look_budget: int = Field(default=1, ge=1, strict=True)
    """Candidates that may be examined on one locked set; every interval pays for all of them."""
    rules: list[PolicyRule] = []
    """Rules about single replies."""
    criteria: list[Criterion] = []
    """Thresholds on figures."""
    reasons: dict[str, Text] = {}
    """Id -> text of the rules that a model may cite as its reason."""

    @model_validator(mode="after")
    def _distinct(self) -> Policy:
        ids = Counter(item.id for item in self.gates)
        twice = [name for name, times in ids.items() if times > 1]
        if twice:
            raise ValueError(f"ids that differ from each other; used twice: {', '.join(twice)}")
        return self

    @property
    def gates(self) -> list[Criterion | PolicyRule]:
        """Everything that yields a verdict."""
        return [*self.criteria, *self.rules]

    @property
    def required(self) -> list[str]:
        """Ids without which a release can't go on."""
        return [item.id for item in self.gates if item.blocking]

    def of(self, stage: str) -> list[Criterion | PolicyRule]:
        """The gates over one stage's tables."""
        return [item for item in self.gates if item.stage == stage]

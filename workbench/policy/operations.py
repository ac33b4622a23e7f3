"""How a release is to be served, rehearsed, watched and taken back (`operations.yaml`).

Fixed before anything is served: the file is frozen with the criteria, lies in the bundle, and is
part of what people approve. Every threshold names the harm that it bounds.
"""

from __future__ import annotations

from datetime import time
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from .criteria import Criterion, Text
from .documents import Document

Share = Annotated[float, Field(gt=0, le=1)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
STAGES = {"rehearsal": "60_preproduction", "promotion": "70_deploy"}


class Serving(Document):
    """Limits and settings of the server."""

    threads: PositiveInt = 2
    """Threads of the numeric libraries."""
    max_chars: PositiveInt = 4000
    """Characters of a text; a longer one is refused."""
    timeout_s: PositiveFloat = 10.0
    """Seconds until the fallback answers in place of the model."""
    read_s: PositiveFloat = 10.0
    """Seconds in which a caller has sent the head of a request, and again for its body."""
    waiting: PositiveInt = 32
    """Requests that wait at most; one more is told to come back."""
    batch: PositiveInt = 8
    """Requests that are computed together at most."""
    reply_tokens: PositiveInt = 32
    """Tokens of a written reply at most."""
    requests_per_minute: PositiveInt = 600
    """Of one caller."""


class Guard(Document):
    """A rule of the policy that each reply must keep before it leaves the server."""

    rule: Text
    """Id of a rule in policy.yaml; its scorer judges."""
    then: Literal["fallback", "escalate"] = "fallback"
    """What happens to a reply that breaks it, or that nobody can score: it is not sent, or it is
    marked for a person."""


class Fallback(Document):
    """What answers where the model must not."""

    answer: dict[str, str] | None = None
    """Sent in place of the model's answer, marked as such; None refuses (fail-closed, 503)."""
    say: Text = "A person will answer."
    """What the caller is told."""


class Load(Document):
    """The load that is stated, and under which `45_operations` measures."""

    requests_per_s: PositiveFloat
    """Arrivals, evenly spaced, whether or not the server keeps up (open loop)."""
    seconds: PositiveInt = 30
    """For how long."""


class Window(Document):
    """When what serves may be changed; taking back needs no window."""

    days: list[Day] = Field(default=["mon", "tue", "wed", "thu"], min_length=1)
    """Days of the week."""
    start: time = time(8)
    """From, in `zone`."""
    end: time = time(16)
    """Until."""
    zone: Text = "UTC"
    """Name in the time zone database."""

    @model_validator(mode="after")
    def _order(self) -> Window:
        if self.start >= self.end:
            raise ValueError("a window that ends after it starts")
        return self


class Canary(Document):
    """The first share of traffic, and when it may grow to all of it."""

    share: Share = 0.1
    """Of the subjects, by a stable hash."""
    requests: PositiveInt = 200
    """Answered by the canary before it may be promoted, at least."""
    minutes: PositiveFloat = 60.0
    """For which it has run, at least."""


class Deployment(Document):
    """What an environment asks before and while a release serves there."""

    rehearsed: bool = False
    """Must a rehearsal in pre-production have passed, and parity hold?"""
    canary: Canary | None = None
    """Must it begin as a canary?"""
    window: Window | None = None
    """When may what serves be changed?"""


class Signal(Document):
    """One thing that is watched in the served log."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    """Short name, used in records."""
    watch: Literal["length", "shape", "meaning", "answers", "confidence", "abstained", "guard",
                   "sentinel", "error", "latency"]  # fmt: skip
    """length: characters; shape: share of texts unlike validation's in language or encoding;
    meaning: sketch of the embedding; answers: mix of the labels; confidence; the rest are rates."""
    rule: str | None = None
    """Of a guard or sentinel: only this rule's."""
    at_most: float | None = Field(default=None, ge=0)
    """Of a rate: the share that is borne (abstained, guard, sentinel, error), or of latency the
    share slower than `slower_than_ms`."""
    slower_than_ms: PositiveFloat | None = None
    """Of latency: what counts as slow."""
    psi: PositiveFloat | None = None
    """Of a distribution: a shift below this Population Stability Index is borne."""
    then: Literal["report", "roll_back"] = "report"
    """Acceptable drift is reported; unsafe drift halts the canary or rolls back."""
    harm: Text
    """The harm that it bounds."""
    why: Text
    """Why the threshold is where it is."""

    @property
    def rate(self) -> bool:
        """Is a share of requests watched, and not a distribution?"""
        return self.watch in ("abstained", "guard", "sentinel", "error", "latency")

    @model_validator(mode="after")
    def _threshold(self) -> Signal:
        if self.rate != (self.at_most is not None) or self.rate != (self.psi is None):
            raise ValueError("at_most for a rate, psi for a distribution")
        if (self.watch == "latency") != (self.slower_than_ms is not None):
            raise ValueError("slower_than_ms for latency, and for nothing else")
        return self


class Monitor(Document):
    """What is watched in the log of what was served."""

    false_alarms: float = Field(default=0.05, gt=0, lt=1)
    """Chance of any unsafe alarm, ever, while nothing has changed; shared by all signals."""
    sentinel_every_s: PositiveFloat = 60.0
    """Seconds between two sentinel cases."""
    sentinels: int = Field(default=50, ge=0)
    """Scenarios that are asked again and again, as many at most."""
    signals: list[Signal] = Field(min_length=1)
    """Each with its threshold."""

    @model_validator(mode="after")
    def _distinct(self) -> Monitor:
        if len({one.id for one in self.signals}) != len(self.signals):
            raise ValueError("signals with ids that differ")
        return self


class Operations(Document):
    """`operations.yaml`."""

    version: int = Field(ge=1, strict=True)
    """Counts up with every change."""
    serving: Serving = Serving()
    """Limits and settings."""
    guards: list[Guard] = []
    """Rules that each reply is held against."""
    abstain: bool = True
    """Is the model silent below the threshold that its calibration chose?"""
    fallback: Fallback = Fallback()
    """What answers where the model must not."""
    load: Load
    """The stated load."""
    deployments: dict[str, Deployment] = {}
    """Environment -> what it asks; one that is not named asks for a registered release only."""
    rehearsal: list[Criterion] = []
    """Criteria over the tables of 60_preproduction."""
    promotion: list[Criterion] = []
    """Criteria over the tables of 70_deploy: when a canary may be promoted."""
    monitor: Monitor
    """What is watched."""

    @model_validator(mode="after")
    def _stages(self) -> Operations:
        for field, stage in STAGES.items():
            if wrong := [one.id for one in getattr(self, field) if one.stage != stage]:
                raise ValueError(f"criteria of stage {stage} under {field}, not {wrong}")
        return self

    def plain(self) -> dict[str, Any]:
        """As it lies in the bundle."""
        return self.model_dump(mode="json", by_alias=True)

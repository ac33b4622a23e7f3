"""What may serve, and what was served: leases and lines of the decision log (E3).

1. A lease says which releases one environment may answer with, for some seconds. The authority,
   which reads ledger and records, signs it anew all the time; a server without a lease in force
   answers nothing from a model.
2. A subject is served by the same release while the shares stay as they are: `arm` is a stable
   hash. More share never takes a subject away from the canary.
3. A decision that can't be logged is not given. No line holds what a person wrote.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import Field

from ..record import clock
from .documents import Document
from .reading import language

LEASE_S = 20
"""Seconds that a lease is in force: how long a revoked release can at worst answer."""
NAMESPACE = "serve@workbench"
TRIAL = "validation"
"""The environment in which 45_operations tries a candidate; it never listens on a port."""
Arm = Literal["stable", "canary"]
SPAN = 10_000


class Grant(Document):
    """A release that may answer."""

    bundle: str
    """Digest of its manifest."""
    folder: str
    """Where the bundle lies for the server."""
    base: str
    """Where its base model lies."""
    entry: int
    """The ledger entry that put it there; -1 in a trial."""
    share: float = Field(default=1.0, ge=0, le=1)
    """Of the subjects; of a canary its share, of the stable release all others."""


class Lease(Document):
    """What an environment may answer with until `expires`."""

    version: int = 1
    """Of this form."""
    usecase: str
    """Id of the use case."""
    environment: str
    """Where it holds."""
    issued: str
    """UTC."""
    expires: str
    """UTC; from then on nothing of it holds."""
    ledger: int
    """Size of the ledger that it was read from; a smaller one never follows."""
    salt: str
    """Of the stable hash; the same for all leases of an environment."""
    stable: Grant | None = None
    """Answers all whom the canary does not."""
    canary: Grant | None = None
    """Answers its share."""
    why: list[str] = []
    """Why something that was deployed is not granted, for people."""

    def fault(self, now: str) -> str:
        """Why it does not hold at this time; empty when it does."""
        if clock.parse(now) >= clock.parse(self.expires):
            return f"the lease ended at {self.expires}"
        if clock.parse(now) < clock.parse(self.issued):
            return f"the lease begins at {self.issued}"
        return ""

    @property
    def granted(self) -> dict[Arm, Grant]:
        """Arm -> release, of those that there are."""
        arms: dict[Arm, Grant | None] = {"stable": self.stable, "canary": self.canary}
        return {arm: grant for arm, grant in arms.items() if grant}


def arm(subject: str, lease: Lease) -> Arm:
    """Which of the two a subject is served by: a stable hash below the canary's share."""
    held = hashlib.sha256(f"{lease.salt}\n{subject}".encode()).digest()
    place = int.from_bytes(held[:8], "big") % SPAN
    return "canary" if lease.canary and place < lease.canary.share * SPAN else "stable"


class Decision(Document):
    """One line of the decision log, as canonical JSON; `previous` chains it to the line before."""

    version: int = 1
    """Of this form."""
    number: int
    """Counts from 0 in its file."""
    previous: str
    """SHA-256 of the line before, without its end, be it in the file before; 64 zeros at the first
    of all."""
    time: str
    """When it was decided, UTC."""
    environment: str
    """Where it was decided."""
    arm: Arm | None
    """None where no release was granted."""
    bundle: str | None
    """The release that was asked, even if the fallback answered."""
    entry: int | None
    """The ledger entry that put it there."""
    request: str
    """HMAC-SHA-256 of the text under a key of the server's."""
    subject: str
    """HMAC-SHA-256 of the subject under the same key."""
    caller: str
    """Name that belongs to the token."""
    kind: Literal["traffic", "sentinel", "rehearsal"]
    """A caller's request, a sentinel case of the monitor's, or a rehearsed one."""
    sentinel: str | None = None
    """Of a sentinel or a rehearsed case: the id of the case."""
    shape: dict[str, Any]
    """Of the text: `chars`, `words`, `language` (guess), `ascii` (share), `missing` (0 or 1)."""
    sketch: list[float] = []
    """A projection of the text's embedding to 16 numbers; too few to read the text from."""
    answer: dict[str, str] = {}
    """Closed fields of what the model said: labels, never free text."""
    confidence: dict[str, float] = {}
    """Field -> confidence, calibrated where a temperature was chosen."""
    abstained: bool = False
    """Was the model silent for lack of confidence?"""
    verdicts: dict[str, Literal["pass", "fail", "unscored"]] = {}
    """Guard's rule -> outcome."""
    outcome: Literal["answered", "escalated", "fallback", "refused"]
    """What the caller got."""
    reason: str = ""
    """Why it was not the model's answer: `abstained`, `guard RULE`, `timeout`, `worker`, `no lease`,
    `busy`, `input`; `starting` while a server that has just begun reads the weights."""
    status: int
    """HTTP status."""
    latency_ms: float
    """From the whole request read to the answer ready."""


def shape(text: str) -> dict[str, Any]:
    """What the log keeps of a text in place of it: `Decision.shape`."""
    plain = sum(character.isascii() for character in text)
    return {
        "chars": len(text),
        "words": len(text.split()),
        "language": language(text) or "unknown",
        "ascii": round(plain / len(text), 3) if text else 1.0,
        "missing": int(not text.strip()),
    }

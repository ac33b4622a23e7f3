"""Which lease is believed.

1. It is signed by the server's key in `serve@workbench`; unsigned only in a trial.
2. It is of this use case and environment.
3. Signed, it lasts 20 seconds at most: no authority can grant for longer.
4. It was not read from a smaller ledger than the one before.

One that is believed takes the place of the one before, even if it has ended itself. One that is not
takes nothing from the one before, which holds until its own end: so who can write to the folder can
stop the answers, and grant nothing.
"""

from __future__ import annotations

import json
import os
import time

from ...errors import IntegrityError, WorkbenchError
from ...policy.serving import LEASE_S, NAMESPACE, Arm, Grant, Lease
from ...record import clock, person
from ...record.digest import canonical
from .spec import Spec


class Leases:
    """The lease in force, from a file that an authority writes anew all the time."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.refused = spec, "there is no lease yet"
        self._held: Lease | None = None
        self._until, self._seen = 0.0, (0, 0, 0)

    def look(self) -> None:
        """Read the file if it is another one than before, and believe it or say why not."""
        try:
            about = os.stat(self.spec.lease)
            seen = about.st_ino, about.st_mtime_ns, about.st_size
            if seen != self._seen:
                self._seen = seen
                self._believe(json.loads(self.spec.lease.read_bytes()))
                self.refused = ""
        except FileNotFoundError:
            self.refused, self._seen = "there is no lease", (0, 0, 0)
        except WorkbenchError as error:
            self.refused = error.what
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.refused = "the lease can't be read"

    def _believe(self, envelope: dict) -> None:
        lease = Lease.parse(envelope["statement"], where="lease")
        lasts = (clock.parse(lease.expires) - clock.parse(lease.issued)).total_seconds()
        signed = self.spec.server_key is not None
        for wrong, what in (
            (lease.usecase != self.spec.usecase, "the lease is another use case's"),
            (lease.environment != self.spec.environment, "the lease is another environment's"),
            (signed and lasts > LEASE_S, f"the lease is for more than {LEASE_S} seconds"),
            (self._held and lease.ledger < self._held.ledger, "the lease is of an older ledger"),
        ):
            if wrong:
                raise IntegrityError(what)
        if signed:
            self._check(envelope)
        left = clock.parse(lease.expires) - clock.parse(clock.now())
        self._held, self._until = lease, time.monotonic() + left.total_seconds()

    def _check(self, envelope: dict) -> None:
        own = person.bare(self.spec.server_key or "")
        if "signature" not in envelope:
            raise IntegrityError("the lease is not signed")
        if (envelope["namespace"], person.bare(envelope["public_key"])) != (NAMESPACE, own):
            raise IntegrityError("the lease is signed by another key, or for another meaning")
        person.check(canonical(envelope["statement"]), NAMESPACE, own, envelope["signature"])

    @property
    def current(self) -> Lease | None:
        """The lease in force; a wall clock that is put back makes none last longer."""
        held = self._held
        if held is None or time.monotonic() >= self._until or held.fault(clock.now()):
            return None
        return held

    def grants(self, arm: Arm, grant: Grant) -> bool:
        """Does the lease in force still grant this release, by the same ledger entry?"""
        now = self.current.granted.get(arm) if self.current else None
        return now is not None and (now.bundle, now.entry) == (grant.bundle, grant.entry)

    @property
    def why(self) -> str:
        """What is wrong with the lease, or with the last that was not believed; empty if nothing."""
        held = "" if self.current or not self._held else self._held.fault(clock.now())
        return self.refused or held

    @property
    def age(self) -> float:
        """Seconds since the lease in force was issued; infinite without one."""
        held = self.current
        if held is None:
            return float("inf")
        return (clock.parse(clock.now()) - clock.parse(held.issued)).total_seconds()

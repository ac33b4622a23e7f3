"""People and their keys, in versions that can't roll back.

- A version names the digest of the one before and is signed (``keyring@workbench``) by a person
  whom the version before calls ``keyholder``; the first is signed by a keyholder of its own.
- A key that the version before revokes can't sign the next one, whatever time it claims.
- Versions live in the ledger, nowhere else: an old one can't be put back to revive a revoked key
  without breaking the ledger, and entering it again fails as it does not follow the last one.
- Revoking acts from its time on: what was signed before stays signed.
- A machine (``automation``) has no other role, and no key for what a person is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from workbench.errors import IntegrityError, WorkbenchError
from workbench.record import clock, person
from workbench.record.digest import digest
from workbench.record.ledger import Entry

NAMESPACE = "keyring@workbench"
AUTOMATION = "automation"
MACHINES = {"serve@workbench", "release@workbench", "incident@workbench"}
"""What a machine's key may sign."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Revocation(_Model):
    """From when a key counts no more, and why."""

    at: str
    reason: str


class Key(_Model):
    """One public key of a person."""

    public: str
    """OpenSSH line: type and base64."""
    valid_from: str
    valid_until: str | None = None
    revoked: Revocation | None = None
    namespaces: tuple[str, ...] = ("*@workbench",)
    """What the key may sign; ``*`` stands for anything."""

    def refusal(self, at: datetime, namespace: str | None) -> str | None:
        """Why the key doesn't count at that time for that meaning, or None."""
        if self.revoked and at >= clock.parse(self.revoked.at):
            return f"revoked at {self.revoked.at}: {self.revoked.reason}"
        if at < clock.parse(self.valid_from):
            return f"not valid before {self.valid_from}"
        if self.valid_until and at >= clock.parse(self.valid_until):
            return f"expired at {self.valid_until}"
        if namespace and not any(fnmatchcase(namespace, n) for n in self.namespaces):
            return f"not for {namespace}, only for {', '.join(self.namespaces)}"
        return None


class Person(_Model):
    """Who may sign, in which roles, with which keys."""

    id: str
    name: str
    email: str
    roles: tuple[str, ...]
    keys: tuple[Key, ...]


class Keyring(_Model):
    """One version of the keyring."""

    number: int = 1
    previous: str | None = None
    """Digest of the signed envelope of the version before."""
    issued: str = Field(default_factory=clock.now)
    persons: tuple[Person, ...] = ()
    sha256: str | None = Field(default=None, exclude=True)
    """Digest of this version's signed envelope, once it is in the ledger."""

    def find(self, public_key: str) -> tuple[Person, Key]:
        """The person and key of a public key line; IntegrityError when it is nobody's."""
        line = person.bare(public_key)
        for someone in self.persons:
            for key in someone.keys:
                if person.bare(key.public) == line:
                    return someone, key
        raise IntegrityError(
            "signed with a key that is not in the keyring",
            given=line,
            expected=f"a key of version {self.number}",
        )

    def who(self, public_key: str, at: str | datetime, namespace: str | None = None) -> Person:
        """The person whose valid key this was at that time; IntegrityError says why not."""
        someone, key = self.find(public_key)
        reason = key.refusal(clock.parse(at), namespace)
        if reason:
            raise IntegrityError(
                f"the key of {someone.name} does not count: {reason}", given=public_key
            )
        return someone

    def add(self, someone: Person) -> Keyring:
        """The next version with this person in it, in place of one with the same id."""
        kept = tuple(p for p in self.persons if p.id != someone.id)
        return self._next((*kept, someone))

    def revoke(self, public_key: str, reason: str, at: str | None = None) -> Keyring:
        """The next version, in which this key no longer counts from ``at`` (now) on."""
        owner, lost = self.find(public_key)
        end = Revocation(at=at or clock.now(), reason=reason)
        keys = tuple(k.model_copy(update={"revoked": end}) if k is lost else k for k in owner.keys)
        changed = owner.model_copy(update={"keys": keys})
        return self._next(tuple(changed if p is owner else p for p in self.persons))

    def _next(self, persons: tuple[Person, ...]) -> Keyring:
        """Only a version that was entered has a digest, and so a next number, to build on."""
        after = {"number": self.number + 1, "previous": self.sha256} if self.sha256 else {}
        known = {"persons": persons, "issued": clock.now(), "sha256": None}
        return self.model_copy(update=known | after)

    def data(self) -> dict[str, Any]:
        """Plain JSON data."""
        return self.model_dump(mode="json")


def follow(envelope: dict[str, Any], previous: Keyring | None, at: str | datetime) -> Keyring:
    """The version in an envelope, its signature at that time and its place after ``previous``
    checked; IntegrityError says what is wrong."""
    try:
        version = Keyring.model_validate(envelope["statement"])
        _check(version, previous, envelope, at)
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError("not a keyring version", given=str(error).split("\n")[0]) from error
    return version.model_copy(update={"sha256": digest(envelope)})


def versions(entries: Iterable[Entry]) -> list[tuple[int, Keyring]]:
    """(ledger index, version) of all versions in order, each checked against the one before."""
    found: list[tuple[int, Keyring]] = []
    held = [entry for entry in entries if entry.kind == "keyring"]
    person.check_together(entry.body.get("envelope") for entry in held)
    for entry in held:
        previous = found[-1][1] if found else None
        try:
            version = follow(entry.body.get("envelope", {}), previous, entry.time)
        except WorkbenchError as error:
            raise IntegrityError(
                f"keyring: {error.what}",
                where=f"ledger entry {entry.index}",
                expected=error.expected,
                given=error.given,
            ) from error
        found.append((entry.index, version))
    return found


def in_force(found: list[tuple[int, Keyring]], index: int) -> Keyring:
    """The version that held when this ledger entry was made; IntegrityError before the first."""
    held = [version for place, version in found if place < index]
    if not held:
        raise IntegrityError("signed before there was a keyring", where=f"ledger entry {index}")
    return held[-1]


def signer(found: list[tuple[int, Keyring]], entry: Entry, namespace: str) -> Person:
    """Who signed the envelope of a ledger entry, by the version that held when it was entered.

    IntegrityError when the signature does not count.
    """
    envelope = entry.body.get("envelope", {})
    return person.verify(envelope, in_force(found, entry.index), namespace, entry.time)


def _check(
    version: Keyring, previous: Keyring | None, envelope: dict[str, Any], at: str | datetime
) -> None:
    judge = previous or version
    expected = (previous.number + 1, previous.sha256) if previous else (1, None)
    if (version.number, version.previous) != expected:
        raise IntegrityError("does not follow the version before", given=version.number)
    if clock.parse(version.issued) < clock.parse(judge.issued):
        raise IntegrityError("issued before the version before it", given=version.issued)
    if previous and previous.find(envelope["public_key"])[1].revoked:
        raise IntegrityError("signed with a revoked key", given=envelope["public_key"])
    signer = person.verify(envelope, judge, NAMESPACE, at)
    if "keyholder" not in signer.roles:
        raise IntegrityError("signed by a person who is no keyholder", given=signer.name)
    for machine in (one for one in version.persons if AUTOMATION in one.roles):
        may = {name for key in machine.keys for name in key.namespaces}
        if len(machine.roles) > 1 or not may <= MACHINES:
            raise IntegrityError("a machine that may act as a person", given=machine.name)
    if not any(_may_sign_next(p, version.issued) for p in version.persons):
        raise IntegrityError("leaves nobody who could sign the next version")


def _may_sign_next(someone: Person, issued: str) -> bool:
    at = clock.parse(issued)
    return "keyholder" in someone.roles and any(
        not key.revoked and not key.refusal(at, NAMESPACE) for key in someone.keys
    )

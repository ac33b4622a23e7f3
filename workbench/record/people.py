"""Changing the keyring of a store: who is added, whose key is revoked, signed by a keyholder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from workbench.record import clock, keyring, person
from workbench.record.keyring import Key, Keyring, Person
from workbench.record.store import Store


def add(
    store: Store,
    *,
    person_id: str,
    name: str,
    email: str,
    roles: tuple[str, ...],
    public_key: Path,
    sign_with: Path,
    valid_days: int = 365,
) -> Keyring:
    """Enter a person with one SSH key, valid from now, in place of one with the same id."""
    start = datetime.now(UTC)
    times = {"valid_from": clock.text(start)}
    times["valid_until"] = clock.text(start + timedelta(days=valid_days))
    key = Key(public=person.public_line(public_key), **times)
    someone = Person(id=person_id, name=name, email=email, roles=tuple(roles), keys=(key,))
    return enter(store, (store.keyring or Keyring()).add(someone), sign_with)


def revoke(store: Store, public_key: Path, reason: str, sign_with: Path) -> Keyring:
    """Say that a key no longer counts, from now on."""
    line = person.public_line(public_key)
    return enter(store, (store.keyring or Keyring()).revoke(line, reason), sign_with)


def enter(store: Store, version: Keyring, key_path: Path) -> Keyring:
    """Sign a version with a keyholder's SSH key and enter it, if it follows the last one."""
    envelope = person.sign(version.data(), keyring.NAMESPACE, key_path)
    with store.making():  # so that two keyholders at once don't both follow the same version
        signed = keyring.follow(envelope, store.keyring, clock.now())
        body = {"number": signed.number, "sha256": signed.sha256, "envelope": envelope}
        store.ledger.append("keyring", body)
    return signed

"""Machines that sign: the server and the monitor of an environment, each with a key of its own.

A process has nobody to type a passphrase, so its key lies beside what it serves, readable by its
user alone. What such a key is worth the keyring says: a person of the role `automation`, entered
by a keyholder, for a namespace or two. The keyring refuses one that could do more (E7).
"""

from __future__ import annotations

import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path

from ...errors import InputError
from ...record import clock, keyring, person
from ...record.keyring import AUTOMATION, Keyring
from ...record.store import Store
from ..project import Project
from . import places

MAY = {"server": ("serve@workbench",), "monitor": ("release@workbench", "incident@workbench")}
"""Role of the process -> what its key may sign."""
MARK = " (machine)"


def key(project: Project, store: Store, environment: str, role: str) -> tuple[str, Path]:
    """Name in the keyring and key file of a process of an environment, when its key counts now.

    InputError when it has none; IntegrityError when the key is nobody's, revoked or expired.
    """
    path = _place(project, environment, role)
    if not path.exists():
        raise InputError(f"The {role} has no key of its own.", where=path,
                         next_step=_how(environment, role))  # fmt: skip
    if path.stat().st_mode & 0o077:
        raise InputError("Others can read a machine's key.", where=path, expected="mode 0600",
                         next_step=f"revoke it, then {_how(environment, role)}")  # fmt: skip
    ring, public = store.keyring(), person.public_line(path)
    for namespace in MAY[role]:
        ring.who(public, clock.now(), namespace)
    return ring.find(public)[0].name, path


def create(
    project: Project, store: Store, environment: str, role: str, *, name: str, by: str,
    sign_with: Path, days: int = 90,
) -> tuple[str, Path]:  # fmt: skip
    """Make the key of a process and enter it in the keyring, signed by a keyholder.

    A key that lies there and that the keyring doesn't know is entered, not replaced: the process
    may run with it. InputError while one counts, or for a keyholder of another name.
    """
    path, ring, now = _place(project, environment, role), store.keyring(), clock.now()
    signer = ring.who(person.public_line(sign_with), now, keyring.NAMESPACE)
    if signer.name != by:
        raise InputError("The key is another person's.", expected=by, given=signer.name)
    same = next((one for one in ring.persons if one.id == name), None)
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name) or (same and AUTOMATION not in same.roles):
        expected = "a-z, 0-9 and -, and no person's"
        raise InputError("Not a name for a machine.", given=name, expected=expected)
    if not _unknown(path, ring):
        _generate(path, name)
    until = clock.text(clock.parse(now) + timedelta(days=days))
    mine = keyring.Key(public=person.public_line(path), valid_from=now, valid_until=until,
                       namespaces=MAY[role])  # fmt: skip
    held = same.keys if same else ()
    someone = keyring.Person(id=name, name=name + MARK, email=f"{name}@machine.invalid",
                             roles=(AUTOMATION,), keys=(*held, mine))  # fmt: skip
    store.update_keyring(ring.add(someone), sign_with)
    return someone.name, path


def _unknown(path: Path, ring: Keyring) -> bool:
    """Does a key lie there that was never entered? InputError where one counts already."""
    if not path.exists():
        return False
    public = person.public_line(path)
    known = {person.bare(one.public): one for someone in ring.persons for one in someone.keys}
    if public not in known:
        return True
    if known[public].refusal(clock.parse(clock.now()), None) is None:
        raise InputError("It has a key that counts.", where=path, given=public,
                         next_step=f"workbench keys revoke --public-key {path}.pub …")  # fmt: skip
    return False


def _generate(path: Path, comment: str) -> None:
    """A new Ed25519 key without a passphrase, in place of one that counts no more."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged = path.with_name(f".{path.name}.new")
    for one in (staged, staged.with_name(staged.name + ".pub")):
        one.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(staged)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError("ssh-keygen made no key", where=path, given=error) from error
    os.replace(staged.with_name(staged.name + ".pub"), path.with_name(path.name + ".pub"))
    os.replace(staged, path)


def _place(project: Project, environment: str, role: str) -> Path:
    if role not in MAY:
        raise InputError("No such process.", given=role, expected=" or ".join(MAY))
    return places.served(project, environment) / "keys" / role


def _how(environment: str, role: str) -> str:
    name = f"{role}-{environment}"
    return f"workbench keys machine --name {name} --environment {environment} --role {role} …"

"""People and their keys."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from .program import TRACK, USECASE, main, stored


@main.group()
def keys() -> None:
    """The engine's public key, and the keyring of people who sign."""


@keys.command("ls")
@stored
def keys_ls(store: Any) -> None:
    """Show the store's public keys and the people of the keyring in force."""
    click.echo(f"store {store.id} ({store.track}), private keys in {store.keys}")
    for pem in store.public_keys:
        click.echo(pem.strip())
    ring = store.keyring()
    known = (
        f"keyring version {ring.number}" if ring.persons else "no keyring yet: workbench keys add"
    )
    click.echo(known)
    for person in ring.persons:
        for key in person.keys:
            state = f"revoked {key.revoked.at}: {key.revoked.reason}" if key.revoked else "valid"
            click.echo(f"  {person.id}  {person.name} <{person.email}>  {', '.join(person.roles)}  "
                       f"{state}  {key.public.split()[1][-16:]}")  # fmt: skip


@keys.command("add")
@TRACK
@USECASE
@click.option("--id", "person_id", required=True, help="Short name of the person.")
@click.option("--name", required=True, help="Printed name.")
@click.option("--email", required=True)
@click.option("--role", "roles", multiple=True, required=True, help="Repeat; first: keyholder.")
@click.option("--public-key", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--valid-days", type=int, default=365, show_default=True)
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True,
              help="SSH key of a keyholder; the first version signs itself.")  # fmt: skip
def keys_add(
    track: str, usecase: Path, person_id: str, name: str, email: str, roles: tuple[str, ...],
    public_key: Path, valid_days: int, sign_with: Path,
) -> None:  # fmt: skip
    """Enter a person and their SSH public key into a new version of the keyring."""
    from ..execution.project import open_store, runs_folder
    from ..record import clock, keyring

    store = open_store(runs_folder(usecase.resolve()), track, create=True)
    now = clock.now()
    until = clock.text(clock.parse(now) + timedelta(days=valid_days))
    key = keyring.Key(public=public_key.read_text().strip(), valid_from=now, valid_until=until)
    someone = keyring.Person(id=person_id, name=name, email=email, roles=roles, keys=(key,))
    ring = store.update_keyring(store.keyring().add(someone), sign_with)
    click.echo(f"✓ keyring version {ring.number}, {len(ring.persons)} people")


@keys.command("revoke")
@stored
@click.option("--public-key", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--reason", required=True)
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True)
def keys_revoke(store: Any, public_key: Path, reason: str, sign_with: Path) -> None:
    """Say that a key no longer counts, from now on."""
    version = store.keyring().revoke(public_key.read_text().strip(), reason)
    ring = store.update_keyring(version, sign_with)
    click.echo(f"✓ keyring version {ring.number}")


@keys.command("rotate")
@stored
@click.option("--reason", required=True, help="Why, in a line.")
@click.option("--by", required=True, help="A keyholder, by name.")
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--keep", is_flag=True, help="Put the old private key aside instead of deleting it.")
def keys_rotate(store: Any, reason: str, by: str, sign_with: Path, keep: bool) -> None:
    """Give the store a new engine key, which the old one and a keyholder introduce."""
    from ..record import rotation
    from ..record.signing import keyid

    public = rotation.rotate(store, reason, by, sign_with, keep)
    click.echo(f"✓ engine key {keyid(public)[:16]} from now on; tell those who verify:")
    click.echo(public.strip())


@keys.command("machine")
@USECASE
@click.option("--name", required=True, help="Short name, such as monitor-production.")
@click.option("--environment", "-e", required=True, help="Where the process runs.")
@click.option("--role", type=click.Choice(["server", "monitor"]), required=True)
@click.option("--valid-days", type=int, default=90, show_default=True)
@click.option("--by", required=True, help="A keyholder, by name.")
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True)
def keys_machine(
    usecase: Path, name: str, environment: str, role: str, valid_days: int, by: str,
    sign_with: Path,
) -> None:  # fmt: skip
    """Make the key of a process, and enter it for what that process may sign, and no more."""
    from ..execution.operate import machines
    from ..execution.project import Project

    project = Project.load(usecase)
    store = project.store("governed", create=False)
    printed, path = machines.create(project, store, environment, role, name=name, by=by,
                                    sign_with=sign_with, days=valid_days)  # fmt: skip
    click.echo(f"✓ {printed} may sign {', '.join(machines.MAY[role])}; its key is {path}")

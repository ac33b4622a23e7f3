"""A process signs with a key of its own, which is good for what that process does, and no more (E7)."""

from __future__ import annotations

import stat
import subprocess

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution.operate import machines, places
from workbench.execution.project import Project
from workbench.execution.release import standing
from workbench.record import clock, keyring, person
from workbench.record.verify import verify_store

HERE = "production"


@pytest.fixture
def lab(lab):
    """A governed use case with Dora as keyholder, Olga as owner and Vera as validator."""
    lab.keys = lab.declare()
    return lab


@pytest.fixture
def place(lab):
    return Project.load(lab.usecase), lab.store("governed"), HERE


@pytest.fixture
def made(lab, place):
    """(name, key) of a new machine."""

    def make(role="monitor", name=None, **more):
        return machines.create(*place, role, name=name or f"{role}-{HERE}",
                               **{"by": "Dora Data", "sign_with": lab.keys / "Dora"} | more)  # fmt: skip

    return make


@pytest.mark.parametrize("role", machines.MAY)
def test_by_the_verb_a_key_is_made_and_entered_for_what_it_may_sign(lab, place, role):
    """It is its user's alone, has no other role, and says that it is a machine."""
    told = lab.cli("keys", "machine", "--name", f"{role}-live", "-e", HERE, "--role", role,
                   "--by", "Dora Data", "--sign-with", lab.keys / "Dora")  # fmt: skip
    assert told.code == 0, told.err
    name, path = machines.key(*place, role)
    assert name == f"{role}-live (machine)" and name in told.out
    assert path == places.served(*place[::2]) / "keys" / role
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [someone] = [one for one in place[1].keyring().persons if one.name == name]
    assert someone.roles == ("automation",)
    assert someone.keys[0].namespaces == machines.MAY[role]
    for namespace in machines.MAY[role]:
        person.sign_as(name, {"a": 1}, namespace, path, place[1].keyring())
    assert verify_store(place[1]).ok


def test_a_machine_can_do_nothing_that_a_person_is_asked(made, place):
    """It approves, classifies, accepts, closes and rotates nothing."""
    name, path = made()
    may = set()
    for namespace in person.NAMESPACES:
        envelope = person.sign({"by": name}, namespace, path)
        try:
            place[1].keyring().who(envelope["public_key"], clock.now(), namespace)
            may.add(namespace)
        except IntegrityError as error:
            assert f"not for {namespace}" in error.what
    assert may == {"release@workbench", "incident@workbench"}


def test_a_machine_is_nobody_whom_a_quorum_waits_for(made, place):
    made()
    names = {name for held in standing.holders(place[1], clock.now()).values() for name in held}
    assert names and not [name for name in names if name.endswith(machines.MARK)]


@pytest.mark.parametrize(
    ("roles", "namespaces"),
    [
        (("automation", "model_validator"), ("release@workbench",)),
        (("automation",), ("*@workbench",)), (("automation",), ("approve@workbench",)),
    ],
)  # fmt: skip
def test_the_keyring_refuses_a_machine_that_may_act_as_a_person(lab, place, roles, namespaces):
    """Whoever enters it, by whatever way: another role, or a key for what a person is asked."""
    key = lab.home / "odd"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    mine = keyring.Key(public=person.public_line(key), valid_from="2020-01-01T00:00:00Z",
                       namespaces=namespaces)  # fmt: skip
    odd = keyring.Person(id="odd", name="odd", email="o@m", roles=roles, keys=(mine,))
    before = place[1].keyring().number
    with pytest.raises(IntegrityError, match="as a person"):
        place[1].update_keyring(place[1].keyring().add(odd), lab.keys / "Dora")
    told = lab.cli("keys", "add", "--track", "governed", "--id", "odd", "--name", "odd", "--email",
                   "o@m", "--role", "automation", "--public-key", f"{key}.pub", "--sign-with",
                   lab.keys / "Dora")  # fmt: skip
    assert told.code == 6 and place[1].keyring().number == before


def test_a_key_that_counts_is_not_replaced_a_revoked_one_is(made, lab, place):
    """What was signed with the old one stays known."""
    name, path = made()
    first = path.with_suffix(".pub").read_text()
    with pytest.raises(InputError, match="a key that counts"):
        made()
    told = lab.cli("keys", "revoke", "--track", "governed", "--public-key", f"{path}.pub",
                   "--reason", "lost", "--sign-with", lab.keys / "Dora")  # fmt: skip
    assert told.code == 0, told.err
    with pytest.raises(IntegrityError, match="revoked"):
        machines.key(*place, "monitor")
    assert made() == (name, path)
    assert path.with_suffix(".pub").read_text() != first
    assert place[1].keyring().find(first)[0].name == name
    assert machines.key(*place, "monitor") == (name, path)


def test_the_key_that_a_server_runs_with_is_entered_as_it_is(made, place):
    folder = places.prepare(places.served(*place[::2]))
    before = (folder / places.SERVER_KEY).read_bytes()
    with pytest.raises(IntegrityError, match="not in the keyring"):
        machines.key(*place, "server")
    _, path = made("server")
    assert path.read_bytes() == before and machines.key(*place, "server")[1] == path


def test_without_a_key_or_with_one_that_others_read_it_says_what_to_do(made, place):
    with pytest.raises(InputError, match="no key of its own") as error:
        machines.key(*place, "monitor")
    assert "workbench keys machine --name monitor-production" in error.value.next_step
    _, path = made()
    path.chmod(0o644)
    with pytest.raises(InputError, match="Others can read"):
        machines.key(*place, "monitor")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"by": "Olga Owner"}, "another person's"), ({"name": "Not Short"}, "Not a name"),
        ({"name": "vera"}, "Not a name"), ({"role": "trainer"}, "No such process"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nobody_is_replaced(made, place, change, says):
    """A person's id is no name for a machine."""
    before = place[1].keyring()
    with pytest.raises(InputError, match=says):
        made(**{"role": "monitor"} | change)
    assert place[1].keyring() == before


def test_only_a_keyholder_enters_one(made, lab, place):
    with pytest.raises(IntegrityError, match="no keyholder"):
        made(by="Vera Validator", sign_with=lab.keys / "Vera")
    assert place[1].keyring().number == 3

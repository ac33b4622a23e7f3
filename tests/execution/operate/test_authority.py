"""A release answers while everything that let it serve still holds, and not a minute longer (E5)."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
import yaml

from workbench.errors import GateNotPassed, IntegrityError
from workbench.execution import bundle
from workbench.execution.operate import authority, places
from workbench.execution.operate.authority import Authority, lease, salt
from workbench.execution.project import Project
from workbench.execution.release import registry
from workbench.policy.serving import LEASE_S, NAMESPACE
from workbench.record import clock, person
from workbench.record.digest import canonical

HERE = "production"


class Shop:
    """A use case with two releases, and what its authority says."""

    def __init__(self, lab):
        self.lab, self.store = lab, lab.store("governed")
        self.first, self.second = bundle.candidates(self.store)

    @property
    def project(self):
        return Project.load(self.lab.usecase)

    def deploy(self, candidate, action="start", **more):
        return registry.deploy(self.project, self.store, candidate, HERE, action=action,
                               by="Otto Operator", sign_with=self.lab.keys / "Otto", **more)  # fmt: skip

    def back(self, reason="r"):
        return registry.take_back(self.project, self.store, HERE, reason=reason,
                                  by="Otto Operator", sign_with=self.lab.keys / "Otto")  # fmt: skip

    def lease(self, now=None):
        return lease(self.project, self.store, HERE, salt(self.store, "tiny", HERE), now)

    def approvals(self, candidate):
        [one] = [e for e in self.store.ledger.entries("release")
                 if e.body["bundle"] == candidate.digest]  # fmt: skip
        return one.body["approvals"]

    def revoke(self, candidate):
        told = self.lab.cli("release", "revoke", self.approvals(candidate)[0], "--reason", "a doubt",
                            "--by", "Vera Validator", "--sign-with", self.lab.keys / "Vera")  # fmt: skip
        assert told.code == 0, told.err


@pytest.fixture
def shop(paired):
    return Shop(paired)


@pytest.fixture(scope="module")
def serving(registered_twice, tmp_path_factory):
    """The first serves all, the second is a canary; to be left as it is."""
    from tests.conftest import copied

    with copied(registered_twice, tmp_path_factory.mktemp("serving")) as lab:
        found = Shop(lab)
        found.deploy(found.first)
        found.deploy(found.second, "canary", share=0.3)
        yield found


def test_what_was_deployed_is_granted_by_its_digest_and_entry(serving):
    """Both arms, each with its bundle, base, entry and share; for some seconds."""
    found, known = serving.lease(), registry.state(serving.store, "tiny", HERE)
    stable, canary = found.granted["stable"], found.granted["canary"]
    assert (stable.bundle, stable.entry) == (serving.first.digest, known.stable.entry)
    assert (canary.bundle, canary.share) == (serving.second.digest, 0.3)
    assert stable.folder == str(serving.first.folder) and found.why == []
    assert found.ledger == serving.store.ledger.head().size
    lasts = clock.parse(found.expires) - clock.parse(found.issued)
    assert lasts == timedelta(seconds=LEASE_S)


def test_without_a_deployment_nothing_is_granted(shop):
    """Also of a release that is registered."""
    assert shop.lease().granted == {}


def test_when_approvals_expire_nothing_is_granted(serving):
    """By the time that is asked for, though the ledger did not grow."""
    late = clock.text(clock.parse(clock.now()) + timedelta(days=2000))
    found = serving.lease(late)
    assert found.granted == {} and "approvals" in found.why[0]


def test_another_code_than_the_one_that_validated_grants_nothing(serving, monkeypatch):
    """It says what to do."""
    monkeypatch.setattr(authority, "_running", lambda stamp: "0" * 64)
    found = serving.lease()
    assert found.granted == {} and "install the workbench" in found.why[0]


def test_other_operations_than_those_approved_grant_nothing(serving):
    """operations.yaml lies in the bundle: one that was changed since is another."""
    path = serving.lab.usecase / "operations.yaml"
    before = path.read_text()
    path.write_text(yaml.safe_dump(yaml.safe_load(before) | {"abstain": False}))
    try:
        found = serving.lease()
    finally:
        path.write_text(before)
    assert found.granted == {} and "operations.yaml" in found.why[0]
    assert set(serving.lease().granted) == {"stable", "canary"}


def test_a_changed_byte_stops_that_release_alone(shop):
    """A file of the bundle, or one too many; the other goes on."""
    shop.deploy(shop.first)
    shop.deploy(shop.second, "canary", share=0.3)
    path = shop.second.folder / "adapter" / "weights.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    found = shop.lease()
    assert set(found.granted) == {"stable"} and "adapter/weights.json" in found.why[0]


def test_an_approval_that_is_revoked_stops_its_release_alone(shop):
    """The other arm goes on; it says who revoked."""
    shop.deploy(shop.first)
    shop.deploy(shop.second, "canary", share=0.3)
    shop.revoke(shop.first)
    found = shop.lease()
    assert set(found.granted) == {"canary"} and "revoked by Vera Validator" in found.why[0]


@pytest.mark.parametrize("whose", ["approver", "operator", "server"])
def test_a_key_that_is_revoked_stops_what_rests_on_it(shop, whose):
    """An approver's, the deploying operator's, the server's own: revoked is revoked, though what
    was signed before stays signed."""
    shop.deploy(shop.first)
    keys = shop.lab.keys
    public = {"approver": keys / "Vera.pub", "operator": keys / "Otto.pub"}.get(whose)
    since = shop.store.ledger.entries()[shop.approvals(shop.first)[0]].time
    if whose == "server":
        folder = places.prepare(places.served(shop.project, HERE))
        public = folder / "keys/server.pub"
        ring = shop.store.keyring()
        key = {"public": public.read_text(), "valid_from": since, "namespaces": [NAMESPACE]}
        machine = {"id": "server", "name": "server", "email": "s@m", "roles": ["automation"]}
        ring = ring.add(type(ring.persons[0]).model_validate(machine | {"keys": [key]}))
        shop.store.update_keyring(ring, keys / "Dora")
    assert shop.lease().granted
    ring = shop.store.keyring().revoke(public.read_text(), "lost")
    shop.store.update_keyring(ring, keys / "Dora")
    found = shop.lease()
    assert found.granted == {} and ("approvals" if whose == "approver" else "key") in found.why[0]


@pytest.mark.parametrize("how", ["by nobody who may", "unsigned"])
def test_an_entry_that_does_not_count_grants_nothing_at_all(shop, how):
    """Whoever could write one past the verb, did not deploy: it is named, and all stops."""
    shop.deploy(shop.first)
    known = registry.state(shop.store, "tiny", HERE).stable
    said = {"kind": "deployment", "usecase": "tiny", "environment": HERE, "action": "start",
            "bundle": shop.second.digest, "record": known.record, "time": clock.now(),
            "by": "Rita Risk"}  # fmt: skip
    envelope = person.sign(said, registry.NAMESPACE, shop.lab.keys / "Rita")
    if how == "unsigned":
        envelope["signature"] = "none"
    shop.store.ledger.append("deployment", {"envelope": envelope})
    with pytest.raises(IntegrityError):
        shop.lease()
    folder = places.prepare(places.served(shop.project, HERE))
    found = Authority(shop.project, shop.store, HERE, folder).once()
    assert found.granted == {} and found.why


def test_a_ledger_that_does_not_verify_grants_nothing(shop):
    """A line was changed: the lease that is written is empty, and says why."""
    shop.deploy(shop.first)
    folder = places.prepare(places.served(shop.project, HERE))
    authority_ = Authority(shop.project, shop.store, HERE, folder)
    assert authority_.once().granted
    path = shop.store.path / "ledger" / "entries.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Otto Operator", b"Otto Operatos"))
    found = authority_.once()
    assert found.granted == {} and "changed" in found.why[0]
    assert found.ledger == places.read(folder / places.LEASE)["statement"]["ledger"] > 0


def test_a_lease_is_signed_with_the_server_s_key_and_no_other(serving):
    """In the namespace of serving, over exactly what was written; the engine's key is not needed."""
    folder = places.prepare(places.served(serving.project, HERE))
    key = serving.store.keys / "engine.pem"
    hidden = key.rename(key.with_suffix(".away"))
    try:
        Authority(
            serving.project, type(serving.store).open(serving.store.path), HERE, folder
        ).once()
    finally:
        hidden.rename(key)
    envelope = json.loads((folder / places.LEASE).read_bytes())
    assert envelope["public_key"] == person.public_line(folder / places.SERVER_KEY)
    assert set(envelope["statement"]["stable"]) and envelope["namespace"] == NAMESPACE
    person.check(canonical(envelope["statement"]), *map(envelope.get, person.PARTS))


def test_it_goes_on_whatever_breaks(serving, monkeypatch):
    """A fault that nobody foresaw is a lease that grants nothing; a folder that can't be written
    leaves the last lease to its end. It ends only when it is told to."""
    folder = places.prepare(places.served(serving.project, HERE))
    told = Authority(serving.project, serving.store, HERE, folder)
    monkeypatch.setattr(authority, "lease", lambda *a, **k: 1 / 0)
    assert told.once().granted == {} and "division" in told.once().why[0]
    tried, stop = [], threading.Event()

    def full(*_):
        tried.append(len(tried) < 2 or stop.set())
        raise OSError("no space left")

    monkeypatch.setattr(places, "write", full)
    monkeypatch.setattr(authority, "LOOK_S", 0.01)
    told.run(stop)
    assert len(tried) == 3


def test_what_was_taken_back_is_granted_again_only_under_younger_approvals(shop):
    """The same release, started again after new approvals, and not before."""
    shop.deploy(shop.first)
    shop.deploy(shop.second)
    assert shop.back().action == "roll_back"
    known = registry.state(shop.store, "tiny", HERE)
    assert known.stable.bundle == shop.first.digest and shop.second.digest in known.taken_back
    with pytest.raises(GateNotPassed, match="do not pass now") as refused:
        shop.deploy(shop.second)
    assert "taken back by ledger entry" in refused.value.given
    for who, role in (("Vera Validator", "model_validator"), ("Rita Risk", "risk_manager")):
        assert shop.lab.sign(who, role).code == 0
    shop.deploy(shop.second)
    assert shop.lease().stable.bundle == shop.second.digest


def test_the_way_back_passes_over_what_is_no_longer_approved(shop):
    """The release before was revoked: then nothing serves. A canary is halted first."""
    shop.deploy(shop.first)
    shop.deploy(shop.second, "canary", share=0.5)
    assert shop.back().action == "halt"
    assert shop.lease().stable.bundle == shop.first.digest
    for who, role in (("Vera Validator", "model_validator"), ("Rita Risk", "risk_manager")):
        assert shop.lab.sign(who, role).code == 0
    shop.deploy(shop.second)
    shop.revoke(shop.first)
    done = shop.back()
    assert (done.action, done.bundle) == ("stop", shop.second.digest)
    assert shop.lease().granted == {} and registry.state(shop.store, "tiny", HERE).serving == ()

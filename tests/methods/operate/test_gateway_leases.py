"""Which lease is believed, and for how long; how subjects are shared out."""

from __future__ import annotations

import json
import time

import pytest

from workbench.errors import InputError
from workbench.methods.operate import spec
from workbench.methods.operate.leases import Leases
from workbench.policy import serving
from workbench.policy.serving import TRIAL

from ... import a_gateway
from ...a_gateway import Gateway, bundle, grant


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return grant(bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Gateway(tmp_path_factory.mktemp("home"))


@pytest.fixture
def leases(lab):
    (lab.home / "lease.json").unlink(missing_ok=True)
    return Leases(spec.Spec.parse(lab.spec))


def test_a_signed_lease_in_force_is_believed(lab, leases, given):
    """Signed by the server's key, of this use case and environment."""
    lab.lease(given)
    leases.look()
    assert leases.current.stable == given and leases.why == ""
    assert leases.grants("stable", given) and 0 <= leases.age < 5


def test_without_a_lease_there_is_none(leases):
    """And it says so."""
    leases.look()
    assert leases.current is None and leases.why == "there is no lease"
    assert leases.age == float("inf")


@pytest.mark.parametrize(
    "told, why",
    [
        ({"usecase": "other"}, "another use case's"),
        ({"environment": "there"}, "another environment's"),
        ({"lasting": 3600}, "more than 20 seconds"),
        ({"sign": False}, "not signed"),
        ({"ledger": 9}, "older ledger"),
    ],
    ids=lambda one: str(one),
)
def test_a_lease_that_does_not_fit_is_refused_and_the_one_before_holds(
    lab, leases, given, told, why
):
    """It grants nothing, and takes nothing away."""
    lab.lease(given)
    leases.look()
    lab.lease(given.model_copy(update={"entry": 8}), **told)
    leases.look()
    assert why in leases.refused and leases.current.stable.entry == 7


@pytest.mark.parametrize("first", [True, False])
def test_another_key_s_lease_is_refused(lab, leases, given, first, tmp_path):
    """Under its own name, and under ours with its signature."""
    lab.lease(given, sign=a_gateway.key(tmp_path / "other"))
    if first:
        leases.look()
        assert "another key" in leases.refused and leases.current is None
    path = lab.home / "lease.json"
    held = json.loads(path.read_bytes()) | {"public_key": lab.spec["server_key"]}
    path.write_text(json.dumps(held))
    leases.look()
    assert "not of this statement" in leases.why and leases.current is None


def test_a_changed_lease_is_refused(lab, leases, given):
    """The signature is over every field."""
    lab.lease(given)
    path = lab.home / "lease.json"
    held = json.loads(path.read_bytes())
    held["statement"]["stable"]["bundle"] = "0" * 64
    path.write_text(json.dumps(held))
    leases.look()
    assert "not of this statement" in leases.why and leases.current is None


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'{"statement": {}}', b"\xff", b"null"])
def test_what_is_no_lease_is_refused(lab, leases, junk):
    """Never an error of the gateway's own."""
    (lab.home / "lease.json").write_bytes(junk)
    leases.look()
    assert leases.current is None and leases.why


def test_a_lease_ends_by_itself(lab, leases, given):
    """From `expires` on nothing of it holds, though the file is still there."""
    lab.lease(given, lasting=0.4)
    leases.look()
    assert leases.current
    time.sleep(0.5)
    assert leases.current is None and "ended" in leases.why and not leases.grants("stable", given)


def test_a_wall_clock_that_is_put_back_makes_no_lease_last_longer(lab, leases, given, monkeypatch):
    """Its time is counted by a clock that nobody sets."""
    lab.lease(given, lasting=0.3)
    leases.look()
    then = serving.clock.now()
    time.sleep(0.4)
    monkeypatch.setattr("workbench.methods.operate.leases.clock.now", lambda: then)
    assert leases.current is None


def test_a_lease_that_has_ended_ends_the_one_before(lab, leases, given):
    """The authority may take back at once what it granted."""
    lab.lease(given)
    leases.look()
    lab.lease(given, begun=-5, lasting=1)
    leases.look()
    assert leases.current is None and "ended" in leases.why


def test_another_entry_of_the_same_bundle_is_another_grant(lab, leases, given):
    """Taken back and put there again is not what was granted before."""
    lab.lease(given.model_copy(update={"entry": 8}))
    leases.look()
    assert not leases.grants("stable", given) and not leases.grants("canary", given)


def test_an_unsigned_lease_counts_in_a_trial_alone(lab, given, tmp_path):
    """And a trial listens on a Unix socket; everything else needs a server's key."""
    trial = lab.spec | {"environment": TRIAL, "server_key": None, "listen": {"uds": "s"}}
    held = Leases(spec.Spec.parse(trial))
    lab.lease(given, sign=False, environment=TRIAL, lasting=3600)
    held.look()
    assert held.current.stable == given
    for change in ({"environment": "here"}, {"listen": {"port": 0}}, {"listen": {}}):
        with pytest.raises(InputError):
            spec.Spec.parse(trial | change)


def test_a_canary_s_share_is_stable_and_monotone():
    """A subject stays where it is while the share stays, in any process; more share takes nobody
    away; the share is met."""
    told = {"usecase": "u", "environment": "e", "issued": "2026-01-01T00:00:00Z", "ledger": 1,
            "expires": "2026-01-01T00:00:20Z", "salt": "s"}  # fmt: skip
    some = {"bundle": "b", "folder": "f", "base": "b", "entry": 1}
    subjects, before = [f"customer {n}" for n in range(2000)], set()
    for share in (0.05, 0.2, 0.5, 1.0):
        lease = serving.Lease.parse(told | {"stable": some, "canary": some | {"share": share}})
        canary = {one for one in subjects if serving.arm(one, lease) == "canary"}
        assert before <= canary and abs(len(canary) / 2000 - share) < 0.04
        before = canary
    known = serving.Lease.parse(told | {"canary": some | {"share": 0.5}})
    arms = [serving.arm(f"customer {n}", known)[0] for n in range(6)]
    assert "".join(arms) == "sscccs"  # as in every process before
    assert serving.arm("any", serving.Lease.parse(told)) == "stable"

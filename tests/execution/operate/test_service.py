"""What answers: an authority and a gateway that end together, and only what is still approved (E5).

Real processes, with a worker in a second. What is measured here is printed by `make measure`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import copied
from tests.execution.operate.fault_runs import HERE, TINY, Site, campaign, rollbacks
from workbench.errors import InputError, WorkbenchError
from workbench.execution.operate import places
from workbench.execution.operate.service import Service, status
from workbench.execution.project import Project
from workbench.execution.release import registry


def test_no_answer_is_by_what_nobody_approved(paired, monkeypatch):
    """Twelve runs of random deployments and faults under requests: each answer in the log is by a
    release that the ledger had approved within the life of a lease before it."""
    wrong, done = campaign(paired, seed=1, runs=12, patch=monkeypatch)
    print(dict(done))
    assert wrong == []
    assert done["answered"] > 100 and len(done) > 8, done


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(50))
def test_no_answer_is_by_what_nobody_approved_in_two_hundred_runs(paired, monkeypatch, seed):
    """Four on each of fifty sites."""
    wrong, done = campaign(paired, seed=100 + seed, runs=4, patch=monkeypatch)
    print(seed, dict(done))
    assert wrong == [] and done["requests"] > 20


def test_the_campaign_finds_an_answer_that_it_should(paired):
    """Negative control: an approval that the campaign does not know of is found as a wrong answer."""
    with Site(paired) as site:
        site._ended.set()
        site.deploy("start")
        with site.service.client() as client:
            until = time.monotonic() + 20
            while client.predict("about my card").get("outcome") != "answered":
                assert time.monotonic() < until
        assert len(site.wrong()) == 1
        site.replies.append({"outcome": "answered", "release": "0" * 64})
        assert any("without a line" in one for one in site.wrong())


def test_from_the_call_to_take_back_the_release_before_answers_within_five_seconds(paired):
    """Measured at a caller."""
    [took] = rollbacks(paired, 1)
    print(f"{took:.2f} s")
    assert took <= 5


@pytest.mark.parametrize("what", ["approval", "key"])
def test_revoking_stops_serving_within_a_minute(released, what):
    """An approval, or the key of one who approved: nothing restarts, nobody is asked."""
    lab = released
    store, project = lab.store("governed"), Project.load(lab.usecase)
    with Service(project, store, HERE, uds=lab.home / "g", worker=TINY, observed=False) as service:
        from workbench.execution import bundle

        registry.deploy(project, store, bundle.find(store), HERE, action="start",
                        by="Otto Operator", sign_with=lab.keys / "Otto")  # fmt: skip
        service.ready()
        with service.client() as client:
            assert client.predict("about my card")["outcome"] == "answered"
            vera = ("--by", "Vera Validator", "--sign-with", lab.keys / "Vera")
            if what == "approval":
                [entry] = store.ledger.entries("release")
                lab.ok("release", "revoke", entry.body["approvals"][0], "--reason", "doubt", *vera)
            else:
                ring = store.keyring().revoke((lab.keys / "Vera.pub").read_text(), "lost")
                store.update_keyring(ring, lab.keys / "Dora")
            began = time.monotonic()
            while client.predict("about my card")["outcome"] == "answered":
                assert time.monotonic() - began < 60
            said = client.predict("about my card")
    print(f"{what}: {time.monotonic() - began:.2f} s")
    assert (said["outcome"], said["answer"]) == ("fallback", {"label": "human_review"})


@pytest.fixture(scope="module")
def idle(registered, tmp_path_factory):
    """A service to which nothing was deployed; what is observed of it is signed."""
    with copied(registered, tmp_path_factory.mktemp("idle")) as lab:
        project, store = Project.load(lab.usecase), lab.store("governed")
        with Service(project, store, HERE, uds=lab.home / "g", worker=TINY) as service:
            service.ready(release=False)
            yield lab, service


def test_without_a_deployment_it_waits_and_the_fallback_answers(idle):
    """It listens, is not ready, and says why."""
    _, service = idle
    with service.client() as client:
        assert client.predict("about my card")["reason"] == "no lease"
        assert client.ready()["status"] == 503


def test_a_socket_whose_path_is_too_long_is_refused(idle):
    """No process could listen there, and none would say why."""
    _, service = idle
    with pytest.raises(InputError, match="too long"):
        Service(service.project, service.store, HERE, uds="/tmp/" + "x" * 120)


def test_nobody_else_serves_the_same_place(idle):
    """A second one is refused; the first goes on."""
    lab, service = idle
    with pytest.raises(InputError, match="served already"):
        Service(service.project, service.store, HERE, worker=TINY).start()
    assert status(Project.load(lab.usecase), HERE)["state"]["authority"] == os.getpid()


def test_its_state_is_told_by_a_verb_and_a_token_is_made(idle):
    """Where it listens and why it can't answer; a token is printed once and only its digest kept."""
    lab, service = idle
    told = lab.cli("serve", "-e", HERE, "--status")
    assert told.code == 0 and str(lab.home / "g") in told.out and "✗ no release" in told.out
    assert lab.cli("serve", "-e", "elsewhere", "--status", "--json").json["ready"]["status"] is None
    token = lab.cli("serve", "-e", HERE, "--token", "queue").out.strip()
    assert token not in (service.folder / places.TOKENS).read_text()
    assert {"name": "queue", "role": "caller"} in places.read(
        service.folder / places.TOKENS
    ).values()
    with service.client(token) as client:
        until = time.monotonic() + 5
        while client.predict("about my card")["status"] == 401 and time.monotonic() < until:
            time.sleep(0.05)
        assert client.predict("about my card")["status"] != 401


def test_the_gateway_knows_no_store_and_no_engine_key(idle):
    """Neither in its environment nor in what it is told; secrets are its owner's alone."""
    _, service = idle
    pid = places.read(service.folder / places.STATE)["gateway"]
    environ = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"WORKBENCH_KEYS" not in environ and b"WORKBENCH_RUNS" not in environ
    assert str(service.store.path) not in (service.folder / places.SPEC).read_text()
    for name in (places.SERVER_KEY, places.DIGEST_KEY, places.OWN_TOKEN):
        assert (service.folder / name).stat().st_mode & 0o077 == 0


def test_what_is_observed_of_it_is_signed(idle):
    """Once its processes run."""
    _, service = idle
    until = time.monotonic() + 30
    while not (service.folder / places.OBSERVED).exists() and time.monotonic() < until:
        time.sleep(0.1)
    key = places.read(service.folder / places.SPEC)["server_key"]
    from workbench.execution.operate import observe

    assert observe.read(service.folder, key, "tiny", HERE).found.isolation


SERVE = """
import sys, time
from workbench.execution.operate.service import Service
from workbench.execution.project import Project
project = Project.load(sys.argv[1])
with Service(project, project.store("governed"), "production", worker=sys.argv[2:]) as service:
    service.ready(release=False)
    time.sleep(600)
"""


def test_it_ends_with_whoever_started_it(released):
    """Killed, not asked: nothing is left that answers."""
    folder = places.served(Project.load(released.usecase), HERE)
    told = subprocess.Popen([sys.executable, "-c", SERVE, str(released.usecase), *TINY])
    try:
        until, state = time.monotonic() + 60, {}
        while not state.get("worker") and time.monotonic() < until:
            with suppress(WorkbenchError):
                state = places.read(folder / places.STATE)
            time.sleep(0.05)
    finally:
        told.kill()
        told.wait()
    until = time.monotonic() + 10
    while _running(state) and time.monotonic() < until:
        time.sleep(0.05)
    assert state.get("worker") and not _running(state)


def _running(state):
    return [pid for name in ("gateway", "worker") if Path(f"/proc/{(pid := state[name])}").exists()]


def test_a_use_case_that_does_not_say_how_it_is_served_is_not(lab):
    """Nor is the place of trials ever served."""
    lab.complete().govern()
    from workbench.record.store import Store

    store = Store.open(lab.runs / "governed")
    with pytest.raises(InputError, match="how it is served"):
        Service(Project.load(lab.usecase), store, HERE)
    lab.operations()
    with pytest.raises(InputError, match="validation is for trials"):
        Service(Project.load(lab.usecase), store, "validation")

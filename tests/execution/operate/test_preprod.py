"""Pre-production: a place of its own, for one approved release, gone after its time (E2)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from workbench.errors import GateNotPassed, InputError
from workbench.execution.isolation import available
from workbench.execution.operate import keeper, places, preprod
from workbench.execution.operate.client import Client
from workbench.execution.project import Project
from workbench.record.store import Store

from ...conftest import copied

pytestmark = pytest.mark.skipif(
    available()[0] == "none", reason=f"no namespaces here: {available()[1]}"
)
WORKER = [sys.executable, str(Path(__file__).parents[2] / "tiny_worker.py")]
OUT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)
    print("reached")
except OSError as error:
    print("not reached", error.errno)
"""


@contextlib.contextmanager
def placed(lab: Any, ttl: int = 300) -> Iterator[preprod.Place]:
    project = Project.load(lab.usecase)
    try:
        yield preprod.up(project, lab.store("governed"), ttl, worker=WORKER)
    finally:
        with contextlib.suppress(InputError):
            preprod.down(project)


@pytest.fixture(scope="module")
def lab(registered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with copied(registered, tmp_path_factory.mktemp("preprod")) as lab:
        yield lab


@pytest.fixture(scope="module")
def place(lab: Any) -> Iterator[preprod.Place]:
    """One place for the tests that only look."""
    with placed(lab) as found:
        yield found


def gone(pid: int, within: float = 20) -> bool:
    end = time.monotonic() + within
    while there(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not there(pid)


def there(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # ours is not waited for
    return False


@pytest.mark.parametrize(
    "text, seconds", [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800)]
)
def test_a_lifetime_is_a_number_and_a_unit(text, seconds):
    assert preprod.lifetime(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "2", "h", "8d", "-1h", "1.5h", "2 h", "2H"])
def test_a_lifetime_of_another_form_is_refused(text):
    with pytest.raises(InputError, match="lifetime"):
        preprod.lifetime(text)


def test_the_release_answers_there_under_a_lease(place):
    """Through the whole stack: signed lease, gateway, worker, a line in the log."""
    with Client(uds=place.uds, token=places.own_token(place.folder)) as client:
        said = client.predict("the card")
    assert (said["status"], said["release"]) == (200, place.facts["bundle"])
    [*_, line] = places.decisions(place.folder / places.DECISIONS)
    assert (line["environment"], line["entry"]) == ("preproduction", place.facts["entry"])


def test_its_processes_and_its_network_are_its_own(place):
    """Gateway and worker run in other namespaces than we do, and see no network but loopback."""
    state = places.read(place.folder / places.STATE)
    for name in ("gateway", "worker"):
        for kind in ("net", "pid", "mnt", "user"):
            assert os.readlink(f"/proc/{state[name]}/ns/{kind}") != os.readlink(
                f"/proc/self/ns/{kind}"
            )
        held = Path(f"/proc/{state[name]}/net/dev").read_text().splitlines()[2:]
        assert {line.split(":")[0].strip() for line in held} <= {"lo"}


def test_from_inside_nothing_outside_is_reached(place, lab, tmp_path):
    """A server that listens here is reached from here, and not from inside."""
    import socket

    inside = keeper.sandbox(place.folder, ())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        where = [str(word) for word in listening.getsockname()]
        words = [sys.executable, "-c", OUT, *where]
        said = [subprocess.run(command, capture_output=True, text=True, cwd="/").stdout
                for command in (words, inside.command(words, place.folder, tmp_path))]  # fmt: skip
    assert said[0] == "reached\n" and said[1].startswith("not reached")


def test_what_signs_is_not_seen_from_inside(place, lab, tmp_path):
    """Neither the server's key, nor a token, nor a store or its keys; and only its log is written."""
    inside = keeper.sandbox(place.folder, ())
    folder, hidden = place.folder, (places.SERVER_KEY, places.OWN_TOKEN)
    script = "; ".join(f"cat {folder / name}" for name in hidden)
    script += f"; ls {folder / preprod.OWN_STORE} {lab.runs / 'governed'} {lab.home / 'keys'};"
    script += f"touch {folder / places.LEASE}; touch {folder / places.DECISIONS / 'x'} && echo log"
    told = subprocess.run(inside.command(["sh", "-c", script], folder, tmp_path),
                          capture_output=True, text=True)  # fmt: skip
    (folder / places.DECISIONS / "x").unlink()
    assert told.stdout == f"{folder / preprod.OWN_STORE}:\nlog\n"
    assert "Read-only file system" in told.stderr


def test_it_has_a_store_and_keys_of_its_own(place, lab):
    """Its ledger says who is up, sealed with another key than the team's."""
    own, team = Store.open(place.folder / preprod.OWN_STORE), lab.store("governed")
    assert own.id != team.id and set(own.public_keys).isdisjoint(team.public_keys)
    assert own.ledger.verify() == []
    [up] = own.ledger.entries(preprod.KIND)
    assert (up.body["act"], up.body["bundle"]) == ("up", place.facts["bundle"])
    assert not team.ledger.entries(preprod.KIND)


def test_a_second_one_is_refused(place, lab):
    with pytest.raises(InputError, match="is up"):
        preprod.up(place.project, lab.store("governed"), 60, worker=WORKER)
    assert preprod.status(place.project)["up"]


def test_when_its_time_is_over_it_ends_and_fails_parity(released):
    """Nobody has to remember: at its end nothing runs, and what was seen of it has expired."""
    from datetime import UTC, datetime

    from workbench.execution.operate import observe
    from workbench.policy import parity

    with placed(released, ttl=5) as place:
        state = places.read(place.folder / places.STATE)
        usecase = place.project.usecase.id
        seen = observe.read(place.folder, place.facts["server_key"], usecase, "preproduction").found
        assert all(gone(state[name]) for name in ("authority", "gateway", "worker"))
        assert not preprod.status(place.project)["up"]
        with pytest.raises(InputError, match="up"):
            preprod.live(place.project)
        found = parity.judge(seen, seen, seen, parity.Rules(), datetime.now(UTC))
        assert "expires" in [one.field for one in found if one.verdict == "fail"]
        last = Store.open(place.folder / preprod.OWN_STORE).ledger.entries(preprod.KIND)[-1]
        assert (last.body["act"], last.body["why"]) == ("down", "its time is over")


def test_one_that_was_killed_blocks_nobody_and_down_leaves_nothing(released):
    """The server dies with its keeper, and the next `up` clears away what was left; `down` ends
    processes, folder and keys, and can be said only once."""
    with placed(released) as place:
        state = places.read(place.folder / places.STATE)
        os.kill(state["authority"], signal.SIGKILL)
        assert all(gone(state[name]) for name in ("authority", "gateway", "worker"))
        assert not released.cli("preprod", "status", "--json").json["up"]
        old = Store.open(place.folder / preprod.OWN_STORE)
        with placed(released) as again:
            own, state = (
                Store.open(again.folder / preprod.OWN_STORE),
                places.read(again.folder / places.STATE),
            )
            assert own.id != old.id and not old.keys.exists() and own.keys.exists()
            assert released.cli("preprod", "status", "--json").json["up"]
            assert released.cli("preprod", "down").code == 0
            assert all(gone(state[name]) for name in ("authority", "gateway", "worker"))
            assert not again.folder.exists() and not own.keys.exists()
            assert released.cli("preprod", "down").code == 1


def test_what_may_not_serve_is_not_put_there(released):
    """A release whose bytes were changed, or whose approval was withdrawn; and what is none."""
    project, store = Project.load(released.usecase), released.store("governed")
    [folder] = (store.path / "records" / "50_candidate").glob("*/outputs/bundle")
    file = folder / "usecase.json"
    held, mode = file.read_bytes(), file.stat().st_mode
    for path in (folder, file):
        path.chmod(0o700)
    file.write_bytes(held + b" ")
    with pytest.raises(GateNotPassed, match="may not serve") as refused:
        preprod.up(project, store, 60, worker=WORKER)
    assert "usecase.json" in str(refused.value)
    file.write_bytes(held)
    file.chmod(mode)
    entry = next(e for e in store.ledger.entries("approval") if "Rita" in str(e.body))
    told = released.cli("release", "revoke", entry.index, "--reason", "r", "--by", "Rita Risk",
                        "--sign-with", released.keys / "Rita")  # fmt: skip
    assert told.code == 0, told.err
    with pytest.raises(GateNotPassed, match="may not serve"):
        preprod.up(project, store, 60, worker=WORKER)
    assert not places.served(project, "preproduction").exists()


def test_without_namespaces_it_is_refused(released, monkeypatch):
    """A place that shares our network is no place of its own."""
    monkeypatch.setattr("workbench.execution.isolation.available", lambda: ("none", "no bwrap"))
    project = Project.load(released.usecase)
    with pytest.raises(InputError, match="needs isolation namespace"):
        preprod.up(project, released.store("governed"), 60)


def test_a_revocation_ends_the_answers_there(place, lab):
    """Pre-production stands on the same signatures as production. Last: the place answers no more."""
    with Client(uds=place.uds, token=places.own_token(place.folder)) as client:
        assert client.predict("the card")["outcome"] == "answered"
        entry = lab.store("governed").ledger.entries("approval")[-1]
        by = entry.body["envelope"]["statement"]["by"]
        told = lab.cli("release", "revoke", entry.index, "--reason", "r", "--by", by,
                       "--sign-with", lab.keys / by.split()[0])  # fmt: skip
        assert told.code == 0, told.err
        end = time.monotonic() + 10
        while client.predict("the card")["outcome"] == "answered" and time.monotonic() < end:
            time.sleep(0.1)
        assert client.predict("the card")["reason"] == "no lease"

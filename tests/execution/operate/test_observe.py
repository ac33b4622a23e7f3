"""What really runs: read from the operating system, never believed, and unknown where unread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.errors import InputError, IntegrityError
from workbench.execution import capture
from workbench.execution.isolation import Sandbox, available
from workbench.execution.operate import observe, places
from workbench.execution.stages import templates_root
from workbench.policy.environment import Environment, compare
from workbench.policy.operations import Operations
from workbench.policy.parity import Rules, gate, judge
from workbench.policy.serving import NAMESPACE
from workbench.record import person

ROOT = Path(__file__).parents[3]
TODAY = date(2026, 11, 22)
READY = "import sys; print(1, flush=True); sys.stdin.read()"
OPERATIONS = Operations.parse(
    yaml.safe_load((templates_root() / "usecases/intent-routing/operations.yaml").read_text())
)
needs_namespace = pytest.mark.skipif(
    available()[0] == "none", reason=f"no namespaces here: {available()[1]}"
)


@contextmanager
def running(code: str = "", env: dict[str, str] | None = None, *more: str) -> Iterator[int]:
    """The pid of a process that has run `code` and waits."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} if env is None else env
    command = [sys.executable, "-c", f"{code}\n{READY}", *more]
    with subprocess.Popen(command, stdin=-1, stdout=-1, env=given, cwd=ROOT) as process:
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def seen(code: str = "", env: dict[str, str] | None = None, *more: str) -> dict[str, Any]:
    """What is seen of such a process, but for what is installed."""
    with running(code, env, *more) as pid:
        return observe.process(pid, ask=False)


# ---- one process ---------------------------------------------------------------------------------


def test_of_variables_those_that_change_an_answer_are_seen_and_no_secret():
    """A secret by its name, or credentials in an address, are there and not shown."""
    env = {"OMP_NUM_THREADS": "3", "LD_PRELOAD": "", "https_proxy": "http://u:pass12@proxy:80",
           "HUB_TOKEN": "hf_abcdefghij", "SHOPPING": "milk", "MKL_CBWR": "AVX2",
           "PYTHONPATH": f"{ROOT}/x"}  # fmt: skip
    found = seen(env=env)
    assert found["variables"] == {
        "OMP_NUM_THREADS": "3", "LD_PRELOAD": "", "https_proxy": "reference:set",
        "HUB_TOKEN": "reference:set", "MKL_CBWR": "AVX2", "PYTHONPATH": "$WORKBENCH/x",
    }  # fmt: skip
    assert "hf_abc" not in json.dumps(found) and "pass12" not in json.dumps(found)
    assert (found["compute"]["threads"], found["compute"]["domain"]) == (3, "native")


def test_threads_are_those_of_the_command_where_it_names_some():
    """The worker heeds its command; a process that says nothing of threads is unknown."""
    assert seen("", {"OMP_NUM_THREADS": "3"}, "--threads", "5")["compute"]["threads"] == 5
    assert seen("", {})["compute"]["threads"] is None


def test_limits_and_privileges_are_those_of_the_process_and_not_ours():
    """Set by itself after it was started, as a server or its starter may."""
    code = (
        "import ctypes, resource\n"
        "ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"  # PR_SET_NO_NEW_PRIVS
        "resource.setrlimit(resource.RLIMIT_NOFILE, (77, 77))\n"
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    )
    plain, held = seen(), seen(code)
    assert (plain["identity"]["no_new_privileges"], held["identity"]["no_new_privileges"]) == (
        False, True)  # fmt: skip
    assert (held["limits"]["files"], held["limits"]["cpus"]) == (77, 1)
    assert plain["limits"]["files"] not in (77, None)
    assert plain["identity"]["user"] == ("user" if os.getuid() else "root")
    assert bool(plain["identity"]["capabilities"]) == (os.getuid() == 0)


def test_numeric_libraries_are_those_that_are_loaded():
    """Not those that are installed."""
    assert seen()["compute"]["loaded"] == []
    assert any("openblas" in name for name in seen("import numpy")["compute"]["loaded"])


@needs_namespace
def test_a_process_in_a_sandbox_reaches_nothing_and_has_no_capability(tmp_path):
    """Seen from outside, by its own mounts, network and rights."""
    sandbox = Sandbox("namespace", tmp_path / "run")
    sandbox.prepare()
    command = sandbox.command([sys.executable, "-c", READY], sandbox.scratch, tmp_path / "run")
    with subprocess.Popen(command, stdin=-1, stdout=-1, env=sandbox.environment()) as outer:
        outer.stdout.readline()
        pid = outer.pid
        while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            pid = int(children[0])
        found = observe.process(pid, tmp_path / "run", ask=False)
        outer.stdin.close()
    assert (found["egress"], found["isolation"]) == ([], "namespace")
    assert found["identity"]["capabilities"] == [] and found["identity"]["no_new_privileges"]
    free = [one["place"] for one in found["mounts"] if not one["read_only"]]
    assert "$SCRATCH" in free and "/" not in free
    plain = seen()
    assert (plain["isolation"], plain["egress"] in ([], ["*"])) == ("none", True)


def test_what_is_installed_is_asked_of_its_own_interpreter(tmp_path):
    """With its own paths: a package that only it sees is seen, and our own code by digest."""
    (tmp_path / "ghost-9.9.dist-info").mkdir()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with running(env=env) as pid:
        found = Environment.parse(observe.process(pid))
    assert found.wheels.installed["ghost"] == "9.9" and len(found.wheels.records) == 64
    assert found.python == capture.environment()["python"]
    assert "ghost" not in capture.libraries()


def test_an_ended_process_is_unknown_and_never_as_declared():
    """Nothing is taken from us in its place, and what is unknown differs from any declaration."""
    with running() as pid:
        whole = Environment.parse(observe.process(pid))
    gone = Environment.parse(observe.process(pid))
    assert gone == Environment(name="observed")
    fields = {one.field for one in compare(whole, gone)}
    assert {"python", "egress", "variables", "mounts", "limits.files", "digests.code"} <= {
        one.partition(".P")[0] for one in fields} | {"variables"}  # fmt: skip


def test_the_interpreter_of_another_user_is_not_started(monkeypatch):
    """It would run with our rights what another chose; so it is unknown."""
    with running() as pid:
        monkeypatch.setattr(observe.os, "getuid", lambda: 12345)
        found = observe.process(pid)
    assert (found["python"], found["wheels"], found["digests"]["code"]) == (None, {}, None)


def test_a_process_that_names_another_program_than_it_runs_is_not_asked(tmp_path):
    """Its command line is its own to write."""
    with subprocess.Popen(["/bin/false", "30"], executable="/bin/sleep") as process:
        found = observe.process(process.pid)
        process.kill()
    assert found["python"] is None and found["egress"] is not None


# ---- a server ------------------------------------------------------------------------------------


def folder_of(home: Path, name: str, gateway: int, worker: int | None, **spec: Any) -> Path:
    """A served folder whose processes are these."""
    folder = places.prepare(home / "served" / name / "tiny")
    key = person.public_line(folder / places.SERVER_KEY)
    places.write(folder / places.SPEC, {"operations": OPERATIONS.plain(), "server_key": key} | spec)
    places.write(folder / places.STATE, {"gateway": gateway, "worker": worker})
    base, bundle = home / "base", home / "bundle"
    for one in (base, bundle):
        one.mkdir(exist_ok=True)
    (base / "weights").write_text("w")
    (bundle / "criteria.json").write_text("{}")
    stable = {"base": str(base), "folder": str(bundle)}
    places.write(folder / places.LEASE, {"statement": {"stable": stable}})
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[tuple[Path, Path, dict[str, Environment]]]:
    """Pre-production and production, started the same way, and what is seen of them."""
    home = tmp_path_factory.mktemp("pair")
    found, folders = {}, []
    for name in ("preproduction", "production"):
        folder = places.prepare(home / "served" / name / "tiny")
        env = observe.surroundings(folder, OPERATIONS.serving)
        with running(env=env) as gateway, running(env=env) as worker:
            folders.append(folder_of(home, name, gateway, worker))
            found[name] = observe.server(folders[-1], name)
    yield *folders, found


def rules() -> Rules:
    """Those that a declared environment begins with."""
    text = (templates_root() / "environments/parity.yaml").read_text()
    return Rules.parse(yaml.safe_load(text.replace("$owner", "O").replace("$a_year", "2026-12-31")))


def test_two_servers_started_the_same_way_are_in_parity(pair):
    """With keys, folders and processes of their own; the shipped rules need no more."""
    before, live = pair[2].values()
    declared = live.model_copy(update={"name": "production"})
    found = judge(declared, before, live, rules(), TODAY)
    assert [one for one in found if one.verdict == "fail"] == []
    assert before.identity.server_key != live.identity.server_key
    assert before.variables["HF_HOME"].startswith("$SCRATCH/")
    assert live.tokens == {"workbench": "operator"}
    assert live.serving == OPERATIONS.serving and len(live.digests.operations) == 64
    assert None not in (live.digests.model, live.digests.policy, live.digests.code)


def test_a_worker_that_runs_otherwise_breaks_parity(pair, tmp_path):
    """More threads and a library put before all others; the gateway alone would not show it."""
    before, live = pair[2].values()
    folder = places.prepare(tmp_path / "served/production/tiny")
    env = observe.surroundings(folder, OPERATIONS.serving)
    other = {"PATH": env["PATH"], "LD_PRELOAD": "/lib/x.so", "OMP_NUM_THREADS": "7"}
    with running(env=env) as gateway, running(env=other) as worker:
        changed = observe.server(folder_of(tmp_path, "production", gateway, worker), "production")
    result = gate(judge(live, before, changed, rules(), TODAY))
    assert set(result.failing) == {
        "compute.threads", "variables.LD_PRELOAD", "variables.OMP_NUM_THREADS"}  # fmt: skip


def test_a_server_without_a_worker_or_a_release_is_unknown_there(pair, tmp_path):
    """And unknown fails."""
    live = pair[2]["production"]
    with running() as gateway:
        folder = folder_of(tmp_path, "production", gateway, None)
        (folder / places.LEASE).unlink()
        found = observe.server(folder, "production")
    assert (found.compute.threads, found.compute.loaded, found.variables) == (None, None, None)
    assert (found.digests.model, found.digests.policy) == (None, None)
    failing = set(gate(judge(live, live, found, rules(), TODAY)).failing)
    assert {"digests.model", "compute.threads", "variables.LD_PRELOAD"} <= failing


def test_where_nothing_is_served_nothing_is_observed(tmp_path):
    """And no observation is made up."""
    with pytest.raises(InputError, match="can't be read"):
        observe.server(tmp_path, "production")


# ---- signed --------------------------------------------------------------------------------------


def test_an_observation_is_signed_by_the_server_and_read_back(pair):
    """With the time and the use case; the same value again."""
    folder, found = pair[1], pair[2]["production"]
    key = person.public_line(folder / places.SERVER_KEY)
    assert observe.signed(folder, "tiny", found) == folder / places.OBSERVED
    said = observe.read(folder, key, "tiny", "production")
    assert said.found == found and said.time.endswith("Z")
    for usecase, environment in (("other", "production"), ("tiny", "preproduction")):
        with pytest.raises(IntegrityError, match="another environment"):
            observe.read(folder, key, usecase, environment)


def test_an_observation_that_was_changed_or_is_anothers_is_refused(pair):
    """One changed field, another server's key, another meaning, and something else that the server
    signs."""
    other, folder, found = pair[0], pair[1], pair[2]["production"]
    key, path = person.public_line(folder / places.SERVER_KEY), folder / places.OBSERVED
    observe.signed(folder, "tiny", found)
    good = places.read(path)
    with pytest.raises(IntegrityError, match="by another"):
        observe.read(folder, person.public_line(other / places.SERVER_KEY), "tiny", "production")
    changed = json.loads(json.dumps(good))
    changed["statement"]["found"]["identity"]["user"] = "somebody"
    meant = person.sign(good["statement"], "release@workbench", folder / places.SERVER_KEY)
    lease = person.sign({"usecase": "tiny"}, NAMESPACE, folder / places.SERVER_KEY)
    for wrong, error in ((changed, IntegrityError), (meant, IntegrityError), ({}, IntegrityError),
                         (lease, InputError)):  # fmt: skip
        places.write(path, wrong)
        with pytest.raises(error):
            observe.read(folder, key, "tiny", "production")

"""What a kernel can reach at each level, tried for real from inside."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from workbench.errors import InputError
from workbench.execution import isolation
from workbench.execution.isolation import Mount, Sandbox, available, channel, require

from .conftest import LEVELS, needs_namespace

PROBE = """
import json, os, socket, sys
def tried(action):
    try:
        return ["done", repr(action())]
    except Exception as error:
        return ["refused", type(error).__name__]
print(json.dumps({%s}))
"""


class Place:
    """A use case, an input, a store with a key and a scratch folder, and code run among them."""

    def __init__(self, root: Path) -> None:
        self.usecase, self.store, self.scratch = root / "case", root / "case/runs", root / "scratch"
        self.key, self.other = self.store / "keys/engine.pem", root / "other"
        self.source = root / "elsewhere" / "snapshot"
        self.input = self.scratch / "inputs" / "snapshot"
        for folder in (self.usecase, self.key.parent, self.other, self.source):
            folder.mkdir(parents=True)
        for file in (self.usecase / "usecase.yaml", self.key, self.other / "diary",
                     self.source / "rows.csv", self.usecase / ".env"):  # fmt: skip
            file.write_text("as it was")

    def sandbox(self, level: str) -> Sandbox:
        return Sandbox(
            level,
            self.scratch,
            readable=(self.usecase,),
            inputs=(Mount(self.source, self.input),),
            hidden=(self.store, self.usecase / ".env", self.usecase / "not-there"),
        )

    def start(self, level: str, code: str, folder: Path) -> subprocess.Popen:
        sandbox = self.sandbox(level)
        sandbox.prepare()
        command = sandbox.command([sys.executable, "-c", code], self.scratch, folder)
        return subprocess.Popen(
            command, env=sandbox.environment(), cwd=self.scratch,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def probe(self, level: str, **actions: str) -> dict[str, list[str]]:
        """Each action (an expression) tried inside: ["done", result] or ["refused", why]."""
        body = ", ".join(f"{name!r}: tried(lambda: {code})" for name, code in actions.items())
        with channel() as folder:
            process = self.start(level, PROBE % body, folder)
            out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        return json.loads(out)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def until(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


# ---- the namespace ---------------------------------------------------------------------------


@needs_namespace
def test_a_namespace_has_no_network_but_its_own_loopback(place):
    """No TCP, no UDP, no DNS, no socket of the host; loopback works, GPU libraries need it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        got = place.probe(
            "namespace",
            tcp=f"socket.create_connection(('127.0.0.1', {port}), 2)",
            tcp_far="socket.create_connection(('192.0.2.1', 443), 2)",
            udp="socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
            dns="socket.getaddrinfo('example.org', 443)",
            interfaces="[name for _, name in socket.if_nameindex()]",
            loopback="(lambda s: socket.create_connection(s.getsockname(), 2) and 'up')"
            "(socket.create_server(('127.0.0.1', 0)))",
        )
    assert got.pop("interfaces") == ["done", "['lo']"]
    assert got.pop("loopback") == ["done", "'up'"]
    assert {outcome for outcome, _ in got.values()} == {"refused"}


def test_without_a_namespace_the_network_is_there(place):
    """The negative control: the same probe succeeds at level none, so it can fail."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        got = place.probe("none", tcp=f"socket.create_connection(('127.0.0.1', {port}), 2)")
    assert got["tcp"][0] == "done"
    assert Sandbox("none", place.scratch).describe()["network"] is True


@needs_namespace
def test_inputs_and_use_case_can_be_read_and_not_changed(place):
    """Not written, not renamed, not removed, nothing put beside them: not as root either."""
    case, rows = place.usecase / "usecase.yaml", place.input / "rows.csv"
    got = place.probe(
        "namespace",
        read_case=f"open({str(case)!r}).read()",
        read_input=f"open({str(rows)!r}).read()",
        write_case=f"open({str(case)!r}, 'w')",
        write_input=f"open({str(rows)!r}, 'w')",
        remove_input=f"os.unlink({str(rows)!r})",
        rename_input=f"os.rename({str(place.input)!r}, {str(place.scratch / 'x')!r})",
        add_to_case=f"open({str(place.usecase / 'new')!r}, 'w')",
        make_writable=f"os.chmod({str(rows)!r}, 0o777)",
        library=f"open({os.__file__!r}, 'a')",
        package=f"open({isolation.__file__!r}, 'a')",
        root="open('/new', 'w')",
    )
    assert got.pop("read_case") == got.pop("read_input") == ["done", "'as it was'"]
    assert {outcome for outcome, _ in got.values()} == {"refused"}, got
    assert (place.source / "rows.csv").read_text() == case.read_text() == "as it was"


@needs_namespace
def test_store_keys_home_and_everything_unnamed_do_not_exist_inside(place):
    """Not only unreadable: the paths are not there, so nothing about them can be learned."""
    got = place.probe(
        "namespace",
        key=f"open({str(place.key)!r}).read()",
        store=f"os.listdir({str(place.store)!r})",
        write_store=f"open({str(place.store / 'x')!r}, 'w')",
        env_file=f"open({str(place.usecase / '.env')!r}).read()",
        other=f"os.listdir({str(place.other)!r})",
        shadow="open('/etc/shadow').read()",
        ssh="os.listdir('/etc/ssh')",
        docker="os.listdir('/run')",
        home=f"[n for n in os.listdir({str(Path.home())!r}) if not n.startswith('.pyenv')]",
        host_processes="len([n for n in os.listdir('/proc') if n.isdigit()]) > 4",
        keys_home=f"os.listdir({str(Path.home() / '.local')!r})",
    )
    assert got.pop("store") == ["done", "[]"]
    assert got.pop("host_processes") == ["done", "False"]
    assert got.pop("home") in (["done", "[]"], ["refused", "FileNotFoundError"])
    assert {outcome for outcome, _ in got.values()} == {"refused"}, got


@needs_namespace
def test_root_outside_has_no_power_inside(place):
    """No capability is left, so no mount, no raw socket, no other user's process."""
    got = place.probe(
        "namespace",
        capabilities="[l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')]",
        raw="socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        hostname="socket.gethostname()",
    )
    assert got["capabilities"] == ["done", "['0000000000000000']"]
    assert got["raw"][0] == "refused"
    assert got["hostname"] == ["done", "'workbench'"]


@needs_namespace
def test_the_scratch_folder_and_memory_can_be_written(place):
    """A stage that cannot write its outputs, a temporary file or shared memory is of no use."""
    got = place.probe(
        "namespace",
        scratch="open('result', 'w').write('x')",
        tmp="__import__('tempfile').mkstemp()[1]",
        memory_tmp="open('/tmp/x', 'w').write('x')",
        shared="open('/dev/shm/x', 'w').write('x')",
        home="open(os.path.expanduser('~/x'), 'w').write('x')",
    )
    assert {outcome for outcome, _ in got.values()} == {"done"}, got
    assert str(place.scratch) in got["tmp"][1]
    assert (place.scratch / "result").read_text() == "x"


# ---- both levels -----------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_the_environment_is_a_whitelist(place, level, monkeypatch):
    """Tokens in the caller's environment stay there; threads, seeds and offline mode are fixed."""
    monkeypatch.setenv("HF_TOKEN", "not-for-the-kernel")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-the-kernel")
    monkeypatch.setenv("WORKBENCH_KEYS", "/somewhere")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/somewhere")
    env = eval(place.probe(level, env="dict(os.environ)")["env"][1])  # noqa: S307 - repr of a dict
    assert "not-for-the-kernel" not in env.values()
    assert not {"WORKBENCH_KEYS", "SSH_AUTH_SOCK"} & set(env)
    assert env["HOME"] == str(place.scratch / "home")
    fixed = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    assert fixed.items() <= env.items()


@pytest.mark.parametrize("level", LEVELS)
def test_extra_variables_reach_the_kernel_and_keep_this_package_importable(place, level):
    """A use case's own PYTHONPATH comes first and does not displace ours."""
    env = Sandbox(level, place.scratch).environment({"PYTHONPATH": "/own", "STAGE": "10_intake"})
    assert env["STAGE"] == "10_intake"
    assert env["PYTHONPATH"].split(os.pathsep)[0] == "/own"


@pytest.mark.parametrize("level", LEVELS)
def test_variables_of_the_run_reach_the_kernel_and_no_package_index_does(tmp_path, level):
    """They come over the fixed values and under what the runner adds; pip finds no index."""
    given = {"OMP_NUM_THREADS": "3", "MKL_CBWR": "AVX2", "STAGE": "x"}
    env = Sandbox(level, tmp_path, variables=given).environment({"STAGE": "y"})
    assert (env["OMP_NUM_THREADS"], env["MKL_CBWR"], env["STAGE"]) == ("3", "AVX2", "y")
    assert env["PIP_NO_INDEX"] == "1"


@needs_namespace
def test_another_user_inside_still_reads_its_inputs_and_writes_its_scratch(place, monkeypatch):
    """The namespace maps that user to ours, so that who runs and what can be read are two things."""
    sandbox = dataclasses.replace(place.sandbox("namespace"), user=1234, hostname="second")
    monkeypatch.setattr(place, "sandbox", lambda level: sandbox)
    rows = place.input / "rows.csv"
    got = place.probe(
        "namespace",
        who="(os.getuid(), os.stat('.').st_uid)",
        host="socket.gethostname()",
        read=f"open({str(rows)!r}).read()",
        scratch="open('result', 'w').write('x')",
        change=f"open({str(rows)!r}, 'w')",
    )
    assert got.pop("change")[0] == "refused"
    assert got == {
        "who": ["done", "(1234, 1234)"],
        "host": ["done", "'second'"],
        "read": ["done", "'as it was'"],
        "scratch": ["done", "1"],
    }
    assert (place.scratch / "result").stat().st_uid == os.getuid()


@needs_namespace
def test_places_are_what_can_be_seen_and_whether_it_can_be_written(place):
    """Each is tried from inside; the system's own files are left out, as are hidden folders."""
    sandbox = place.sandbox("namespace")
    places = sandbox.places()
    assert {str(place.usecase), str(place.input)} <= {p for p, free in places.items() if not free}
    assert [path for path, free in places.items() if free] == [str(place.scratch)]
    assert not [path for path in places if path.startswith(("/usr", "/etc", str(place.store)))]
    sandbox.prepare()
    folders = [path for path in places if Path(path).is_dir()]
    tried = {f"p{n}": f"open({path + '/new'!r}, 'w')" for n, path in enumerate(folders)}
    written = [outcome == "done" for outcome, _ in place.probe("namespace", **tried).values()]
    assert written == [places[path] for path in folders] and True in written
    assert Sandbox("none", place.scratch).places() == {"/": True}


@pytest.mark.parametrize("level", LEVELS)
def test_an_input_is_at_its_place(place, level):
    """The notebook finds its input at the same path at every level."""
    got = place.probe(level, rows="open('inputs/snapshot/rows.csv').read()")
    assert got["rows"] == ["done", "'as it was'"]


DETACHING = """
import os, subprocess, sys, time
beat = "import time\\nwhile True: open('beat', 'w').write('x'); time.sleep(0.05)"
if os.fork() == 0:
    os.setsid()
    subprocess.Popen([sys.executable, "-c", beat], start_new_session=True)
    os._exit(0)
time.sleep(0.5)
print("ready", flush=True)
time.sleep(%s)
"""


def still(place: Place) -> bool:
    """Whether the detached process beats no more."""
    beat = place.scratch / "beat"
    beat.unlink(missing_ok=True)
    time.sleep(0.4)
    return not beat.exists()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("end", ["by itself", "SIGTERM"])
def test_no_process_is_left_behind(place, level, end):
    """A double fork into a session of its own does not help: it ends with the rest."""
    with channel() as folder:
        process = place.start(level, DETACHING % (0 if end == "by itself" else 60), folder)
        assert process.stdout.readline() == "ready\n"
        if end == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        process.wait(timeout=5)
        process.stdout.close(), process.stderr.close()
    assert until(lambda: still(place), 3)


STARTER = """
import subprocess, sys
from pathlib import Path
from workbench.execution.isolation import Sandbox, channel
sandbox = Sandbox(sys.argv[2], Path(sys.argv[1]))
sandbox.prepare()
with channel() as folder:
    command = sandbox.command([sys.executable, "-c", sys.argv[3]], sandbox.scratch, folder)
    subprocess.run(command, env=sandbox.environment(), cwd=sandbox.scratch)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_the_death_of_its_parent_ends_everything(place, level):
    """SIGKILL leaves no time to clean up, so the operating system has to do it."""
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(place.scratch), level, DETACHING % 60],
        cwd=Path(__file__).resolve().parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout.readline() == "ready\n"
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) >= 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: still(place), 3)
    assert psutil.wait_procs(family, timeout=3)[1] == []


@pytest.mark.parametrize("level", LEVELS)
def test_the_exit_code_tells_the_signal(place, level):
    """128 + n, as shells have it; the engine names the signal from it."""
    with channel() as folder:
        process = place.start(level, "import os; os.kill(os.getpid(), 9)", folder)
        process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGKILL


# ---- refusals --------------------------------------------------------------------------------


def test_a_level_that_is_not_available_is_refused_with_what_to_install(monkeypatch):
    """A run never falls back to less isolation than was asked for."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    available.cache_clear()
    try:
        with pytest.raises(InputError, match="needs isolation namespace") as refusal:
            require("namespace")
        assert "apt install bubblewrap" in str(refusal.value)
        assert require("none") == "none"
        with pytest.raises(InputError):
            Sandbox("namespace", Path("/tmp/never")).prepare()
    finally:
        available.cache_clear()


def test_a_container_is_only_claimed_with_an_image_digest(monkeypatch):
    """A name that can be moved to another image does not pin an operating system."""
    monkeypatch.setattr(isolation.Path, "exists", lambda self: True)
    for stated, holds in {
        "workbench:latest": False,
        "": False,
        "ghcr.io/x/workbench@sha256:" + "0" * 64: True,
    }.items():
        monkeypatch.setenv("WORKBENCH_IMAGE", stated)
        assert (isolation.image() is not None) == holds


def test_outside_a_container_no_image_is_claimed(monkeypatch):
    """The variable alone makes no container."""
    monkeypatch.setattr(isolation.Path, "exists", lambda self: False)
    monkeypatch.setenv("WORKBENCH_IMAGE", "sha256:" + "0" * 64)
    assert isolation.image() is None


def test_surroundings_that_would_undo_the_isolation_are_refused(tmp_path):
    """A read-only folder inside the writable one, an input outside it, an unknown level."""
    with pytest.raises(InputError, match="inside the run's scratch"):
        Sandbox("none", tmp_path, readable=(tmp_path / "case",))
    with pytest.raises(InputError, match="outside the run's scratch"):
        Sandbox("none", tmp_path / "s", inputs=(Mount(tmp_path, tmp_path / "elsewhere"),))
    with pytest.raises(InputError, match="no such isolation level"):
        Sandbox("vm", tmp_path)


def test_a_missing_input_is_named(tmp_path):
    """Before the kernel starts, not as a stack trace from inside."""
    mount = Mount(tmp_path / "gone", tmp_path / "s" / "inputs" / "gone")
    with pytest.raises(InputError, match="not there"):
        Sandbox("none", tmp_path / "s", inputs=(mount,)).prepare()


def test_folders_of_sockets_are_private_short_and_swept(monkeypatch):
    """A killed engine's folder goes with the next run; a living one's stays."""
    with channel() as living:
        assert living.stat().st_mode & 0o777 == 0o700
        assert len(str(living / "kernel-5").encode()) < 108
        dead = living.with_name("workbench-dead")
        dead.mkdir()
        for folder in (living, dead):
            os.utime(folder, (0, 0))
        with channel():
            pass
        assert living.exists() and not dead.exists()
    assert not living.exists()


@needs_namespace
def test_a_kernel_started_in_a_thread_lives_as_long_as_the_thread(place):
    """The system ties it to the starting thread; the engine starts and waits in the same one."""
    got: dict = {}
    thread = threading.Thread(target=lambda: got.update(place.probe("namespace", one="1")))
    thread.start()
    thread.join(20)
    assert got == {"one": ["done", "1"]}

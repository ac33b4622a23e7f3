"""The engine tells the truth about what ran: each broken notebook, plain Papermill beside ours."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import papermill
import psutil
import pytest

from workbench.errors import InputError, RunError
from workbench.execution import capture
from workbench.execution import engine as engine_module
from workbench.execution.engine import Limits, execute
from workbench.execution.isolation import Mount, Sandbox, available

from .conftest import LEVELS, QUICK, corpus, needs_namespace, shown

REPOSITORY = Path(__file__).resolve().parents[2]
BEST = available()[0] if available()[0] != "container" else "namespace"


# ---- a sound notebook ------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_a_sound_notebook_succeeds_and_says_so(run, level):
    """Every code cell completed, parameters injected, outputs kept, the outcome in the file."""
    ran = run("sound", {"times": 3}, level)
    execution = ran.execution
    assert (execution.outcome, execution.error, execution.succeeded) == ("succeeded", None, True)
    assert [cell.status for cell in execution.cells] == ["completed"] * 4
    assert all(cell.seconds >= 0 for cell in execution.cells)
    assert execution.parameters == {"times": 3}
    assert "hello hello hello" in ran.text() and "63" in ran.text()
    assert ran.notebook.metadata.workbench.outcome == "succeeded"
    assert execution.started <= execution.finished


def test_it_runs_through_papermill_under_its_own_name(run, monkeypatch):
    """The field's tool does what it does well: parameters are injected by Papermill."""
    names = []
    original = papermill.execute_notebook

    def noted(*arguments, **more):
        names.append(more["engine_name"])
        return original(*arguments, **more)

    monkeypatch.setattr(papermill, "execute_notebook", noted)
    ran = run("sound")
    assert names == ["workbench"]
    (injected,) = [c for c in ran.notebook.cells if "injected-parameters" in c.metadata.tags]
    assert "times = 2" in injected.source


def test_two_runs_that_did_the_same_save_the_same_bytes(run, tmp_path):
    """No clock value, random id or path of this run is in the file, so replay can compare it."""
    first = run("prints_host_paths")
    there = Sandbox(BEST, tmp_path / "a" / "longer" / "path")
    second = run("prints_host_paths", sandbox=there, output=tmp_path / "second.ipynb")
    assert first.path.read_bytes() == (tmp_path / "second.ipynb").read_bytes()
    assert second.execution.succeeded


def test_no_path_of_the_host_is_saved(run, plain, tmp_path):
    """Papermill keeps them in outputs, warnings and metadata; ours names what they stand for."""
    ran = run("prints_host_paths")
    saved = ran.path.read_text()
    for path in (str(tmp_path), sys.prefix, str(Path.home()), "ipykernel_"):
        assert path not in saved
    assert "$SCRATCH $PYTHON/bin/python" in ran.text() and "<cell>" in ran.text()
    assert str(tmp_path) in json.dumps(plain("prints_host_paths").notebook)


def test_progress_can_be_followed(run):
    """Each code cell is announced with its number, the total and the heading above it."""
    events: list[tuple[str, dict]] = []
    run("sound", on_event=lambda kind, **facts: events.append((kind, facts)))
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "run_started" and kinds[-1] == "run_finished"
    started = [facts for kind, facts in events if kind == "cell_started"]
    assert [(facts["number"], facts["total"]) for facts in started] == [
        (1, 4), (2, 4), (3, 4), (4, 4),
    ]  # fmt: skip
    assert started[0]["title"] == "Sound"
    assert {"hello hello \n"} <= {facts["text"] for kind, facts in events if kind == "output"}
    assert [f["status"] for k, f in events if k == "cell_finished"] == ["completed"] * 4


def test_an_expected_error_is_no_failure(run, plain):
    """A negative control is tagged `raises-exception`; Papermill fails the run all the same."""
    assert plain("error_expected").raised is not None
    ran = run("error_expected")
    assert ran.execution.succeeded and "the control was caught" in ran.text()


def test_inside_a_running_loop_it_works_too(run):
    """A widget in Jupyter calls the same function as the command line."""

    async def from_jupyter():
        return run("sound")

    assert asyncio.run(from_jupyter()).execution.succeeded


# ---- what plain Papermill gets wrong ---------------------------------------------------------


def test_plain_papermill_saves_a_killed_run_as_completed(plain):
    """The lie: every cell completed, though the kernel was killed in the second."""
    assert set(plain("kernel_killed").statuses()) == {"completed"}


@pytest.mark.parametrize("level", LEVELS)
def test_a_killed_kernel_fails_its_cell_and_the_rest_is_not_run(run, level):
    """The cell and the signal are named, the last outputs kept."""
    ran = run("kernel_killed", level=level)
    assert ran.execution.outcome == "died"
    assert ran.statuses() == ["completed", "failed", "not run"]
    assert ran.execution.error["cell"] == 2
    assert "SIGKILL" in ran.execution.error["evalue"]
    papermills = [c.metadata.papermill.status for c in ran.notebook.cells[1:]]
    assert papermills == ran.statuses()
    # What the kernel said last is evidence; what an earlier run left in a cell is none.
    assert "last words" in ran.text() and "KernelDied" in ran.text()
    assert "accuracy 0.99" in shown(capture.read_notebook(corpus("kernel_killed")))
    assert "accuracy 0.99" not in ran.text()


def test_plain_papermill_saves_a_cell_out_of_time_as_completed(plain):
    """The lie again, of a cell that never came to its end."""
    assert set(plain("cell_never_ends", execution_timeout=1).statuses()) == {"completed"}


@pytest.mark.parametrize("level", LEVELS)
def test_a_cell_out_of_time_fails_and_shows_where_it_was(run, level):
    """It is interrupted first, so that its traceback tells what it waited for."""
    ran = run("cell_never_ends", level=level, limits=Limits(run_s=20, cell_s=1))
    assert ran.execution.outcome == "timed_out"
    assert ran.statuses() == ["completed", "failed", "not run"]
    assert ran.execution.error["evalue"] == "the cell took longer than 1 s"
    assert any("time.sleep(600)" in line for line in ran.execution.error["traceback"])
    assert "waiting" in ran.text()


def test_a_run_out_of_time_is_ended_though_no_cell_is_long(run):
    """Papermill knows no limit for the whole run."""
    begun = time.monotonic()
    ran = run("run_never_ends", limits=Limits(run_s=3, cell_s=20))
    assert time.monotonic() - begun < 12
    assert (ran.execution.outcome, ran.execution.error["ename"]) == ("timed_out", "RunTimeout")
    assert ran.statuses().count("failed") == 1 and ran.statuses()[-1] == "not run"


def test_a_cell_that_ignores_interrupts_is_ended_all_the_same(run):
    """The grace is short, and then the sandbox ends everything in it."""
    begun = time.monotonic()
    ran = run("ignores_interrupts", level=BEST, limits=Limits(run_s=20, cell_s=1))
    assert time.monotonic() - begun < 15
    assert ran.execution.outcome == "timed_out" and "not listening" in ran.text()


def test_leaving_early_is_not_finishing(run, plain):
    """`sys.exit(0)` passes in Papermill; ours asks that every code cell has completed."""
    assert plain("exits_early").raised is None  # the lie
    ran = run("exits_early")
    assert ran.execution.outcome == "incomplete"
    assert ran.statuses() == ["completed", "failed", "not run"]
    assert ran.execution.error["ename"] == "SystemExit"


def test_a_kernel_that_ends_itself_is_not_finishing_either(run):
    """`exit()` lets its own cell complete and ends the kernel a moment later."""
    ran = run("quits_early")
    assert ran.execution.outcome == "incomplete"
    assert ran.statuses()[-1] == "not run"
    assert ran.execution.cells[-1].seconds is None


def test_a_cell_tagged_to_be_skipped_is_refused(run, plain):
    """Papermill says completed of a check that never ran."""
    lie = plain("cell_skipped")
    assert lie.raised is None and set(lie.statuses()) == {"completed"}
    with pytest.raises(InputError, match="tagged to be skipped"):
        run("cell_skipped")


@pytest.mark.parametrize(
    ("name", "given"), [("parameter_misspelt", {"epoch": 5}), ("parameter_missing", {})]
)
def test_plain_papermill_runs_with_any_parameters(plain, name, given):
    """The lie: an unknown name is a line in a log, a missing value is an Ellipsis."""
    assert plain(name, given).raised is None


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("parameter_misspelt", {"epoch": 5}, "epoch: unknown parameter; did you mean epochs?"),
        ("parameter_misspelt", {"epochs": "5"}, "epochs: expected int in [1..100], given '5'"),
        ("parameter_misspelt", {"rate": 7.0}, "rate: expected float in [0..1], given 7.0"),
        ("parameter_missing", {}, "revision: missing; expected str"),
    ],
)
def test_wrong_parameters_are_refused_before_a_kernel_starts(run, tmp_path, name, given, told):
    """Which, expected and given, with exit code 1; nothing is written."""
    with pytest.raises(InputError) as refusal:
        run(name, given)
    assert told in str(refusal.value) and refusal.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_secret_in_a_parameter_is_refused_and_not_echoed(run, plain):
    """Papermill writes it into the notebook twice; ours never lets it near."""
    token = "ghp_" + "a1B2c3D4" * 5
    assert token in json.dumps(plain("secret_in_parameter", {"note": token}).notebook)
    with pytest.raises(InputError) as refusal:
        run("secret_in_parameter", {"note": token})
    assert "secret" in str(refusal.value) and token not in str(refusal.value)


def test_a_record_bent_by_its_notebook_lands_where_it_belongs(run, plain, tmp_path):
    """Papermill follows the link that the notebook put in its way, and overwrites a stranger."""
    victim = tmp_path / "victim"
    victim.write_text("somebody's file")
    record = tmp_path / "record" / "notebook.ipynb"
    record.parent.mkdir()
    plain("bends_its_record", output=record)
    assert "nbformat" in victim.read_text()  # the damage
    record.unlink()
    victim.write_text("somebody's file")
    ran = run("bends_its_record", sandbox=Sandbox("none", tmp_path))
    assert ran.execution.succeeded
    assert victim.read_text() == "somebody's file"
    assert record.is_file() and not record.is_symlink() and ran.statuses() == ["completed"] * 2


def test_endless_output_is_cut_visibly(run):
    """Fifty megabytes from one cell do not end in our memory, and the reader is told."""
    ran = run("floods_output")
    assert ran.execution.succeeded
    assert ran.path.stat().st_size < engine_module.OUTPUT_BYTES + 2**20
    assert "cut by the engine" in ran.text() and "after" in ran.text()


def test_no_output_is_lost_however_many_there_are(run):
    """ZeroMQ would drop what overflows a queue of 1,000; here it waits in the kernel."""
    ran = run("chatters", level=BEST)
    assert ran.execution.succeeded
    assert ran.notebook.cells[1].outputs[0].text.split() == [str(n) for n in range(3000)]


# ---- plain failures --------------------------------------------------------------------------


def test_an_error_is_told_with_its_cell_and_traceback(run):
    """The error that the statement records is the notebook's own, without terminal colours."""
    ran = run("raises")
    assert ran.execution.outcome == "failed"
    assert ran.statuses() == ["completed", "failed", "not run"]
    error = ran.execution.error
    assert (error["cell"], error["ename"], error["evalue"]) == (
        2, "ZeroDivisionError", "division by zero",
    )  # fmt: skip
    assert any("1 / x" in line for line in error["traceback"])
    assert "\x1b" not in "".join(error["traceback"])
    shown_errors = [o for o in ran.notebook.cells[2].outputs if o.output_type == "error"]
    assert len(shown_errors) == 1


def test_a_notebook_that_waits_for_a_person_fails(run):
    """Nobody types into a stage."""
    assert run("asks_for_input").execution.error["ename"] == "StdinNotImplementedError"


def test_a_kernel_that_does_not_start_is_told_with_its_last_words(run):
    """No cell is blamed, and what the kernel said is in the error."""
    ran = run("sound", env={"PYTHONHOME": "/nowhere"})
    assert ran.execution.outcome == "died" and ran.execution.error["cell"] is None
    assert "encodings" in " ".join(ran.execution.error["traceback"])
    assert set(ran.statuses()) == {"not run"}


def test_a_notebook_that_cannot_run_here_is_refused(run, tmp_path, monkeypatch):
    """Another language, or no notebook at all."""
    with pytest.raises(InputError, match="not for Python"):
        run("not_python")
    with pytest.raises(InputError, match="cannot be read"):
        run("there_is_no_such_notebook")


def test_a_notebook_that_cannot_be_saved_breaks_the_run(run, tmp_path, monkeypatch):
    """A full disk ends in a clear message with exit code 2, and in no half-written file."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(capture.os, "fsync", full)
    with pytest.raises(RunError, match="could not be saved") as broken:
        run("sound")
    assert "No space left" in str(broken.value) and broken.value.exit_code == 2
    assert not (tmp_path / "record" / "notebook.ipynb").exists()


# ---- isolation, through the engine -----------------------------------------------------------


@needs_namespace
def test_a_notebook_in_a_namespace_cannot_get_out(run, tmp_path):
    """No TCP, no DNS, no change of inputs or use case, no key: from a cell, not only a script."""
    case, snapshot, key = (tmp_path / name for name in ("case", "snapshot", "key"))
    case.mkdir()
    for file in (case / "usecase.yaml", snapshot, key):
        file.write_text("as it was")
    scratch = tmp_path / "scratch"
    placed = Mount(snapshot, scratch / "inputs" / "snapshot")
    parameters = {
        "input_file": str(placed.place),
        "usecase_file": str(case / "usecase.yaml"),
        "key_file": str(key),
    }
    sandbox = Sandbox("namespace", scratch, readable=(case,), inputs=(placed,))
    text = run("escapes", parameters, sandbox=sandbox).text()
    assert text.count("DONE 'as it was'") == 2  # the input and the use case can be read
    assert text.count("DONE") == 2  # and nothing else was done
    assert snapshot.read_text() == (case / "usecase.yaml").read_text() == "as it was"


@pytest.mark.parametrize("level", LEVELS)
def test_no_process_outlives_a_run(run, tmp_path, level):
    """Not even one that detached itself, and no folder of sockets either."""
    before = psutil.Process().children(recursive=True)
    assert run("leaves_process_behind", level=level).execution.succeeded
    beat = tmp_path / "scratch" / "beat"
    assert beat.exists()
    beat.unlink()
    time.sleep(0.4)
    assert not beat.exists()
    assert psutil.Process().children(recursive=True) == before


ALONE = """
import json, sys
from pathlib import Path
from workbench.execution.engine import execute
from workbench.execution.isolation import Sandbox
root = Path(sys.argv[1])
notebook = Path("tests/notebooks/ends_with_engine.ipynb")
execution = execute(notebook, root / "out.ipynb", sandbox=Sandbox(sys.argv[2], root / "s"))
print(json.dumps([execution.outcome, execution.error, [cell.status for cell in execution.cells]]))
"""


@pytest.fixture
def alone(tmp_path):
    """An engine in a process of its own, once its notebook beats."""

    def start(level: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", ALONE, str(tmp_path), level],
            cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while not (tmp_path / "s" / "beat").exists() and process.poll() is None:
            time.sleep(0.05)
        return process

    return start


@pytest.mark.parametrize("level", LEVELS)
def test_an_engine_killed_takes_its_kernel_with_it(alone, tmp_path, level):
    """`kill -9` of the engine leaves no kernel that goes on computing unseen."""
    process = alone(level)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert family and psutil.wait_procs(family, timeout=5)[1] == []
    (tmp_path / "s" / "beat").unlink(missing_ok=True)
    time.sleep(0.3)
    assert not (tmp_path / "s" / "beat").exists()


@pytest.mark.parametrize(("level", "sent"), [("none", signal.SIGTERM), (BEST, signal.SIGINT)])
def test_an_interrupt_ends_the_run_in_good_order(alone, tmp_path, level, sent):
    """Ctrl-C: the cell shows where it was, the notebook is saved, no process is left."""
    process = alone(level)
    process.send_signal(sent)
    out, err = process.communicate(timeout=15)
    outcome, error, statuses = json.loads(out)
    assert (outcome, error["ename"], statuses) == ("interrupted", "Interrupted", ["failed"]), err
    assert any("KeyboardInterrupt" in line for line in error["traceback"])
    saved = capture.read_notebook(tmp_path / "out.ipynb")
    assert saved.metadata.workbench.outcome == "interrupted"
    assert err == ""


def test_two_runs_at_once_do_not_meet(tmp_path):
    """Each has its own kernel, sockets and scratch folder, also within one process."""
    outcomes = {}

    def one(name: str) -> None:
        sandbox = Sandbox(BEST, tmp_path / name)
        done = execute(corpus("sound"), tmp_path / f"{name}.ipynb", sandbox=sandbox, limits=QUICK)
        outcomes[name] = done.outcome

    threads = [threading.Thread(target=one, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"a": "succeeded", "b": "succeeded"}


# ---- cost ------------------------------------------------------------------------------------


def test_the_engine_costs_little_over_plain_papermill(run, plain):
    """At most 1.5 s a stage, medians of alternating runs side by side."""
    ours, theirs = [], []
    for _ in range(3):
        for runner, seconds in ((plain, theirs), (lambda name: run(name, level=BEST), ours)):
            begun = time.perf_counter()
            runner("sound")
            seconds.append(time.perf_counter() - begun)
    assert statistics.median(ours) - statistics.median(theirs) <= 1.5

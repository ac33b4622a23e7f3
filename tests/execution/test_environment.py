"""The environment of a run as it really is, and its declaration by a new use case."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from workbench.errors import InputError
from workbench.execution import capture, scaffold
from workbench.execution.environment import declared, domain, observe, write_declaration
from workbench.execution.isolation import Sandbox, available, channel
from workbench.execution.project import Project
from workbench.policy.domain import NEEDED, differences, variables
from workbench.policy.environment import compare

from .conftest import LEVELS, needs_namespace

ROOT = Path(__file__).resolve().parents[2]
TRAINED = {"threads": 2, "seed": 7, "batch_size": 32, "accumulate": 2, "dtype": "float32"}


@pytest.fixture
def machine(monkeypatch):
    """machine(**facts): this machine with other facts about it."""

    def change(**facts):
        there = capture.environment() | facts
        monkeypatch.setattr(capture, "environment", lambda: there)

    return change


@pytest.fixture
def project(tmp_path) -> Project:
    return Project.load(scaffold.new(tmp_path / "case", "intent-routing"))


def changed(project: Project, **facts) -> None:
    """Other values in the declaration of the training environment."""
    path = project.root / "environments/training.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | facts))


# ---- the domain ----------------------------------------------------------------------------------


def test_the_domain_is_of_this_machine_and_of_the_jobs_parameters():
    """Processor, interpreter, libraries and build from what is installed; nothing is imported."""
    found = domain(TRAINED)
    assert (found.threads, found.seed, found.kind, found.device) == (2, 7, "native", "cpu")
    assert found.cpu.architecture == platform.machine() and found.cpu.model
    assert found.python == platform.python_version()
    assert found.libraries["torch"] == metadata.version("torch")
    assert "workbench" not in found.libraries and "rich" not in found.libraries
    assert "32 rows" in found.batches and "2 parts" in found.batches
    assert found.hash_seed == Sandbox("none", Path("/x")).environment()["PYTHONHASHSEED"]


def test_the_build_is_the_one_that_computes():
    """Its version with the local part, and the digest of the kernels' own file."""
    torch = pytest.importorskip("torch")
    kernels = Path(torch.__file__).parent / "lib/libtorch_cpu.so"
    with kernels.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    told = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    build = domain({}).build
    assert build["version"] == torch.__version__
    assert build["libtorch_cpu"] == f"sha256={told}"


def test_one_and_two_threads_are_two_domains():
    """And the same parameters are one."""
    (only,) = differences(domain(TRAINED), domain(TRAINED | {"threads": 1}))
    assert only.field == "threads"
    assert differences(domain(TRAINED), domain(TRAINED)) == []


@pytest.mark.skipif(
    not set(NEEDED) <= set(capture.environment()["cpu"]["features"]), reason="no AVX2 here"
)
def test_a_portable_domain_is_that_of_every_processor_of_the_vendor(machine):
    """Another model of the same vendor is the same domain; another vendor is not."""
    here = domain(TRAINED | {"domain": "portable"})
    cpu = capture.environment()["cpu"]
    machine(cpu=cpu | {"model": "Another", "features": ["avx2", "fma"]})
    assert differences(here, domain(TRAINED | {"domain": "portable"})) == []
    assert differences(domain(TRAINED), domain(TRAINED)) == []
    machine(cpu=cpu | {"vendor": "Another"})
    (only,) = differences(here, domain(TRAINED | {"domain": "portable"}))
    assert only.field == "cpu.vendor"


@pytest.mark.parametrize(
    "fact", [{"features": ["avx", "fma"]}, {"architecture": "aarch64", "features": ["asimd"]}]
)
def test_a_processor_that_can_not_give_a_portable_domain_is_refused(machine, fact):
    """Without AVX2, or of another architecture; native stays possible."""
    machine(cpu=capture.environment()["cpu"] | fact)
    assert domain(TRAINED).kind == "native"
    with pytest.raises(InputError, match="portable"):
        domain({"domain": "portable"})


def test_a_gpu_is_asked_of_the_driver(machine):
    """Its models and driver are in the domain; where there is none, the job is refused."""
    devices = [{"model": "G 1", "uuid": "u"}, {"model": "G 1", "uuid": "v"}]
    machine(gpu={"driver": "550.1", "devices": devices})
    found = domain({"device": "cuda"})
    assert (found.gpu.models, found.gpu.driver) == (["G 1", "G 1"], "550.1")
    assert domain({"device": "cpu"}).gpu is None
    machine(gpu=None)
    with pytest.raises(InputError, match="GPU"):
        domain({"device": "cuda"})


@pytest.mark.parametrize(
    "wrong", [{"domain": "here"}, {"threads": 0}, {"device": "tpu"}, {"processes": "two"}]
)
def test_parameters_that_name_no_domain_are_refused(wrong):
    """Never taken for the default."""
    with pytest.raises(InputError):
        domain(wrong)


# ---- what is observed ----------------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_variables_are_those_that_a_kernel_of_the_level_really_has(tmp_path, level):
    """Asked from inside, then host paths replaced by the names that stand for them."""
    given = {"threads": 2, "domain": "portable"}
    sandbox = Sandbox(level, tmp_path / "run", threads=2, variables=variables("portable", 2))
    sandbox.prepare()
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    with channel() as folder:
        command = sandbox.command([sys.executable, "-c", code], sandbox.scratch, folder)
        done = subprocess.run(command, env=sandbox.environment(), cwd=sandbox.scratch,
                              capture_output=True, text=True, check=True)  # fmt: skip
    inside = capture.labelled(json.loads(done.stdout), sandbox.labels())
    started_by = {"PWD", "JPY_PARENT_PID", "LC_CTYPE"}
    found = observe(given, level)
    assert {k: v for k, v in inside.items() if k not in started_by} == found.variables
    assert found.variables["HOME"] == "$SCRATCH/home"


@needs_namespace
def test_a_namespace_reaches_no_host_and_shows_what_is_mounted():
    """One place can be written; the store and the home folder are no places."""
    found = observe({}, "namespace")
    assert found.egress == [] and found.isolation == "namespace"
    assert [one.place for one in found.mounts if not one.read_only] == ["$SCRATCH"]
    assert all(not one.place.startswith(("/home", "/root", "~")) for one in found.mounts)


def test_without_isolation_everything_is_a_place_and_any_host_is_reached():
    """Said plainly, and different from every declaration of a namespace."""
    found = observe({}, "none")
    assert found.egress == ["*"]
    assert [(one.place, one.read_only) for one in found.mounts] == [("/", False)]
    fields = {one.field for one in compare(observe({}, "namespace"), found)}
    assert {"egress", "mounts", "isolation"} <= fields


def test_the_user_is_the_one_inside():
    """Mapped where the sandbox maps, and there only."""
    assert observe({}, "none").identity.user == ("user" if os.getuid() else "root")
    for level, user in (("namespace", "uid 5"), ("none", observe({}, "none").identity.user)):
        sandbox = Sandbox(level, Path("/x"), user=5)
        assert observe({}, level, sandbox=sandbox).identity.user == user


def test_inputs_of_a_stage_are_no_difference_and_another_place_is(tmp_path):
    """What a stage reads is in its record by digest; a folder that nobody named is the news."""
    from workbench.execution.isolation import Mount

    scratch, steps = tmp_path / "run", tmp_path / "steps"
    inputs = (Mount(tmp_path, scratch / "inputs" / "rows"),)
    usual = Sandbox("namespace", scratch, readable=(steps,), inputs=inputs)
    assert compare(observe({}, "namespace"), observe({}, "namespace", sandbox=usual)) == []


def test_a_lock_says_which_installed_versions_are_not_the_pinned(tmp_path, monkeypatch, machine):
    """The lock beside the package, where there is one; without it nothing is claimed."""
    monkeypatch.setattr("workbench.execution.environment.PACKAGE", tmp_path / "workbench")
    (tmp_path / "lock.txt").write_text("torch==1.0\nnumpy==2.0\nabsent==3\n")
    installed = {"torch": "1.0", "numpy": "2.1"}
    machine(lock={"name": "lock.txt", "sha256": "ab"}, libraries=installed)
    found = observe({}, "none").wheels
    assert found.unlike == {"absent": "missing, pinned to 3", "numpy": "2.1, pinned to 2.0"}
    machine(lock=None)
    bare = observe({}, "none").wheels
    assert (bare.lock, bare.sha256, bare.unlike) == (None, None, None)
    assert bare.installed == installed


def test_observing_is_fast_and_imports_nothing_heavy():
    """At most 50 ms beyond what a run captures anyway, median of five fresh processes."""
    code = (
        "import sys, time; from workbench.execution import capture, environment;"
        "capture.environment(); begun = time.process_time();"
        "environment.observe({'threads': 2}, 'none'); print(time.process_time() - begun);"
        "print([m for m in ('torch', 'pandas', 'numpy', 'zmq') if m in sys.modules])"
    )
    said = [subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout.splitlines() for _ in range(5)]  # fmt: skip
    assert all(loaded == "[]" for _, loaded in said)
    assert sorted(float(seconds) for seconds, _ in said)[2] <= 0.05


# ---- what is declared ----------------------------------------------------------------------------


def test_a_new_use_case_declares_the_machine_that_it_was_made_on(project):
    """Committed with it, and equal to what a training here observes."""
    found = declared(project, "training")
    assert found.zone.holds in project.usecase.data.classes
    parameters = {"threads": found.compute.threads}
    assert compare(found, observe(parameters, available()[0])) == []
    head = (project.root / "environments/training.yaml").read_text()
    assert head.startswith("# The environment `training`") and "commit it" in head


def test_own_data_without_classes_is_held_as_personal(tmp_path):
    """Nobody has decided yet, so the zone is not declared for less."""
    data = tmp_path / "my.csv"
    data.write_text("message,intent\nhello,greet\nbye,part\n")
    made = scaffold.new(
        tmp_path / "mine", "intent-routing", data=data, text="message", label="intent"
    )
    assert declared(Project.load(made), "training").zone.holds == "personal"


def test_a_change_of_the_machine_or_of_the_job_is_found(project, machine):
    """Threads by parameter, a library by version, the interpreter."""
    found = declared(project, "training")
    libraries = capture.environment()["libraries"] | {"torch": "0.1"}
    machine(libraries=libraries, python="3.0.0")
    fields = {d.field for d in compare(found, observe({"threads": 7}, available()[0]))}
    assert {"compute.threads", "python", "wheels.installed.torch"} <= fields


def test_what_a_use_case_does_not_declare_is_none(project):
    """A missing declaration is for the track to judge, not for the reader to invent."""
    assert declared(project, "production") is None


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"name": "production"}, "another environment"),
        ({"pyton": "3.11"}, "pyton"),
        ({"compute": {"threads": 0}}, "threads"),
        ({"variables": {"API_KEY": "abc"}}, "do not fit"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(project, facts, says):
    """With the file and the field."""
    changed(project, **facts)
    with pytest.raises(InputError, match=says) as refused:
        declared(project, "training")
    assert "training.yaml" in str(refused.value)


def test_a_declaration_that_is_missing_is_refused(project):
    """The use case names it, so it has to be there."""
    (project.root / "environments/training.yaml").unlink()
    with pytest.raises(InputError, match="does not exist"):
        declared(project, "training")


def test_a_declaration_is_written_for_any_name(project):
    """The same spec for every environment, with the use case's own parameters of the training."""
    path = write_declaration(project.root, "validation")
    assert yaml.safe_load(path.read_text())["name"] == "validation"
    config = yaml.safe_load((project.root / "usecase.yaml").read_text())
    config["parameters"] = {"30_adapt": {"threads": 5}}
    (project.root / "usecase.yaml").write_text(yaml.safe_dump(config))
    again = yaml.safe_load(write_declaration(project.root, "validation").read_text())
    assert again["compute"]["threads"] == 5
    assert again["variables"]["OMP_NUM_THREADS"] == "5"

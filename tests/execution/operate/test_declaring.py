"""`workbench environment`: a declaration as things are, and the manifests that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Lab, Told, copied, surroundings
from workbench.execution.environment import declared
from workbench.execution.operate import observe, places
from workbench.execution.project import Project
from workbench.policy.parity import Rules, gate, judge
from workbench.record import clock

SERVED = {
    "compute": {"memory_bytes": 2**31}, "egress": [],
    "identity": {"user": "user", "capabilities": []},
    "limits": {"cpus": 2, "processes": 500, "files": 1024},
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("declaring")


@pytest.fixture(scope="module")
def told(home: Path) -> Told:
    """What `workbench environment declare production` said, in a use case that says how it serves."""
    with surroundings(home):
        lab = Lab(home).fill()
        lab.operations()
        return lab.cli("environment", "declare", "production")


@pytest.fixture
def lab(home: Path, told: Told, tmp_path: Path) -> Iterator[Lab]:
    """A copy of the use case in which production is declared."""
    with copied(home, tmp_path) as lab:
        yield lab


def path(lab: Lab) -> Path:
    return lab.usecase / "environments" / "production.yaml"


def test_a_server_is_declared_as_this_machine_would_run_it(lab, told):
    """With its settings, its key, what it may use; named in usecase.yaml; what is open is said."""
    assert told.code == 0 and "commit it" in told.out
    project = Project.load(lab.usecase)
    found = declared(project, "production")
    assert found.serving == project.operations.serving
    assert found.variables["OMP_NUM_THREADS"] == str(found.serving.threads)
    assert found.identity.server_key.startswith("ssh-ed25519 ")
    assert found.limits.files and found.digests.code and found.wheels.records
    assert found.tokens == {"workbench": "operator"} and found.wheels.unlike == {}
    left = told.out.partition("Left open: ")[2]
    assert "digests.model" in left and "limits.files" not in left


def test_a_stage_s_environment_is_declared_as_training_is(lab):
    """The same spec, as a kernel finds it, and no rules of parity for it."""
    assert lab.cli("environment", "declare", "validation").code == 0
    found = declared(Project.load(lab.usecase), "validation")
    assert found.serving is None and found.compute.dtype == "float32"


def test_rules_of_parity_come_with_the_first_server_and_stay(lab):
    """Allowances belong to the owner and end in a year; a person's own rules are left alone."""
    file = lab.usecase / "environments" / "parity.yaml"
    rules = Rules.parse(yaml.safe_load(file.read_text()))
    given = {one.owner for one in rules.rules if one.kind == "may_differ"}
    assert given == {"Olga Owner"}
    file.write_text("rules: []\n")
    assert lab.cli("environment", "declare", "preproduction").code == 0
    assert file.read_text() == "rules: []\n"


@pytest.mark.parametrize("name", ["production", "Production", "../x", "parity"])
def test_what_is_declared_already_is_never_overwritten(lab, name):
    """Nor does a declaration leave its folder, or take the place of the rules."""
    before = {p: p.read_bytes() for p in lab.usecase.rglob("*") if p.is_file()}
    said = lab.cli("environment", "declare", name)
    assert said.code == 1 and "declared already" in said.err
    assert {p: p.read_bytes() for p in lab.usecase.rglob("*") if p.is_file()} == before


def test_what_was_declared_is_in_parity_with_what_then_runs(lab):
    """But for what only a release brings. Another interpreter's setting, and it is not."""
    project = Project.load(lab.usecase)
    wanted = declared(project, "production")
    rules = Rules.parse(yaml.safe_load(path(lab).with_name("parity.yaml").read_text()))
    folder = places.served(project, "production")
    found = observe.planned(project, "production")
    assert folder.is_dir() and found.digests.model is None
    with_release = {"digests": found.digests.model_copy(update={"model": "m"})}
    wanted, found = (one.model_copy(update=with_release) for one in (wanted, found))
    now = clock.parse(clock.now())
    assert gate(judge(wanted, found, found, rules, now)).failing == ()
    other = found.model_copy(update={"variables": found.variables | {"PYTHONHASHSEED": "1"}})
    assert gate(judge(wanted, found, other, rules, now)).failing == ("variables.PYTHONHASHSEED",)


def test_manifests_are_written_for_what_a_pod_may_be(lab):
    """As this machine is, it may run as root: that is refused, and said; stated otherwise, written."""
    to = lab.home / "out"
    facts = yaml.safe_load(path(lab).read_text())
    facts["identity"]["user"] = "root"
    path(lab).write_text(yaml.safe_dump(facts))
    said = lab.cli("environment", "render", "production", "--to", to)
    assert said.code == 1 and "nothing runs as root" in said.err and not to.exists()
    for name, value in SERVED.items():
        facts[name] = facts[name] | value if isinstance(value, dict) else value
    path(lab).write_text(yaml.safe_dump(facts))
    said = lab.cli("environment", "render", "production", "--to", to)
    assert said.code == 0 and "No image was built" in said.out
    assert {one.name for one in to.iterdir()} == {
        "Dockerfile", "compose.yaml", "kubernetes.yaml", "spec.json"}  # fmt: skip
    assert lab.cli("environment", "render", "production", "--to", to).code == 2  # none overwritten


def test_an_environment_that_nobody_declared_has_no_manifests(lab):
    """With what to run first."""
    said = lab.cli("environment", "render", "elsewhere", "--to", lab.home / "out")
    assert said.code == 1 and "environment declare elsewhere" in said.err

"""What a person approved counts while it is as it was, and by nobody else's signature (A2, A6)."""

from __future__ import annotations

import pytest
import yaml

from workbench.errors import InputError, IntegrityError
from workbench.execution import approvals
from workbench.execution.project import Project
from workbench.record import person
from workbench.record.digest import digest
from workbench.record.verify import verify_store


@pytest.fixture
def declared(lab):
    """(lab, project, governed store, keys): everything is declared, nothing is signed."""
    keys = lab.declare()
    return lab, Project.load(lab.usecase), lab.store("governed"), keys


def approve(declared, kind: str = "templates", by: str = "Vera Validator", key: str | None = None):
    _, project, store, keys = declared
    about = approvals.subject(project, kind)
    return approvals.enter(store, kind, about, by, keys / (key or by.split()[0]))


def test_an_approval_is_signed_over_names_and_digests(declared):
    """Use case, kind, each name with its digest, what it means, by whom; it is in force at once."""
    _, project, store, _ = declared
    assert approvals.in_force(store, "templates", "tiny") is None
    said = approve(declared)
    assert said["usecase"] == "tiny" and said["kind"] == "templates" and said["meaning"]
    assert said["by"] == "Vera Validator" and said["workbench"] and said["previous"] is None
    assert set(said["names"]) == set(approvals.templates(project, stages(project)))
    assert said["sha256"] == digest(said["names"])
    assert approvals.in_force(store, "templates", "tiny") == said
    assert approvals.in_force(store, "envelope", "tiny") is None
    assert approvals.in_force(store, "templates", "other") is None
    assert verify_store(store).ok


def stages(project):
    return approvals.stages_for(project.root, project.usecase)


def test_own_steps_are_approved_with_the_templates(declared):
    """A step changes rows as a notebook does; what Python leaves beside it is nobody's step."""
    lab, project, *_ = declared
    (lab.usecase / "steps").mkdir()
    (lab.usecase / "steps" / "own.py").write_text("A = 1\n")
    before = approvals.templates(project, stages(project))
    (lab.usecase / "steps" / "__pycache__").mkdir()
    (lab.usecase / "steps" / "__pycache__" / "own.pyc").write_bytes(b"\0")
    assert approvals.templates(project, stages(project)) == before
    (lab.usecase / "steps" / "own.py").write_text("A = 2\n")
    after = approvals.templates(project, stages(project))
    assert [name for name in after if after[name] != before[name]] == ["steps/"]


def test_the_envelope_is_approved_by_what_it_says(declared):
    """A comment is no change; a bound is."""
    lab, project, *_ = declared
    path = lab.usecase / "envelope.yaml"
    before = approvals.envelope(project)
    path.write_text("# wide enough\n" + path.read_text())
    assert approvals.envelope(project) == before
    path.write_text(path.read_text().replace("at_most: 5", "at_most: 6"))
    assert approvals.envelope(project) != before


def test_without_an_envelope_there_is_nothing_to_approve(declared):
    """The field that would name it is told."""
    lab, *_ = declared
    lab.configure()
    with pytest.raises(InputError, match="no envelope to approve") as refused:
        approvals.subject(Project.load(lab.usecase), "envelope")
    assert "usecase.yaml: envelope" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "by", "key", "error", "says"),
    [
        ("templates", "Vera Validator", "Olga", InputError, "another person's"),
        ("templates", "Olga Owner", "Olga", IntegrityError, "may not approve the templates"),
        ("envelope", "Vera Validator", "Vera", IntegrityError, "may not approve the envelope"),
        ("envelope", "Dora Data", "Dora", IntegrityError, "may not approve the envelope"),
    ],
)
def test_who_may_not_approve_enters_nothing(declared, kind, by, key, error, says):
    """In another's name, or without the role that the kind asks for."""
    with pytest.raises(error, match=says):
        approve(declared, kind, by, key)
    assert not declared[2].ledger.entries("approval")


def test_a_key_of_nobody_enters_nothing(declared):
    """A key that is in no keyring."""
    lab, _, store, keys = declared
    lab.person(keys / "Eve", "Eve Else", "model_validator")
    public = (keys / "Eve.pub").read_text()
    store.update_keyring(store.keyring().revoke(public, "lost"), keys / "Dora")
    with pytest.raises(IntegrityError, match="revoked"):
        approve(declared, by="Eve Else", key="Eve")
    assert not store.ledger.entries("approval")


def forged(declared, how: str) -> dict:
    """An envelope that nobody with the right to signed; put into the ledger past `enter`."""
    _, project, store, keys = declared
    good = approve(declared)
    said = approvals.subject(project, "templates") | {
        "kind": "templates", "by": "Vera Validator", "previous": digest(good)
    }  # fmt: skip
    if how == "other key":
        return person.sign(said, approvals.NAMESPACE, keys / "Olga")
    if how == "other namespace":
        return person.sign(said, "classify@workbench", keys / "Vera")
    if how == "edited statement":
        sealed = person.sign(said, approvals.NAMESPACE, keys / "Vera")
        return sealed | {"statement": said | {"names": {"30_adapt": "0" * 64}}}
    if how == "expired key":
        public = (keys / "Vera.pub").read_text()
        store.update_keyring(store.keyring().revoke(public, "left"), keys / "Dora")
        return person.sign(said, approvals.NAMESPACE, keys / "Vera")
    if how == "entered again":
        return store.ledger.entries("approval")[0].body["envelope"]
    return {"statement": said}


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("other key", "not signed by whom it names"),
        ("other namespace", "signed for another meaning"),
        ("edited statement", "signature is not of this statement"),
        ("expired key", "does not count: revoked"),
        ("entered again", "out of order"),
        ("unsigned", "not a signed statement"),
    ],
)
def test_a_forged_approval_approves_nothing(declared, how, says):
    """Whoever writes into the ledger without a person's key is found, and nothing runs on it."""
    store = declared[2]
    store.ledger.append("approval", {"envelope": forged(declared, how)})
    with pytest.raises(IntegrityError, match=says) as refused:
        approvals.in_force(store, "templates", "tiny")
    entry = store.ledger.entries("approval")[-1]
    assert f"ledger entry {entry.index}" in str(refused.value)


def test_an_approval_outlives_the_key_that_gave_it(declared):
    """It counts by the keyring of its time: a key that is revoked later takes nothing back."""
    _, _, store, keys = declared
    said = approve(declared)
    public = (keys / "Vera.pub").read_text()
    store.update_keyring(store.keyring().revoke(public, "left the bank"), keys / "Dora")
    assert approvals.in_force(store, "templates", "tiny") == said


def test_the_last_approval_counts(declared):
    """What was approved before and is no more can't be brought back by entering it again."""
    lab, _, store, _ = declared
    first = approve(declared)
    lab.stage("30_adapt", "print('more')")
    second = approve((lab, Project.load(lab.usecase), *declared[2:]))
    assert approvals.in_force(store, "templates", "tiny") == second
    assert second["previous"] == digest(first) and second["names"] != first["names"]


def test_what_is_to_be_signed_is_shown_first(declared):
    """Without a name and a key: shown, exit 4, nothing entered. Then what changed since is told."""
    lab, *_, keys = declared
    told = lab.cli("approve", "templates")
    assert told.code == 4 and "30_adapt" in told.out and "new" in told.out
    assert "I have reviewed" in told.out and not lab.store("governed").ledger.entries("approval")
    told = lab.cli("approve", "envelope", "--by", "Olga Owner", "--sign-with", keys / "Olga")
    assert told.code == 0 and "Change envelope, version 1" in told.out and "1 to 5" in told.out
    lab.cli("approve", "templates", "--by", "Vera Validator", "--sign-with", keys / "Vera")
    lab.stage("30_adapt", "print('more')")
    lines = {line.split()[0]: line for line in lab.cli("approve", "templates").out.splitlines()}
    assert "changed" in lines["30_adapt"] and "unchanged" in lines["20_dataset"]


def test_the_tiny_envelope_is_what_it_says(declared):
    """The document that these tests sign is one that the workbench reads."""
    lab, project, *_ = declared
    assert yaml.safe_load((lab.usecase / "envelope.yaml").read_text())["version"] == 1
    assert approvals.envelope(project)["envelope.yaml"]

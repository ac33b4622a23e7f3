"""One function by which a person classifies data, and what departs from it is refused (D1)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution import classification
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project
from workbench.record import keyring
from workbench.record.verify import verify_store

PERSONAL = {"class": "personal", "legal_basis": "contract", "retention_days": 30}


@pytest.fixture
def unclassified(lab):
    """The tiny use case before anybody decided."""
    lab.configure(
        data={"path": "data/messages.csv", "text": "message", "label": "intent", "steps": []}
    )
    return lab


def new_key(folder: Path, name: str) -> Path:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
    subprocess.run(words, check=True)
    return folder / name


def enter(store, key: Path, name: str) -> None:
    """Enter a person; the first is the keyholder and signs for all."""
    public = key.with_suffix(".pub").read_text().strip()
    held = keyring.Key(public=public, valid_from="2020-01-01T00:00:00Z")
    someone = keyring.Person(id=name.lower(), name=name, email=f"{name}@e", roles=("keyholder",),
                             keys=(held,))  # fmt: skip
    store.update_keyring(store.keyring().add(someone), key)


def decide(lab, track: str = "research", by: str = "Dora", **more):
    project = Project.load(lab.usecase)
    assigned = more.pop("assigned", {"message": PERSONAL})
    rest = more.pop("rest", {"class": "internal_operational"})
    return classification.classify(project.root, project.store(track), by, assigned, rest, **more)


def refusal(lab, track: str = "research") -> str:
    project = Project.load(lab.usecase)
    with pytest.raises(InputError, match="may not run") as refused:
        Pipeline(project, project.store(track)).check()
    return str(refused.value)


def test_a_decision_is_written_and_entered(unclassified):
    """usecase.yaml says what; the ledger says it too, with who, as version 1."""
    made = decide(unclassified)
    data = Project.load(unclassified.usecase).usecase.data
    assert data.classified_by == "Dora" and made.number == 1 and not made.signed
    assert [str(c.data_class) for c in data.columns.values()] == [
        "personal",
        "internal_operational",
    ]
    [entry] = unclassified.ledger("classification")
    assert entry.body["statement"] == made.data()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"assigned": {"nothing": {"class": "public"}}}, "no such column"),
        ({"assigned": {"message": {"class": "secret"}}}, "fit"),
        ({"rest": None}, "intent: not classified"),
        ({"assigned": {"message": {"class": "health"}}}, "asks for legal_basis"),
        ({"by": " "}, "no person has confirmed"),
    ],
)
def test_a_wrong_decision_leaves_everything_as_it_was(unclassified, more, says):
    """Unknown column or class, a column left out, a duty not stated, nobody's name."""
    before = (unclassified.usecase / "usecase.yaml").read_bytes()
    with pytest.raises(InputError, match=says):
        decide(unclassified, **more)
    assert (unclassified.usecase / "usecase.yaml").read_bytes() == before
    assert unclassified.ledger("classification") == []


@pytest.mark.parametrize("lowered", ["internal_operational", "public", "retention_bound"])
def test_a_class_lowered_after_the_decision_is_refused(unclassified, lowered):
    """By an edit of usecase.yaml, without a new version; the refusal names column and person."""
    decide(unclassified)
    assert Pipeline(Project.load(unclassified.usecase), unclassified.store()).check()
    path = unclassified.usecase / "usecase.yaml"
    path.write_text(path.read_text().replace("class: personal", f"class: {lowered}"))
    assert f"lowered from personal to {lowered} after Dora" in refusal(unclassified)
    decide(unclassified, by="Dan", assigned={"message": PERSONAL | {"class": lowered}})
    assert Pipeline(Project.load(unclassified.usecase), unclassified.store()).check()


def test_the_governed_track_takes_signed_decisions_only(unclassified, tmp_path):
    """A name is a claim; on research it is enough."""
    decide(unclassified, "governed")
    assert "no signed classification is in force" in refusal(unclassified, "governed")
    store, key = unclassified.store("governed"), new_key(tmp_path, "Dora")
    enter(store, key, "Dora")
    assert decide(unclassified, "governed", sign_with=key).signed
    assert "no signed classification" not in refusal(unclassified, "governed")
    assert verify_store(store).ok


def test_a_signature_of_somebody_else_is_refused(unclassified, tmp_path):
    """By a key of nobody, and by a person who signs in another's name; nothing is entered."""
    store = Project.load(unclassified.usecase).store("governed")
    with pytest.raises(IntegrityError, match="not in the keyring"):
        decide(unclassified, "governed", sign_with=new_key(tmp_path, "Eve"))
    key = new_key(tmp_path, "Dan")
    enter(store, key, "Dan")
    with pytest.raises(InputError, match="another person's"):
        decide(unclassified, "governed", sign_with=key)
    assert store.ledger.entries("classification") == []


def test_a_forged_signature_in_the_ledger_counts_for_nothing(unclassified, tmp_path):
    """An envelope whose statement was changed after it was signed ends in an integrity error."""
    store = Project.load(unclassified.usecase).store("governed")
    key = new_key(tmp_path, "Dora")
    enter(store, key, "Dora")
    decide(unclassified, "governed", sign_with=key)
    [entry] = store.ledger.entries("classification")
    forged = {**entry.body["envelope"]}
    forged["statement"] = forged["statement"] | {"number": 2, "previous": "0" * 64}
    store.ledger.append("classification", {"envelope": forged})
    with pytest.raises(IntegrityError, match="signature is not of this statement"):
        classification.in_force(store, Project.load(unclassified.usecase).usecase)
    assert not verify_store(store).ok


def test_a_decision_that_changes_nothing_leaves_the_comments(lab):
    """Confirming what stands there does not make the working tree dirty."""
    path = lab.usecase / "usecase.yaml"
    path.write_text("# a comment\n" + path.read_text())
    classification.classify(
        lab.usecase, Project.load(lab.usecase).store("research"), "Dora Data", {}
    )
    assert path.read_text().startswith("# a comment")

"""21 CFR Part 11: one test for each clause that the pack claims, against what really happens.

A store, a ledger, SSH keys and a keyring as they are used; each test holds the negative case. What
no test can hold (procedures, training, identities) stands in the pack as not covered.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution import approvals
from workbench.execution.project import Project
from workbench.execution.stages import stages_for
from workbench.policy.regimes import REGIMES
from workbench.record import clock, pack, person, statement
from workbench.record.digest import digest
from workbench.record.keyring import Key, Keyring, Person
from workbench.record.store import Store
from workbench.record.verify import verify_store

HERE = Path(__file__)
APPROVE = "approve@workbench"
STATEMENT = {"kind": "release", "bundle": "ab" * 32, "meaning": "approved"}
ELSEWHERE = {
    "11.50": (
        "policy/cards/test_brief.py::test_a_signature_shows_name_time_and_meaning",
        "execution/release/test_register.py::test_the_notebook_shows_the_three_elements_of_11_50",
    ),
}
"""Clauses whose tests stand where what they ask for is drawn."""


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[str, Path]:
    """Real keys: Ada's, Eve's, and one of Ada's behind a passphrase."""
    folder = tmp_path_factory.mktemp("ssh")
    for name, secret in (("ada", ""), ("eve", ""), ("locked", "open sesame")):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", secret, "-C", name, "-f", folder / name]
        subprocess.run(words, check=True)
    return {name: folder / name for name in ("ada", "eve", "locked")}


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("WORKBENCH_KEYS", str(tmp_path / "keys"))
    return Store.create(tmp_path / "store", "governed")


@pytest.fixture
def record(store):
    """A sealed record of one stage."""
    return sealed(store, "10_intake", "a result")


@pytest.fixture
def ring(keys) -> Keyring:
    """Ada is keyholder and validator, Eve is nothing of the kind."""
    ada = someone("ada", keys["ada"], "keyholder", "model_validator")
    return Keyring().add(ada).add(someone("eve", keys["eve"], "engineer"))


def sealed(store: Store, stage: str, text: str):
    run = store.begin(stage, "ada")
    (run.record / "notebook.ipynb").write_text(text)
    about = statement.build(
        stage=stage, parameters={}, usecase={"id": "demo"}, track="governed",
        started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z", outcome="succeeded",
    )  # fmt: skip
    return store.publish(run, about)


def someone(name: str, key: Path, *roles: str, **facts) -> Person:
    public = key.with_suffix(".pub").read_text()
    held = Key(**{"public": public, "valid_from": "2020-01-01T00:00:00Z", **facts})
    return Person(id=name, name=name.title(), email=f"{name}@e.org", roles=roles, keys=(held,))


def clauses() -> set[str]:
    """Every clause that the pack cites: `11.10(d), (e)` is two."""
    found = set()
    for control in REGIMES["cfr_21_part_11"].controls:
        section = ""
        for number, letter in re.findall(r"(11\.\d+)?(\([a-k]\))?", control.clause):
            section = number or section
            if number or letter:
                found.add(section + letter)
    return found


def test_every_clause_that_is_claimed_has_a_test():
    """A test `test_11_10_a_...` for 11.10(a); 11.50 where signatures are drawn. None is left over."""
    names = re.findall(r"^def test_11_(\d+)_(?:([a-k])_)?", HERE.read_text("utf-8"), re.MULTILINE)
    here = {f"11.{number}" + (f"({letter})" if letter else "") for number, letter in names}
    assert here | set(ELSEWHERE) == clauses()
    assert "11.10(a)" in here and "11.10(k)" in here and "11.70" in here
    for path, _, name in (test.partition("::") for tests in ELSEWHERE.values() for test in tests):
        assert f"def {name}(" in (HERE.parents[1] / path).read_text("utf-8")


def test_11_10_a_an_altered_record_is_discerned(store, record):
    """The file that was changed is named; before it, nothing is."""
    assert verify_store(store).ok
    path = record.path / "notebook.ipynb"
    path.chmod(0o644)
    path.write_text("a better result")
    path.chmod(0o444)
    assert not verify_store(store).ok
    assert any("notebook.ipynb" in problem.where for problem in verify_store(store).problems)


def test_11_10_b_a_copy_is_accurate_and_complete(store, record, tmp_path):
    """Both as files for people and with their proofs; a copy that was changed is refused."""
    pack.pack(store, [record.ref], tmp_path / "copy.tar")
    pack.unpack(tmp_path / "copy.tar", tmp_path / "copy")
    copy = tmp_path / "copy/records" / record.stage / record.id
    assert pack.verify_pack(tmp_path / "copy", store.public_keys) == []
    for path in record.path.iterdir():
        assert (copy / path.name).read_bytes() == path.read_bytes()
    copy.chmod(0o755)
    (copy / "notebook.ipynb").chmod(0o644)
    (copy / "notebook.ipynb").write_text("a better result")
    assert pack.verify_pack(tmp_path / "copy", store.public_keys)


def test_11_10_c_a_record_stays_as_it_is_and_is_found_again(store, record):
    """Read-only, never replaced by a later one of the same stage, found by its digest."""
    before = (record.path / "notebook.ipynb").read_bytes()
    later = sealed(store, "10_intake", "another result")
    assert later.digest != record.digest
    assert store.record(record.digest).path.joinpath("notebook.ipynb").read_bytes() == before
    assert not any(path.stat().st_mode & 0o222 for path in [record.path, *record.path.iterdir()])


def test_11_10_d_only_who_holds_the_engines_key_can_write(store, record):
    """The key is for its owner's eyes only; without it a store can be read and not added to."""
    folder = store.keys
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "engine.pem").stat().st_mode & 0o077 == 0
    (folder / "engine.pem").rename(folder / "elsewhere.pem")
    without = Store.open(store.path)
    assert without.record(record.digest).digest == record.digest
    with pytest.raises(InputError, match="can only be read"):
        without.ledger.append("keyring", {})


def test_11_10_e_the_trail_says_who_and_when_and_obscures_nothing(store, record, ring, keys):
    """Every run with its time, in order; what a change replaced stays; a removed entry is found."""
    store.update_keyring(ring, keys["ada"])
    public = keys["eve"].with_suffix(".pub").read_text()
    store.update_keyring(store.keyring().revoke(public, "left"), keys["ada"])
    kinds = [entry.kind for entry in store.ledger.entries()]
    assert kinds == ["store", "start", "record", "keyring", "keyring"]
    started = store.ledger.entries("start")[0]
    assert started.body["who"] == "ada" and clock.parse(started.time)
    first = store.ledger.entries("keyring")[0].body["envelope"]["statement"]
    assert not first["persons"][1]["keys"][0]["revoked"]
    path = store.path / "ledger/entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    assert not verify_store(store).ok


def test_11_10_g_who_lacks_the_authority_is_refused(store, ring, keys):
    """A person who is no keyholder changes nobody's rights."""
    store.update_keyring(ring, keys["ada"])
    more = someone("eve", keys["eve"], "keyholder", "model_validator")
    with pytest.raises(IntegrityError, match="no keyholder"):
        store.update_keyring(store.keyring().add(more), keys["eve"])
    assert store.keyring().find(more.keys[0].public)[0].roles == ("engineer",)


def test_11_10_k_a_stage_s_document_is_under_revision_control(lab):
    """Its digest is what is approved; any change of a word is another revision, and named."""
    project = Project.load(lab.usecase)
    before = approvals.templates(project, stages_for(project.root, project.usecase))
    path = lab.usecase / "stages/30_adapt.ipynb"
    path.write_text(path.read_text().replace("# 30_adapt", "# 30_adapt, as changed"))
    after = approvals.templates(project, stages_for(project.root, project.usecase))
    assert [name for name in after if after[name] != before[name]] == ["30_adapt"]


def test_11_70_signatures_can_not_be_moved_to_another_record(ring, keys):
    """Cut out and put under another bundle, or under another meaning, it verifies no more."""
    signed = person.sign(STATEMENT, APPROVE, keys["ada"])
    assert person.verify(signed, ring, APPROVE, clock.now()).name == "Ada"
    for change in ({"bundle": "cd" * 32}, {"meaning": "reviewed"}):
        moved = signed | {"statement": STATEMENT | change}
        assert digest(moved) != digest(signed)
        with pytest.raises(IntegrityError, match="not of this statement"):
            person.verify(moved, ring, APPROVE, clock.now())
    with pytest.raises(IntegrityError, match="another meaning"):
        person.verify(signed, ring, "release@workbench", clock.now())


def test_11_100_a_a_signature_is_one_person_s_alone(ring, keys):
    """Nobody signs in another's name; a key that is entered twice speaks for its first owner only."""
    with pytest.raises(InputError, match="another person's"):
        person.sign_as("Ada", STATEMENT, APPROVE, keys["eve"], ring)
    shared = ring.add(someone("mallory", keys["ada"], "risk_manager"))
    with pytest.raises(InputError, match="another person's"):
        person.sign_as("Mallory", STATEMENT, APPROVE, keys["ada"], shared)


def test_11_200_a_signing_takes_what_one_holds_and_what_one_knows(keys, tmp_path, monkeypatch):
    """A key behind a passphrase signs for who knows it; the file alone does not."""

    def answer(line: str) -> None:
        script = tmp_path / "askpass"
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
        monkeypatch.setenv("SSH_ASKPASS", str(script))
        monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")

    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for wrong in ("exit 1", "echo guessed"):
        answer(wrong)
        with pytest.raises(InputError, match="did not sign"):
            person.sign(STATEMENT, APPROVE, keys["locked"])
    answer("echo open sesame")
    signed = person.sign(STATEMENT, APPROVE, keys["locked"])
    ring = Keyring().add(someone("ada", keys["locked"], "keyholder"))
    assert person.verify(signed, ring, APPROVE, clock.now()).name == "Ada"


def test_11_300_a_an_identification_is_found_for_one_person_only(ring, keys):
    """The same key under a second name does not make a second signer."""
    shared = ring.add(someone("mallory", keys["ada"], "risk_manager"))
    signed = person.sign(STATEMENT, APPROVE, keys["ada"])
    assert person.verify(signed, shared, APPROVE, clock.now()).id == "ada"


def test_11_300_b_a_key_that_was_not_renewed_counts_no_more(keys):
    """It counts until its last moment, and from there on not."""
    signed = person.sign(STATEMENT, APPROVE, keys["ada"])
    until = {"valid_until": "2026-06-01T00:00:00Z"}
    ring = Keyring().add(someone("ada", keys["ada"], "keyholder", **until))
    assert person.verify(signed, ring, APPROVE, "2026-05-31T23:59:59Z").id == "ada"
    with pytest.raises(IntegrityError, match="expired"):
        person.verify(signed, ring, APPROVE, "2026-06-01T00:00:00Z")


def test_11_300_c_a_lost_key_is_taken_away(ring, keys):
    """From the revocation on it signs nothing; what it signed before stays signed."""
    signed = person.sign(STATEMENT, APPROVE, keys["eve"])
    public = keys["eve"].with_suffix(".pub").read_text()
    after = ring.revoke(public, "lost laptop", at="2026-06-01T00:00:00Z")
    assert person.verify(signed, after, APPROVE, "2026-05-31T23:59:59Z").id == "eve"
    with pytest.raises(IntegrityError, match="lost laptop"):
        person.verify(signed, after, APPROVE, "2026-06-01T00:00:01Z")

"""Everybody who touched what led to a candidate is named, or told apart as unidentified (L6)."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from workbench.execution.release import touches
from workbench.policy.duties import Touch
from workbench.record import person

EMIL = {"name": "Emil Engineer", "email": "emil@example.org"}


@pytest.fixture
def found(desk):
    """(touches, unidentified) of a record that ran on a commit; `changes` are of what it says."""

    def collected(commit, actor=EMIL, **repository):
        desk.facts = {"actor": actor, "repository": {"commit": commit, "dirty": False} | repository}
        desk.record = desk.judged()
        return touches.about(desk.project, desk.store, desk.record.digest)

    return collected


def acts(found, name):
    return {(one.act, one.where.split(" in commit")[0]) for one in found[0] if one.person == name}


def test_who_ran_and_who_edited_what_is_named(desk, found):
    """By file and commit; each kind of file is an act of its own."""
    files = {"policy.yaml": "edited_policy", "envelope.yaml": "edited_policy",
             "stages/30_adapt.ipynb": "edited_templates", "steps/own.py": "edited_code",
             "training.yaml": "edited_code", "data/messages.csv": "edited_data"}  # fmt: skip
    for path in files:
        old = desk.lab.usecase / path
        text = (old.read_text() if old.exists() else "") + "\n"
        commit = desk.commit(path, text, *EMIL.values())
    seen = acts(found(commit), "Emil Engineer")
    folders = {"stages/30_adapt.ipynb": "stages", "steps/own.py": "steps"}
    assert {(act, folders.get(path, path)) for path, act in files.items()} <= seen
    assert ("built", f"ran {desk.record.ref}") in seen
    where = [one.where for one in found(commit)[0] if one.act == "edited_data"]
    assert where[0].startswith(f"data/messages.csv in commit {commit[:7]}")


def test_an_edit_counts_whatever_became_of_its_lines_and_only_before_the_run(desk, found):
    """Who wrote what is all replaced did touch it; who wrote after the run did not."""
    policy = (desk.lab.usecase / "policy.yaml").read_text()
    desk.commit("policy.yaml", policy + "# mine\n", *EMIL.values())
    commit = desk.commit("policy.yaml", policy, "Rita Risk", "rita@example.org")
    desk.commit("policy.yaml", policy + "# late\n", "Vera Validator", "vera@example.org")
    seen = found(commit)
    for name, did in (("Emil Engineer", True), ("Rita Risk", True), ("Vera Validator", False)):
        assert (("edited_policy", "policy.yaml") in acts(seen, name)) == did


def test_a_person_with_two_addresses_is_one_person(desk, found):
    """An address that the keyring once had, or another one with the very name."""
    text = (desk.lab.usecase / "policy.yaml").read_text()
    desk.commit("policy.yaml", text + "# 1\n", "E.", EMIL["email"])
    desk.commit("steps/a.py", "", "Emil Engineer", "emil@home.example")
    desk.person("Emil Engineer", "engineer", email="emil@new.example.org")
    commit = desk.commit("steps/b.py", "", "e", "EMIL@new.example.org")
    seen = found(commit)
    assert {("edited_policy", "policy.yaml"), ("edited_code", "steps")} <= acts(
        seen, "Emil Engineer"
    )
    assert sum(one.where.startswith("steps in") for one in seen[0]) == 2
    assert not any("emil" in one.casefold() for one in seen[1])


def test_many_commits_of_one_person_are_told_in_a_line(desk, found):
    """The newest, and how many before it."""
    for text in "abc":
        commit = desk.commit("steps/a.py", text, "Stranger", "s@else.example")
    [told] = [one for one in found(commit)[1] if "Stranger" in one and "steps" in one]
    assert f"steps in commit {commit[:7]}" in told and told.endswith("and 2 before")


def test_a_co_author_touched_it_too(desk, found):
    commit = desk.commit("steps/a.py", "", "Rita Risk", "rita@example.org",
                         "m\n\nCo-authored-by: Somebody <emil@example.org>")  # fmt: skip
    assert ("edited_code", "steps") in acts(found(commit), "Emil Engineer")


def test_an_author_whom_nobody_knows_is_unidentified_and_never_dropped(desk, found):
    """Nor is one whose address several persons share, nor a run by nobody named."""
    commit = desk.commit("steps/a.py", "", "Stranger", "s@else.example")
    for name in ("Nina Engineer", "Noah Engineer"):
        desk.person(name, "engineer", email="team@example.org")
    desk.commit("steps/b.py", "", "P", "team@example.org")
    seen, unidentified = found(
        desk.commit("steps/c.py", "", *EMIL.values()), {"name": "", "email": ""}
    )
    told = "\n".join(unidentified)
    assert f"Stranger <s@else.example> edited code: steps in commit {commit[:7]}" in told
    assert "P <team@example.org> edited code" in told and f"built: ran {desk.record.ref}" in told
    assert not {one.person for one in seen} & {"Stranger", "P", ""}


def test_a_hostile_author_breaks_out_of_nothing(desk, found):
    """What a terminal would obey is shown as a mark; the commit is still told."""
    name = "Emil\x1b[2J\u202e Engineer"
    _, unidentified = found(desk.commit("steps/a.py", "", name, "x\x07@else.example"))
    [told] = [one for one in unidentified if "else.example" in one]
    assert told.isprintable() and "steps in commit" in told


def test_paths_are_no_patterns(desk, found):
    """A file called like a pattern is that file, and no other."""
    text = (desk.lab.usecase / "policy.yaml").read_text()
    desk.lab.configure(policy=":(top)*.yaml", data=desk.project.usecase.data.model_dump(
        mode="json", by_alias=True))  # fmt: skip
    commit = desk.commit(":(top)*.yaml", text, *EMIL.values())
    other = desk.commit("policy.yaml", text + "#\n", "Rita Risk", "rita@example.org")
    seen = found(other)
    assert ("edited_policy", ":(top)*.yaml") in acts(seen, "Emil Engineer") and commit
    assert acts(seen, "Rita Risk") == set()


LOST = {
    "no commit": ({"commit": None}, "no commit, on which"),
    "a commit that is not here": ({"commit": "f" * 40}, "ffffffffffff, on which"),
    "changes that nobody committed": ({"dirty": True}, "ran on changes that nobody committed"),
}


@pytest.mark.parametrize("case", LOST)
def test_where_git_can_not_say_it_is_told(case, desk, found):
    """Never silently nothing."""
    changes, says = LOST[case]
    commit = desk.commit("steps/a.py", "", *EMIL.values())
    _, unidentified = found(**({"commit": commit} | changes))
    assert any(says in one and desk.record.ref in one for one in unidentified)


@pytest.mark.parametrize("how", ["gone", "shallow"])
def test_a_repository_that_lost_its_history_is_told(how, desk, found):
    """Removed, or cut off: earlier authors are unknown."""
    commit = desk.commit("steps/a.py", "", *EMIL.values())
    if how == "gone":
        shutil.rmtree(desk.lab.usecase / ".git")
    else:
        (desk.lab.usecase / ".git" / "shallow").write_text(f"{commit}\n")
    seen, unidentified = found(commit)
    says = "is not in this repository" if how == "gone" else "history is cut off"
    assert any(says in one for one in unidentified)
    assert ("edited_code", "steps") in acts((seen, []), "Emil Engineer") or how == "gone"


def test_a_commit_can_not_be_replaced_by_another(desk, found):
    """git would show a replaced author in place of the one who wrote it."""
    commit = desk.commit("steps/a.py", "", *EMIL.values())
    git = ["git", "-C", str(desk.lab.usecase)]
    show = subprocess.run([*git, "cat-file", "commit", commit], check=True, capture_output=True)
    forged = show.stdout.replace(b"Emil Engineer <emil@", b"Rita Risk <rita@")
    made = subprocess.run([*git, "hash-object", "-t", "commit", "-w", "--stdin"], input=forged,
                          check=True, capture_output=True)  # fmt: skip
    subprocess.run([*git, "replace", commit, made.stdout.decode().strip()], check=True)
    seen = found(commit)
    assert ("edited_code", "steps") in acts(seen, "Emil Engineer")
    assert ("edited_code", "steps") not in acts(seen, "Rita Risk")


def test_who_signed_is_named_by_the_key_that_signed(desk, found):
    """Classification, envelope and templates of this use case; a cause of a record in its ancestry."""
    for kind, who in (("envelope", "Olga"), ("templates", "Vera")):
        full = {"Olga": "Olga Owner", "Vera": "Vera Validator"}[who]
        assert desk.lab.cli("approve", kind, "--by", full, "--sign-with", desk.keys / who).code == 0
    told = desk.lab.cli("classify", "--track", "governed", "--by", "Dora Data",
                        "--sign-with", desk.keys / "Dora")  # fmt: skip
    assert told.code == 0, told.err
    # Persons of the lab share an address, so only their names tell them apart.
    seen, _ = found(None)
    told = {(one.person, one.act) for one in seen}
    assert {("Olga Owner", "approved_envelope"), ("Vera Validator", "approved_templates"),
            ("Dora Data", "classified")} <= told  # fmt: skip
    cause = {"record": desk.record.digest, "gate": "accuracy", "case": "accuracy", "cause": "data",
             "by": "Vera Validator", "why": "w"}  # fmt: skip
    for one in (cause, cause | {"record": "0" * 64}):
        envelope = person.sign(one, "cause@workbench", desk.keys / "Vera")
        desk.store.ledger.append("cause", {"envelope": envelope})
    seen, _ = touches.about(desk.project, desk.store, desk.record.digest)
    assert [one.person for one in seen if one.act == "gave_cause"] == ["Vera Validator"]


@pytest.mark.parametrize("body", [
    {"envelope": {"statement": {"usecase": "tiny", "kind": "templates", "by": "Rita Risk"}}},
    {"statement": {"usecase": "tiny", "kind": "templates", "by": "Rita Risk"}},
    {"envelope": "nothing"},
    {},
])  # fmt: skip
def test_a_forged_signature_is_nobodys_touch_and_is_told(desk, found, body):
    """Whoever it names did not sign it; that it stands there is a finding."""
    entry = desk.store.ledger.append("approval", body)
    seen, unidentified = found(None)
    assert not [one for one in seen if one.act.startswith("approved")]
    assert any(f"ledger entry {entry.index}" in one for one in unidentified)


def test_a_packaged_notebook_is_the_workbenchs_own(desk, found):
    """Nobody of the use case wrote it; one of the use case's own takes its place."""
    (desk.lab.usecase / "stages" / "40_functional.ipynb").unlink()
    seen, _ = found(None)
    shipped = [one for one in seen if one.person.startswith("workbench")]
    assert shipped == [Touch("workbench 1.2.3", "edited_templates", "packaged 40_functional")]

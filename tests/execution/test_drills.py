"""Planted defects: each is caught by the gates that must catch it, and by them alone.

Real kernels, keys and both verifiers, in copies of one sandbox; the release that it is a copy of
stays as it is, whatever happens.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution import bundle
from workbench.execution.drills import drill as drills
from workbench.execution.drills import reviewer, sandbox
from workbench.execution.drills.defects import KINDS
from workbench.execution.project import Project
from workbench.policy import governance, release
from workbench.record import verify

from ..conftest import copied

SOUND = [], [], 0, "nothing is looked for"
SLOW = {"verify_record.py", "recompute"}


@pytest.fixture(scope="module")
def lab(registered, tmp_path_factory):
    """A use case with a registered release; these tests leave it as it is."""
    with copied(registered, tmp_path_factory.mktemp("drilled")) as found:
        yield found


def whole(lab):
    project, store = Project.load(lab.usecase), lab.store("governed")
    return project, store, bundle.find(store)


@pytest.fixture(scope="module")
def sound(lab):
    """A sandbox in which nothing was planted; copies are planted in."""
    with sandbox.of(*whole(lab)) as box:
        box.sign(random.Random("test"))
        yield box


def gates(sound, name, off=SLOW):
    """Those that refuse a kind, of all but these."""
    with sound.copied() as box:
        KINDS[name].plant(box, random.Random(f"1 {name}"))
        return {one.gate for one in drills.ask(box, off)}


def state(lab):
    """Every file there is, with its bytes, mode and times."""
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes())
        for path in sorted(lab.home.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_caught_by_its_gates_and_by_no_other(sound, name):
    """All that it names refuse; with them out of action the same defect comes through."""
    found = drills._planted(sound, KINDS[name], seed=1)
    assert found.verdict == "caught", found.refused
    assert found.through == () and found.where


def test_what_must_catch_is_in_the_list_of_what_is_asked():
    """No kind names a gate that nobody asks: it could never be caught."""
    data = {"data_sets_apart", "data_classes"}
    asked = {*drills.CHECKS, *release.GATES, *data}
    assert set().union(*(kind.by for kind in KINDS.values())) <= asked
    assert data <= set(governance.GATES)


@pytest.mark.parametrize(("name", "module", "check", "left"), [
    ("revoked approval", release, "_approvals", set()),
    ("open finding", release, "_findings", set()),
    ("expired risk acceptance", release, "_acceptances", set()),
    ("leak", governance, "_sets_apart", set()),
    ("wrong class", governance, "_classes", set()),
    ("stale evidence", release, "_fresh", {"approvals"}),
    ("author approves", release, "_separation", {"approvals", "approve"}),
])  # fmt: skip
def test_a_gate_that_always_passes_is_noticed(sound, monkeypatch, name, module, check, left):
    """Sabotage is an escape, or what other gates still see; never all that must catch it."""
    monkeypatch.setattr(module, check, lambda evidence: SOUND if module is release else SOUND[1:])
    assert gates(sound, name) == left < KINDS[name].by


@pytest.mark.parametrize(("name", "rule"), [
    ("replayed nonce", "its nonce"), ("one person twice", "this person or this key"),
    ("one key under two names", "in the name of"), ("revoked approval", "revoked by"),
])  # fmt: skip
def test_a_rule_that_is_dropped_is_noticed(sound, monkeypatch, name, rule):
    """Each rule by which an approval does not count has a kind that shows whether it is there."""
    real = release._discounted
    monkeypatch.setattr(
        release, "_discounted", lambda *given: "" if rule in (why := real(*given)) else why
    )
    assert "approvals" in KINDS[name].by - gates(sound, name)


def test_a_verifier_that_finds_nothing_is_noticed(sound, monkeypatch):
    """The other verifier still sees it; that does not make it caught."""
    monkeypatch.setattr(verify, "verify_store", lambda *given: verify.Report())
    found = drills._planted(sound, KINDS["forged metric"], seed=1)
    assert found.verdict == "by another only"
    assert {one.gate for one in found.refused} == {"verify_record.py"}


def test_what_cannot_be_planted_is_told_and_counts_for_nothing(sound, monkeypatch):
    """One approver is no two: neither caught nor escaped."""
    monkeypatch.setattr(sandbox.Sandbox, "approvals", lambda box: [])
    found = drills._planted(sound, KINDS["one person twice"], seed=1)
    assert (found.verdict, found.where) == ("not planted", "The plan asks for one approval only.")


def test_releases_without_a_defect_pass(sound):
    """Other people, another order, another day: nothing is refused for being different."""
    rng = random.Random(5)
    assert [drills._clean(sound, rng) for _ in range(2)] == [[], []]


@pytest.mark.parametrize("name", ["leak", "edited notebook", "revoked approval"])
def test_the_seed_alone_says_what_is_planted(sound, name):
    """The same seed plants at the same place, another one somewhere else sooner or later."""

    def planted(seed):
        with sound.copied() as box:
            return KINDS[name].plant(box, random.Random(f"{seed} {name}"))

    found = [planted(seed) for seed in (3, 3, 4, 5, 6)]
    assert found[0] == found[1] and len(set(found)) > 1


def test_the_real_store_is_only_read_and_nothing_is_left(lab, tmp_path, monkeypatch):
    """Byte for byte, mode and time; the copy with everybody's keys is gone afterwards."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = state(lab)
    told = lab.cli("drill", "--only", "leak", "--only", "edited request", "--clean", "1", "--json")
    assert told.code == 1 and "no such kind" in told.err
    told = lab.cli("drill", "--only", "leak", "--clean", "0", "--json")
    assert told.code == 0, told.err
    assert told.json["caught"]["count"] == 1 and told.json["false_refusals"] == []
    assert state(lab) == before and list(tmp_path.iterdir()) == []


def test_killed_in_the_middle_it_has_touched_nothing(lab, tmp_path):
    """What it leaves, only its owner can open; keys and store of the real place are as they were."""
    before = state(lab)
    words = [
        sys.executable,
        "-m",
        "workbench.cli",
        "drill",
        "--usecase",
        lab.usecase,
        "--times",
        "9",
    ]
    job = subprocess.Popen(words, env=os.environ | {"TMPDIR": str(tmp_path)})
    until = time.monotonic() + 60
    while not list(tmp_path.glob("drill-*/planted")) and time.monotonic() < until:
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.wait()
    [left] = tmp_path.iterdir()
    assert left.stat().st_mode & 0o077 == 0 and (left / "planted").exists()
    assert state(lab) == before


def test_an_escape_exits_3_and_names_it(lab, monkeypatch):
    """With the gate sabotaged the command does not report success."""
    monkeypatch.setattr(governance, "_sets_apart", lambda evidence: SOUND[1:])
    told = lab.cli("drill", "--only", "leak", "--clean", "0")
    assert told.code == 3 and "escaped" in told.out and "0 of 1 caught" in told.out


def test_a_release_that_is_not_sound_is_not_drilled(released):
    """A gate that refuses anyway would seem to catch everything."""
    keys = released.home / "persons"
    told = released.cli("finding", "raise", bundle.find(released.store("governed")).digest,
                        "--severity", "major", "--text", "It is wrong.", "--owner", "Olga Owner",
                        "--due", "2999-01-01", "--by", "Vera Validator",
                        "--sign-with", keys / "Vera")  # fmt: skip
    assert told.code == 0, told.err
    with pytest.raises(InputError, match="starts from a release") as refused:
        drills.drill(*whole(released), seeds=[1], only=["leak"], clean=0)
    assert "findings" in refused.value.given


# ---- packs for whoever reviews -------------------------------------------------------------------


@pytest.fixture(scope="module")
def packs(lab, tmp_path_factory):
    home = tmp_path_factory.mktemp("packs")
    told = lab.cli("drill", "--reviewer", "--packs", "4", "--defects", "2", "--seed", "4",
                   "--to", home / "read", "--key", home / "key.json")  # fmt: skip
    assert told.code == 0, told.err
    return home


def test_a_pack_is_what_a_reviewer_reads_and_holds_no_key(packs):
    """Brief, executed notebooks and summary, and as many defects as were asked for."""
    held = json.loads((packs / "key.json").read_bytes())["answers"]
    assert len(held) == 4 and sum(place is not None for place in held.values()) == 2
    names = {path.name for path in (packs / "read" / "pack-01").iterdir()}
    assert {"brief.html", "summary.md", "40_functional.ipynb", "50_candidate.ipynb"} <= names
    assert (packs / "key.json").stat().st_mode & 0o077 == 0
    assert not any(b"salt" in p.read_bytes() for p in (packs / "read").rglob("*") if p.is_file())


@pytest.mark.parametrize("number", range(len(reviewer.DEFECTS)))
def test_each_hidden_defect_changes_a_row_of_the_table_that_it_names(number):
    """A figure, a verdict, a label, an approver or an end is another than all the rest says."""
    told = {
        "verdicts": [{"gate": "g", "stage": "s", "verdict": "passed", "figure": 1.0, "asked": "a"}],
        "answers": [{"expected": label, "predicted": label, "cases": 3} for label in "ab"],
        "approvals": [{"by": "V", "as": "r", "at": "2026-01-01", "until": "2027-01-01"}],
        "ran": [{"by": "Dora", "stages": 9}],
    }
    table, change = reviewer.DEFECTS[number]
    row = told[table][0]
    changed = change(row, told, random.Random(1))
    assert len(changed) == 1 and row | changed != row


def test_the_rest_of_a_pack_contradicts_its_defect(packs):
    """Somebody who compares finds it: the words of a summary are those of the sound one."""
    held = json.loads((packs / "key.json").read_bytes())["answers"]
    summaries = {name: (packs / "read" / name / "summary.md").read_text() for name in held}
    words = {name: text.partition("## ")[0] for name, text in summaries.items()}
    assert len(set(words.values())) == 1
    parts = {name: dict(p.split("\n", 1) for p in text.split("## ")[1:])
             for name, text in summaries.items()}  # fmt: skip
    sound = next(name for name, place in held.items() if place is None)
    for name, place in held.items():
        other = {t for t in ("verdicts", "answers") if parts[name][t] != parts[sound][t]}
        assert other == ({place} & {"verdicts", "answers"})


def test_a_reader_is_scored_by_place_and_by_false_alarms(packs, released, tmp_path):
    """A defect blamed on another table is not found; the ledger keeps the figures and the key."""
    held = json.loads((packs / "key.json").read_bytes())["answers"]
    spoilt = [name for name, place in held.items() if place]
    answers = dict.fromkeys(held, "answers") | {spoilt[0]: held[spoilt[0]], spoilt[1]: "nowhere"}
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    told = released.cli("drill", "--score", tmp_path / "answers.json", "--to", packs / "read",
                        "--key", packs / "key.json", "--by", "Rita Risk")  # fmt: skip
    assert told.code == 0, told.err
    [entry] = released.store("governed").ledger.entries("drill")
    assert entry.body == told.json
    assert (told.json["caught"]["count"], told.json["caught"]["n"]) == (1, 2)
    assert told.json["false_alarms"]["count"] == 2


def test_scores_by_another_key_or_without_an_answer_are_refused(packs, released, tmp_path):
    """Who makes the key afterwards could score as they like."""
    store, held = released.store("governed"), json.loads((packs / "key.json").read_bytes())
    other = tmp_path / "key.json"
    other.write_bytes((packs / "key.json").read_bytes().replace(b"verdicts", b"approvals"))
    other.write_bytes(
        json.dumps(held | {"salt": ""}, sort_keys=True, separators=(",", ":")).encode()
    )
    with pytest.raises(IntegrityError, match="not the key"):
        reviewer.score(store, packs / "read", other, held["answers"], "Rita Risk")
    with pytest.raises(InputError, match="for each pack"):
        reviewer.score(store, packs / "read", packs / "key.json", {}, "Rita Risk")
    assert store.ledger.entries("drill") == []

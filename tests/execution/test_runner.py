"""One stage: what is sealed, what is encrypted, what the kernel may not do to the engine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time

import pyarrow.parquet as parquet
import pytest
import yaml

from workbench.errors import IntegrityError
from workbench.execution import checkpoints, engine, kernel_run
from workbench.execution.isolation import available
from workbench.record.digest import tree, tree_digest
from workbench.record.verify import verify_store

MARKER = "Grandma Zebulon's private words"


def verdicts(record):
    return {v["criterion"]: v["verdict"] for v in record.statement.predicate.workbench_verdicts}


def names(record):
    return {subject.name for subject in record.statement.subject}


def test_rows_of_persons_are_encrypted_at_rest(done):
    """No message stands in the clear anywhere in the store; scratch is gone after the run."""
    assert done.plaintext() == []
    record = done.record("20_dataset")
    assert {"outputs/raw/messages.csv.enc", "outputs/train.parquet.enc"} <= names(record)
    assert not [p for p in (done.runs / "research" / "scratch").iterdir() if p.is_dir()]


def test_the_rows_come_back_exactly(done, tmp_path):
    """What was encrypted is the file that the notebook wrote."""
    record, store = done.record("20_dataset"), done.store()
    name = "outputs/train.parquet.enc"
    store.cipher.decrypt(record.file(name), tmp_path / "t", record.encrypted(name)["snapshot"])
    assert MARKER in parquet.read_table(tmp_path / "t").to_pylist()[0]["message"]


def test_no_digest_of_the_plaintext_is_told(done):
    """A digest of rows that can be forgotten could confirm a guess: only keyed ones are kept,
    in statement, ledger and executed notebook."""
    from workbench.record.digest import file_digest

    plain = file_digest(done.usecase / "data" / "messages.csv")
    assert done.plaintext(plain[:16]) == []
    data = [i for i in done.record("20_dataset").statement.inputs if i.name == "data"]
    assert list(data[0].digest) == ["hmac_sha256"]


def test_a_forgotten_snapshot_verifies_as_erased(done):
    """Destroying the key is deletion: the store verifies and says `erased`; the rows are gone."""
    record, store = done.record("20_dataset"), done.store()
    sealed = record.statement.predicate.workbench_encrypted
    store.forget(next(iter(sealed.values()))["snapshot"], "asked by a customer")
    report = verify_store(done.store())
    assert report.ok and f"{record.ref}/outputs/raw/messages.csv.enc" in report.erased
    told = done.cli("run", "-p", "30_adapt.epochs=5")
    assert told.code == 1 and "key was destroyed" in told.err
    assert done.ledger("abandoned")[-1].body["reason"].startswith("the rows were deleted")


def test_each_look_at_a_locked_set_is_in_the_ledger_before_it_happens(done):
    """A reused result is no entry; a run that breaks is one, and a candidate that was examined
    before spends no further look: nothing new is learned from the same answers."""
    assert [e.body["look"] for e in done.ledger("look")] == [1]
    assert done.cli("run").code == 0
    assert len(done.ledger("look")) == 1
    done.stage("40_functional", "1 / 0")
    assert done.cli("run").code == 2
    looks = done.ledger("look")
    assert len(looks) == 2 and looks[-1].body["lock"] == looks[0].body["lock"]
    assert [e.body["look"] for e in looks] == [1, 1]
    assert {e.body["candidate"] for e in looks} == {looks[0].body["candidate"]} != {None}
    assert all(e.body["who"] and "run" in e.body for e in looks)


def another_candidate(done, epochs: int):
    return done.cli("run", "-p", f"30_adapt.epochs={epochs}")


def test_another_candidate_spends_another_look(done):
    """Whoever chooses among candidates by the locked set pays for it."""
    assert another_candidate(done, 4).code == 0
    assert [e.body["look"] for e in done.ledger("look")] == [1, 2]
    internal = done.record("40_functional").statement.predicate.buildDefinition.internalParameters
    assert internal["looks"] == {"number": 2, "budget": 9}


def test_what_is_made_of_a_look_s_tables_is_judged_at_that_look(done):
    """A stage that reads what an examination left widens its intervals as much."""
    done.stage("43_calibration", rows=["*.parquet"], kinds=["classifier"],
               inputs={"cases": "40_functional/cases.parquet", "criteria": "10_intake/criteria.json"})  # fmt: skip
    assert another_candidate(done, 4).code == 0
    internal = done.record("43_calibration").statement.predicate.buildDefinition.internalParameters
    assert internal["looks"] == {"number": 2, "budget": 9}
    assert [e.body["look"] for e in done.ledger("look")] == [1, 2]


def test_what_each_run_measures_anew_pays_for_no_look(done):
    """The load on a server is drawn afresh each time; a set that is locked is paid for all the same."""
    inputs = {"cases": "40_functional/cases.parquet", "criteria": "10_intake/criteria.json"}
    locked = inputs | {"locked": "20_dataset/locked.parquet!"}
    for name, read in (("43_calibration", inputs), ("44_reproducibility", locked)):
        done.stage(name, anew=True, inputs=read, rows=["*.parquet"], kinds=["classifier"])
    assert another_candidate(done, 4).code == 0
    looks = [done.record(name).statement.predicate.buildDefinition.internalParameters["looks"]
             for name in ("43_calibration", "44_reproducibility")]  # fmt: skip
    assert looks[0] == {"number": 1, "budget": 1} and looks[1]["number"] > 1


def test_a_look_beyond_the_budget_is_refused_before_it_happens(done):
    """Exit 3, the budget named; the set was not opened, and the ledger holds the attempt."""
    policy = done.usecase / "policy.yaml"
    policy.write_text(policy.read_text().replace("look_budget: 9", "look_budget: 2"))
    assert another_candidate(done, 4).code == 0
    before = len(done.store().records("40_functional"))
    told = another_candidate(done, 5)
    assert told.code == 3 and "at most 2 candidates" in told.err
    assert len(done.store().records("40_functional")) == before
    assert [e.body["look"] for e in done.ledger("look")] == [1, 2]
    assert [e.body["look"] for e in done.ledger("look-refused")] == [3]


def test_the_development_split_spends_no_look_and_decides_nothing(done):
    """What a pull request runs: dev rows in place of locked ones, and no candidate."""
    told = done.cli("run", "--development", "-p", "30_adapt.epochs=7")
    assert told.code == 0 and len(done.ledger("look")) == 1
    record = done.record("40_functional")
    assert record.statement.predicate.buildDefinition.internalParameters["development"] is True
    [given] = [one for one in record.statement.inputs if one.annotations["input"] == "locked"]
    assert "dev.parquet" in given.name and "locked" not in given.annotations
    assert len(done.store().records("50_candidate")) == 1


@pytest.mark.skipif(available()[0] == "none", reason="no namespaces here")
def test_the_locked_set_cannot_be_reached_from_training(done):
    """Neither the use case nor the records nor the keys exist inside the training's sandbox."""
    store = done.runs / "research"
    paths = [
        done.usecase,
        store / "records",
        store / "ledger",
        done.home / "keys",
        done.usecase / "data",
    ]
    seen = f"print([p for p in {[str(p) for p in paths]} if pathlib.Path(p).exists()])"
    named = "print(sorted(facts['inputs']))"
    done.stage("30_adapt", seen, named)
    assert done.cli("run", "--until", "30_adapt").code == 0
    cells = json.loads((done.record("30_adapt").path / "notebook.ipynb").read_text())["cells"]
    shown = ["".join(c["outputs"][0]["text"]).strip() for c in cells[-2:]]
    assert shown == ["[]", "['criteria', 'train']"]


def test_a_failed_stage_leaves_no_row_in_the_clear_and_no_verdict(done):
    """What a stage had written when it broke is encrypted too; only the engine gives verdicts."""
    forged = "(out / 'verdicts.json').write_text('[]'); (out / 'bundle').mkdir()"
    done.stage(
        "40_functional", forged, "(out / 'bundle' / 'manifest.json').write_text('{}')", "1/0"
    )
    assert done.cli("run").code == 2
    failed = done.record("40_functional")
    assert "outputs/cases.parquet.enc" in names(failed)
    assert not {n for n in names(failed) if "verdicts" in n or "bundle" in n}
    assert done.plaintext() == []


def test_a_kernel_that_writes_its_own_verdicts_is_overruled(done):
    """`verdicts.json` is the engine's: recomputed from the rows, whatever the kernel left."""
    lie = "(out / 'verdicts.json').write_text(json.dumps([{'criterion': 'accuracy', 'verdict': 'passed'}]))"
    done.criteria(at_least=1.1)
    done.stage("40_functional", lie)
    assert done.cli("run").code == 3
    record = done.record("40_functional")
    assert json.loads(record.file("outputs/verdicts.json").read_text())[0]["verdict"] == "failed"
    assert verdicts(record) == {"accuracy": "failed"}


CLAIM = """
from workbench.policy import gates
from workbench.policy.criteria import Policy
from workbench.policy.looks import Looks
policy = Policy.parse(json.loads(given["criteria"].read_text()))
read = lambda table: pq.read_table(out / table).to_pylist()
looks = Looks(**facts["looks"])
claims = [one.as_dict() for one in gates.judge(policy, "40_functional", read, looks=looks)]
"""
WRITE = "(out / 'claims.json').write_bytes(canonical(claims))"


@pytest.mark.parametrize("look", [1, 2])
def test_claims_that_the_rows_contradict_are_recorded(done, look):
    """A false claim is kept beside the verdict, at a second look too; a true one leaves nothing."""
    lie = "claims[0]['figure']['value'] = 0.25" if look == 1 else "claims[0]['verdict'] = 'failed'"
    if look == 1:
        done.store()  # the first look was the finished run's, at this lock: count it away
        done.data((done.usecase / "data" / "messages.csv").read_text().replace("no 20", "no 99"))
    done.stage("40_functional", CLAIM, lie, WRITE)
    assert done.cli("run", "--until", "40_functional").code == 0
    record = done.record("40_functional")
    odd = record.statement.predicate.workbench_claims["contradicted"]
    field = "figure" if look == 1 else "verdict"
    assert [one["field"] for one in odd] == [field]
    assert verdicts(record) == {"accuracy": "passed"}
    assert "the notebook claims" in done.cli("show", record.digest).out


def test_true_claims_leave_nothing(done):
    """What the notebook computes as the engine does is no contradiction."""
    done.stage("40_functional", CLAIM, WRITE)
    assert done.cli("run", "--until", "40_functional").code == 0
    assert done.record("40_functional").statement.predicate.workbench_claims == {}


LINKS = [
    ("(out / 'leak').symlink_to('/etc')", "leak", "a link"),
    ("shutil.rmtree(out / 'raw'); (out / 'raw').symlink_to(TARGET)", "raw", "a link"),
    ("shutil.rmtree(out); out.symlink_to(TARGET)", "outputs", "a link"),
    ("os.mkfifo(out / 'figures.json')", "figures.json", "a special file"),
]


@pytest.mark.parametrize(("cell", "named", "kind"), LINKS)
def test_links_and_pipes_in_the_outputs_are_refused_before_they_are_followed(
    done, tmp_path, cell, named, kind
):
    """Through a link the engine itself would encrypt and delete files of the host: the run is
    abandoned, the file named, the host's files are as they were."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter.txt").write_text("mine")
    done.stage("20_dataset", cell.replace("TARGET", repr(str(precious))))
    told = done.cli("run")
    assert told.code == 2 and kind in told.err and named in told.err
    assert [p.name for p in precious.iterdir()] == ["letter.txt"]
    assert done.ledger("abandoned")[-1].body["stage"] == "20_dataset"
    assert len(done.store().records("20_dataset")) == 1 and verify_store(done.store()).ok


def test_a_secret_in_an_output_is_not_sealed(done):
    """What looks like a secret is refused before it is kept for ever; its value is not echoed."""
    token = "ghp_" + "a1B2" * 9
    done.stage(
        "30_adapt", f"(out / 'notes.txt').write_text('ghp_' + 'a1B2' * 9) and print({token[:4]!r})"
    )
    told = done.cli("run")
    assert told.code == 2 and "looks like a secret" in told.err and token not in told.err
    assert done.plaintext(token) == []


def test_inputs_that_change_while_a_stage_runs_spoil_its_result(lab, monkeypatch):
    """IntegrityError names the file; nothing is sealed."""
    execute = kernel_run.execute

    def swap(*given, **more):
        ran = execute(*given, **more)
        lab.data("message,intent\nother,cards\n")
        return ran

    monkeypatch.setattr(kernel_run, "execute", swap)
    lab.stage("10_intake", inputs={"data": "usecase:data"}, cells=[], commits={}, rows=[])
    told = lab.cli("run", "--until", "10_intake")
    assert told.code == 6 and "messages.csv" in told.err
    assert not lab.store().records()


def test_a_stage_without_outputs_is_sealed(lab):
    """An empty or missing output folder is no fault; the notebook alone is the record."""
    lab.stage("10_intake", cells=["import os; os.rmdir('outputs')"], inputs={}, commits={})
    assert lab.cli("run", "--until", "10_intake").code == 0
    assert names(lab.record("10_intake")) == {"notebook.ipynb"}


def test_the_notebooks_own_refusal_is_wrong_input(lab):
    """InputError raised by a method keeps its words and its exit code, and is a failed record."""
    cell = "from workbench.errors import InputError\nraise InputError('no good', where='line 3')"
    lab.stage("10_intake", cell)
    told = lab.cli("run")
    assert told.code == 1 and "no good" in told.err and "line 3" in told.err
    assert lab.record("10_intake").ref in told.err


def test_an_interruption_after_the_last_cell_is_not_lost(lab, monkeypatch):
    """Ctrl-C while the kernel is on its way out stops the pipeline, as it does at any other time."""
    end = engine._Run._end_kernel

    async def interrupted(run):
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
        await end(run)

    monkeypatch.setattr(engine._Run, "_end_kernel", interrupted)
    told = lab.cli("run", "--jobs", "1")
    assert told.code == 2 and "interrupted" in told.err
    error = lab.record("05_inspection").statement.predicate.workbench_error
    assert error["outcome"] == "interrupted" and len(lab.store().records()) == 1


def test_a_stage_that_reads_rows_of_persons_must_say_which_outputs_hold_them(lab):
    """Else what it writes about them would be stored in the clear; refused before it runs."""
    lab.stage("30_adapt")
    path = lab.usecase / "stages" / "30_adapt.ipynb"
    path.write_text(path.read_text().replace('"rows": []', '"row": []'))
    told = lab.cli("run", "--until", "30_adapt")
    assert told.code == 1 and "does not say which outputs" in told.err
    assert not lab.store().records("30_adapt")


def test_a_manifest_that_makes_no_sense_is_not_evaluated_and_blocks_no_later_run(lab):
    """It is no pass, and the next run, whose history it is, still comes to its verdicts."""
    odd = "(out / 'manifest.json').write_bytes(canonical([{'step': 1}]))"
    lab.stage("20_dataset", odd)
    for said in ("not_evaluated", "passed"):
        told = lab.cli("run", "--until", "20_dataset")
        assert told.code == (3 if said == "not_evaluated" else 0), told.err
        assert verdicts(lab.record("20_dataset"))["data_steps"] == said
        lab.stage("20_dataset")


# ---- checkpoints ---------------------------------------------------------------------------------

GOES_ON = """
kept = pathlib.Path(facts["checkpoints"]) if "checkpoints" in facts else None
found = sorted(path.name for path in kept.iterdir()) if kept else []
print("found", found)
"""
UNFINISHED = """
if kept and not found:
    (kept / "half").mkdir()
    (kept / "step-1").write_text("weights")
    time.sleep(60)
"""


def killed(lab):
    """A run of 30_adapt whose engine is killed after the first checkpoint."""
    lab.stage("30_adapt", GOES_ON, UNFINISHED, checkpoints=True)
    engine = lab.start("run", "--until", "30_adapt")
    for _ in range(600):
        if list(lab.runs.glob("research/scratch/checkpoints/*/step-1")):
            break
        time.sleep(0.1)
    engine.kill()
    engine.wait()
    return next(lab.runs.glob("research/scratch/checkpoints/*"))


def output(record) -> str:
    cells = json.loads((record.path / "notebook.ipynb").read_text())["cells"]
    return "".join("".join(o.get("text", "")) for c in cells for o in c.get("outputs", []))


def test_a_killed_run_goes_on_from_its_checkpoints_and_says_so(lab):
    """SIGKILL of the engine leaves the folder; the next run gets it, and its record names what it
    found as an input; the folder is private, and gone when the run was sealed."""
    folder = killed(lab)
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    (folder / "half").rmdir()  # what a record can't hold is dropped; here, so that we can hash it
    expected = tree_digest(tree(folder))
    (folder / "half").mkdir()
    told = lab.cli("run", "--until", "30_adapt")
    assert told.code == 0, told.err
    record = lab.record("30_adapt")
    assert "found ['step-1']" in output(record)
    [found] = [i for i in record.statement.inputs if i.annotations["input"] == "checkpoint"]
    assert found.annotations["unfinished"] is True and found.digest == {"sha256": expected}
    assert (
        record.statement.predicate.buildDefinition.internalParameters["key"]["digest"] in found.uri
    )
    assert not list(folder.parent.iterdir())
    assert lab.ledger("abandoned")[-1].body["reason"] == "its engine died"
    assert verify_store(lab.store()).ok


def test_a_replay_of_a_resumed_run_begins_anew(lab):
    """Without checkpoints, to the same bytes; the certificate says that the original was resumed."""
    killed(lab)
    assert lab.cli("run", "--until", "30_adapt").code == 0
    told = lab.cli("replay", lab.record("30_adapt").id, "--json")
    assert told.code == 0 and told.json["resumed"] is True and told.json["grade"] == "bitwise"
    assert "found []" in output(lab.record("replay"))


def test_checkpoints_of_another_key_are_never_seen(lab):
    """Another parameter is another key: the run begins anew, and the first one's work stays."""
    folder = killed(lab)
    lab.stage("30_adapt", GOES_ON, checkpoints=True)
    assert lab.cli("run", "--until", "30_adapt").code == 0
    record = lab.record("30_adapt")
    assert "found []" in output(record)
    assert not [i for i in record.statement.inputs if i.annotations["input"] == "checkpoint"]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_checkpoints_that_nobody_comes_back_to_are_removed_after_two_weeks(lab):
    """By the age of the newest file in them; those of a key that is wanted stay."""
    store = lab.cli("run", "--until", "05_inspection") and lab.store()
    for key, days in (("old", 15), ("young", 13), ("wanted", 15)):
        path = checkpoints.place(store, key) / "step"
        path.write_text("x")
        for one in (path, path.parent):
            os.utime(one, (time.time() - days * 86_400,) * 2)
    left = checkpoints.place(store, "wanted").parent
    assert sorted(path.name for path in left.iterdir()) == ["wanted", "young"]


def test_a_link_among_the_checkpoints_is_refused(lab):
    """No digest covers it, so no record could name what the run stood on."""
    lab.cli("run", "--until", "05_inspection")
    folder = checkpoints.place(lab.store(), "key")
    assert checkpoints.found_in(folder) == []
    (folder / "step").symlink_to("/etc/passwd")
    with pytest.raises(IntegrityError, match="a link"):
        checkpoints.found_in(folder)


def test_a_stage_that_breaks_keeps_its_checkpoints(lab):
    """Only what was sealed as succeeded needs them no more."""
    lab.stage("30_adapt", GOES_ON, "(kept / 'step-1').write_text('w'); 1 / 0", checkpoints=True)
    assert lab.cli("run", "--until", "30_adapt").code == 2
    assert list(lab.runs.glob("research/scratch/checkpoints/*/step-1"))


# ---- what is sealed of the surroundings ----------------------------------------------------------


def test_a_record_names_its_domain_class_and_where_the_place_is_not_as_declared(done):
    """Domain by the parameters; the strictest class of the lineage; no declaration, nothing to
    compare."""
    internal = done.record("30_adapt").statement.predicate.buildDefinition.internalParameters
    assert internal["domain"]["kind"] == "native" and internal["domain"]["threads"] == 1
    assert internal["data_class"] == "personal"
    assert internal["declared_environment"] is None and internal["environment_differences"] == []


def test_where_the_place_is_not_as_declared_is_sealed(lab):
    """The field, declared and observed; of threads only where a stage may choose them."""
    (lab.usecase / "environments").mkdir()
    declared = {"name": "training", "python": "2.7", "compute": {"threads": 7}}
    (lab.usecase / "environments" / "training.yaml").write_text(yaml.safe_dump(declared))
    lab.configure(environments={"training": "environments/training.yaml"})
    assert lab.cli("run", "--until", "05_inspection").code == 0
    internal = lab.record("05_inspection").statement.predicate.buildDefinition.internalParameters
    (differing,) = internal["environment_differences"]
    assert (differing["field"], differing["declared"]) == ("python", "2.7")
    assert internal["declared_environment"]["compute"]["threads"] == 7

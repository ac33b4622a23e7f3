"""The store: all of a record or nothing, and a clean start after any death."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from workbench.errors import InputError, IntegrityError, RunError
from workbench.record import durable
from workbench.record.store import Store, unfinished
from workbench.record.verify import verify_record, verify_store


def test_a_store_is_made_once(store, keys):
    """Its place is taken afterwards; its key is outside of it and its owner's only."""
    with pytest.raises(InputError, match="no store can be made"):
        Store.create(store.path, "research")
    assert (keys / store.id / "engine.pem").stat().st_mode & 0o777 == 0o600
    assert (keys / store.id).stat().st_mode & 0o777 == 0o700
    assert not list(store.path.rglob("*.pem"))
    assert [p.name for p in store.path.parent.iterdir() if p.name.startswith(".")] == []


def test_open_or_create(tmp_path):
    """Makes one, then opens the same; a store of another track is refused."""
    made = Store.open_or_create(tmp_path / "s", "research")
    assert Store.open_or_create(tmp_path / "s", "research").id == made.id
    with pytest.raises(InputError, match="another track"):
        Store.open_or_create(tmp_path / "s", "governed")


def test_no_store_and_a_broken_one(tmp_path):
    """Nothing there: InputError. A store.json that can't be read: IntegrityError."""
    with pytest.raises(InputError, match="no store"):
        Store.open(tmp_path)
    (tmp_path / "store.json").write_text("{")
    with pytest.raises(IntegrityError):
        Store.open(tmp_path)


def test_a_record_is_all_that_was_in_its_folder(store, seal):
    """Files with bytes and exec bit, under a signed statement, read-only, listed by the ledger."""
    record = seal(store)
    assert record.path == store.path / "records" / "10_intake" / record.id
    assert record.id.endswith(record.digest[:12])
    assert record.file("outputs/cases.csv").read_text() == "a,b\n1,2\n"
    executable = {s.name for s in record.statement.subject if s.annotations["executable"]}
    assert executable == {"outputs/run.sh"}
    modes = {p.stat().st_mode & 0o777 for p in record.path.rglob("*") if p.is_file()}
    assert modes == {0o444, 0o555}
    assert {p.stat().st_mode & 0o777 for p in (record.path, record.path / "outputs")} == {0o555}
    entry = store.ledger.entries("record")[0].body
    start = store.ledger.entries("start")[0].body
    assert entry == {
        "run": start["run"],
        "stage": "10_intake",
        "id": record.id,
        "digest": record.digest,
        "outcome": "succeeded",
    }
    assert record.statement.run_id == start["run"]
    assert verify_store(store).ok
    assert list((store.path / "scratch").iterdir()) == []


def test_a_statement_of_another_stage_is_not_published(store, fill, about):
    """What the statement says and where the record stands agree: else InputError."""
    run = store.begin("10_intake", "tester")
    fill(run)
    with pytest.raises(InputError, match="another stage"):
        store.publish(run, about("20_dataset"))
    assert store.records() == []


def test_a_failed_run_is_a_record_too(store, seal):
    """Failures are sealed as such, with what broke."""
    record = seal(store, outcome="failed", error={"ename": "KeyError", "cell": 3})
    assert record.outcome == "failed"
    assert record.statement.predicate.workbench_error["ename"] == "KeyError"
    assert store.ledger.entries("record")[0].body["outcome"] == "failed"


def test_records_are_found_by_any_name_that_fits_one(store, seal):
    """Id, stage/id, digest, or a beginning; unknown and ambiguous ones are refused."""
    a, b = seal(store), seal(store, "20_dataset")
    for ref in (a.id, a.ref, a.digest, a.digest[:8], f"10_intake/{a.id[:6]}"):
        assert store.record(ref) == a
    assert store.records("20_dataset") == [b]
    for ref, reason in (("2", "no such"), (a.id[:4], "more than one"), ("zzzz", "no such")):
        with pytest.raises(InputError, match=reason):
            store.record(ref)


def test_a_file_outside_the_record_is_refused(store, seal):
    """Only sealed files are handed out: InputError for anything else."""
    record = seal(store)
    for path in ("../../../store.json", "/etc/passwd", "statement.json", "nothing"):
        with pytest.raises(InputError, match="no such file"):
            record.file(path)


@pytest.mark.parametrize("stage", ["", "../x", "a/b", ".hidden"])
def test_a_stage_name_cannot_leave_its_folder(store, stage):
    """Letters, digits, _ . - only: InputError, and nothing is started."""
    with pytest.raises(InputError):
        store.begin(stage, "tester")
    assert unfinished(store.ledger.entries()) == {}


def _link(run):
    (run.record / "link").symlink_to("/etc/passwd")


def _empty(run):
    (run.record / "empty").mkdir()


def _hard_link(run):
    (run.folder / "outside").write_text("x")
    os.link(run.folder / "outside", run.record / "inside")


def _pipe(run):
    os.mkfifo(run.record / "pipe")


@pytest.mark.parametrize("spoil", [_link, _empty, _hard_link, _pipe])
def test_what_cannot_be_sealed_is_refused_before_anything_is_published(store, about, fill, spoil):
    """Links, hard links (another name could change them), empty folders, pipes: refused by name."""
    run = store.begin("10_intake", "tester")
    fill(run)
    spoil(run)
    with pytest.raises(IntegrityError, match="can't hold"):
        store.publish(run, about())
    assert store.records() == []
    assert store.ledger.entries("record") == []
    store.abandon(run, "not sealable")
    assert verify_store(store).ok


def test_a_secret_key_elsewhere_means_reading_only(store, seal, keys):
    """Without the key folder a store can be read and verified, and not written: InputError."""
    seal(store)
    keys.rename(keys.with_name("gone"))
    reader = Store.open(store.path)
    assert verify_store(reader).ok
    with pytest.raises(InputError, match="only be read|no private key"):
        reader.begin("10_intake", "tester")


def test_abandoned_runs_stay_in_the_ledger(store, fill):
    """Giving up is an entry with the reason; the scratch folder goes."""
    run = store.begin("10_intake", "tester")
    fill(run)
    store.abandon(run, "interrupted")
    assert store.ledger.entries("abandoned")[0].body["reason"] == "interrupted"
    assert not run.folder.exists()
    assert unfinished(store.ledger.entries()) == {}


def test_a_living_run_is_left_alone(store, fill, about):
    """Recovery, and another run's start, do not touch a run whose owner lives."""
    run = store.begin("10_intake", "tester")
    fill(run)
    assert Store.open(store.path).recover() == []
    second = store.begin("20_dataset", "tester")
    store.abandon(second, "x")
    assert store.publish(run, about()).outcome == "succeeded"
    assert store.ledger.entries("abandoned")[0].body["run"] == second.id


def test_a_statement_json_left_by_the_notebook_does_not_matter(store, fill, about):
    """A notebook can't plant the seals: publishing writes its own."""
    run = store.begin("10_intake", "tester")
    fill(run)
    (run.record / "statement.json").write_text("{}")
    (run.record / "statement.sigs.json").write_text("{}")
    record = store.publish(run, about())
    assert verify_record(record, store.public_keys) == []


# deaths


SCRIPT = """
import os, sys
from workbench.record import durable, statement, store as module
from workbench.record.store import Store

store = Store.open(sys.argv[1])
run = store.begin("10_intake", "tester")
(run.record / "notebook.ipynb").write_text("{{}}")
made = statement.build(stage="10_intake", parameters={{}}, usecase="u", track="research",
    started="2025-01-01T00:00:00Z", finished="2025-01-01T00:00:00Z", outcome="succeeded")
def die(*a, **k):
    os.kill(os.getpid(), 9)
{how}
store.publish(run, made)
"""

DEATHS = {
    "before publishing": ("die()", "abandoned"),
    "while signing": ("Store._sign = die", "abandoned"),
    "before the move": ("module.move_in = die", "abandoned"),
    "between move and entry": ("durable.append = die", "record"),
    "between entry and checkpoint": (
        "real = durable.replace\n"
        "durable.replace = lambda p, *a: die() if p.name == 'checkpoint' else real(p, *a)",
        "record",
    ),
    "before clearing up": ("Store._clear = die", None),
}


@pytest.mark.parametrize("moment", DEATHS)
def test_kill_9_at_any_moment(store, seal, moment):
    """kill -9: never half a record; the next run works; the ledger says what became of the run."""
    how, expected = DEATHS[moment]
    script = SCRIPT.format(how=how)
    done = subprocess.run([sys.executable, "-c", script, store.path], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()

    record = seal(store)

    report = verify_store(store)
    assert report.problems == []
    kinds = [e.kind for e in store.ledger.entries() if e.kind in ("abandoned", "record")]
    if expected == "abandoned":
        assert kinds == ["abandoned", "record"]
        assert store.records() == [record]
    else:
        assert kinds == ["record", "record"]
        recovered = [bool(e.body.get("recovered")) for e in store.ledger.entries("record")]
        assert recovered == [expected == "record", False]
        assert len(store.records()) == 2
    assert list((store.path / "scratch").iterdir()) == []


def test_a_forged_record_is_not_recovered(store, seal, unlock):
    """What a dead run left in place is entered only if the engine signed exactly that."""
    how = DEATHS["between move and entry"][0]
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(how=how), store.path])
    assert done.returncode == -signal.SIGKILL
    left = store.records()[0]
    unlock(left.path)
    (left.path / "notebook.ipynb").write_text("forged")
    assert len(store.recover()) == 1
    assert store.ledger.entries("record") == []
    assert any(left.id in p.where for p in verify_store(store).problems)


def _limited(size, act):
    """Run with files limited to so many bytes, as on a disk that fills up."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        return act()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, previous)


@pytest.mark.parametrize("size", [10, 900, 2500])
def test_a_file_that_cannot_be_written(store, fill, about, size):
    """No room for statement, signature or entry: RunError, nothing published, retry works."""
    for number in range(12):
        store.ledger.append("note", {"number": number, "text": "x" * 100})
    run = store.begin("10_intake", "tester")
    fill(run)
    with pytest.raises(RunError, match="could not publish"):
        _limited(size, lambda: store.publish(run, about()))
    assert store.records() == []
    assert verify_store(store).ok
    assert verify_record(store.publish(run, about()), store.public_keys) == []
    assert verify_store(store).ok


def test_a_really_full_disk(tmp_path):
    """A 1 MiB file system that fills up while publishing: RunError, then room again, then done."""
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from workbench.errors import RunError
        from workbench.record import statement
        from workbench.record.store import Store
        from workbench.record.verify import verify_store
        disk = Path(sys.argv[1])
        store = Store.create(disk / "store", "research")
        made = statement.build(stage="s", parameters={}, usecase="u", track="research",
            started="2025-01-01T00:00:00Z", finished="2025-01-01T00:00:00Z", outcome="succeeded")
        run = store.begin("s", "tester")
        (run.record / "notebook.ipynb").write_text("{}")
        failed = 0
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
            for room in range(8):
                try:
                    store.publish(run, made)
                    break
                except RunError as error:
                    assert "No space left" in str(error), error
                    assert store.records() == [] and not verify_store(store).problems
                    failed += 1
                os.ftruncate(filler.fileno(), os.fstat(filler.fileno()).st_size - 4096)
        assert failed and len(store.records()) == 1 and verify_store(store).ok, failed
        print("done after", failed)
        """
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f'mount -t tmpfs -o size=1m none "{disk}" && "{sys.executable}" -c "$SCRIPT" "{disk}"'
    env = {**os.environ, "SCRIPT": script}
    unshared = ["unshare", "-rm", "sh", "-c"]
    if subprocess.run([*unshared, f'mount -t tmpfs none "{disk}"'], capture_output=True).returncode:
        pytest.skip("this host lets nobody mount a tmpfs in a namespace of their own")
    done = subprocess.run([*unshared, command], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "done after" in done.stdout


def test_an_interruption_after_the_entry_keeps_the_record(store, fill, about, monkeypatch):
    """Ctrl-C once the ledger has signed the record: it is published, not taken back."""
    run = store.begin("10_intake", "tester")
    fill(run)
    real = durable.replace

    def interrupted(path, data, mode=0o644):
        real(path, data, mode)
        if path.name == "checkpoint":
            raise KeyboardInterrupt

    monkeypatch.setattr(durable, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.publish(run, about())
    monkeypatch.setattr(durable, "replace", real)
    assert len(store.records()) == 1
    assert verify_store(store).problems == []


def test_two_runs_publish_at_once(store, fill, about):
    """Two threads, ten records each: all there, all listed, everything verifies."""
    failures = []

    def work(stage):
        try:
            for _ in range(5):
                run = store.begin(stage, "tester")
                fill(run)
                store.publish(run, about(stage))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"{n}_stage",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.records()) == 10
    report = verify_store(store)
    assert report.problems == []
    assert store.ledger.entries("abandoned") == []


def test_forgetting_is_deletion_that_still_verifies(store, seal, fill, about, tmp_path):
    """Destroying a snapshot's key: the ledger says so, the record verifies, rows are `erased`."""
    store.cipher.new_key("snap")
    run = store.begin("20_dataset", "tester")
    fill(run)
    (tmp_path / "rows").write_text("personal")
    (run.record / "outputs").mkdir(exist_ok=True)
    store.cipher.encrypt(tmp_path / "rows", run.record / "outputs/rows.enc", "snap")
    plain = store.cipher.keyed_digest(tmp_path / "rows")
    how = {"outputs/rows.enc": {"snapshot": "snap", "plaintext": plain}}
    record = store.publish(run, about("20_dataset", encrypted=how))
    assert record.encrypted("outputs/rows.enc") == how["outputs/rows.enc"]
    assert record.as_input("outputs/rows.enc").annotations["plaintext"] == plain
    assert verify_store(store).erased == []

    store.forget("snap", "retention ended")

    report = verify_store(store)
    assert report.ok
    assert report.erased == [f"{record.ref}/outputs/rows.enc"]
    assert json.loads((store.keys / "rows/snap.destroyed").read_text())["reason"]


def test_importing_the_package_is_light():
    """`import workbench.record` loads neither pydantic nor cryptography; names come when used."""
    script = (
        "import sys, workbench.record as r; heavy = {'pydantic', 'cryptography', 'securesystemslib'}"
        "; assert not heavy & set(sys.modules), heavy & set(sys.modules)"
        "; assert all(getattr(r, name) for name in r.__all__)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

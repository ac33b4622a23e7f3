"""The command line: what a person types, what they are told, and with which exit code it ends."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from workbench.record.verify import verify_store

MARKER = "Grandma Zebulon's private words"


# ---- wrong input: exit 1, before anything runs ---------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("30_adapt.epoch=3", r"did you mean epochs\?"),
        ("30_adapt.epochs=three", "expected int"),
        ("30_adapt.epochs=99", "1..9|at most 9"),
        ("31_adapt.epochs=3", "no stage 31_adapt"),
        ("epochs=3", r"takes STAGE.NAME=VALUE"),
        ("30_adapt.epochs", r"takes STAGE.NAME=VALUE"),
    ],
)
def test_a_parameter_that_does_not_fit_is_wrong_input(lab, given, says):
    """Unknown, of the wrong type, out of range, for no stage: named, and nothing is recorded."""
    told = lab.cli("run", "-p", given)
    assert told.code == 1 and re.search(says, told.err), told.err
    assert not lab.runs.exists() or not lab.store().records()


def test_a_missing_parameter_is_wrong_input(lab):
    """One without a default has to be given."""
    lab.stage("30_adapt", parameters="epochs: int = ...  # rounds [1..9]")
    told = lab.cli("run")
    assert told.code == 1 and "epochs: missing" in told.err
    lab.configure(parameters={"30_adapt": {"epochs": 2}})
    assert lab.cli("run", "--dry-run").code == 0


@pytest.mark.parametrize("by", ["command line", "usecase.yaml"])
def test_a_secret_in_a_parameter_is_refused_and_not_echoed(lab, by):
    """By its value; nothing is recorded, and the value stands in no message."""
    token = "hf_" + "aB3" * 12
    lab.stage("30_adapt", parameters='epochs: int = 3\nnote: str = "none"')
    words = ["-p", f"30_adapt.note={token}"] if by == "command line" else []
    if not words:
        lab.configure(parameters={"30_adapt": {"note": token}})
    told = lab.cli("run", *words)
    assert told.code == 1 and "secret" in told.err and token not in told.out + told.err


def test_wrong_usage_is_wrong_input(lab):
    """An unknown verb, option or track."""
    for words in (["rum"], ["run", "--untill", "x"], ["ls", "--track", "private"]):
        assert lab.cli(*words).code == 1


@pytest.mark.parametrize("verb", ["ls", "verify", "index", "keys ls", "show x"])
def test_a_verb_without_a_store_says_what_to_do(lab, verb):
    """Reading makes no store."""
    told = lab.cli(*verb.split())
    assert told.code == 1 and "workbench run" in told.err
    assert not lab.runs.exists()


def test_an_unknown_record_is_wrong_input(done):
    """With how to find one."""
    told = done.cli("show", "4711")
    assert told.code == 1 and "no such record" in told.err and "workbench ls" in told.err


# ---- bad data: the shipped dataset stage refuses it by name --------------------------------------

PRIVATE = f"{MARKER} that nobody else may read"
MANY = "".join(
    f"question {i} about {'fees' if i % 2 else 'cards'},{'ab'[i % 2]}\n" for i in range(40)
)
BAD_DATA = {
    "a row that can't be read": (f"message,intent\n{MANY}{PRIVATE},a,b\n", {}, "line 42"),
    "a broken quote": (f'message,intent\n"{PRIVATE},a\n', {}, "line 2|line 3"),
    "one class only": ("message,intent\none,a\ntwo,a\n", {}, "same label"),
    "a label not in the schema": (f"message,intent\n{MANY}last,c\n", {"labels": ["a", "b"]}, "r0000041"),
    "an empty set": ("message,intent\none,a\ntwo,b\n", {}, "leaves no row for: dev, locked"),
    "an unclassified column": (f"message,intent,note\n{MANY.replace(chr(10), ',x' + chr(10))}", {},
                               "note: not classified"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_ends_with_its_place_and_leaves_no_row_in_the_clear(done, case):
    """Exit 1; the failure is a record; what the row said is in no message and in no file."""
    text, config, says = BAD_DATA[case]
    done.shipped("20_dataset")
    done.data(text)
    done.configure(**config)
    told = done.cli("run", "--until", "20_dataset")
    assert told.code == 1 and re.search(says, told.err), told.err
    assert done.record("20_dataset").outcome == "failed"
    assert done.plaintext() == [] and MARKER not in told.err
    assert verify_store(done.store()).ok


# ---- a run, and what stops one -------------------------------------------------------------------


def test_a_dry_run_writes_no_record(done):
    """It says what would run, why, and which gates would be judged."""
    before = len(done.ledger())
    told = done.cli("run", "--dry-run", "-p", "30_adapt.epochs=5", "--json")
    plan = {row["stage"]: row for row in told.json["stages"]}
    assert plan["20_dataset"]["action"] == "reuse" and plan["30_adapt"]["action"] == "run"
    assert "3 → 5" in plan["30_adapt"]["why"] and plan["40_functional"]["gates"] == ["accuracy"]
    text = done.cli("run", "--dry-run", "-p", "30_adapt.epochs=5").out
    assert "gates to be judged again" in text and "accuracy" in text
    assert len(done.ledger()) == before


def test_shuffled_labels_end_in_exit_3_and_the_gate_is_named(done):
    """A model that learned nonsense does not become a candidate."""
    text = "message,intent\n"
    for i in range(24):
        words = ["card", "fee"][i % 2], ["cards", "fees"][i % 2 if i >= 12 else 1 - i % 2]
        text += f"no {i} about my {words[0]},{words[1]}\n"
    done.data(text)
    told = done.cli("run", "--json")
    assert told.code == 3 and "accuracy: failed" in told.err and "workbench show" in told.err
    assert told.json[-1]["verdicts"][0]["verdict"] == "failed"
    assert verify_store(done.store()).ok and len(done.ledger("candidate")) == 1  # from before


def started(lab, process, name="started"):
    """Wait until the running cell has written a file; the run's scratch folder."""
    for _ in range(400):
        found = list((lab.runs / "research" / "scratch").glob(f"*/work/{name}"))
        if found:
            return found[0].parent.parent
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("the stage never started")


SLOW = "pathlib.Path('started').write_text('x'); time.sleep(50)"


def test_ctrl_c_ends_with_exit_2_a_record_and_a_free_way(done):
    """The interruption is sealed as a failure; the next run works."""
    done.stage("30_adapt", SLOW)
    process = done.start("run")
    started(done, process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 2 and "interrupted" in told.lower()
    record = done.record("30_adapt")
    assert record.outcome == "failed"
    assert record.statement.predicate.workbench_error["outcome"] == "interrupted"
    done.stage("30_adapt")
    assert done.cli("run").code == 0 and done.cli("verify").code == 0


def test_a_killed_engine_leaves_nothing_half_and_the_next_run_works(done):
    """kill -9: the ledger says abandoned, the scratch folder with its rows is gone."""
    done.stage("30_adapt", SLOW)
    process = done.start("run")
    folder = started(done, process)
    process.kill()
    process.communicate()
    assert verify_store(done.store()).ok
    done.stage("30_adapt")
    assert done.cli("run").code == 0  # also where all of it is reused
    abandoned = done.ledger("abandoned")
    assert [e.body["run"] for e in abandoned] == [folder.name]
    assert abandoned[0].body["reason"] == "its engine died" and not folder.exists()
    assert {r.outcome for r in done.store().records()} == {"succeeded"}
    assert done.cli("verify").code == 0


def test_a_killed_kernel_is_a_failed_record(done):
    """kill -9 of the kernel: exit 2, the record says that it died; the next run works."""
    done.stage("30_adapt", "os.kill(os.getpid(), 9)")
    told = done.cli("run")
    assert told.code == 2 and "died" in told.err
    assert done.record("30_adapt").statement.predicate.workbench_error["outcome"] == "died"
    done.stage("30_adapt")
    assert done.cli("run").code == 0


def test_two_runs_at_once_of_one_use_case(done):
    """The second is refused with exit 1; the first ends well."""
    done.stage("30_adapt", "pathlib.Path('started').write_text('x'); time.sleep(3)")
    process = done.start("run")
    started(done, process)
    told = done.cli("run")
    assert told.code == 1 and f"process {process.pid}" in told.err
    process.communicate(timeout=60)
    assert process.returncode == 0 and verify_store(done.store()).ok


FULL = """
set -e
mount -t tmpfs -o size=3m tmpfs "$1"
cp -a "$2/." "$1"
shift 2
set +e
"$@" > "$LOG" 2>&1; echo $? > "$LOG.code"
cp -a "$WORKBENCH_RUNS/research/ledger/entries.jsonl" "$LOG.ledger"
ls -R "$WORKBENCH_RUNS/research/records/30_adapt" > "$LOG.records"
mount -o remount,size=50m "$WORKBENCH_RUNS"
"$@" > /dev/null 2>&1; echo $? > "$LOG.again"
"""


@pytest.mark.skipif(not shutil.which("unshare"), reason="no unshare")
def test_a_full_disk_publishes_nothing_by_halves_and_the_next_run_works(done, monkeypatch):
    """A real full file system, while a stage writes: exit 2 and its name; with space it goes on."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(done.home)]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    monkeypatch.setenv("LOG", str(done.home / "log"))
    done.stage("30_adapt", "(out / 'big.bin').write_bytes(os.urandom(2_000_000))",
               rows=["big.bin"])  # encrypting takes as much again  # fmt: skip
    copy = shutil.copytree(done.runs, done.home / "copy", dirs_exist_ok=True)
    run = [sys.executable, "-m", "workbench.cli", *done.args("run", "--until", "30_adapt")]
    shell = ["unshare", "-rm", "bash", "-c", FULL, "-", str(done.runs), str(copy), *run]
    subprocess.run(shell, check=True, capture_output=True, timeout=120)
    read = {n: (done.home / f"log{n}").read_text() for n in ("", ".code", ".again", ".records")}
    assert read[".code"].strip() == "2", read
    assert "No space left" in read[""]
    assert len(re.findall(r"^statement.json$", read[".records"], re.M)) == 1  # the one from before
    assert read[".again"].strip() == "0"


# ---- looking, verifying ---------------------------------------------------------------------------


def test_json_of_every_verb_parses(done):
    """`ls`, `show`, `verify`, `run`: nothing but JSON on the standard output."""
    assert [r["stage"] for r in done.cli("ls", "--stage", "30_adapt", "--json").json] == [
        "30_adapt"
    ]
    assert done.cli("show", done.record("30_adapt").id, "--json").json["predicateType"]
    assert done.cli("verify", "--json").json["problems"] == []
    assert [one["reused"] for one in done.cli("run", "--json").json] == [True] * 6


def test_a_tampered_record_is_named_with_exit_6(done):
    """By `verify` of the store and of the record, and by a run that would reuse it. In a process
    of its own, as a CI job sees it."""
    record = done.record("30_adapt")
    file = record.path / "outputs" / "adapter" / "weights.json"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b"cards", b"fees!"))
    process = done.start("verify", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 6 and "adapter/weights.json" in err
    assert json.loads(out)["problems"][0]["where"].endswith("outputs/adapter/weights.json")
    told = done.cli("verify", record.digest)
    assert told.code == 6 and "adapter/weights.json" in told.err
    told = done.cli("run")
    assert told.code == 6 and "adapter/weights.json" in told.err


def test_a_removed_ledger_entry_is_named_with_exit_6(done):
    """The store no longer verifies, and no run adds to it."""
    path = done.runs / "research" / "ledger" / "entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[6:]))
    told = done.cli("verify")
    assert told.code == 6 and "entry 5" in told.err
    assert done.cli("run", "--fresh").code == 6


def test_an_erased_snapshot_is_reported_and_no_fault(done):
    """`verify` exits 0 and says `erased`."""
    sealed = done.record("20_dataset").statement.predicate.workbench_encrypted
    done.store().forget(next(iter(sealed.values()))["snapshot"], "asked")
    told = done.cli("verify")
    assert told.code == 0 and "erased: 20_dataset/" in told.out


def test_open_shows_a_record_and_a_stage_and_leaves_records_alone(done):
    """A copy below the use case's scratch folder."""
    for ref in (done.record("30_adapt").id, "30_adapt"):
        told = done.cli("open", ref)
        assert told.code == 0 and "jupyter lab" in told.out
        assert str(done.usecase / "scratch") in told.out
    assert done.cli("verify").code == 0


def test_packed_records_are_imported_into_another_store(done, tmp_path, monkeypatch):
    """With their ancestry and proofs; a pack with one changed byte is refused whole (6)."""
    pack = tmp_path / "candidate.tar"
    told = done.cli("pack", pack, done.record("50_candidate").id)
    assert told.code == 0 and "6 record(s)" in told.out
    assert done.cli("pack", pack, done.record("50_candidate").id).code == 1  # it exists
    broken = tmp_path / "broken.tar"
    data = pack.read_bytes()
    broken.write_bytes(data.replace(b'"cards"', b'"bards"', 1))
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "team"))
    assert done.cli("import", broken).code == 6
    told = done.cli("import", pack)
    assert told.code == 0 and "6 record(s) imported" in told.out
    assert done.cli("verify").code == 0 and len(done.cli("ls", "--json").json) == 6


def test_the_index_is_rebuilt(done):
    """Deleting it does no harm."""
    assert done.cli("index").code == 0
    path = done.runs / "research" / "index.sqlite"
    path.unlink()
    assert done.cli("index").code == 0 and path.is_file() and done.cli("verify").code == 0


def test_people_enter_and_leave_the_keyring_with_their_ssh_keys(done, tmp_path):
    """The first version signs itself; who is not a keyholder signs none; a revoked key is shown."""
    for name in ("ada", "eve"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)

    def add(name, role, signer):
        return done.cli("keys", "add", "--id", name, "--name", name.title(), "--email", f"{name}@e.org",
                        "--role", role, "--public-key", tmp_path / f"{name}.pub",
                        "--sign-with", tmp_path / signer)  # fmt: skip

    assert "no keyring yet" in done.cli("keys", "ls").out
    assert add("ada", "keyholder", "ada").code == 0
    assert add("eve", "model_validator", "eve").code in (1, 6)
    assert add("eve", "model_validator", "ada").code == 0
    revoke = ["keys", "revoke", "--public-key", tmp_path / "eve.pub", "--reason", "left"]
    assert done.cli(*revoke, "--sign-with", tmp_path / "eve").code in (1, 6)
    assert done.cli(*revoke, "--sign-with", tmp_path / "ada").code == 0
    shown = done.cli("keys", "ls").out
    assert "keyring version 3" in shown and "left" in shown and "BEGIN PUBLIC KEY" in shown
    assert done.cli("verify").code == 0


# ---- beginning -----------------------------------------------------------------------------------


def test_day_one(lab, tmp_path, monkeypatch):
    """new, refused without classes, classify, and the plan of the first run."""
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "first"))
    data = tmp_path / "my.csv"
    data.write_text("message,intent\nhello,greet\nbye,part\n")
    lab.home = tmp_path / "mine"
    made = lab.usecase
    made.parent.mkdir()
    told = lab.cli("new", made, "--data", data, "--text", "message", "--label", "intent")
    assert told.code == 0 and "workbench classify" in told.out
    refused = lab.cli("run", "--dry-run")
    assert refused.code == 1 and "no column is classified" in refused.err
    assert lab.cli("classify", "--by", "Dora", "-c", "message").code == 1
    assert lab.cli("classify", "--by", "Dora", "--rest", "internal").code == 1
    assert lab.cli("classify", "--by", "Dora", "--rest", "internal_operational").code == 0
    plan = lab.cli("run", "--dry-run", "--json").json
    assert [row["stage"] for row in plan["stages"]][:3] == ["05_inspection", "10_intake", "15_base"]


def test_a_fault_of_ours_is_no_wrong_input(lab, monkeypatch):
    """An exception that nobody foresaw ends in exit 2, with its traceback; a broken disk too."""

    def broken(*_):
        raise KeyError("oops")

    monkeypatch.setattr("workbench.execution.project.Project.load", broken)
    told = lab.cli("run")
    assert told.code == 2 and "KeyError" in told.err

    def full(*_):
        raise OSError(28, "No space left on device", "/x")

    monkeypatch.setattr("workbench.execution.project.Project.load", full)
    told = lab.cli("run")
    assert told.code == 2 and "No space left" in told.err and "Traceback" not in told.err


def test_help_names_the_exit_codes(lab):
    """So that a person finds them where they look."""
    process = subprocess.run(
        [sys.executable, "-m", "workbench.cli", "--help"], capture_output=True, text=True
    )
    assert process.returncode == 0 and "6 something does not verify" in process.stdout


# ---- decisions about data ------------------------------------------------------------------------


def ssh_key(folder, name):
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
    subprocess.run(command, check=True)
    return folder / name


def enter(lab, key, name, track):
    return lab.cli("keys", "add", "--id", name.split()[0].lower(), "--name", name, "--email", "a@e",
                   "--role", "keyholder", "--public-key", f"{key}.pub", "--sign-with", key,
                   "--track", track)  # fmt: skip


@pytest.fixture
def contacts(lab):
    """A file that nobody classified: a column of addresses with a harmless name."""
    rows = [f"question {i} about {'fees' if i % 2 else 'cards'},{'ab'[i % 2]},p{i}@example.org"
            for i in range(40)]  # fmt: skip
    lab.data("message,intent,note\n" + "\n".join(rows) + "\n")
    lab.configure(data={"path": "data/messages.csv", "text": "message", "label": "intent"})
    lab.shipped("05_inspection")
    return lab


def test_the_inspection_proposes_and_a_person_decides(contacts):
    """Without a name: proposals, and exit 4. With one: confirmed, but for what the person says."""
    told = contacts.cli("classify")
    assert told.code == 4 and "a person decides" in told.err
    assert "note" in told.out and "personal" in told.out and "e-mail" in told.out
    assert "example.org" not in told.out
    lacking = contacts.cli("classify", "--by", "Dora", "--confirm")
    assert lacking.code == 1 and "legal_basis" in lacking.err
    duties = ["--legal-basis", "contract", "--retention-days", "30"]
    told = contacts.cli("classify", "--by", "Dora", "--confirm", *duties, "-c", "message=public")
    assert told.code == 0 and "note: personal" in told.out and "message: public" in told.out
    assert "version 1" in told.out and "not signed" in told.out


def test_a_class_below_the_proposal_needs_a_reason(contacts):
    """The run stops at the dataset with the column and what was found in it; the reason is sealed."""
    contacts.cli("classify", "--by", "Dora", "--rest", "internal_operational")
    contacts.shipped("20_dataset")
    told = contacts.cli("run", "--until", "20_dataset")
    assert told.code == 3 and "note: declared internal_operational" in told.err
    because = ["--because", "note=addresses of our own desks = public"]
    assert contacts.cli("classify", "--by", "Dora", *because, "-c",
                        "note=internal_operational").code == 0  # fmt: skip
    assert contacts.cli("run", "--until", "20_dataset").code == 0
    verdicts = contacts.record("20_dataset").statement.predicate.workbench_verdicts
    assert {v["criterion"]: v["verdict"] for v in verdicts}["data_classes"] == "passed"


def test_a_privacy_review_is_signed_and_names_its_rule(lab, tmp_path):
    """An unknown rule and a key of somebody else are refused; the ledger holds what was signed."""
    rule = {"id": "no_mail", "reason": "nobody agreed", "entities": ["EMAIL_ADDRESS"]}
    data = yaml.safe_load((lab.usecase / "usecase.yaml").read_text())["data"]
    lab.configure(data=data | {"never_learn": [rule]})
    lab.cli("classify", "--by", "Dora Data")
    key = ssh_key(tmp_path, "pia")
    assert enter(lab, key, "Pia Privacy", "research").code == 0
    words = ["--reason", "public addresses", "--expires", "2099-01-01", "--sign-with", key]
    assert lab.cli("accept", "review", "no_male", "--by", "Pia Privacy", *words).code == 1
    other = lab.cli("accept", "review", "no_mail", "--by", "Dora Data", *words)
    assert other.code == 1 and "another person's" in other.err
    assert lab.cli("accept", "review", "no_mail", "--by", "Pia Privacy", *words).code == 0
    [entry] = lab.ledger("privacy-review")
    assert entry.body["envelope"]["statement"]["rule"] == "no_mail"
    assert lab.cli("verify").code == 0


def test_one_row_is_traced_to_its_source(done):
    """In words and as JSON; the ledger says who asked."""
    record = done.record("50_candidate").id
    shown = done.cli("show", record, "--row", "r0000003")
    assert shown.code == 0 and "Dora Data" in shown.out and "train" in shown.out
    assert done.cli("show", record, "--row", "r0000003", "--json").json["row"] == "r0000003"
    assert done.cli("show", record, "--row", "r0000999").code == 1
    assert len(done.ledger("rows-read")) == 3


def test_retention_says_what_expires_and_what_stands_on_it(done):
    """One row a column with a window; JSON parses."""
    told = done.cli("retention")
    assert told.code == 0 and "message" in told.out and "soon" in told.out
    [row] = done.cli("retention", "--json").json
    assert row["retention_days"] == 30 and len(row["depends"]) >= 3


def test_forget_shows_first_and_deletes_when_a_person_says_so(done):
    """Exit 4 and nothing changed; then the rows are gone and the models that knew them are named."""
    text = f"{MARKER} no 3 about my fee"
    asked = ["forget", "--column", "message", text]
    told = done.cli(*asked)
    assert told.code == 4 and "retrain" in told.out and not done.ledger("forget-request")
    assert text not in told.out + told.err
    told = done.cli(*asked, "--by", "Dora", "--reason", "asked by the customer")
    assert told.code == 0 and "tombstone" in told.out
    assert text not in (done.usecase / "data/messages.csv").read_text()
    assert done.cli("verify").code == 0 and len(done.ledger("forgotten-rows")) == 1
    assert done.cli(*asked).code == 1

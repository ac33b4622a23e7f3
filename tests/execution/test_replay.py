"""Replay: a record executed again elsewhere, each output graded, the certificate sealed.

Real kernels on the tiny use case. The auditor of a pack has another home: no use case, no keys.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench.execution import capture, environment, replayable
from workbench.execution.isolation import available
from workbench.record.lineage import Graph
from workbench.record.pack import import_pack, unpack, verify_pack
from workbench.record.store import Store
from workbench.record.verify import verify_store

needs_namespace = pytest.mark.skipif(available()[0] == "none", reason="no namespaces here")


def certificate(lab, track="research"):
    path = lab.record("replay", track).file("outputs/certificate.json")
    return json.loads(path.read_text())


def shown(record) -> str:
    cells = json.loads((record.path / "notebook.ipynb").read_text())["cells"]
    return "".join("".join(o.get("text", "")) for c in cells for o in c.get("outputs", []))


@contextmanager
def auditor(done, tmp_path):
    """Somebody else, with nothing but what they are sent."""
    home = tmp_path / "auditor"
    (home / "usecase").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_KEYS", str(home / "keys"))
        patch.setenv("WORKBENCH_RUNS", str(home / "runs"))
        yield type(done)(home)


def packed(done, tmp_path, stage="40_functional", name="p.tar.zst"):
    told = done.cli("pack", tmp_path / name, done.record(stage).id, "--replayable",
                    "--keys", tmp_path / f"{name}.keys")  # fmt: skip
    assert told.code == 0, told.err
    return tmp_path / name, tmp_path / f"{name}.keys"


# ---- from a store --------------------------------------------------------------------------------


MARKER = "Grandma Zebulon's private words"
STAGES = ("05_inspection", "10_intake", "20_dataset", "30_adapt", "40_functional", "50_candidate")


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_reproduced_to_the_bit(done, stage):
    """Rows of persons included, compared in the clear; exit 0, and the store verifies."""
    told = done.cli("replay", done.record(stage).id, "--json")
    assert told.code == 0, told.err
    found = told.json
    assert found["grade"] == "bitwise" and found["notebook_same"] and not found["differences"]
    assert {one["grade"] for one in found["outputs"]} == {"bitwise"}
    original = done.record(stage)
    assert found["record"] == {"ref": original.ref, "digest": original.digest,
                               "store": done.store().id, "key": done.store().key.keyid}  # fmt: skip
    assert verify_store(done.store()).ok and done.plaintext() == []


def test_the_certificate_can_be_read_and_holds_no_output_again(done):
    """Digests only: the certificate, its readable form, and the replayed notebook."""
    assert done.cli("replay", done.record("20_dataset").id, "--by", "Ada Auditor").code == 0
    sealed = done.record("replay")
    assert {s.name for s in sealed.statement.subject} == {
        "notebook.ipynb", "outputs/certificate.json", "outputs/CERTIFICATE.md"}  # fmt: skip
    text = sealed.file("outputs/CERTIFICATE.md").read_text()
    assert "# Replay certificate: bitwise" in text and "Ada Auditor" in text
    assert "| raw/messages.csv | bitwise |" in text
    entry = done.ledger("replayed")[-1].body
    assert entry["certificate"] == sealed.digest and entry["grade"] == "bitwise"


@needs_namespace
def test_a_replay_runs_under_another_name_user_and_path(lab):
    """What a stage says of its place differs; its outputs, and so the grade, do not."""
    lab.stage("10_intake", "import socket; print(socket.gethostname(), os.getuid())",
              "print(os.environ['PIP_NO_INDEX'])")  # fmt: skip
    assert lab.cli("run", "--until", "10_intake").code == 0
    assert lab.cli("replay", lab.record("10_intake").id).code == 0
    assert shown(lab.record("10_intake")).startswith("workbench ")
    assert re.match(r"replay-[0-9a-f]{8} 64123\n1\n", shown(lab.record("replay")))
    found = certificate(lab)
    assert found["grade"] == "bitwise" and not found["notebook_same"]
    assert found["elsewhere"]["user"] == 64123 and len(set(found["elsewhere"]["run"])) == 2


def test_a_replay_of_an_examination_spends_no_look(done):
    """The ledger has no further look; entry and certificate say that the locked set was read."""
    before = len(done.ledger("look"))
    assert done.cli("replay", done.record("40_functional").id).code == 0
    assert len(done.ledger("look")) == before
    assert done.ledger("replayed")[-1].body["locked_set_read"] is True
    assert certificate(done)["locked_set_read"] is True
    assert done.cli("replay", done.record("30_adapt").id).code == 0
    assert certificate(done)["locked_set_read"] is False


def test_what_was_taken_over_from_an_earlier_record_is_found_again(done):
    """The base's answers, reused by a second examination, are an input like any other."""
    assert done.cli("run", "-p", "30_adapt.epochs=4").code == 0
    named = {i.annotations["input"] for i in done.record("40_functional").statement.inputs}
    assert "base_cases" in named
    assert done.cli("replay", done.record("40_functional").id).code == 0


def test_a_certificate_says_which_declared_environment_the_place_is(lab):
    """By name, with the fields in which it is not; a pack brings the declarations along."""
    (lab.usecase / "environments").mkdir()
    for name, threads in (("training", 1), ("validation", 7)):
        text = json.dumps({"name": name, "compute": {"threads": threads}})
        (lab.usecase / "environments" / f"{name}.yaml").write_text(text)
    files = {name: f"environments/{name}.yaml" for name in ("training", "validation")}
    lab.configure(environments=files)
    assert lab.cli("run", "--until", "10_intake").code == 0
    assert lab.cli("replay", lab.record("10_intake").id).code == 0
    assert certificate(lab)["declared"] == {"training": [], "validation": ["compute.threads"]}


def test_a_replay_is_nobodys_ancestor(done):
    """The next run reuses what it would have; no lineage but the replay's own names a replay."""
    assert done.cli("replay", done.record("30_adapt").id).code == 0
    told = done.cli("run", "--json")
    assert told.code == 0 and all(one["reused"] for one in told.json)
    graph, replay = Graph.from_store(done.store()), done.record("replay")
    assert graph.descendants(replay.digest) == set()
    assert done.record("30_adapt").digest in graph.ancestors(replay.digest)
    assert done.cli("show", replay.id).code == 0
    told = done.cli("replay", replay.id)
    assert told.code == 1 and "a stage's run that succeeded" in told.err


NOISE = "(out / 'noise.json').write_bytes(canonical({'x': os.urandom(4).hex()}))"
LATER = "(out / 'figures.json').write_bytes(canonical({'t': 5 + time.time() / 1e12}))"
ELSEWHERE = "import socket\nif socket.gethostname() != 'workbench': raise OSError('other host')"


def test_chance_in_one_output_fails_the_replay_and_is_named(lab):
    """Exit 3; the certificate is kept, says which output, and that the others are the same."""
    lab.stage("10_intake", NOISE)
    assert lab.cli("run", "--until", "10_intake").code == 0
    told = lab.cli("replay", lab.record("10_intake").id)
    assert told.code == 3 and "noise.json" in told.err
    found = certificate(lab)
    grades = {one["output"]: one["grade"] for one in found["outputs"]}
    assert found["grade"] == "failed" and grades.pop("noise.json") == "failed"
    assert set(grades.values()) == {"bitwise"}
    assert (
        "| noise.json | failed |" in lab.record("replay").file("outputs/CERTIFICATE.md").read_text()
    )
    assert lab.ledger("replayed")[-1].body["grade"] == "failed" and verify_store(lab.store()).ok


def test_times_are_not_compared_and_the_certificate_says_so(lab):
    """What a stage declares as volatile differs with each run; everything else counts."""
    timed = NOISE.replace("noise", "timings")
    lab.stage("10_intake", timed, volatile=["timings.json"])
    assert lab.cli("run", "--until", "10_intake").code == 0
    assert lab.cli("replay", lab.record("10_intake").id).code == 0
    found = certificate(lab)
    assert found["grade"] == "bitwise" and found["not_compared"] == ["timings.json"]
    assert "timings.json" not in {one["output"] for one in found["outputs"]}
    written = lab.record("replay").file("outputs/CERTIFICATE.md").read_text()
    assert "Not compared, since it differs with each run: timings.json." in written


def test_a_figure_that_moves_a_little_reaches_tolerance_and_no_more(lab):
    """Asked for tolerance it is enough, with the largest difference; asked for bits it is not."""
    lab.stage("10_intake", LATER)
    assert lab.cli("run", "--until", "10_intake").code == 0
    told = lab.cli("replay", lab.record("10_intake").id, "--at-least", "tolerance")
    assert told.code == 0, told.err
    [moved] = [one for one in certificate(lab)["outputs"] if one["output"] == "figures.json"]
    assert moved["grade"] == "tolerance" and 0 < moved["largest"] < 1e-6 and moved["where"] == "t"
    assert lab.cli("replay", lab.record("10_intake").id).code == 3


def test_other_words_for_the_same_answers_are_equivalent_within_a_margin(done):
    """Rows of cases that differ are compared by who was right: statistical, with the interval and
    n, where the margin allows it; at the default margin 16 cases show nothing."""
    noted = "rows = [row | {'note': os.urandom(2).hex()} for row in base + cases]"
    write = "pq.write_table(pa.Table.from_pylist(rows), out / 'cases.parquet')"
    done.stage("40_functional", noted, write)
    assert done.cli("run", "--until", "40_functional").code == 0
    command = ["replay", done.record("40_functional").id, "--at-least", "statistical"]
    told = done.cli(*command, "--margin", "0.5")
    assert told.code == 0, told.err
    grades = {one["output"]: one for one in certificate(done)["outputs"]}
    assert grades["base_cases.parquet"]["grade"] == "bitwise"
    found = grades["cases.parquet"]
    assert found["grade"] == "statistical" and "n=16" in found["why"]
    assert found["interval"][0] < 0 < found["interval"][1] < 0.5
    assert done.cli(*command).code == 3


@needs_namespace
def test_a_kernel_that_breaks_gives_a_certificate_too(lab):
    """Grade failed, with the error; exit 3."""
    lab.stage("10_intake", ELSEWHERE)
    assert lab.cli("run", "--until", "10_intake").code == 0
    told = lab.cli("replay", lab.record("10_intake").id, "--at-least", "statistical")
    found = certificate(lab)
    assert told.code == 3 and found["grade"] == "failed" and found["outputs"] == []
    assert found["error"]["ename"] == "OSError" and "other host" in found["error"]["evalue"]


def test_another_domain_is_refused_before_anything_runs(done, monkeypatch):
    """Equal bits are promised within a domain: the field is named, exit 1. Figures may be compared."""
    ours = environment.domain
    two = lambda parameters: ours(parameters).model_copy(update={"threads": 2})  # noqa: E731
    monkeypatch.setattr(environment, "domain", two)
    told = done.cli("replay", done.record("30_adapt").id)
    assert told.code == 1 and "threads: 1" in told.err and "--at-least tolerance" in told.err
    assert not done.store().records("replay")
    assert done.ledger("abandoned")[-1].body["stage"] == "replay"
    assert done.cli("replay", done.record("30_adapt").id, "--at-least", "tolerance").code == 0
    assert {"field": "threads", "record": 1, "replay": 2} in certificate(done)["differences"]


def test_other_libraries_and_another_workbench_are_named(done, monkeypatch):
    """Libraries that don't compute are no domain; they are in the certificate all the same."""
    now = capture.libraries() | {"click": "0.0.1"}
    monkeypatch.setattr(capture, "libraries", lambda: now)
    monkeypatch.setattr(capture, "package_digest", lambda: "0" * 64)
    assert done.cli("replay", done.record("30_adapt").id).code == 0
    fields = {one["field"]: one["replay"] for one in certificate(done)["differences"]}
    assert fields == {"click": "0.0.1", "workbench": "0" * 64}


def change(done, what):
    if what == "input `usecase`":
        done.configure(title="Another")
    elif what == "input `data`":
        done.data("message,intent\nother,cards\n")
    elif what == "the notebook":
        done.stage("10_intake", "1 + 1")
        done.stage("20_dataset", "1 + 1")
    elif what == "steps/":
        (done.usecase / "steps").mkdir()
        (done.usecase / "steps" / "own.py").write_text("x = 1\n")
    elif what == "keys":
        for path in (done.store().keys / "rows").glob("*.key"):
            path.unlink()


@pytest.mark.parametrize(
    ("stage", "what"),
    [("10_intake", "input `usecase`"), ("20_dataset", "input `data`"), ("10_intake", "the notebook"),
     ("20_dataset", "the notebook"), ("10_intake", "steps/"), ("40_functional", "keys")],
)  # fmt: skip
def test_what_is_not_as_it_was_is_named_and_nothing_runs(done, stage, what):
    """Exit 1 with the one thing that is missing or differs, and both digests."""
    change(done, what)
    told = done.cli("replay", done.record(stage).id)
    assert told.code == 1 and what in told.err, told.err
    assert not done.store().records("replay")


def test_an_ancestor_that_was_changed_is_an_integrity_error(done):
    """One byte in a sealed input: exit 6, and the record is named."""
    path = done.record("30_adapt").file("outputs/adapter/weights.json")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    told = done.cli("replay", done.record("40_functional").id)
    assert told.code == 6 and "30_adapt" in told.err
    assert not done.store().records("replay")


def test_a_forged_certificate_is_detected(done):
    """Whoever writes a better grade into it breaks the seal: `verify` names the file, exit 6."""
    assert done.cli("replay", done.record("30_adapt").id).code == 0
    path = done.record("replay").file("outputs/certificate.json")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"asked":"bitwise"', b'"asked":"failed"'))
    told = done.cli("verify")
    assert told.code == 6 and "certificate.json" in told.err


def test_a_person_signs_the_certificate(done, ssh_key):
    """In a namespace of its own, in the ledger; `verify` checks it. Nobody signs as another."""
    given = ["--id", "ada", "--name", "Ada", "--email", "ada@example.org", "--role", "keyholder",
             "--public-key", f"{ssh_key}.pub", "--sign-with", ssh_key]  # fmt: skip
    told = done.cli("keys", "add", *given)
    assert told.code == 0, told.err
    told = done.cli("replay", done.record("30_adapt").id, "--by", "Ada", "--sign-with", ssh_key)
    assert told.code == 0, told.err
    envelope = done.ledger("replayed")[-1].body["envelope"]
    assert envelope["namespace"] == "replay@workbench"
    assert envelope["statement"]["certificate"] == done.record("replay").digest
    assert verify_store(done.store()).ok
    told = done.cli("replay", done.record("30_adapt").id, "--by", "Eve", "--sign-with", ssh_key)
    assert told.code == 1 and "another person's" in told.err


@pytest.fixture
def ssh_key(tmp_path):
    path = tmp_path / "ada"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


# ---- from a pack ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["20_dataset", "40_functional"])
def test_an_auditor_replays_a_pack_with_nothing_else(done, tmp_path, stage):
    """Another home, without use case or keys: bitwise, sealed in the auditor's own store."""
    (pack, keys), original = packed(done, tmp_path, stage), done.record(stage)
    origin = done.store().id
    with auditor(done, tmp_path) as other:
        told = other.cli("replay", pack, "--keys", keys)
        assert told.code == 0, told.err
        found = certificate(other)
        assert found["grade"] == "bitwise" and found["record"]["store"] == origin
        assert found["record"]["digest"] == original.digest
        assert other.plaintext() == [] and verify_store(other.store()).ok
        assert not [p for p in (other.runs / "research" / "scratch").iterdir() if p.is_dir()]


def test_a_stage_finds_its_inputs_in_a_pack_as_it_did_at_home(lab, tmp_path):
    """Also how a refused write is refused: a file of the use case is writable where it lies."""
    lab.stage("10_intake", "try: open(given['policy'], 'a')\nexcept OSError as error: print(error.strerror)",
              "print(oct(given['policy'].stat().st_mode), given['policy'].name)")  # fmt: skip
    assert lab.cli("run", "--until", "10_intake").code == 0
    told = lab.cli("pack", tmp_path / "p.tar", lab.record("10_intake").id, "--replayable")
    assert told.code == 0, told.err
    with auditor(lab, tmp_path) as other:
        told = other.cli("replay", tmp_path / "p.tar", "--json")
        assert told.code == 0 and told.json["notebook_same"], shown(other.record("replay"))


def test_without_the_keys_a_pack_can_be_verified_and_not_replayed(done, tmp_path):
    """Exit 1 names the keys; the pack itself holds no row and no key in the clear."""
    pack, keys = packed(done, tmp_path)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert done.ledger("keys-exported")[-1].body["snapshots"]
    unpack(pack, tmp_path / "out")
    assert verify_pack(tmp_path / "out") == []
    whole = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert MARKER.encode() not in whole
    for key in json.loads(keys.read_text())["keys"].values():
        assert key.encode() not in whole and bytes.fromhex(key) not in whole
    with auditor(done, tmp_path) as other:
        told = other.cli("replay", pack)
        assert told.code == 1 and "keys to its rows are not here" in told.err
        told = other.cli("replay", pack, "--keys", done.usecase / "policy.yaml")
        assert told.code == 1 and "Not a file of keys" in told.err


@pytest.mark.parametrize(
    "part", ["records/*/*/outputs/adapter/weights.json", "carried/usecase/stages/40_*.ipynb",
             "carried/package/workbench/errors.py", "carried/usecase/data/messages.csv.enc"]
)  # fmt: skip
def test_one_byte_in_a_pack_is_enough_to_refuse_it(done, tmp_path, part):
    """Of a record or of what is carried besides: exit 6 and the file, before anything runs."""
    pack, keys = packed(done, tmp_path)
    folder = tmp_path / "out"
    unpack(pack, folder)
    [path] = folder.glob(part)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        for one in sorted(p for p in folder.rglob("*") if p.is_file()):
            tar.add(one, str(one.relative_to(folder)))
    with auditor(done, tmp_path) as other:
        told = other.cli("replay", tmp_path / "bad.tar", "--keys", keys)
        assert told.code == 6 and Path(part).name.split("*")[0] in told.err
        assert not other.store().records()


def test_rows_of_persons_are_packed_for_a_replay_only_with_a_file_for_their_keys(done, tmp_path):
    """Nobody could open them; and a file that is there already is not written over."""
    record = done.record("40_functional").id
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for more in ([], ["--keys", taken]):
        told = done.cli("pack", tmp_path / "p.tar", record, "--replayable", *more)
        assert told.code == 1 and "--keys FILE" in told.err and not (tmp_path / "p.tar").exists()
    assert taken.read_text() == "mine" and not done.ledger("keys-exported")
    told = done.cli("pack", tmp_path / "p.tar", record, "--keys", tmp_path / "k")
    assert told.code == 1 and "--replayable" in told.err


def test_another_checkout_is_not_packed_as_what_made_the_record(done, tmp_path, monkeypatch):
    """The workbench's code must have the digest that the record names."""
    monkeypatch.setattr(capture, "package_digest", lambda: "0" * 64)
    told = done.cli("pack", tmp_path / "p.tar", done.record("30_adapt").id, "--replayable",
                    "--keys", tmp_path / "k")  # fmt: skip
    assert told.code == 1 and "not the workbench that made it" in told.err
    assert not (tmp_path / "p.tar").exists() and not (tmp_path / "k").exists()


def test_the_kernel_gets_the_workbench_of_the_pack_where_another_is_installed(
    lab, tmp_path, monkeypatch
):
    """It is imported from what was unpacked, not from what is installed."""
    lab.stage("10_intake", "import workbench; print(workbench.__file__)")
    assert lab.cli("run", "--until", "10_intake").code == 0
    pack = tmp_path / "p.tar"
    told = lab.cli("pack", pack, lab.record("10_intake").id, "--replayable")
    assert told.code == 0, told.err
    with auditor(lab, tmp_path) as other:
        monkeypatch.setattr(capture, "package_digest", lambda: "0" * 64)
        told = other.cli("replay", pack)
        assert told.code == 0, told.err
        assert shown(other.record("replay")).startswith("$READABLE/workbench/")
        assert certificate(other)["grade"] == "bitwise"


def test_a_pack_says_what_it_carries_and_imports_as_any_other(done, tmp_path):
    """Interpreter, lock, code and what was asked for are in the signed list; no store takes it in."""
    pack, _ = packed(done, tmp_path)
    unpack(pack, tmp_path / "out")
    carried = json.loads((tmp_path / "out" / "pack.json").read_text())["carried"]
    assert carried["facts"]["asked"] == [done.record("40_functional").digest]
    assert set(carried["facts"]["interpreter"]) == {"version", "sha256"}
    assert carried["facts"]["workbench"] == capture.package_digest()
    names = {one["path"] for one in carried["files"]}
    assert {"usecase/usecase.yaml", "usecase/policy.yaml", "usecase/stages/40_functional.ipynb",
            "requirements/lock.txt", "package/workbench/errors.py",
            "usecase/data/messages.csv.enc"} <= names  # fmt: skip
    assert "usecase/data/messages.csv" not in names
    other = Store.create(tmp_path / "other", "research")
    assert len(import_pack(other, pack)) == 5 and verify_store(other).problems == []
    assert not list(other.path.rglob("carried"))


def test_only_wheels_that_the_lock_names_are_carried(lab, tmp_path, monkeypatch):
    """Each by its hash: another file under a right name is refused."""
    package, wheels = tmp_path / "checkout" / "workbench", tmp_path / "wheels"
    for folder in (package, wheels, package.parent / "requirements"):
        folder.mkdir(parents=True)
    (package / "errors.py").write_text("")
    (wheels / "good-1.0-py3-none-any.whl").write_bytes(b"wheel")
    sha256 = hashlib.sha256(b"wheel").hexdigest()
    (package.parent / "requirements" / "lock.txt").write_text(f"good==1.0 --hash=sha256:{sha256}\n")
    lab.cli("run", "--until", "10_intake")
    monkeypatch.setattr(replayable, "PACKAGE", package)
    command = [
        "pack",
        tmp_path / "p.tar",
        lab.record("10_intake").id,
        "--replayable",
        "--wheels",
        wheels,
    ]
    assert lab.cli(*command).code == 0
    with tarfile.open(tmp_path / "p.tar") as tar:
        assert "carried/wheels/good-1.0-py3-none-any.whl" in tar.getnames()
    (wheels / "other-1.0-py3-none-any.whl").write_bytes(b"another")
    command[1] = tmp_path / "q.tar"
    told = lab.cli(*command)
    assert told.code == 1 and "other-1.0" in told.err and not command[1].exists()


def test_a_plain_pack_holds_nothing_to_execute(done, tmp_path):
    """Exit 1 says how to make one that does."""
    assert done.cli("pack", tmp_path / "p.tar", done.record("30_adapt").id).code == 0
    with auditor(done, tmp_path) as other:
        told = other.cli("replay", tmp_path / "p.tar")
        assert told.code == 1 and "--replayable" in told.err

"""Forgetting a subject: no byte is left, what learned from it is named, a crash loses nothing."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from workbench.errors import GateNotPassed, InputError, IntegrityError, WaitingForPerson
from workbench.execution import checkpoints, data_file, forget
from workbench.execution.project import Project
from workbench.execution.scratch import open_record
from workbench.record import statement
from workbench.record.cipher import Cipher
from workbench.record.keyring import Key, Keyring, Person
from workbench.record.pack import pack
from workbench.record.store import Store
from workbench.record.verify import verify_store

TRAINED, LOCKED = "r0000004", "r0000021"
WORDS = {TRAINED: "no 3 about", LOCKED: "no 20 about"}
OTHER = "no 7 about"
WHO = {"by": "Dora Data", "reason": "asked by the customer, Art. 17"}


@pytest.fixture
def at(done):
    """(project, store) of a life cycle that ran to a candidate; rows 1 to 12 were trained on."""
    return Project.load(done.usecase), done.store()


# -- everything that a file may hold, however it is packed ------------------------------------


def contents(name: str, data: bytes, cipher: Cipher | None = None) -> Iterator[bytes]:
    """The bytes, and whatever is inside them: archives, tables, notebooks, what a key opens."""
    yield data
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as held:
            for one in held.namelist():
                yield from contents(one, held.read(one), cipher)
    elif data[:4] == b"\x28\xb5\x2f\xfd":
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(data) as stream:
            yield from contents(name, stream.read(), cipher)
    elif data[:4] == b"PAR1":
        table = parquet.read_table(io.BytesIO(data))
        yield repr(table.to_pylist()).encode() + repr(table.schema).encode()
    elif data[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(data)) as held:
            for one in held:
                yield from contents(one.name, held.extractfile(one).read(), cipher)
    elif data[:1] in (b"{", b"["):
        yield from told(data, cipher)
    elif data[:9] == b"WBSTREAM1" and cipher:
        yield from opened(name, data, cipher)


def told(data: bytes, cipher: Cipher | None) -> Iterator[bytes]:
    """Every text in a JSON document or in lines of JSON, and what it is in Base64."""
    try:
        todo = [json.loads(data)]
    except ValueError:
        todo = [json.loads(line) for line in data.splitlines()]
    while todo:
        one = todo.pop()
        if isinstance(one, dict | list):
            todo += [*one.keys(), *one.values()] if isinstance(one, dict) else one
        elif isinstance(one, str):
            yield one.encode()
            try:
                yield from contents("", base64.b64decode(one, validate=True), cipher)
            except ValueError:
                continue


def opened(name: str, data: bytes, cipher: Cipher) -> Iterator[bytes]:
    """What any key that remains makes of a ciphertext."""
    sealed = cipher._keys / "sealed"
    for key in sorted((cipher._keys / "rows").glob("*.key")):
        sealed.write_bytes(data)
        try:
            plain = cipher.read(sealed, key.stem)
        except IntegrityError:
            continue
        yield from contents(name, plain, cipher)


def holding(text: str, store: Store, *folders) -> list[str]:
    """The files of the store and of these folders in which a text stands, in whatever form."""
    files = [p for root in (store.path, *folders) for p in root.rglob("*") if p.is_file()]
    return [
        str(path)
        for path in files
        if any(text.encode() in one for one in contents(path.name, path.read_bytes(), store.cipher))
    ]


def packs(store: Store, folder) -> None:
    folder.mkdir()
    pack(store, [record.digest for record in store.records()], folder / "all.tar.zst")
    pack(store, [store.records("50_candidate")[-1].digest], folder / "candidate.tar")


# -- the guarantee ------------------------------------------------------------------------------


def test_no_byte_of_the_forgotten_rows_is_left(at, done, tmp_path):
    """Not in the store, not in its packs, not in the data file; searched raw, decoded and
    decrypted. All else verifies, and the affected candidate and weights are named."""
    project, store = at
    packs(store, tmp_path / "packs")
    for words in (*WORDS.values(), OTHER):  # the search can find them
        found = holding(words, store, tmp_path / "packs", done.usecase / "data")
        assert {p.split(".", 1)[1] for p in found if "packs" in p} == {"tar", "tar.zst"}
        assert any(p.endswith("raw/messages.csv.enc") for p in found)
    adapter, candidate = (done.record(name).ref for name in ("30_adapt", "50_candidate"))

    plan = forget.plan(project, store, WORDS, column="row_id")
    assert plan.retrain == (adapter,)
    assert [row["name"] for row in plan.rows() if row["what"] == "candidate"] == [candidate]
    assert (plan.in_file, list(plan.snapshots.values())) == (2, [2])
    told = forget.carry_out(project, store, plan, **WHO)

    for words in WORDS.values():
        assert holding(words, store, tmp_path / "packs", done.usecase / "data") == []
    assert any(
        "tar" in path or ".enc" in path for path in holding(OTHER, store)
    )  # the new snapshot
    report = verify_store(done.store())
    assert report.problems == [] and report.flags == []
    assert {path.split("/")[0] for path in report.erased} == {"20_dataset", "40_functional"}
    tomb = store.ledger.entries("forgotten-rows")[-1].body
    assert tomb["retrain"] == [adapter] and candidate in tomb["touched"]
    assert tomb == told.body and tomb["record"] == done.record("20_dataset").digest


def test_a_key_that_was_not_destroyed_leaves_the_rows(at, done, monkeypatch):
    """The negative control: without the deed the search finds them, and `verify` says so."""
    project, store = at
    monkeypatch.setattr(Cipher, "destroy", lambda *a: None)
    forget.carry_out(project, store, forget.plan(project, store, [TRAINED], "row_id"), **WHO)
    assert holding(WORDS[TRAINED], store)
    assert any("was not destroyed" in str(p) for p in verify_store(done.store()).problems)


STEPS = ["request", "file", "snapshot", "keys", "tombstone"]


def test_a_crash_between_any_two_steps_can_be_repeated(at, done, monkeypatch):
    """Killed before each step in turn, and between the entry of a deletion and the deed: every
    repetition goes on, from the subjects alone, and the end is that of an undisturbed run."""
    project, store = at
    destroy = Cipher.destroy

    def killed(*stop):
        def event(kind, step=None, **facts):
            if kind == "forget" and step in stop:
                raise KeyboardInterrupt(step)

        with pytest.raises(KeyboardInterrupt):
            plan = forget.plan(project, store, WORDS, "row_id")
            forget.carry_out(project, store, plan, **WHO, on_event=event)
        assert store.ledger.entries("forgotten-rows") == []

    for step in STEPS[:4]:
        killed(step)
        assert store.cipher.exists(next(iter(done.record("20_dataset").statement.predicate
                                             .workbench_encrypted.values()))["snapshot"])  # fmt: skip
        assert step == "request" or len(store.ledger.entries("forget-request")) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Cipher, "destroy", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt()))
        killed()
    assert Cipher.destroy is destroy and holding(WORDS[TRAINED], store)
    killed("tombstone")
    plan = forget.plan(project, store, WORDS, "row_id")
    assert forget.carry_out(project, store, plan, **WHO).body["retrain"] == list(plan.retrain)
    tomb = store.ledger.entries("forgotten-rows")[-1].body
    assert list(tomb["snapshots"].values()) == [2] and len(tomb["retrain"]) == 1
    assert len(store.records("20_dataset")) == 2 and len(store.ledger.entries("forgotten")) == 1
    assert not any(holding(words, store, done.usecase / "data") for words in WORDS.values())
    assert verify_store(done.store()).problems == []


def test_a_gate_stops_before_any_key_is_destroyed(at, done):
    """Too few rows are left: the refusal says what to do, the old rows are there; `force` goes on."""
    project, store = at
    many = [f"r{i:07d}" for i in range(1, 19)]
    plan = forget.plan(project, store, many, "row_id")
    with pytest.raises(GateNotPassed, match="no key was destroyed"):
        forget.carry_out(project, store, plan, **WHO)
    assert store.ledger.entries("forgotten") == [] and holding(OTHER, store)
    told = forget.carry_out(project, store, plan, **WHO, force=True)
    assert not holding(OTHER, store) and told.body["record"] == done.record("20_dataset").digest


# -- what is found -------------------------------------------------------------------------------


def test_rows_that_were_only_examined_taught_nothing(at):
    """A row of the locked set touches the candidate, but no weights learned from it."""
    plan = forget.plan(*at, [LOCKED], "row_id")
    kinds = [row["what"] for row in plan.rows()]
    assert plan.retrain == () and kinds.count("adapter") == kinds.count("candidate") == 1


def test_subjects_are_values_of_the_group_column(at):
    """Without a column it is the use case's group; without that, somebody must say."""
    project, store = at
    with pytest.raises(InputError, match="are needed"):
        forget.plan(project, store, ["x"])
    data = project.usecase.data.model_copy(update={"group": "intent"})
    grouped = replace(project, usecase=project.usecase.model_copy(update={"data": data}))
    assert list(forget.plan(grouped, store, ["cards"]).snapshots.values()) == [12]


def test_unknown_subjects_are_refused_and_not_echoed(at, done):
    """InputError says how many and that nothing was changed; of a mixed list it says so beside."""
    before = (done.usecase / "data" / "messages.csv").read_bytes()
    with pytest.raises(InputError) as refused:
        forget.plan(*at, ["Zacharias", "Zoe"], "message")
    text = str(refused.value)
    assert "None of the 2 subjects" in text and "nothing was changed" in text and "Z" not in text
    assert (done.usecase / "data" / "messages.csv").read_bytes() == before
    plan = forget.plan(*at, [TRAINED, "r9999999"], "row_id")
    assert "1 of the 2 subjects stand in no row" in plan.remaining


def test_reading_rows_is_in_the_ledger(at, done):
    """Before a row is opened the ledger says whose records, by whom and for what."""
    forget.plan(*at, [TRAINED], "row_id")
    (entry,) = done.ledger("rows-read")
    assert entry.body["purpose"] == "forget"
    assert entry.body["records"] == [done.record("20_dataset").digest]


def test_keys_that_left_for_a_replay_are_named(at, done, tmp_path):
    """A copy of a key elsewhere still opens the rows: the plan says by which ledger entry it left."""
    words = ["--replayable", "--keys", tmp_path / "rows.keys"]
    assert done.cli("pack", tmp_path / "p.tar", done.record("30_adapt").id, *words).code == 0
    (entry,) = done.ledger("keys-exported")
    remaining = forget.plan(*at, [TRAINED], "row_id").remaining
    assert any(f"ledger entry {entry.index}" in one and "keys" in one for one in remaining)


def test_unfinished_training_goes_with_the_rows(at, done):
    """A checkpoint may have learned from them; it is no record, so nothing else would delete it."""
    project, store = at
    kept = checkpoints.place(store, "0" * 64) / "checkpoint.safetensors"
    kept.write_bytes(b"weights")
    plan = forget.plan(project, store, [TRAINED], "row_id")
    forget.carry_out(project, store, plan, by="Dora", reason="asked")
    assert not kept.exists()


def test_releases_and_where_they_serve_are_named(released):
    """Not only the adapter: what was released on the rows, and what of it serves now or served."""
    who = ("--by", "Otto Operator", "--sign-with", released.keys / "Otto")
    for environment, action in (("production", "start"), ("canary", "start"), ("canary", "stop")):
        told = released.cli("deploy", "-e", environment, "--action", action, *who)
        assert told.code == 0, told.err
    project, store = Project.load(released.usecase), released.store("governed")
    found = forget.plan(project, store, [TRAINED], "row_id")
    [registered], [start, canary, _] = (store.ledger.entries(k) for k in ("release", "deployment"))
    rows = [(row["what"], row["name"], row["then"]) for row in found.rows()]
    bundle = registered.body["bundle"][:12]
    assert [row for row in rows if row[0] in ("release", "deployment")] == [
        ("release", f"bundle {bundle}, ledger entry {registered.index}",
         "stands on these rows: withdraw it, or say why not"),
        ("deployment", f"production, ledger entry {start.index}",
         "serves now: stop it, or say why not"),
        ("deployment", f"canary, ledger entry {canary.index}", "served"),
    ]  # fmt: skip
    assert found.body()["served"] == found.served
    assert ("record", released.record("55_release", "governed").ref, "stands on these rows") in rows


def test_the_ledger_tells_nobody_who_was_forgotten(at, done):
    """Keyed digests only; a reason that names a subject is refused before anything is written."""
    project, store = at
    subject = "fees"
    plan = forget.plan(project, store, [subject], "intent")
    size = len(done.ledger())
    with pytest.raises(InputError, match="names a subject"):
        forget.carry_out(project, store, plan, by="Dora", reason="wrote: fees, left")
    assert len(done.ledger()) == size
    assert subject not in repr(plan) and subject not in json.dumps(plan.body())


def test_rows_in_the_clear_are_told(at, done):
    """Without a class that is encrypted no key can delete: said, never passed over."""
    project, store = at
    plain = {"class": "public", "purpose": "p", "owner": "o"}
    done.configure(data={"path": "data/messages.csv", "text": "message", "label": "intent",
                         "classified_by": "D", "columns": {"message": plain, "intent": plain}})  # fmt: skip
    done.cli("run", "--until", "20_dataset")
    assert done.record("20_dataset").statement.predicate.workbench_encrypted == {}
    plan = forget.plan(Project.load(done.usecase), store, [TRAINED], "row_id")
    assert any("in the clear" in text for text in plan.remaining)


def test_what_no_key_reaches_is_returned(at, done):
    """Git's history, copies that were opened, other tracks: named, with how to check."""
    project, store = at
    open_record(done.record("20_dataset"), store, done.home / "look", decrypt=True)
    git = ["git", "-C", str(done.usecase), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "data"], ["commit", "-qm", "data"]):
        subprocess.run([*git, *words], check=True)
    text = " ".join(forget.plan(project, store, [TRAINED], "row_id").remaining)
    assert "git log --all --oneline -- data/messages.csv" in text
    assert "opened outside a stage: ledger entry" in text and "other tracks" in text


# -- who may -------------------------------------------------------------------------------------

ROWS = b"message,intent\none,cards\ntwo,fees\none,cards\nthree,fees\n"


def seal(lab, store, rows: bytes = ROWS, usecase: str = "tiny"):
    """A dataset record as the engine leaves one: raw rows, training set and lineage, encrypted.
    Learned from are rows 1 and 2, and `s1`, which was made of row 4."""
    lab.data(rows.decode())
    run, raw = store.begin("20_dataset", "tester"), lab.usecase / "data" / "messages.csv"
    snapshot = store.cipher.keyed_digest(raw)[:16]
    if not store.cipher.exists(snapshot):
        store.cipher.new_key(snapshot)
    train, lineage = lab.home / "train.parquet", lab.home / "lineage.parquet"
    table = {"row_id": ["r0000001", "r0000002", "s1"], "message": ["one", "two", "slot"]}
    parquet.write_table(pa.table(table), train)
    facts = {"row_id": ["r0000004", "s1"], "source_id": ["r0000004", None],
             "outcome": ["read", "created"], "other": [None, "r0000004"]}  # fmt: skip
    parquet.write_table(pa.table(facts), lineage)
    (run.record / "outputs" / "raw").mkdir(parents=True)
    held = {"outputs/raw/messages.csv.enc": raw, "outputs/train.parquet.enc": train,
            "outputs/lineage.parquet.enc": lineage}  # fmt: skip
    for name, path in held.items():
        store.cipher.encrypt(path, run.record / name, snapshot)
    return store.publish(run, statement.build(
        stage="20_dataset", parameters={}, usecase=usecase, track=store.track, outcome="succeeded",
        started="2025-01-01T00:00:00Z", finished="2025-01-01T00:00:01Z",
        encrypted={name: {"snapshot": snapshot, "plaintext": "0"} for name in held},
    ))  # fmt: skip


def adapt(store, dataset):
    """Weights that learned from a dataset's training set."""
    run = store.begin("30_adapt", "tester")
    (run.record / "weights").write_text("0.1")
    return store.publish(run, statement.build(
        stage="30_adapt", parameters={}, usecase="tiny", track=store.track, outcome="succeeded",
        started="2025-01-01T00:00:00Z", finished="2025-01-01T00:00:01Z",
        inputs=[dataset.as_input("outputs/train.parquet.enc")],
    ))  # fmt: skip


@pytest.fixture
def governed(lab, tmp_path):
    """(project, store, keys): a governed store with a dataset; Ada may sign deletions, Ben may
    sign approvals only, Eve is nobody."""
    keys, people = {}, Keyring()
    for name, spaces in {"ada": ("*",), "ben": ("approve@*",), "eve": None}.items():
        keys[name] = tmp_path / name
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys[name])]
        subprocess.run(command, check=True)
        if spaces:
            key = Key(public=keys[name].with_suffix(".pub").read_text(), namespaces=spaces,
                      valid_from="2020-01-01T00:00:00Z")  # fmt: skip
            facts = {"email": f"{name}@example.org", "roles": ("keyholder",), "keys": (key,)}
            people = people.add(Person(id=name, name=name.title(), **facts))
    store = Store.create(lab.runs / "governed", "governed")
    store.update_keyring(people, keys["ada"])
    seal(lab, store)
    return Project.load(lab.usecase), store, keys


@pytest.mark.parametrize(
    ("by", "key", "error"),
    [("Ada", None, WaitingForPerson), ("Eve", "eve", IntegrityError), ("Ada", "eve", IntegrityError),
     ("Ben", "ben", IntegrityError), ("Ben", "ada", InputError), ("", "ada", InputError)],
)  # fmt: skip
def test_a_governed_deletion_takes_the_signature_of_a_person_who_may(governed, lab, by, key, error):
    """None, of a stranger, of somebody with another right, in another's name: refused, and nothing
    changes, not even the ledger."""
    project, store, keys = governed
    plan = forget.plan(project, store, ["one"], "message")
    size, data = len(store.ledger.entries()), (lab.usecase / "data/messages.csv").read_bytes()
    with pytest.raises(error):
        forget.carry_out(project, store, plan, by=by, reason="asked", sign_with=keys.get(key))
    assert len(store.ledger.entries()) == size
    assert (lab.usecase / "data/messages.csv").read_bytes() == data
    assert all(store.cipher.exists(snapshot) for snapshot in plan.snapshots)


def test_a_forged_signature_is_refused(governed, lab):
    """Eve's key with Ada's public half beside it: nothing is requested, rewritten or destroyed."""
    project, store, keys = governed
    keys["eve"].with_suffix(".pub").write_text(keys["ada"].with_suffix(".pub").read_text())
    plan = forget.plan(project, store, ["one"], "message")
    with pytest.raises((IntegrityError, InputError)):
        forget.carry_out(project, store, plan, by="Ada", reason="asked", sign_with=keys["eve"])
    assert not store.ledger.entries("forget-request") and not store.ledger.entries("forgotten")
    assert (lab.usecase / "data/messages.csv").read_bytes() == ROWS


def test_a_signed_deletion_stands_in_the_ledger(governed, lab):
    """The track refuses a run outside git, so no key goes; forced, they go. The envelope verifies."""
    project, store, keys = governed
    plan = forget.plan(project, store, ["one"], "message")
    who = {"by": "Ada", "reason": "asked", "sign_with": keys["ada"]}
    with pytest.raises(InputError, match="no key was destroyed"):
        forget.carry_out(project, store, plan, **who)
    assert all(store.cipher.exists(snapshot) for snapshot in plan.snapshots)
    tomb = forget.carry_out(project, store, plan, **who, force=True)
    assert tomb.body["record"] is None and list(tomb.body["snapshots"].values()) == [2]
    (request,) = store.ledger.entries("forget-request")
    assert request.body["envelope"]["namespace"] == "forget@workbench"
    assert tomb.body["request"] == request.index
    assert verify_store(Store.open(store.path)).problems == []


def test_a_row_is_found_wherever_it_stands(governed, lab):
    """A row id is of the newest dataset; the same row in an older one, and its repetitions, go too.
    Who was forgotten can't be forgotten again: the refusal names the entry."""
    project, store, keys = governed
    seal(lab, store, b"message,intent\nnew,fees\none,cards\n")
    plan = forget.plan(project, store, ["r0000002"], "row_id")
    assert sorted(plan.snapshots.values()) == [1, 2] and plan.in_file == 1
    tomb = forget.carry_out(project, store, plan, by="Ada", reason="asked",
                            sign_with=keys["ada"], force=True)  # fmt: skip
    assert (lab.usecase / "data/messages.csv").read_text() == "message,intent\nnew,fees\n"
    with pytest.raises(InputError, match=f"forgotten already: ledger entry {tomb.index}"):
        forget.plan(project, store, ["r0000002"], "row_id")


@pytest.mark.parametrize(("row", "taught"), [("two", 1), ("three", 1), ("four", 0)])
def test_weights_learned_from_a_row_and_from_rows_made_of_it(governed, lab, row, taught):
    """A row of the training set, the origin of a synthetic one, and a row that was held out."""
    project, store, _ = governed
    seal(lab, store, ROWS + b"four,fees\n")
    adapt(store, store.records("20_dataset")[-1])
    plan = forget.plan(project, store, [row], "message")
    assert len(plan.retrain) == taught and list(plan.snapshots.values())[-1] == 1


def test_snapshots_that_cannot_be_searched_are_told(governed, lab):
    """A lost key, rows that were never sound, a column that a snapshot lacks; another use case of
    the store is left alone."""
    project, store, _ = governed
    lost = seal(lab, store, b"message,intent\nold,fees\n")
    snapshot = lost.encrypted("outputs/train.parquet.enc")["snapshot"]
    (store.keys / "rows" / f"{snapshot}.key").unlink()
    theirs = seal(lab, store, b"message,intent\none,fees\n", usecase="theirs")
    seal(lab, store, b"message,intent\none\n")
    seal(lab, store, b"text,intent\none,fees\n")
    plan = forget.plan(project, store, ["one"], "message")
    text = " ".join(plan.remaining)
    assert theirs.encrypted("outputs/train.parquet.enc")["snapshot"] not in plan.snapshots
    assert f"snapshot {snapshot} was not searched" in text
    assert "its rows cannot be read" in text
    assert "has no column `message`" in text and "use cases were not searched" in text
    assert any("its key is gone, and no entry says why" in str(p)
               for p in verify_store(Store.open(store.path)).problems)  # fmt: skip


# -- the data file -------------------------------------------------------------------------------

CSV = b'\xef\xbb\xbfwho,text\r\n"ann","one\r\ntwo, ""three"""\r\n\r\nbob,four\nann,five'
JSONL = b'{"who": "ann", "text": "a\\nb"}\n\n {"who":"bob","text":"\xc3\xa9"}\r\n{"who":"ann"}'


@pytest.mark.parametrize(
    ("kind", "data", "left"),
    [
        ("csv", CSV, b"\xef\xbb\xbfwho,text\r\n\r\nbob,four\n"),
        ("jsonl", JSONL, b'\n {"who":"bob","text":"\xc3\xa9"}\r\n'),
    ],
)
def test_every_other_byte_stays(kind, data, left):
    """Quotes, line ends, order mark and blank lines of the rows that are left are as they were."""
    ann = lambda row: row["who"] if row["who"] == "ann" else None  # noqa: E731
    assert data_file.without(data, kind, ann) == left
    assert data_file.without(data, kind, lambda row: None) == data


def test_a_parquet_file_keeps_no_trace():
    """A column of categories keeps a dictionary of values; that of a row that went goes too."""
    who = pa.array(["ann", "bob", "eve"]).dictionary_encode()
    file = io.BytesIO()
    parquet.write_table(pa.table({"who": who, "n": [1, 2, 3]}), file)
    left = data_file.without(
        file.getvalue(), "parquet", lambda r: "x" if r["who"] == "ann" else None
    )
    table = parquet.read_table(io.BytesIO(left))
    assert table.to_pylist() == [{"who": "bob", "n": 2}, {"who": "eve", "n": 3}]
    assert table.schema == pa.schema({"who": who.type, "n": pa.int64()})
    assert b"ann" in file.getvalue() and b"ann" not in left


def test_a_file_that_cannot_be_read_is_refused_without_quoting_it():
    """A row may be a person's."""
    for kind, data in {"csv": b"a,b\nSecret", "jsonl": b"Secret", "parquet": b"Secret"}.items():
        with pytest.raises(InputError) as refused:
            data_file.without(data, kind, lambda row: None)
        assert "Secret" not in str(refused.value)

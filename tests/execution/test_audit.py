"""An audit by sample: every planted exception is found, and the paper can be drawn again (N3)."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from workbench.errors import InputError
from workbench.execution.audit import audit, draw
from workbench.record import statement
from workbench.record.digest import canonical
from workbench.record.store import Store

ROWS = [(f"r{n:07d}", f"message {n} of a person", ("cards", "fees")[n % 2]) for n in range(1, 21)]
TRAIN, LOCKED = ROWS[:12], ROWS[12:]
GATE = {"id": "accuracy", "stage": "40_functional", "table": "cases.parquet", "figure": "accuracy",
        "where": {"model": "candidate"}, "at_least": 0.5, "bound": "value", "blocking": True,
        "harm": "h", "why": "w"}  # fmt: skip
OTHER = GATE | {"id": "other_model", "where": {"model": ["base"]}}
VERDICT = {"criterion": "accuracy", "stage": "40_functional", "verdict": "passed", "figure": None,
           "threshold": "t", "reason": "r", "harm": "h", "blocking": True, "failing": []}  # fmt: skip
AUDIT = {"sample": 99, "seed": 7, "who": "Ada Auditor"}


def steps(row_id, *more, into="train"):
    """Lineage of a row: read, whatever is `more`, put into a set."""
    line = {"row_id": row_id, "source_id": row_id, "use": "", "version": "", "other": ""}
    told = [("read", ""), *more, ("set", into)]
    return [line | {"step": n, "outcome": o, "detail": d} for n, (o, d) in enumerate(told)]


class Lineage:
    """Sealed records from an intake to a candidate, as the engine leaves them; each table may be
    changed before it is sealed."""

    def __init__(self, store: Store) -> None:
        self.store, self.snapshot = store, "a" * 16
        store.cipher.new_key(self.snapshot)
        names = ("row_id", "message", "intent")
        self.train = [dict(zip(names, row, strict=True)) for row in TRAIN]
        self.locked = [dict(zip(names, row, strict=True)) for row in LOCKED]
        self.raw = [dict(zip(names[1:], row[1:], strict=True)) for row in ROWS]
        self.lineage = [s for row in TRAIN for s in steps(row[0])]
        self.lineage += [s for row in LOCKED for s in steps(row[0], into="locked")]
        self.cases = [{"case_id": row[0], "model": model, "expected": row[2], "predicted": row[2]}
                      for row in LOCKED for model in ("base", "candidate")]  # fmt: skip
        self.verdicts = [VERDICT]
        self.place = store.path.parent / "plain"
        self.place.mkdir()

    def seal(self, stage, plain=(), rows=(), inputs=(), verdicts=()):
        run, encrypted = self.store.begin(stage, "tester"), {}
        for name, found in dict(plain).items():
            path = run.record / "outputs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(canonical(found))
        for name, found in dict(rows).items():
            path, sealed = self.place / name.replace("/", "-"), f"outputs/{name}.enc"
            if name.endswith(".csv"):
                lines = [",".join(found[0]), *(",".join(row.values()) for row in found)]
                path.write_text("\n".join(lines) + "\n")
            else:
                parquet.write_table(pa.Table.from_pylist(found), path)
            (run.record / sealed).parent.mkdir(parents=True, exist_ok=True)
            self.store.cipher.encrypt(path, run.record / sealed, self.snapshot)
            encrypted[sealed] = {"snapshot": self.snapshot, "plaintext": "0"}
        return self.store.publish(run, statement.build(
            stage=stage, parameters={}, usecase="tiny", track=self.store.track, inputs=inputs,
            started="2025-01-01T00:00:00Z", finished="2025-01-01T00:00:01Z", outcome="succeeded",
            encrypted=encrypted, verdicts=verdicts,
        ))  # fmt: skip

    def sealed(self):
        """The record of the candidate."""
        facts = {"path": "data/messages.csv", "text": "message", "label": "intent",
                 "format": "auto", "columns": {}}  # fmt: skip
        policy = {"version": 1, "criteria": [GATE, OTHER]}
        intake = self.seal("10_intake", {"data.json": facts, "criteria.json": policy})
        tables = {"raw/messages.csv": self.raw, "train.parquet": self.train,
                  "locked.parquet": self.locked, "lineage.parquet": self.lineage}  # fmt: skip
        data = self.seal("20_dataset", {"manifest.json": []}, tables,
                         [intake.as_input("outputs/data.json")])  # fmt: skip
        train = data.as_input("outputs/train.parquet.enc")
        adapter = self.seal("30_adapt", {"weights.json": {}}, (), [train])
        criteria = intake.as_input("outputs/criteria.json")
        criteria.annotations["input"] = "criteria"
        judged = self.seal("40_functional", (), {"cases.parquet": self.cases},
                           [adapter.as_input("outputs/weights.json"), criteria], self.verdicts)  # fmt: skip
        read = [one.as_input(name) for one, name in
                ((adapter, "outputs/weights.json"), (judged, "outputs/cases.parquet.enc"))]  # fmt: skip
        return self.seal("50_candidate", {"decision.json": {}}, (), read)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_KEYS", str(tmp_path / "keys"))
    return Lineage(Store.create(tmp_path / "store", "research"))


def exceptions(paper, kind="rows"):
    """Row or case -> what is wrong with it."""
    name = kind.removesuffix("s")
    return {one[name]: one["exceptions"] for one in paper[kind] if one["exceptions"]}


def test_a_sound_lineage_has_no_exception_and_each_item_is_traced(made):
    """A row to its source row, a case to its sealed answer and to the gates that it counted in."""
    paper = audit(made.store, made.sealed(), **AUDIT)
    assert paper["population"] == {"rows": 12, "cases": 8} and paper["problems"] == []
    assert (len(paper["rows"]), len(paper["cases"]), paper["exceptions"]) == (12, 8, 0)
    row, case = paper["rows"][0], paper["cases"][0]
    assert row["source"] == row["row"] and row["file"]["path"] == "data/messages.csv"
    assert len(row["digest"]) == len(row["source_digest"]) == 64
    assert case["verdicts"] == {"accuracy": "passed"} and len(case["digests"]) == 1
    assert paper["conclusion"] == "No exception in 12 rows and 8 cases."


ROW = "r0000004"
PLANTS = {
    "leaked by id": "leaked: the locked set holds it too",
    "leaked by text": "leaked: the locked set holds it too",
    "source gone": "its source row is missing",
    "no lineage": "its lineage does not put it into the training set",
    "of another set": "its lineage does not put it into the training set",
    "altered": "it differs from its source, and no step says why",
}


def plant(made, how):
    row = next(one for one in made.train if one["row_id"] == ROW)
    own = [step for step in made.lineage if step["row_id"] == ROW]
    if how == "leaked by id":
        made.locked.append(dict(row))
    if how == "leaked by text":
        made.locked[0]["message"] = "  MESSAGE 4 of a  person"
    if how == "source gone":
        for step in own:
            step["source_id"] = "r0000099"
    if how == "no lineage":
        made.lineage = [step for step in made.lineage if step["row_id"] != ROW]
    if how == "of another set":
        own[-1]["detail"] = "dev"
    if how == "altered":
        row["intent"] = "cards" if row["intent"] == "fees" else "fees"


@pytest.mark.parametrize("how", PLANTS)
def test_a_planted_row_is_found(made, how):
    """Leaked by id or by its text, without a source, lost or put elsewhere, altered: named."""
    plant(made, how)
    found = exceptions(audit(made.store, made.sealed(), **AUDIT))
    assert list(found) == [ROW] and PLANTS[how] in found[ROW]


def test_a_row_that_a_step_changed_or_made_is_no_exception(made):
    """Where the lineage says so, a row may differ from its source."""
    for row_id, outcome in (("r0000002", "changed"), ("r0000003", "created")):
        next(one for one in made.train if one["row_id"] == row_id)["message"] = "redacted"
        made.lineage = [one for one in made.lineage if one["row_id"] != row_id]
        made.lineage += steps(row_id, (outcome, "EMAIL 1"))
    assert audit(made.store, made.sealed(), **AUDIT)["exceptions"] == 0


CASE = "r0000015"


@pytest.mark.parametrize(
    ("how", "says"),
    [("expects another", "expects something else"), ("twice", "answered twice"),
     ("unknown", "nobody locked it"), ("no verdict", "no verdict of accuracy")],
)  # fmt: skip
def test_a_planted_case_is_found(made, how, says):
    """Another answer expected than the locked set says, counted twice, not locked, not judged."""
    own = next(c for c in made.cases if (c["case_id"], c["model"]) == (CASE, "candidate"))
    if how == "expects another":
        own["expected"] = own["predicted"] = "neither"
    if how == "twice":
        made.cases.append(dict(own))
    if how == "unknown":
        own["case_id"] = "r9999999"
    if how == "no verdict":
        made.verdicts = []
    found = exceptions(audit(made.store, made.sealed(), **AUDIT), "cases")
    wanted = {CASE if how != "unknown" else "r9999999"}
    assert set(found) == wanted or how == "no verdict" and len(found) == 8
    assert all(says in " ".join(one) for one in found.values())


def test_the_same_seed_draws_the_same_paper_and_another_draws_another(made):
    """Byte for byte, though the ledger has grown; and no more is drawn than was asked."""
    record, asked = made.sealed(), AUDIT | {"sample": 3}
    first = audit(made.store, record, **asked)
    assert canonical(first) == canonical(audit(made.store, record, **asked))
    assert [len(first["rows"]), len(first["cases"])] == [3, 3]
    drawn = {tuple(one["row"] for one in audit(made.store, record, **asked | {"seed": n})["rows"])
             for n in range(5)}  # fmt: skip
    assert len(drawn) > 1


def test_the_draw_is_by_digest(made):
    """Any program that has the names draws the same: SHA-256 of seed, NUL and name."""
    assert draw(["c", "a", "b"], 2, 1) == draw({"a", "b", "c"}, 2, 1) == ["a", "b"]
    assert draw(["a"], 5, 1) == ["a"]


def test_the_ledger_says_who_read_and_the_paper_holds_no_text(made):
    """One entry before the rows are read; no message stands in the paper."""
    paper = audit(made.store, made.sealed(), **AUDIT)
    [entry] = made.store.ledger.entries("rows-read")
    assert entry.body["who"] == "Ada Auditor" and entry.body["purpose"] == "audit"
    read = {r.digest for r in made.store.records() if r.stage in ("20_dataset", "40_functional")}
    assert set(entry.body["records"]) == read
    assert "of a person" not in json.dumps(paper)


def test_where_a_seal_does_not_verify_nothing_is_drawn(made):
    """The file is named; no row was read."""
    record = made.sealed()
    path = made.store.records("30_adapt")[0].path / "outputs/weights.json"
    path.chmod(0o644)
    path.write_text('{"other":1}')
    paper = audit(made.store, record, **AUDIT)
    assert "30_adapt" in paper["problems"][0] and "changed" in paper["problems"][0]
    assert (
        paper["rows"] == paper["cases"] == [] and "nothing can be concluded" in paper["conclusion"]
    )
    assert made.store.ledger.entries("rows-read") == []


def test_rows_that_were_deleted_and_records_without_training_are_refused(made):
    """A destroyed key opens nothing; an intake taught nothing; a sample of none shows nothing."""
    record = made.sealed()
    with pytest.raises(InputError, match="No training"):
        audit(made.store, made.store.records("10_intake")[0], **AUDIT)
    with pytest.raises(InputError, match="at least one"):
        audit(made.store, record, **AUDIT | {"sample": 0})
    made.store.forget(made.snapshot, "asked")
    with pytest.raises(InputError, match="deleted"):
        audit(made.store, record, **AUDIT)


def test_the_verb_writes_the_paper_and_its_exit_code_tells(done, tmp_path):
    """0 and two files for a real candidate; 1 for a folder that is there; 6 for a broken seal."""
    told = done.cli("audit", "--sample", 4, "--seed", 1, "--to", tmp_path / "paper")
    assert told.code == 0, told.err
    paper = json.loads((tmp_path / "paper" / "work-paper.json").read_bytes())
    page = (tmp_path / "paper" / "work-paper.html").read_text()
    assert paper["subject"]["record"] == done.record("50_candidate").ref
    assert "No exception in 4 rows and 4 cases." in told.out and "Signature" in page
    assert all(one["row"] in page for one in paper["rows"]) and "private words" not in page
    assert done.cli("audit", "--seed", 1, "--to", tmp_path / "paper").code == 1
    path = done.record("10_intake").path / "outputs" / "plan.json"
    path.chmod(0o644)
    path.write_text("{}")
    told = done.cli("audit", "--seed", 1, "--to", tmp_path / "other")
    assert told.code == 6 and "plan.json" in told.err
    assert "nothing can be concluded" in (tmp_path / "other" / "work-paper.html").read_text()


def test_an_exception_exits_3_and_stands_in_the_page(made, monkeypatch, tmp_path):
    """The verb fails, the page names the row."""
    from click.testing import CliRunner

    from workbench.cli import main

    plant(made, "source gone")
    made.sealed()
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "store").rename(tmp_path / "runs" / "research")
    words = ["audit", "--seed", "1", "--to", str(tmp_path / "paper"), "-u", str(tmp_path)]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == 3, told.output
    assert "its source row is missing" in (tmp_path / "paper" / "work-paper.html").read_text()

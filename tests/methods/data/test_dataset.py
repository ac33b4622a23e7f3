"""The dataset stage, step by step, on small files."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data import account, dataset
from workbench.policy import lineage_rows

PUBLIC = {"class": "public", "purpose": "input", "owner": "desk"}
PERSONAL = {
    **PUBLIC,
    "class": "personal",
    "legal_basis": "contract",
    "retention_days": 30,
}


@pytest.fixture
def opened(staged, tmp_path):
    """The stage over these rows, with the facts that the intake would have sealed."""

    def prepare(table: pd.DataFrame, masked: bool = False, more: dict | None = None, **facts):
        source = tmp_path / "rows.csv"
        table.to_csv(source, index=False)
        about = {
            "path": "data/rows.csv",
            "text": "text",
            "label": "label",
            "columns": dict.fromkeys(table.columns, PUBLIC),
            "classified_by": "S. Teward",
            **facts,
        }
        plan = {"allowed_data_classes": ["public", "personal"]}
        inputs = {"data": source, "facts": about, "plan": plan}
        return staged("20_dataset", inputs | (more or {}), masked=masked, key="ab" * 32)

    return prepare


def messages(per_class: int = 12, **columns) -> pd.DataFrame:
    rows = [(f"{label} number {i}", label) for i in range(per_class) for label in ("card", "fees")]
    return pd.DataFrame(rows, columns=["text", "label"]).assign(**columns)


def prepared(stage, *, dev=0.15, locked=0.25, near=1.0):
    """(raw, rows) as the notebook has them after the split; only equal texts count as the same."""
    raw = dataset.take_in(stage)
    rows = dataset.transform(stage, raw, seed=7)
    return raw, dataset.split(rows, dev=dev, locked=locked, near=near, seed=7)


def written(stage, rows) -> dict[str, pd.DataFrame]:
    """Every table that the stage leaves, by name."""
    meaning = dataset.similar(stage, rows, false_alarms=0.05, seed=7)
    dataset.write(stage, rows, dataset.leaks(stage, rows, near=1.0), meaning)
    return {path.stem: pd.read_parquet(path) for path in stage.outputs.glob("*.parquet")}


def refusal(stage) -> str:
    with pytest.raises(InputError) as caught:
        dataset.take_in(stage)
    assert not list(stage.outputs.rglob("*.csv")), "a refused file was copied"
    return str(caught.value)


def test_the_stage_leaves_every_row_in_one_place(opened):
    """Sets and removed rows together are the file, and the lineage accounts for each."""
    stage = opened(pd.concat([messages(), messages(1)], ignore_index=True))
    _, rows = prepared(stage)
    tables = written(stage, rows)
    final = {name: tables[name]["row_id"].tolist() for name in ("train", "dev", "locked")}
    ids = [f"r{i:07d}" for i in range(1, 27)]
    assert sorted([*sum(final.values(), []), *rows.removed["row_id"]]) == ids
    assert lineage_rows.gaps(tables["lineage"].to_dict("records"), ids, final) == []
    where = tables["splits"].set_index("row_id")["split"]
    assert all((where[held] == name).all() for name, held in final.items())
    assert json.loads((stage.outputs / "labels.json").read_text()) == ["card", "fees"]
    figures = json.loads((stage.outputs / "figures.json").read_text())
    assert figures["rows_removed"]["value"] == 2
    [step] = json.loads((stage.outputs / "manifest.json").read_text())
    assert (step["use"], step["rows_in"], step["rows_out"]) == ("deduplicate", 26, 24)
    assert (stage.outputs / "raw/rows.csv").read_bytes() == stage.input("data").read_bytes()


def test_a_file_without_faults_leaves_empty_tables_not_none(opened):
    """No leak and nothing alike is a finding too: the gates read tables without rows."""
    stage = opened(messages())
    raw, rows = prepared(stage)
    tables = written(stage, rows)
    assert tables["leaks"].empty and tables["similar"].empty
    assert account.removed(stage, rows, raw) == "No row left."


def test_unclassified_data_fails_closed(opened):
    """A column without a class, a class that the plan does not allow, a class without its duties."""
    columns = {"text": PUBLIC}
    assert "label: not classified" in refusal(opened(messages(), columns=columns))
    health = {"text": {**PERSONAL, "class": "health"}, "label": PUBLIC}
    assert "does not allow health" in refusal(opened(messages(), columns=health))
    bare = {"text": {**PUBLIC, "class": "personal"}, "label": PUBLIC}
    assert "legal_basis" in refusal(opened(messages(), columns=bare))
    assert "no person has confirmed" in refusal(opened(messages(), classified_by=""))


def test_columns_that_the_use_case_names_must_be_there(opened):
    """Group, time and split are promises about rows; a misspelt one would be kept by nobody."""
    for field in ("group", "time", "split"):
        assert f"data.{field}" in refusal(opened(messages(), **{field: "custmer"}))


def test_a_column_named_as_the_workbench_names_its_own_is_refused(opened):
    """`set` would be overwritten by the split."""
    assert "given_set" in refusal(opened(messages(set="train")))


def test_a_row_that_belongs_to_no_group_is_refused(opened):
    """It could belong to a customer whose other rows judge the model."""
    table = messages(customer=[f"c{i // 3}" for i in range(24)])
    table.loc[4, "customer"] = " "
    found = refusal(opened(table, group="customer"))
    assert "1 rows do not say which group" in found and "r0000005" in found


def test_the_planted_leak_is_found(opened):
    """The negative control of the notebook: a locked text in train, in capitals."""
    for group in (None, "customer"):
        stage = opened(messages(customer=[f"c{i // 2}" for i in range(24)]), group=group)
        _, rows = prepared(stage)
        assert dataset.leaks(stage, rows, near=1.0).empty
        found = dataset.planted(stage, rows, near=1.0)
        assert found["left_id"].tolist() == ["planted 1"]


def test_the_negative_control_fails_where_the_check_sees_nothing(opened, monkeypatch):
    """A check that was switched off stops the notebook."""
    stage = opened(messages())
    _, rows = prepared(stage)
    monkeypatch.setattr(dataset, "find_leaks", lambda table, *a, **k: pd.DataFrame({"left_id": []}))
    with pytest.raises(AssertionError, match="was not found"):
        dataset.planted(stage, rows, near=1.0)


def test_given_test_rows_stay_and_their_twins_leave_the_training(opened):
    """A published test set is not made smaller by the training rows that repeat it."""
    table = messages(part=["train", "train", "test", "test"] * 6)
    twins = table[table["part"] == "test"].head(3).assign(part="train")
    stage = opened(pd.concat([twins, table], ignore_index=True), split="part")
    raw, rows = prepared(stage, dev=0.2)
    assert account.per_class(rows)["locked"].to_dict() == {"card": 6, "fees": 6}
    [left] = account.removed(stage, rows, raw).to_dict("records")
    assert left["rows"] == 3 and left["reason"].startswith("stands in a set that judges it")
    assert rows.removed["same_as"].str.startswith("r").all()


def test_a_near_copy_of_a_locked_row_leaves_the_training(opened):
    """One letter more is the same text; where the threshold is 1, it is another."""
    long = "I would like to know why the card machine in the shop took my money twice"
    table = messages(part=["train", "train", "test", "test"] * 6)
    copies = pd.DataFrame(
        {"text": [long, long + "!?s"], "label": "card", "part": ["test", "train"]}
    )
    stage = opened(pd.concat([table, copies], ignore_index=True), split="part")
    _, kept = prepared(stage, near=1.0)
    _, rows = prepared(stage, near=0.8)
    assert "r0000026" not in set(kept.removed["row_id"])
    assert "near" in rows.removed.set_index("row_id").loc["r0000026", "reason"]


def test_a_group_that_given_sets_divide_is_reported(opened):
    """Given sets are followed, and their faults are not hidden."""
    customer = [f"c{i % 6}" for i in range(24)]
    table = messages(part=["train", "train", "test", "test"] * 6, customer=customer)
    stage = opened(table, split="part", group="customer")
    _, rows = prepared(stage, dev=0.2)
    assert set(dataset.leaks(stage, rows, near=1.0)["kind"]) == {"group (customer)"}


def test_sets_by_time_keep_the_latest_for_the_judge(opened):
    """Train before dev before locked; without a column of times it is refused."""
    days = [f"2026-01-{i + 1:02d}" for i in range(24)]
    stage = opened(messages(day=days), time="day", split_by="time")
    _, rows = prepared(stage)
    ends = rows.table.groupby("set")["day"].agg(["min", "max"])
    assert ends.loc["train", "max"] < ends.loc["dev", "min"] <= ends.loc["dev", "max"]
    assert ends.loc["dev", "max"] < ends.loc["locked", "min"]
    assert dataset.leaks(stage, rows, near=1.0).empty
    written(stage, rows)
    figures = json.loads((stage.outputs / "figures.json").read_text())
    assert figures["oldest_row"]["value"].startswith(
        "2026-01-01T00:00:00"
    )  # retention starts there


def test_sets_by_time_need_a_column_of_times(opened):
    """Nothing is guessed from the order of the rows."""
    assert "no column holds it" in refusal(opened(messages(), split_by="time"))


def test_made_rows_stay_with_the_training_only(opened):
    """A row made from one that judges goes, and the lineage says why."""
    make = {
        "use": "synthesise",
        "why": "too few",
        "arguments": {"operators": ["typo"], "per_class": 24},
    }
    stage = opened(messages(), steps=[make])
    _, rows = prepared(stage)
    made = rows.table[rows.table["synthetic"].eq(True)]
    assert len(made) and set(made["set"]) == {"train"}
    assert rows.removed["reason"].str.contains("synthetic, and its source is in").any()


def test_rows_of_a_benchmark_are_found(opened, tmp_path):
    """A training row that stands in a public test would make the model look better than it is."""
    folder = tmp_path / "reference"
    folder.mkdir()
    (folder / "public.txt").write_text("something else\nCARD number 3!\n")
    table = messages(part=["train"] * 8 + ["dev", "dev", "test", "test"] * 4)
    stage = opened(table, more={"reference": folder}, reference="reference", split="part",
                   benchmarks=["public.txt"])  # fmt: skip
    _, rows = prepared(stage)
    found = dataset.leaks(stage, rows, near=1.0)
    assert found["left_id"].tolist() == ["r0000007"]
    assert found["right_id"].tolist() == ["public.txt:2"]


def test_a_row_of_an_unregistered_source_is_refused(opened):
    """It came on terms that nobody read; how many and where, never what it says."""
    table = messages(origin=["shop"] * 23 + ["stolen-list"])
    known = [{"id": "shop", "licence": "CC0-1.0"}]
    found = refusal(opened(table, source="origin", sources=known))
    assert "1 rows are from a source" in found and "r0000024" in found and "stolen" not in found


def test_the_residual_scan_reads_what_is_learned_from(opened):
    """After every step; a locked row may hold it, a training row may not."""
    table = messages(part=["train", "train", "test", "test"] * 6)
    table.loc[[0, 2], "text"] += " ask ann.lee@example.org"
    rule = {"id": "N1", "reason": "r", "entities": ["EMAIL_ADDRESS"]}
    for steps, left in (([], ["r0000001"]), ([REDACT], [])):
        stage = opened(table, split="part", never_learn=[rule], steps=steps)
        _, rows = prepared(stage, dev=0.2)
        assert dataset.residual(rows)["row_id"].tolist() == left


REDACT = {"use": "redact", "why": "w", "arguments": {"entities": {"EMAIL_ADDRESS": "mask"}}}


def test_a_reader_sees_decision_and_proposal_side_by_side(opened):
    """One row a column, and in words where the decision is laxer without a reason."""
    columns = {"text": PUBLIC, "label": PUBLIC}
    said = [{"column": "text", "data_class": "personal", "confidence": "high", "why": "names",
             "grounds": "findings", "entities": {}}]  # fmt: skip
    stage = opened(messages(), columns=columns, more={"proposals": said})
    shown = account.columns(stage, dataset.take_in(stage))
    assert shown["class"].to_dict() == {"text": "public", "label": "public"}
    assert shown["proposed"].to_dict() == {"text": "personal", "label": "not inspected"}
    assert "declared public, but personal" in account.disagreements(stage, dataset.take_in(stage))


def test_rows_of_persons_are_shown_masked(opened):
    """The text and every other column of a personal class; the label of a public one is shown."""
    table = messages(reply="Dear Ada")
    stage = opened(
        table, columns={"text": PERSONAL, "reply": PERSONAL, "label": PUBLIC}, masked=True
    )
    raw, rows = prepared(stage)
    shown = account.sample(stage, raw)
    assert "Ada" not in shown.to_string() and "number" not in shown.to_string()
    assert shown["label"].tolist() == table["label"].head(5).tolist()
    again = pd.concat([table, table.head(2)], ignore_index=True)
    raw, rows = prepared(opened(again, masked=True, columns=dict.fromkeys(again, PERSONAL)))
    assert "number" not in account.removed(stage, rows, raw).to_string()
    plain = opened(messages())
    assert "number" in account.sample(plain, dataset.take_in(plain)).to_string()

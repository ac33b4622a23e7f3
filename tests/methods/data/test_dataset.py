"""The dataset stage, step by step, on small files."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data import dataset

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

    def prepare(table: pd.DataFrame, masked: bool = False, **facts):
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
        return staged("20_dataset", inputs, masked=masked)

    return prepare


def messages(per_class: int = 12, **columns) -> pd.DataFrame:
    rows = [(f"{label} number {i}", label) for i in range(per_class) for label in ("card", "fees")]
    return pd.DataFrame(rows, columns=["text", "label"]).assign(**columns)


def refusal(stage) -> str:
    with pytest.raises(InputError) as caught:
        dataset.take_in(stage)
    assert not list(stage.outputs.rglob("*.csv")), "a refused file was copied"
    return str(caught.value)


def test_the_stage_leaves_every_row_in_one_place(opened):
    """Sets and removed rows together are the file; who went where is written down."""
    table = pd.concat([messages(), messages(1)], ignore_index=True)
    stage = opened(table)
    rows = dataset.deduplicate(dataset.take_in(stage))
    rows = dataset.split(rows, dev=0.15, locked=0.25, seed=7)
    dataset.write(stage, rows, dataset.leaks(rows))
    parts = {n: pd.read_parquet(stage.outputs / f"{n}.parquet") for n in ("train", "dev", "locked")}
    removed = pd.read_parquet(stage.outputs / "removed.parquet")
    ids = [row for part in (*parts.values(), removed) for row in part["row_id"]]
    assert sorted(ids) == [f"r{i:07d}" for i in range(1, 27)]
    where = pd.read_parquet(stage.outputs / "splits.parquet").set_index("row_id")["split"]
    assert all((where[part["row_id"]] == name).all() for name, part in parts.items())
    assert json.loads((stage.outputs / "labels.json").read_text()) == ["card", "fees"]
    figures = json.loads((stage.outputs / "figures.json").read_text())
    assert figures["rows_removed"]["value"] == 2
    assert (stage.outputs / "raw/rows.csv").read_bytes() == stage.input("data").read_bytes()


def test_a_file_without_faults_leaves_empty_tables_not_none(opened):
    """No duplicate and no leak is a finding too: the gates read tables without rows."""
    stage = opened(messages())
    rows = dataset.split(dataset.deduplicate(dataset.take_in(stage)), dev=0.15, locked=0.25, seed=7)
    dataset.write(stage, rows, dataset.leaks(rows))
    for name in ("removed", "leaks"):
        assert pd.read_parquet(stage.outputs / f"{name}.parquet").empty
    assert dataset.removed(rows)["rows"].tolist() == [0]


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
    """The negative control of the notebook: one row more than before, in capitals."""
    for group in (None, "customer"):
        table = messages(customer=[f"c{i // 2}" for i in range(24)])
        rows = dataset.take_in(opened(table, group=group))
        rows = dataset.split(rows, dev=0.15, locked=0.25, seed=7)
        assert dataset.leaks(rows).empty
        assert len(dataset.planted_leak(rows)) == 1


def test_given_test_rows_stay_and_their_twins_leave_the_training(opened):
    """A published test set is not made smaller by the training rows that repeat it."""
    table = messages(part=["train", "train", "test", "test"] * 6)
    twins = table[table["part"] == "test"].head(3).assign(part="train")
    stage = opened(pd.concat([twins, table], ignore_index=True), split="part")
    rows = dataset.deduplicate(dataset.take_in(stage))
    rows = dataset.split(rows, dev=0.2, locked=0.25, seed=7)
    assert dataset.per_class(rows)["locked"].to_dict() == {"card": 6, "fees": 6}
    assert dataset.removed(rows)["rows"].to_dict() == {"stands in a set that judges it": 3}
    assert rows.removed["same_as"].str.startswith("r").all()


def test_a_group_that_given_sets_divide_is_reported(opened):
    """Given sets are followed, and their faults are not hidden."""
    customer = [f"c{i % 6}" for i in range(24)]
    table = messages(part=["train", "train", "test", "test"] * 6, customer=customer)
    rows = dataset.take_in(opened(table, split="part", group="customer"))
    rows = dataset.split(rows, dev=0.2, locked=0.25, seed=7)
    assert set(dataset.leaks(rows)["kind"]) == {"group (customer)"}


def test_a_reader_sees_columns_with_class_purpose_and_owner(opened):
    """One row a column, `row_id` left out: it is ours."""
    stage = opened(messages(), columns={"text": PERSONAL, "label": PUBLIC})
    shown = dataset.columns(stage, dataset.take_in(stage))
    assert shown["class"].to_dict() == {"text": "personal", "label": "public"}
    assert shown["distinct"].to_dict() == {"text": 24, "label": 2}


def test_rows_of_persons_are_shown_masked(opened):
    """The text and every other column of a personal class; the label of a public one is shown."""
    table = messages(reply="Dear Ada")
    stage = opened(table, columns={"text": PERSONAL, "reply": PERSONAL, "label": PUBLIC})
    shown = dataset.sample(stage, dataset.take_in(stage))
    assert "Ada" not in shown.to_string() and "number" not in shown.to_string()
    assert shown["label"].tolist() == table["label"].head(5).tolist()
    plain = opened(messages())
    assert "number" in dataset.sample(plain, dataset.take_in(plain)).to_string()

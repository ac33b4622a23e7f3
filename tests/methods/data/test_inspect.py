"""Every row of a file is looked at, nothing of a row comes out, and progress is seen."""

from __future__ import annotations

import json
import random
import shutil
import tracemalloc
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from workbench.errors import InputError
from workbench.methods.data import inspect
from workbench.policy.proposals import ColumnProfile, propose

NOTEBOOK = Path(__file__).resolve().parents[3] / "templates/stages/05_inspection.ipynb"


def quiet(share: float, rows: int) -> None:
    """Progress that nobody reads."""


def written(folder: Path, table: dict[str, list], name: str = "rows.csv") -> Path:
    path = folder / name
    frame = pd.DataFrame(table)
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


def one(values: list, name: str = "value") -> ColumnProfile:
    tally = inspect.Tally(name)
    tally.add(values)
    return tally.profile()


def test_the_last_row_counts_as_the_first(tmp_path):
    """A file is not judged by its beginning: one address after 6,000 harmless rows is found."""
    notes = [f"nothing to say about the order number {i}" for i in range(6_000)]
    path = written(tmp_path, {"note": [*notes, "write to ada.l@example.com, please, about it"]})
    (found,) = inspect.profile(path, on_progress=quiet)
    assert found.rows == 6_001 and found.findings["EMAIL_ADDRESS"] == 1
    assert propose(found).data_class == "personal"


def test_rows_are_counted_not_values(tmp_path):
    """A value that stands in a hundred rows counts a hundred times, two findings in a row once."""
    twice = "ada@example.com or bob@example.com"
    path = written(tmp_path, {"note": [twice] * 100 + ["nothing"] * 20, "other": ["x"] * 120})
    note, other = inspect.profile(path, on_progress=quiet)
    assert note.findings["EMAIL_ADDRESS"] == 100
    assert (note.distinct, other.distinct, other.constant) == (2, 1, True)


def test_the_formats_hold_the_same(tmp_path):
    """CSV and Parquet of the same rows have the same profile."""
    table = {"a": ["x y", "z", "x y"], "b": ["1", "2", "2"]}
    found = [inspect.profile(written(tmp_path, table, name), on_progress=quiet)
             for name in ("r.csv", "r.parquet")]  # fmt: skip
    assert found[0] == found[1]


def test_a_bad_row_at_the_end_stops_the_inspection(tmp_path):
    """As strict as the dataset stage: the row is named, none is skipped."""
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "1,2\n" * 6_000 + "alone\n")
    with pytest.raises(InputError) as caught:
        inspect.profile(path, on_progress=quiet)
    assert str(caught.value.where) == "rows.csv, line 6002"


KINDS = {
    "empty": ["", " ", None, float("nan")],
    "boolean": ["yes", "no", "Yes", ""],
    "integer": ["1", "-20", 3],
    "number": ["1.5", "2", "1,200.75", "1e-3", 2.5],
    "date": ["2024-01-31", "31.01.2024", "31/1/24", "2024-01-31T10:00:00Z"],
    "code": ["K-1", "A77b", "12345"],
    "text": ["K-1", "two words", "x"],
}


@pytest.mark.parametrize("kind, values", KINDS.items(), ids=KINDS)
def test_the_form_is_the_narrowest_that_every_value_has(kind, values):
    """One stray value widens it; what is missing does not."""
    found = one(values)
    assert found.kind == kind
    assert found.missing == sum(str(value).strip() in ("", "None", "nan") for value in values)


def test_distinct_values_are_counted_exactly_up_to_a_cap_and_then_estimated(monkeypatch):
    """Beyond the cap the number is said to be an estimate, and is close to the truth."""
    monkeypatch.setattr(inspect, "EXACT", 4096)
    exact, more = inspect.Tally("a"), inspect.Tally("b")
    for start in range(0, 24_000, 4_000):
        exact.add([str(i % 4000) for i in range(start, start + 4000)])
        more.add([str(i) for i in range(start, start + 4000)])
    assert (exact.profile().distinct, exact.profile().distinct_exact) == (4000, True)
    assert more.profile().distinct == pytest.approx(24_000, rel=0.06)
    assert not more.profile().distinct_exact


def test_chunks_make_no_difference():
    """Whatever is held at once, the counts are those of the whole."""
    values = [random.Random(4).choice(["a@b.org", "word", "", "12"]) for _ in range(500)]
    whole, parts = inspect.Tally("v"), inspect.Tally("v")
    whole.add(values)
    for value in values:
        parts.add([value])
    assert whole.profile() == parts.profile()


def test_no_value_comes_out(tmp_path):
    """Examples say what a value is and how long; no table and no file quotes one."""
    secrets = ["Zebulon Quux", "zebulon@quux.org", "Quux complains about the Zebulon again"]
    profiles = inspect.profile(written(tmp_path, {"v": secrets}), on_progress=quiet)
    made = [propose(each) for each in profiles]
    said = [inspect.columns(profiles), inspect.found(profiles), inspect.proposed(made)]
    said = " ".join(table.to_string() for table in said)
    said += json.dumps([each.model_dump(mode="json") for each in [*profiles, *made]])
    assert "quux" not in said.lower() and "zebulon" not in said.lower()
    assert "(16)" in profiles[0].examples[0] + profiles[0].examples[1] + profiles[0].examples[2]


def test_progress_is_ten_plain_lines_at_most(tmp_path, capsys):
    """Whoever waits sees how far it is, and the record of the notebook stays readable."""
    inspect.profile(written(tmp_path, {"a": range(30_000)}))
    lines = capsys.readouterr().out.splitlines()
    assert 3 <= len(lines) <= 10
    assert lines[-1] == "100% read, 30,000 rows"


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    """Five times the rows in hardly more memory, once the caps on what is kept are reached."""
    monkeypatch.setattr(inspect, "EXACT", 1000)
    monkeypatch.setattr(inspect, "KNOWN", 1000)
    peaks = []
    for rows in (5_000, 25_000):
        path = written(tmp_path, {"a": [f"{i}.{i % 97:02d}" for i in range(rows)]})
        tracemalloc.start()
        inspect.profile(path, on_progress=quiet)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_column_of_addresses_and_accounts_is_found(seed):
    """Whatever the seed draws; and a column of harmless words with that name is not."""
    found = inspect.planted(seed)
    assert (found.data_class, found.grounds, found.confidence) == ("personal", "findings", "high")
    assert propose(one(["open", "closed"] * 250, "note")).data_class == "internal_operational"


def test_the_notebook_runs_and_leaves_counts_only(tmp_path):
    """The stage as a data owner sees it: proposals are written, its negative control holds."""
    chance = random.Random(2)
    table = {"note": [f"mail zeb{i}@quux.org about it" for i in range(40)],
             "amount": [f"{chance.uniform(1, 9):.2f}" for _ in range(40)]}  # fmt: skip
    data = written(tmp_path, table)
    given = {"path": data.name, "digest": "0" * 64, "uri": "usecase:data"}
    facts = {"stage": "05_inspection", "outputs": "outputs", "inputs": {"data": given}}
    (tmp_path / "stage.json").write_text(json.dumps(facts))
    shutil.copy(NOTEBOOK, tmp_path / "n.ipynb")
    notebook = nbformat.read(tmp_path / "n.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    made = json.loads((tmp_path / "outputs/proposals.json").read_text())
    assert [each["data_class"] for each in made] == ["personal", "internal_operational"]
    columns = json.loads((tmp_path / "outputs/columns.json").read_text())
    assert columns[0]["findings"]["EMAIL_ADDRESS"] == 40 and columns[1]["kind"] == "number"
    assert "quux" not in nbformat.writes(notebook) + json.dumps([made, columns])

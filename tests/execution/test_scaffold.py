"""`workbench new` and `classify`: the user's own repository, or nothing."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from workbench.errors import InputError
from workbench.execution import scaffold
from workbench.execution.project import Project


def csv(path, text="message,intent\nhello,greet\nbye,part\n"):
    path.write_text(text)
    return path


def make(target, data, **more):
    return scaffold.new(target, "intent-routing", data=data, text="message", label="intent", **more)


@pytest.mark.parametrize("pack", scaffold.packs())
def test_every_pack_makes_a_use_case_with_a_first_commit(tmp_path, pack):
    """Readable, clean, and named after its folder."""
    made = scaffold.new(tmp_path / "Mein Fall é", pack)
    assert Project.load(made).usecase.id == "mein-fall"
    status = ["git", "-C", str(made), "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, text=True, check=True).stdout == ""
    assert Project.load(made).path(Project.load(made).usecase.data.path, "data").is_file()


def test_own_data_comes_unclassified(tmp_path):
    """Columns are named by the user, classes by nobody yet."""
    made = make(tmp_path / "mine", csv(tmp_path / "my.csv"))
    data = Project.load(made).usecase.data
    assert (data.path, data.text, data.label) == ("data/my.csv", "message", "intent")
    assert data.columns == {} and data.classified_by == ""


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("my.csv", "a,b\n1,2\n", "no such column"),
        ("my.csv", "", "no such column|is missing"),
        ("my.csv", 'a,"b\n', "no such column"),
        ("my.csv", "a,b\r\0c\n", "cannot be read|no such column"),
        ("my.csv", "a,\xff\n", "cannot be read"),
        ("my.jsonl", "[1]\n", "cannot be read"),
        ("my.jsonl", "3\n", "cannot be read"),
        ("my.jsonl", "{\n", "cannot be read"),
        ("my.parquet", "no parquet", "cannot be read"),
    ],
)
def test_unreadable_data_is_refused_and_nothing_is_left_behind(tmp_path, name, text, says):
    """InputError names the file; no folder of the use case exists."""
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=says):
        make(tmp_path / "mine", tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_missing_data_and_packs_are_named(tmp_path):
    """And a column has to be chosen."""
    with pytest.raises(InputError, match="no such data file"):
        make(tmp_path / "mine", tmp_path / "none.csv")
    with pytest.raises(InputError, match="no such starter pack") as refused:
        scaffold.new(tmp_path / "mine", "intent")
    assert "intent-routing" in str(refused.value)
    with pytest.raises(InputError, match="--text is missing"):
        scaffold.new(tmp_path / "mine", "intent-routing", data=csv(tmp_path / "my.csv"))


def test_a_folder_that_is_taken_is_left_alone(tmp_path):
    """Not empty, or a file."""
    csv(tmp_path / "file")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="not empty"):
            make(taken, tmp_path / "file")
    assert (tmp_path / "file").read_text().startswith("message")


def test_the_current_folder_can_become_a_use_case(tmp_path, monkeypatch):
    """`workbench new .` in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    from pathlib import Path

    assert Project.load(scaffold.new(Path("."), "intent-routing")).usecase.id == "here"


def test_headers_are_read_from_every_format(tmp_path):
    """CSV with a byte order mark, JSON lines, Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    (tmp_path / "a.csv").write_text("\ufeffx,y\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"x": 1, "y": 2}))
    parquet.write_table(pa.table({"x": [1], "y": [2]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert scaffold.header(tmp_path / name) == ["x", "y"]


def test_scenarios_of_the_pack_do_not_judge_another_s_labels(tmp_path):
    """With one's own data the pack's scenarios go, and the gates that ask for them; else they stay."""
    data = tmp_path / "own.csv"
    data.write_text("message,kind\na card,x\na fee,y\n")
    own = scaffold.new(tmp_path / "own", "intent-routing", data=data, text="message", label="kind")
    kept = scaffold.new(tmp_path / "kept", "intent-routing")
    gates = {p: yaml.safe_load((p / "policy.yaml").read_text())["criteria"] for p in (own, kept)}
    stages = {p: {gate["stage"] for gate in found} for p, found in gates.items()}
    assert not (own / "scenarios").exists() and (kept / "scenarios").exists()
    assert stages[kept] - stages[own] == {"42_scenarios"}
    ids = {gate["id"] for gate in gates[kept]} - {gate["id"] for gate in gates[own]}
    named = {p: (p / "envelope.yaml").read_text() for p in (own, kept)}
    assert ids and all(name in named[kept] or name == "hard_texts" for name in ids)
    assert not any(name in named[own] for name in ids)

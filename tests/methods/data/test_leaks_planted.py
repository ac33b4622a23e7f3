"""Faults drawn by seed: the check that should finds each, and without that check it passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data.leaks import find_leaks
from workbench.methods.data.leaks.contamination import benchmark_texts

WORDS = [
    f"{a}{b}{c}" for a in ("pla", "tor", "min", "keb") for b in "aeiou" for c in ("nd", "rk", "st")
]


@pytest.fixture(params=range(4))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.fixture
def rows(rng) -> pd.DataFrame:
    """300 messages without any fault: distinct, by distinct people, in order of time."""
    sets = ["train"] * 200 + ["dev"] * 40 + ["locked"] * 60
    return pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(300)],
            "text": [" ".join(rng.choice(WORDS, 10, replace=False)) for _ in range(300)],
            "set": sets,
            "who": [f"p{i}" for i in range(300)],
            "day": range(300),
        }
    )


@pytest.fixture
def benchmark(rows, rng, tmp_path) -> Path:
    """A file of 30 texts, none of them in the rows."""
    path = tmp_path / "exam.jsonl"
    texts = [" ".join(rng.choice(WORDS, 10, replace=False)) for _ in range(30)]
    path.write_text("".join(json.dumps({"q": {"text": t}, "n": 1}) + "\n" for t in texts))
    return path


def checks(benchmark: Path) -> dict[str, dict]:
    """Every check but that of meaning, by the arguments that ask for it."""
    return {
        "exact": {"equal": True}, "near": {"jaccard": 0.8}, "group": {"group": "who"},
        "temporal": {"time": "day"}, "benchmark": {"benchmarks": [benchmark]},
    }  # fmt: skip


def said_by(rows: pd.DataFrame, asked: dict[str, dict], *names: str) -> pd.DataFrame:
    options = {"equal": False} | {k: v for name in names for k, v in asked[name].items()}
    return find_leaks(rows, "text", **options)


def plant(rows: pd.DataFrame, fault: str, rng, benchmark: Path) -> tuple[str, str]:
    """Put `fault` in; the two row ids that must stand side by side."""
    left, right = rng.integers(200), rng.integers(240, 300)
    text = rows.loc[right, "text"]
    if fault == "exact":
        rows.loc[left, "text"] = f"  {text.upper()}"
    elif fault == "near":
        place = rng.integers(3, len(text) - 3)
        rows.loc[left, "text"] = f"{text[:place]}x{text[place:]}"
    elif fault == "group":
        rows.loc[left, "who"] = rows.loc[right, "who"]
    elif fault == "temporal":
        left, right = rng.integers(200), 200
        rows.loc[left, "day"] = 200 + rng.integers(40)
    else:
        line = rng.integers(30)
        told = benchmark_texts(benchmark)[line]
        rows.loc[left, "text"] = told[1].title() if rng.integers(2) else f"{told[1]}s"
        return f"r{left}", told[0]
    return f"r{left}", f"r{right}"


FAULTS = ("exact", "near", "group", "temporal", "benchmark")


def test_where_nothing_is_wrong_nothing_is_found(rows, benchmark):
    """The faults below are the only ones."""
    asked = checks(benchmark)
    assert said_by(rows, asked, *asked).empty


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_by_its_check_and_by_no_other(rows, rng, benchmark, fault):
    """All checks together name the two rows; all but one, and the fault passes unseen."""
    asked = checks(benchmark)
    left, right = plant(rows, fault, rng, benchmark)
    found = said_by(rows, asked, *asked)
    assert (left, right) in set(zip(found["left_id"], found["right_id"], strict=True))
    assert set(found["kind"].str.split().str[0]) == {fault}
    assert set(found["left_id"]) == {left}
    assert said_by(rows, asked, *(set(asked) - {fault})).empty


def test_findings_stand_side_by_side(rows, rng, benchmark):
    """Both texts as they are, both sets, and a score; kinds by name."""
    for fault in FAULTS:
        plant(rows, fault, rng, benchmark)
    asked = checks(benchmark)
    found = said_by(rows, asked, *asked)
    text = rows.set_index("row_id")["text"]
    ours = found[found["right_set"] != "benchmark"]
    assert (text[ours["left_id"]].to_numpy() == ours["left_text"]).all()
    assert (text[ours["right_id"]].to_numpy() == ours["right_text"]).all()
    assert found["score"].notna().all() and (found["left_set"] != found["right_set"]).all()


# -- benchmark files ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "txt"])
def test_a_benchmark_file_is_named_to_the_line(tmp_path, rows, kind):
    """In every kind of file, whatever the column; a quoted line break moves no number."""
    told = rows.loc[7, "text"].upper()
    path = tmp_path / f"exam.{kind}"
    texts = ["first\nquestion", "second", told]
    if kind == "csv":
        pd.DataFrame({"n": range(3), "answer": texts}).to_csv(path, index=False)
        line = 5
    elif kind == "parquet":
        pd.DataFrame({"answer": [[text] for text in texts]}).to_parquet(path)
        line = 3
    else:
        lines = [json.dumps({"a": [t]}) if kind == "jsonl" else t.replace("\n", " ") for t in texts]
        path.write_text("\n".join(lines))
        line = 3
    found = find_leaks(rows, "text", benchmarks=[path])
    assert found[["kind", "left_id", "right_id"]].to_numpy().tolist() == [
        ["benchmark exact", "r7", f"exam.{kind}:{line}"]
    ]


def test_only_training_rows_can_be_contaminated(tmp_path, rows):
    """A locked row may come from a public benchmark: it judges, nothing is learned from it."""
    path = tmp_path / "exam.txt"
    path.write_text("\n".join(rows.loc[rows["set"] == "locked", "text"]))
    assert find_leaks(rows, "text", benchmarks=[path]).empty


@pytest.mark.parametrize(
    "name, content",
    [("a.csv", b'x\n"open'), ("a.jsonl", b"{secret"), ("a.txt", b"\xff\xfe"), ("a.pdf", b"x"),
     ("a.parquet", b"no"), ("empty.txt", b"1\n2"), ("none.txt", None)],
)  # fmt: skip
def test_a_benchmark_that_cannot_be_read_is_refused_and_not_quoted(tmp_path, rows, name, content):
    """Else nobody would know that nothing was compared."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="cannot be read") as caught:
        find_leaks(rows, "text", benchmarks=[tmp_path / name])
    assert name in str(caught.value) and "secret" not in str(caught.value)

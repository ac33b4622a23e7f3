"""The operations stage on the real gateway: load and faults, with a tiny worker in the model's place."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from workbench.errors import RunError
from workbench.methods.operate import faults, load, operational
from workbench.methods.operate.trial import Trial, lay_out
from workbench.policy.operations import Operations
from workbench.record import decisions, manifest

TINY = [sys.executable, str(Path(__file__).parents[2] / "tiny_worker.py")]
SIGNAL = {"id": "errors", "watch": "error", "at_most": 0.1, "harm": "h", "why": "w"}
OPERATIONS = {
    "version": 1, "load": {"requests_per_s": 50, "seconds": 1}, "monitor": {"signals": [SIGNAL]},
    "serving": {"timeout_s": 1, "threads": 1, "max_chars": 200, "requests_per_minute": 100_000},
    "fallback": {"answer": {"label": "human"}},
}  # fmt: skip
FACTS = {"kind": "classifier", "text": "message", "label": "intent", "labels": ["cards", "fees"]}
KNOWS = {"card": "cards", "fee": "fees"}
DEV = pd.DataFrame({"message": [f"no {n} about my {word}" for n, word in enumerate([*KNOWS] * 3)]})
COUNTS = {"stage": "45_operations", "figure": "marked", "at_most": 0, "bound": "value",
          "blocking": True, "harm": "h", "why": "w"}  # fmt: skip
CRITERIA = {"version": 1, "criteria": [
    COUNTS | {"id": "no_wrong", "table": "requests.parquet", "arguments": {"column": "wrong"},
              "min_n": 60},
    COUNTS | {"id": "all_logged", "table": "requests.parquet", "min_n": 60,
              "arguments": {"column": "logged", "value": 0}},
    COUNTS | {"id": "held", "table": "faults.parquet", "min_n": 8,
              "arguments": {"column": "held", "value": 0}},
    COUNTS | {"id": "recovers", "table": "faults.parquet", "figure": "highest", "at_most": 20,
              "arguments": {"column": "recovery_s"}, "min_n": 8},
    COUNTS | {"id": "in_time", "table": "requests.parquet", "figure": "latency_quantile",
              "where": {"phase": "steady"}, "arguments": {"q": 0.99}, "at_most": 1000, "min_n": 50},
]}  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[Path, Path]:
    """An adapter that knows two words, and the base that it says it belongs to."""
    folder = tmp_path_factory.mktemp("parts")
    for name, file, said in (
        ("adapter", "weights.json", {"knows": KNOWS}),
        ("base", "base.json", {}),
    ):
        (folder / name).mkdir()
        (folder / name / file).write_text(json.dumps(said))
    return folder / "adapter", folder / "base"


@pytest.fixture
def stage(staged, parts):
    def prepare(**more):
        given = {"adapter": parts[0], "base": parts[1], "facts": FACTS, "dev": DEV,
                 "criteria": CRITERIA, "operations": OPERATIONS}  # fmt: skip
        return staged("45_operations", given | more)

    return prepare


def test_load_and_faults_end_in_tables_that_the_gates_pass(stage, monkeypatch):
    """Every request of every phase, and eight faults held, each with its time of recovery; the
    processes are gone afterwards, and no table holds a text."""
    found = stage()
    before = set(psutil.Process().children(recursive=True))
    requests = operational.measure(found, seconds=0, timeout_s=0.0, texts=6, worker=TINY)
    found.write_table("requests.parquet", requests)
    seen = operational.faults(found)
    print(seen.to_string())
    print(found.preview().to_string())
    assert set(found.preview()["verdict"]) == {"✓ passed"}

"""A run over scenario libraries: refused before it starts when they are broken, judged by them."""

from __future__ import annotations

import yaml

CHECK = {"use": "one_of", "arguments": {"field": "label", "values": ["fraud"]}}
SCENARIO = {"hazard": "scam", "condition": "plain", "origin": "incident", "checks": [CHECK],
            "variants": ["typos"]}  # fmt: skip
LIBRARY = {
    "library": "money", "version": 1, "author": "A desk", "reviewed_by": "",
    "hazards": {"scam": {"text": "t", "source": "s", "severity": "minor"}},
    "conditions": {"plain": "said so"},
    "scenarios": [SCENARIO | {"id": "S-1", "text": "my card"}, SCENARIO | {"id": "S-2", "text": "a fee"}],
}  # fmt: skip
ANSWERS = """
import pyarrow as pa, pyarrow.parquet as pq
names = {"S-1": "my card", "S-1~typos": "my crad", "S-2": "a fee", "S-2~typos": "a fe"}
rows = [{"case_id": name, "model": "candidate", "text": text, "label": "fraud", "severity": "blocking"}
        for name, text in names.items() if name != left_out]
pq.write_table(pa.Table.from_pylist(rows), "outputs/scenarios.parquet")
"""
GATE = {"id": "families", "stage": "42_scenarios", "table": "scenarios.parquet", "figure": "families_passed",
        "where": {"model": "candidate", "severity": "blocking"}, "at_least": 1, "bound": "value",
        "blocking": True, "harm": "h", "why": "w"}  # fmt: skip


def prepare(lab, library: dict = LIBRARY):
    """The tiny use case with a library, a gate over it and a stage that answers it."""
    folder = lab.usecase / "scenarios"
    folder.mkdir(exist_ok=True)
    (folder / "money.yaml").write_text(yaml.safe_dump(library))
    lab.configure(scenarios="scenarios")
    lab.owed = [GATE]
    lab.criteria()
    lab.stage("42_scenarios", cells=[ANSWERS], rows=[], continues=True, layer="scenarios",
              when=["scenarios"], parameters='left_out: str = ""  # a case without a row',
              inputs={"scenarios": "usecase:scenarios", "criteria": "10_intake/criteria.json"})  # fmt: skip


def test_the_engine_judges_a_run_by_the_sealed_libraries(lab):
    """A table that says nothing of its checks is judged by them; a case without a row is no pass."""
    prepare(lab)
    assert lab.cli("run", "--until", "42_scenarios").code == 0
    verdict = lab.record("42_scenarios").statement.predicate.workbench_verdicts[0]
    assert (verdict["verdict"], verdict["figure"]["n"]) == ("passed", 2)
    lab.cli("run", "--until", "42_scenarios", "-p", "42_scenarios.left_out=S-2~typos")
    verdict = lab.record("42_scenarios").statement.predicate.workbench_verdicts[0]
    assert verdict["verdict"] == "insufficient_evidence"
    assert verdict["figure"]["detail"]["absent"] == ["S-2~typos"]


def test_a_broken_library_is_refused_before_anything_runs(lab):
    """Exit 1 with file, scenario and field; no training is wasted on it."""
    broken = {**LIBRARY, "scenarios": [SCENARIO | {"id": "S-1", "text": "t", "hazard": "spam"}]}
    prepare(lab, broken)
    told = lab.cli("run", "--until", "42_scenarios")
    assert told.code == 1 and "money.yaml: S-1: hazard" in told.err
    assert not lab.runs.joinpath("research", "records").is_dir() or not lab.ledger("start")

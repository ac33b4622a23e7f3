"""The whole life cycle with real models, through the real command line, to a candidate or a refusal."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("WORKBENCH_REAL_DATA", ROOT.parent / "shared" / "data")) / "banking77"
INTENTS = (
    "card_arrival", "change_pin", "exchange_rate", "lost_or_stolen_card", "terminate_account",
    "verify_my_identity",
)  # fmt: skip

QUICK = ["-p", "30_adapt.epochs=3", "-p", "30_adapt.canaries=4", "-p", "46_memorisation.tried=100",
         "-p", "47_attribution.faithful=20", "-p", "45_operations.seconds=21"]  # fmt: skip
SMALL = {"30_adapt.rows": 16, "30_adapt.epochs": 1, "30_adapt.canaries": 2, "40_functional.limit": 8,
         "41_policy.limit": 2, "42_scenarios.limit": 1, "42_scenarios.variants": 0,
         "42_scenarios.reply_tokens": 8, "43_calibration.limit": 8, "43_calibration.reply_limit": 2,
         "44_reproducibility.limit": 2, "45_operations.seconds": 8, "45_operations.texts": 2,
         "45_operations.timeout_s": 12.0, "46_memorisation.limit": 8, "46_memorisation.tried": 100,
         "47_attribution.explained": 1, "47_attribution.faithful": 10, "48_suites.limit": 2}  # fmt: skip

pytestmark = pytest.mark.slow


class Bench:
    """A place of its own with stores, keys and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.env = os.environ | {
            "WORKBENCH_RUNS": str(self.runs),
            "WORKBENCH_KEYS": str(folder / "keys"),
        }

    def __call__(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workbench.cli", *map(str, words)]
        return subprocess.run(command, env=self.env, text=True, capture_output=True)

    def run(self, place: Path, *words: object) -> tuple[int, dict[str, dict], str]:
        """Exit code, verdicts by gate, and what was said."""
        done = self("run", "-u", place, "--json", *words)
        assert done.stdout, done.stderr
        stages = json.loads(done.stdout)
        verdicts = {one["criterion"]: one for stage in stages for one in stage["verdicts"]}
        return done.returncode, verdicts, done.stderr


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def banking77(target: Path, shuffled: bool = False) -> Path:
    """480 real messages of six intents with the published split; labels of rows mixed if asked."""
    if not DATA.is_dir():
        pytest.skip(f"real data is not at {DATA} (WORKBENCH_REAL_DATA)")
    rows = []
    for name, share in (("train", 60), ("test", 20)):
        with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
            found = list(csv.DictReader(lines))
        for intent in INTENTS:
            mine = [row["text"] for row in found if row["category"] == intent][:share]
            rows += [[text, intent, name] for text in mine]
    if shuffled:
        labels = [row[1] for row in rows]
        random.Random(0).shuffle(labels)
        rows = [[text, label, split] for (text, _, split), label in zip(rows, labels, strict=True)]
    with target.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([["message", "intent", "split"], *rows])
    return target


def use_case(bench: Bench, name: str, data: Path) -> Path:
    place = bench.folder / name
    columns = ["--text", "message", "--label", "intent", "--split", "split"]
    assert bench("new", place, "--data", data, *columns).returncode == 0
    classified = ["--by", "A Tester", "--rest", "licensed", "--licence", "CC-BY-4.0"]
    assert bench("classify", "-u", place, *classified).returncode == 0
    return place


@pytest.fixture(scope="module")
def routed(bench) -> tuple[Path, int, dict]:
    """The router on real messages, run once."""
    place = use_case(bench, "routing", banking77(bench.folder / "messages.csv"))
    code, verdicts, said = bench.run(place, *QUICK)
    assert code in (0, 3), said
    return place, code, verdicts


def test_a_router_on_real_messages_becomes_a_sealed_candidate(bench, routed):
    """From a user's CSV to a candidate: every blocking gate passed, in one look at the locked set."""
    place, code, verdicts = routed
    assert code == 0, {name: one["reason"] for name, one in verdicts.items()}
    assert {one["verdict"] for one in verdicts.values() if one["blocking"]} == {"passed"}
    candidate = next((bench.runs / "research" / "records" / "50_candidate").iterdir())
    manifest = json.loads((candidate / "outputs" / "bundle" / "manifest.json").read_text())
    assert {"adapter/adapter_model.safetensors", "MODEL_CARD.md"} <= {
        file["path"] for file in manifest["files"]
    }
    ledger = (bench.runs / "research" / "ledger" / "entries.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["kind"] for line in ledger]
    assert kinds.count("look") == 1
    assert kinds.index("criteria") < kinds.index("evaluation-lock") < kinds.index("candidate")


def test_both_verifiers_agree_that_it_is_sealed(bench, routed):
    """Ours, and the one that shares no code with us."""
    assert bench("verify", "-u", routed[0]).returncode == 0
    independent = [sys.executable, ROOT / "tools" / "verify_record.py", bench.runs / "research"]
    assert subprocess.run(independent, capture_output=True).returncode == 0


def test_running_again_reuses_every_stage(bench, routed):
    """Nothing changed, so nothing runs, and no further look is taken."""
    done = bench("run", "-u", routed[0], "--json", *QUICK)
    assert all(stage["reused"] for stage in json.loads(done.stdout))


@pytest.mark.prove
def test_shuffled_labels_end_in_a_refusal_that_names_the_gate(bench, routed):
    """The same data with its labels mixed looks like any other, and its model is refused."""
    place = use_case(bench, "mixed", banking77(bench.folder / "mixed.csv", shuffled=True))
    code, verdicts, said = bench.run(place, "-p", "30_adapt.epochs=1")
    assert code == 3 and "accuracy" in said
    assert verdicts["accuracy"]["verdict"] == "failed"
    assert verdicts["candidate"]["verdict"] == "failed"


@pytest.mark.prove
def test_the_generative_pack_runs_every_stage_and_too_few_cases_are_no_pass(bench):
    """SmolLM2 from GGUF through all stages; a handful of cases is insufficient evidence, exit 3."""
    place = bench.folder / "card-support"
    assert bench("new", place, "-t", "card-support").returncode == 0
    words = [word for name, value in SMALL.items() for word in ("-p", f"{name}={value}")]
    code, verdicts, said = bench.run(place, *words)
    assert code == 3, said
    assert verdicts["fraud_to_person"]["verdict"] == "insufficient_evidence"
    assert verdicts["candidate"]["verdict"] == "failed" and "fraud_to_person" in said
    stages = {path.name for path in (bench.runs / "research" / "records").iterdir()}
    assert {"42_scenarios", "44_reproducibility", "47_attribution", "48_suites"} <= stages
    record = next((bench.runs / "research" / "records" / "41_policy").iterdir())
    assert not (record / "outputs" / "bundle").exists()

"""A bundle answers on its own: with its own code, and exactly as the validated model did (L1)."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from workbench.execution import capture, freezing
from workbench.methods import predict
from workbench.methods.adapt.classifier import train_classifier
from workbench.methods.evaluate import functional
from workbench.policy.figures.calibration import scaled
from workbench.record.digest import canonical

LABELS = ["access", "card", "fees"]
QUICK = {"epochs": 1, "batch_size": 4, "rank": 2, "seed": 3, "target_modules": ["query"]}
RUN = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    import workbench
    print(workbench.__file__)
"""
FORM = {"fields": [{"name": "queue", "values": ["a", "b"]}, {"name": "rule", "values": ["c", "d"]}],
        "free": "reply", "system": "s"}  # fmt: skip


def laid_out(folder: Path, usecase: dict, **settings) -> Path:
    """The parts of a bundle that answering takes, as the engine freezes them."""
    (folder / "inference").mkdir(parents=True)
    (folder / "usecase.json").write_bytes(canonical(usecase))
    (folder / "inference/settings.json").write_bytes(canonical({"temperatures": {}} | settings))
    archive = freezing.archive(capture.package_digest())
    (folder / "inference/workbench.zip").write_bytes(archive)
    program = (freezing.PACKAGE / freezing.PROGRAM).read_bytes()
    (folder / "inference/predict.py").write_bytes(program)
    return folder


@pytest.fixture(scope="module")
def router(tiny_encoder, rows, tmp_path_factory) -> Path:
    """The bundle of a tiny classifier with a temperature of 2."""
    folder = tmp_path_factory.mktemp("router")
    laid_out(folder, {"kind": "classifier"}, threads=1, temperatures={"label": 2.0})
    train_classifier(tiny_encoder, rows, rows, LABELS, QUICK, folder / "adapter",
                     reference=folder / "reference")  # fmt: skip
    return folder


def test_a_bundle_answers_as_the_sealed_cases_do(router, tiny_encoder, rows, staged):
    """In a fresh, isolated process, with the bundle's code and none of an installed workbench: each
    label that the functional stage sealed, with its probability, whatever the batch; and the
    confidence at the chosen temperature."""
    locked = rows.rename(columns={"text": "message", "label": "intent"})
    locked = locked.assign(row_id=[f"r{n}" for n in range(len(rows))])
    stage = staged("40_functional", {
        "base": tiny_encoder, "adapter": router / "adapter", "reference": router / "reference",
        "locked": locked, "facts": {"kind": "classifier", "text": "message", "label": "intent"},
    })  # fmt: skip
    cases = functional.answer(stage, limit=0, batch_size=4, threads=1)
    cases = cases[cases["model"] == "candidate"]
    program = [router / "inference/predict.py", "--base", tiny_encoder, *locked["message"]]
    words = [sys.executable, "-I", "-W", "ignore", "-c", RUN, *program]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *lines, code = done.stdout.splitlines()
    assert code == str(router / "inference/workbench.zip/workbench/__init__.py")
    said = pd.DataFrame([json.loads(line) for line in lines])
    assert said["label"].tolist() == cases["predicted"].tolist() and said["label"].nunique() > 1
    close = {"rel": 1e-6}  # the last bit of a float32
    assert said["label_confidence"].tolist() == pytest.approx(
        cases["probability"].tolist(), **close
    )
    expected = [float(scaled(list(given), 2.0).max()) for given in cases["probabilities"]]
    assert said["label_calibrated"].tolist() == pytest.approx(expected, **close)


def test_another_base_is_refused(router, tiny_causal, capsys, monkeypatch):
    """By its digest, with the exit code of wrong input, and without an answer."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    program = runpy.run_path(str(router / "inference/predict.py"))
    assert program["main"](["--base", str(tiny_causal), "my card"]) == 1
    said = capsys.readouterr()
    assert not said.out and "another base model" in said.err


def test_a_generative_bundle_answers_with_its_form(tiny_causal, tmp_path):
    """Fields in the form's own names, each with its confidence, and the reply."""
    from workbench.methods.adapt.causal import train_causal

    rows = pd.DataFrame({"prompt": ["x", "y"], "completion": ["a", "b"]})
    options = QUICK | {"target_modules": ["q_proj"], "max_length": 16}
    train_causal(tiny_causal, rows, rows, options, tmp_path / "adapter")
    bundle = laid_out(tmp_path, {"kind": "generative", "form": FORM}, threads=1, reply_tokens=3,
                      temperatures={"reason": 5.0})  # fmt: skip
    [said] = predict.answers(bundle, tiny_causal, ["my card"])
    assert list(said) == ["queue", "queue_confidence", "rule", "rule_confidence",
                          "rule_calibrated", "reply"]  # fmt: skip
    assert said["queue"] in "ab" and said["rule"] in "cd"
    assert 0.5 <= said["rule_calibrated"] <= said["rule_confidence"] <= 1
    assert isinstance(said["reply"], str)

"""The calibration stage chooses on dev rows, judges on locked ones, and shows both."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from workbench.errors import InputError
from workbench.evidence import figures as drawn
from workbench.methods.adapt import adapters
from workbench.methods.adapt.base import base_facts, load_model
from workbench.methods.adapt.options import CausalOptions
from workbench.methods.evaluate import calibration as stage_43
from workbench.policy.figures import calibration, compute

LABELS = ["card", "fees", "access"]
OPTIONS = {"limit": 0, "batch_size": 8, "threads": 1}


def told(split: str, model: str, n: int, seed: int, temper: float = 0.5) -> pd.DataFrame:
    """Answers of a model that is twice too sure, in the long form of 40_functional."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet(np.full(3, 0.5), size=n)
    given = calibration.scaled(np.maximum(true, 1e-9), temper)
    return pd.DataFrame({
        "case_id": [f"{split}{i}" for i in range(n)], "model": model, "set": split, "task": "label",
        "expected": [LABELS[rng.choice(3, p=p)] for p in true],
        "predicted": [LABELS[i] for i in given.argmax(axis=1)],
        "labels": [LABELS] * n, "probabilities": given.tolist(), "subgroup": "all",
        "probability": given.max(axis=1),
    })  # fmt: skip


def both(split: str, n: int, seed: int, **how) -> pd.DataFrame:
    parts = [
        told(split, model, n, seed + k, **how) for k, model in enumerate(("base", "candidate"))
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def prepared(staged, monkeypatch):
    """The stage with these locked answers; its dev rows are answered as `both` says."""
    monkeypatch.setattr("scrapbook.glue", lambda *told: None)
    monkeypatch.setattr(calibration, "REPEATS", 50)

    def ask(stage, rows, models, *, split, **how):
        found = both(split, 120, 1)
        return found[found["model"].isin(models) & found["case_id"].isin(rows["row_id"])]

    monkeypatch.setattr(stage_43.functional, "ask", ask)

    def prepare(locked: pd.DataFrame, **facts):
        dev = pd.DataFrame(
            {"row_id": [f"dev{i}" for i in range(120)], "text": "t", "intent": "card"}
        )
        facts = {"kind": "classifier", "text": "text", "label": "intent"} | facts
        return staged("43_calibration", {"dev": dev, "probabilities": locked, "facts": facts})

    return prepare


@pytest.fixture
def stage(prepared):
    return prepared(both("locked", 100, 5))


@pytest.fixture
def cases(stage):
    return stage_43.collect(stage, **OPTIONS)


def test_one_row_a_case_with_both_probabilities(cases):
    """Dev rows asked here, locked rows as 40 left them, all with their scaled probabilities."""
    assert list(cases) == [*stage_43.COLUMNS, "scaled"]
    assert cases.groupby(["set", "model"]).size().to_dict() == {
        (split, model): n for split, n in (("dev", 120), ("locked", 100))
        for model in ("base", "candidate")
    }  # fmt: skip
    assert np.allclose(np.vstack(cases["scaled"]).sum(axis=1), 1)


def test_the_temperature_is_fitted_on_dev_rows_and_lowers_their_nll(stage, cases):
    """Written with the NLL before and after it."""
    stage_43.temperatures(stage, cases)
    for line in json.loads((stage.outputs / "temperature.json").read_text()):
        assert line["n"] == 120 and line["temperature"] > 1.2
        assert line["dev_nll_after"] < line["dev_nll_before"]


def test_other_locked_rows_leave_temperature_and_threshold_as_they_are(prepared):
    """To the byte of temperature.json; of threshold.json, all but what the locked rows then did."""
    written = []
    for hostile in (both("locked", 100, 5), both("locked", 80, 9, temper=5.0)):
        stage = prepared(hostile)
        cases = stage_43.collect(stage, **OPTIONS)
        stage_43.temperatures(stage, cases)
        stage_43.thresholds(stage, cases, 0.3)
        found = json.loads((stage.outputs / "threshold.json").read_text())["label"]
        chosen = {k: found[k] for k in ("threshold", "temperature", "target", "level")}
        written.append(((stage.outputs / "temperature.json").read_bytes(), chosen))
    assert written[0] == written[1]


def test_the_stage_shows_what_the_gates_compute(stage, cases):
    """The scaled column gives the figure that the engine finds from raw probabilities and dev rows."""
    stage_43.measured(stage, cases, "probabilities", "scaled")
    written = json.loads((stage.outputs / "figures.json").read_text())
    mine = cases[cases["model"] == "candidate"].drop(columns="scaled").to_dict("records")
    gate = compute("ece", mine, calibrated=True)
    assert written["label_candidate_ECE, equal mass_scaled"]["value"] == pytest.approx(gate.value)
    raw, scaled = (written[f"label_candidate_NLL (nats)_{c}"]["value"]
                   for c in ("probabilities", "scaled"))  # fmt: skip
    assert scaled < raw


def test_an_unmet_target_is_said(stage, cases):
    """One error in a thousand can't be shown by 120 dev rows."""
    shown = stage_43.thresholds(stage, cases, 0.001)
    assert shown.loc["label", "threshold"] == "no threshold meets it"
    assert json.loads((stage.outputs / "threshold.json").read_text())["label"]["threshold"] is None


def test_sharpened_probabilities_look_worse(stage, cases):
    """The negative control: NLL and ECE of third powers lie above those that were scaled."""
    shown = stage_43.sharpened(stage, cases)
    for figure in ("NLL (nats)", "ECE, equal mass"):
        line = shown.loc[("label", figure, "candidate")]
        assert float(line["sharpened"].split()[0]) > float(line["scaled"].split()[0])


def test_both_figures_have_both_models_on_the_same_axes(cases):
    """Every locked case stands in a bin; the last point of the curve is the error of all."""
    bars, curve = stage_43.reliability(cases, 5), stage_43.risk_coverage(cases)
    assert bars.groupby("model")["n"].sum().to_dict() == {"base": 100, "candidate": 100}
    locked = cases[(cases["set"] == "locked") & (cases["model"] == "candidate")]
    last = curve[curve["model"] == "candidate"].iloc[-1]
    assert (last["coverage"], last["risk"]) == (
        1.0, pytest.approx((locked["expected"] != locked["predicted"]).mean())
    )  # fmt: skip
    for drawing in (drawn.reliability(bars, "t"), drawn.risk_coverage(curve, "t", 0.05)):
        axes = drawing.axes[0]
        assert axes.get_xlim() == axes.get_ylim() == (-0.02, 1.02)
        texts = [text.get_text() for text in drawing.legends[0].get_texts()]
        assert texts == ["base (n=100)", "candidate (n=100)"]


def test_a_classifier_writes_no_reply(stage, cases):
    """And nothing is said about one."""
    shown = stage_43.replies(stage, cases, tokens=4, **OPTIONS)
    assert shown.index.tolist() == ["no free reply"]


def test_a_reply_has_the_mean_log_likelihood_of_its_tokens(staged, tiny_causal, tmp_path):
    """Of the reply and its end alone, as the model gives them after the fields that it chose: a
    model that tells nothing apart gives log 1/vocabulary."""
    digest = base_facts(tiny_causal)["weights"]
    options = CausalOptions(method="full", last_layers=0)
    model = adapters.adapted(load_model(tiny_causal, "causal"), options, digest)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    adapters.save_adapter(model, "full", digest, tmp_path / "adapter")
    form = {"system": "s", "free": "reply", "fields": [{"name": "queue", "values": ["a", "b"]}]}
    facts = {"kind": "generative", "text": "text", "label": "queue", "form": form}
    dev = pd.DataFrame({"row_id": ["dev0", "dev1"], "text": ["x", "y"], "queue": ["a", "b"]})
    given = {"base": tiny_causal, "adapter": tmp_path / "adapter", "facts": facts, "dev": dev}
    stage = staged("43_calibration", given)
    cases = pd.DataFrame({
        "case_id": ["dev0", "dev1"], "model": "candidate", "expected": ["a", "b"], "predicted": "a",
    })  # fmt: skip
    shown = stage_43.replies(stage, cases, limit=2, tokens=4, batch_size=2, threads=1)
    assert shown["count"].to_dict() == {"all right": 1, "one wrong": 1}
    found = pd.read_parquet(stage.outputs / "replies.parquet")
    assert found["log_likelihood"].to_numpy() == pytest.approx(-np.log(model.config.vocab_size))


def test_the_written_table_is_what_the_gates_read(stage, cases):
    """All rows, lists and all; without dev rows there is nothing to calibrate on."""
    stage_43.write(stage, cases)
    rows = pd.read_parquet(stage.outputs / "calibration.parquet").to_dict("records")
    mine = [row for row in rows if row["model"] == "candidate"]
    assert compute("abstention", mine, target=0.3).detail["temperature"] > 1.2
    with pytest.raises(InputError):
        compute("ece", [row for row in mine if row["set"] == "locked"], calibrated=True)

"""What the adaptation stage shows: what might change, what did, and at what cost."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import yaml

from workbench.methods.adapt import account, adaptation
from workbench.methods.adapt.base import load_tokenizer
from workbench.methods.adapt.options import CausalOptions, ClassifierOptions

ENVELOPE = Path(__file__).parents[2] / "templates/usecases/intent-routing/envelope.yaml"
FACTS = {"kind": "classifier", "text": "text", "label": "label"}


def test_without_an_envelope_values_and_meanings_are_shown(staged):
    """Each setting that the method reads, in words, none without a meaning."""
    table = account.allowed(staged("30_adapt", {}), ClassifierOptions(method="ia3"))
    assert list(table.columns) == ["value", "meaning"]
    assert "rank" not in table.index and table.loc["target_modules", "value"].startswith("query, ")
    assert table["meaning"].str.len().min() > 5 and not table["meaning"].str.contains("\n").any()


def test_with_an_envelope_each_value_is_inside_or_outside(staged):
    """A range, a list and a list of modules; what nobody bounded says so."""
    stage = staged("30_adapt", {"envelope": ENVELOPE})
    bound = yaml.safe_load(ENVELOPE.read_text())["modifications"]["hyperparameters"]["rank"]
    at, over = bound["at_most"], bound["at_most"] + 1
    for rank, said in ((at, "✓"), (over, "✗ outside")):
        table = account.allowed(stage, ClassifierOptions(rank=rank))
        assert table.loc["rank", "inside"] == said
        assert table.loc["rank", "allowed"] == f"{bound['at_least']:g} to {at:g}"
    assert table.loc["target_modules", "inside"] == table.loc["method", "inside"] == "✓"
    assert tuple(table.loc["weight_decay", ["allowed", "inside"]]) == ("not bounded", "·")
    odd = account.allowed(stage, ClassifierOptions(target_modules=("query", "word_embeddings")))
    assert odd.loc["target_modules", "inside"] == "✗ outside"


def test_what_was_learned_is_shown_rounded_and_flat():
    """A reader gets a share and figures, not a dictionary."""
    trained = {
        "trainable": {"trainable": 1200, "total": 100_000, "share": 0.012},
        "chosen": {"epoch": 2, "probe": {"C": 5.0, "validation_accuracy": 2 / 3}},
    }
    table = account.learned(trained)
    assert table.loc["parameters that learned", "value"] == "1,200 of 100,000"
    assert table.loc["share", "value"] == "1.20%"
    assert table.loc["chosen: probe.validation_accuracy", "value"] == "0.6667"


def test_the_domain_is_told_field_by_field(staged):
    """And where no engine told one, that is what it says."""
    table = account.domain(staged("a", {}, domain={"kind": "native", "cpu": {"model": "x"}}))
    assert table["value"].to_dict() == {"kind": "native", "cpu.model": "x"}
    assert "no engine" in account.domain(staged("b", {})).to_string()


def test_memory_is_a_number_and_its_unit():
    """Shown to the reader only."""
    number, unit = account.peak_memory().split()[:2]
    assert int(number.replace(",", "")) > 10 and unit == "MiB"


def test_cost_counts_the_rows_and_tokens_that_were_used(staged, minilm, rows):
    """Cut at max_length, times the passes that were made; 6·N·T by hand."""
    stage = staged("30_adapt", {"base": minilm, "train": rows, "facts": FACTS})
    options = ClassifierOptions(max_length=8, batch_size=2, accumulate=2)
    table = account.cost(stage, {"history": [1, 2, 3]}, options, 5)["value"]
    ids = load_tokenizer(minilm)(rows["text"].head(5).tolist())["input_ids"]
    tokens = sum(min(len(one), 8) for one in ids)
    size = json.loads((minilm / "base.json").read_text())["parameters"]
    assert table["training rows"] == "5" and table["tokens in a pass"] == f"{tokens:,}"
    assert table["optimiser steps"] == "6"  # 5 rows: 3 batches, 2 steps a pass, 3 passes
    assert table["floating-point operations"].startswith(f"about {6 * size * tokens * 3:.1e} ")
    assert "estimate" in table["floating-point operations"]
    everything = account.cost(stage, {"history": [1]}, options)["value"]
    assert everything["training rows"] == str(len(rows))


@pytest.mark.slow
def test_cost_of_a_generative_model_counts_prompt_and_completion(staged, smollm):
    """What the model reads is the chat, not the bare message."""
    form = {"fields": [{"name": "queue", "values": ["card"]}], "free": "reply", "system": "Route."}
    facts = {"kind": "generative", "text": "text", "label": "queue", "form": form}
    table = pd.DataFrame({"text": ["lost my card"], "queue": ["card"], "reply": ["We block it."]})
    stage = staged("30_adapt", {"base": smollm, "train": table, "facts": facts})
    shown = account.cost(stage, {"history": [1]}, CausalOptions())["value"]
    bare = len(load_tokenizer(smollm)("lost my card We block it.")["input_ids"])
    assert int(shown["tokens in a pass"]) > 2 * bare


@pytest.mark.slow
def test_what_changed_is_measured_module_by_module_and_the_same_again(staged, minilm, rows):
    """By hand from the table behind the figure; a second training leaves the same bytes."""
    held = []
    for name in ("one", "two"):
        given = {"base": minilm, "train": rows, "dev": rows, "facts": FACTS,
                 "labels": sorted(rows["label"].unique())}  # fmt: skip
        stage = staged(name, given)
        options = adaptation.options(stage, epochs=1, batch_size=4, last_layers=2)
        trained = adaptation.train(stage, options)
        table = account.changed(stage, trained)
        cells = pd.read_csv(stage.outputs / "change.csv")
        held.append([(stage.outputs / f"change.{kind}").read_bytes() for kind in ("csv", "png")])
    assert held[0] == held[1]
    assert set(cells["layer"].dropna()) == {4, 5} and "head" in table.index
    query = cells[cells["part"] == "attention.self.query"]
    ratio = math.sqrt((query["norm_change"] ** 2).sum() / (query["norm_base"] ** 2).sum())
    assert (
        table.loc["attention.self.query", "ratio"] == pytest.approx(ratio, abs=1e-4) and ratio > 0
    )
    assert cells["parameters"].sum() == trained["trainable"]["trainable"]

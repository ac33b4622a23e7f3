"""Meaning in two sets: the threshold comes from the rows, and a planted paraphrase is caught."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.adapt.encoder import Encoder
from workbench.methods.data.leaks import calibrate, find_leaks, semantic
from workbench.methods.data.leaks.semantic import BLOCK, PARAPHRASES
from workbench.methods.data.read import read_rows
from workbench.methods.data.split import split

MESSAGES = Path(__file__).parents[3] / "templates/usecases/intent-routing/data/messages.jsonl"


@pytest.fixture(scope="module")
def embed(minilm):
    encoder, known = Encoder(minilm, 64), {}

    def vectors(texts):
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encoder.encode(encoder.tokens(new)).numpy(), strict=True))
        return np.stack([known[text] for text in texts])

    return vectors


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    table = read_rows(MESSAGES).sample(200, random_state=1).reset_index(drop=True)
    return table.assign(set=split(table, "intent"))


@pytest.fixture(scope="module")
def calibration(embed, rows):
    return calibrate(embed, rows["text"], rows["intent"], sample=80)


def test_the_threshold_is_that_of_the_stated_share_of_rows(calibration):
    """One row in ten has another as close; rows drawn at random far fewer."""
    found = calibration.table["found"]
    assert found["same label, closest"] == pytest.approx(0.1, abs=0.02)
    assert found["same label, at random"] < 0.02
    assert found["paraphrase: word order"] > 0.9 and found["paraphrase: filler"] > 0.9
    assert set(calibration.table.columns) == {"n", "5 %", "50 %", "95 %", "found"}


def test_fewer_false_alarms_ask_for_a_higher_threshold(embed, rows, calibration):
    """And the same seed gives the same threshold."""
    again, stricter = (
        calibrate(embed, rows["text"], rows["intent"], sample=80, false_alarms=share)
        for share in (0.1, 0.02)
    )
    assert again.threshold == calibration.threshold < stricter.threshold
    assert again.table.equals(calibration.table)


@pytest.mark.parametrize("seed", range(6))
def test_a_paraphrased_evaluation_row_in_training_is_caught(embed, rows, calibration, seed):
    """Drawn by seed and by no check of letters; with this check off it passes unseen."""
    chance = random.Random(seed)
    locked = rows[rows["set"] == "locked"].to_dict("records")
    kinds = ["word order", "filler"]
    spy = chance.choice([row for row in locked if len(row["text"].split()) > 5])
    text = PARAPHRASES[kinds[seed % 2]](PARAPHRASES["words"](spy["text"], chance), chance)
    text = f"{text} Could you look into it?"
    planted = pd.DataFrame([{**spy, "row_id": "spy", "set": "train", "text": text}])
    table = pd.concat([rows, planted], ignore_index=True)
    found = find_leaks(table, "text", jaccard=0.8, embed=embed, cosine=calibration.threshold)
    mine = found[found["left_id"] == "spy"]
    assert (spy["row_id"], "semantic (cosine)") in set(
        zip(mine["right_id"], mine["kind"], strict=True)
    )
    assert "spy" not in set(find_leaks(table, "text", jaccard=0.8)["left_id"])


def toy(texts) -> np.ndarray:
    """Vectors in a plane; the text is the angle in degrees."""
    angle = np.radians([float(text) for text in texts])
    return np.c_[np.cos(angle), np.sin(angle)]


def test_each_row_is_shown_with_its_closest_only_and_above_the_threshold():
    """Also across the blocks in which the rows are compared: as by brute force."""
    rng = np.random.default_rng(0)
    n = BLOCK + 300
    rows = pd.DataFrame({"row_id": [f"r{i}" for i in range(n + 40)]})
    rows["text"] = [f"{angle:.6f}" for angle in rng.uniform(0, 360, n + 40)]
    rows["set"] = ["train"] * n + ["locked"] * 40
    found = semantic(rows, "text", toy, 0.9999)
    vectors = toy(rows["text"])
    cosines = vectors[:n] @ vectors[n:].T
    best = {(i, j) for i, j in enumerate(cosines.argmax(1)) if cosines[i, j] >= 0.9999}
    best |= {(i, j) for j, i in enumerate(cosines.argmax(0)) if cosines[i, j] >= 0.9999}
    assert set(zip(found["left_id"], found["right_id"], strict=True)) == {
        (f"r{i}", f"r{n + j}") for i, j in best
    }


def test_without_two_texts_of_a_label_nothing_can_be_calibrated():
    """A threshold out of nothing would look like one."""
    with pytest.raises(InputError, match="nothing to calibrate on"):
        calibrate(toy, ["1", "2"], ["a", "b"])

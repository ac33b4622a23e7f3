"""The kernel's side of a stage: inputs by name, and one way by which results leave."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.stage import gate_table, mask, open_stage, readable
from workbench.policy.figures import Figure
from workbench.record.digest import file_digest

ROWS = pd.DataFrame({"row_id": ["r1"], "text": ["I am Ada"], "label": ["card"]})
GATE = {
    "id": "right",
    "stage": "40_functional",
    "table": "cases.parquet",
    "figure": "accuracy",
    "at_least": 0.5,
    "bound": "value",
    "blocking": True,
    "harm": "harm",
    "why": "why",
}


def test_a_folder_that_nobody_prepared_says_what_to_do(tmp_path):
    """A notebook opened where it lies has no inputs; the way to get them is named."""
    with pytest.raises(InputError, match="workbench open STAGE"):
        open_stage(tmp_path)


def test_an_input_that_is_not_there_is_answered_with_those_that_are(staged):
    """The names, not a KeyError."""
    stage = staged("30_adapt", {"train": ROWS})
    with pytest.raises(InputError, match="no input `locked`") as caught:
        stage.input("locked")
    assert "train" in str(caught.value)
    assert not stage.has("locked") and stage.read_table("train").equals(ROWS)


def test_inputs_are_listed_with_origin_and_digest(staged):
    """What came in, for a reader."""
    stage = staged("30_adapt", {"train": ROWS})
    shown = stage.inputs().loc["train"]
    assert shown["from"] == "file:train"
    assert file_digest(stage.input("train")).startswith(shown["sha256"].rstrip("…"))
    assert staged("10_intake").inputs().empty


def test_equal_documents_have_equal_bytes(staged):
    """Canonical JSON: the order in which a stage fills a dict changes no digest."""
    stage = staged("10_intake")
    one, two = (
        stage.write_json("a.json", {"b": 1, "a": 2}),
        stage.write_json("b.json", {"a": 2, "b": 1}),
    )
    assert one.read_bytes() == two.read_bytes()


def test_a_figure_leaves_as_a_file_that_holds_all_of_them(staged):
    """figures.json is the truth; what is glued into the notebook is for readers."""
    stage = staged("40_functional")
    stage.figure("n", 3)
    stage.figure("share", Figure("accuracy", 0.5, 0.2, 0.8, 10))
    written = json.loads((stage.outputs / "figures.json").read_text())
    assert written["n"] == {"value": 3} and written["share"]["low"] == 0.2


def test_a_plot_leaves_with_the_numbers_behind_it(staged):
    """A picture without its table can't be checked."""
    import matplotlib

    matplotlib.use("Agg")
    from workbench.evidence import figures

    stage, table = staged("30_adapt"), pd.DataFrame(
        {"epoch": [1, 2], "loss": [2.0, 1.0], "validation_loss": [2.0, 1.5]}
    )  # fmt: skip
    stage.plot("loss", figures.loss_curve(table), table)
    assert pd.read_csv(stage.outputs / "loss.csv").equals(table)
    assert (stage.outputs / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_the_preview_is_a_claim_from_the_written_table(staged):
    """The notebook's verdicts come from the same rows and code as the engine's; no table, no pass."""
    policy = {"version": 1, "criteria": [GATE]}
    stage = staged("40_functional", {"criteria": policy})
    assert stage.preview()["verdict"].tolist() == ["? not_evaluated"]
    cases = pd.DataFrame({"case_id": ["a", "b"], "expected": ["x", "y"], "predicted": ["x", "x"]})
    stage.write_table("cases.parquet", cases)
    assert stage.preview()["verdict"].tolist() == ["✓ passed"]
    assert json.loads((stage.outputs / "claims.json").read_text())[0]["verdict"] == "passed"


def test_outputs_are_listed_with_their_digests(staged):
    """Files in folders too, sorted."""
    stage = staged("30_adapt")
    assert stage.recorded().empty
    stage.write_json("b.json", 1)
    stage.output("a/c.txt").write_text("x")
    assert stage.recorded().index.tolist() == ["a/c.txt", "b.json"]


def test_of_rows_that_can_be_forgotten_no_digest_is_shown(staged):
    """A digest of a short text can be guessed; a file that is encrypted when sealed shows none."""
    stage = staged("20_dataset", masked=True, rows=["raw/*", "*.parquet"])
    stage.write_table("train.parquet", ROWS)
    stage.output("raw/a.csv").write_text("Ada")
    stage.write_json("labels.json", ["card"])
    shown = stage.recorded()["sha256"]
    assert shown["train.parquet"] == shown["raw/a.csv"] == "encrypted when sealed"
    assert file_digest(stage.outputs / "labels.json").startswith(shown["labels.json"][:16])


@pytest.mark.parametrize(
    "text", ["Ada", "Ada Lovelace", "4111111111111111", "ada@example.org wrote"]
)
def test_a_mask_shows_nothing_of_the_text(text):
    """Also where the text is a single word: that word is the name."""
    assert not set(text.split()) & set(mask(text).split())


def test_a_verdict_is_word_and_symbol_with_its_figure():
    """Never colour alone; interval and n beside the value; nothing measured is said so."""
    gate = {
        "criterion": "right", "verdict": "failed", "threshold": "at least 0.9", "harm": "h",
        "figure": {"value": 0.5, "low": 0.25, "high": 0.75, "n": 12},
    }  # fmt: skip
    shown = gate_table([gate]).loc["right"]
    assert shown["verdict"] == "✗ failed" and shown["figure"] == "0.500 [0.250, 0.750], n=12"
    assert readable(None) == readable({"value": None, "n": 0}) == "not measured"
    assert readable({"value": 2}) == "2.000"
    assert gate_table([]).empty

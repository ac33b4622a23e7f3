"""Recompute: what a record shows is computed again from its data; one changed digit is named.

Real kernels. Every forged record is sealed anew by the store's own key, so that its hashes and its
signature verify: only what it shows gives it away.
"""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from workbench.execution import claims
from workbench.execution.recompute import SCRAP

from ..conftest import Lab, surroundings

STEP = """
import io
import pandas as pd
from IPython.display import SVG
from workbench.evidence import figures
from workbench.methods.stage import sealed, volatile

@sealed("cases.parquet", figures=["asked"])
def ask(stage):
    print("step 1 of 1")
    stage.figure("asked", 24)
    knows = stage.read_json("weights")["knows"]
    rows = stage.read_table("locked")
    lines = [{"case_id": row["row_id"], "model": model, "expected": row["intent"],
              "predicted": knows.get(row["message"].split()[-1], "") if model == "candidate" else "cards"}
             for model in ("base", "candidate") for row in rows.to_dict("records")]
    return pd.DataFrame(lines)

def drawn(cases):
    right = (cases["expected"] == cases["predicted"]).groupby(cases["model"]).mean()
    table = pd.DataFrame({"train": right * 100, "dev": right * 50, "locked": right * 25}).astype(int)
    return figures.counts(table, "Right answers"), table.reset_index()

def vector(drawing):
    into = io.BytesIO()
    drawing.savefig(into, format="svg")
    return SVG(into.getvalue().decode())

@volatile
def clock():
    import time
    return time.time_ns()
"""
OPEN = (
    "import asking\nfrom workbench.methods import open_stage\nstage = open_stage()\nstage.inputs()"
)
CELLS = [
    OPEN,
    "cases = asking.ask(stage)\ncases.groupby('model').size().to_frame('n')",
    "right = (cases['expected'] == cases['predicted']).mean()\nprint(f'{right:.4f} are right')",
    "drawing, table = asking.drawn(cases)\nstage.plot('right', drawing, table)",
    "asking.vector(drawing)",
    "print('at', asking.clock())",
    "stage.write_table('cases.parquet', cases)\n"
    "stage.write_table('base_cases.parquet', cases[cases['model'] == 'base'])\nstage.recorded()",
    "stage.preview()",
]
INPUTS = {"weights": "30_adapt/adapter/weights.json", "locked": "20_dataset/locked.parquet!",
          "facts": "10_intake/data.json", "criteria": "10_intake/criteria.json",
          "adapter": "30_adapt/adapter"}  # fmt: skip
STAGE = "40_functional"
Forge = Callable[[object, Path], None]
"""Changes a notebook and the outputs beside it."""


@pytest.fixture(scope="module")
def shown(finished, tmp_path_factory):
    """A tiny use case whose examination shows a table, texts, drawings and verdicts."""
    home = tmp_path_factory.mktemp("shown")
    shutil.copytree(finished, home, dirs_exist_ok=True)
    with surroundings(home):
        lab = Lab(home)
        (lab.usecase / "steps").mkdir()
        (lab.usecase / "steps" / "asking.py").write_text(STEP)
        lab.stage(STAGE, cells=CELLS, inputs=INPUTS, reuses={})
        told = lab.cli("run", "--until", STAGE)
        assert told.code == 0, told.err
        lab.original = lab.record(STAGE)
        yield lab


def recomputed(lab, record):
    return lab.cli("verify", record.id, "--recompute", "--json")


def findings(told) -> list[str]:
    return [f"{one['kind']}: {one['where']}, {one['output']}: {one['sealed']} → {one['recomputed']}"
            for one in told.json["findings"] if one["kind"] != "not recomputed"]  # fmt: skip


def forged(lab, forge: Forge, **changed):
    """The original, changed and sealed anew by the engine's own key."""
    store, record = lab.store(), lab.original
    begun = store.begin(record.stage, "forger")
    shutil.copytree(record.path / "outputs", begun.record / "outputs")
    for path in begun.record.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    nb = nbformat.read(record.path / "notebook.ipynb", as_version=4)
    forge(nb, begun.record / "outputs")
    nbformat.write(nb, begun.record / "notebook.ipynb")
    sealed = store.publish(begun, record.statement)
    assert lab.cli("verify", sealed.id).code == 0
    return sealed


def output(nb, kind: str):
    """(cell, data) of the last output that has this kind."""
    return [(i, o["data"]) for i, cell in enumerate(nb.cells) for o in cell.get("outputs", [])
            if kind in o.get("data", {})][-1]  # fmt: skip


@pytest.fixture(scope="module")
def sound(shown):
    told = recomputed(shown, shown.original)
    assert told.code == 0, told.err
    return told


def test_a_sound_record_follows_from_its_data(sound):
    """Tables, texts, drawings, files and verdicts; nobody is asked again."""
    assert findings(sound) == [] and sound.json["versions"] == []
    assert sound.json["compared"] > 25


def test_what_cannot_be_compared_is_listed(sound):
    """The progress of what asks a model, and what differs with each run: neither is passed over."""
    left = [(one["kind"], one["output"], one["sealed"]) for one in sound.json["findings"]]
    assert left == [("not recomputed", "stdout", "ask"), ("not recomputed", "stdout", "clock")]


def test_a_cell_names_what_it_stands_on(shown):
    """Functions by the source, inputs and outputs with the record's own digests; keyed for rows of
    persons."""
    nb = nbformat.read(shown.original.path / "notebook.ipynb", as_version=4)
    said = [cell.metadata.get("workbench", {}).get("claims", {}) for cell in nb.cells]
    told = {
        i.annotations["input"]: next(iter(i.digest.values()))
        for i in shown.original.statement.inputs
    }
    asked = next(one for one in said if "asking.ask" in one.get("functions", []))
    assert asked["inputs"]["locked"] == told["locked"] and asked["sealed"] == ["ask"]
    written = next(
        one["outputs"]["cases.parquet"] for one in said if "cases.parquet" in one.get("outputs", {})
    )
    assert written == shown.original.encrypted("outputs/cases.parquet.enc")["plaintext"]


def in_text(nb, outputs):
    cell = next(c for c in nb.cells if "are right" in c.source)
    cell.outputs[0]["text"] = re.sub(
        r"\d\b(?= are)", lambda m: str((int(m[0]) + 1) % 10), cell.outputs[0]["text"]
    )


def in_a_table(nb, outputs):
    cell = next(c for c in nb.cells if "groupby" in c.source)
    data = next(o["data"] for o in cell.outputs if "text/html" in o.get("data", {}))
    data["text/html"] = data["text/html"].replace("<td>8</td>", "<td>9</td>", 1)


def in_an_svg(nb, outputs):
    data = output(nb, "image/svg+xml")[1]
    changed = re.sub(
        r'(<path d="M )(\d)',
        lambda m: m[1] + str((int(m[2]) + 1) % 10),
        data["image/svg+xml"],
        count=1,
    )
    assert changed != data["image/svg+xml"]
    data["image/svg+xml"] = changed


def in_a_png(nb, outputs):
    """One digit drawn over in the notebook's picture."""
    from PIL import Image, ImageDraw

    data = output(nb, "image/png")[1]
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    ImageDraw.Draw(picture).text((picture.width // 2, picture.height // 2), "9", fill="black")
    into = io.BytesIO()
    picture.save(into, format="PNG")
    data["image/png"] = base64.b64encode(into.getvalue()).decode()


def in_verdicts(nb, outputs):
    path = outputs / "verdicts.json"
    path.write_text(path.read_text().replace('"n":8', '"n":9', 1))


def in_a_glued_figure(nb, outputs):
    cell = next(c for c in nb.cells if "asking.ask" in c.source)
    data = next(o["data"] for o in cell.outputs if SCRAP in o.get("data", {}))
    data[SCRAP]["data"] = {"value": 25}


def in_a_drawing_beside(nb, outputs):
    path = outputs / "right.csv"
    path.write_text(path.read_text().replace("1", "2", 1))


def in_a_claim(nb, outputs):
    claims = next(c.metadata["workbench"]["claims"] for c in nb.cells
                  if "outputs" in c.metadata.get("workbench", {}).get("claims", {}))  # fmt: skip
    claims["outputs"] = {name: "0" * 64 for name in claims["outputs"]}


def in_the_source(nb, outputs):
    """Source and output alike."""
    cell = next(c for c in nb.cells if c.source == "print('at', asking.clock())")
    cell.source = "print('0.9876 of all')"
    cell.outputs = [nbformat.v4.new_output("stream", text="0.9876 of all\n")]
    cell.metadata["workbench"]["claims"] = {"functions": ["print"]}


FORGED = {
    "text": (in_text, r"cell 3 .*, stdout: 0\.\d{4} → 0\.\d{4}"),
    "table": (in_a_table, r"cell 2 .*, output \d, text/html: 9"),
    "svg": (in_an_svg, r"cell 5 .*, output 1, image/svg\+xml"),
    "png": (in_a_png, r"cell 4 .*, output 1, image/png: other pixels → in x \d+–\d+, y \d+–\d+"),
    "verdicts": (in_verdicts, r"verdicts\.json, accuracy\.figure\.n: 9 is not 8"),
    "figures": (in_a_glued_figure, r"cell 2 .*scrap.*: .*25.* → .*24"),
    "file": (in_a_drawing_beside, r"outputs, right\.csv"),
    "source": (in_the_source, r"notebook, its cells: "),
    "typed": (lambda nb, outputs: None, r"unbound: cell 6 "),
    "claim": (in_a_claim, r"cell \d+ .*, claims: outputs: "),
}  # fmt: skip


@pytest.fixture(scope="module")
def named(shown):
    """What is named of a record in which one digit was changed in each of these places."""

    def forge(nb, outputs):
        for changes, _ in FORGED.values():
            changes(nb, outputs)

    told = recomputed(shown, forged(shown, forge))
    assert told.code == 6
    return findings(told)


@pytest.mark.parametrize("kind", FORGED)
def test_one_changed_digit_is_named(named, kind):
    """With the cell, the output, what it shows and what its data give."""
    expected = FORGED[kind][1]
    assert [one for one in named if re.search(expected, one)], named


def test_nothing_else_is_named(named):
    """Every finding is one of the forged places."""
    places = [expected for _, expected in FORGED.values()]
    assert [one for one in named if not any(re.search(place, one) for place in places)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("print('0.99 of all')", True),
        ("x = 0.99\nx", True),
        (
            "from workbench.methods import open_stage\nstage = open_stage()\nprint(len(stage.name))",
            False,
        ),
        ("from workbench import errors\nprint(f'accuracy 0.99', errors)", True),
        ("import numpy as np\nnp.float64(1)", True),
        ("import asking\nfor line in asking.lines():\n    print(line)", False),
        ("print('no figure')", False),
    ],
)
def test_figures_stand_on_something(source, found):
    """What a cell shows comes, step by step, from the workbench or the use case's own steps."""
    shows = nbformat.v4.new_output("stream", text="none" if "no figure" in source else "0.99")
    cell = nbformat.v4.new_code_cell(source, outputs=[shows])
    assert list(claims.unbound([cell], {"workbench", "asking"})) == ([0] if found else [])


def test_a_kernels_word_is_only_a_name(tmp_path):
    """Of what the kernel says it touched, lines that don't read say nothing, and no link is followed."""
    (tmp_path / "elsewhere").write_text(json.dumps({"cell": 1, "kind": "inputs", "name": "a"}))
    (tmp_path / claims.TOUCHED).symlink_to(tmp_path / "elsewhere")
    assert claims.touched(tmp_path) == {}
    (tmp_path / claims.TOUCHED).unlink()
    (tmp_path / claims.TOUCHED).write_text("no json\n")
    assert claims.touched(tmp_path) == {}


def test_erased_rows_cannot_be_recomputed(done):
    """It says so, and doesn't pass."""
    record = done.record(STAGE)
    snapshot = next(iter(record.statement.predicate.workbench_encrypted.values()))["snapshot"]
    done.store().cipher.destroy(snapshot, "asked for")
    told = done.cli("verify", record.id, "--recompute")
    assert told.code == 1 and "erased: can't be recomputed" in told.err


def test_it_takes_a_record(done):
    """The whole store is verified by its hashes; what is recomputed is named."""
    assert done.cli("verify", "--recompute").code == 1


@pytest.mark.parametrize("stage", ["05_inspection", "20_dataset", "30_adapt", "50_candidate"])
def test_other_stages_follow_from_their_data(done, stage):
    """What computes without a model is computed whole; the engine's bundle and verdicts too."""
    told = recomputed(done, done.record(stage))
    assert told.code == 0, told.err
    assert findings(told) == []

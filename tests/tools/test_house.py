"""The form of stage notebooks, and that each way to break it is seen."""

from __future__ import annotations

import copy
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools/house.py"
spec = importlib.util.spec_from_file_location("house", TOOL)
house = importlib.util.module_from_spec(spec)
sys.modules["house"] = house
spec.loader.exec_module(house)

TEMPLATES = sorted(house.STAGES.glob("*.ipynb"))
SOUND = json.loads((house.STAGES / "20_dataset.ipynb").read_text(encoding="utf-8"))
CALL = 3  # the first working cell of SOUND


def broken(change) -> list[str]:
    """The faults of a copy of a sound notebook after one change, in words."""
    notebook = copy.deepcopy(SOUND)
    change(notebook)
    return [fault.what for fault in house.check(notebook)]


def coded(text: str):
    """A change: the first working cell holds `text`."""

    def change(notebook) -> None:
        notebook["cells"][CALL]["source"] = text

    return change


def about(**facts):
    """A change of the declaration; None removes a field."""

    def change(notebook) -> None:
        held = notebook["metadata"]["workbench"] | facts
        kept = {name: value for name, value in held.items() if value is not None}
        notebook["metadata"]["workbench"] = kept

    return change


def replaced(old: str, new: str):
    """A change of words in the prose."""

    def change(notebook) -> None:
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = house.source(cell).replace(old, new)

    return change


def set_cell(number: int, **fields):
    return lambda notebook: notebook["cells"][number].update(fields)


def mixed(notebook) -> None:
    notebook["cells"].insert(1, notebook["cells"].pop(CALL))


def without_prose(notebook) -> None:
    for number, cell in house.cells(notebook, "markdown"):
        if number:
            cell["source"] = "\n".join(
                line for line in house.source(cell).splitlines() if line.startswith("## ")
            )
    notebook["cells"][CALL]["source"] = "\n".join(["word_of_code = other_word"] * 10) + "\n" * 3
    notebook["cells"][CALL + 2]["source"] = "\n".join(["call(one, two, three, four)"] * 10)


BROKEN = {
    "no parameters": (set_cell(1, metadata={}), "0 cells tagged"),
    "parameters twice": (set_cell(5, metadata={"tags": ["parameters"]}), "2 cells tagged"),
    "parameters late": (mixed, "not the first code cell"),
    "a function": (coded("def f():\n    return 1"), "defines `f`"),
    "an async function": (coded("async def f():\n    return 1"), "defines `f`"),
    "a class": (coded("class C:\n    x = 1"), "defines `C`"),
    "a class in an if": (coded("if True:\n    class C: x = 1"), "defines `C`"),
    "a lambda with a name": (coded("f = lambda x: x"), "lambda assigned"),
    "a lambda by walrus": (coded("(f := lambda x: x)"), "lambda assigned"),
    "a shell escape": (coded("!ls"), "shell escape"),
    "a shell escape assigned": (coded("files = !ls"), "shell escape"),
    "a line magic": (coded("%matplotlib inline"), "shell escape"),
    "a cell magic": (coded("%%bash\nls"), "shell escape"),
    "a help escape": (coded("stage?"), "shell escape"),
    "a magic by call": (coded("get_ipython().run_line_magic('time', '')"), "get_ipython"),
    "a shell by call": (coded("import os\nos.system('ls')"), "`system`"),
    "a process": (coded("from subprocess import run"), "imports a shell"),
    "hidden code": (coded("exec('x = 1')"), "`exec`"),
    "no Python": (coded("stage ="), "no Python"),
    "a long cell": (coded("x = 1\n" * 11), "11 lines of code"),
    "an empty cell": (coded("\n"), "an empty cell"),
    "no prose": (without_prose, "words of prose for"),
    "no title": (replaced("# 20 · Dataset", "Dataset"), "no title"),
    "another number": (replaced("# 20 · ", "# 21 · "), "no title"),
    "no question": (replaced("**Question.**", "Question."), "`**Question.**`"),
    "for nobody": (replaced("**For** ", "For "), "`**For**`"),
    "no inputs shown": (replaced("## What came in", "## Inputs"), "`## What came in`"),
    "no negative control": (replaced("## Negative control", "## A check"), "`## Negative control`"),
    "nothing recorded": (replaced("## What was recorded", "## End"), "`## What was recorded`"),
    "no limits": (replaced("## Limits", "## Limitless"), "`## Limits`"),
    "headings astray": (
        lambda nb: (replaced("## Limits", "## X")(nb), replaced("## Snapshot and classes", "## Limits")(nb)),
        "another order",
    ),
    "an output": (set_cell(CALL, outputs=[{"output_type": "stream"}]), "outputs or"),
    "an execution count": (set_cell(CALL, execution_count=1), "outputs or"),
    "no id": (set_cell(CALL, id=None), "no cell id"),
    "an id twice": (set_cell(CALL, id="c00"), "twice"),
    "an old format": (lambda nb: nb.update(nbformat_minor=4), "below 4.5"),
    "no declaration": (lambda nb: nb["metadata"].pop("workbench"), "workbench.stage is missing"),
    "no question declared": (about(question=""), "workbench.question is missing"),
    "no limit of time": (about(run_s=None), "workbench.run_s is missing"),
    "an unknown field": (about(input={}), "workbench.input is not known"),
    "a field of another type": (about(rows="*.parquet"), "workbench.rows is no list"),
    "reuse by nothing": (about(reuses={"a": ["nothing"]}), "reused by no input: nothing"),
}  # fmt: skip


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_each_template_has_the_form(path):
    """What a reviewer learns from one notebook holds in all."""
    assert house.check(json.loads(path.read_text(encoding="utf-8"))) == []


def test_the_templates_fit_together():
    """Every input comes from a stage or from outside; the median cell has three lines at most."""
    assert len(TEMPLATES) >= 7
    assert house.check_all(house.STAGES) == []


@pytest.mark.parametrize("change, what", BROKEN.values(), ids=BROKEN)
def test_a_broken_form_is_seen(change, what):
    """One change to a sound notebook, and the fault is named."""
    assert any(what in found for found in broken(change)), broken(change)


def test_the_fault_names_its_cell():
    """A reader finds it without searching."""
    notebook = copy.deepcopy(SOUND)
    notebook["cells"][CALL]["source"] = "!ls"
    assert house.check(notebook) == [house.Fault(CALL, "shell escape or magic")]


def test_what_looks_like_an_escape_in_text_is_none():
    """A percent sign, a question mark or an exclamation in Python is Python."""
    assert broken(coded('x = 7 % 3\nprint("""\n!ls\n%time\nwhy?\n""")')) == []


def test_parameters_may_be_many_and_comments_are_no_code():
    """Ten lines is a limit for what is done, not for what may be asked."""
    assert broken(set_cell(1, source="a: int = 1  # a word\n" * 30)) == []
    assert house.code_words("x = 1  # many words about it\n") == 1


@pytest.fixture
def folder(tmp_path):
    for path in TEMPLATES:
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def change(name: str, how) -> list[str]:
        path = tmp_path / name
        notebook = json.loads(path.read_text(encoding="utf-8"))
        how(notebook)
        path.write_text(json.dumps(notebook), encoding="utf-8")
        return [f"{where}: {fault.what}" for where, fault in house.check_all(tmp_path)]

    return tmp_path, change


@pytest.mark.parametrize(
    "source",
    ["21_nothing/a.json", "usecase:nothing", "base:other", "15_base", "30_adapt/", "train.parquet"],
)
def test_an_input_from_nowhere_is_seen(folder, source):
    """A stage that nobody has, a field that no use case has, the stage itself."""
    _, change = folder
    inputs = {"base": source, **dict.fromkeys(("train", "dev"), "20_dataset/a.parquet!")}
    assert change("30_adapt.ipynb", about(inputs=inputs)) == [
        f"30_adapt.ipynb: input `base` comes from nowhere: {source}"
    ]


def test_a_file_is_named_as_its_stage(folder):
    """The order of files is the order of reading."""
    _, change = folder
    found = change("10_intake.ipynb", about(stage="10_other"))
    assert "10_intake.ipynb: the file is not named as its stage, 10_other" in found


def test_long_cells_throughout_are_seen(folder):
    """Each within its limit, and together too much."""
    _, change = folder

    def stretch(notebook) -> None:
        for _, cell in house.working(notebook):
            cell["source"] = "a = 1\n" * 4

    for path in TEMPLATES:
        found = change(path.name, stretch)
    assert any("the median cell has 4 lines" in fault for fault in found)


def test_a_file_that_is_no_notebook_is_a_fault(folder):
    """It is not passed over."""
    root, _ = folder
    (root / "99_odd.ipynb").write_text("{")
    (root / "98_list.ipynb").write_text("[]")
    found = [where for where, fault in house.check_all(root) if "no notebook" in fault.what]
    assert found == ["98_list.ipynb", "99_odd.ipynb"]


def test_the_command_prints_each_fault_and_exits_1(folder):
    """And 0 on the templates; an empty folder is a fault too."""
    root, change = folder
    change("20_dataset.ipynb", coded("!ls"))

    def run(*given) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, TOOL, *given], capture_output=True, text=True)

    done = run(root)
    assert done.returncode == 1
    assert f"20_dataset.ipynb, cell {CALL}: shell escape or magic" in done.stdout
    assert run().returncode == 0
    (root / "empty").mkdir()
    assert run(root / "empty").returncode == 1

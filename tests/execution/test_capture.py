"""What is kept of a run: lasting notebooks, and the surroundings, read fast and without secrets."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench.errors import InputError, RunError
from workbench.execution import capture

from .conftest import corpus


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(
        ["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "usecase.yaml").write_text("id: x")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


# ---- the surroundings ------------------------------------------------------------------------


def test_the_environment_names_what_a_result_depends_on():
    """Python, every library with its version, the processor and what it can do."""
    environment = capture.environment()
    assert environment["python"] == platform.python_version()
    assert environment["libraries"]["papermill"] == metadata.version("papermill")
    assert environment["cpu"]["usable"] >= 1 and environment["cpu"]["architecture"]
    assert environment["hash_seed"] == "0"
    json.dumps(environment)  # it goes into a statement as it is


def test_every_installed_library_is_named_with_its_version():
    """The fast way through folder names agrees with the metadata of each distribution."""
    slow = {
        d.metadata["Name"].lower().replace("_", "-"): d.version for d in metadata.distributions()
    }
    assert (
        capture.libraries().items()
        >= {name: version for name, version in slow.items() if "." not in name}.items()
    )


def test_capture_is_fast_and_imports_nothing_heavy():
    """At most 0.3 s in a fresh process, and no library of a model or of Jupyter is loaded."""
    code = (
        "import sys, time; from workbench.execution import capture; begun = time.process_time();"
        "capture.environment(); capture.package_digest(); print(time.process_time() - begun);"
        "print([m for m in ('torch', 'pandas', 'papermill', 'nbformat', 'zmq') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    seconds, loaded = done.stdout.splitlines()
    assert float(seconds) <= 0.3 and loaded == "[]"


def test_a_copy_is_given_so_that_nobody_changes_what_others_record():
    """The cache holds one answer for the process."""
    capture.environment()["python"] = "2.7"
    assert capture.environment()["python"] == platform.python_version()


def test_the_engine_module_is_light_too():
    """The command line imports it; a kernel's libraries are loaded when a kernel starts."""
    code = (
        "import sys; import workbench.execution.engine;"
        "print([m for m in ('papermill', 'nbclient', 'nbformat', 'zmq', 'IPython') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_digest_of_this_package_changes_with_any_of_its_files(monkeypatch, tmp_path):
    """A changed line, an added file or a renamed one is another workbench; a cache is not."""
    monkeypatch.setattr(capture, "PACKAGE", tmp_path)
    seen = set()

    def changed() -> bool:
        capture.package_digest.cache_clear()
        before = len(seen)
        seen.add(capture.package_digest())
        return len(seen) > before

    try:
        (tmp_path / "a.py").write_text("x = 1")
        assert changed()
        (tmp_path / "a.py").write_text("x = 2")
        assert changed()
        (tmp_path / "b.js").write_text("")
        assert changed()
        (tmp_path / "a.py").rename(tmp_path / "c.py")
        assert changed()
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__" / "c.pyc").write_text("")
        assert not changed()
    finally:
        capture.package_digest.cache_clear()


def test_a_lock_file_is_named_with_its_digest(monkeypatch, tmp_path):
    """None where there is none: the libraries are listed anyway."""
    monkeypatch.setattr(capture, "PACKAGE", tmp_path / "package")
    assert capture.lock_digest() is None
    (tmp_path / "requirements.lock").write_bytes(b"")
    assert capture.lock_digest()["sha256"].startswith("e3b0c44298fc1c14")


def test_the_lock_of_this_checkout_is_found():
    """The file that `make setup` installs from, so that a record names what was installed."""
    assert capture.lock_digest()["name"] == "requirements/lock.txt"


def test_a_clean_repository_is_its_commit(repository):
    """The full object name, and nothing that is not committed."""
    facts = capture.repository(repository)
    assert len(facts["commit"]) == 40
    assert (facts["dirty"], facts["remote"]) == (False, None)


def test_changed_and_untracked_files_make_a_tree_dirty(repository):
    """A commit does not describe what is not in it."""
    (repository / "new").write_text("x")
    assert capture.repository(repository)["dirty"]
    (repository / "new").unlink()
    (repository / "usecase.yaml").write_text("id: y")
    assert capture.repository(repository)["dirty"]


def test_a_remote_is_recorded_without_its_credentials(repository):
    """CI jobs put tokens into remotes; a record is for ever."""
    git(repository, "remote", "add", "origin", "https://user:" + "t0ken@git.example.org/a.git")
    assert capture.repository(repository)["remote"] == "https://git.example.org/a.git"


def test_no_repository_and_no_commit_are_told_apart(tmp_path):
    """Nothing at all, or a repository that has not begun."""
    assert capture.repository(tmp_path) == {}
    git(tmp_path, "init", "-q")
    assert capture.repository(tmp_path) == {"commit": None, "dirty": False, "remote": None}


def test_looking_at_a_repository_runs_no_program_of_its_own(repository):
    """A use case from elsewhere may carry a configuration that starts one."""
    trap = repository / ".git" / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {repository.parent}/sprung\n")
    trap.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(trap))
    capture.repository(repository)
    assert not (repository.parent / "sprung").exists()


# ---- the notebook ----------------------------------------------------------------------------


def executed():
    cells = [
        new_markdown_cell("## Train the adapter\n\nprose", id="m"),
        new_code_cell(
            "1", id="a", outputs=[new_output("stream", text="/home/x/run/out and /home/xy")]
        ),
        new_code_cell("2", id="b"),
    ]
    for cell in cells:
        cell.metadata["papermill"] = {
            "status": "completed",
            "start_time": "2024-01-01",
            "duration": 1,
        }
    nb = new_notebook(cells=cells)
    nb.metadata["papermill"] = {"input_path": "/home/x/in.ipynb", "start_time": "2024-01-01"}
    return nb


FACTS = {"parameters": {"rate": 0.1}, "outcome": "died"}
LABELS = [("/home/x/run", "$SCRATCH"), ("/home/x", "~")]


def test_the_lasting_form_has_true_statuses_and_no_clock():
    """Whatever Papermill wrote there is replaced; the original is left alone."""
    original = executed()
    nb = capture.lasting(original, {1: "failed", 2: "not run"}, FACTS, LABELS)
    assert [cell.metadata.get("workbench") for cell in nb.cells] == [
        None, {"status": "failed"}, {"status": "not run"},
    ]  # fmt: skip
    assert nb.metadata.papermill == {"parameters": {"rate": 0.1}, "exception": True}
    assert nb.metadata["workbench"]["outcome"] == "died"
    assert "2024-01-01" not in json.dumps(nb) and "2024-01-01" in json.dumps(original)


def test_paths_are_replaced_by_the_most_telling_name_and_only_whole():
    """`/home/xy` is not `/home/x`, and the longest path wins; pictures are not touched."""
    nb = capture.lasting(executed(), {1: "completed", 2: "completed"}, FACTS, LABELS)
    assert nb.cells[1].outputs[0].text == "$SCRATCH/out and /home/xy"
    nested = {"image/png": "/home/x", "application/json": [{"path": "/home/x/a"}]}
    assert capture.labelled(nested, LABELS) == {
        "image/png": "/home/x", "application/json": [{"path": "~/a"}],
    }  # fmt: skip


def test_old_notebooks_get_ids_that_last(tmp_path):
    """Before format 4.5 cells had no ids; random ones would make every run look different."""
    old = {"cells": [{"cell_type": "code", "metadata": {}, "source": "1", "outputs": [],
                      "execution_count": None}],
           "metadata": {}, "nbformat": 4, "nbformat_minor": 4}  # fmt: skip
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(old))
    assert capture.read_notebook(path).cells[0].id == "cell-0"


def test_what_is_no_notebook_for_this_engine_is_refused(tmp_path):
    """Broken JSON, another language, a cell to be skipped."""
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{")
    for path in (broken, tmp_path / "none.ipynb", corpus("not_python"), corpus("cell_skipped")):
        with pytest.raises(InputError):
            capture.read_notebook(path)


def test_the_nearest_heading_titles_a_cell():
    """Progress shows what a reader would see above the cell."""
    assert capture.title_above(executed().cells, 2) == "Train the adapter"
    assert capture.title_above([new_code_cell("1")], 0) == ""


def test_a_notebook_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """The earlier file stays when the new one cannot be completed."""
    path = tmp_path / "record" / "notebook.ipynb"
    with capture.destination(path) as write:
        write(new_notebook())
        before = path.read_bytes()
        monkeypatch.setattr(
            capture.os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(RunError, match="could not be saved"):
            write(executed())
    assert path.read_bytes() == before


def test_a_folder_swapped_for_a_link_leads_nowhere_else(tmp_path):
    """The folder is held open; when its name leads elsewhere now, the run breaks."""
    folder, elsewhere = tmp_path / "record", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with capture.destination(folder / "notebook.ipynb") as write:
        folder.rename(tmp_path / "moved")
        folder.symlink_to(elsewhere)
        with pytest.raises(RunError, match="could not be saved"):
            write(new_notebook())
    assert list(elsewhere.iterdir()) == []


def test_something_put_in_the_place_of_the_notebook_breaks_the_run(tmp_path):
    """A folder of that name cannot be replaced by a file; it is not removed unseen either."""
    with capture.destination(tmp_path / "notebook.ipynb") as write:
        (tmp_path / "notebook.ipynb").mkdir()
        with pytest.raises(RunError):
            write(new_notebook())

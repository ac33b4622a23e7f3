"""Runs notebooks of the corpus for real: in a fresh scratch folder, with a real kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from workbench.execution.engine import Execution, Limits, execute
from workbench.execution.isolation import Sandbox, available

CORPUS = Path(__file__).resolve().parents[1] / "notebooks"
QUICK = Limits(run_s=30, cell_s=20)
needs_namespace = pytest.mark.skipif(
    available()[0] == "none", reason=f"no namespaces here: {available()[1]}"
)
LEVELS = ["none", pytest.param("namespace", marks=needs_namespace)]


def corpus(name: str) -> Path:
    return CORPUS / f"{name}.ipynb"


@dataclass
class Ran:
    execution: Execution
    path: Path

    @property
    def notebook(self) -> Any:
        return nbformat.read(self.path, as_version=4)

    def statuses(self) -> list[str]:
        """The status that the saved notebook gives each code cell."""
        return [c.metadata.workbench.status for c in self.notebook.cells if c.cell_type == "code"]

    def text(self) -> str:
        """Everything that the saved notebook shows as stream or plain text."""
        return shown(self.notebook)


def shown(nb: Any) -> str:
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    return "\n".join(texts + [line for o in outputs for line in o.get("traceback", [])])


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ran]:
    """run(name, parameters=None, level="none", **execute's own) -> what the engine made of it."""

    def start(name: str, parameters: dict | None = None, level: str = "none", **more: Any) -> Ran:
        output = tmp_path / "record" / "notebook.ipynb"
        more.setdefault("sandbox", Sandbox(level, tmp_path / "scratch"))
        more.setdefault("limits", QUICK)
        return Ran(execute(corpus(name), more.pop("output", output), parameters, **more), output)

    return start


@dataclass
class Plain:
    """What plain Papermill made of a notebook: what it raised, and what it saved."""

    raised: Exception | None
    notebook: Any

    def statuses(self) -> list[str]:
        cells = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        return [cell.metadata.papermill.status for cell in cells]


@pytest.fixture
def plain(tmp_path: Path) -> Callable[..., Plain]:
    """plain(name, parameters=None, **papermill's own) -> what Papermill alone makes of it."""

    def start(name: str, parameters: dict | None = None, **more: Any) -> Plain:
        output, raised = tmp_path / "plain.ipynb", None
        output = more.pop("output", output)
        try:
            papermill.execute_notebook(
                corpus(name), output, parameters, progress_bar=False, cwd=tmp_path, **more
            )
        except Exception as error:
            raised = error
        return Plain(raised, nbformat.read(output, as_version=4))

    return start

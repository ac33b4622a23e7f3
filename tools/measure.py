"""`make measure ONLY=<topic>`: reproduce the figures of docs/measures.md, as Markdown on stdout.

Topics: engine (cost over plain Papermill), verify (both verifiers on a store), demo (time and memory
from a fresh store), and each file in `measures/`.
Machines are noisy: compare ratios within one run, and quote n.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import nbformat
from timing import spread, timed

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"


def engine(folder: Path) -> list[str]:
    """The same trivial notebook by Papermill and as a whole sealed stage, alternating."""
    import papermill

    from workbench.execution.pipeline import Pipeline
    from workbench.execution.project import Project
    from workbench.execution.scaffold import new

    plain, ours = [], []
    place = new(folder / "usecase", "intent-routing")
    trivial(place / "stages" / "00_trivial.ipynb")
    trivial(folder / "trivial.ipynb")
    project = Project.load(place)
    store = project.store("research")
    for _ in range(9):
        plain.append(timed(lambda: papermill.execute_notebook(
            folder / "trivial.ipynb", folder / "out.ipynb", progress_bar=False)))  # fmt: skip
        pipeline = Pipeline(project, store, fresh=True)
        ours.append(timed(lambda p=pipeline: p.run(until="00_trivial")))
    difference = [a - b for a, b in zip(ours[1:], plain[1:], strict=True)]
    return [
        "| what | seconds a stage |",
        "|---|---|",
        f"| plain `papermill.execute_notebook` | {spread(plain[1:])} |",
        f"| sealed stage: isolated kernel, capture, verdicts, signature, ledger | {spread(ours[1:])} |",
        f"| difference, pair by pair | {spread(difference)} |",
    ]


def trivial(path: Path) -> None:
    """A stage that prints one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nb = nbformat.v4.new_notebook()
    nb.cells = [nbformat.v4.new_code_cell("print('one line')")]
    nb.metadata["workbench"] = {"stage": "00_trivial", "question": "none", "inputs": {}}
    nb.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(nb, path)


def verify(folder: Path) -> list[str]:
    """Both verifiers on the demo's store, each in a fresh process."""
    store = next((p for p in (ROOT / "runs" / "governed", ROOT / "runs" / "research")
                  if (p / "store.json").exists()), None)  # fmt: skip
    if store is None:
        return ["No store: run `make demo` first."]
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    env = os.environ | {"WORKBENCH_RUNS": str(store.parent)}
    commands = {
        "`workbench verify`": [BIN / "workbench", "verify", "--track", store.name],
        "`tools/verify_record.py`": [BIN / "python", ROOT / "tools" / "verify_record.py", store],
    }
    lines = [f"Store: {size / 1e6:,.0f} MB.", "", "| verifier | whole process |", "|---|---|"]
    for name, command in commands.items():
        took = [timed(lambda c=command: subprocess.run(
            c, check=True, capture_output=True, env=env)) for _ in range(5)]  # fmt: skip
        lines.append(f"| {name} | {spread(took)} |")
    return lines


def demo(folder: Path) -> list[str]:
    """`make demo` after the install, on a fresh store."""
    env = os.environ | {"WORKBENCH_RUNS": str(folder / "runs")}
    done = subprocess.run([BIN / "python", ROOT / "tools" / "demo.py"], env=env, text=True,
                          stdout=subprocess.PIPE)  # fmt: skip
    return ["```", *done.stdout.splitlines(), "```", "", f"Exit code {done.returncode}."]


def topics() -> dict[str, Callable[[Path], list[str]]]:
    """Name -> function; a file of `measures/` is a topic, its `measure` the function."""
    found = {"engine": engine, "verify": verify, "demo": demo}
    sys.path.insert(0, str(ROOT / "tools"))
    for path in sorted((ROOT / "tools" / "measures").glob("[a-z]*.py")):
        found[path.stem] = import_module(f"measures.{path.stem}").measure
    return found


TOPICS = topics()


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("topics", nargs="*", choices=[*TOPICS, []], help="all when none is named")
    for topic in options.parse_args().topics or TOPICS:
        with tempfile.TemporaryDirectory(prefix="measure-") as folder:
            os.environ["WORKBENCH_KEYS"] = f"{folder}/keys" if topic != "verify" else os.environ.get(
                "WORKBENCH_KEYS", "")  # fmt: skip
            print(f"## {topic}, {time.strftime('%Y-%m-%d')}\n", flush=True)
            print("\n".join(TOPICS[topic](Path(folder))), "\n", flush=True)
            subprocess.run(["chmod", "-R", "u+w", folder], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

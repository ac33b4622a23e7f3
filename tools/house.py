"""The form of stage notebooks: what a reviewer may rely on before reading the first of them.

Each rule is a function (notebook) -> faults; a fault names the cell (None: the whole notebook) and
what is wrong. `python tools/house.py [FOLDER]` prints each and exits 1 when there is one.

Words are runs of letters. Those of code count without its comments, and without the parameters,
whose lines are half prose.
"""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

STAGES = Path(__file__).resolve().parents[1] / "templates/stages"
HEADINGS = ("What came in", "Negative control", "What was recorded", "Limits")
KNOWN = {
    "stage": str, "question": str, "inputs": dict, "rows": list, "commits": dict, "reuses": dict,
    "anew": bool, "continues": bool, "decides": bool, "inspects": bool, "adapts": bool, "checkpoints": bool, "probes": bool,
    "governs": str, "bom": str, "kinds": list, "when": list, "layer": str, "volatile": list,
    "causes": bool, "releases": bool, "run_s": int, "cell_s": int,
}  # fmt: skip
NEEDED = ("stage", "question", "inputs", "run_s", "cell_s")
OUTSIDE = {"usecase:usecase", "usecase:policy", "usecase:data", "usecase:cases",
           "usecase:reference", "usecase:envelope", "usecase:operations", "usecase:scenarios", "usecase:suites", "base:source", "base:encoder",
           "ledger:release", "ledger:rehearsal", "ledger:deployment", "ledger:monitor"}  # fmt: skip
LONGEST, MEDIAN = 10, 3

Notebook = dict[str, Any]


class Fault(NamedTuple):
    """What is wrong with a cell, by its number, or with the whole notebook."""

    cell: int | None
    what: str


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def cells(notebook: Notebook, kind: str) -> list[tuple[int, dict[str, Any]]]:
    return [(n, c) for n, c in enumerate(notebook["cells"]) if c["cell_type"] == kind]


def tagged(cell: dict[str, Any]) -> bool:
    return "parameters" in cell["metadata"].get("tags", [])


def working(notebook: Notebook) -> list[tuple[int, dict[str, Any]]]:
    """The code cells that do something: all but the parameters."""
    return [(n, cell) for n, cell in cells(notebook, "code") if not tagged(cell)]


def lines(cell: dict[str, Any]) -> int:
    return sum(bool(line.strip()) for line in source(cell).splitlines())


def parameters(notebook: Notebook) -> Iterator[Fault]:
    """Exactly one cell is tagged `parameters`, and it is the first with code."""
    found = [n for n, cell in enumerate(notebook["cells"]) if tagged(cell)]
    if len(found) != 1:
        yield Fault(None, f"{len(found)} cells tagged `parameters`, one expected")
    elif found[0] != next((n for n, _ in cells(notebook, "code")), None):
        yield Fault(found[0], "the parameters are not the first code cell")


def plain_code(notebook: Notebook) -> Iterator[Fault]:
    """Calls and nothing else: what is defined or escapes to a shell is out of a reviewer's sight."""
    for number, cell in cells(notebook, "code"):
        try:
            tree = ast.parse(source(cell))
        except SyntaxError as error:
            odd = re.search(r"^\s*[!%?]|=\s*[!%]|\?\s*$", source(cell), re.MULTILINE)
            yield Fault(number, "shell escape or magic" if odd else f"no Python: {error.msg}")
            continue
        yield from (Fault(number, what) for node in ast.walk(tree) if (what := _forbidden(node)))


def _forbidden(node: ast.AST) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return f"defines `{node.name}`; it belongs into workbench/methods"
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
        if isinstance(node.value, ast.Lambda):
            return "a function by another name: lambda assigned"
    names = {"get_ipython", "subprocess", "system", "popen", "exec", "eval"}
    if isinstance(node, ast.Name) and node.id in names:
        return f"`{node.id}`: shell escape or hidden code"
    if isinstance(node, ast.Attribute) and node.attr in names:
        return f"`{node.attr}`: shell escape or hidden code"
    if isinstance(node, ast.Import | ast.ImportFrom):
        taken = {alias.name.split(".")[0] for alias in node.names} | {getattr(node, "module", "")}
        return "imports a shell" if taken & {"subprocess", "os"} else None
    return None


def short_cells(notebook: Notebook) -> Iterator[Fault]:
    """At most ten lines of code a cell, blank ones left out."""
    for number, cell in working(notebook):
        if lines(cell) > LONGEST:
            yield Fault(number, f"{lines(cell)} lines of code, {LONGEST} at most")
        elif not lines(cell):
            yield Fault(number, "an empty cell")


def words(text: str) -> int:
    return len(re.findall(r"[^\W\d_]+", text))


def code_words(text: str) -> int:
    """Words of code without comments; 0 for what is no Python, which is a fault of its own."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return 0
    return sum(words(token.string) for token in tokens if token.type != tokenize.COMMENT)


def prose(notebook: Notebook) -> Iterator[Fault]:
    """At least as many words of prose as of code."""
    said = sum(words(source(cell)) for _, cell in cells(notebook, "markdown"))
    done = sum(code_words(source(cell)) for _, cell in working(notebook))
    if said < done:
        yield Fault(None, f"{said} words of prose for {done} of code")


def headings(notebook: Notebook) -> Iterator[Fault]:
    """A title with the stage's number, question and reader below it, and the four parts in order."""
    first = notebook["cells"][0] if notebook["cells"] else {"cell_type": "", "source": ""}
    stage = str(notebook["metadata"].get("workbench", {}).get("stage", ""))
    title = source(first) if first["cell_type"] == "markdown" else ""
    if not re.match(rf"# {re.escape(stage.partition('_')[0]) or 'NN'} · \S", title):
        yield Fault(0, "no title `# NN · Title` with the stage's number")
    for opening in ("**Question.** ", "**For** "):
        if not re.search(rf"^{re.escape(opening)}\S", title, re.MULTILINE):
            yield Fault(0, f"no paragraph that opens with `{opening.strip()}`")
    text = "\n".join(source(cell) for _, cell in cells(notebook, "markdown"))
    places = {h: re.search(rf"^## {h}\s*$", text, re.MULTILINE) for h in HEADINGS}
    yield from (Fault(None, f"no heading `## {h}`") for h, place in places.items() if not place)
    found = [place.start() for place in places.values() if place]
    if found != sorted(found):
        yield Fault(None, f"headings in another order than {', '.join(HEADINGS)}")


def unexecuted(notebook: Notebook) -> Iterator[Fault]:
    """A template holds no results: those of somebody else would look like evidence."""
    for number, cell in cells(notebook, "code"):
        if cell.get("outputs") or cell.get("execution_count") is not None:
            yield Fault(number, "outputs or an execution count in a template")


def ids(notebook: Notebook) -> Iterator[Fault]:
    """Every cell has an id of its own in the file; tools would give a new one at each reading."""
    if (notebook.get("nbformat"), notebook.get("nbformat_minor", 0)) < (4, 5):
        yield Fault(None, "nbformat below 4.5 has no cell ids")
    seen: set[str] = set()
    for number, cell in enumerate(notebook["cells"]):
        name = cell.get("id")
        if not name or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            yield Fault(number, "no cell id")
        elif name in seen:
            yield Fault(number, f"the id {name} stands there twice")
        seen.add(name)


def declaration(notebook: Notebook) -> Iterator[Fault]:
    """`metadata.workbench` is complete, and holds nothing that the engine doesn't know."""
    about = notebook["metadata"].get("workbench", {})
    for name in NEEDED:
        if name not in about or about[name] in ("", None):
            yield Fault(None, f"metadata.workbench.{name} is missing")
    for name, value in about.items():
        if name not in KNOWN:
            yield Fault(None, f"metadata.workbench.{name} is not known")
        elif not isinstance(value, KNOWN[name]):
            yield Fault(None, f"metadata.workbench.{name} is no {KNOWN[name].__name__}")
    for output, needs in about.get("reuses", {}).items():
        strange = set(needs) - set(about.get("inputs", {}))
        if strange:
            yield Fault(None, f"{output} is reused by no input: {', '.join(sorted(strange))}")


RULES = (parameters, plain_code, short_cells, prose, headings, unexecuted, ids, declaration)


def check(notebook: Notebook) -> list[Fault]:
    """Every fault of one notebook by itself."""
    return [fault for rule in RULES for fault in rule(notebook)]


def unresolved(notebooks: dict[str, Notebook]) -> Iterator[tuple[str, Fault]]:
    """Inputs that come from nowhere, a name that is not the file's, and a stage twice."""
    about = {name: nb["metadata"].get("workbench", {}) for name, nb in notebooks.items()}
    stages = [str(facts.get("stage")) for facts in about.values()]
    for name, facts in about.items():
        stage = str(facts.get("stage"))
        if stage != name.removesuffix(".ipynb"):
            yield name, Fault(None, f"the file is not named as its stage, {stage}")
        for key, text in facts.get("inputs", {}).items():
            wanted = text.rstrip("?!").removeprefix("previous:")
            origin, slash, path = wanted.partition("/")
            earlier = bool(slash and path) and origin in stages and origin != stage
            if wanted not in OUTSIDE and not earlier:
                yield name, Fault(None, f"input `{key}` comes from nowhere: {text}")


def check_all(folder: Path) -> list[tuple[str, Fault]]:
    """Every fault of a folder of stage notebooks, by the notebook's name."""
    found: list[tuple[str, Fault]] = []
    notebooks: dict[str, Notebook] = {}
    for path in sorted(folder.glob("*.ipynb")):
        try:
            notebooks[path.name] = json.loads(path.read_text(encoding="utf-8"))
            found += [(path.name, fault) for fault in check(notebooks[path.name])]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            notebooks.pop(path.name, None)
            found.append((path.name, Fault(None, f"no notebook: {error!r}")))
    found += unresolved(notebooks)
    sizes = [lines(cell) for nb in notebooks.values() for _, cell in working(nb)]
    if not sizes:
        found.append((folder.name, Fault(None, "no stage notebooks")))
    elif median(sizes) > MEDIAN:
        what = f"the median cell has {median(sizes):g} lines of code, {MEDIAN} at most"
        found.append((folder.name, Fault(None, what)))
    return found


def main(arguments: list[str]) -> int:
    """Print each fault with notebook and cell; 1 when there is one."""
    folder = Path(arguments[0]) if arguments else STAGES
    faults = check_all(folder)
    for name, fault in faults:
        where = name if fault.cell is None else f"{name}, cell {fault.cell}"
        print(f"{where}: {fault.what}")
    print(f"{len(faults)} faults in {len(list(folder.glob('*.ipynb')))} stage notebooks")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

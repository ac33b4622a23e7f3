"""What each code cell of an executed notebook shows, and what it stands on (N2).

The engine writes it into the notebook that it seals, as `metadata.workbench.claims` of a cell:

    functions   what the cell calls, by its source
    inputs      name -> digest of what it read, for rows of persons the keyed one
    outputs     name -> digest of what it wrote, as the cell's whole run left it
    sealed, volatile   what it called of functions that ask a model, or differ with each run

The kernel says which cell touched what; names that the engine does not know are left out, and
every digest is the engine's own.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from ..record.digest import file_digest, scan
from . import capture

if TYPE_CHECKING:
    from .runner import Job

TOUCHED, MOST = "touched.jsonl", 2**20
TYPED = re.compile(r"\d[.,]\d")
Touched = dict[int, dict[str, set[str]]]
"""Number of the executed cell -> kind -> names."""


def touched(work: Path) -> Touched:
    """What the kernel said that its cells touched; nothing where it said nothing that can be read."""
    found: Touched = defaultdict(lambda: defaultdict(set))
    path = work / TOUCHED
    if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST:
        return found
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            said = json.loads(line)
            found[int(said["cell"])][str(said["kind"])].add(str(said["name"]))
    except (ValueError, KeyError, TypeError):
        found.clear()
    return found


def bind(notebook: Path, work: Path, job: Job) -> None:
    """Write the claims of every executed code cell into a notebook whose kernel is gone."""
    said, known = touched(work), {"inputs": {name: item.told for name, item in job.inputs.items()}}
    known["outputs"] = _digests(work / "outputs", job)
    nb = nbformat.read(notebook, as_version=4)
    for cell in (one for one in nb.cells if one.cell_type == "code" and one.execution_count):
        kinds = said[cell.execution_count]
        claims: dict[str, Any] = {"functions": called(cell.source)}
        for kind, digests in known.items():
            claims[kind] = {name: digests[name] for name in sorted(kinds[kind] & digests.keys())}
        claims |= {kind: sorted(kinds[kind]) for kind in ("sealed", "volatile")}
        kept = {kind: one for kind, one in claims.items() if one}
        if kept:
            cell.metadata.setdefault("workbench", {})["claims"] = kept
    with capture.destination(notebook) as write:
        write(nb)


def _digests(outputs: Path, job: Job) -> dict[str, str]:
    """Output -> digest as the record will hold it, keyed where the file is to be encrypted; not of
    what differs with each run, so that a replay's notebook is the same."""
    if outputs.is_symlink() or not outputs.is_dir():
        return {}
    facts, keyed = job.stage.facts, job.store.cipher.keyed_digest
    rows = facts.get("rows", []) if job.snapshot else []
    return {name: (keyed if matches(name, rows) else file_digest)(outputs / name)
            for name in scan(outputs)[0] if not matches(name, facts.get("volatile", []))}  # fmt: skip


def matches(name: str, patterns: Collection[str]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns)


# ---- what the source says ------------------------------------------------------------------------


def called(source: str) -> list[str]:
    """Dotted names of what a cell calls."""
    tree = _parsed(source)
    names = [ast.unparse(one.func) for one in ast.walk(tree) if isinstance(one, ast.Call)]
    return sorted({name for name in names if re.fullmatch(r"[\w.]+", name)})


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:  # a magic, which calls nothing of ours
        return ast.Module([], [])


def unbound(cells: list[Any], modules: Collection[str]) -> Iterator[int]:
    """Code cells that show figures which stand on nothing: no parameter, and nothing that came,
    step by step, from one of the `modules`; or on a decimal that is typed into what they show."""
    known: set[str] = set()
    for index, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        given = {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", []))
        tree, loose, held = _parsed(cell.source), [], False
        for statement in tree.body:
            names = {one.id: one for one in ast.walk(statement) if isinstance(one, ast.Name)}
            bound = bool(names.keys() & known or given)
            known |= names.keys() if bound else set()
            if isinstance(statement, ast.Import | ast.ImportFrom):
                known |= _imported(statement, modules)
            elif not isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Assert):
                held |= bound
                loose += [statement] if not bound or _typed(statement) else []
        free = tree.body and not held or any(re.search(r"\d", ast.unparse(one)) for one in loose)
        if loose and free and _shows_figures(cell):
            yield index


def _imported(statement: ast.Import | ast.ImportFrom, modules: Collection[str]) -> set[str]:
    inside = getattr(statement, "module", None)
    return {(one.asname or one.name).partition(".")[0] for one in statement.names
            if (inside or one.name).partition(".")[0] in modules}  # fmt: skip


def _typed(statement: ast.stmt) -> bool:
    texts = (one.value for one in ast.walk(statement) if isinstance(one, ast.Constant))
    return any(isinstance(text, str) and TYPED.search(text) for text in texts)


def _shows_figures(cell: Any) -> bool:
    """A digit in text; a drawing always holds some."""
    for output in cell.outputs:
        data = output.get("data", {"text/plain": output.get("text", "")})
        if any(
            kind.startswith("image/") or re.search(r"\d", str(shown))
            for kind, shown in data.items()
        ):
            return True
    return False

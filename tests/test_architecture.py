"""The house: which way imports go, what loads at once, and how large it may grow.

How lines are counted: a line counts when it holds a token of code. Blank lines, comments and
docstrings (of modules, classes and functions, and the strings that describe a field below it)
don't count; every line of an expression that spans several does.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import time
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "workbench"
FILES = sorted(PACKAGE.rglob("*.py"))

# Room -> the rooms that it may import. errors and the package itself are everybody's.
ALLOWED = {
    "record": set(),
    "policy": {"record"},
    "execution": {"policy", "record"},
    "evidence": {"execution", "policy", "record"},
    "methods": {"policy", "record", "evidence"},
    "widgets": {"evidence", "execution", "policy", "record"},
    "cli": {"evidence", "execution", "policy", "record"},
    "errors": set(),
    "__init__": set(),
}
HEAVY = (
    "torch",
    "pandas",
    "pyarrow",
    "scipy",
    "statsmodels",
    "transformers",
    "papermill",
    "IPython",
)
SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
           tokenize.ENCODING, tokenize.ENDMARKER)  # fmt: skip


def room(path: Path) -> str:
    """The part of the package that a file is in: a folder, or a module beside them."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path, *, head: bool = False) -> Iterator[str]:
    """Full names of what a file imports, inside functions too unless only its `head` is asked."""
    here = ["workbench", *path.relative_to(PACKAGE).with_suffix("").parts]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if head else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = here[: -node.level] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    ours = (name.split(".") for name in imported(path) if name.split(".")[0] == "workbench")
    return {parts[1] for parts in ours if len(parts) > 1} - {"errors"}


def code_lines(text: str) -> int:
    """Lines that hold code; see the docstring of this file."""
    described = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    held = {
        line
        for token in tokens
        if token.type not in SKIPPED
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(held - described)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function with the number of lines of its body, docstring left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            yield node.name, body[-1].end_lineno - body[0].lineno + 1 if body else 0


def run(code: str) -> tuple[float, str]:
    """Seconds of a fresh interpreter for `code`, less those of an empty one; what it printed."""

    def once(text: str) -> tuple[float, str]:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        return time.perf_counter() - started, done.stdout

    return min(once(code) for _ in range(3))[0] - min(once("pass") for _ in range(3))[0], once(
        code
    )[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path):
    """cli, widgets → evidence, execution → policy → record; methods are called by notebooks only."""
    extra = rooms_imported(path) - {room(path)} - ALLOWED[room(path)]
    assert not extra, f"{path.relative_to(ROOT)} must not import {', '.join(sorted(extra))}"


def test_every_room_has_its_arrows():
    """A new room is not outside the rules."""
    assert {room(path) for path in FILES} <= set(ALLOWED)
    assert not any("methods" in allowed for allowed in ALLOWED.values())


def test_an_import_against_the_arrows_is_seen(tmp_path, monkeypatch):
    """However it is written: relative, absolute, inside a function."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "record/deep").mkdir(parents=True)
    for number, line in enumerate(
        ("from ..policy import gates", "import workbench.policy.gates", "from .. import policy",
         "from workbench import policy", "def f():\n    from ..policy.gates import judge")
    ):  # fmt: skip
        path = tmp_path / f"record/m{number}.py"
        path.write_text(line)
        assert rooms_imported(path) == {"policy"}, line
    (tmp_path / "record/deep/m.py").write_text("from ...policy import gates")
    assert rooms_imported(tmp_path / "record/deep/m.py") == {"policy"}


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """A circle in the graph, or nothing."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        found = next((c for n in sorted(graph[name]) if (c := walk(n, [*path, name]))), [])
        done.add(name)
        return found

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def test_modules_do_not_import_each_other_in_a_circle():
    """Imports at the head of a file; each module can be read after those that it needs."""
    names = {
        ".".join(["workbench", *p.relative_to(PACKAGE).with_suffix("").parts]): p for p in FILES
    }

    def known(name: str) -> str | None:
        return next((n for n in (name, name.rpartition(".")[0]) if n in names), None)

    graph = {
        name: {
            found for one in imported(path, head=True) if (found := known(one)) and found != name
        }
        for name, path in names.items()
        if path.name != "__init__.py"
    }
    graph |= {name: set() for name in names if name not in graph}
    assert cycle({"a": {"b"}, "b": {"a"}}) == ["a", "b", "a"]
    assert cycle(graph) == []


IO_MODULES = {"subprocess", "requests", "urllib", "httpx", "socket", "shutil", "sqlite3", "pathlib",
              "os", "tempfile", "io"}  # fmt: skip
IO_CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "print",
            "input"}  # fmt: skip


def reached(path: Path) -> set[str]:
    """Modules and calls of a file that touch the world outside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {func.id for func in calls if isinstance(func, ast.Name)}
    named |= {func.attr for func in calls if isinstance(func, ast.Attribute)}
    return {name.split(".")[0] for name in imported(path)} & IO_MODULES | named & IO_CALLS


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("policy/**/*.py")), ids=lambda path: path.name)
def test_the_rules_do_no_input_or_output(path):
    """A verdict depends on what it is given, and on nothing that a machine has lying about."""
    assert not reached(path)


def test_input_and_output_is_seen(tmp_path, monkeypatch):
    """The check itself: a file read, a process, a request."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    for line in ("import subprocess", "from pathlib import Path", "open('x')", "p.read_text()"):
        (tmp_path / "m.py").write_text(line)
        assert reached(tmp_path / "m.py")


def test_importing_the_package_costs_little():
    """Half a second at most, best of three, and nothing heavy is loaded."""
    code = "import workbench, sys; print(*{name.split('.')[0] for name in sys.modules})"
    seconds, loaded = run(code)
    assert seconds <= 0.5
    assert not set(HEAVY) & set(loaded.split())


def test_the_trust_core_loads_no_model_and_no_notebook():
    """A reviewer verifies records without torch, Jupyter or Papermill."""
    modules = [f"workbench.record.{path.stem}" for path in (PACKAGE / "record").glob("[!_]*.py")]
    code = f"import sys, {', '.join(modules)}; print(*{{n.split('.')[0] for n in sys.modules}})"
    loaded = set(run(code)[1].split())
    assert not loaded & {*HEAVY, "nbformat", "jupyter_client", "nbclient", "ipykernel"}


def test_help_loads_nothing_heavy():
    """The command answers at once; what a verb needs is loaded when it runs."""
    code = "import workbench.cli, sys; print(*{name.split('.')[0] for name in sys.modules})"
    assert not {"torch", "transformers", "pandas"} & set(run(code)[1].split())


def test_public_names_are_what_they_say():
    """About ten names, each of which loads."""
    import workbench

    assert len(workbench.__all__) <= 12
    assert all(getattr(workbench, name) for name in workbench.__all__)
    with pytest.raises(AttributeError):
        workbench.nothing  # noqa: B018


def test_lines_are_counted_as_described():
    """Code counts, whatever it is wrapped in; words about it don't."""
    text = (
        '"""Doc.\n\nmore\n"""\n\n# comment\nx = (\n    1,  # why\n)\n\n\ndef f():\n    """Doc."""\n'
    )
    assert code_lines(text + "    return '''a\n\nb'''\n") == 3 + 1 + 3


def budget(rooms: str, planned: int) -> int:
    """Lines that the rooms may have: as planned, or as the last decision record that says
    `Budget: ROOMS ≤ N lines` allows."""
    pattern = re.compile(rf"Budget: {re.escape(rooms)} ≤ ([\d,]+) lines")
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    said = [n for path in records for n in pattern.findall(path.read_text(encoding="utf-8"))]
    return int(said[-1].replace(",", "")) if said else planned


def test_the_house_stays_within_its_budget():
    """10,000 lines of code; 3,500 for record, policy and execution; more needs a decision record."""
    sizes = {path: code_lines(path.read_text(encoding="utf-8")) for path in FILES}
    core = sum(n for path, n in sizes.items() if room(path) in ("record", "policy", "execution"))
    assert sum(sizes.values()) <= budget("workbench", 10_000)
    assert core <= budget("record + policy + execution", 3_500)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path):
    """400 lines a file, everything counted; 60 a function without its docstring."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert {name: n for name, n in functions(path) if n > 60} == {}


def test_most_functions_are_short():
    """Nine of ten have at most 26 lines."""
    sizes = sorted(n for path in FILES for _, n in functions(path))
    assert sizes[len(sizes) * 9 // 10] <= 26


def test_no_room_for_odds_and_ends():
    """A module is named by what it does."""
    vague = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
    assert not [path for path in FILES if vague & {path.stem, *path.relative_to(PACKAGE).parts}]

"""docs/assurance.md from docs/assurance.yaml: what is claimed, the tests that prove it, a colour.

red: a test that is named does not exist, or none is named. amber: the depth is not full. green: the
rest. `python tools/assurance.py` writes the page, `--check` only compares; both exit 1 when a row
is red or, with `--check`, when the page is not what the rows say.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCE, PAGE, TESTS = ROOT / "docs/assurance.yaml", ROOT / "docs/assurance.md", ROOT / "tests"
FIELDS = {"claims": ("id", "claim", "tests", "depth"), "engine": ("plain", "ours", "tests")}
SYMBOLS = {"red": "✗", "amber": "!", "green": "✓"}
Row = Mapping[str, Any]


@cache
def functions(path: Path) -> frozenset[str]:
    """Names of the test functions in a file; empty when there is none."""
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return frozenset(name for name in named if name.startswith("test_"))


def exists(name: str, tests: Path = TESTS) -> bool:
    """`folder/test_x.py`, or `folder/test_x.py::test_y`: is there such a test?"""
    path, _, function = name.partition("::")
    found = functions(tests / path)
    return function in found if function else bool(found)


def colour(row: Row, tests: Path = TESTS) -> str:
    """Red, amber or green; a row without `depth` claims to be full."""
    if not row["tests"] or not all(exists(name, tests) for name in row["tests"]):
        return "red"
    return "green" if row.get("depth", "full") == "full" else "amber"


def load(text: str) -> dict[str, Any]:
    """The rows, each with exactly its fields; ValueError names the one at fault."""
    page = yaml.safe_load(text)
    for part, wanted in FIELDS.items():
        for row in page[part]:
            if set(row) != set(wanted):
                raise ValueError(f"{part}: {row.get('id', row)}: fields {', '.join(wanted)}")
    ids = [row["id"] for row in page["claims"]]
    if twice := {one for one in ids if ids.count(one) > 1}:
        raise ValueError(f"claims: twice: {', '.join(sorted(twice))}")
    return page


def render(page: Mapping[str, Any], tests: Path = TESTS) -> str:
    """The page in Markdown."""
    colours = [colour(row, tests) for row in page["claims"]]
    counted = ", ".join(f"{colours.count(name)} {name}" for name in reversed(SYMBOLS))
    parts = [
        f"# {page['title']}",
        "<!-- Generated from docs/assurance.yaml by tools/assurance.py; edit that. -->",
        f"{page['intro'].strip()}\n\n{len(colours)} claims: {counted}.",
        _table(("", "id", "claim", "proved by", "depth"), [
            (_sign(row, tests), row["id"], row["claim"], _named(row), _depth(row))
            for row in page["claims"]
        ]),
        page["engine_intro"].strip(),
        _table(("", "plain Papermill", "ours", "proved by"), [
            (_sign(row, tests), row["plain"], row["ours"], _named(row)) for row in page["engine"]
        ]),
        f"Not begun: {', '.join(page['not_begun'])}.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _sign(row: Row, tests: Path) -> str:
    name = colour(row, tests)
    return f"{SYMBOLS[name]} {name}"


def _named(row: Row) -> str:
    return ", ".join(f"`{name}`" for name in row["tests"])


def _depth(row: Row) -> str:
    return "**full**" if row["depth"] == "full" else row["depth"]


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(" ".join(cell.split()) for cell in line) + " |"
                     for line in lines)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Write or check the page, and say which rows are red."""
    page = load(SOURCE.read_text(encoding="utf-8"))
    text, wrong = render(page), []
    for row in [*page["claims"], *page["engine"]]:
        absent = [name for name in row["tests"] if not exists(name)]
        if colour(row) == "red":
            wrong.append(f"{row.get('id', row.get('plain'))}: no such test: {', '.join(absent)}")
    if "--check" not in arguments:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        wrong.append("docs/assurance.md is not what its rows say: python tools/assurance.py")
    print("\n".join(wrong) or f"{len(page['claims'])} claims, none red")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

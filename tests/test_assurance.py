"""docs/assurance.md names tests; a name without a test would be a claim without a proof."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "assurance.md"
NAMED = sorted(set(re.findall(r"`((?:\w+/)*test_\w+\.py(?:::\w+)?)`", PAGE.read_text("utf-8"))))


def exists(name: str) -> bool:
    path, _, function = name.partition("::")
    if not (TESTS / path).is_file():
        return False
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return function in found if function else any(n.startswith("test_") for n in found)


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name: str) -> None:
    """Each test that the assurance page names is in the suite."""
    assert exists(name)


def test_a_name_without_a_test_is_noticed() -> None:
    """The check itself can fail."""
    assert not exists("execution/test_engine.py::test_that_nobody_wrote")
    assert not exists("execution/test_nothing.py")
    assert len(NAMED) > 40

"""docs/assurance.md is what its rows say, and a row without its tests would claim without proof."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
spec = importlib.util.spec_from_file_location("assurance_page", TESTS.parent / "tools/assurance.py")
tool = importlib.util.module_from_spec(spec)
sys.modules["assurance_page"] = tool
spec.loader.exec_module(tool)

PAGE = tool.load(tool.SOURCE.read_text(encoding="utf-8"))
ROWS = [*PAGE["claims"], *PAGE["engine"]]
NAMED = sorted({name for row in ROWS for name in row["tests"]})
ROW = {"id": "X1", "claim": "It holds.", "tests": ["test_a.py::test_one"], "depth": "full"}


@pytest.fixture
def tests(tmp_path):
    """A folder of tests with one in it."""
    (tmp_path / "test_a.py").write_text("def test_one(): pass\ndef helper(): pass\n")
    return tmp_path


@pytest.mark.parametrize("name", NAMED)
def test_a_named_test_exists(name):
    """Each test that the assurance page names is in the suite."""
    assert tool.exists(name)


def test_a_name_without_a_test_is_noticed():
    """The check itself can fail."""
    assert not tool.exists("execution/test_engine.py::test_that_nobody_wrote")
    assert not tool.exists("execution/test_nothing.py")
    assert len(NAMED) > 40


@pytest.mark.parametrize(
    ("change", "colour"),
    [
        ({}, "green"),
        ({"tests": ["test_a.py"]}, "green"),
        ({"depth": "only on Tuesdays"}, "amber"),
        ({"tests": ["test_a.py::test_one", "test_a.py::test_two"]}, "red"),
        ({"tests": ["test_a.py::helper"]}, "red"),
        ({"tests": ["test_b.py"], "depth": "little"}, "red"),
        ({"tests": []}, "red"),
    ],
    ids=str,
)
def test_the_colour_of_a_row(tests, change, colour):
    """Red when a test is missing or none is named, amber when the depth is not full, else green."""
    assert tool.colour(ROW | change, tests) == colour


def test_the_page_is_what_its_rows_say():
    """Whoever edits the page by hand, or a row alone, is told to make it anew."""
    assert tool.PAGE.read_text(encoding="utf-8") == tool.render(PAGE)


def test_a_page_that_is_not_current_is_noticed(tmp_path, monkeypatch, capsys):
    """`--check` exits 1 and changes nothing; without it the page is written."""
    page = tmp_path / "assurance.md"
    monkeypatch.setattr(tool, "PAGE", page)
    page.write_text("old")
    assert tool.main(["--check"]) == 1 and page.read_text() == "old"
    assert "not what its rows say" in capsys.readouterr().out
    assert tool.main([]) == 0 and tool.main(["--check"]) == 0


def test_a_red_row_is_named_and_fails_the_check(tests, tmp_path, monkeypatch, capsys):
    """With its id and the tests that are missing; the page shows it red."""
    red = PAGE | {"claims": [ROW | {"tests": ["test_a.py::test_two"]}], "engine": []}
    source = tmp_path / "assurance.yaml"
    source.write_text(tool.yaml.safe_dump(red))
    monkeypatch.setattr(tool, "SOURCE", source)
    monkeypatch.setattr(tool, "PAGE", tmp_path / "assurance.md")
    assert tool.main([]) == 1
    assert "X1: no such test: test_a.py::test_two" in capsys.readouterr().out
    assert "| ✗ red | X1 |" in (tmp_path / "assurance.md").read_text()


@pytest.mark.parametrize(
    "claims", [[{"id": "X1"}], [ROW | {"more": 1}], [ROW, ROW]], ids=["few", "more", "twice"]
)
def test_rows_that_do_not_fit_are_refused(claims):
    """A field that is missing or unknown, an id that stands there twice."""
    with pytest.raises(ValueError, match="claims"):
        tool.load(tool.yaml.safe_dump(PAGE | {"claims": claims}))

"""What ran, as a picture and a table: everything is in it, nothing is clipped, nothing runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import combinations

import pytest

from workbench.evidence import lineage, work_paper

SHA = {name: f"{n:x}" * 64 for n, name in enumerate(
    ["10_intake", "20_dataset", "30_adapt", "40_functional", "44_reproducibility", "50_candidate",
     "55_release"], start=1)}  # fmt: skip
READS = {"20_dataset": ["10_intake"], "30_adapt": ["10_intake", "20_dataset"],
         "40_functional": ["10_intake", "30_adapt"], "44_reproducibility": ["40_functional"],
         "50_candidate": ["30_adapt", "40_functional", "44_reproducibility"],
         "55_release": ["50_candidate"]}  # fmt: skip
LONG = "Wilhelmina Featherstonehaugh-Cholmondeley (DEMO)"


def record(stage):
    steps = {"30_adapt": "training", "50_candidate": "candidate"}
    return {"step": steps.get(stage, "other"), "stage": stage, "id": "20260101T000000Z-1",
            "digest": SHA[stage], "finished": "2026-01-01", "commit": "c" * 40, "dirty": True,
            "environment": "training", "environment_sha256": "e" * 64,
            "verdicts": {"a": "passed", "b": "failed"} if stage == "40_functional" else {},
            "inputs": [SHA[one] for one in READS.get(stage, [])]}  # fmt: skip


def approval(name, entry, **more):
    return {"entry": entry, "name": name, "role": "risk_manager", "meaning": "approved",
            "time": "2026-02-01T00:00:00Z", "expires": "2027-01-01", "withdrawn": []} | more  # fmt: skip


@pytest.fixture
def found():
    one = {"entry": 9, "time": "2026-03-01T00:00:00Z", "usecase": "tiny", "environment": "production",
           "bundle": "b" * 64, "record": SHA["55_release"], "action": "start", "by": "<Odd> & co"}  # fmt: skip
    way = {"deployment": one, "missing": [], "records": [record(stage) for stage in SHA],
           "bundle": {"name": "candidate", "number": 3},
           "approvals": [approval(LONG, 5), approval("Vera", 6, withdrawn=["Vera, later"])]}  # fmt: skip
    return {"environment": "production", "time": "2026-03-02", "serving": way, "flags": ["<flag>"],
            "first": one["time"]}  # fmt: skip


def boxes(svg):
    """(x, y, width, height, the texts in it) of every node."""
    shape = r'<rect class="\w*" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)" rx="6"/>'
    return [
        (*map(int, one[:4]), one[4:])
        for one in re.findall(shape + r"<text[^>]*>([^<]*)</text><text[^>]*>([^<]*)</text>", svg)
    ]


def test_every_record_signature_and_the_commit_are_in_the_picture(found):
    """By name and the beginning of the digest; a signature that was withdrawn says so."""
    texts = {one[4] for one in boxes(lineage.svg(found))}
    assert {(stage, SHA[stage][:12]) for stage in SHA} <= texts
    assert {("git commit", "c" * 12), ("bundle no. 3", "b" * 12), ("Vera", "withdrawn"),
            (LONG, "approved, 2026-02-01"), ("production", "since 2026-03-01T00:00")} <= texts  # fmt: skip


def test_nothing_is_clipped_and_no_two_boxes_overlap(found):
    """The longest label fits its box at 12 px monospace, and every box the picture."""
    svg = lineage.svg(found)
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    held = boxes(svg)
    for x, y, wide, high, texts in held:
        assert x >= 0 and y >= 0 and x + wide <= width and y + high <= height
        assert all(len(text) * 7.25 <= wide for text in texts)
    for (x, y, wide, high, _), (other, below, *_) in combinations(held, 2):
        assert abs(x - other) >= wide or abs(y - below) >= high


def test_each_stands_below_what_it_is_made_of_and_no_line_runs_behind_a_box(found):
    """Rows go down; a line that passes a row passes beside its boxes."""
    svg = lineage.svg(found)
    held = boxes(svg)
    row = {texts[0]: y for _, y, _, _, texts in held}
    for stage, reads in READS.items():
        assert all(row[one] < row[stage] for one in reads)
    assert row["50_candidate"] < row["bundle no. 3"] < row["Vera"] < row["55_release"]
    [path] = re.findall(r'<path d="([^"]*)"', svg)
    for x, y in re.findall(r"M(\d+) (\d+)v", path):
        there = [one for one in held if one[1] == int(y)]
        assert not any(left <= int(x) <= left + wide for left, _, wide, *_ in there)


def test_an_edge_that_follows_from_others_is_left_out():
    """The intake stands under everything; only its nearest are drawn to it."""
    parents = {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": {"a", "c"}}
    assert lineage._reduced(parents) == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c"}}


def test_a_line_over_rows_goes_through_a_place_of_its_own():
    """From a to d beside b and c."""
    parents = {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c", "x"}, "x": {"a"}}
    threaded = lineage._threaded(parents)
    assert len(threaded) == 6 and threaded["d"] == {"c", "x d 2"} and threaded["x d 2"] == {"x"}


def test_the_table_has_a_row_a_step_with_its_digest(found):
    """From the deployment to the intake; gates counted, DEMO and withdrawals in words."""
    rows = lineage.rows(found)
    assert [row["step"] for row in rows][:4] == ["deployment", "approval", "approval", "bundle"]
    assert [row["digest"] for row in rows][4:] == [SHA[stage] for stage in reversed(SHA)]
    text = str(rows)
    assert "1 of 2 gates passed" in text and "(DEMO), risk manager: approved" in text
    assert "withdrawn by Vera, later" in text and "with uncommitted changes" in text


def test_the_page_stands_alone_and_runs_nothing(found):
    """No script, no link to anywhere, and what people wrote is text."""

    class Tags(HTMLParser):
        seen: set[str] = set()

        def handle_starttag(self, tag, attrs):
            self.seen.add(tag)
            assert not {name for name, _ in attrs} & {"href", "src", "onload", "onclick"}

    page = lineage.page(found)
    Tags().feed(page)
    assert not Tags.seen & {"script", "odd", "flag", "link", "img", "iframe"}
    assert "&lt;Odd&gt; &amp; co" in page and "&lt;flag&gt;" in page


def test_where_nothing_served_there_is_no_picture(found):
    """The page says since when something does."""
    page = lineage.page(found | {"serving": None})
    assert "nothing served" in page and found["first"] in page and "<svg" not in page


def test_a_record_that_is_elsewhere_is_drawn_as_such(found):
    """Its digest is all that is known."""
    found["serving"]["missing"] = ["9" * 64]
    found["serving"]["records"][0]["inputs"] = ["9" * 64]
    assert ("not in this store", "9" * 12) in {one[4] for one in boxes(lineage.svg(found))}
    assert lineage.rows(found)[-1]["digest"] == "9" * 64


PAPER = {
    "version": 1, "objective": "<objective>", "method": "how", "seed": 7, "sample": 2,
    "subject": {"record": "50_candidate/1", "digest": "d" * 64}, "records": [{}], "problems": [],
    "population": {"rows": 12, "cases": 8}, "conclusion": "1 exception(s).", "exceptions": 1,
    "rows": [{"row": "r1", "steps": ["read: read"], "exceptions": ["<leaked>"]}],
    "cases": [{"case": "r2", "verdicts": {"accuracy": "passed"}, "exceptions": []}],
}  # fmt: skip


def test_a_work_paper_says_what_an_auditor_files():
    """Objective, population, sample, method, each item with its result, conclusion, signature."""
    page = work_paper.page(PAPER)
    for text in ("&lt;objective&gt;", "12 rows, 8 cases", "at most 2 of each, seed 7", "how",
                 "✗ &lt;leaked&gt;", "✓ no exception", "accuracy: passed", "1 exception(s).",
                 "Signature", "Prepared by", "d" * 64):  # fmt: skip
        assert text in page
    assert "<leaked>" not in page and "<script" not in page


def test_a_work_paper_names_what_did_not_verify():
    """And draws nothing then."""
    page = work_paper.page(PAPER | {"problems": ["30_adapt: changed"], "rows": [], "cases": [],
                                    "population": {}})  # fmt: skip
    assert "✗ 30_adapt: changed" in page and "problems: 1" in page and "Training rows" not in page

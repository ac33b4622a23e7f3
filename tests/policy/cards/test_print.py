"""A brief is one page of paper: printed by the browser that readers have, and counted.

The fonts are this machine's; where they are narrower, a page only has more room.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.execution.project import Project
from workbench.policy.cards import brief

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PAGES = pytest.mark.parametrize("page", ["risk", "engineer"])
PAPER = {"A4": (595, 842), "Letter": (612, 792)}
PACKS = Path(__file__).parents[3] / "templates" / "usecases"
WIDE = ("WWWWWWWWWW ", "abcdefghij kl ", "mnopqrstuvwxyz", "漢字かな交じり文")


def printed(html: str, paper: str, folder: Path) -> int:
    """Pages of the PDF that the browser makes of it on that paper."""
    assert html.count("size: A4;") == 1
    source, target = folder / "brief.html", folder / "brief.pdf"
    source.write_text(html.replace("size: A4;", f"size: {paper};"), encoding="utf-8")
    asked = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        f"--user-data-dir={folder / 'profile'}", "--no-pdf-header-footer",
        f"--print-to-pdf={target}", source.as_uri(),
    ]  # fmt: skip
    subprocess.run(asked, check=True, capture_output=True, timeout=120)
    data = target.read_bytes()
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    assert {tuple(round(float(side)) for side in box) for box in boxes} == {PAPER[paper]}
    return len(re.findall(rb"/Type /Page\b", data))


@pytest.fixture
def pack(facts, gate):
    """A shipped pack's own texts: its use case, and a gate for each criterion and rule."""

    def made(name: str, **verdict):
        project = Project.load(PACKS / name)
        gates = [gate(one.id, stage=one.stage, threshold=one.asked, harm=one.harm,
                      blocking=one.blocking, **verdict) for one in project.policy.gates]  # fmt: skip
        return replace(facts, usecase=project.usecase, verdicts=gates)

    return made


@pytest.fixture
def crowded(facts, gate, signed, accepted):
    """The most of everything: 40 gates, 60 limits, 9 signatures, each text as long as can be."""

    def made(text: str):
        owner = facts.usecase.owner.model_copy(update={"name": text * 9, "email": "m" * 80 + "@x"})
        usecase = facts.usecase.model_copy(
            update={"title": text * 20, "decision": text * 60, "harm": text * 60,
                    "affected": [text * 9] * 9, "owner": owner, "id": text * 9}
        )  # fmt: skip
        bad = gate(text * 9, "failed", harm=text * 30, reason=text * 30,
                   accepted=dict.fromkeys(accepted, text * 9))  # fmt: skip
        bad["figure"] |= {"name": text * 9, "n": 12345678, "unscored": 99}
        full = replace(
            facts, usecase=usecase, verdicts=[bad] * 40, validation={"not_shown": [text * 20] * 60},
            base=dict.fromkeys(facts.base, text * 9), identity={"name": text, "number": 99, "parent": "f" * 64},
            adaptation=dict.fromkeys(("method", "rank", "alpha", "epochs", "seed"), text * 9),
            plan=facts.plan | {"approver_roles": [text * 9] * 4},
        )  # fmt: skip
        said = dict.fromkeys(("name", "role", "meaning"), text * 9)
        return full, [replace(signed[1], **said)] * 9

    return made


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine prints the page")
@PAGES
@pytest.mark.parametrize("paper", PAPER)
@pytest.mark.parametrize("name", ["card-support", "intent-routing"])
def test_the_briefs_of_the_packs_are_one_page(page, paper, name, pack, signed, accepted, tmp_path):
    """At A4 and at Letter, with the signatures, when everything failed and was accepted."""
    facts = pack(name, verdict="failed", accepted=accepted)
    html = getattr(brief, page)(facts, signed)
    assert printed(html, paper, tmp_path) == 1


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine prints the page")
@PAGES
@pytest.mark.parametrize("text", WIDE)
def test_the_longest_texts_are_one_page(page, text, crowded, tmp_path):
    """In capitals, in words, without a space and in Chinese; Letter is the lower paper."""
    facts, signatures = crowded(text)
    assert printed(getattr(brief, page)(facts, signatures), "Letter", tmp_path) == 1


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine prints the page")
def test_a_second_page_would_be_counted(pack, signed, tmp_path):
    """The negative control: on less paper it overflows, and the count says so."""
    html = brief.risk(pack("card-support"), signed)
    assert printed(html.replace("margin: 10mm", "margin: 60mm"), "Letter", tmp_path) > 1


@PAGES
@pytest.mark.parametrize("text", WIDE)
def test_the_text_of_a_page_is_bounded(page, text, crowded):
    """Where no browser prints: however much is told, the page holds no more than its room."""
    html = getattr(brief, page)(*crowded(text))
    body = re.sub(r"<[^>]+>", "", html[html.index("<body") :])
    assert sum(map(brief._width, " ".join(body.split()))) < brief.ROOM[page][1] + 600

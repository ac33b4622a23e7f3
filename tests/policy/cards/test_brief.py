"""The briefs: what a page says, and that nothing of it is lost in silence."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from workbench.policy.cards import brief

PAGES = pytest.mark.parametrize("page", [brief.risk, brief.engineer])


def words(html: str) -> str:
    """The visible text of a page."""
    body = html[html.index("<body") :]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@PAGES
def test_a_signature_shows_name_time_and_meaning(page, facts, signed):
    """21 CFR 11.50(a): printed name, date and time, meaning; and who is still asked."""
    text = words(page(facts, signed))
    assert "Vera Lindqvist model validator approved 2026-11-21 21:40:12" in text
    assert "Still asked: risk manager." in text
    assert "Nobody has signed yet. Still asked: model validator, risk manager." in words(
        page(facts)
    )


@PAGES
def test_only_an_approval_is_an_answer(page, facts, signed):
    """Who reviewed or answers for the use has not approved."""
    reviewed = replace(signed[0], meaning="reviewed")
    assert "Still asked: model validator, risk manager." in words(page(facts, [reviewed]))
    both = [signed[0], replace(signed[0], name="R. Isk", role="risk_manager")]
    assert "Every role that the plan asks has signed" in words(page(facts, both))


@PAGES
def test_a_demonstration_is_marked(page, facts, signed):
    """Above the result and at the name, also where the name forgot it; a person is not."""
    text = words(page(facts, signed))
    assert "DEMONSTRATION: signed by invented identities" in text and "Ines Okafor (DEMO)" in text
    assert "Ines Okafor (DEMO)" in words(page(facts, [replace(signed[1], name="Ines Okafor")]))
    assert "DEMO" not in words(page(facts, signed[:1]))


def test_the_risk_manager_reads_what_was_shown_and_what_was_not(facts):
    """Decision, harm, figure with interval and n, limits, consequence, and how to stop it."""
    text = words(brief.risk(facts))
    for said in (
        "All 1 required checks passed.", "Which team reads a message.", "A message waits.",
        "It advises; a person decides.", "right answers: 87.5 in 100 (82.6 to 91.3)",
        "asked: at least 80 in 100 at the lower end 200 ✓ passed", "Rows from other seasons.",
        "valid for 180 days. It is the first version.", "Ask O. Wner (o@example.org)",
    ):  # fmt: skip
        assert said in text


def test_the_engineer_reads_what_it_is_made_of(facts):
    """Base, adapter, data, environment, gates, and what to type."""
    text = words(brief.engineer(facts))
    for said in (
        "pypi:some-model", "rank 16", "train: 800; dev: 100; locked: 100", "torch 2.13.0",
        "isolation namespace", "container none", "queue_accuracy 40 · accuracy: lower 0.83",
        "workbench verify --recompute 49_validation/", "workbench replay 30_adapt/",
    ):  # fmt: skip
        assert said in text
    assert "roll back" not in text.replace("Verify, replay, roll back", "")  # there is none before
    before = replace(facts, identity=facts.identity | {"parent": "f" * 64})
    assert f"workbench deploy {'f' * 16} -e" in words(brief.engineer(before))


@PAGES
def test_an_accepted_failure_is_still_a_failure(page, facts, gate, accepted):
    """The verdict stays, the acceptance stands beside it, and the head says both."""
    text = words(page(replace(facts, verdicts=[gate("late", "failed", accepted=accepted)])))
    assert "1 of 1 required checks did not pass: 1 accepted as a risk." in text
    assert "✗ failed, accepted" in text


def test_whose_risk_it_is_stands_on_the_page(facts, gate, accepted):
    """By whom and until when, or that nobody took it, or that nobody has to."""
    mixed = [gate("late", "failed", accepted=accepted), gate("rare", "failed"),
             gate("slow", "failed", blocking=False)]  # fmt: skip
    text = words(brief.risk(replace(facts, verdicts=mixed)))
    assert "late : accepted by Ruth Adeyemi until 2027-02-01. Agents confirm each" in text
    assert "rare : failed, and accepted by nobody" in text
    assert "slow : failed, but required by nobody" in text


@PAGES
def test_what_does_not_fit_is_counted(page, facts, gate):
    """Rows that are shown and rows that are counted are all the rows there are."""
    html = page(replace(facts, verdicts=[gate(f"g{n}") for n in range(40)]))
    more = int(re.search(r"and (\d+) more, in the model card", words(html))[1])
    assert words(html).count("✓ passed") + more == 40 and 0 < more < 40


def test_a_shortened_text_ends_with_a_sign(facts):
    """At a word, with `…`; the foot says where it stands in full."""
    long = facts.usecase.model_copy(update={"harm": "word " * 200})
    text = words(brief.risk(replace(facts, usecase=long)))
    assert "word word …" in text and "stands in full in the model card" in text
    assert "…" not in words(brief.risk(facts)).replace("“…”", "")


@PAGES
def test_nothing_declared_acts(page, facts, gate, signed, hostile):
    """Every text is text: no tag, no style, no template's slot, no turned line."""
    usecase = facts.usecase.model_copy(
        update={"title": hostile, "decision": hostile, "harm": hostile, "affected": [hostile]}
    )
    bad = gate(hostile, "failed", harm=hostile, reason=hostile, accepted=dict.fromkeys(
        ("by", "control", "expires"), hostile))  # fmt: skip
    wicked = replace(
        facts, usecase=usecase, verdicts=[bad], validation={"not_shown": [hostile]},
        base=dict.fromkeys(facts.base, hostile), identity={"name": hostile, "number": 1, "parent": None},
    )  # fmt: skip
    html = page(wicked, [replace(signed[0], name=hostile, role=hostile)])
    assert "<script" not in html and "<img" not in html and "\u202e" not in html
    assert html.count("</style>") == 1 and html.count("<body>") == 1


@PAGES
def test_the_page_needs_nothing_from_anywhere(page, facts):
    """No script, no link, no address to fetch; a policy in the page forbids them too."""
    html = page(facts)
    assert "default-src 'none'" in html
    assert not re.search(r"<script|<link|\ssrc=|\shref=|url\(|@import|https?:", html)


@PAGES
def test_the_same_facts_give_the_same_bytes(page, facts, signed):
    """A page can be held against the records that it was written from."""
    assert page(facts, signed) == page(replace(facts), tuple(signed))


def luminance(colour: str) -> float:
    """Relative luminance of `#rrggbb`, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_every_colour_can_be_read_in_light_and_in_dark(facts):
    """WCAG 2.2 AA, 1.4.3: text has a contrast of at least 4.5 to what it stands on."""
    themes = re.findall(r":root \{(.*?)\}", brief.risk(facts), re.S)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w{6});", theme))
        for ground in (colours.pop("paper"), colours.pop("tint")):
            for name in colours.keys() - {"line"}:
                light, dark = sorted(map(luminance, (colours[name], ground)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, name

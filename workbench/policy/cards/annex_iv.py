"""The technical file by Annex IV of the EU AI Act (Regulation (EU) 2024/1689), from records alone.

A point is answered by facts that stand in a record, each named by record, path and digest. What no
record holds is written as open, with who would answer; nothing is filled in to look complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..wordings import wordings
from .facts import CardFacts
from .markdown import plain
from .model_card import name
from .plain import asked, cases, found, words

POINTS: list[dict[str, Any]] = wordings(__package__, "annex_iv.yaml")
REGULATION = "EU AI Act (Regulation (EU) 2024/1689), Annex IV"
UNVERIFIED = "Headings are paraphrased; no named person has read them beside the regulation yet."
STATES = ("unanswered", "answered in part", "answered")
NAMES = ("id", "use", "name")
"""Fields by which an item of a list is called, where it has them."""


def build(facts: CardFacts) -> dict[str, Any]:
    """The file as plain values for canonical JSON, in the order of the annex."""
    points = [_point(facts, point) for point in POINTS]
    tally = {state: sum(one["state"] == state for one in points) for state in STATES}
    title = f"{facts.usecase.title}: {name(facts)}"
    return {"regulation": REGULATION, "title": title, "verified": False, "note": UNVERIFIED,
            "tally": tally, "points": points}  # fmt: skip


def _point(facts: CardFacts, point: Mapping[str, Any]) -> dict[str, Any]:
    answers = [one for fact in point.get("answers", ()) for one in _answers(facts, fact)]
    left = point.get("open") or (None if answers else "No record that was read holds this")
    return {"clause": point["clause"], "asks": point["asks"], "answers": answers, "open": left,
            "who": point.get("who", "engineer") if left else None,
            "state": STATES[0 if not answers else 1 if left else 2]}  # fmt: skip


def _answers(facts: CardFacts, fact: str) -> list[dict[str, str]]:
    """One answer a source that holds the fact; a fact without a source answers nothing.

    `fact` is the source's name, a space, and the way to the fact in it; a source that ends with a
    colon stands for all that begin so, and `*` in the way for each item.
    """
    source, way = fact.split(" ")
    keys = [key for key in sorted(facts.sources)
            if key == source or (source.endswith(":") and key.startswith(source))]  # fmt: skip
    picked = {key: _pick(_held(facts, key), way.split(".")) for key in keys}
    return [
        {"fact": way, "text": words(value)} | vars(facts.sources[key])
        for key, value in picked.items()
        if value
    ]


def _held(facts: CardFacts, key: str) -> Any:
    """What stands in the source of that name."""
    kind, _, stage = key.partition(":")
    if kind == "verdicts":
        mine = [one for one in facts.verdicts if one["stage"] == stage]
        return {one["criterion"]: {**one, "told": f"{one['verdict']}; {found(one)}; "
                f"n {cases(one) or 'none'}; asked {asked(one)}"} for one in mine}  # fmt: skip
    held = {"usecase": facts.usecase.model_dump(mode="json", by_alias=True),
            "parameters": facts.adaptation.get("parameters"), "figures": facts.figures.get(stage),
            "locked": {"cases": "as in that file"}}  # fmt: skip
    return held[kind] if kind in held else getattr(facts, kind)


def _pick(held: Any, way: Sequence[str]) -> Any:
    """The value at the end of the way; None where it leads nowhere."""
    if not way or not held:
        return held
    if way[0] != "*":
        return _pick(held.get(way[0]), way[1:])
    if not isinstance(held, Mapping):
        held = {next((one[key] for key in NAMES if key in one), number): one
                for number, one in enumerate(held, 1)}  # fmt: skip
    found = {key: _pick(one, way[1:]) for key, one in held.items()}
    return {key: value for key, value in found.items() if value}


def render(file: Mapping[str, Any]) -> str:
    """The file as Markdown; every answer with the digest of where it stands."""
    tally = ", ".join(f"{n} {state}" for state, n in file["tally"].items())
    lines = [f"# {plain(file['regulation'])}", "", plain(file["title"]), "",
             f"{len(file['points'])} points: {tally}. {file['note']}"]  # fmt: skip
    for point in file["points"]:
        lines += ["", f"## {point['clause']} {plain(point['asks'])}", "", f"**{point['state']}**"]
        for one in point["answers"]:
            stands = f"`{one['ref']}` · `{one['path']}` · sha256 `{one['sha256']}`"
            lines += ["", plain(one["text"]), "", f"record `{one['record']}` · {stands}"]
        if point["open"]:
            lines += ["", f"Open: {plain(point['open'])} ({point['who']})."]
    return "\n".join(lines) + "\n"

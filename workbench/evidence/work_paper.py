"""The work paper of an audit: one HTML page without scripts, to be read and signed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from .lineage import html, table

SIGNED = ("Prepared by", "Date", "Reviewed by", "Date", "Signature")


def page(paper: Mapping[str, Any]) -> str:
    """Objective, population, sample, method, every item with its result, conclusion, signature."""
    facts = {
        "Objective": paper["objective"],
        "Subject": f"{paper['subject']['record']} ({paper['subject']['digest']})",
        "Population": ", ".join(f"{n} {kind}" for kind, n in paper["population"].items()) or "none",
        "Sample": f"at most {paper['sample']} of each, seed {paper['seed']}",
        "Method": paper["method"],
        "Seals": f"{len(paper['records'])} records looked at, problems: {len(paper['problems'])}",
        "Conclusion": paper["conclusion"],
    }
    told = "".join(f"<p><b>{name}.</b> {escape(text)}</p>" for name, text in facts.items())
    told += "".join(f"<p>✗ {escape(one)}</p>" for one in paper["problems"])
    for title, kind in (("Training rows", "rows"), ("Evaluation cases", "cases")):
        if paper[kind]:
            told += f"<h2>{title}</h2>" + table([_item(one) for one in paper[kind]])
    told += "<h2>Signature</h2>" + table([
        {"": name, " ": "\u2003" * 24} for name in SIGNED])  # fmt: skip
    return html("Work paper: rows and cases traced", told)


def _item(one: Mapping[str, Any]) -> dict[str, str]:
    """Result first; mappings and lists in words."""
    bad = "; ".join(one["exceptions"])
    shown = {name: _text(value) for name, value in one.items() if name != "exceptions"}
    return {"result": f"✗ {bad}" if bad else "✓ no exception"} | shown


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {held}" for name, held in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

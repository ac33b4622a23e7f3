"""One printed page for the risk manager, and one for the engineer (L2).

A page stays one page by rules, never by cutting: a text is shortened at a word and ends with `…`,
a list says how many more there are and where. The limits are columns of a wide font, so that a
text of capitals or of Chinese takes no more room than they allow. Each signature is shown with
what 21 CFR 11.50(a) asks: printed name, date and time, meaning.
"""

from __future__ import annotations

import pkgutil
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from html import escape
from string import Template
from typing import Any

from ...record import clock
from ..wordings import wordings
from .facts import CardFacts, Signature
from .markdown import visible
from .model_card import name, not_shown, record
from .plain import WORDS, asked, cases, environment, found, headline, not_passed, words, worst_first

SAID = wordings(__package__, "brief.yaml")
MORE = "<tr><td{}, in the model card</td></tr>"
SIGNED = ("Printed name", "Role", "Meaning", "Date and time (UTC)", "Valid until")
ROOM = {"risk": (9, 3600), "engineer": (20, 3600)}
"""Page -> the most rows, and the columns of text that still fit on one page of Letter: with more,
the widest texts that were printed did not."""
Gate = Mapping[str, Any]
Body = Callable[[CardFacts, int], dict[str, str]]
_TAG = re.compile(r"<[^>]*>")


def risk(facts: CardFacts, signatures: Sequence[Signature] = ()) -> str:
    """The page for whoever bears the risk, as HTML that needs nothing beside it."""
    return _fullest("risk", _risk, facts, signatures)


def engineer(facts: CardFacts, signatures: Sequence[Signature] = ()) -> str:
    """The page for whoever runs and repairs it."""
    return _fullest("engineer", _engineer, facts, signatures)


def _fullest(kind: str, body: Body, facts: CardFacts, signatures: Sequence[Signature]) -> str:
    """The page with as many rows as leave it one page."""
    most, room = ROOM[kind]
    shared = _shared(kind, facts, signatures)
    for rows in range(most, 0, -1):
        slots = shared | body(facts, rows)
        if sum(map(_width, _TAG.sub("", "".join(slots.values())))) <= room:
            break
    main, style = _template(f"{kind}.html").substitute(slots), _template("brief.css").template
    return _template("page.html").substitute(slots, body=main, style=style)


def _shared(kind: str, facts: CardFacts, signatures: Sequence[Signature]) -> dict[str, str]:
    state, told = headline(facts.verdicts)
    demo = f'<p class="demo">{SAID["demo"]}</p>' if any(one.demo for one in signatures) else ""
    return {
        "title": _fit(facts.usecase.title, 58),
        "page": kind,
        "kind": kind.replace("risk", "risk manager"),
        "identity": _fit(f"{name(facts)} · {facts.usecase.id} · tier {facts.plan['tier']}", 105),
        "demo": demo,
        "headline": _fit(told, 100),
        "state": state,
        "signed": _signed(facts.plan["approver_roles"], signatures),
        "foot": _said("foot", 300, n=len(facts.records)),
    }


def _risk(facts: CardFacts, rows: int) -> dict[str, str]:
    usecase, parent = facts.usecase, facts.identity["parent"]
    before = SAID["after"].format(parent=parent[:16]) if parent else SAID["first"]
    return {
        "decision": _fit(usecase.decision, 220),
        "autonomy": WORDS["autonomy"][usecase.autonomy],
        "harm": _fit(usecase.harm, 200),
        "affected": _fit(words(usecase.affected).capitalize(), 150),
        "severity": _said("severity", 60, severity=usecase.severity),
        "shown": _upto(worst_first(facts.verdicts), rows, _risk_row, MORE),
        "failed": _items(not_passed(facts.verdicts), rows // 2 + 1, _failure),
        "not_shown": _items(not_shown(facts), rows // 2 + 2, lambda line: _fit(line, 110)),
        "approved": _said("approved", 400, number=facts.identity["number"], before=before,
                          days=facts.plan["evidence_expiry_days"]),
        "stop": _said("stop", 300, owner=_cut(usecase.owner.name, 60),
                      email=_cut(usecase.owner.email, 40)),
    }  # fmt: skip


def _engineer(facts: CardFacts, rows: int) -> dict[str, str]:
    data = {
        "rows": facts.data["rows"],
        "steps": [one["use"] for one in facts.data["manifest"]],
        "snapshot": next((v for k, v in facts.data["snapshot"].items() if "sha256" in k), None),
        "asked_again": [v["reason"] for v in facts.verdicts if v["stage"] == "44_reproducibility"],
        "replay_certificate": "required" if facts.plan["replay_certificate"] else "not required",
        "not_tested": SAID["not_tested"].format(n=len(not_shown(facts))),
    }
    refs = {"record": record(facts, "49_validation"), "adapt": record(facts, "30_adapt"),
            "parent": (facts.identity["parent"] or "")[:16]}  # fmt: skip
    commands = [(_fit(typed.format(**refs), 90), why) for typed, why in SAID["commands"].items()]
    commands = commands if facts.identity["parent"] else commands[:-1]
    return {
        "base": _terms(facts.base, SAID["base"]),
        "adapter": _terms(facts.adaptation.get("parameters", facts.adaptation), SAID["adapter"]),
        "data": _terms(data, SAID["data"]),
        "environment": _terms(environment(facts.environment)),
        "gates": _upto(worst_first(facts.verdicts), rows, _engineer_row, MORE),
        "commands": "".join(f"<dt>{typed}</dt><dd>{why}</dd>" for typed, why in commands),
    }


def _signed(roles: Sequence[str], signatures: Sequence[Signature]) -> str:
    """Who signed, by 21 CFR 11.50, and who is still asked."""
    approved = {one.role for one in signatures if one.meaning == "approved"}
    left = ", ".join(role.replace("_", " ") for role in roles if role not in approved)
    waits = _said("asked", 220, roles=left) if left else _said("complete", 120)
    if not signatures:
        return f"<h2>Signatures</h2><p>{SAID['unsigned']} {waits}</p>"
    head = "".join(f'<th scope="col">{one}</th>' for one in SIGNED)
    rows = _upto(signatures, 5, _signature, "<tr><td{}, in the ledger</td></tr>")
    return f'<table class="signed"><caption>Signatures</caption><tr>{head}</tr>{rows}</table><p>{waits}</p>'


def _signature(one: Signature) -> str:
    said = one.name if "DEMO" in one.name or not one.demo else f"{one.name} (DEMO)"
    moments = (clock.parse(time).astimezone(UTC) for time in (one.time, one.expires))
    times = (f"{moment:%Y-%m-%d %H:%M:%S}" for moment in moments)
    told = (one.role.replace("_", " "), 19), (one.meaning, 12), *((time, 22) for time in times)
    cells = "".join(f"<td>{_fit(*text)}</td>" for text in told)
    return f'<tr><td class="{"accepted" if one.demo else ""}">{_fit(said, 48)}</td>{cells}</tr>'


def _risk_row(gate: Gate) -> str:
    told = f'{_fit(found(gate), 66)} <span class="soft">asked: {_fit(asked(gate), 36)}</span>'
    harm, n = _fit(gate["harm"], 110), _fit(cases(gate), 9)
    return f"<tr><td>{harm}</td><td>{told}</td><td>{n}</td>{_state(gate)}"


def _engineer_row(gate: Gate) -> str:
    told = f"{gate['stage'][:2]} · {gate['reason']}"
    return f"<tr><td>{_fit(gate['criterion'], 26)}</td><td>{_fit(told, 78)}</td>{_state(gate)}"


def _state(gate: Gate) -> str:
    """The verdict as symbol and word; an accepted failure is still a failure."""
    accepted, verdict = bool(gate.get("accepted")), gate["verdict"]
    said = (
        WORDS["verdicts"][verdict]
        + ", accepted" * accepted
        + " (optional)" * (not gate["blocking"])
    )
    return f'<td class="state {"accepted" if accepted else verdict}">{escape(said)}</td></tr>'


def _failure(gate: Gate) -> str:
    if gate.get("accepted"):
        said = SAID["accepted"].format(**gate["accepted"])
    else:
        said = SAID["nobody" if gate["blocking"] else "reported"].format(verdict=gate["verdict"])
    told = _fit(said.replace("_", " "), 110)
    return f"<strong>{_fit(gate['criterion'].replace('_', ' '), 30)}</strong>: {told}"


def _terms(facts: Mapping[str, Any], names: str = "") -> str:
    """Definitions: of the facts named those that are known, or all."""
    chosen = [one for one in names.split() or facts if one in facts]
    pairs = ((_fit(one.replace("_", " "), 20), _fit(words(facts[one]), 35)) for one in chosen)
    return "".join(f"<dt>{term}</dt><dd>{said}</dd>" for term, said in pairs)


def _items(items: Sequence[Any], limit: int, show: Callable[[Any], str]) -> str:
    rows = _upto(items, limit, lambda one: f"<li>{show(one)}</li>", "<li{}, in the model card</li>")
    return f"<ul>{rows or '<li>Nothing.</li>'}</ul>"


def _upto(items: Sequence[Any], limit: int, show: Callable[[Any], str], more: str) -> str:
    """The first of a list, and how many more there are and where; never silently fewer."""
    left = len(items) - limit
    rest = more.format(f' class="more">and {left} more') if left > 0 else ""
    return "".join(map(show, items[:limit])) + rest


def _said(key: str, columns: int, **names: object) -> str:
    return _fit(SAID[key].format(**names), columns)


def _fit(text: object, columns: int) -> str:
    """As `_cut`, for HTML."""
    return escape(_cut(text, columns))


def _cut(text: object, columns: int) -> str:
    """On one line, and no wider than so many columns of a wide font."""
    clean = visible(text)
    used, kept = 0.0, ""
    for char in clean:
        used += _width(char)
        if used > columns:
            break
        kept += char
    if kept == clean:
        return clean
    kept = kept[:-2]
    whole = kept.rsplit(" ", 1)[0] if " " in kept[len(kept) // 2 :] else kept
    return whole.rstrip(" ,;:.") + " …"


def _width(char: str) -> float:
    if unicodedata.east_asian_width(char) in "WF":
        return 2
    return 1.7 if char.isupper() or char in "mwœæ@%—…" else 1


def _template(name: str) -> Template:
    """A text of this package, which is part of it as its modules are."""
    return Template((pkgutil.get_data(__package__, name) or b"").decode())

"""What ran, as a table and as a picture: from the deployment back to the commit and the data.

The page is one file without scripts, readable in light and dark and on paper. The picture is drawn
in layers (Sugiyama et al., 1981): each node below all that it stands on, each row ordered by the
mean place of its parents. An edge that follows from others is left out; the table has all inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise
from typing import Any

Parents = dict[str, set[str]]
WIDE, HIGH, GAP, DROP = 7.4, 44, 22, 46
"""Of a letter, of a node, between nodes of a row, between rows; in pixels."""
CSS = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--line:#9aa4af;--page:#fff;--box:#f3f5f7;
--made:#dcebfa;--signed:#f6e7cf;--serves:#d8efdc}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4af;--line:#606a75;--page:#14171a;
--box:#22272c;--made:#1e3650;--signed:#4a3a1c;--serves:#1d4027}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);margin:2rem auto;
max-width:72rem;padding:0 1rem}h1{font-size:1.35rem}h2{font-size:1.1rem;margin-top:2rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;
padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td{overflow-wrap:anywhere;min-width:4.5rem}td:last-child{min-width:11rem}svg{max-width:100%;min-width:44rem;height:auto}
svg text{fill:var(--ink);font:12px ui-monospace,monospace;text-anchor:middle}
svg text.id{fill:var(--soft)}rect{fill:var(--box);stroke:var(--line)}.made{fill:var(--made)}
.signed{fill:var(--signed)}.serves{fill:var(--serves)}path{fill:none;stroke:var(--line)}
@media print{body{margin:0;max-width:none;font-size:10pt}.scroll{overflow:visible}
svg{width:100%;height:auto}tr{break-inside:avoid}}
"""


def rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Of what `registry.at` found, a plain row a step, from the deployment back."""
    way = found["serving"]
    if not way:
        return [_row("nothing served", f"first started: {found['first'] or 'never'}")]
    one, bundle = way["deployment"], way["bundle"]
    table = [_row("deployment", f"{one['environment']}, started by {one['by']}", one["time"],
                  f"ledger entry {one['entry']}")]  # fmt: skip
    table += [_row("approval", _signed(a), a["time"], f"ledger entry {a['entry']}")
              for a in way["approvals"]]  # fmt: skip
    table.append(_row("bundle", f"{bundle.get('name')} no. {bundle.get('number')}", "",
                      one["bundle"]))  # fmt: skip
    for made in reversed(way["records"]):
        passed = sum(verdict == "passed" for verdict in made["verdicts"].values())
        gates = f", {passed} of {len(made['verdicts'])} gates passed" if made["verdicts"] else ""
        what = f"{made['stage']}/{made['id']}{gates}; {_place(made)}"
        table.append(_row(made["step"], what, made["finished"], made["digest"]))
    table += [_row("not in this store", "its record is elsewhere", "", d) for d in way["missing"]]
    return table


def _row(step: str, what: str, when: str = "", digest: str = "") -> dict[str, str]:
    return {"step": step, "what": what, "when": when, "digest": digest}


def _signed(one: Mapping[str, Any]) -> str:
    ended = "".join(f"; withdrawn by {by}" for by in one["withdrawn"])
    return f"{one['name']}, {str(one['role']).replace('_', ' ')}: {one['meaning']}{ended}"


def _place(made: Mapping[str, Any]) -> str:
    commit = f"commit {made['commit'][:12]}" if made["commit"] else "no commit"
    dirty = " with uncommitted changes" if made["dirty"] else ""
    return f"{commit}{dirty}, environment {made['environment_sha256'][:12]}"


def page(found: Mapping[str, Any]) -> str:
    """The table and the picture as one HTML file."""
    title = f"What ran in {found['environment']} at {found['time']}"
    body = "".join(f"<p>⚑ {escape(flag)}</p>" for flag in found["flags"])
    if found["serving"]:
        body += f'<h2>The way to it</h2><div class="scroll">{svg(found)}</div>'
    return html(title, body + table(rows(found)))


def html(title: str, body: str) -> str:
    """A page that stands alone; `body` is escaped already."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{CSS}</style>'
    return f'<!doctype html><html lang="en">{head}<h1>{escape(title)}</h1>{body}</html>\n'


def table(found: list[dict[str, Any]]) -> str:
    """Plain rows as an HTML table."""
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in found[0])
    lines = ("".join(f"<td>{escape(str(v))}</td>" for v in row.values()) for row in found)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def svg(found: Mapping[str, Any]) -> str:
    """The picture; a node is a record, a commit, a bundle, a signature or the deployment."""
    labels, parents = _graph(found["serving"])
    parents = _threaded(_reduced(parents))
    wide = WIDE * max(len(text) for one in labels.values() for text in one[:2]) + 20
    spot = {n: (x * (wide + GAP) + GAP, y * (HIGH + DROP) + GAP)
            for n, (x, y) in _layout(parents).items()}  # fmt: skip
    width, height = (max(one[i] for one in spot.values()) for i in (0, 1))
    lines = [_curve(spot[p], spot[n], wide) for n in sorted(parents) for p in sorted(parents[n])]
    lines += [f"M{x + wide / 2:.0f} {y}v{HIGH}" for n, (x, y) in spot.items() if n not in labels]
    parts = [f'<path d="{"".join(lines)}"/>']
    for name, (title, sub, kind) in labels.items():
        x, y = spot[name]
        parts.append(
            f'<rect class="{kind}" x="{x:.0f}" y="{y}" width="{wide:.0f}" height="{HIGH}" rx="6"/>'
            f'<text x="{x + wide / 2:.0f}" y="{y + 18}">{escape(title)}</text>'
            f'<text class="id" x="{x + wide / 2:.0f}" y="{y + 34}">{escape(sub)}</text>'
        )
    size = f'viewBox="0 0 {width + wide + GAP:.0f} {height + HIGH + GAP}"'
    told = "Records and signatures, each below what it stands on; the table names them all."
    size += f' width="{width + wide + GAP:.0f}"'
    return f'<svg {size} role="img" aria-label="{told}">{"".join(parts)}</svg>'


def _curve(above: tuple[float, float], below: tuple[float, float], wide: float) -> str:
    (x, y), (to, end) = above, below
    x, to, y, bend = x + wide / 2, to + wide / 2, y + HIGH, DROP * 0.6
    return f"M{x:.0f} {y}C{x:.0f} {y + bend:.0f} {to:.0f} {end - bend:.0f} {to:.0f} {end}"


def _graph(way: Mapping[str, Any]) -> tuple[dict[str, tuple[str, str, str]], Parents]:
    """Node -> its two lines and its kind; node -> what it stands on."""
    one, bundle = way["deployment"], way["bundle"]
    signed = {f"approval {one['entry']}": one for one in way["approvals"]}
    labels = {digest: ("not in this store", digest[:12], "") for digest in way["missing"]}
    parents: Parents = {node: {"bundle"} for node in signed}
    for made in way["records"]:
        node, commit = made["digest"], made["commit"]
        labels[node] = (made["stage"], node[:12], "made" if made["step"] == "training" else "")
        parents[node] = {*made["inputs"], *([commit] if commit else ())}
        if commit:
            labels[commit] = ("git commit", commit[:12], "")
        if made["step"] == "candidate":
            parents["bundle"] = {node}
    labels["bundle"] = (f"bundle no. {bundle.get('number')}", one["bundle"][:12], "made")
    labels |= {node: (a["name"], "withdrawn" if a["withdrawn"] else f"{a['meaning']}, "
                      f"{a['time'][:10]}", "signed") for node, a in signed.items()}  # fmt: skip
    labels["served"] = (one["environment"], f"since {one['time'][:16]}", "serves")
    parents.setdefault(one["record"], set()).update(signed)  # a release is made of signatures
    parents["served"] = {one["record"]}
    return labels, {node: parents.get(node, set()) & labels.keys() for node in labels}


def _reduced(parents: Parents) -> Parents:
    """Without edges that follow from others."""

    def above(node: str) -> set[str]:
        return {one for p in parents[node] for one in {p, *above(p)}}

    return {n: held - {one for p in held for one in above(p)} for n, held in parents.items()}


def _threaded(parents: Parents) -> Parents:
    """With a node for each row that an edge passes, so that no line runs behind a box."""
    rank, found = _rank(parents), {node: set() for node in parents}
    for node, held in parents.items():
        for p in held:
            way = [p, *(f"{p} {node} {row}" for row in range(rank[p] + 1, rank[node])), node]
            for above, below in pairwise(way):
                found.setdefault(below, set()).add(above)
    return found


def _rank(parents: Parents) -> dict[str, int]:
    """The row of each node: one below the lowest that it stands on."""
    rank: dict[str, int] = {}
    while todo := sorted(parents.keys() - rank.keys()):
        ready = [node for node in todo if parents[node] <= rank.keys()]
        rank |= {node: max((rank[p] + 1 for p in parents[node]), default=0) for node in ready}
    return rank


def _layout(parents: Parents) -> dict[str, tuple[float, int]]:
    """Node -> place in its row, counted in nodes and centred, and the row."""
    rank, place = _rank(parents), {}
    rows = [[n for n in rank if rank[n] == level] for level in range(max(rank.values()) + 1)]
    for level, row in enumerate(rows):
        mean = {n: sum(place[p][0] for p in parents[n]) / max(1, len(parents[n])) for n in row}
        for at, node in enumerate(sorted(row, key=lambda n: (mean[n], n))):
            place[node] = (at + (max(map(len, rows)) - len(row)) / 2, level)
    return place

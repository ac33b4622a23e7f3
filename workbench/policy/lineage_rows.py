"""Row lineage over plain rows: where a row came from, and whether every row is accounted for.

A lineage row says: `row_id`, `source_id` (the source row that it stands on), `step`, `use`,
`version`, `outcome`, `detail`, `other`. Outcomes: `read` (step 0), `changed`, `removed` (detail: the
reason), `created` (other: its parent), `set` (detail: train, dev or locked; the last of a row).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]
LEARNS = "train"


def trace(lineage: Rows, row_id: str) -> list[dict[str, Any]]:
    """What happened to a row, from its source on; before a created row what its parent went through.

    Empty when the lineage knows no such row.
    """
    steps: list[dict[str, Any]] = []
    wanted, until, seen = row_id, float("inf"), set()
    while wanted and wanted not in seen:
        seen.add(wanted)
        own = sorted((dict(r) for r in lineage if r["row_id"] == wanted), key=lambda r: r["step"])
        steps = [row for row in own if row["step"] < until] + steps
        made = _made(own)
        wanted, until = (made["other"], made["step"]) if made else ("", until)
    return steps


def _made(rows: Rows) -> Mapping[str, Any] | None:
    return next((row for row in rows if row["outcome"] == "created"), None)


def gaps(
    lineage: Rows, raw_ids: Collection[str], final: Mapping[str, Collection[str]]
) -> list[str]:
    """Every breach of conservation, in words; empty when each row is accounted for.

    Each of the `raw_ids` was read once and is in exactly one set of `final` or left for a reason;
    each row of a set traces to one of them and stands in the set that the lineage names; a created
    row stands in train, as does its source: elsewhere it would judge, or leak what judges.
    """
    of: dict[str, list[Mapping[str, Any]]] = {}
    held: dict[str, list[str]] = {}
    for row in lineage:
        of.setdefault(str(row["row_id"]), []).append(row)
    for name, ids in final.items():
        for row_id in ids:
            held.setdefault(str(row_id), []).append(name)
    raw = set(map(str, raw_ids))
    found = [f"{one}: no lineage" for one in sorted((raw | held.keys()) - of.keys())]
    for row_id, rows in of.items():
        found += [f"{row_id}: {fault}" for fault in _own(rows, row_id in raw, held.get(row_id, []))]
        if _made(rows):
            found += [f"{row_id}: {fault}" for fault in _descent(row_id, of, raw, held)]
    return found


def _own(rows: Rows, is_raw: bool, held: Sequence[str]) -> Iterator[str]:
    """What is wrong with a row's own beginning and end."""
    outcomes = [row["outcome"] for row in rows]
    began = outcomes.count("read") + outcomes.count("created")
    ended = outcomes.count("removed") + outcomes.count("set")
    if began != 1 or ended != 1:
        yield f"begins {began} times and ends {ended} times"
    if ("read" in outcomes) != is_raw:
        yield "in the source, but not read" if is_raw else "read, but not in the source"
    if any(row["outcome"] == "removed" and not str(row["detail"]).strip() for row in rows):
        yield "was removed without a reason"
    said = [str(row["detail"]) for row in rows if row["outcome"] == "set"]
    if said != list(held):
        yield f"its lineage says {' and '.join(said) or 'no set'}, it is in {held or 'no set'}"


def _descent(
    row_id: str, of: Mapping[str, Rows], raw: Collection[str], held: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """What is wrong with where a created row came from."""
    source, seen = row_id, set()
    while (made := _made(of.get(source, ()))) and source not in seen:
        seen.add(source)
        source = str(made["other"])
    if source not in raw or any(row["source_id"] != source for row in of[row_id]):
        yield "its parent leads to no source row"
    if row_id in held and (held[row_id], held.get(source)) != ([LEARNS], [LEARNS]):
        yield "was created, and it or its source stands in a set that is not for training"

"""A drill for whoever reviews: evidence as it would be read, some of it with a defect that shows.

Each pack holds the brief, the executed notebooks and `summary.md`, with approvals of its own. In
some, a row of a table of the summary is wrong, and what stands around it, the brief or a notebook
contradicts it. Which ones, a file elsewhere says, whose digest `drill.json` names from the start;
an answer says for each pack the table at fault, or null.
"""

from __future__ import annotations

import json
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError, IntegrityError
from ...record import durable
from ...record.digest import canonical, file_digest, read_canonical
from ...record.store import Store
from .. import replay
from ..bundle import Candidate
from ..facts import FUNCTIONAL
from ..gating import EXAMINED
from ..project import Project
from ..release import signatures
from . import sandbox
from .drill import share
from .sandbox import Json, Sandbox

KIND, PLAN = "drill", "drill.json"
DEFECTS = (
    ("verdicts", lambda row, told, rng: {"figure": round((row["figure"] or 1) * 0.9 + 0.01, 4)}),
    ("verdicts", lambda row, told, rng: {"verdict": "failed"}),
    ("answers", lambda row, told, rng: {"expected": rng.choice(_others(row, told))}),
    ("approvals", lambda row, told, rng: {"by": rng.choice(told["ran"])["by"]}),
    ("approvals", lambda row, told, rng: {"until": f"{int(row['at'][:4]) - 1}{row['at'][4:]}"}),
)
"""A table, and what of a row is wrong: a figure that the text contradicts, a failed gate that the
conclusion does not know, a label that stands for another, an approval by who ran the stages, and
one that had ended before it was given."""
Tables = dict[str, list[Json]]


def _others(row: Json, told: Tables) -> list[str]:
    labels = {one[of] for one in told["answers"] for of in ("expected", "predicted")}
    return sorted(labels - {row["expected"]}) or ["unknown"]


def make(
    project: Project, store: Store, candidate: Candidate, *, packs: int, defects: int, seed: int,
    to: Path, key: Path,
) -> list[str]:  # fmt: skip
    """Write so many packs to a new folder, `defects` of them with one; returns their names.

    InputError when the folder is there, the key lies in it, or more defects than packs are asked.
    """
    to, key = to.resolve(), key.resolve()
    if to.exists() or key.exists() or key.is_relative_to(to) or not 0 <= defects <= packs:
        raise InputError("It takes a new folder, a new file for the key elsewhere, and no more "
                         "defects than packs.", given=f"{to}, {key}, {defects} in {packs}")  # fmt: skip
    rng, names = random.Random(seed), [f"pack-{n:02d}" for n in range(1, packs + 1)]
    answers: dict[str, str | None] = dict.fromkeys(names)
    kinds = rng.sample(DEFECTS, len(DEFECTS)) * packs
    spoilt = dict(zip(rng.sample(names, defects), kinds, strict=False))
    with sandbox.of(project, store, candidate) as box:
        for name in names:
            with box.copied() as other:
                other.sign(rng)
                answers[name] = _pack(other, to / name, spoilt.get(name), rng)
    facts = {"bundle": candidate.digest, "answers": answers, "salt": secrets.token_hex(16)}
    durable.create(key, canonical(facts), 0o600)
    plan = {"bundle": candidate.digest, "packs": names, "key": file_digest(key)}
    durable.create(to / PLAN, canonical(plan))
    return names


def _pack(box: Sandbox, folder: Path, defect: Any, rng: random.Random) -> str | None:
    """What a reviewer reads of a candidate; returns the table that is wrong."""
    folder.mkdir(parents=True)
    for one in (box.candidate.record, *map(box.record, box.candidate.records)):
        shutil.copyfile(one.path / "notebook.ipynb", folder / f"{one.stage}.ipynb")
    page = signatures.brief(box.store, box.candidate, "risk", box.evidence())
    (folder / "brief.html").write_text(page, encoding="utf-8")
    told = _told(box)
    sums: Counter[str] = Counter()
    for row in told["answers"]:
        sums[row["expected"]] += row["cases"]
    words = [f"{row['gate']} gave {row['figure']}." for row in told["verdicts"] if row["figure"]]
    words.append(f"All {len(told['verdicts'])} gates that block passed.")
    words += [f"{n} cases expect {label}." for label, n in sums.items()]
    if defect:
        row = rng.choice(told[defect[0]])
        row |= defect[1](row, told, rng)
    parts = ["# Summary", *words, *(f"## {name}\n\n{_table(told[name])}" for name in told)]
    (folder / "summary.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return defect[0] if defect else None


def _told(box: Sandbox) -> Tables:
    """The tables of a summary."""
    import pyarrow.parquet as parquet

    held = dict(replay.originals(box.record(FUNCTIONAL), box.store, box.home / "clear"))
    rows = parquet.read_table(held[EXAMINED]).to_pylist()
    ours = [row for row in rows if row.get("model", "candidate") == "candidate"]
    pairs = Counter((str(row["expected"]), str(row["predicted"])) for row in ours)
    ran = Counter(one.person for one in box.evidence().touches if one.act == "built")
    return {
        "verdicts": [{"gate": one["criterion"], "stage": one["stage"], "verdict": one["verdict"],
                      "figure": (one["figure"] or {}).get("value"), "asked": one["threshold"]}
                     for one in box.verdicts() if one["blocking"]],
        "answers": [{"expected": a, "predicted": b, "cases": n}
                    for (a, b), n in sorted(pairs.items())],
        "approvals": [{"by": one.by, "as": one.role, "at": one.time, "until": one.expires}
                      for one in box.approvals()],
        "ran": [{"by": name, "stages": n} for name, n in ran.items()],
    }  # fmt: skip


def _table(rows: Sequence[Json]) -> str:
    lines = [[*rows[0]], ["---"] * len(rows[0]), *([*row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def score(
    store: Store, folder: Path, key: Path, answers: Mapping[str, str | None], reader: str
) -> dict[str, Any]:
    """How many defects a reader found at their place, and how many sound packs they blamed; enters
    it. IntegrityError for another key; InputError when an answer is missing."""
    plan, held = (read_canonical(path.read_bytes()) for path in (folder / PLAN, key))
    if plan["key"] != file_digest(key):
        raise IntegrityError("This is not the key of these packs.", where=key, expected=plan["key"])
    if set(answers) != set(plan["packs"]):
        raise InputError("An answer for each pack is needed: the table at fault, or null.",
                         expected=", ".join(plan["packs"]), given=json.dumps(dict(answers)))  # fmt: skip
    right = held["answers"]
    spoilt = [name for name in right if right[name]]
    found = sum(answers[name] == right[name] for name in spoilt)
    blamed = sum(bool(answers[name]) for name in right if not right[name])
    told = {
        "bundle": plan["bundle"], "key": plan["key"], "reader": reader,
        "caught": share(found, len(spoilt)), "false_alarms": share(blamed, len(right) - len(spoilt)),
    }  # fmt: skip
    store.ledger.append(KIND, told)
    return told

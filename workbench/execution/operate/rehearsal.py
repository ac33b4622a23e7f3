"""`workbench preprod rehearse`: all that validation asked, asked again of what really serves.

What comes back is held against the sealed answers case by case, the log of decisions against its
chain and against what was asked, and the environment against its declaration. All of it is sealed
as a record of 60_preproduction in the team's store. Nobody is told an answer that is right: see
`policy.rehearsal`.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...policy.figures.calibration import scaled
from ...policy.gates import GateResult
from ...policy.monitoring.profile import build
from ...policy.operations import Operations
from ...policy.parity import gate, shape
from ...policy.rehearsal import (
    COLUMNS,
    STAGE,
    TURNED_AWAY,
    Case,
    Served,
    compared,
    item,
    log_gate,
    recorded,
)
from ...record.decisions import verify_log
from ...record.digest import canonical, digest
from ...record.store import Record, Store
from .. import bundle
from ..bundle import Candidate
from ..facts import CALIBRATION, FUNCTIONAL
from ..inputs import OUTPUTS, SEALED_SUFFIX
from ..pipeline import actor, alone
from ..project import Project
from ..trace import dataset_of, read_rows
from . import places, preprod, sealing
from .client import Client

SCENARIOS, SOURCE = "42_scenarios", "ledger:rehearsal"
AT_ONCE = 8
"""Requests under way together, at most; the server's own queue may be shorter."""
EVERY_S = 10.0
Say = Callable[[str], None]


# ---- what validation asked -----------------------------------------------------------------------


class Sealed:
    """The sealed answers of a candidate; each table is read once, after the ledger said so."""

    def __init__(self, store: Store, candidate: Candidate, who: str) -> None:
        self.store, self.candidate, self.who = store, candidate, who
        held = {one.digest: one for one in bundle.lineage(store, candidate)}
        self.records = {name: held[digest] for name, digest in candidate.records.items()
                        if digest in held}  # fmt: skip
        if FUNCTIONAL not in self.records:
            raise InputError("The candidate has no answers to hold the served ones against.",
                             where=candidate.record.ref, expected=FUNCTIONAL)  # fmt: skip
        self.temperatures = candidate.read("inference/settings.json")["temperatures"]

    def table(self, record: Record | None, name: str) -> list[dict[str, Any]] | None:
        """Rows of a table of a record, None where it left none."""
        known = {one.name for one in record.statement.subject} if record else set()
        if not known & {OUTPUTS + name, OUTPUTS + name + SEALED_SUFFIX}:
            return None
        return read_rows(self.store, record, name, self.who)

    def rows(self) -> Iterator[Case]:
        """The rows that 40_functional asked, and those of dev that the calibration did.

        A locked row is one of them, and this is no look: what is compared is the model's answer
        then and now. The right answer is not read, so that nobody can choose by what comes out.
        """
        functional, texts = self.records[FUNCTIONAL], self._texts()
        scored = self.table(functional, "probabilities.parquet")
        answers = scored or self.table(functional, "cases.parquet") or []
        more = self.table(self.records.get(CALIBRATION), "calibration.parquet") or []
        found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in [*answers, *(row for row in more if row["set"] == "dev")]:
            if row["model"] == "candidate":
                found[row.get("set", "locked"), row["case_id"]].append(row)
        for (of, name), fields in found.items():
            said = {row.get("task", "label"): row["predicted"] for row in fields}
            sure = {row["task"]: self._sure(row) for row in fields if "probabilities" in row}
            yield Case(name, of, texts[name], said, sure)

    def _texts(self) -> dict[str, str]:
        column = self.candidate.read("usecase.json")["data"]["text"]
        dataset = dataset_of(self.store, self.records[FUNCTIONAL])
        tables = (self.table(dataset, f"{name}.parquet") or () for name in ("locked", "dev"))
        return {row["row_id"]: row[column] for rows in tables for row in rows}

    def _sure(self, row: Mapping[str, Any]) -> float:
        at = self.temperatures.get(row["task"])
        shares = row["probabilities"]
        return float(scaled(shares, at).max() if at else max(shares))

    def scenarios(
        self, served: Operations, closed: Iterable[str]
    ) -> tuple[list[Case], dict[str, bool]]:
        """The library's texts with the answers of 42_scenarios, and which of them passed. A free
        reply is compared where it was as long as it may be now."""
        record = self.records.get(SCENARIOS)
        rows = self.table(record, "scenarios.parquet") or []
        own = [row for row in rows if row["model"] == "candidate"]
        form, fields = self.candidate.read("usecase.json").get("form"), list(closed)
        asked = record.statement.parameters if record else {}
        if form and asked.get("reply_tokens") == served.serving.reply_tokens:
            fields.append(form["free"])
        cases = [Case(row["case_id"], "scenarios", row["text"], {n: row[n] for n in fields})
                 for row in own]  # fmt: skip
        return cases, {row["case_id"]: row["verdict"] == "pass" for row in own}


# ---- what serves is asked ------------------------------------------------------------------------


def replay(
    ask: Callable[..., Mapping[str, Any]], cases: Sequence[Case], operations: Operations, say: Say
) -> dict[str, Mapping[str, Any]]:
    """Case id -> reply, every case asked once, no faster than one caller may.

    RunError when nothing answers. An interruption lets go of what has not been asked yet.
    """
    pace, begun = 60 / operations.serving.requests_per_minute, time.monotonic()
    turns, lock, told = itertools.count(), threading.Lock(), [begun]

    def one(case: Case) -> Mapping[str, Any]:
        with lock:
            turn = next(turns)
        time.sleep(max(0.0, begun + turn * pace - time.monotonic()))
        return ask(case.text, subject=case.id, kind="rehearsal", case=case.id)

    found: dict[str, Mapping[str, Any]] = {}
    workers = ThreadPoolExecutor(min(AT_ONCE, operations.serving.waiting))
    try:
        for case, reply in zip(cases, workers.map(one, cases), strict=True):
            found[case.id] = reply
            if time.monotonic() - told[0] > EVERY_S or len(found) == len(cases):
                told[0] = time.monotonic()
                rate = len(found) / max(told[0] - begun, 1e-9)
                say(f"{len(found)}/{len(cases)} asked, {rate:.1f} a second")
    finally:
        workers.shutdown(cancel_futures=True)
    return found


# ---- what came of it -----------------------------------------------------------------------------


def rehearse(
    project: Project, store: Store, traffic: Path | None = None, say: Say = lambda line: None
) -> Record:
    """Ask everything of the pre-production environment that is up, and seal what came of it.

    The record's verdicts say whether it passed. InputError where nothing is up, or for traffic
    that can't be read; RunError when what serves stops answering.
    """
    place = preprod.live(project)
    with alone(store, project.usecase.id):
        candidate = bundle.find(store, place.facts["bundle"], project.usecase.id)
        operations = Operations.parse(candidate.read("operations.json"))
        sealed = Sealed(store, candidate, actor(project.root)["name"])
        cases = list(sealed.rows())
        closed = {name for case in cases for name in case.answer}
        more, passed = sealed.scenarios(operations, sorted(closed))
        cases += more + (recorded(traffic.read_text(encoding="utf-8")) if traffic else [])
        known = len(list(places.decisions(place.folder / places.DECISIONS)))
        with Client(uds=place.uds, token=places.own_token(place.folder)) as client:
            replies = replay(client.predict, cases, operations, say)
        lines = list(places.decisions(place.folder / places.DECISIONS))[known:]
        found = collected(cases, replies, lines, closed)
        answered = [name for name, one in replies.items() if one["status"] not in TURNED_AWAY]
        findings = place.parity()
        found |= {"parity": [one.model_dump(mode="json") for one in findings],
                  "profile": build(lines, passed)}  # fmt: skip
        valid = {case.id for case in cases if case.set in ("locked", "dev")}
        told = [one["shape"] for one in lines if one.get("sentinel") in valid]
        shapes = {"validation": shape(told), "rehearsal": shape(one["shape"] for one in lines)}
        found["shapes"] = {n: one and one.model_dump(mode="json") for n, one in shapes.items()}
        found["observed"] = places.read(place.folder / places.OBSERVED)["statement"]["found"]
        problems = [str(one) for one in verify_log(place.folder / places.DECISIONS)]
        about = {"cases": len(cases), "answers": digest(found["items"]), "lines": len(lines)}
        found["rehearsal"] = place.rehearsed(about)

        def judged(outputs: Path) -> list[GateResult]:
            own = sealing.judge(operations.rehearsal, STAGE, outputs, operations.version)
            return [*own, gate(findings), log_gate(problems, answered, lines)]

        with tempfile.TemporaryDirectory() as folder:
            held = dict(written(found, Path(folder)))
            inputs = {path.stem: (path, SOURCE) for path in held.values()}
            return sealing.seal(project, store, STAGE, inputs, candidate, judged, held)


def collected(
    cases: Sequence[Case], replies: Mapping[str, Any], lines: Iterable[Mapping[str, Any]],
    closed: Iterable[str],
) -> dict[str, Any]:  # fmt: skip
    """Rows of `items.parquet` and of `aside.parquet`, by name without the suffix."""
    known, of = set(closed), defaultdict(list)
    for line in lines:
        of[line.get("sentinel")].append(line)
    found: dict[str, Any] = {"items": [], "aside": []}
    for case in cases:
        served = Served(of[case.id], replies[case.id])
        found["items" if compared(case, served) else "aside"].append(item(case, served, known))
    return found


def written(found: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, Path]]:
    """Name of the output -> file; tables as Parquet, the rest as canonical JSON."""
    import pandas as pd

    for name, value in found.items():
        table = name in ("items", "aside")
        path = folder / f"{name}.{'parquet' if table else 'json'}"
        if table:
            pd.DataFrame(value, columns=COLUMNS).to_parquet(path, index=False)
        else:
            path.write_bytes(canonical(value))
        yield path.name, path

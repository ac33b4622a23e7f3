"""An audit by sample (N3): training rows back to their source, cases on to their verdicts.

The sample is drawn by the SHA-256 of seed and name, the smallest first: whoever has the names draws
the same one, in any language. Rows of persons are read after a ledger entry says so; the work paper
holds ids and keyed digests, never a text. The same records, sample and seed give the same paper.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..policy import lineage_rows
from ..policy.criteria import Policy
from ..record.lineage import Graph
from ..record.store import Record, Store
from ..record.verify import foreign_keys, verify_record
from . import trace
from .data_file import Row, kind_of, parts
from .gating import EXAMINED
from .inputs import OUTPUTS, SEALED_SUFFIX
from .locked import SET, Locked
from .release.registry import ancestry
from .retention import declaration

ADAPT, CANDIDATE = "30_adapt", "candidate"
OBJECTIVE = ("That what the model learned from is what was approved, that nothing which judges it "
             "was among it, and that each case was judged by its locked answer.")  # fmt: skip
METHOD = ("Of all names in the population those with the smallest SHA-256 of `seed NUL name`. A "
          "row: its lineage leads to a row of the sealed source, equal where no step changed it, "
          "and neither its id nor its text stands in the locked set. A case: one sealed answer a task, "
          "expecting what the locked set says, a verdict for every gate it counts in.")  # fmt: skip


def audit(store: Store, record: Record, *, sample: int, seed: int, who: str) -> dict[str, Any]:
    """The work paper on what a record stands on, as plain values.

    Nothing is drawn where seals do not verify: `problems` names what. InputError when no training
    is among the ancestors, or rows were deleted.
    """
    if sample < 1:
        raise InputError("An audit draws at least one.", given=f"--sample {sample}")
    signed = store.ledger.signed()
    found, missing = ancestry(store, signed, {record.digest})
    held = sorted(found.values(), key=lambda one: (one.stage, one.id))
    adapter = next((one for one in held if one.stage == ADAPT), None)
    if adapter is None:
        raise InputError("No training is among the ancestors.", where=record.ref)
    keys = [*store.public_keys, *foreign_keys(signed.of("import"))]
    problems = [str(problem) for one in held for problem in verify_record(one, keys)]
    problems += [f"not in this store: {one}" for one in missing]
    paper = {
        "version": 1, "objective": OBJECTIVE, "method": METHOD, "seed": seed, "sample": sample,
        "subject": {"record": record.ref, "digest": record.digest},
        "records": [{"ref": one.ref, "digest": one.digest} for one in held],
        "problems": problems, "population": {}, "rows": [], "cases": [],
    }  # fmt: skip
    if not problems:
        paper |= _drawn(_Opened(store, Graph(held), adapter, who), sample, seed)
    bad = [one for kind in ("rows", "cases") for one in paper[kind] if one["exceptions"]]
    return paper | {"exceptions": len(bad), "conclusion": _conclusion(paper, len(bad))}


def _conclusion(paper: Mapping[str, Any], bad: int) -> str:
    if paper["problems"]:
        return "Seals do not verify: nothing was drawn, and nothing can be concluded."
    n = f"{len(paper['rows'])} rows and {len(paper['cases'])} cases"
    return f"{bad} exception(s) in {n}." if bad else f"No exception in {n}."


def draw(names: Iterable[str], sample: int, seed: int) -> list[str]:
    """So many of the names, by the digest of each with the seed."""
    return sorted(names, key=lambda one: hashlib.sha256(f"{seed}\0{one}".encode()).digest())[
        :sample
    ]


class _Opened:
    """The sealed rows that the audit is about, read once."""

    def __init__(self, store: Store, graph: Graph, adapter: Record, who: str) -> None:
        self.store, self.dataset = store, trace.dataset_of(store, adapter)
        self.examined = [r for r in graph.records.values() if _named(r, OUTPUTS + EXAMINED)]
        read = sorted({one.digest for one in (self.dataset, *self.examined)})
        body = {"records": read, "who": who, "purpose": "audit"}
        store.ledger.append("rows-read", body)
        self.facts = declaration(graph, self.dataset)
        self.lineage = self.rows(self.dataset, OUTPUTS + trace.LINEAGE)
        self.train = {
            str(r["row_id"]): r for r in self.rows(self.dataset, f"{OUTPUTS}train.parquet")
        }
        locked = self.rows(self.dataset, f"{OUTPUTS}{SET}.parquet")
        self.locked = Locked({str(r["row_id"]): r for r in locked}, self.facts["label"])
        self.texts = {self.text(row) for row in locked}
        raw = self.rows(self.dataset, f"{OUTPUTS}raw/", self.facts.get("format", "auto"))
        self.raw = {f"r{n:07d}": row for n, row in enumerate(raw, start=1)}
        self.criteria = {one.digest: _criteria(graph, one) for one in self.examined}
        found = {one.stage: self.rows(one, OUTPUTS + EXAMINED) for one in self.examined}
        self.answers = {stage: list(filter(_examined, rows)) for stage, rows in found.items()}

    def rows(self, record: Record, start: str, form: str = "parquet") -> list[Row]:
        """Of the sealed files whose path begins so, in order."""
        found: list[Row] = []
        for name in _named(record, start):
            how, path = record.encrypted(name), record.file(name)
            data = self.store.cipher.read(path, how["snapshot"]) if how else path.read_bytes()
            kind = kind_of(name.removesuffix(SEALED_SUFFIX), form)
            found += [row for _, row in parts(data, kind) if row]
        return found

    def text(self, row: Row) -> str:
        return " ".join(str(row.get(self.facts["text"], "")).casefold().split())

    def digest(self, row: Row) -> str:
        """Equal for equal rows of this store, and not to be guessed outside."""
        return self.store.cipher.keyed(json.dumps(row, sort_keys=True, default=str).encode())


def _examined(row: Row) -> bool:
    """Is it the candidate's answer to a case that was locked?"""
    ours = row.get("model", CANDIDATE) == CANDIDATE and row.get("set", SET) == SET
    return ours and "expected" in row


def _named(record: Record, start: str) -> list[str]:
    return [one.name for one in record.statement.subject if one.name.startswith(start)]


def _criteria(graph: Graph, record: Record) -> Policy | None:
    """The criteria that judged a record, as they were frozen."""
    for item in record.statement.inputs:
        made = graph.records.get(item.annotations.get("record", ""))
        if item.annotations.get("input") == "criteria" and made:
            return Policy.parse(json.loads(made.file(item.name).read_text(encoding="utf-8")))
    return None


def _drawn(held: _Opened, sample: int, seed: int) -> dict[str, Any]:
    cases = {f"{one.stage}/{row['case_id']}": (one, str(row["case_id"]))
             for one in held.examined for row in held.answers[one.stage]}  # fmt: skip
    return {
        "population": {"rows": len(held.train), "cases": len(cases)},
        "rows": [_row(held, name) for name in draw(held.train, sample, seed)],
        "cases": [_case(held, *cases[name]) for name in draw(cases, sample, seed)],
    }


def _row(held: _Opened, row_id: str) -> dict[str, Any]:
    """A training row traced to its source."""
    row, steps = held.train[row_id], lineage_rows.trace(held.lineage, row_id)
    source = str(steps[0]["source_id"]) if steps else None
    origin = held.raw.get(source or "")
    return {
        "row": row_id, "digest": held.digest(row), "source": source,
        "file": {"path": held.facts["path"], "record": held.dataset.ref},
        "source_digest": held.digest(origin) if origin else None,
        "steps": [f"{one['use'] or one['step']}: {one['outcome']}" for one in steps],
        "exceptions": list(_row_faults(held, row, steps, origin)),
    }  # fmt: skip


def _row_faults(
    held: _Opened, row: Row, steps: Sequence[Mapping[str, Any]], origin: Row | None
) -> Iterator[str]:
    outcomes = {one["outcome"] for one in steps}
    if not steps or (steps[-1]["outcome"], steps[-1]["detail"]) != ("set", lineage_rows.LEARNS):
        yield "its lineage does not put it into the training set"
    if origin is None:
        yield "its source row is missing"
    elif not outcomes & {"changed", "created"}:
        if any(str(row[name]) != str(origin[name]) for name in row.keys() & origin.keys()):
            yield "it differs from its source, and no step says why"
    if str(row["row_id"]) in held.locked.rows or held.text(row) in held.texts:
        yield "leaked: the locked set holds it too"


def _case(held: _Opened, record: Record, case: str) -> dict[str, Any]:
    """A case traced to its answers and to the verdicts that it counted in."""
    rows = [row for row in held.answers[record.stage] if str(row["case_id"]) == case]
    policy, given = held.criteria[record.digest], record.statement.predicate.workbench_verdicts
    gates = {gate.id for gate in (policy.of(record.stage) if policy else ())
             if gate.table == EXAMINED and any(_counts(gate.where, r) for r in rows)}  # fmt: skip
    verdicts = {one["criterion"]: one["verdict"] for one in given if one["criterion"] in gates}
    faults = [f"no verdict of {name}" for name in sorted(gates - verdicts.keys())]
    return {
        "case": case, "stage": record.stage, "record": record.ref,
        "digests": [held.digest(row) for row in rows], "verdicts": verdicts,
        "exceptions": faults + list(_case_faults(held, rows)),
    }  # fmt: skip


def _counts(where: Mapping[str, Any], row: Row) -> bool:
    return all(row.get(name) in (value if isinstance(value, list) else [value])
               for name, value in where.items())  # fmt: skip


def _case_faults(held: _Opened, rows: Sequence[Row]) -> Iterator[str]:
    if len({row.get("task") for row in rows}) < len(rows):
        yield "it was answered twice"
    try:
        wanted = held.locked.examined([dict(row) for row in rows])
    except InputError:
        yield "nobody locked it"
        return
    if any(str(a["expected"]) != str(b["expected"]) for a, b in zip(rows, wanted, strict=True)):
        yield "its sealed answer expects something else than the locked set"

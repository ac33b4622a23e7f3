"""Rehearsal: all that validation asked, asked again of the real stack, compared and sealed (E4)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workbench.execution import bundle
from workbench.execution.isolation import available
from workbench.execution.operate import places, preprod, rehearsal, sealing
from workbench.execution.project import Project
from workbench.policy.operations import Operations
from workbench.policy.rehearsal import STAGE, Case
from workbench.record.store import Store
from workbench.record.verify import verify_record

from ...conftest import MARKER, copied, rows
from .test_preprod import placed

SERVING = {"version": 1, "load": {"requests_per_s": 1}, "serving": {"requests_per_minute": 60000},
           "monitor": {"signals": [{"id": "e", "watch": "error", "at_most": 0.1, "harm": "h",
                                    "why": "w"}]}}  # fmt: skip
CASES = [Case(f"r{n}", "locked", "the card", {"label": "cards"}) for n in range(20)]


def test_every_case_is_asked_once_as_an_operator_may():
    """With its id, as a rehearsal; a subject of its own, so that both arms could be met."""
    asked = []

    def ask(text: str, **how: Any) -> dict:
        asked.append((text, *how.values()))
        return {"status": 200}

    found = rehearsal.replay(ask, CASES, Operations.parse(SERVING), lambda line: None)
    assert list(found) == [case.id for case in CASES]
    assert sorted(asked) == sorted((c.text, c.id, "rehearsal", c.id) for c in CASES)


def test_it_asks_no_faster_than_one_caller_may():
    """Else the server turns a part of it away, and the rehearsal shows its rate limit."""
    import time

    slow = Operations.parse(SERVING | {"serving": {"requests_per_minute": 1200}})
    begun = time.monotonic()
    rehearsal.replay(lambda text, **how: {"status": 200}, CASES[:5], slow, lambda line: None)
    assert time.monotonic() - begun >= 4 * 0.05


def test_an_interruption_lets_go_of_what_was_not_asked():
    asked = []

    def ask(text: str, **how: Any) -> dict:
        asked.append(how["case"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rehearsal.replay(ask, CASES * 50, Operations.parse(SERVING), lambda line: None)
    assert len(asked) < 100


# ---- the whole of it, once -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def rehearsed(registered: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A place, declared as it is, and a rehearsal in it with recorded traffic."""
    if available()[0] == "none":
        pytest.skip(f"no namespaces here: {available()[1]}")
    home = tmp_path_factory.mktemp("rehearsed")
    with copied(registered, home) as lab, placed(lab) as place:
        assert (told := lab.cli("environment", "declare", "preproduction")).code == 0, told.err
        lab.commit()
        lab.place, traffic = place, lab.home / "traffic.jsonl"
        traffic.write_text("\n".join(json.dumps({"text": text}) for text, _ in rows(20)))
        lab.told = lab.cli("preprod", "rehearse", "--traffic", traffic, "--json")
        yield lab


def test_what_serves_as_validated_passes(rehearsed):
    """Each criterion, parity and the log; the record verifies, and names the candidate."""
    assert rehearsed.told.code == 0, rehearsed.told.err
    gates = {one["criterion"]: one["verdict"] for one in rehearsed.told.json["gates"]}
    assert gates == dict.fromkeys(("as_validated", "parity", "log"), "passed")
    record, store = rehearsed.record(STAGE, "governed"), rehearsed.store("governed")
    assert verify_record(record, store.public_keys) == []
    candidate = bundle.find(store)
    assert candidate.record.digest in {
        one.annotations.get("record") for one in record.statement.inputs
    }


def test_every_sealed_case_was_asked(rehearsed):
    """All locked rows that 40_functional asked, with the answer of then and the answer of now."""
    record = rehearsed.record(STAGE, "governed")
    items = pd.read_parquet(record.file("outputs/items.parquet"))
    functional = rehearsed.record("40_functional", "governed")
    wanted = rehearsal.Sealed(
        rehearsed.store("governed"), bundle.find(rehearsed.store("governed")), "t"
    )
    cases = wanted.table(functional, "cases.parquet")
    assert set(items["case_id"]) == {row["case_id"] for row in cases}
    assert (items["expected"] == items["served"]).all() and (items["differs"] == 0).all()
    aside = pd.read_parquet(record.file("outputs/aside.parquet"))
    assert len(aside) == 20 and aside["differs"].isna().all() and set(aside["set"]) == {"traffic"}


def test_no_text_of_a_person_is_in_what_it_leaves(rehearsed):
    """Neither in the record, nor in the place: ids, labels and numbers only."""
    record = rehearsed.record(STAGE, "governed")
    for folder in (record.path, rehearsed.place.folder):
        files = (path for path in folder.rglob("*") if path.is_file())
        assert [path for path in files if MARKER.encode() in path.read_bytes()] == []


def test_the_ledger_says_that_rows_were_read_and_no_look_was_spent(rehearsed):
    """Equality is no look: the right answers were not read, and the budget is as it was."""
    ledger = rehearsed.store("governed").ledger
    assert ledger.entries("rows-read")
    runs = {one.body["run"] for one in ledger.entries("look") if "run" in one.body}
    assert rehearsed.record(STAGE, "governed").statement.run_id not in runs


def test_the_head_of_the_places_own_ledger_is_kept(rehearsed):
    """The place will be gone; what it said is bound by the record."""
    record = rehearsed.record(STAGE, "governed")
    held = json.loads(record.file("outputs/rehearsal.json").read_bytes())
    own = Store.open(rehearsed.place.folder / preprod.OWN_STORE).ledger
    said = own.entries(preprod.KIND)[-1].body
    assert (said["act"], said["answers"]) == ("rehearsed", held["answers"])
    assert held["ledger"]["root"] == own.head().root.hex()


def test_one_answer_that_differs_fails_the_gate(rehearsed, tmp_path):
    """The same lines with one answer altered: the criterion of operations.yaml fails, and by it
    the rehearsal."""
    project, store = Project.load(rehearsed.usecase), rehearsed.store("governed")
    cases = list(rehearsal.Sealed(store, bundle.find(store), "t").rows())
    lines = [one for one in places.decisions(rehearsed.place.folder / places.DECISIONS)
             if one["kind"] == "rehearsal"]  # fmt: skip
    replies = {line["sentinel"]: {"status": 200, "answer": dict(line["answer"])} for line in lines}

    def verdict(lines: list[dict]) -> Any:
        found = rehearsal.collected(cases, replies, lines, {"label"})
        list(rehearsal.written(found, tmp_path))
        asked = project.operations
        [gate] = sealing.judge(asked.rehearsal, STAGE, tmp_path, asked.version)
        return gate

    assert verdict(lines).verdict == "passed"
    one = next(line for line in lines if line["sentinel"] == cases[0].id)
    one["answer"] = {"label": "another"}
    assert verdict(lines).verdict == "failed" and verdict(lines).blocking

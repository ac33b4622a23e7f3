"""Standing gates: each planted fault is caught by the gate that should, and by no other.

Where the fault is planted is drawn by seed. That no other gate sees it shows what would happen
without that one: the dataset would go through.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from workbench.policy.gates import GateVerdict
from workbench.policy.governance import GATES, Evidence, judge
from workbench.policy.never_learn import Review, rule_digest
from workbench.policy.usecase import Data

SEEDS = range(5)
PERSONAL = {"class": "personal", "purpose": "routed", "owner": "ops", "retention_days": 30,
            "legal_basis": "contract"}  # fmt: skip
INTERNAL = {"class": "internal_operational", "purpose": "target", "owner": "ops"}
DATA = {
    "path": "a.csv", "text": "text", "label": "label", "group": "customer", "steps": [],
    "columns": {"text": PERSONAL, "label": INTERNAL, "customer": PERSONAL, "note": INTERNAL},
    "never_learn": [{"id": "N1", "entities": ["EMAIL_ADDRESS"], "reason": "nobody agreed"},
                    {"id": "N2", "pattern": "(?i)project lighthouse", "reason": "secret"}],
}  # fmt: skip
N = 40


def proposal(column: str, data_class: str) -> dict[str, Any]:
    return {"column": column, "data_class": data_class, "confidence": "high", "why": "seen",
            "entities": {}}  # fmt: skip


class World:
    """A sound dataset of N rows in three sets, in which a test plants one fault."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.data: dict[str, Any] = {**DATA, "columns": dict(DATA["columns"])}
        self.ids = [f"r{i:07d}" for i in range(1, N + 1)]
        cut = {"train": self.ids[:20], "dev": self.ids[20:28], "locked": self.ids[28:]}
        self.sets = {
            name: [{"row_id": i, "text": f"message number {i}", "label": "a", "customer": f"c{i}",
                    "note": "", "synthetic": False} for i in held]
            for name, held in cut.items()
        }  # fmt: skip
        self.lineage = [self.line(i, 0, "read", "") for i in self.ids]
        self.lineage += [self.line(i, 1, "set", name) for name, held in cut.items() for i in held]
        self.manifest: list[dict[str, Any]] = []
        self.history: dict[tuple[str, str], str] = {}
        self.reviews: list[Review] = []
        self.proposals = [proposal(n, str(c["class"])) for n, c in self.data["columns"].items()]

    @staticmethod
    def line(row_id: str, step: int, outcome: str, detail: str) -> dict[str, Any]:
        return {"row_id": row_id, "source_id": row_id, "step": step, "use": "", "version": "",
                "outcome": outcome, "detail": detail, "other": ""}  # fmt: skip

    def any_row(self, *names: str) -> dict[str, Any]:
        return self.chance.choice(self.sets[self.chance.choice(names or tuple(self.sets))])

    def evidence(self) -> Evidence:
        tables = {f"{name}.parquet": rows for name, rows in self.sets.items()}
        tables["lineage.parquet"] = self.lineage
        return Evidence(
            data=Data.parse(self.data), table=tables.get, manifest=self.manifest, raw_ids=self.ids,
            proposals=self.proposals, reviews=self.reviews, history=self.history,
            now="2026-06-01T00:00:00Z",
        )  # fmt: skip

    def verdicts(self) -> dict[str, str]:
        return {one.criterion: str(one.verdict) for one in judge(self.evidence())}


def not_passed(world: World) -> set[str]:
    return {name for name, verdict in world.verdicts().items() if verdict != GateVerdict.PASSED}


# -- the planted faults, each with the gate that must see it ---------------------------------------


def subject_in_both_sets(world: World) -> None:
    world.any_row("train", "dev")["customer"] = world.any_row("locked")["customer"]


def text_in_two_sets(world: World) -> None:
    world.any_row("train", "dev")["text"] = world.any_row("locked")["text"].upper() + "!!"


def identifiers_named_note(world: World) -> None:
    place = [one["column"] for one in world.proposals].index("note")
    world.proposals[place] = proposal("note", world.chance.choice(["personal", "health"]))


def code_changed_without_a_version(world: World) -> None:
    world.data["steps"] = [{"use": "own_step", "why": "w"}]
    world.manifest = [{"use": "own_step", "version": "1", "why": "w", "arguments": {}, "accept": {},
                       "step": 1, "created": 0,
                       "code_sha256": "b" * 64}]  # fmt: skip
    world.history = {("own_step", "1"): "a" * 64}


def undeclared_step(world: World) -> None:
    world.manifest = [{"use": "filter", "version": "1", "why": "w", "arguments": {}, "accept": {},
                       "step": 1, "created": 0,
                       "code_sha256": "b" * 64}]  # fmt: skip


def row_without_lineage(world: World) -> None:
    lost = world.chance.choice(world.ids)
    world.lineage = [line for line in world.lineage if line["row_id"] != lost]


def row_that_vanished(world: World) -> None:
    rows = world.sets[world.chance.choice(list(world.sets))]
    rows.remove(world.chance.choice(rows))


def row_from_nowhere(world: World) -> None:
    rows = world.sets[world.chance.choice(list(world.sets))]
    rows.append(rows[0] | {"row_id": "x1", "text": "from nowhere", "customer": "cx"})


def forbidden_entity(world: World) -> None:
    world.any_row("train", "dev")["text"] += " write to ann.lee@example.org"


def forbidden_pattern(world: World) -> None:
    world.any_row("train", "dev")["note"] = "about Project Lighthouse"


FAULTS: dict[Callable[[World], None], str] = {
    subject_in_both_sets: "data_sets_apart",
    text_in_two_sets: "data_sets_apart",
    identifiers_named_note: "data_classes",
    code_changed_without_a_version: "data_steps",
    undeclared_step: "data_steps",
    row_without_lineage: "data_lineage",
    row_that_vanished: "data_lineage",
    row_from_nowhere: "data_lineage",
    forbidden_entity: "data_never_learn",
    forbidden_pattern: "data_never_learn",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sound_dataset_passes_every_gate(seed):
    """Else the faults below would prove nothing."""
    assert World(seed).verdicts() == dict.fromkeys(GATES, "passed")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_caught_by_its_gate_and_by_no_other(fault, seed):
    """So that without that gate the dataset would go through."""
    world = World(seed)
    fault(world)
    assert not_passed(world) == {FAULTS[fault]}
    [found] = [one for one in judge(world.evidence()) if one.criterion == FAULTS[fault]]
    assert found.blocking and found.failing and found.figure.value >= 1


def test_every_gate_has_a_fault():
    """A gate that nothing ever failed is no control."""
    assert set(FAULTS.values()) == set(GATES)


# -- what excuses, and what does not --------------------------------------------------------------


def test_a_reason_to_differ_excuses_a_column_and_is_told():
    """The person who classifies says why, over their signature."""
    world = World(0)
    identifiers_named_note(world)
    world.data["columns"]["note"] = INTERNAL | {"override": "ticket numbers of ours"}
    assert not_passed(world) == set()


def reviewed(world: World, **facts) -> Review:
    rule = world.evidence().data.never_learn[0]
    return Review.parse({"usecase": "u", "rule": rule.id, "rule_sha256": rule_digest(rule),
                         "reason": "public addresses", "expires": "2026-12-31",
                         "reviewed_by": "P. Officer"} | facts)  # fmt: skip


def test_a_review_in_force_lets_a_rule_rest_and_the_verdict_names_it():
    """Who, until when, why; expired or of another rule it excuses nothing."""
    world = World(0)
    forbidden_entity(world)
    world.reviews = [reviewed(world)]
    [found] = [one for one in judge(world.evidence()) if one.criterion == "data_never_learn"]
    assert found.verdict == "passed" and "P. Officer until 2026-12-31" in found.reason
    for facts in ({"expires": "2026-05-31"}, {"rule": "N2"}, {"rule_sha256": "0" * 64}):
        world.reviews = [reviewed(world, **facts)]
        assert not_passed(world) == {"data_never_learn"}


def test_locked_rows_may_hold_what_may_not_be_learned():
    """They judge; the model never learns them."""
    world = World(0)
    world.any_row("locked")["text"] += " write to ann.lee@example.org"
    assert not_passed(world) == set()


def test_a_verdict_never_holds_a_value():
    """Verdicts stand in the clear."""
    world = World(3)
    for fault in (forbidden_entity, text_in_two_sets, subject_in_both_sets):
        fault(world)
    text = str([one.as_dict() for one in judge(world.evidence())])
    assert "ann.lee" not in text and "message number" not in text.lower()


# -- what is not there is not a pass --------------------------------------------------------------


@pytest.mark.parametrize("table", ["lineage", "train", "dev", "locked"])
def test_a_missing_table_is_not_evaluated(table):
    """Neither is one that can't be read."""
    evidence = World(0).evidence()
    for gone in (lambda name: None, lambda name: 1 / 0):
        changed = replace(
            evidence,
            table=lambda n, gone=gone: gone(n) if n == f"{table}.parquet" else evidence.table(n),
        )
        assert "not_evaluated" in {str(one.verdict) for one in judge(changed)}


def test_without_inspection_or_manifest_nothing_passes_for_them():
    """A dataset that nobody inspected, and steps that nobody wrote down."""
    found = judge(replace(World(0).evidence(), proposals=None, manifest=None))
    gates = {one.criterion: str(one.verdict) for one in found}
    assert gates["data_classes"] == gates["data_steps"] == "not_evaluated"


@pytest.mark.parametrize("use", ["redact", "synthesise"])
def test_a_step_that_was_not_accepted_is_never_a_pass(use):
    """No sample, no criteria: its gates are there and do not pass."""
    world = World(0)
    world.data["steps"] = [{"use": use, "why": "w"}]
    world.manifest = [{"use": use, "version": "1", "why": "w", "arguments": {}, "accept": {},
                       "step": 1, "created": 0,
                       "code_sha256": "a" * 64}]  # fmt: skip
    assert any(name.startswith(("redaction", "synthesis")) for name in not_passed(world))

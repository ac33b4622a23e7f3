"""The change envelope: inside is inside to the bound, and outside is named by its very field."""

from __future__ import annotations

import copy
import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.errors import InputError
from workbench.policy.classes import DataClass
from workbench.policy.criteria import Policy
from workbench.policy.envelope import (
    GATE,
    MACHINE,
    Change,
    Envelope,
    contradictions,
    decide,
    render,
    tunable,
)
from workbench.policy.governance import GATES
from workbench.policy.usecase import UseCase

ROOT = Path(__file__).resolve().parents[2]
PACKS = ROOT / "templates" / "usecases"
NAMES = ("card-support", "intent-routing", "patient-messages", "traffic-scenes")
SPEC = importlib.util.spec_from_file_location("drawn", ROOT / "tools" / "measures" / "envelope.py")
campaign = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(campaign)


@pytest.fixture
def document() -> dict[str, Any]:
    """The router's envelope as it stands in the file."""
    return yaml.safe_load((PACKS / "intent-routing" / "envelope.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def envelope(document) -> Envelope:
    return Envelope.parse(document)


@pytest.fixture
def run(envelope) -> Change:
    """A run inside."""
    return campaign.inside(envelope, 0)


def fields(envelope: Envelope, change: Change) -> list[str]:
    return [one.field for one in decide(envelope, change)]


def hyper(run: Change, **values: Any) -> Change:
    return replace(run, hyperparameters={**run.hyperparameters, **values})


# ---- the campaign --------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", NAMES)
@pytest.mark.parametrize("seeds", [40, pytest.param(1000, marks=pytest.mark.prove)])
def test_drawn_runs_are_decided_field_by_field(pack, seeds):
    """Every mutated run is refused by exactly the field that was moved one step out, over all kinds
    of fields; every run drawn inside, at the bounds too, is accepted."""
    found = campaign.counts(pack, range(seeds))
    assert found == {"fields": 21, "refused": seeds, "accepted": seeds, "n": seeds}


@pytest.mark.parametrize("pack", NAMES)
def test_every_single_way_out_is_refused(pack):
    """Not only the drawn ones: both ends of each range, and what is near each listed value."""
    found = campaign.envelope(pack)
    ways = [way for seed in range(5) for way in campaign.mutations(found, seed)]
    assert len(ways) > 150
    for field, change in ways:
        assert fields(found, change) == [field]


def test_an_envelope_without_the_bound_would_let_it_through(document, envelope, run):
    """The refusal is the bound's doing: where it is wider, the same run is inside."""
    change = hyper(run, rank=33)
    assert fields(envelope, change) == ["modifications.hyperparameters.rank"]
    document["modifications"]["hyperparameters"]["rank"]["at_most"] = 33
    assert decide(Envelope.parse(document), change) == []


# ---- deciding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [True, False, "16", float("nan"), float("inf"), None, [16]])
def test_only_a_number_is_inside_a_range(envelope, run, value):
    """A truth value, a number written as text, NaN and infinity are outside, whatever they equal."""
    assert fields(envelope, hyper(run, rank=value)) == ["modifications.hyperparameters.rank"]


@pytest.mark.parametrize("value", [True, "7", 7.5, None])
def test_only_the_listed_value_is_inside_a_list(document, run, value):
    """1 and 1.0 are the same number; True and "1" are not."""
    document["modifications"]["hyperparameters"]["seed"]["one_of"] = [1, 7]
    found = Envelope.parse(document)
    assert decide(found, hyper(run, seed=1.0)) == []
    assert fields(found, hyper(run, seed=value)) == ["modifications.hyperparameters.seed"]


@pytest.mark.parametrize("share", [float("nan"), -0.01, True, "0.01"])
def test_a_share_that_is_no_share_is_outside(envelope, run, share):
    """Nothing that can't be compared slips below the bound."""
    assert fields(envelope, replace(run, trainable_share=share)) == [
        "modifications.trainable_share"
    ]


def test_what_is_not_known_yet_is_outside_of_nothing(envelope):
    """Before a run there are no files; the plan is decided by what it says."""
    assert decide(envelope, Change()) == []
    assert fields(envelope, Change(method="full", rows=1)) == [
        "modifications.method",
        "modifications.rows",
    ]


def test_a_parameter_that_the_envelope_does_not_name_is_outside(document, run):
    """An envelope that leaves one out is incomplete, and says which."""
    del document["modifications"]["hyperparameters"]["patience"]
    (found,) = decide(Envelope.parse(document), run)
    assert found.field == "modifications.hyperparameters.patience"
    assert "incomplete" in found.expected


def test_a_name_that_is_no_parameter_is_outside(document, run):
    """A misspelt bound must not look like one that is kept."""
    named = document["modifications"]["hyperparameters"]
    named["learningrate"] = named["learning_rate"]
    (found,) = decide(Envelope.parse(document), run)
    assert found.field == "modifications.hyperparameters.learningrate"
    assert "no such parameter" in found.given


def test_an_empty_set_of_parameters_is_not_an_unknown_one(envelope):
    """A stage without parameters leaves every bound without its parameter."""
    named = envelope.modifications.hyperparameters
    assert len(decide(envelope, Change(hyperparameters={}))) == len(named)


def test_every_field_outside_is_named_at_once(envelope, run):
    """Whoever corrects a run should not learn of its faults one by one."""
    change = replace(hyper(run, rank=99, epochs=0), method="full", data_classes=("health", "x"))
    found = {one.field: one for one in decide(envelope, change)}
    assert sorted(found) == [
        "modifications.data_classes",
        "modifications.hyperparameters.epochs",
        "modifications.hyperparameters.rank",
        "modifications.method",
    ]
    assert "'health', 'x'" in str(found["modifications.data_classes"])


def test_a_base_is_narrowed_by_each_fact(document, run):
    """Two allowed models are two, not four: the name of one with the weights of the other is out."""
    other = {"name": "B", "revision": "1", "sha256": "b" * 64, "why": "w"}
    document["modifications"]["base"].append(other)
    found = Envelope.parse(document)
    assert decide(found, replace(run, name="B", revision="1", sha256="b" * 64)) == []
    assert fields(found, replace(run, sha256="b" * 64)) == ["modifications.base.sha256"]
    assert fields(found, replace(run, revision="1")) == ["modifications.base.revision"]


def test_a_base_by_digest_alone_may_have_any_name(document, run):
    """What is not in the envelope is not asked for."""
    document["modifications"]["base"] = [{"sha256": "b" * 64, "why": "w"}]
    found = Envelope.parse(document)
    assert decide(found, replace(run, name="X", sha256="b" * 64)) == []
    assert fields(found, run) == ["modifications.base.sha256"]


def test_data_classes_may_come_as_text_or_as_classes(envelope, run):
    """Both are the same class."""
    assert decide(envelope, replace(run, data_classes=[DataClass.PERSONAL, "public"])) == []


def test_parameters_of_the_machine_need_no_bound():
    """They change no weight but through the domain, which is declared and compared elsewhere."""
    given = dict.fromkeys([*MACHINE, "method", "rows", "rank", "seed", "dtype"], 1)
    assert set(tunable(given)) == {"rank", "seed", "dtype"}


# ---- what was said, and what lies there ----------------------------------------------------------


def test_what_was_planned_and_did_not_happen_is_a_contradiction(run):
    """Rank 16 stated, rank 32 found; a smaller number of rows than planned is none."""
    planned = Change(method=run.method, hyperparameters={"rank": 16, "epochs": 5}, rows=500)
    observed = replace(run, hyperparameters={"rank": 32, "epochs": 5.0}, rows=400)
    (found,) = contradictions(planned, observed)
    assert str(found) == "stated.rank: expected 16, given 32"


def test_what_was_not_said_contradicts_nothing(run):
    """None is not a claim."""
    assert contradictions(Change(), run) == contradictions(run, Change()) == []


# ---- the document --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("version",), True, "integer"),
        (("modifications", "base"), [], "at least 1"),
        (("modifications", "base", 0), {"name": "x", "why": "w"}, "name and revision"),
        (("modifications", "base", 0, "sha256"), "ABC", "pattern"),
        (("modifications", "method", "one_of"), ["lora", "qlora"], "lora, dora"),
        (("modifications", "data_classes", "one_of"), ["secret"], "public"),
        (("modifications", "target_modules"), {"at_most": 3, "why": "w"}, "names of modules"),
        (("modifications", "rows"), {"at_least": 3, "why": "w"}, "a range that ends"),
        (("modifications", "rows"), {"at_least": 3, "at_most": 2, "why": "w"}, "no greater"),
        (("modifications", "rows", "one_of"), [5], "a range that ends"),
        (("modifications", "rows", "at_most"), float("inf"), "finite"),
        (("modifications", "rows", "at_most"), "9", "number"),
        (("modifications", "rows", "at_most"), True, "number"),
        (("modifications", "hyperparameters", "rank", "why"), "", "at least 1"),
        (("modifications", "hyperparameters", "seed", "one_of"), [True], "valid"),
        (("modifications", "hyperparameters", "seed", "one_of"), [], "at least 1"),
        (("modifications", "unlisted"), 1, "no such field|did you mean"),
        (("protocol", "outside"), "", "at least 1"),
        (("protocol", "verification", 0, "gates"), [], "at least 1"),
        (("protocol", "verification", 0, "practice"), "hoping", "data_management"),
        (("impact", "effects"), [], "at least 1"),
    ],
)
def test_a_document_that_bounds_nothing_is_refused(document, place, value, expected):
    """Open ends, empty lists, values of another kind, reasons left out: named by field."""
    *path, last = place
    spot = document
    for step in path:
        spot = spot[step]
    spot[last] = value
    with pytest.raises(InputError) as refusal:
        Envelope.parse(document)
    assert place[0] in refusal.value.where
    assert re.search(expected, str(refusal.value.expected))


@pytest.mark.parametrize("silent", range(4))
def test_the_protocol_speaks_of_every_practice(document, silent):
    """The guidance divides it in four; an envelope that is silent on one is no plan."""
    gone = document["protocol"]["verification"].pop(silent)
    with pytest.raises(InputError) as refusal:
        Envelope.parse(document)
    assert gone["practice"] in refusal.value.expected


def test_the_protocol_speaks_of_every_modification(document):
    """What may change is verified somewhere."""
    for one in document["protocol"]["verification"]:
        one["changes"] = [name for name in one["changes"] if name != "base"] or ["rows"]
    with pytest.raises(InputError) as refusal:
        Envelope.parse(document)
    assert "none speaks of base" in refusal.value.expected


def test_the_digest_is_of_what_it_says(document, envelope):
    """Order and spelling of the file don't count; a bound moved by one does."""
    turned = dict(reversed(document.items()))
    turned["modifications"] = dict(reversed(document["modifications"].items()))
    assert Envelope.parse(turned).digest == envelope.digest
    changed = copy.deepcopy(document)
    changed["modifications"]["hyperparameters"]["rank"]["at_most"] += 1
    assert Envelope.parse(changed).digest != envelope.digest


def test_a_reader_sees_all_that_is_signed(document, envelope):
    """Every bound, every reason, every gate, the digest; a bar in a text breaks no table."""
    text = render(envelope)
    assert envelope.digest in text
    for part in ("## Modifications", "## Protocol", "## Impact", document["protocol"]["outside"]):
        assert " ".join(part.split()) in " ".join(text.split())
    for name, bound in envelope.modifications.hyperparameters.items():
        assert f"| {name} | {bound.asked} | {bound.why} |" in text
    for gate in envelope.gates:
        assert gate in text
    document["modifications"]["rows"]["why"] = "a | b"
    (row,) = [x for x in render(Envelope.parse(document)).splitlines() if x.startswith("| rows ")]
    assert r"a \| b" in row and row.replace(r"\|", "").count("|") == 4


# ---- the packs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", NAMES)
def test_a_packs_envelope_leans_on_gates_that_exist(pack):
    """Protocol and impact name criteria and rules of the same pack, or standing gates."""
    policy = Policy.parse(yaml.safe_load((PACKS / pack / "policy.yaml").read_text("utf-8")))
    known = {gate.id for gate in policy.gates} | {GATE, *GATES}
    named = campaign.envelope(pack).gates
    assert named <= known
    assert set(policy.required) <= named, "a gate that blocks a release verifies a change"


@pytest.mark.parametrize("pack", NAMES)
def test_a_packs_own_parameters_and_profiles_are_inside(pack):
    """Whoever makes a use case from a pack can run it as it is, on the governed track too."""
    case = UseCase.parse(yaml.safe_load((PACKS / pack / "usecase.yaml").read_text("utf-8")))
    found, allowed = campaign.envelope(pack), campaign.envelope(pack).modifications
    assert case.envelope == "envelope.yaml"
    for profile in ({}, *case.profiles.values()):
        asked = case.parameters["30_adapt"] | profile.get("30_adapt", {})
        for name, value in asked.items():
            bound = {"rows": allowed.rows, "method": allowed.method} | allowed.hyperparameters
            assert bound[name].holds(value), name
    change = Change(name=case.base.name, revision=case.base.revision,
                    data_classes=[str(c.data_class) for c in case.data.columns.values()])  # fmt: skip
    assert decide(found, change) == []


@pytest.mark.parametrize("pack", NAMES)
def test_a_packs_ranges_are_not_absurdly_wide(pack):
    """A range over two orders of magnitude bounds nothing; a share is a small part."""
    allowed = campaign.envelope(pack).modifications
    for name, bound in ({"rows": allowed.rows} | allowed.hyperparameters).items():
        if bound.at_most and bound.at_least:
            assert bound.at_most / bound.at_least <= 100, name
    assert allowed.trainable_share.at_most <= 0.1
    case = UseCase.parse(yaml.safe_load((PACKS / pack / "usecase.yaml").read_text("utf-8")))
    undeclared = {"health", "safety_incident"} - set(map(str, case.data.classes))
    assert not undeclared & set(allowed.data_classes.one_of)

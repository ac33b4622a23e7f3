"""The data bill of materials: CycloneDX 1.7, valid by the official strict schema (D9)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.licenses._spdx import LICENSES

from workbench.policy import bom
from workbench.policy.bom import BomFacts, Run, SealedFile
from workbench.policy.cards.facts import CardFacts
from workbench.policy.usecase import Data, UseCase
from workbench.record.digest import canonical

DATA = {
    "path": "data/desk.csv", "text": "message", "label": "intent", "classified_by": "Dora Data",
    "columns": {
        "message": {"class": "personal", "purpose": "routed", "owner": "ops",
                    "legal_basis": "contract", "retention_days": 30},
        "intent": {"class": "internal_operational", "purpose": "target", "owner": "desk"},
    },
    "sources": [
        {"id": "desk", "title": "Desk mail", "issuer": "Bank", "licence": "CC-BY-4.0",
         "location": "https://example.org/desk?v=1", "date": "2026-01-02", "patent": [],
         "classification": {"GDPR": True}, "approved_by": "Ann", "approved_at": "2026-01-05"},
        {"id": "forum", "licence": "our own terms", "location": "ask the <desk> |"},
    ],
}  # fmt: skip
USECASE = {
    "id": "tiny", "title": "Tiny", "kind": "classifier", "decision": "Which team reads it.",
    "affected": ["customers"], "harm": "It waits.", "severity": "moderate", "domain": "finance",
    "autonomy": "human_confirms", "owner": {"name": "Olga", "email": "olga@example.org"},
    "base": {"source": "pypi:llm", "name": "llm", "licence": "Apache-2.0", "revision": "1"},
    "data": DATA,
}  # fmt: skip
STEPS = [
    {"step": 1, "use": "deduplicate", "version": "1", "code_sha256": "a" * 64, "why": "twice",
     "arguments": {"key": "Zebulon"}, "rows_in": 12, "rows_out": 11, "changed": 0,
     "created": 0, "removed": {"duplicate": 1}},
    {"step": 2, "use": "redact", "version": "2", "code_sha256": "b" * 64, "why": "names",
     "rows_in": 11, "rows_out": 11, "changed": 0,
     "created": 0, "removed": {}},
]  # fmt: skip
RUN = Run(
    UseCase.parse(USECASE), "20_dataset", "run-1", "2026-01-06T10:00:00+00:00", "0.3", "c" * 64
)
FACTS = BomFacts(
    run=RUN,
    data=Data.parse(DATA),
    labels=["cards, lost", "fees"],
    raw=SealedFile("desk.csv", "outputs/raw/desk.csv.enc", "d" * 64, 12, "e" * 64),
    sets=[SealedFile(n, f"outputs/{n}.parquet", h * 64, 3) for n, h in zip(("train", "dev", "locked"), "123", strict=True)],
    steps=STEPS,
)  # fmt: skip


def faults(bill: dict) -> list[str]:
    """What the official schema, strict and offline, has against a bill."""
    found = JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(bill), all_errors=True)
    return [error.data.message for error in found or ()]


def part(bill: dict, ref: str) -> dict:
    [found] = [one for one in bill["components"] if one["bom-ref"] == ref]
    return found


def told(properties: list[dict]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in properties:
        found.setdefault(one["name"].removeprefix("workbench:"), []).append(one["value"])
    return found


def adapted(bill: dict | None = None) -> dict:
    run = replace(RUN, stage="30_adapt", id="run-2")
    return bom.model(bill or bom.dataset(FACTS), run, "f" * 64, {"outputs/adapter/w": "9" * 64})


def judged(criterion: str, **figure) -> dict:
    return {"criterion": criterion, "stage": "40_functional", "threshold": "at least 0.5",
            "verdict": "passed", "figure": figure or None}  # fmt: skip


def frozen() -> dict:
    verdicts = [judged("accuracy", value=0.9, low=0.8, high=0.95, n=40), judged("rows", value=40),
                judged("approved"), judged("unmeasured", value=None)]  # fmt: skip
    facts = CardFacts(
        RUN.usecase, {}, {}, {"name": "llm", "architecture": "BertModel", "notes": ["exact"]},
        verdicts, {}, {"not_shown": ["Load."]}, {}, {}, {}, {}, [],
        {"name": "router", "number": 2, "parent": None},
    )  # fmt: skip
    return bom.candidate(adapted(), replace(RUN, stage="50_candidate", id="router-2"), facts)


MAKE = [lambda: bom.dataset(FACTS), adapted, frozen]


@pytest.mark.parametrize("make", MAKE, ids=["dataset", "model", "candidate"])
def test_the_bill_is_valid(make):
    """No fault by the strict schema, and every reference leads somewhere, one to each name."""
    bill = make()
    assert faults(bill) == []
    refs = [one["bom-ref"] for one in [bill["metadata"]["component"], *bill["components"]]]
    assert len(refs) == len(set(refs))
    named = {ref for one in bill["dependencies"] for ref in [one["ref"], *one["dependsOn"]]}
    assert named <= set(refs)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda bill: bill.update(rows=3),
        lambda bill: bill["components"][0].update(type="dataset"),
        lambda bill: part(bill, "set:train")["hashes"][0].update(content="12"),
        lambda bill: part(bill, "set:train")["data"][0].update(owner="ops"),
        lambda bill: bill["metadata"].update(timestamp="yesterday"),
    ],
)
def test_the_validator_can_say_no(break_it):
    """An unknown field, a wrong type, half a digest, a date in words: each is a fault."""
    bill = bom.dataset(FACTS)
    break_it(bill)
    assert faults(bill)


def test_same_facts_same_bytes():
    """Canonical bytes and serial number follow from the facts; one other digest, another number."""
    again = replace(FACTS, sets=list(FACTS.sets), labels=tuple(FACTS.labels))
    assert canonical(bom.dataset(FACTS)) == canonical(bom.dataset(again))
    other = replace(FACTS, raw=replace(FACTS.raw, sha256="0" * 64))
    assert bom.dataset(other)["serialNumber"] != bom.dataset(FACTS)["serialNumber"]


def test_a_set_says_what_it_holds_and_who_answers():
    """Rows, labels one by one, digest as stored, strictest class, owner, steward, custodian."""
    held = part(bom.dataset(FACTS), "set:train")
    [data] = held["data"]
    facts = told(data["contents"]["properties"])
    assert facts == {"rows": ["3"], "label": ["cards, lost", "fees"],
                     "file": ["outputs/train.parquet"]}  # fmt: skip
    assert held["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert data["classification"] == "personal"
    assert data["sensitiveData"] == ["message: personal"]
    owners = [one["organization"]["name"] for one in data["governance"]["owners"]]
    assert owners == ["desk", "ops"]
    assert data["governance"]["stewards"] == [{"contact": {"name": "Dora Data"}}]
    assert data["governance"]["custodians"][0]["contact"]["email"] == "olga@example.org"


def test_an_encrypted_file_has_a_keyed_digest_of_its_plaintext():
    """Without the key nobody can try rows against it; a file in the clear has none."""
    bill = bom.dataset(FACTS)
    assert told(part(bill, "raw:desk.csv")["properties"])["plaintext-hmac-sha256"] == ["e" * 64]
    assert "properties" not in part(bill, "set:train")


def test_a_source_states_its_provenance_and_what_it_lacks():
    """Each field of the checklist that is stated, and the names of those that are not."""
    bill = bom.dataset(FACTS)
    desk, forum = part(bill, "source:desk"), part(bill, "source:forum")
    facts = told(desk["data"][0]["contents"]["properties"])
    assert facts["provenance:date"] == ["2026-01-02"]
    assert facts["provenance:classification"] == ['{"GDPR":true}']
    assert facts["approved_by"] == ["Ann"]
    assert "issuer" not in facts["missing"]
    assert "issuer" in told(forum["data"][0]["contents"]["properties"])["missing"]
    assert desk["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    assert forum["licenses"] == [{"license": {"name": "our own terms"}}]


@pytest.mark.parametrize(
    "text", ["https://example.org/a b", "https://[x", "https://x/%zz", "a#b#c", "javascript:1"]
)
def test_no_address_spoils_the_bill(text):
    """Whatever a person writes as location, the bill stays valid and keeps the words."""
    spoilt = FACTS.data.sources[0].model_copy(update={"location": text})
    facts = replace(FACTS, data=FACTS.data.model_copy(update={"sources": [spoilt]}))
    bill = bom.dataset(facts)
    assert faults(bill) == []
    properties = part(bill, "source:desk")["data"][0]["contents"]["properties"]
    assert told(properties)["provenance:location"] == [text]


def test_every_licence_fits_the_schema():
    """All SPDX ids that are recognised are ids of the schema too; so do expressions and names."""
    names = [one["id"] for one in LICENSES.values()]
    more = ["MIT OR Apache-2.0", "LicenseRef-Bank", "GPL-2.0+", "mit", "By arrangement", None]
    parts = [{"type": "data", "name": "x", "licenses": bom.licences(name)} for name in names + more]
    for number, one in enumerate(parts):
        one["bom-ref"] = str(number)
    assert faults(bom.dataset(FACTS) | {"components": parts, "dependencies": []}) == []
    assert bom.licences("mit") == [{"license": {"id": "MIT"}}]


def test_the_sets_depend_on_the_snapshot_and_that_on_the_sources():
    """The graph from what was learned from back to where it came from."""
    depends = {one["ref"]: one["dependsOn"] for one in bom.dataset(FACTS)["dependencies"]}
    assert depends["dataset"] == ["set:dev", "set:locked", "set:train"]
    assert depends["set:train"] == ["raw:desk.csv"]
    assert depends["raw:desk.csv"] == ["source:desk", "source:forum"]


def test_each_step_is_a_task_after_the_one_before():
    """Use, version, code, reason and counts; of the arguments, which may quote, a digest only."""
    bill = bom.dataset(FACTS)
    [workflow] = bill["formulation"][0]["workflows"]
    first = workflow["tasks"][0]
    facts = told(first["properties"])
    assert (first["name"], first["description"]) == ("deduplicate", "twice")
    assert (facts["code_sha256"], facts["removed:duplicate"]) == (["a" * 64], ["1"])
    assert (facts["rows_in"], facts["rows_out"]) == (["12"], ["11"])
    assert workflow["taskDependencies"] == [{"ref": "step:2", "dependsOn": ["step:1"]}]
    assert "Zebulon" not in json.dumps(bill)


def test_the_bill_of_a_model_extends_that_of_its_dataset():
    """Every part of the dataset's bill, the base model, and an adapter that depends on both."""
    bill = bom.dataset(FACTS)
    whole = adapted(bill)
    assert all(one in whole["components"] for one in bill["components"])
    assert bill["formulation"][0] in whole["formulation"]
    depends = {one["ref"]: one["dependsOn"] for one in whole["dependencies"]}
    assert depends["model"] == ["base", "set:dev", "set:train"]  # and never on the locked set
    base = part(whole, "base")
    assert base["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert told(base["properties"]) == {"source": ["pypi:llm"], "files-sha256": ["f" * 64]}
    adapter = whole["metadata"]["component"]
    assert adapter["components"][0]["hashes"][0]["content"] == "9" * 64
    number = bill["serialNumber"].removeprefix("urn:uuid:")
    assert adapter["externalReferences"] == [{"type": "bom", "url": f"urn:cdx:{number}/1"}]


def test_the_bill_of_a_candidate_has_a_model_card():
    """Base, what was learned from, each measured gate with its interval, and what was not shown;
    all else is as in the bill of its training, which it links."""
    bill, of_training = frozen(), adapted()
    subject = bill["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("tiny router", "2")
    card = subject["modelCard"]
    assert card["modelParameters"]["modelArchitecture"] == "BertModel"
    assert card["modelParameters"]["datasets"] == [{"ref": "set:train"}, {"ref": "set:dev"}]
    measured = {one["type"]: one for one in card["quantitativeAnalysis"]["performanceMetrics"]}
    assert set(measured) == {"accuracy", "rows"}  # a gate without a figure measured nothing
    assert measured["accuracy"]["confidenceInterval"] == {"lowerBound": "0.8", "upperBound": "0.95"}
    assert card["considerations"]["technicalLimitations"] == ["Load."]
    assert bill["components"] == of_training["components"]
    assert subject["components"] == of_training["metadata"]["component"]["components"]
    [link] = subject["externalReferences"]
    assert of_training["serialNumber"].removeprefix("urn:uuid:") in link["url"]
    assert bill["serialNumber"] != of_training["serialNumber"]

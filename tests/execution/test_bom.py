"""What a run leaves beside its outputs: a signed bill of materials and a data card (D9)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import DatasetCard

from workbench.errors import IntegrityError, RunError
from workbench.execution import bom
from workbench.execution.inputs import Input, from_path
from workbench.policy.bom import Run
from workbench.policy.usecase import UseCase
from workbench.record.cipher import Cipher
from workbench.record.digest import canonical, file_digest
from workbench.record.signing import EngineKey

BILL = "data-bom.cdx.json"
SECRET = "Grandma Zebulon's words"
USECASE = {
    "id": "tiny", "title": "Tiny", "kind": "classifier", "decision": "Which team reads it.",
    "affected": ["customers"], "harm": "It waits.", "severity": "moderate", "domain": "finance",
    "autonomy": "human_confirms", "owner": {"name": "Olga", "email": "olga@example.org"},
    "base": {"source": "folder:base", "name": "none", "licence": "MIT"},
    "data": {"path": "data/desk.csv", "text": "message", "label": "intent",
             "classified_by": "Dora Data", "columns": {
                 "message": {"class": "personal", "purpose": "routed", "owner": "ops",
                             "legal_basis": "contract", "retention_days": 30},
                 "intent": {"class": "internal_operational", "purpose": "t", "owner": "ops"}}},
}  # fmt: skip


def run(stage: str) -> Run:
    return Run(UseCase.parse(USECASE), stage, f"run-{stage}", "2026-01-06T10:00:00+00:00", "0.3")


@dataclass
class Dataset:
    outputs: Path
    inputs: dict[str, Input]
    encrypted: dict[str, dict[str, str]]

    def write(self, key: EngineKey, name: str = BILL) -> Path:
        return bom.write(self.outputs, name, run("20_dataset"), self.inputs, self.encrypted, key)


@pytest.fixture
def key(tmp_path) -> EngineKey:
    return EngineKey.create(tmp_path / "engine.pem")


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """What 20_dataset leaves, its snapshot and sets encrypted for real."""
    outputs, data = tmp_path / "outputs", tmp_path / "desk.csv"
    (outputs / "raw").mkdir(parents=True)
    data.write_text(f"message,intent\n{SECRET},cards\nmy fee,fees\nhello,fees\n")
    facts = tmp_path / "data.json"
    facts.write_bytes(canonical(USECASE["data"] | {"kind": "classifier", "labels": None}))
    for name, value in {
        "manifest": [{"step": 1, "use": "filter", "version": "1", "code_sha256": "a" * 64,
                      "why": "too short", "arguments": {"equals": SECRET}, "rows_in": 3,
                      "rows_out": 3, "changed": 0, "created": 0, "removed": {}}],
        "figures": {f"rows_{name}": {"value": 1} for name in bom.SETS},
        "labels": ["cards", "fees"],
    }.items():  # fmt: skip
        (outputs / f"{name}.json").write_text(json.dumps(value))
    (tmp_path / "keys").mkdir()
    cipher, encrypted = Cipher(tmp_path / "keys"), {}
    cipher.new_key("s1")
    for name in ("raw/desk.csv", *(f"{one}.parquet" for one in bom.SETS)):
        plain = tmp_path / "plain"
        plain.write_text(f"{name} {data.read_text()}")
        cipher.encrypt(plain, outputs / f"{name}.enc", "s1")
        held = {"snapshot": "s1", "plaintext": cipher.keyed_digest(plain)}
        encrypted[f"outputs/{name}.enc"] = held
    inputs = {"data": from_path("data", data, "file"), "facts": from_path("facts", facts, "file")}
    return Dataset(outputs, inputs, encrypted)


@pytest.fixture
def adapt(dataset, key, tmp_path) -> Callable[..., Path]:
    """Write the bill of a training run over the dataset's; inputs can be swapped."""
    bill = dataset.write(key)
    outputs, base = tmp_path / "adapted", tmp_path / "base"
    (outputs / "adapter").mkdir(parents=True)
    (outputs / "adapter" / "weights").write_bytes(b"w")
    base.mkdir()
    (base / "model").write_bytes(b"b")
    given = {"bom": bill, "base": base} | {
        name: dataset.outputs / f"{name}.parquet.enc" for name in ("train", "dev")
    }

    def write(key: EngineKey = key, **swapped: Path) -> Path:
        places = given | swapped
        inputs = {name: from_path(name, path, "record") for name, path in places.items()}
        return bom.write(outputs, BILL, run("30_adapt"), inputs, {}, key)

    return write


def valid(path: Path) -> bool:
    validator = JsonStrictValidator(SchemaVersion.V1_7)
    return validator.validate_str(path.read_text(encoding="utf-8")) is None


def test_the_dataset_gets_a_signed_bill_and_a_card(dataset, key):
    """Valid by the strict schema with its signature, which verifies; the card is readable."""
    path = dataset.write(key)
    assert path == dataset.outputs / BILL
    assert valid(path)
    parts = {one["bom-ref"]: one for one in bom.read(path, [key.public_pem])["components"]}
    stored = dataset.outputs / "train.parquet.enc"
    assert parts["set:train"]["hashes"][0]["content"] == file_digest(stored)
    keyed = dataset.encrypted["outputs/train.parquet.enc"]["plaintext"]
    assert [one["value"] for one in parts["set:train"]["properties"]] == [keyed]
    card = DatasetCard((dataset.outputs / bom.CARD).read_text(encoding="utf-8"))
    assert card.data.pretty_name == "Tiny"


def test_the_rows_that_came_in_are_counted_by_the_engine(dataset, key):
    """Not by the notebook: whatever it says, the snapshot has as many rows as its file."""
    (dataset.outputs / "manifest.json").write_text("[]")
    bill = bom.read(dataset.write(key), [key.public_pem])
    [raw] = [one for one in bill["components"] if one["bom-ref"] == "raw:desk.csv"]
    properties = raw["data"][0]["contents"]["properties"]
    assert {"name": "workbench:rows", "value": "3"} in properties


def test_same_run_same_bytes(dataset, key):
    """Neither time nor order of files enters by itself."""
    first = dataset.write(key).read_bytes()
    assert dataset.write(key).read_bytes() == first


def test_no_content_of_a_row_is_written(dataset, key):
    """What was sealed stays sealed, arguments of a step included."""
    dataset.write(key)
    for name in (BILL, bom.CARD):
        assert SECRET not in (dataset.outputs / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["manifest.json", "labels.json", "locked.parquet.enc"])
def test_a_bill_with_a_gap_is_not_written(dataset, key, name):
    """RunError names what the stage left out."""
    (dataset.outputs / name).unlink()
    with pytest.raises(RunError) as refused:
        dataset.write(key)
    assert name.removesuffix(".enc") in str(refused.value)
    assert not (dataset.outputs / BILL).exists()


def test_a_set_without_a_count_is_not_written(dataset, key):
    """A bill never leaves open how many rows a set has."""
    (dataset.outputs / "figures.json").write_text('{"rows_train": {"value": 1}}')
    with pytest.raises(RunError) as refused:
        dataset.write(key)
    assert "rows_dev" in str(refused.value)


def test_a_changed_count_breaks_the_signature(dataset, key):
    """One digit, in the canonical spelling: IntegrityError."""
    path = dataset.write(key)
    data = path.read_bytes()
    assert data.count(b'"workbench:rows_in","value":"3"') == 1
    path.write_bytes(
        data.replace(b'"workbench:rows_in","value":"3"', b'"workbench:rows_in","value":"4"')
    )
    with pytest.raises(IntegrityError, match="changed"):
        bom.read(path, [key.public_pem])


def test_a_bill_of_another_store_is_refused(dataset, key, tmp_path):
    """Only keys that the reader holds count."""
    path = dataset.write(EngineKey.create(tmp_path / "other.pem"))
    with pytest.raises(IntegrityError, match="key that is not known"):
        bom.read(path, [key.public_pem])


def test_the_bill_of_a_model_is_signed_and_valid(adapt, key):
    """It holds the dataset's parts, the base, and each file of the adapter."""
    path = adapt()
    assert valid(path)
    bill = bom.read(path, [key.public_pem])
    refs = {one["bom-ref"] for one in bill["components"]}
    assert {"base", "dataset", "set:train", "raw:desk.csv"} <= refs
    [weights] = bill["metadata"]["component"]["components"]
    assert weights["name"] == "outputs/adapter/weights"


def test_rows_that_the_bill_does_not_name_are_refused(adapt, dataset):
    """A model that learned from another file is not made of what its bill would say."""
    with pytest.raises(IntegrityError, match="other rows"):
        adapt(train=dataset.outputs / "locked.parquet.enc")


def test_a_model_is_not_built_on_a_bill_that_was_changed(adapt, dataset, tmp_path):
    """The bill that came in is verified before it is extended."""
    bill = dataset.outputs / BILL
    bill.write_bytes(bill.read_bytes().replace(b"too short", b"too_short"))
    with pytest.raises(IntegrityError, match="changed"):
        adapt(bom=bill)
    with pytest.raises(IntegrityError, match="not known"):
        adapt(key=EngineKey.create(tmp_path / "foreign.pem"))

"""The class of a record comes from its lineage, and an environment's zone may refuse it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from workbench.errors import InputError
from workbench.execution.stages import Source
from workbench.execution.zones import check_zone, data_class, gate, sealed_class
from workbench.policy.classes import DataClass
from workbench.policy.zones import Zone


def record(digest: str, **internal: Any) -> Any:
    predicate = SimpleNamespace(buildDefinition=SimpleNamespace(internalParameters=internal))
    return SimpleNamespace(digest=digest, statement=SimpleNamespace(predicate=predicate))


def job(declared: set[str], sources: dict[str, str], records: dict[str, Any] | None = None) -> Any:
    """A run whose inputs come from these sources; a record's is named as its digest."""
    known = records or {}
    return SimpleNamespace(
        project=SimpleNamespace(
            usecase=SimpleNamespace(data=SimpleNamespace(classes=set(map(DataClass, declared))))
        ),
        stage=SimpleNamespace(inputs={n: Source.parse(text) for n, text in sources.items()}),
        inputs={n: SimpleNamespace(record=n if Source.parse(text).from_stage else None)
                for n, text in sources.items()},
        records={n: record(n, **internal) for n, internal in known.items()},
    )  # fmt: skip


ADAPT = {
    "base": "15_base/model",
    "train": "20_dataset/train.parquet",
    "facts": "10_intake/data.json",
}


def test_an_adapter_inherits_the_strictest_class_of_its_inputs():
    """One strict set among lenient inputs decides, whatever the use case declares today."""
    sealed = {"base": {"data_class": "internal_operational"}, "train": {"data_class": "health"},
              "facts": {"data_class": "internal_operational"}}  # fmt: skip
    assert data_class(job({"internal_operational"}, ADAPT, sealed)) == "health"


def test_a_record_without_a_class_counts_as_the_strictest_declared():
    """Sealed before classes were sealed: never less than what its columns are."""
    sealed = {"base": {"data_class": "internal_operational"}, "train": {}, "facts": {}}
    assert data_class(job({"public", "personal"}, ADAPT, sealed)) == "personal"


def test_an_input_whose_record_is_not_at_hand_counts_as_one_without_a_class():
    """Nothing is taken for lenient because nobody looked."""
    assert data_class(job({"personal"}, {"train": "20_dataset/train.parquet"})) == "personal"


@pytest.mark.parametrize("source", ["data", "reference?", "cases"])
def test_rows_of_the_use_case_have_its_strictest_class(source):
    """The data, and whatever may hold samples of them."""
    found = job({"licensed", "personal"}, {"rows": f"usecase:{source}"})
    assert data_class(found) == "personal"


@pytest.mark.parametrize("source", ["usecase:usecase", "usecase:policy", "base:source"])
def test_what_holds_no_rows_is_internal_and_never_public(source):
    """The organisation's own documents, and a published model beside them."""
    assert data_class(job({"health"}, {"given": source})) == "internal_operational"


def test_public_rows_do_not_make_a_record_public():
    """Each record also holds the organisation's documents."""
    assert data_class(job({"public"}, {"data": "usecase:data"})) == "internal_operational"


def test_rows_that_nobody_classified_have_no_class_and_enter_no_zone():
    """An inspection may run before a person has decided; its record goes nowhere."""
    found = data_class(job(set(), {"data": "usecase:data"}))
    assert found is None
    for holds in DataClass:
        with pytest.raises(InputError, match="may not enter"):
            check_zone(SimpleNamespace(zone=Zone(name="any", holds=holds)), found)


def test_a_sealed_class_that_nobody_knows_is_refused():
    """A record can't pass by a class that is not ours."""
    assert sealed_class(record("a", data_class="personal")) == "personal"
    assert sealed_class(record("a")) is None
    with pytest.raises(InputError, match="not known"):
        sealed_class(record("a", data_class="unclassified"))


def test_a_zone_that_holds_the_class_lets_it_in_and_another_does_not():
    """The refusal says which class, which zone, and what to do."""
    clinic = SimpleNamespace(zone=Zone(name="clinic", holds=DataClass.HEALTH))
    office = SimpleNamespace(zone=Zone(name="office", holds=DataClass.INTERNAL_OPERATIONAL))
    check_zone(clinic, DataClass.PERSONAL)
    with pytest.raises(InputError) as refusal:
        check_zone(office, DataClass.PERSONAL, "The candidate")
    for word in ("The candidate", "office", "personal", "internal_operational", "next"):
        assert word in str(refusal.value)


@pytest.mark.parametrize("environment", [None, SimpleNamespace(zone=None), SimpleNamespace()])
def test_an_environment_without_a_zone_holds_nothing(environment):
    """Where nobody said what may lie there, nothing may."""
    with pytest.raises(InputError, match="No zone is declared"):
        check_zone(environment, DataClass.PUBLIC)


def test_a_pack_of_a_stricter_class_than_the_zone_holds_stays_outside(done, tmp_path):
    """The class was sealed where the record was made; the zone is that of the place it comes to."""
    done.cli("pack", tmp_path / "p.tar", done.record("30_adapt").id)
    done.declare()
    place = done.usecase / "training.yaml"
    strict = yaml.safe_load(place.read_text())
    place.write_text(yaml.safe_dump(strict | {"zone": {"name": "lobby", "holds": "public"}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_RUNS", str(tmp_path / "elsewhere"))
        told = done.cli("import", tmp_path / "p.tar")
        assert told.code == 1 and "lobby" in told.err
        assert not list((tmp_path / "elsewhere").glob("research/records/*/*"))
        place.write_text(yaml.safe_dump(strict | {"zone": {"name": "vault", "holds": "health"}}))
        assert done.cli("import", tmp_path / "p.tar").code == 0


def test_an_inspection_comes_in_with_the_rows_that_it_was_of(lab):
    """Sealed before the classes were decided, it has none; alone nobody knows what it is of."""
    lab.declare()
    place = lab.usecase / "training.yaml"
    declared = yaml.safe_load(place.read_text()) | {"zone": {"name": "vault", "holds": "personal"}}
    place.write_text(yaml.safe_dump(declared))
    unknown, dataset = record("a"), record("b", data_class="personal")
    unknown.ref, dataset.ref = "05_inspection/a", "20_dataset/b"
    admit = gate(lab.usecase)
    admit([unknown, dataset])
    with pytest.raises(InputError, match="05_inspection/a"):
        admit([unknown])

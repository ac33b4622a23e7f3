"""Redact: what was found is gone, the same value stays the same, and what it costs is measured."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data.transform import Context, redact, run
from workbench.policy.acceptance import redaction
from workbench.policy.classes import DataClass
from workbench.policy.detectors import Entity, Finding, interface
from workbench.policy.detectors.interface import detector
from workbench.policy.usecase import Step

CONTEXT = Context("text", "label", None, None, {}, b"k" * 32, 0, lambda name: None)
KINDS = {"TICKET": r"\bT-\d+(?: \d+)*", "DAY": r"\b20\d\d-\d\d-\d\d\b"}


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    """Two kinds of entity that a test can tell for itself; the detectors' own are tested elsewhere."""
    monkeypatch.setattr(interface, "_FIND", dict(interface._FIND))
    for name, pattern in KINDS.items():

        def find(text, name=name, pattern=pattern):
            return [Finding(name, m.start(), m.end(), 1.0) for m in re.finditer(pattern, text)]

        detector(Entity(name, name.lower(), DataClass.PERSONAL, structured=True))(find)
        entity = interface.ENTITIES.pop(name)
        monkeypatch.setitem(interface.ENTITIES, name, entity)  # and taken out again afterwards
    monkeypatch.setitem(redact.COARSE, "DAY", redact.COARSE["DATE"])


def rows(*texts: str) -> pd.DataFrame:
    made = pd.DataFrame({"text": texts, "label": "a", "note": "T-9 here", "who": "ann"})
    made.insert(0, "row_id", [f"r{i}" for i in range(len(made))])
    return made


def go(table: pd.DataFrame, context: Context = CONTEXT, **arguments):
    return run(table, [Step(use="redact", why="w", arguments=arguments)], context)


def test_what_is_found_is_masked_and_counted():
    """The detail names kinds and counts; neither it nor the manifest holds a value."""
    done = go(
        rows("T-12 and T-13 on 2024-05-06", "nothing"), entities={"TICKET": "mask", "DAY": "mask"}
    )
    assert done.table["text"].tolist() == ["[TICKET] and [TICKET] on [DAY]", "nothing"]
    changed = done.lineage[done.lineage["outcome"] == "changed"]
    assert changed["detail"].tolist() == ["text: 1 DAY, 2 TICKET"]
    assert done.manifest[0]["facts"] == {"entities": {"DAY": 1, "TICKET": 2}}
    assert "T-12" not in json.dumps(done.manifest) + changed.to_json()


def test_only_the_columns_that_are_named_are_searched():
    done = go(rows("T-1"), entities={"TICKET": "mask"}, columns=["note"])
    assert done.table.loc[0, ["text", "note"]].tolist() == ["T-1", "[TICKET] here"]


def test_a_surrogate_is_stable_within_a_snapshot_and_different_in_another():
    """Same value, however grouped, same surrogate; another value or another key, another one."""
    table = rows("T-12 34", "ask T-1234", "ask T-1235")
    one = go(table, entities={"TICKET": "pseudonymise"}).table["text"]
    other = dataclasses.replace(CONTEXT, key=b"o" * 32)
    two = go(table, other, entities={"TICKET": "pseudonymise"}).table["text"]
    assert re.fullmatch(r"\[TICKET_[0-9a-f]{8}\]", one[0]) and one[1] == f"ask {one[0]}"
    assert one[2] != one[1] and not set(one) & set(two)
    assert go(table, entities={"TICKET": "pseudonymise"}).table["text"].equals(one)


def test_two_kinds_of_one_value_have_two_surrogates():
    made = {redact.replacement(kind, "may", "pseudonymise", CONTEXT)[-9:] for kind in ("A", "B")}
    assert len(made) == 2


@pytest.mark.parametrize(
    ("entity", "value", "coarse"),
    [
        ("DATE", "2021-05-17", "[DATE 2021-05]"),
        ("DATE", "03/04/2021", "[DATE 2021]"),
        ("DATE", "yesterday", "[DATE]"),
        ("DATE_OF_BIRTH", "1980-05-17", "[DATE_OF_BIRTH 1980]"),
        ("AGE", "47 years old", "[AGE 40s]"),
        ("AGE", "7", "[AGE 0s]"),
        ("IP_ADDRESS", "81.2.69.142", "[IP_ADDRESS 81.2…]"),
        ("IP_ADDRESS", "2001:db8:1::7", "[IP_ADDRESS 2001:db8…]"),
        ("POSTCODE", "SW1A 2AA", "[POSTCODE SW1A]"),
        ("POSTCODE", "90210", "[POSTCODE 90]"),
        ("PHONE_NUMBER", "+44 20 7946", "[PHONE_NUMBER 442…]"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "[CREDIT_CARD 411111…]"),
    ],
)
def test_a_coarse_value_tells_less(entity, value, coarse):
    """Month or year, decade, network, district, leading digits; what is in doubt is masked."""
    assert redact.replacement(entity, value, "generalise", CONTEXT) == coarse


def test_a_column_can_be_replaced_whole():
    """A customer's number that no detector knows; who belongs together still does."""
    table = rows("a", "b", "c").assign(who=["ann", "bob", "ann"])
    done = go(table, entities={"TICKET": "mask"}, whole={"who": "pseudonymise"}).table["who"]
    assert done[0] == done[2] != done[1] and done.str.match(r"\[WHO_[0-9a-f]{8}\]").all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"entities": {"UNHEARD": "mask"}},
        {"entities": {}},
        {"entities": {"TICKET": "generalise"}},
        {"entities": {"TICKET": "mask"}, "columns": ["nothing"]},
        {"entities": {"TICKET": "mask"}, "columns": ["label"]},
        {"entities": {"TICKET": "mask"}, "columns": ["note"], "whole": {"note": "mask"}},
    ],
)
def test_what_can_not_be_redacted_is_refused(arguments):
    """An entity without a detector would silently stay in the text."""
    with pytest.raises(InputError):
        go(rows("T-1"), **arguments)


# -- acceptance ----------------------------------------------------------------------------


def sample(tmp_path, *cases: tuple[str, list]) -> Context:
    lines = [json.dumps({"text": text, "spans": spans}) for text, spans in cases]
    (tmp_path / "sample.jsonl").write_text("\n".join(lines))
    return dataclasses.replace(CONTEXT, read=lambda name: tmp_path / name)


def measured(context: Context, *entities: str) -> list[tuple]:
    how = dict.fromkeys(entities or ("TICKET",), "mask")
    done = go(rows("a"), context, entities=how, sample="sample.jsonl")
    return list(
        done.tables["redaction.parquet"].drop(columns="step").itertuples(index=False, name=None)
    )


def test_each_labelled_and_each_found_span_is_a_row(tmp_path):
    """Found; missed; half found, which leaves the rest to read; and found where nothing is."""
    context = sample(tmp_path, ("T-1", [[0, 3, "TICKET"]]), ("t one", [[0, 5, "TICKET"]]),
                     ("T-1x9", [[0, 5, "TICKET"]]), ("T-3", []))  # fmt: skip
    ids = [f"r{n:07d}" for n in range(1, 5)]
    assert measured(context) == [
        (ids[0], "TICKET", True, True), (ids[1], "TICKET", True, False),
        (ids[2], "TICKET", True, False), (ids[3], "TICKET", False, True)]  # fmt: skip


def test_an_entity_that_the_sample_lacks_is_unmeasured(tmp_path):
    """Its recall is unknown; a gate over the others must not speak for it."""
    context = sample(tmp_path, *[(f"T-{i}", [[0, len(f"T-{i}"), "TICKET"]]) for i in range(300)])
    assert ("", "DAY", None, None) in measured(context, "TICKET", "DAY")
    for entities, verdict in ((["TICKET"], "passed"), (["TICKET", "DAY"], "insufficient_evidence")):
        how = dict.fromkeys(entities, "mask")
        done = go(rows("a"), context, entities=how, sample="sample.jsonl")
        table = done.tables["redaction.parquet"].to_dict("records")
        assert redaction({"recall": 0.95}, table, None)[0].verdict == verdict


@pytest.mark.parametrize(
    ("text", "spans"),
    [("short", [[0, 99, "TICKET"]]), ("short", [[3, 3, "TICKET"]]), ("short", None), (5, []),
     ("short", [[0, 1]]), ("short", [["0", 1, "TICKET"]])],
)  # fmt: skip
def test_a_sample_that_does_not_fit_is_refused(tmp_path, text, spans):
    """The case is named, and its text is not quoted."""
    with pytest.raises(InputError, match="cases that do not fit") as refusal:
        measured(sample(tmp_path, ("T-1", [[0, 3, "TICKET"]]), (text, spans)))
    assert refusal.value.where == "r0000002" and "short" not in str(refusal.value)


def task(n: int = 300, tell: str = "T-77{}", seed: int = 0) -> pd.DataFrame:
    """Rows whose class can be told by one word alone."""
    chance = np.random.default_rng(seed)
    labels = [f"c{chance.integers(2)}" for _ in range(n)]
    texts = [f"case {chance.integers(99)} {tell.format(label[1])}" for label in labels]
    return pd.DataFrame({"row_id": [f"r{i}" for i in range(n)], "text": texts, "label": labels})


@pytest.mark.parametrize("seed", range(3))
def test_what_the_task_loses_is_seen(seed):
    """Where the class stands in what is hidden, the task is lost; where not, nothing is."""
    accept = {"utility_loss": 0.1}
    context = dataclasses.replace(CONTEXT, seed=seed)
    for tell, verdict in (("T-77{}", "failed"), ("word{}", "passed")):
        done = go(task(tell=tell, seed=seed), context, entities={"TICKET": "mask"})
        rows = done.tables["utility.parquet"].to_dict("records")
        assert len(rows) == 60 and redaction(accept, None, rows)[2].verdict == verdict


def test_the_rows_of_one_group_stand_on_one_side():
    """Else the model would know the customer, and not the task."""
    table = task().assign(who=[f"w{i % 30}" for i in range(300)])
    context = dataclasses.replace(CONTEXT, group="who")
    asked = redact.utility(table, table, context)["row_id"]
    inside = set(table.loc[table["row_id"].isin(asked), "who"])
    assert len(asked) == 60 and len(inside) == 6


def test_of_few_rows_nothing_is_said():
    done = go(task(20), entities={"TICKET": "mask"})
    result = redaction(
        {"utility_loss": 0.5}, None, done.tables["utility.parquet"].to_dict("records")
    )
    assert result[2].verdict == "insufficient_evidence"

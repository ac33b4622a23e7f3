"""Steps in order: what each did to which row is known, or the step is refused."""

from __future__ import annotations

import dataclasses
import random

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data.transform import (
    Context,
    Result,
    Transformation,
    changes,
    interface,
    run,
)
from workbench.policy.documents import Document
from workbench.policy.lineage_rows import gaps, trace
from workbench.policy.usecase import Step
from workbench.record.digest import canonical, file_digest

CONTEXT = Context(
    "text", "label", None, None, {}, b"k" * 32, 0, lambda name: pytest.fail(f"read {name}")
)
STEP = """
from workbench.methods.data.transform import Result, Transformation, changes
from workbench.policy.documents import Document

class Arguments(Document):
    word: str

def apply(table, arguments, context):
    where = table[context.text].str.contains(arguments.word)
    made = table.assign(**{context.text: table[context.text].str.replace(arguments.word, "…")})
    return Result(made, changes(table.loc[where, "row_id"], "changed", "a word taken out"))

TRANSFORMATION = Transformation("take_out", "1.0.0", Arguments, apply)
"""


def table(n: int = 12) -> pd.DataFrame:
    rows = [(f"r{i}", f"text {i}", "ab"[i % 2], float(i)) for i in range(n)]
    return pd.DataFrame(rows, columns=["row_id", "text", "label", "amount"])


class Nothing(Document):
    """No arguments."""


def step(use: str, **arguments: object) -> Step:
    return Step(use=use, why="because", arguments=arguments)


@pytest.fixture
def apply_(monkeypatch):
    """Run one function over the rows as if it were a transformation's."""

    def go(function, rows=None, context=CONTEXT):
        found = Transformation("own", "1.0.0", Nothing, function), "0" * 64
        monkeypatch.setattr(interface, "load", lambda use: found)
        return run(table() if rows is None else rows, [step("own")], context)

    return go


# -- the account ---------------------------------------------------------------------------


def test_without_a_step_every_row_was_read_and_nothing_else():
    done = run(table(), [], CONTEXT)
    assert done.lineage["outcome"].eq("read").all() and len(done.lineage) == 12
    assert done.manifest == [] and done.tables == {}


def test_each_step_is_told_in_manifest_and_lineage():
    """Steps, why, code, counts, reasons; every row that left names step, version and reason."""
    drop = [{"column": "text", "test": "equals", "value": "text 3", "reason": "withdrawn"}]
    steps = [step("filter", drop=drop), step("minimise", drop=["amount"])]
    done = run(table(), steps, CONTEXT)
    first, second = done.manifest
    assert (first["rows_in"], first["rows_out"], first["removed"]) == (12, 11, {"withdrawn": 1})
    assert (second["step"], second["changed"], second["why"]) == (2, 11, "because")
    assert first["hmac_sha256_out"] == second["hmac_sha256_in"] != second["hmac_sha256_out"]
    assert first["code_sha256"] == file_digest(
        interface.Path(interface.__file__).parent / "filter.py"
    )
    assert canonical(done.manifest)
    way = [
        (s["use"], s["outcome"], s["detail"]) for s in trace(done.lineage.to_dict("records"), "r3")
    ]
    assert way == [("read", "read", ""), ("filter", "removed", "withdrawn")]


def lose(rows, chance):
    return rows.drop(index=chance.randrange(len(rows)))


def repeat(rows, chance):
    return pd.concat([rows, rows.sample(1, random_state=chance.randrange(99))])


def invent(rows, chance):
    return pd.concat([rows, rows.head(1).assign(row_id="new", synthetic=True)])


def alter(rows, chance):
    rows.loc[chance.randrange(len(rows)), "text"] += "."
    return rows


def relabel(rows, chance):
    rows.loc[chance.randrange(len(rows)), "label"] = "c"
    return rows


def swap_ids(rows, chance):
    one, two = chance.sample(range(len(rows)), 2)
    rows.loc[[one, two], "row_id"] = rows.loc[[two, one], "row_id"].to_numpy()
    return rows


@pytest.mark.parametrize("fault", [lose, repeat, invent, alter, relabel, swap_ids])
@pytest.mark.parametrize("seed", range(3))
def test_what_a_step_does_silently_is_refused(apply_, fault, seed):
    """A row lost, repeated, invented, altered, relabelled or exchanged without lineage."""

    def silent(rows, arguments, context):
        return Result(fault(rows, random.Random(seed)), changes(rows["row_id"][:0], "changed"))

    with pytest.raises(InputError):
        apply_(silent)


def test_only_this_check_stands_between_a_silent_step_and_the_rows(apply_, monkeypatch):
    """With the check taken out, the planted loss passes: it is this check that finds it."""

    def silent(rows, arguments, context):
        return Result(rows.iloc[1:], changes(rows["row_id"][:0], "changed"))

    monkeypatch.setattr(interface, "_check", lambda *_: None)
    done = apply_(silent)
    faults = gaps(done.lineage.to_dict("records"), list(table()["row_id"]), {})
    assert len(done.table) == 11 and "r0: begins 1 times and ends 0 times" in faults


@pytest.mark.parametrize(
    "said",
    [
        changes(pd.Series(["r1"]), "removed", "gone"),
        changes(pd.Series(["r1"]), "changed", "edited"),
        changes(pd.Series(["r1"]), "created", "made", "r2"),
        changes(pd.Series(["nobody"]), "removed", "gone"),
    ],
)
def test_what_a_step_says_and_did_not_do_is_refused(apply_, said):
    with pytest.raises(InputError, match="not what happened"):
        apply_(lambda rows, arguments, context: Result(rows, said))


def test_a_row_leaves_for_a_reason_and_once(apply_):
    """No reason, or the same row twice, is no account."""
    gone = pd.Series(["r0"])
    for said in (changes(gone, "removed"), pd.concat([changes(gone, "removed", "why")] * 2)):
        with pytest.raises(InputError):
            apply_(lambda rows, arguments, context, said=said: Result(rows.iloc[1:], said))


def test_message_and_class_stay(apply_):
    """A step that takes away the column that is learned from is refused, though it says so."""

    def drop(rows, arguments, context):
        return Result(rows.drop(columns="label"), changes(rows["row_id"], "changed", "dropped"))

    with pytest.raises(InputError, match="column label"):
        apply_(drop)


def made(other: str, mark: bool):
    def apply(rows, arguments, context):
        new = rows.head(1).assign(row_id="new")
        whole = pd.concat([rows.assign(synthetic=False), new.assign(synthetic=mark)])
        return Result(whole, changes(pd.Series(["new"]), "created", "made", other))

    return apply


def test_a_made_row_names_its_parent_and_is_marked(apply_):
    assert len(apply_(made("r0", True)).table) == 13
    for other, mark in (("r0", False), ("nobody", True), ("", True)):
        with pytest.raises(InputError):
            apply_(made(other, mark))


def test_how_pandas_keeps_a_value_is_no_change(apply_):
    """1 and 1.0, None and NaN, the order of columns: a row is what it says."""
    rows = table().assign(amount=range(12), extra=None)

    def recast(rows, arguments, context):
        rows = rows.assign(amount=rows["amount"].astype(float), extra=float("nan"))
        return Result(rows[sorted(rows)], changes(rows["row_id"][:0], "changed"))

    assert len(apply_(recast, rows).table) == 12


def test_digests_are_keyed():
    """The same rows have another digest in another snapshot: nobody can guess a row and compare."""
    other = dataclasses.replace(CONTEXT, key=b"o" * 32)
    one, two = (interface.row_digests(table(), context) for context in (CONTEXT, other))
    assert one == interface.row_digests(table(), CONTEXT)
    assert not set(one.values()) & set(two.values())


# -- what there is -------------------------------------------------------------------------


def test_the_use_case_brings_its_own_step(tmp_path, monkeypatch):
    """A file of the `steps` folder; the manifest holds the digest of its code."""
    (tmp_path / "take_out.py").write_text(STEP)
    monkeypatch.syspath_prepend(tmp_path)
    done = run(table(), [step("take_out", word="text")], CONTEXT)
    assert done.table["text"][0] == "… 0"
    assert done.manifest[0]["code_sha256"] == file_digest(tmp_path / "take_out.py")


def test_a_folder_is_no_step(tmp_path, monkeypatch):
    """The digest of one file would not cover its code."""
    (tmp_path / "take_apart").mkdir()
    (tmp_path / "take_apart" / "__init__.py").write_text(STEP)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="no such transformation"):
        run(table(), [step("take_apart", word="text")], CONTEXT)


@pytest.mark.parametrize("use", ["interface", "json", "nothing_such", "numpy"])
def test_what_is_no_transformation_is_refused(use):
    with pytest.raises(InputError, match="no such transformation"):
        run(table(), [step(use)], CONTEXT)


def test_an_argument_that_nobody_knows_is_refused():
    """A slip of the pen must not switch a redaction off."""
    with pytest.raises(InputError, match="entites"):
        run(table(), [step("redact", entites={})], CONTEXT)


def test_rows_with_one_id_are_refused():
    with pytest.raises(InputError, match="same id"):
        run(table().assign(row_id="r1"), [], CONTEXT)

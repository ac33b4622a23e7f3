"""Synthesise: made rows are marked, know their parent, stay where it learns, and are measured."""

from __future__ import annotations

import dataclasses
import json
from random import Random

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data.lineage import assigned
from workbench.methods.data.transform import Context, run, synthesise
from workbench.policy.acceptance import synthesis
from workbench.policy.lineage_rows import gaps
from workbench.policy.usecase import Step

CONTEXT = Context("text", "label", "who", None, {}, b"k" * 32, 0, lambda name: None)
THINGS = ["card", "account", "transfer", "statement", "refund", "loan"]
ACCEPT = {"distance": 0.2, "js": 0.9, "edge_cases": 0}


def table(n: int = 60, thin: int = 6) -> pd.DataFrame:
    chance = Random(7)
    words = (
        "please where when found cannot should wonder about always payment number morning".split()
    )
    rows = [
        (f"r{i}", f"{' '.join(chance.sample(words, 6))} {chance.choice(THINGS)} {i}",
         "rare" if i < thin else "usual", f"w{i}")
        for i in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["row_id", "text", "label", "who"])


def go(rows: pd.DataFrame, context: Context = CONTEXT, **arguments):
    return run(rows, [Step(use="synthesise", why="w", arguments=arguments)], context)


def made_of(done) -> pd.DataFrame:
    return done.table[done.table["synthetic"]]


def results(done, **accept: float) -> dict[str, str]:
    rows, classes = (
        done.tables[f"{name}.parquet"].to_dict("records")
        for name in ("synthesis", "synthesis_classes")
    )
    return {r.criterion: str(r.verdict) for r in synthesis(ACCEPT | accept, rows, classes)}


def test_a_thin_class_is_filled_from_its_own_rows():
    """Up to so many and no more; each made row has its parent's label, customer and source."""
    done = go(table(), per_class=20, operators=["typo"])
    made = made_of(done).set_index("row_id")
    assert len(made) == 14 and set(made["label"]) == {"rare"}
    said = done.lineage[done.lineage["outcome"] == "created"].set_index("row_id")
    rows = table().set_index("row_id")
    assert [rows.at[p, "who"] for p in said["other"]] == made.loc[said.index, "who"].tolist()
    assert said["source_id"].equals(said["other"]) and (said["detail"] == "synthetic: typo").all()
    assert not set(made["text"]) & set(rows["text"])


def test_the_same_seed_makes_the_same_rows():
    one, two = (go(table(), per_class=20, operators=["typo"]) for _ in range(2))
    other = go(table(), dataclasses.replace(CONTEXT, seed=1), per_class=20, operators=["typo"])
    assert one.table.equals(two.table) and not one.table["text"].equals(other.table["text"])


def test_two_steps_make_different_rows():
    """The second knows what the first made, and takes none of it for an original."""
    steps = [Step(use="synthesise", why="w", arguments={"per_class": n, "operators": ["typo"]})
             for n in (10, 12)]  # fmt: skip
    done = run(table(), steps, CONTEXT)
    assert made_of(done)["text"].is_unique and len(made_of(done)) == 4 + 6
    assert set(done.tables["synthesis.parquet"]["step"]) == {1, 2}
    assert done.tables["synthesis.parquet"]["nearest_id"].str.startswith("r").all()


def test_words_and_slots_change_places():
    """A synonym for a known word; a slot's value only for one that the class has."""
    arguments = synthesise.Arguments(
        synonyms={"card": ["plastic"]}, slots={"n": ["one", "two", "ten"]}
    )
    assert synthesise._synonyms("my Card, one", [], arguments, Random(0)) == "my plastic, one"
    swapped = {
        synthesise._swap("give one", ["give one", "two"], arguments, Random(s)) for s in range(20)
    }
    assert swapped == {"give one", "give two"}


def test_templates_are_filled_and_counted_as_edge_cases():
    one = {"label": "rare", "text": "no {thing} at all", "edge_case": "negation", "rows": 3}
    done = go(table(), templates=[one], slots={"thing": THINGS})
    assert made_of(done)["text"].str.match(r"no \w+ at all").all()
    assert done.manifest[0]["facts"]["edge_cases"] == {"negation": len(made_of(done))}
    asked = {"edge_case:negation": 2}
    assert results(done, **asked)["synthesis_edge_cases"] == "passed"
    assert results(done, **{"edge_case:irony": 1})["synthesis_edge_cases"] == "failed"


def own_file(tmp_path, *rows: dict) -> Context:
    (tmp_path / "made.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return dataclasses.replace(CONTEXT, read=lambda name: tmp_path / name)


def test_rows_made_elsewhere_come_with_their_parent(tmp_path):
    """One that names no row, or no source would be known, is refused."""
    row = {"text": "entirely new words", "parent": "r1", "label": "rare", "edge_case": "odd"}
    done = go(table(), own_file(tmp_path, row), file="made.jsonl")
    assert made_of(done)["text"].tolist() == ["entirely new words"]
    with pytest.raises(InputError, match="r999"):
        go(table(), own_file(tmp_path, row | {"parent": "r999"}), file="made.jsonl")


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_near_copy_is_seen(tmp_path, seed):
    """A row that somebody wrote with one letter added, drawn by seed, among honest ones."""
    rows = table()
    copied = rows.sample(1, random_state=seed).iloc[0]
    planted = {
        "text": copied["text"] + "s",
        "parent": copied["row_id"],
        "label": "usual",
        "edge_case": "x",
    }
    honest = planted | {"text": "quite another thing, said in other words"}
    done = go(rows, own_file(tmp_path, honest), file="made.jsonl")
    assert results(done)["synthesis_near_copies"] == "passed"
    done = go(rows, own_file(tmp_path, honest, planted), file="made.jsonl")
    assert results(done)["synthesis_near_copies"] == "failed"
    close = done.tables["synthesis.parquet"].sort_values("distance").iloc[0]
    assert close["nearest_id"] == copied["row_id"] and 0 < close["distance"] < 0.2
    assert close["near_copy"] and done.tables["synthesis.parquet"]["near_copy"].sum() == 1


def test_the_distance_is_exact_jaccard():
    """Against sets of 3-grams counted by hand, over more rows than one block."""
    made = pd.Series([f"{word} please {i}" for i in range(60) for word in THINGS])
    real = table()
    found = synthesise.nearest(made, real["text"], real["row_id"])

    def grams(text: str) -> set[str]:
        whole = f" {' '.join(text.lower().split())} "
        return {whole[i : i + 3] for i in range(len(whole) - 2)}

    originals = [grams(text) for text in real["text"]]
    for i in range(0, len(made), 37):
        own = grams(made[i])
        best = max(len(own & other) / len(own | other) for other in originals)
        assert found.loc[i, "distance"] == pytest.approx(1 - best)


def test_other_words_are_further_away(tmp_path):
    """Same words: near 0; no word in common: 1."""
    real = pd.DataFrame({"label": "a", "text": ["one two", "two one", "one one"]})
    for text, distance in (("two one", 0.0), ("tre quattro", 1.0)):
        made = pd.DataFrame({"label": "a", "text": [text] * 3})
        found = synthesise.by_class(real.assign(text="one two"), made, CONTEXT)["distance"][0]
        assert found == pytest.approx(distance, abs=1e-6)


def test_a_made_row_stays_only_where_its_source_learns():
    """From a row that judges it would leak; from one that left, nobody knows what it leaks."""
    done = go(table(), per_class=20, operators=["typo"])
    places = ["train", "dev", "locked", "train", "train", "gone"]
    sets = {f"r{i}": places[i] if i < 6 else "train" for i in range(60)}
    rows = done.table.assign(set=done.table["row_id"].map(sets).fillna("locked"))
    rows = rows[rows["set"] != "gone"]
    kept, removed = synthesise.fit_sets(rows, done.lineage)
    said = done.lineage[done.lineage["outcome"] == "created"].set_index("row_id")["other"]
    inside = kept[kept["synthetic"]]
    assert (inside["set"] == "train").all() and set(inside["row_id"].map(said)) <= {
        "r0",
        "r3",
        "r4",
    }
    assert set(removed["same_as"]) <= {"r1", "r2", "r5"} and len(removed)
    gone = pd.DataFrame({"row_id": ["r5"], "reason": ["leak"], "same_as": [""]})
    lineage = assigned(done.lineage, kept, pd.concat([removed, gone])).to_dict("records")
    final = {name: part["row_id"].tolist() for name, part in kept.groupby("set")}
    assert gaps(lineage, table()["row_id"].tolist(), final) == []
    wrong = assigned(done.lineage, rows, gone).to_dict("records")
    final = {name: part["row_id"].tolist() for name, part in rows.groupby("set")}
    assert any("not for training" in one for one in gaps(wrong, table()["row_id"].tolist(), final))


def test_what_can_not_be_made_is_not_invented():
    """No operator fits: the class stays thin, and the step says what it made."""
    done = go(table(), per_class=20, operators=["synonyms"])
    assert made_of(done).empty and done.manifest[0]["created"] == 0
    assert results(done)["synthesis_marked"] == "insufficient_evidence"


@pytest.mark.parametrize(
    "arguments",
    [
        {"per_class": 9},
        {"templates": [{"label": "rare", "text": "{nothing}"}]},
        {"templates": [{"label": "unheard", "text": "x"}]},
    ],
)
def test_an_incomplete_request_is_refused(arguments):
    with pytest.raises(InputError):
        go(table(), **arguments)

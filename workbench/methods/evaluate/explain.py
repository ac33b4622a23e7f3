"""Explanations of failures (V7): the words that count, the nearest training rows, what fired.

Occlusion: a word counts by as much as the probability of the chosen answer falls without it
(leave-one-out, Li, Monroe and Jurafsky 2016, arXiv:1612.08220). Whether that is faithful is
measured, not assumed: without the words that count most the answer must change more often than
without as many words at random.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...policy import figures, scorers
from ...policy.attribution import CANDIDATE, DEV
from ..adapt.adaptation import rows_for
from ..data.embed import embedder
from ..stage import Stage, mask, sealed
from ..stage import readable as in_words
from . import functional

SHARE = 0.2  # of the words, the part that is left out to see whether they count
NEAREST = 3  # training rows, and words, that an explanation names
FAILED = ["case_id", "set", "group", "because", "expected", "text", "reason", "queue"]
ADDED = ["answer", "probability", "words", "nearest", "supported"]


def probabilities(stage: Stage, texts: Sequence[str], **asked: int) -> pd.DataFrame:
    """(texts, options) of the candidate's main task, a column an option."""
    facts = stage.read_json("facts")
    fields = [field["name"] for field in (facts.get("form") or {}).get("fields", [])]
    rows = pd.DataFrame({"row_id": [f"{n}" for n in range(len(texts))], facts["text"]: list(texts)})
    rows = rows.assign(**dict.fromkeys([*fields, facts["label"]], ""))
    found = functional.ask(stage, rows, CANDIDATE, **asked)
    main = found[found["task"] == functional.main_task(found)].set_index("case_id")
    main = main.loc[rows["row_id"]]
    return pd.DataFrame(main["probabilities"].tolist(), columns=list(main["labels"].iloc[0]))


def occluded(stage: Stage, texts: Sequence[str], **asked: int) -> pd.DataFrame:
    """One row a text: answer, probability, and weights, by how much it falls without each word."""
    split = [text.split() for text in texts]
    without = [" ".join(w[:n] + w[n + 1 :]) for w in split for n in range(len(w))]
    found = probabilities(stage, [*texts, *without], **asked)
    whole, rest, rows = found.head(len(texts)), found.iloc[len(texts) :], []
    for answer, own, words in zip(whole.idxmax(axis=1), whole.max(axis=1), split, strict=True):
        falls, rest = own - rest[answer].head(len(words)), rest.iloc[len(words) :]
        rows.append((answer, float(own), falls.tolist()))
    return pd.DataFrame(rows, columns=["answer", "probability", "weights"])


@sealed("occlusion.parquet")
def _left_out(stage: Stage, *, limit: int, seed: int, **asked: int) -> pd.DataFrame:
    """One row a dev row, `limit` at most: does the answer change without the words that count most
    (`top`), and without as many at random (`random`)?

    A fifth of the words is left out, one at least.
    """
    rows, chance = rows_for(stage, DEV).head(limit), np.random.default_rng(seed)
    found, shortened = occluded(stage, rows["text"].tolist(), **asked), []
    for text, weights in zip(rows["text"], found["weights"], strict=True):
        count = math.ceil(SHARE * len(weights))
        for order in (
            np.argsort(-np.array(weights), kind="stable"),
            chance.permutation(len(weights)),
        ):
            left = set(order[:count].tolist())
            shortened.append(" ".join(w for n, w in enumerate(text.split()) if n not in left))
    again = probabilities(stage, shortened, **asked).idxmax(axis=1).to_numpy().reshape(-1, 2)
    table = pd.DataFrame(again != found[["answer"]].to_numpy(), columns=["top", "random"])
    table.insert(0, "case_id", rows["row_id"].to_numpy())
    return table


def held_against_chance(stage: Stage, *, limit: int, seed: int, **asked: int) -> pd.DataFrame:
    """Share of dev rows, `limit` at most, whose answer changes without the words that count most,
    and without as many at random. Written down, with the difference."""
    table = _left_out(stage, limit=limit, seed=seed, **asked)
    stage.write_table("occlusion.parquet", table)
    figure = figures.compute("faithfulness", table.to_dict("records"))
    stage.figure("faithfulness", figure)
    shares = table[["top", "random"]].mean().map("{:.3f}".format).to_dict()
    told = {"words that count most": shares["top"], "as many at random": shares["random"],
            "difference": in_words(figure.as_dict())}  # fmt: skip
    return pd.DataFrame({"answers that change": told}).rename_axis("left out")


def _explained(stage: Stage, given: pd.DataFrame, *_: Any, **__: Any) -> pd.DataFrame:
    """The sealed failures with their texts, of cases that were given and of dev rows."""
    found, dev = pd.read_parquet(stage.sealed("explanations.parquet")), rows_for(stage, DEV)
    texts = dict(zip(dev["row_id"], dev["text"], strict=True))
    texts |= dict(zip(given["case_id"], given["text"], strict=True))
    found.insert(FAILED.index("text"), "text", found["case_id"].map(texts))
    return found


@sealed(lambda *given, **asked: _explained(*given, **asked)[FAILED])
def failures(
    stage: Stage, judged: pd.DataFrame, groups: pd.DataFrame, limit: int, **asked: int
) -> pd.DataFrame:
    """At most so many each: cases where the candidate breaks what blocks, and misclassified dev
    rows, the weakest class on locked rows first; of a locked row itself no text is shown."""
    bad = judged[(judged["model"] == CANDIDATE) & judged["blocks"].eq(True)]
    broken = bad["correct"].astype("boolean").eq(False).fillna(False)
    bad = bad[broken].drop_duplicates("case_id").assign(expected="")
    dev = rows_for(stage, DEV).rename(columns={"row_id": "case_id", "label": "queue"})
    dev = dev.assign(said=probabilities(stage, dev["text"], **asked).idxmax(axis=1).to_numpy())
    wrong = dev[dev["queue"].astype(str) != dev["said"]].assign(reason="")
    told = {"set": DEV, "because": "it is of another class", "group": wrong["queue"]}
    weak = wrong["queue"].map(groups.set_index("group")["after"])
    wrong = wrong.assign(expected=wrong["queue"], weak=weak, **told)
    wrong = wrong.sort_values(["weak", "case_id"])
    parts = [one.head(limit).reindex(columns=FAILED) for one in (bad, wrong)]
    return pd.concat(parts, ignore_index=True).fillna({"reason": "", "queue": ""})


@sealed(_explained, leaves=["explanations.parquet"])
def explained(stage: Stage, failed: pd.DataFrame, **asked: int) -> pd.DataFrame:
    """The failures with answer, probability, weight of every word, nearest training rows with the
    source rows that they came from, and whether the cited rule bears the answer.

    `explanations.parquet` is that without the text, which stands where the case is from.
    """
    found = failed.assign(**dict.fromkeys(ADDED, ""))
    if len(failed):
        told = occluded(stage, failed["text"].tolist(), **asked)
        found[["answer", "probability"]] = told[["answer", "probability"]]
        found["words"] = [
            json.dumps([round(weight, 4) for weight in one]) for one in told["weights"]
        ]
        found["nearest"] = [json.dumps(one) for one in nearest(stage, failed["text"])]
        found["supported"] = [_supported(stage, row) for row in failed.to_dict("records")]
    stage.write_table("explanations.parquet", found.drop(columns="text"))
    return found


def _supported(stage: Stage, row: dict) -> str:
    """Whether the cited rule can bear the answer, by the policy's own rule about reasons."""
    for rule in stage.policy.rules:
        if rule.scorer == "supported_reason" and row["reason"]:
            return scorers.score_with(rule.scorer, rule.arguments)(row).reason
    return ""


def nearest(stage: Stage, texts: Sequence[str]) -> list[list[dict]]:
    """For each text the training rows that mean most alike, by the encoder that the engine gave:
    row, label, source row, cosine similarity. None where it gave none."""
    if not stage.has("encoder"):
        return [[] for _ in texts]
    train, embed = rows_for(stage, "train"), embedder(stage.input("encoder"))
    lineage = stage.read_table("lineage").drop_duplicates("row_id").set_index("row_id")["source_id"]
    table = train.rename(columns={"queue": "label"})[["row_id", "label"]]
    table, found = table.assign(source=table["row_id"].map(lineage)), []
    for alike in embed(list(texts)) @ embed(train["text"].tolist()).T:
        best = np.argsort(-alike, kind="stable")[:NEAREST]
        rows = table.iloc[best].assign(similarity=alike[best].astype(float).round(3))
        found.append(rows.to_dict("records"))
    return found


def shown(stage: Stage, found: pd.DataFrame) -> pd.DataFrame:
    """One row a failure, for an expert. Words of dev rows stand as their places where rows speak
    of persons; the cases of rules and scenarios are nobody's words."""
    lines = []
    for row in found.to_dict("records"):
        hidden, split = stage.masked and row["set"] == DEV, row["text"].split()
        ranked = sorted(enumerate(json.loads(row["words"])), key=lambda one: -one[1])[:NEAREST]
        lines.append({
            "case": row["case_id"], "of": row["group"], "why it failed": row["because"],
            "text": mask(row["text"]) if hidden else row["text"],
            "answer": f"{row['answer']} ({row['probability']:.2f})",
            "words that count": ", ".join(
                f"{f'word {n + 1}' if hidden else split[n]} {weight:+.2f}" for n, weight in ranked),
            "nearest training rows": ", ".join(
                f"{one['row_id']} ({one['label']}, {one['similarity']:.2f})"
                for one in json.loads(row["nearest"])),
            "cited rule": row["supported"],
        })  # fmt: skip
    return pd.DataFrame(lines).set_index("case") if lines else found[["case_id", "group"]]

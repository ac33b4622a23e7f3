"""What the memorisation stage does: asks both models for secrets, losses and the next words.

One pass over a row gives all of it. A model repeats a passage word for word, from the beginning of
the reply or from any later place on, exactly where its likeliest token is the row's own at every
place of the passage; so no text has to be generated, and every prefix is tried.

Rows that were learned from are compared with dev rows, which nobody learned; the locked ones stay
shut. A score is the loss of a model without the row less the candidate's (Watson et al. 2021,
arXiv:2111.08440): a generative base never saw any, and for a classifier a probe on the base's own
vectors is fitted without each row in turn, since the reference was fitted with it.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from ...errors import IntegrityError
from ...policy import figures
from ...policy.classes import ENCRYPTED, strictest
from ...policy.detectors import ENTITIES, detect
from ...policy.figures.memorisation import bits
from ..adapt import canaries
from ..adapt.adaptation import rows_for
from ..adapt.base import load_tokenizer
from ..adapt.causal import Row, encoded, load_causal
from ..adapt.classifier import load_head, logits
from ..adapt.encoder import Encoder
from ..adapt.form import Form, one_line, rows_to_learn
from ..stage import Stage, readable, sealed
from .context import batches
from .likelihood import choose

COLUMNS = ["case_id", "kind", "model", "task", "group", "repeats", "data_class", "score", "loss",
           "rank", "tried", "space", "run", "verdict", "because"]  # fmt: skip
WHOLE, DECISIONS = "all", "decisions"
CANARIES, MEMBERS = ("inserted", "control"), ("member", "nonmember")
COMMON = 5
"""What stands in so many training rows is the desk's own phrase, and no one customer's."""
FOLDS, INVERSE_PENALTY = 5, 10.0
AT_ONCE = 8  # canaries: each holds a whole vocabulary at every place where two secrets part
Measured = tuple[np.ndarray, np.ndarray]
"""Of each token of a completion: its loss, and whether it was the likeliest."""


@sealed("memorisation.parquet")
def measure(
    stage: Stage, *, limit: int, span: int, tried: int, batch_size: int, threads: int
) -> pd.DataFrame:
    """One row a case, model and task, without any text of the rows.

    `limit` rows of each set (0: all), a passage of `span` tokens, `tried` secrets of the space.
    IntegrityError when a canary stands among the data's own rows.
    """
    rows = _rows(stage, limit)
    drawn = stage.read_table("canaries") if stage.has("canaries") else pd.DataFrame({"text": []})
    if twice := set(drawn["text"]) & set(rows["text"]):
        given = f"{len(twice)} of {len(drawn)} canaries"
        raise IntegrityError("A canary among the data's rows measures nothing.", given=given)
    asked = {"batch_size": batch_size, "threads": threads}
    if stage.read_json("facts")["kind"] == "generative":
        found = _generative(stage, rows, drawn, span, tried, **asked)
    else:
        found = _classified(stage, rows, drawn, tried, **asked)
    table = pd.concat(found, ignore_index=True).reindex(columns=COLUMNS)
    return table.round({"score": 6, "loss": 6})


def _rows(stage: Stage, limit: int) -> pd.DataFrame:
    """Rows that were really learned from, and dev rows, told apart by `group`."""
    learned = stage.read_json("options")["rows"]
    train, dev = rows_for(stage, "train"), rows_for(stage, "dev")
    sets = {"member": train.head(learned or len(train)), "nonmember": dev}
    parts = [rows.head(limit or len(rows)).assign(group=group) for group, rows in sets.items()]
    return pd.concat(parts, ignore_index=True)


# -- a classifier ----------------------------------------------------------------------------------


def _classified(
    stage: Stage, rows: pd.DataFrame, drawn: pd.DataFrame, tried: int, **asked: int
) -> Iterable[pd.DataFrame]:
    labels, texts = stage.read_json("labels"), rows["text"].tolist()
    known = np.array([labels.index(label) for label in rows["label"].astype(str)])
    codes = [canaries.CODE.format(word) for word in canaries.WORDS if len(drawn)]
    print(f"{len(texts)} rows, {len(codes)} codes", flush=True)
    candidate = _losses(stage, "adapter", texts + codes, **asked)
    base = _without(stage, texts, known, len(labels), asked["batch_size"])
    own = {"base": base, "candidate": candidate[: len(texts)]}
    losses = {model: loss[np.arange(len(texts)), known] for model, loss in own.items()}
    yield _membership(stage, rows, WHOLE, losses)
    if codes:
        guessed = {"base": _losses(stage, "reference", codes, **asked)}
        for model, loss in (guessed | {"candidate": candidate[len(texts) :]}).items():
            logs = [-loss[:, labels.index(label)] for label in drawn["label"]]
            yield _exposed(drawn, model, logs, canaries.WORDS, tried)


def _losses(stage: Stage, folder: str, texts: list[str], **asked: int) -> np.ndarray:
    """(n, k) loss of each label under the probabilities that the model gives."""
    head = stage.input(folder)
    found = logits(stage.input("base"), head, texts, **asked) / load_head(head)[1]["temperature"]
    return -torch.log_softmax(found.double(), dim=-1).numpy()


def _without(
    stage: Stage, texts: list[str], known: np.ndarray, labels: int, batch_size: int
) -> np.ndarray:
    """(n, k) losses under a probe on the base's vectors that was fitted without the row."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    encoder = Encoder(stage.input("base"), load_head(stage.input("adapter"))[1]["max_length"])
    vectors = encoder.encode(encoder.tokens(texts), batch_size).numpy()
    odds = np.zeros((len(texts), labels))
    for fit, held in KFold(FOLDS, shuffle=True, random_state=0).split(vectors):
        probe = LogisticRegression(C=INVERSE_PENALTY, max_iter=2000).fit(vectors[fit], known[fit])
        odds[np.ix_(held, probe.classes_)] = probe.predict_proba(vectors[held])
    return -np.log(np.clip(odds, 1e-6, 1))  # a label that a fold lacks is unlikely, not impossible


# -- a generative model ----------------------------------------------------------------------------


def _generative(
    stage: Stage, rows: pd.DataFrame, drawn: pd.DataFrame, span: int, tried: int,
    batch_size: int, threads: int,
) -> Iterable[pd.DataFrame]:  # fmt: skip
    form, tokenizer = Form.of(stage.read_json("facts")), load_tokenizer(stage.input("base"))
    read = encoded(tokenizer, rows_to_learn(tokenizer, rows, form), 10**9, stage.name)
    found: dict[str, list[Measured]] = {}
    for name, adapter in (("base", None), ("candidate", stage.input("adapter"))):
        model, _ = load_causal(stage.input("base"), adapter, threads=threads)
        found[name] = completions(model, read, batch_size, name)
        if len(drawn):
            print(f"{name}: {len(drawn)} canaries and controls", flush=True)
            yield _exposed(drawn, name, _secrets(model, tokenizer, form, drawn),
                           canaries.NUMBERS, tried)  # fmt: skip
    parts = {WHOLE: slice(None), DECISIONS: slice(0, -1), form.free: slice(-1, None)}
    for task, part in parts.items():
        losses = {name: _means(read, measured, part) for name, measured in found.items()}
        yield _membership(stage, rows, task, losses)
    pieces = [_pieces(tokenizer, one_line(reply), span) for reply in rows[form.free]]
    hits = [[hit[free - start : -1] for _, hit in pair]
            for (_, start, free), *pair in zip(read, *found.values(), strict=True)]  # fmt: skip
    yield _extracted(rows, pieces, hits).assign(
        task=form.free, data_class=_strictest(stage, [form.free])
    )


@torch.no_grad()
def completions(
    model: torch.nn.Module, rows: Sequence[Row], batch_size: int, name: str = "model"
) -> list[Measured]:
    """Each completion given the prompt and its own tokens so far, in the order of the rows."""
    found: dict[int, Measured] = {}
    for numbers in batches([row[0] for row in rows], batch_size):
        width = max(len(rows[number][0]) for number in numbers)
        ids = torch.tensor([rows[n][0] + [0] * (width - len(rows[n][0])) for n in numbers])
        mask = torch.tensor([[int(at < len(rows[n][0])) for at in range(width)] for n in numbers])
        read = model.model(input_ids=ids, attention_mask=mask, use_cache=False)
        for number, states in zip(numbers, read.last_hidden_state, strict=True):
            tokens, start, _ = rows[number]
            logs = torch.log_softmax(model.lm_head(states[start - 1 : len(tokens) - 1]), dim=-1)
            own = torch.tensor(tokens[start:])
            loss = -logs.gather(1, own[:, None])[:, 0].double()
            found[number] = loss.numpy(), (logs.argmax(dim=-1) == own).numpy()
        if 5 * len(found) // len(rows) > 5 * (len(found) - len(numbers)) // len(rows):
            print(f"{name}: {len(found)}/{len(rows)} rows", flush=True)
    return [found[number] for number in range(len(rows))]


def _means(rows: Sequence[Row], measured: Sequence[Measured], part: slice) -> np.ndarray:
    """Mean loss of a token, in some of a completion's two parts: decided and free."""
    pairs = zip(rows, measured, strict=True)
    split = [np.split(loss, [free - start]) for (_, start, free), (loss, _) in pairs]
    return np.array([np.concatenate(parts[part]).mean() for parts in split])


def _secrets(model: Any, tokenizer: Any, form: Form, drawn: pd.DataFrame) -> np.ndarray:
    """(canaries, numbers) log probability of every number in the place of the secret."""
    leads = []
    for row in drawn.to_dict("records"):
        before = form.completion(row).rpartition(f" {row['secret']}")[0]
        leads.append(form.prompt(tokenizer, row["text"]) + before)
    options = [f" {number}" for number in canaries.NUMBERS]
    odds = choose(model, tokenizer, leads, options, batch_size=AT_ONCE)[options]
    return np.log(np.clip(odds.to_numpy(), 1e-38, 1))


class Piece(NamedTuple):
    """A part of a reply that would tell of a customer."""

    what: str
    """`passage`, or the entity that a detector finds."""
    tokens: slice
    text: str


def _pieces(tokenizer: Any, reply: str, span: int) -> list[Piece]:
    """Every passage of `span` tokens, and every value that speaks of a person."""
    how = {"add_special_tokens": False, "split_special_tokens": True}
    places = tokenizer(f" {reply}", return_offsets_mapping=True, **how)["offset_mapping"]
    starts, ends = ([max(0, place[side] - 1) for place in places] for side in (0, 1))
    cut = [("passage", at, at + span) for at in range(len(places) - span + 1)]
    found = [Piece(what, slice(a, b), reply[starts[a] : ends[b - 1]]) for what, a, b in cut]
    for one in detect(reply):
        if ENTITIES[one.entity].data_class in ENCRYPTED:
            tokens = slice(bisect_right(ends, one.start), bisect_left(starts, one.end))
            found.append(Piece(one.entity, tokens, reply[one.start : one.end]))
    return [piece._replace(text=piece.text.strip().lower()) for piece in found]


def _extracted(
    rows: pd.DataFrame, pieces: Sequence[list[Piece]], hits: Sequence[Sequence[np.ndarray]]
) -> pd.DataFrame:
    """One row a case: what of its reply the candidate goes on with word for word and the base
    does not, unless it is common or the message itself says it."""
    learned = [own for own, group in zip(pieces, rows["group"], strict=True) if group == "member"]
    common = Counter(text for own in learned for text in {one.text for one in own})
    made = []
    for own, (base, new), message in zip(pieces, hits, rows["text"].str.lower(), strict=True):
        told = {
            one.what for one in own
            if new[one.tokens].all() and not base[one.tokens].all()
            and common[one.text] < COMMON and one.text not in message
        }  # fmt: skip
        run = max((sum(1 for _ in run) for hit, run in groupby(new) if hit), default=0)
        made.append((run, "fail" if told else "pass", ", ".join(sorted(told))))
    table = pd.DataFrame(made, columns=["run", "verdict", "because"])
    about = {"kind": "extraction", "model": "candidate"}
    return table.assign(**about, case_id=rows["row_id"], group=rows["group"])


# -- the table -------------------------------------------------------------------------------------


def _membership(
    stage: Stage, rows: pd.DataFrame, task: str, losses: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    facts = stage.read_json("facts")
    named = [field["name"] for field in (facts.get("form") or {}).get("fields", [])]
    columns = {DECISIONS: named, WHOLE: [facts["text"], facts["label"], *named]}
    about = {"kind": "membership", "task": task, "case_id": rows["row_id"], "group": rows["group"],
             "data_class": _strictest(stage, columns.get(task, [task]))}  # fmt: skip
    scores = {"base": -losses["base"], "candidate": losses["base"] - losses["candidate"]}
    made = [{**about, "model": m, "score": scores[m], "loss": loss} for m, loss in losses.items()]
    return pd.concat(map(pd.DataFrame, made))


def _strictest(stage: Stage, names: Iterable[str]) -> str:
    """The strictest class of these columns, as the intake froze them."""
    declared = stage.read_json("facts").get("columns", {})
    known = [declared[name]["class"] for name in names if name in declared]
    return str(strictest(known)) if known else "not classified"


def _exposed(
    drawn: pd.DataFrame, model: str, logs: Iterable[np.ndarray], space: Sequence[str], tried: int
) -> pd.DataFrame:
    """The rank of each secret among `tried` of its space by the log probabilities of all."""
    sample, made = random.Random(0).sample(range(len(space)), min(tried, len(space))), []
    for secret, log in zip(drawn["secret"], logs, strict=True):
        own = space.index(secret)
        compared = log[sorted({*sample, own})]
        rank, size = int((compared >= log[own]).sum()), len(compared)
        made.append((rank, size, len(space), bits(rank, size, len(space)), -log[own]))
    table = pd.DataFrame(made, columns=["rank", "tried", "space", "score", "loss"])
    about = {"kind": "canary", "model": model, "task": "secret", "data_class": "public"}
    return table.assign(**about, **drawn[["case_id", "group", "repeats"]])


# -- what a reader sees ----------------------------------------------------------------------------


def exposed(table: pd.DataFrame) -> pd.DataFrame:
    """Exposure in bits by how often a canary was learned, 0 for controls: number, median, largest."""
    of = table[table["kind"] == "canary"].groupby(["repeats", "model"])["score"]
    return of.agg(["size", "median", "max"]).unstack().round(1)


def told(stage: Stage, table: pd.DataFrame) -> pd.DataFrame:
    """How well rows are told that were learned from, by the part whose loss it is, canaries told
    from controls, and the negative control, membership shuffled; for `figures.intervals`."""
    whole = table[table["task"] == WHOLE]
    mixed = whole.assign(group=random.Random(0).sample([*whole["group"]], len(whole)))
    parts = {f"{task} ({rows['data_class'].iloc[0]})": rows
             for task, rows in table[table["kind"] == "membership"].groupby("task")}  # fmt: skip
    parts |= {"all, shuffled": mixed, "canaries": table[table["kind"] == "canary"]}
    lines = []
    for name, rows in parts.items():
        line, groups = {"name": name}, CANARIES if name == "canaries" else MEMBERS
        for model in ("base", "candidate"):
            of = rows[rows["model"] == model].to_dict("records")
            figure = figures.compute("membership_auc", of, groups=groups)
            stage.figure(f"told_{name.split(' (')[0]}_{model}", figure)
            ends = {"value": figure.value, "low": figure.low, "high": figure.high}
            line |= {"n": figure.n} | {f"{model}_{end}": one for end, one in ends.items()}
        lines.append(line | {k: v for k, v in figure.detail.items() if "false" in k})
    return pd.DataFrame(lines)


def extracted(table: pd.DataFrame) -> pd.DataFrame:
    """Replies of which a part comes out word for word, of rows learned and of dev rows."""
    lines = {}
    for group, rows in table[table["kind"] == "extraction"].groupby("group"):
        kept = figures.compute("pass_rate", rows.to_dict("records"))
        lines[group] = {"nothing comes out": readable(kept.as_dict()),
                        "longest run (tokens)": int(rows["run"].max()),
                        "what": ", ".join(sorted(set(rows["because"]) - {""}))}  # fmt: skip
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("rows")

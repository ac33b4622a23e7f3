"""What the adaptation stage shows a reviewer: what might change, what did, and at what cost.

What is sealed holds no time, memory or number of a process, so that a replay leaves the same bytes.
"""

from __future__ import annotations

import math
import resource
from typing import Any

import pandas as pd
import yaml

from ...evidence import figures
from ...policy.domain import leaves
from ...policy.envelope import Bound, Envelope
from ..stage import Stage, volatile
from . import canaries
from .adaptation import Options, options_table, rows_for
from .base import base_facts, load_tokenizer
from .causal import CausalOptions
from .change import module_changes
from .form import Form, rows_to_learn

KAPLAN = "6 · parameters · tokens, an estimate (Kaplan et al. 2020, arXiv:2001.08361)"


def allowed(stage: Stage, options: Options) -> pd.DataFrame:
    """One row an option that the method reads: value and meaning; with an envelope also what it
    allows, and whether the value is inside."""
    table, bounds = options_table(options), _bounds(stage)
    table["value"] = [_shown(getattr(options, name)) for name in table.index]
    if bounds:
        held = {name: bounds.get(name) for name in table.index}
        table["allowed"] = [bound.asked if bound else "not bounded" for bound in held.values()]
        table["inside"] = [_inside(getattr(options, n), bound) for n, bound in held.items()]
    return table


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _bounds(stage: Stage) -> dict[str, Bound]:
    if not stage.has("envelope"):
        return {}
    text = stage.input("envelope").read_text(encoding="utf-8")
    may = Envelope.parse(yaml.safe_load(text), where="envelope").modifications
    return {name: bound for name, bound in may if isinstance(bound, Bound)} | may.hyperparameters


def _inside(value: Any, bound: Bound | None) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return "·" if bound is None else "✓" if all(map(bound.holds, values)) else "✗ outside"


def changed(stage: Stage, trained: dict[str, Any]) -> pd.DataFrame:
    """One row a part of the model: parameters that learned, Frobenius norms of what was there and
    of the change, and their ratio. Plots the ratio by layer and module, with the table behind it.
    """
    table = module_changes(stage.input("base"), stage.outputs / "adapter")
    inner = table["module"].str.extract(r"\.(?P<layer>\d+)\.(?P<part>.+)")
    table = table.assign(
        layer=inner["layer"].astype("Int64"), part=inner["part"].fillna(table["module"])
    )
    stage.plot("change", figures.change(table), table)
    stage.figure("trainable_share", float(trained["trainable"]["share"]))
    squared = table.assign(before=table["norm_base"] ** 2, change=table["norm_change"] ** 2)
    parts = squared.groupby("part", sort=False)[["parameters", "before", "change"]].sum()
    parts[["before", "change"]] **= 0.5
    parts["ratio"] = parts["change"] / parts["before"]
    return parts.round({"before": 1, "change": 3, "ratio": 4})


def learned(trained: dict[str, Any]) -> pd.DataFrame:
    """The share of parameters that learned, and what was chosen on the dev rows."""
    share = trained["trainable"]
    facts = {"parameters that learned": f"{share['trainable']:,} of {share['total']:,}",
             "share": f"{share['share']:.2%}"}  # fmt: skip
    facts |= {f"chosen: {name}": _shown(v) for name, v in sorted(leaves(trained["chosen"]).items())}
    return pd.DataFrame({"value": facts}).rename_axis("what")


def cost(stage: Stage, trained: dict[str, Any], options: Options, rows: int = 0) -> pd.DataFrame:
    """Rows, tokens, steps, and the operations that they come to by Kaplan's rule."""
    table = rows_for(stage, "train")
    table = table.head(rows) if rows else table
    drawn = canaries.of(stage)
    table = table if drawn is None else canaries.among(table, drawn)
    tokenizer, texts = load_tokenizer(stage.input("base")), table["text"]
    if isinstance(options, CausalOptions):
        pairs = rows_to_learn(tokenizer, table, Form.of(stage.read_json("facts")))
        texts = pairs["prompt"] + pairs["completion"]
    lengths = map(len, tokenizer(texts.tolist())["input_ids"])
    tokens, passes = sum(min(one, options.max_length) for one in lengths), len(trained["history"])
    steps = math.ceil(math.ceil(len(table) / options.batch_size) / options.accumulate) * passes
    size = base_facts(stage.input("base"))["parameters"]
    facts = {"training rows": f"{len(table):,}", "tokens in a pass": f"{tokens:,}",
             "passes": f"{passes}", "optimiser steps": f"{steps:,}",
             "parameters of the base": f"{size:,}",
             "floating-point operations": f"about {6 * size * tokens * passes:.1e} = {KAPLAN}"}  # fmt: skip
    return pd.DataFrame({"value": facts}).rename_axis("what")


@volatile
def peak_memory() -> str:
    """Of this kernel so far; differs from run to run, and is part of no output."""
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB at most"


def domain(stage: Stage) -> pd.DataFrame:
    """What has to be equal for the same bits, as the engine told it."""
    told = leaves(stage.facts.get("domain") or {"domain": "no engine started this kernel"})
    return pd.DataFrame({"value": {k: _shown(v) for k, v in told.items()}}).rename_axis("field")

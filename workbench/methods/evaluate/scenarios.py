"""What the scenarios stage does: every text and its variants, both models, checks that hold or not.

The engine judges the same table again by the libraries; see `policy.scenarios`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pandas as pd

from ...policy import figures, scenarios
from ...policy.scenarios import ORIGINAL, SEVERITIES, Case, Library
from ..adapt.form import Form
from ..stage import Stage, mask, readable, sealed
from .behaviour import answers_of
from .classify import labelling
from .core import answered
from .decide import RENAMED
from .functional import MODELS, known_rows
from .perturbations import perturb

BASE_TABLE = "base_scenarios.parquet"
SHOWN = 12  # failures that the notebook shows
Cases = dict[str, Case]


def load(stage: Stage) -> list[Library]:
    """The libraries of the use case. InputError names what does not fit."""
    folder = stage.input("scenarios")
    return scenarios.parse({path.name: path.read_bytes() for path in folder.glob("*.yaml")})


def listed(libraries: list[Library]) -> pd.DataFrame:
    """One row a library: how large, by whom, and who stands for it."""
    names = ["library", "version", "author", "reviewed_by"]
    table = pd.DataFrame([one.model_dump(include={*names}) for one in libraries])[names]
    table["reviewed_by"] = table["reviewed_by"].replace("", "nobody yet")
    table["scenarios"] = [len(one.scenarios) for one in libraries]
    return table.set_index("library")


def coverage(libraries: list[Library]) -> pd.DataFrame:
    return pd.DataFrame(scenarios.coverage(libraries))


def _text(case: Case, seed: int) -> str:
    text = case.scenario.text
    if case.added:
        return f"{text} {case.added}"
    changed = case.variant != ORIGINAL
    return perturb(case.variant, text, key=case.scenario.id, seed=seed) if changed else text


@sealed(scenarios.TABLE)
def answer(stage: Stage, cases: Cases, *, seed: int, **asked: int) -> pd.DataFrame:
    """One row a case and model: text, answer, the library's word on it, verdict and reason.

    The base's answers come from an earlier record where the engine found one that fits.
    """
    said = [(name, _text(case, seed)) for name, case in cases.items()]
    items = pd.DataFrame(said, columns=["case_id", "text"])
    known = known_rows(stage, "base_scenarios", items["case_id"])
    rows = _asked(stage, items, MODELS if known is None else MODELS[1:], **asked)
    rows = rows if known is None else pd.concat([known, rows], ignore_index=True)
    return pd.DataFrame(scenarios.examined(cases, rows.to_dict("records")))


def _asked(
    stage: Stage, items: pd.DataFrame, models: Sequence[str], *,
    reply_tokens: int, batch_size: int, threads: int,
) -> pd.DataFrame:  # fmt: skip
    facts = stage.read_json("facts")
    if facts["kind"] == "classifier":
        task, fields = labelling(stage, models, threads=threads), ["label", "confidence"]
        found = answered(stage, task, items.assign(label=""), batch_size=batch_size)
        found = found.drop(columns="label").rename(columns={"predicted": "label"})
    else:
        form, asked = Form.of(facts), {"batch_size": batch_size, "threads": threads}
        found = answers_of(stage, items, models, max_new_tokens=reply_tokens, **asked)
        fields = [*(RENAMED.get(field, field) for field in form.fields), form.free]
    return found[["case_id", "model", "text", *fields]]


def shares(stage: Stage, rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Pass share by a column, clustered by family, for `figures.intervals`; recorded. n: families."""
    lines = []
    for name in sorted(rows[by].unique()):
        line = {"name": name}
        for model in ("base", "candidate"):
            chosen = rows[(rows[by] == name) & (rows["model"] == model)]
            figure = figures.compute("scenario_pass_rate", chosen.to_dict("records"))
            stage.figure(f"{by}_{name}_{model}", figure)
            line |= {"n": figure.n, f"{model}_value": figure.value,
                     f"{model}_low": figure.low, f"{model}_high": figure.high}  # fmt: skip
        lines.append(line)
    return pd.DataFrame(lines)


def by_operator(rows: pd.DataFrame) -> pd.DataFrame:
    """The candidate on each operator's texts beside the originals of the same scenarios."""
    own, lines = rows[rows["model"] == "candidate"], []
    for variant in sorted({*own["variant"]} - {ORIGINAL}):
        changed = own[own["variant"] == variant]
        source = own[(own["variant"] == ORIGINAL) & own["family"].isin(changed["family"])]
        moved = f"{len(broken(changed))} of {(changed['relation'] != '').sum()}"
        lines.append((variant, _passed(source), _passed(changed), moved))
    names = ["operator", "original", "changed", "relations broken"]
    return pd.DataFrame(lines, columns=names).set_index("operator")


def _passed(rows: pd.DataFrame) -> str:
    return readable(figures.compute("scenario_pass_rate", rows.to_dict("records")).as_dict())


def failures(stage: Stage, rows: pd.DataFrame) -> pd.DataFrame:
    """The candidate's rows that do not pass, the worst severity first, with what fired."""
    bad = rows[(rows["model"] == "candidate") & (rows["verdict"] != "pass")]
    bad = bad.sort_values("severity", key=lambda one: one.map(SEVERITIES.index), kind="stable")
    shown = bad.head(SHOWN)
    shown = shown.assign(text=shown["text"].map(mask)) if stage.masked else shown
    return shown[["severity", "case_id", "hazard", "text", "because"]].set_index("severity")


def broken(rows: pd.DataFrame) -> pd.DataFrame:
    """The candidate's variants whose relation to the original does not hold."""
    own = rows[(rows["model"] == "candidate") & (rows["verdict"] == "fail")]
    moved = own["because"].str.contains("unchanged: ") | own["relation"].eq("raises")
    return own.loc[moved, ["case_id", "relation", "because"]].set_index("case_id")


def exchanged(cases: Cases, rows: pd.DataFrame) -> pd.DataFrame:
    """The candidate's originals, each by its own checks and by those of another scenario."""
    own = rows[(rows["model"] == "candidate") & (rows["variant"] == ORIGINAL)]
    others = random.Random(0).sample([*own["case_id"]], len(own))
    counted = {}
    for name, judges in (("its own", own["case_id"]), ("another scenario's", others)):
        pairs = zip(judges, own.to_dict("records"), strict=True)
        found = [scenarios.judged(cases[by].checks, row).outcome for by, row in pairs]
        counted[name] = _passed(own.assign(verdict=found))
    return pd.DataFrame({"share that passes": counted}).rename_axis("checks")


def write(stage: Stage, rows: pd.DataFrame) -> None:
    """`scenarios.parquet`, what the gates read; and the base's answers, to be taken over later."""
    stage.write_table(scenarios.TABLE, rows)
    stage.write_table(BASE_TABLE, rows[rows["model"] == "base"])

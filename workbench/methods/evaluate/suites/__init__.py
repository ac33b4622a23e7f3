"""External suites over base and candidate: Inspect tasks, lm-eval tasks, logs made elsewhere.

One table (`suites.parquet`), one row a case and metric: case_id, model, suite, task, sample (digest
of what was asked), metric, value, origin (`run`, or `imported` for a log that was made elsewhere).
The frameworks are the extra `suites`; neither is imported before a suite asks for it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from ....errors import InputError
from ....policy import figures
from ...adapt.base import load_tokenizer
from ...adapt.causal import load_causal
from ...stage import Stage, readable, sealed
from .backend import Loaded, Mute
from .lm_eval_logs import rows_of

COLUMNS = ["case_id", "model", "suite", "task", "sample", "metric", "value", "origin"]
MODELS = ("base", "candidate")
FRAMEWORKS = {"*.py": "inspect", "*.yaml": "lm_eval"}


@sealed("suites.parquet", leaves=["*/base/*", "*/candidate/*"])
def run(stage: Stage, *, limit: int, batch_size: int, threads: int, system: str) -> pd.DataFrame:
    """Every suite of the use case over base and candidate, and the logs that were brought along.

    `limit` bounds the cases of a task (0: all). Logs of the frameworks become outputs. InputError
    when there is no suite at all, or where a classifier is asked to write.
    """
    folder, rows = stage.input("suites"), imported(stage.input("suites"))
    asked = [path.name for pattern in FRAMEWORKS for path in sorted(folder.glob(pattern))]
    if not asked and not rows:
        raise InputError("There are no suites.", where=folder.name, expected="*.py, *.yaml")
    if asked and stage.read_json("facts")["kind"] == "classifier":
        next_step = "Keep only logs that were made elsewhere, in imported/."
        raise InputError("A classifier can't answer.", where=asked[0], next_step=next_step)
    for model in MODELS if asked else ():
        adapter = stage.input("adapter") if model == "candidate" else None
        loaded = Loaded(*load_causal(stage.input("base"), adapter, threads=threads), batch_size)
        rows += _asked(folder, model, loaded, stage.outputs, limit=limit, system=system)
    return table(rows)


def control(stage: Stage, *, limit: int, system: str) -> pd.DataFrame:
    """The suites over a model that says nothing and prefers nothing; its logs are kept as well."""
    mute, folder = Mute(load_tokenizer(stage.input("base"))), stage.input("suites")
    return table(_asked(folder, "mute", mute, stage.outputs, limit=limit, system=system))


def _asked(folder: Path, model: str, backend: Loaded, out: Path, **how: Any) -> list[dict]:
    """Both frameworks, where there are tasks for them. InputError where one is not installed."""
    rows = []
    for name in (name for pattern, name in FRAMEWORKS.items() if list(folder.glob(pattern))):
        try:
            framework = import_module(f"{__name__}.{name}_tasks")
        except ModuleNotFoundError as error:
            given, next_step = f"{error.name} is not installed", "pip install 'workbench[suites]'"
            raise InputError("A suite can't run.", given=given, next_step=next_step) from None
        rows += framework.run(folder, model, backend, out / name / model, **how)
    return rows


def imported(folder: Path) -> list[dict[str, Any]]:
    """Rows of `imported/MODEL/samples_TASK.jsonl`; only base and candidate can be meant."""
    rows = []
    for path in sorted((folder / "imported").glob("*/samples_*.jsonl")):
        model, where = path.parent.name, f"imported/{path.parent.name}/{path.name}"
        if model not in MODELS:
            raise InputError("Whose log is this?", where=where, expected="base/ or candidate/")
        rows += rows_of(path, model, "imported")
    return rows


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Sorted, so that a replay gives the same bytes. InputError where a case comes twice."""
    found = pd.DataFrame(rows, columns=COLUMNS).astype({"value": "float64"})
    key = ["suite", "task", "case_id", "model", "metric", "origin"]
    if found.duplicated(key).any():
        twice = found.loc[found.duplicated(key), "case_id"].iloc[0]
        raise InputError("A case of a suite comes twice.", where="case_id", given=twice)
    return found.sort_values(key, ignore_index=True)


def scores(stage: Stage, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean score by task and metric, base beside candidate; recorded, and for the figure."""
    lines: dict[str, dict[str, Any]] = {}
    for (task, metric, origin, model), part in rows.groupby(["task", "metric", "origin", "model"]):
        figure = figures.compute("suite_score", part.to_dict("records"), origin=origin)
        named = [task, metric, model] if origin == "run" else [task, metric, origin, model]
        stage.figure("_".join(named).replace("/", "_"), figure)
        name = f"{task}, {metric}" + ("" if origin == "run" else f" ({origin})")
        line = lines.setdefault(name, {"name": name, "n": figure.n})
        line |= {f"{model}_{what}": getattr(figure, what) for what in ("value", "low", "high")}
        line[model] = readable(figure.as_dict())
    return pd.DataFrame(lines.values())

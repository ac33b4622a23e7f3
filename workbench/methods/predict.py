"""Answer texts as this candidate did in its validation: same code, same arithmetic, JSON lines.

    python predict.py --base FOLDER "text" ["another text" ...]

`FOLDER` is the base model as 15_base sealed it; another one is refused. This file lies in
`inference/` of a frozen bundle, beside the archive of the very code that was validated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SETTINGS, ARCHIVE = "settings.json", "workbench.zip"
ASKED = ("threads", "dtype", "reply_tokens")
"""Settings that the task is opened with; the others are for who reads its answers."""
REPLY_TOKENS = 32  # where no stage of the validation says how long a reply may be
Answer = tuple[str, str, str, str | None]
"""Name for readers, column, task, prefix of the columns with its scores, where it has scores."""


def answers(bundle: Path, base: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
    """One answer a text, from the adapter in the folder `bundle`.

    A classifier: label and confidence; a generative model: the form. `calibrated` is the confidence
    at the temperature that the calibration chose, where it chose one. InputError for another base.
    """
    from workbench.methods.evaluate.core import Evaluator

    task, columns, settings = opened(bundle, base)
    found = Evaluator(task).answers(items(texts)).to_dict("records")
    return [said(row, columns, settings["temperatures"]) for row in found]


def items(texts: Sequence[str]) -> Any:
    """The texts as a table of cases of which nothing else is known."""
    import pandas as pd

    return pd.DataFrame({"case_id": range(len(texts)), "text": list(texts), "label": ""})


def opened(bundle: Path, base: Path, **how: Any) -> tuple[Any, list[Answer], dict[str, Any]]:
    """The task, what it answers, and the settings that were frozen with it.

    `how` goes before those settings: threads. InputError for another base.
    """
    settings = json.loads((bundle / "inference" / SETTINGS).read_bytes())
    asked = {name: settings[name] for name in ASKED if name in settings} | how
    return *_task(bundle, base, asked), settings


def _task(bundle: Path, base: Path, asked: dict[str, Any]) -> tuple[Any, list[Answer]]:
    from workbench.methods.adapt.form import Form
    from workbench.methods.evaluate.classify import Labelling
    from workbench.methods.evaluate.decide import RENAMED, Filling

    usecase = json.loads((bundle / "usecase.json").read_bytes())
    folders, tokens = {"candidate": bundle / "adapter"}, asked.pop("reply_tokens", REPLY_TOKENS)
    if usecase["kind"] == "classifier":
        return Labelling(base, folders, **asked), [("label", "predicted", "label", "p_")]
    form = Form.of(usecase)
    shown = {name: RENAMED.get(name, name) for name in form.fields}
    fields = [(name, column, column, f"p_{column}_") for name, column in shown.items()]
    task = Filling(base, folders, form, tokens, **asked)
    return task, [*fields, (form.free, form.free, "", None)]


def said(row: dict[str, Any], columns: list[Answer], at: dict[str, float]) -> dict[str, Any]:
    """The answer in a row of the task's table, by name; `at` holds temperatures by task."""
    from workbench.policy.figures.calibration import scaled

    found: dict[str, Any] = {}
    for name, column, task, prefix in columns:
        found[name] = row[column]
        if prefix:
            scores = [float(value) for key, value in row.items() if key.startswith(prefix)]
            found[f"{name}_confidence"] = max(scores)
            if task in at:
                found[f"{name}_calibrated"] = float(scaled(scores, at[task]).max())
    return found


def main(words: Iterable[str] | None = None) -> int:
    """The program; returns its exit code."""
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here / ARCHIVE))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True, help="the base model's folder")
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    given = parser.parse_args(None if words is None else list(words))
    from workbench.errors import WorkbenchError

    try:
        for answer in answers(here.parent, given.base, given.texts):
            print(json.dumps(answer, ensure_ascii=False))
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

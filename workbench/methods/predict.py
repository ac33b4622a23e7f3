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
REPLY_TOKENS = 32  # where no stage of the validation says how long a reply may be
Answer = tuple[str, str, str, str | None]
"""Name for readers, column, task, prefix of the columns with its scores, where it has scores."""


def answers(bundle: Path, base: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
    """One answer a text, from the adapter in the folder `bundle`.

    A classifier: label and confidence; a generative model: the form. `calibrated` is the confidence
    at the temperature that the calibration chose, where it chose one. InputError for another base.
    """
    import pandas as pd

    from workbench.methods.evaluate.core import Evaluator

    settings = json.loads((bundle / "inference" / SETTINGS).read_bytes())
    temperatures = settings.pop("temperatures")
    settings.pop("thresholds", None)  # the server's to keep silent by
    task, columns = _opened(bundle, base, settings)
    items = pd.DataFrame({"case_id": range(len(texts)), "text": list(texts), "label": ""})
    found = Evaluator(task).answers(items).to_dict("records")
    return [_said(row, columns, temperatures) for row in found]


def _opened(bundle: Path, base: Path, asked: dict[str, Any]) -> tuple[Any, list[Answer]]:
    """The task, and what it answers."""
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


def _said(row: dict[str, Any], columns: list[Answer], at: dict[str, float]) -> dict[str, Any]:
    from workbench.policy.figures.calibration import scaled

    said: dict[str, Any] = {}
    for name, column, task, prefix in columns:
        said[name] = row[column]
        if prefix:
            scores = [float(value) for key, value in row.items() if key.startswith(prefix)]
            said[f"{name}_confidence"] = max(scores)
            if task in at:
                said[f"{name}_calibrated"] = float(scaled(scores, at[task]).max())
    return said


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
        for said in answers(here.parent, given.base, given.texts):
            print(json.dumps(said, ensure_ascii=False))
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Sample logs of lm-evaluation-harness as rows; nothing of the harness is needed to read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workbench.errors import InputError


def rows_of(path: Path, name: str, origin: str = "run") -> list[dict[str, Any]]:
    """Rows of a sample log, ours or one made elsewhere; metrics over whole corpora have none.

    InputError for a file that is no such log.
    """
    task = path.stem.removeprefix("samples_")
    about = {"model": name, "suite": "lm-eval", "task": task, "origin": origin}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [about | row for line in lines for row in _rows(json.loads(line), task)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected, given = "lines as lm-eval's --log_samples writes them", repr(error)
        what = "A sample log cannot be read."
        raise InputError(what, where=path.name, expected=expected, given=given) from None


def _rows(sample: dict[str, Any], task: str) -> list[dict[str, Any]]:
    about = {"case_id": f"{task}/{sample['doc_id']}", "sample": sample["doc_hash"]}
    how = "" if sample.get("filter", "none") == "none" else f"/{sample['filter']}"
    numbers = {n: sample[n] for n in sample["metrics"] if isinstance(sample[n], int | float)}
    return [{**about, "metric": name + how, "value": float(v)} for name, v in numbers.items()]

"""Training rows that stand in a benchmark: who learned the exam's questions proves nothing by it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from ....errors import InputError
from ....policy.texts import bare
from .findings import equal, side_by_side
from .near import near


def contamination(table: pd.DataFrame, text: str, benchmark: Path) -> list[pd.DataFrame]:
    """Findings `benchmark exact` and `benchmark near`: a training row, and `file:line` of its like."""
    told = pd.DataFrame(benchmark_texts(benchmark), columns=["row_id", text])
    told["set"] = "benchmark"
    train = table.loc[table["set"] == "train", ["row_id", text, "set"]]
    both = pd.concat([train, told], ignore_index=True)
    same = side_by_side(both, text, equal(both, both[text].map(bare)), "benchmark exact")
    return [same, near(both, text).assign(kind="benchmark near")]


def benchmark_texts(path: Path) -> list[tuple[str, str]]:
    """(`file:line`, text) of every text in a csv, jsonl, parquet or txt file, whatever its column.

    A text is a string with a letter in it, in lists and objects too. The line is that on which the
    record starts; of a Parquet file, its row. InputError names what can't be read.
    """
    try:
        read = READERS[path.suffix.lower()]
        found = [(f"{path.name}:{n}", text) for n, value in read(path) for text in _texts(value)]
        if not found:
            raise ValueError("no text")
    except (OSError, ValueError, KeyError, csv.Error) as error:  # its words could quote a row
        raise InputError(
            "A benchmark file cannot be read; nothing was compared.", where=path.name,
            expected=f"a file of texts: {', '.join(READERS)}", given=type(error).__name__,
        ) from None  # fmt: skip
    return list(dict.fromkeys(found))


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [text for one in inner for text in _texts(one)]
    return [value] if isinstance(value, str) and any(map(str.isalpha, value)) else []


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    yield from enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1)


def _csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
    line = 1
    for row in reader:
        yield line, row if line > 1 else []
        line = reader.line_num + 1


READERS: dict[str, Callable[[Path], Iterable[tuple[int, Any]]]] = {
    ".csv": _csv, ".txt": _lines,
    ".jsonl": lambda path: ((n, json.loads(line)) for n, line in _lines(path) if line.strip()),
    ".parquet": lambda path: enumerate(parquet.read_table(path).to_pylist(), start=1),
}  # fmt: skip
"""Suffix to (line, what stands there)."""

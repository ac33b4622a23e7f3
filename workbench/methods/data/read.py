"""Read a table of rows, whole or not at all: a row that can't be read is named, never skipped."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import InputError

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def read_rows(path: Path, format: str = "auto") -> pd.DataFrame:
    """All rows of a CSV (with header), JSON-lines or Parquet file, in file order.

    A column `row_id` is added: `r` and the 1-based number of the row in the source, so that
    whatever becomes of a row can be traced to where it came from. InputError names the line.
    """
    kind = FORMATS.get(path.suffix.lower()) if format == "auto" else format
    readers = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
    if kind not in readers:
        raise InputError(
            "The data file has a format that the workbench does not read.",
            where=path.name,
            expected="csv, jsonl or parquet",
            given=path.suffix or format,
        )
    table = readers[kind](path)
    if table.empty:
        raise InputError("The data file has no rows.", where=path.name)
    table.insert(0, "row_id", [f"r{i:07d}" for i in range(1, len(table) + 1)])
    return table


def _refuse(path: Path, line: int, expected: str, given: object) -> InputError:
    return InputError(
        "A row cannot be read; nothing was taken in.",
        where=f"{path.name}, line {line}",
        expected=expected,
        given=str(given)[:120],
        next_step="Correct that line; rows are never skipped silently.",
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, so that an encoding error has a line number too."""
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise _refuse(path, number, "UTF-8 text", error) from None


def _csv(path: Path) -> pd.DataFrame:
    text = (f"{line}\n" for _, line in _lines(path))
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, [])
        if len(set(header)) != len(header) or not all(header):
            raise _refuse(path, 1, "a header of distinct, non-empty names", header)
        rows = []
        for row in reader:
            if row and len(row) != len(header):
                raise _refuse(path, reader.line_num, f"{len(header)} fields", f"{len(row)}: {row}")
            rows += [row] if row else []
    except csv.Error as error:
        raise _refuse(path, reader.line_num, "well-formed CSV", error) from None
    return pd.DataFrame(rows, columns=header, dtype="string").astype(object)


def _jsonl(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise _refuse(path, number, "one JSON object a line", error) from None
        if not isinstance(row, dict):
            raise _refuse(path, number, "one JSON object a line", line)
        if rows and row.keys() != rows[0].keys():
            odd = sorted(set(row) ^ set(rows[0]))
            raise _refuse(path, number, "the same fields as the first row", f"differs in {odd}")
        rows.append(row)
    return pd.DataFrame(rows)


def _parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow raises many kinds; all mean an unreadable file
        raise _refuse(path, 0, "a Parquet file", error) from None

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
    if not path.is_file():
        raise InputError("The data file is not there, or is no file.", where=path)
    table = readers[kind](path)
    if table.empty:
        raise InputError("The data file has no rows.", where=path.name)
    if "row_id" in table:
        raise InputError(
            "The data has a column with a name that the workbench gives.",
            where=path.name,
            given="row_id",
            next_step="Rename it, for example to `source_id`.",
        )
    table.insert(0, "row_id", [f"r{i:07d}" for i in range(1, len(table) + 1)])
    return table


def _refuse(path: Path, line: int, expected: str, given: object) -> InputError:
    """`given` never quotes a row: the message stands in a notebook, and rows may be of persons."""
    return InputError(
        "A row cannot be read; nothing was taken in.",
        where=f"{path.name}, line {line}" if line else path.name,
        expected=expected,
        given=str(given)[:120],
        next_step="Correct that line; rows are never skipped silently.",
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, so that an encoding error has a line number too."""
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        if b"\0" in raw:
            raise _refuse(path, number, "text", "a NUL byte")
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise _refuse(path, number, "UTF-8 text", error) from None


def _csv(path: Path) -> pd.DataFrame:
    reader = csv.reader((f"{line}\n" for _, line in _lines(path)), strict=True)
    rows: list[list[str]] = []
    header: list[str] | None = None
    while True:
        # A quote that is never closed is noticed at the end of the file; named is where it opened.
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise _refuse(path, line, "well-formed CSV", error) from None
        if row is None:
            return pd.DataFrame(rows, columns=header, dtype=object)
        if header is None:
            header = row
            if len(set(header)) != len(header) or not all(header):
                raise _refuse(path, 1, "a header of distinct, non-empty names", header)
        elif row and len(row) != len(header):
            raise _refuse(path, line, f"{len(header)} fields", f"{len(row)} fields")
        elif row:
            rows.append(row)


def _jsonl(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_distinct, parse_constant=_no_number)
            if "\\u" in line:  # half a surrogate pair passes json and breaks whoever writes it
                json.dumps(row, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            expected = "one JSON object a line"
            raise _refuse(path, number, expected, _kind(error)) from None
        if not isinstance(row, dict):
            raise _refuse(path, number, "one JSON object a line", type(row).__name__)
        if rows and row.keys() != rows[0].keys():
            odd = sorted(set(row) ^ set(rows[0]))
            raise _refuse(path, number, "the same fields as the first row", f"differs in {odd}")
        rows.append(row)
    return pd.DataFrame(rows)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ; json would keep the last of two and drop the other silently."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key that comes twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name}, which is not JSON")


def _kind(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):  # its text would quote the row
        return "half a surrogate pair"
    return str(error)


def _parquet(path: Path) -> pd.DataFrame:
    """Every stored column as a column: an index that pandas put aside would be data lost."""
    from pyarrow import parquet

    try:
        table = parquet.read_table(path).to_pandas(ignore_metadata=True)
    except Exception as error:  # pyarrow raises many kinds; all mean an unreadable file
        raise _refuse(path, 0, "a Parquet file", type(error).__name__) from None
    table = table.drop(columns=[name for name in table if str(name).startswith("__index_level_")])
    coded = table.select_dtypes("category").columns
    return table.astype(dict.fromkeys(coded, object))

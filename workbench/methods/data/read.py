"""Read a table of rows, whole or not at all: a row that can't be read is named, never skipped."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from ...errors import InputError

FORMATS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
CHUNK = 5_000  # rows that are held at once where a whole table need not be


def read_rows(path: Path, format: str = "auto") -> pd.DataFrame:
    """All rows of a CSV (with header), JSON-lines or Parquet file, in file order.

    A column `row_id` is added: `r` and the 1-based number of the row in the source, so that
    whatever becomes of a row can be traced to where it came from. InputError names the line.
    """
    kind = _kind_of(path, format)
    if kind == "parquet":
        table = _parquet(path)
    else:
        with path.open("rb") as file:
            rows = list(RECORDS[kind](path, file))
        table = pd.DataFrame(rows, dtype=object if kind == "csv" else None)
    _check(path, table.columns, len(table))
    table.insert(0, "row_id", [f"r{i:07d}" for i in range(1, len(table) + 1)])
    return table


def read_chunks(
    path: Path, format: str = "auto", rows: int = CHUNK
) -> Iterator[tuple[float, pd.DataFrame]]:
    """The same rows, `rows` at a time, values as they stand there and without a `row_id`.

    Yields the share of the file that has been read, and the table. InputError as `read_rows`, but
    only when the row is reached: what came before may have been used by then.
    """
    kind, n = _kind_of(path, format), 0
    read = _parquet_chunks(path, rows) if kind == "parquet" else _text_chunks(path, kind, rows)
    for share, table in read:
        n += len(table)
        _check(path, table.columns, n)
        yield share, table
    _check(path, [], n)


def _kind_of(path: Path, format: str) -> str:
    kind = FORMATS.get(path.suffix.lower()) if format == "auto" else format
    if kind not in FORMATS.values():
        raise InputError(
            "The data file has a format that the workbench does not read.",
            where=path.name,
            expected="csv, jsonl or parquet",
            given=path.suffix or format,
        )
    if not path.is_file():
        raise InputError("The data file is not there, or is no file.", where=path)
    return kind


def _check(path: Path, columns: Iterable[str], rows: int) -> None:
    if not rows:
        raise InputError("The data file has no rows.", where=path.name)
    if "row_id" in columns:
        raise InputError(
            "The data has a column with a name that the workbench gives.",
            where=path.name,
            given="row_id",
            next_step="Rename it, for example to `source_id`.",
        )


def _text_chunks(path: Path, kind: str, rows: int) -> Iterator[tuple[float, pd.DataFrame]]:
    with path.open("rb") as file:
        records, size = RECORDS[kind](path, file), path.stat().st_size
        while taken := list(islice(records, rows)):
            yield file.tell() / size, pd.DataFrame(taken, dtype=object)


def _refuse(path: Path, line: int, expected: str, given: object) -> InputError:
    """`given` never quotes a row: the message stands in a notebook, and rows may be of persons."""
    return InputError(
        "A row cannot be read; nothing was taken in.",
        where=f"{path.name}, line {line}" if line else path.name,
        expected=expected,
        given=str(given)[:120],
        next_step="Correct that line; rows are never skipped silently.",
    )


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Numbered lines, so that an encoding error has a line number too."""
    for number, raw in enumerate(file, start=1):
        if b"\0" in raw:
            raise _refuse(path, number, "text", "a NUL byte")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _refuse(path, number, "UTF-8 text", error) from None
        yield number, text.removesuffix("\n").rstrip("\r")


def _csv(path: Path, file: BinaryIO) -> Iterator[dict[str, str]]:
    reader = csv.reader((f"{line}\n" for _, line in _lines(path, file)), strict=True)
    header: list[str] | None = None
    while True:
        # A quote that is never closed is noticed at the end of the file; named is where it opened.
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise _refuse(path, line, "well-formed CSV", error) from None
        if row is None:
            return
        if header is None:
            header = row
            if len(set(header)) != len(header) or not all(header):
                raise _refuse(path, 1, "a header of distinct, non-empty names", header)
        elif row and len(row) != len(header):
            raise _refuse(path, line, f"{len(header)} fields", f"{len(row)} fields")
        elif row:
            yield dict(zip(header, row, strict=True))


def _jsonl(path: Path, file: BinaryIO) -> Iterator[dict[str, Any]]:
    first: dict[str, Any] | None = None
    for number, line in _lines(path, file):
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
        first = row if first is None else first
        if row.keys() != first.keys():
            odd = sorted(set(row) ^ set(first))
            raise _refuse(path, number, "the same fields as the first row", f"differs in {odd}")
        yield row


RECORDS = {"csv": _csv, "jsonl": _jsonl}


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
    from pyarrow import parquet

    try:
        return _plain(parquet.read_table(path))
    except Exception as error:  # pyarrow raises many kinds; all mean an unreadable file
        raise _refuse(path, 0, "a Parquet file", type(error).__name__) from None


def _parquet_chunks(path: Path, rows: int) -> Iterator[tuple[float, pd.DataFrame]]:
    from pyarrow import Table, parquet

    try:
        with parquet.ParquetFile(path) as file:
            done, total = 0, file.metadata.num_rows
            for batch in file.iter_batches(rows):
                done += batch.num_rows
                yield done / total, _plain(Table.from_batches([batch]))
    except Exception as error:  # of whatever kind; those of who takes the rows do not arrive here
        raise _refuse(path, 0, "a Parquet file", type(error).__name__) from None


def _plain(table: Any) -> pd.DataFrame:
    """Every stored column as a column: an index that pandas put aside would be data lost."""
    held = table.to_pandas(ignore_metadata=True)
    held = held.drop(columns=[name for name in held if str(name).startswith("__index_level_")])
    return held.astype(dict.fromkeys(held.select_dtypes("category").columns, object))

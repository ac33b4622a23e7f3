"""A data file part by part: its rows beside the very bytes that they are, so that some can be left
out and every other byte stays."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import InputError

Row = dict[str, Any]
Which = Callable[[Row], str | None]
"""The subject whose row a row is, or None."""


def kind_of(name: str, form: str) -> str:
    """`csv`, `jsonl` or `parquet`, by what is declared or the suffix."""
    known = {".csv": "csv", ".parquet": "parquet"}
    return known.get(Path(name).suffix.lower(), "jsonl") if form == "auto" else form


def parts(data: bytes, kind: str) -> Iterator[tuple[bytes, Row | None]]:
    """The bytes of a file part by part, and the row that each is; None for a header or blank line.

    Rows are what the dataset stage takes them for. InputError when the file can't be read.
    """
    try:
        yield from {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[kind](data)
    except (ValueError, csv.Error):  # pyarrow's are ValueErrors; their words may quote a row
        raise InputError("Rows cannot be read.", expected=f"a sound {kind} file") from None


def _lines(data: bytes) -> tuple[list[bytes], list[str]]:
    """Lines as they are, and as text without byte order mark and carriage return."""
    lines = BytesIO(data).readlines()
    texts = [line.decode("utf-8" if n else "utf-8-sig") for n, line in enumerate(lines)]
    return lines, [text.rstrip("\r\n") + "\n" for text in texts]


def _csv(data: bytes) -> Iterator[tuple[bytes, Row | None]]:
    """A quoted field may hold line ends, so a row may be several lines."""
    lines, texts = _lines(data)
    reader, header, start = csv.reader(texts, strict=True), None, 0
    for values in reader:
        raw, start = b"".join(lines[start : reader.line_num]), reader.line_num
        yield raw, dict(zip(header, values, strict=True)) if header and values else None
        header = header or values


def _jsonl(data: bytes) -> Iterator[tuple[bytes, Row | None]]:
    for raw, text in zip(*_lines(data), strict=True):
        yield raw, json.loads(text) if text.strip() else None


def _parquet(data: bytes) -> Iterator[tuple[bytes, Row | None]]:
    import pyarrow.parquet as parquet

    return ((b"", row) for row in parquet.read_table(BytesIO(data)).to_pylist())


def without(data: bytes, kind: str, which: Which) -> bytes:
    """The file without the rows that are somebody's; text keeps every other byte."""
    whole = list(parts(data, kind))
    left = [(raw, row) for raw, row in whole if not row or which(row) is None]
    if len(left) == len(whole):
        return data
    if kind != "parquet":
        return b"".join(raw for raw, _ in left)
    import pyarrow as pa
    import pyarrow.parquet as parquet

    # Built anew: a filtered table would keep the dictionary with the values of the rows that went.
    schema, file = parquet.read_schema(BytesIO(data)), BytesIO()
    parquet.write_table(pa.Table.from_pylist([row for _, row in left], schema=schema), file)
    return file.getvalue()

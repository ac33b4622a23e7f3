"""A table of rows is read whole, or refused with the line at fault."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.methods.data.read import read_chunks, read_rows

ROWS = [{"text": "where is my card", "label": "card"}, {"text": "a fee, twice", "label": "fees"}]


def written(folder, name: str, content: bytes | str):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path, format: str = "auto") -> InputError:
    with pytest.raises(InputError) as caught:
        read_rows(path, format)
    return caught.value


def test_the_three_formats_give_the_same_rows_in_file_order(tmp_path):
    """CSV, JSON lines and Parquet differ in nothing that a stage sees."""
    csv = written(tmp_path, "a.csv", 'text,label\nwhere is my card,card\n"a fee, twice",fees\n')
    jsonl = written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, ROWS)))
    pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    for path in (csv, jsonl, tmp_path / "a.parquet"):
        table = read_rows(path)
        assert table[["text", "label"]].to_dict("records") == ROWS
        assert table["row_id"].tolist() == ["r0000001", "r0000002"]


def test_a_format_that_is_named_goes_over_the_suffix(tmp_path):
    """The use case knows better than the file's name."""
    assert len(read_rows(written(tmp_path, "a.txt", "text,label\nhi,card\n"), "csv")) == 1


def test_quoted_fields_keep_commas_quotes_and_line_breaks(tmp_path):
    """What the CSV standard (RFC 4180) allows inside a quoted field is text, not structure."""
    path = written(tmp_path, "a.csv", b'\xef\xbb\xbftext,label\r\n"one,\r\n""two""",card\r\n')
    assert read_rows(path)["text"].tolist() == ['one,\n"two"']


def test_values_stay_text(tmp_path):
    """Neither `NA`, nor `007`, nor an empty field becomes something else on its way."""
    table = read_rows(written(tmp_path, "a.csv", "text,label,ref\nNA,card,007\nnull,fees,\n"))
    assert table[["text", "ref"]].to_numpy().tolist() == [["NA", "007"], ["null", ""]]


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=6))
def test_every_json_row_comes_back_as_it_was(tmp_path_factory, pairs):
    """No text is changed, dropped or merged, whatever characters it holds."""
    rows = [{"text": text, "label": label} for text, label in pairs]
    text = "\n".join(json.dumps(row) for row in rows)
    path = written(tmp_path_factory.mktemp("rows"), "a.jsonl", text)
    if any("\ud800" <= c <= "\udfff" for pair in pairs for field in pair for c in field):
        assert "surrogate" in str(refusal(path))
    else:
        assert read_rows(path)[["text", "label"]].to_dict("records") == rows


BROKEN = {
    "too few fields": ("a.csv", b"text,label\nhi,card\nalone\nbye,fees\n", 3),
    "too many fields": ("a.csv", b"text,label\nhi,card\nbye,fees,more\n", 3),
    "a stray quote inside": ("a.csv", b'text,label\nhi,card\n"by"e,fees\n', 3),
    "a quote never closed": ("a.csv", b'text,label\n"hi,card\nbye,fees\nmore,fees\n', 2),
    "a CSV that is not UTF-8": ("a.csv", b"text,label\nhi,card\ncaf\xe9,fees\n", 3),
    "UTF-16": ("a.csv", "text,label\nhi,card\n".encode("utf-16"), 1),
    "a NUL byte in a CSV": ("a.csv", b"text,label\nhi\0,card\n", 2),
    "a NUL byte in JSON": ("a.jsonl", b'{"text": "hi"}\n{"text": "a\0"}\n', 2),
    "the same name twice": ("a.csv", b"text,text\nhi,card\n", 1),
    "a nameless column": ("a.csv", b"text,\nhi,card\n", 1),
    "another key set": ("a.jsonl", b'{"text": "hi", "label": "a"}\n{"text": "bye"}\n', 2),
    "a key twice": ("a.jsonl", b'{"text": "hi", "text": "bye"}\n', 1),
    "broken JSON": ("a.jsonl", b'{"text": "hi"}\n\n{"text": \n', 3),
    "not a number": ("a.jsonl", b'{"text": "hi", "score": NaN}\n', 1),
    "a list for a row": ("a.jsonl", b'{"text": "hi"}\n["bye"]\n', 2),
    "JSON too deep": ("a.jsonl", b'{"text": ' + b"[" * 200_000, 1),
    "half a surrogate pair": ("a.jsonl", b'{"text": "hi"}\n{"text": "\\ud83d"}\n', 2),
    "JSON that is not UTF-8": ("a.jsonl", b'{"text": "hi"}\n{"text": "caf\xe9"}\n', 2),
}


@pytest.mark.parametrize("name, content, line", BROKEN.values(), ids=BROKEN)
def test_an_unreadable_row_is_refused_by_its_line(tmp_path, name, content, line):
    """One bad row stops the whole file: what is skipped silently is missed by nobody."""
    error = refusal(written(tmp_path, name, content))
    assert str(error.where) == f"{name}, line {line}"
    assert error.exit_code == 1


def test_a_refusal_does_not_quote_the_row(tmp_path):
    """The message ends up in an executed notebook, and rows may speak of persons."""
    for name, content in (
        ("a.csv", "text,label\nAda Lovelace\n"),
        ("a.csv", 'text,label\n"Ada Lovelace" x,y\n'),
        ("a.jsonl", '"Ada Lovelace"\n'),
        ("b.jsonl", '{"text": "Ada Lovelace\n'),
        ("c.jsonl", '{"text": "Ada Lovelace \\ud83d"}\n'),
    ):
        assert "Lovelace" not in str(refusal(written(tmp_path, name, content)))


def test_what_is_no_table_is_refused(tmp_path):
    """Empty, without rows, absent, a folder, no Parquet, or of an unknown kind."""
    assert "no rows" in str(refusal(written(tmp_path, "a.csv", "")))
    assert "no rows" in str(refusal(written(tmp_path, "b.csv", "text,label\n")))
    assert "no rows" in str(refusal(written(tmp_path, "a.jsonl", "\n\n")))
    assert "not there" in str(refusal(tmp_path / "none.csv"))
    (tmp_path / "folder.csv").mkdir()
    assert "no file" in str(refusal(tmp_path / "folder.csv"))
    assert "a Parquet file" in str(refusal(written(tmp_path, "a.parquet", b"PAR1 or not")))
    assert "csv, jsonl or parquet" in str(refusal(written(tmp_path, "a.xlsx", "x")))
    assert "csv, jsonl or parquet" in str(refusal(written(tmp_path, "a.csv", "x"), "xml"))


def test_the_name_that_the_workbench_gives_is_refused(tmp_path):
    """A column `row_id` of the data would be taken for the number of the row."""
    assert "row_id" in str(refusal(written(tmp_path, "a.csv", "row_id,text\n7,hi\n")))


def test_parquet_keeps_what_pandas_had_put_into_an_index(tmp_path):
    """An index may hold data, or the same number twice; neither may reach the split."""
    table = pd.DataFrame(ROWS)
    table.set_index("text").to_parquet(tmp_path / "named.parquet")
    assert set(read_rows(tmp_path / "named.parquet")) == {"row_id", "text", "label"}
    pd.concat([table, table]).to_parquet(tmp_path / "repeated.parquet")
    assert read_rows(tmp_path / "repeated.parquet").index.tolist() == [0, 1, 2, 3]


def test_a_coded_column_is_read_as_its_values(tmp_path):
    """A categorical of pandas is a way of storing text, not another type."""
    pd.DataFrame(ROWS).astype({"label": "category"}).to_parquet(tmp_path / "a.parquet")
    table = read_rows(tmp_path / "a.parquet")
    assert not isinstance(table["label"].dtype, pd.CategoricalDtype)
    assert table["label"].tolist() == ["card", "fees"]


def test_in_chunks_the_same_rows_come_in_the_same_order(tmp_path):
    """Whoever can't hold a file sees no other rows, and how far it is; values stay as they are."""
    rows = [{"text": f"row {i}", "label": str(i % 3)} for i in range(25)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    for path in sorted(tmp_path.iterdir()):
        shares, tables = zip(*read_chunks(path, rows=10), strict=True)
        assert [len(table) for table in tables] == [10, 10, 5]
        assert pd.concat(tables).to_dict("records") == rows
        assert sorted(shares) == list(shares) and shares[-1] == 1


@pytest.mark.parametrize("name, content, line", BROKEN.values(), ids=BROKEN)
def test_in_chunks_an_unreadable_row_is_refused_by_its_line(tmp_path, name, content, line):
    """As strict as whole: also where the rows before it were given out."""
    with pytest.raises(InputError) as caught:
        list(read_chunks(written(tmp_path, name, content), rows=1))
    assert str(caught.value.where) == f"{name}, line {line}"


def test_in_chunks_what_is_no_table_is_refused(tmp_path):
    """Without rows, no Parquet, or with a column that the workbench gives."""
    for name, content in (
        ("a.csv", "text,label\n"),
        ("a.jsonl", "\n\n"),
        ("a.parquet", b"PAR1 or not"),
        ("b.csv", "row_id,text\n7,hi\n"),
    ):
        with pytest.raises(InputError):
            list(read_chunks(written(tmp_path, name, content)))
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(InputError, match="no rows"):
        list(read_chunks(tmp_path / "b.parquet"))

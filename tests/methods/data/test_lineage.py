"""The lineage table, from reading to the sets."""

from __future__ import annotations

import pandas as pd

from workbench.methods.data.lineage import COLUMNS, assigned, begin, changes, extend
from workbench.policy.lineage_rows import gaps, trace

ROWS = pd.DataFrame({"row_id": ["r1", "r2", "r3"], "text": ["a", "b", "c"]})


def lineage() -> pd.DataFrame:
    made = changes(pd.Series(["s1"]), "created", "typo", "r1")
    child = changes(pd.Series(["s2"]), "created", "typo", "s1")
    return extend(extend(begin(ROWS), made, 1, "own", "1.0"), child, 2, "own", "1.0")


def test_a_made_row_keeps_the_source_of_its_parent():
    """However many times rows were made from made rows."""
    found = lineage().set_index("row_id")
    assert found.loc["s2", "source_id"] == found.loc["s1", "source_id"] == "r1"
    assert list(lineage().columns) == COLUMNS


def test_the_sets_close_the_lineage(tmp_path):
    """`set` for who stays, `removed` with reason for who left; through Parquet nothing is lost."""
    table = pd.DataFrame(
        {"row_id": ["r1", "r2", "s1", "s2"], "set": ["train", "locked", *["train"] * 2]}
    )
    left = pd.DataFrame({"row_id": ["r3"], "reason": ["leaks"], "same_as": ["r2"]})
    assigned(lineage(), table, left).to_parquet(tmp_path / "l.parquet", index=False)
    rows = pd.read_parquet(tmp_path / "l.parquet").to_dict("records")
    assert gaps(rows, ["r1", "r2", "r3"], {"train": ["r1", "s1", "s2"], "locked": ["r2"]}) == []
    assert [one["row_id"] for one in trace(rows, "s2")] == ["r1", "s1", "s2", "s2"]
    assert trace(rows, "r3")[-1]["detail"] == "leaks" and trace(rows, "r3")[-1]["other"] == "r2"


def test_a_row_that_nobody_assigned_is_a_gap():
    rows = assigned(lineage(), pd.DataFrame({"row_id": ["r1"], "set": ["train"]})).to_dict(
        "records"
    )
    assert any(
        fault.startswith("r2: ") for fault in gaps(rows, ["r1", "r2", "r3"], {"train": ["r1"]})
    )

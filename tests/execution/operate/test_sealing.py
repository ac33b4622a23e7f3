"""A stage of operation is sealed over what the engine collected, and judged by that alone (E5)."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.execution import bundle
from workbench.execution.operate import sealing
from workbench.execution.project import Project
from workbench.policy.criteria import Criterion

ASKED = Criterion(id="enough", stage="70_deploy", table="served.parquet", figure="count",
                  at_least=2, bound="value", blocking=True, harm="h", why="w")  # fmt: skip


@pytest.mark.parametrize(("rows", "verdict"), [(2, "passed"), (1, "failed")])
def test_criteria_of_operations_are_judged_over_tables(tmp_path, rows, verdict):
    """By the rules of all gates."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"arm": ["canary"] * rows}), tmp_path / "served.parquet")
    [found] = sealing.judge([ASKED], "70_deploy", tmp_path, 1)
    assert (found.criterion, found.verdict) == ("enough", verdict)


def test_a_table_that_is_not_there_is_no_pass(tmp_path):
    """Not evaluated; and of another stage nothing is judged."""
    assert [one.verdict for one in sealing.judge([ASKED], "70_deploy", tmp_path, 1)] == [
        "not_evaluated"
    ]
    assert sealing.judge([ASKED], "60_preproduction", tmp_path, 1) == []


def test_it_is_refused_before_a_kernel_where_the_track_lacks_something(unsigned):
    """A working tree that was changed has no name; a stage that there is not is named."""
    project, store = Project.load(unsigned.usecase), unsigned.store("governed")
    candidate, before = bundle.find(store), store.ledger.head()
    note = unsigned.usecase / "note.txt"
    note.write_text("not committed")
    try:
        with pytest.raises(InputError, match="70_deploy can't be sealed yet"):
            sealing.seal(project, store, "70_deploy", {}, candidate, lambda outputs: [])
    finally:
        note.unlink()
    with pytest.raises(InputError, match="no such stage"):
        sealing.seal(project, store, "71_nowhere", {}, candidate, lambda outputs: [])
    assert store.ledger.head() == before

"""`why`: the causes that differ between two records, and the figures that moved."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.evidence.explain import why


def test_the_changed_parameter_and_the_figure_that_moved_are_named(done):
    """And nothing else."""
    before = done.record("30_adapt")
    assert done.cli("run", "-p", "30_adapt.epochs=4", "--until", "30_adapt").code == 0
    after = next(r for r in done.store().records("30_adapt") if r.digest != before.digest)
    found = why(before, after)
    assert found["causes"] == {"parameters: epochs": [3, 4]}
    assert found["effects"] == {"loss_candidate": [1 / 3, 1 / 4]}
    told = done.cli("why", before.digest, after.digest)
    assert "parameters: epochs: 3 → 4" in told.out and "loss_candidate: 0.3333 → 0.25" in told.out
    assert done.cli("why", before.digest, after.digest, "--json").json == found


def test_the_same_record_differs_in_nothing(done):
    """Neither cause nor effect."""
    record = done.record("30_adapt")
    assert why(record, record) == {"causes": {}, "effects": {}}


def test_records_of_different_stages_are_not_compared(done):
    """Both stages are named."""
    with pytest.raises(InputError, match="different stages"):
        why(done.record("30_adapt"), done.record("20_dataset"))

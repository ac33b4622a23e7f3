"""A scenario with all its variants is one piece of evidence."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy import statistics
from workbench.policy.figures import compute


def rows(model: str = "candidate", **families: str) -> list[dict]:
    """Family -> one letter a row: p passes, f fails, u is unscored."""
    words = {"p": "pass", "f": "fail", "u": "unscored"}
    return [{"family": name, "model": model, "verdict": words[one]}
            for name, letters in families.items() for one in letters]  # fmt: skip


def test_a_family_passes_when_all_of_it_does():
    """One failing variant fails it; the interval is exact and over families."""
    found = compute("families_passed", rows(a="ppp", b="ppf", c="p", d="fff"))
    assert (found.value, found.n, found.unscored) == (0.5, 4, 0)
    assert (found.low, found.high) == statistics.clopper_pearson(2, 4)
    assert found.detail["failing"] == ["b", "d"]


def test_a_family_with_an_unscored_row_is_no_pass():
    """It is unscored, unless another row of it fails."""
    found = compute("families_passed", rows(a="ppu", b="pfu", c="pp"))
    assert (found.value, found.n, found.unscored) == (0.5, 2, 1)
    assert compute("families_passed", rows(a="u")).value is None


def test_variants_do_not_narrow_the_interval_of_their_share():
    """Forty rows of four families that agree within are hardly worth more than four."""
    alike = compute("scenario_pass_rate", rows(a="p" * 10, b="p" * 10, c="p" * 10, d="f" * 10))
    apart = statistics.wilson(30, 40)
    assert (alike.value, alike.n, alike.detail["rows"]) == (0.75, 4, 40)
    assert alike.high - alike.low > 2 * (apart.high - apart.low)


def test_one_family_tells_nothing_of_others():
    """Its share is given, with an interval that excludes nothing."""
    found = compute("scenario_pass_rate", rows(a="ppf"))
    assert (found.low, found.high, found.n) == (0, 1, 1)


def test_unscored_rows_are_counted_apart():
    """Neither passed nor failed; a family of nothing else is no family."""
    found = compute("scenario_pass_rate", rows(a="pu", b="f", c="uu"))
    assert (found.value, found.n, found.unscored) == (0.5, 2, 3)
    assert compute("scenario_pass_rate", []).value is None


@pytest.mark.parametrize("figure", ["families_passed", "scenario_pass_rate"])
def test_rows_of_two_models_are_refused(figure):
    """Else the base's rows could stand in for those that the candidate lacks."""
    with pytest.raises(InputError, match="several models"):
        compute(figure, rows(a="p") + rows("base", b="p"))

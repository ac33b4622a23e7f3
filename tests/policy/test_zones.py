"""An output is as strict as its lineage, and a zone refuses what it may not hold."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy.classes import ORDER, DataClass
from workbench.policy.zones import Zone, inherited, refuse


@pytest.mark.parametrize("strict", ORDER)
def test_one_strict_ancestor_makes_the_output_as_strict(strict):
    """Whichever way it came: sealed in an input, or by what the use case reads itself."""
    assert inherited([DataClass.PUBLIC, strict], []) == strict
    assert inherited(["public"], [strict]) == strict


def test_lenient_inputs_do_not_lower_what_is_read():
    """Public beside health is health."""
    assert inherited(["public"] * 5, ["health"]) == "health"


def test_an_input_without_a_class_counts_as_the_strictest_declared():
    """An older record isn't public because nobody sealed a class in it."""
    assert inherited([None], ["internal_operational", "personal"]) == "personal"


@pytest.mark.parametrize(
    ("inputs", "own"),
    [([], []), ([None], []), (["public", None], []), (["secret"], ["public"]), ([], ["Public"])],
)
def test_what_is_not_known_is_refused_and_not_public(inputs, own):
    """Nothing at all, nothing declared beside an unknown, and a class that nobody knows."""
    with pytest.raises(InputError, match="not known") as refusal:
        inherited(iter(inputs), own)
    assert refusal.value.next_step


@pytest.mark.parametrize("holds", ORDER)
def test_a_zone_holds_its_class_and_all_less_strict_ones(holds):
    """The class that it names is still inside; the next one is refused by name."""
    zone, place = Zone(name="shop floor", holds=holds), ORDER.index(holds)
    for one in ORDER[: place + 1]:
        refuse(zone, one, "The adapter")
    for one in ORDER[place + 1 :]:
        with pytest.raises(InputError, match="shop floor") as refusal:
            refuse(zone, one, "The adapter")
        assert refusal.value.given == one and str(holds) in refusal.value.expected


@pytest.mark.parametrize("unknown", [None, "", "secret"])
def test_a_class_that_is_not_known_enters_no_zone(unknown):
    """Not even one that holds health data."""
    with pytest.raises(InputError, match="may not enter"):
        refuse(Zone(name="clinic", holds=DataClass.HEALTH), unknown, "The record")

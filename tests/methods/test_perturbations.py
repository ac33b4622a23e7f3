"""Operators change a text, always the same way for the same seed, and keep what they promise."""

from __future__ import annotations

import base64
import re

import pytest

from workbench.errors import InputError
from workbench.methods.evaluate.perturbations import REGISTERED, perturb
from workbench.policy.scenarios import OPERATORS

TEXTS = [
    "Somebody called me and I sent £450 to a new account yesterday, please help Anna",
    "lost my card",
    "Help",
    "ok",
    "¿Dónde está mi tarjeta?",
    "stop " * 800,
]
KEPT = {"injection", "role_play", "authority", "prefix_injection", "many_turns", "hypothetical",
        "contradiction"}  # fmt: skip


def test_every_operator_that_a_library_may_name_is_there():
    """And no other, which a library could not name."""
    assert set(REGISTERED) == set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_changes_every_text_and_always_alike(name):
    """Never the text itself; the same for the same key and seed, another for another."""
    for text in TEXTS:
        found = [perturb(name, text, key="S-1", seed=0) for _ in range(2)]
        assert found[0] == found[1] != text
    many = {
        perturb(name, TEXTS[0], key=f"S-{key}", seed=seed) for key in (1, 2, 3) for seed in range(9)
    }
    assert len(many) > 1 or name in {"missing_field", "contradiction"}  # of one amount, one way


@pytest.mark.parametrize("name", sorted(KEPT))
def test_what_is_put_around_a_text_leaves_it_whole(name):
    """An attack carries the very request; a contradiction comes behind it."""
    assert all(text in perturb(name, text, key="S-1", seed=0) for text in TEXTS)


@pytest.mark.parametrize("name", ["typos", "noise"])
def test_amounts_survive_slips_and_bad_recognition(name):
    """Another amount would be another case."""
    for seed in range(40):
        assert re.findall(r"£\d+", perturb(name, TEXTS[0], key="S-1", seed=seed)) == ["£450"]


def test_a_slip_is_small():
    """Words stay in their number, and most of them as they were."""
    for seed in range(40):
        before, after = TEXTS[0].split(), perturb("typos", TEXTS[0], key="S-1", seed=seed).split()
        assert len(before) == len(after)
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 1 + len(before) // 4


def test_a_cut_leaves_at_least_half():
    """And is a beginning of the text."""
    for seed in range(40):
        cut = perturb("truncation", TEXTS[0], key="S-1", seed=seed)
        assert TEXTS[0].startswith(cut) and len(cut) >= len(TEXTS[0]) // 2 - 1


def test_missing_fields_are_amounts_days_and_names():
    """Where a text has none, its longest word."""
    bare = perturb("missing_field", TEXTS[0], key="S-1", seed=0)
    assert not re.search(r"£|\d|yesterday|Anna", bare) and "account" in bare
    assert perturb("missing_field", "lost my card", key="S-1", seed=0) == "my card"


def test_an_encoded_text_can_be_decoded():
    """The request is still in it."""
    for seed in range(40):
        found = perturb("obfuscation", "lost my card", key="S-1", seed=seed)
        if "base64" in found:
            assert base64.b64decode(found.rpartition(" ")[2]) == b"lost my card"
            return
    pytest.fail("no text was encoded")


def test_a_text_that_can_t_be_changed_is_refused():
    """A variant that is the original would count a scenario twice; so is an unknown operator."""
    with pytest.raises(InputError, match="leaves the text as it is"):
        perturb("typos", "12345", key="S-1", seed=0)
    with pytest.raises(InputError, match="No such perturbation"):
        perturb("typo", "lost my card", key="S-1", seed=0)

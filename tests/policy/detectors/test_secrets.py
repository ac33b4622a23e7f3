"""Keys, tokens and passwords in running text; a placeholder and a question about one are none."""

from __future__ import annotations

import pytest

from workbench.policy.detectors import detect
from workbench.policy.detectors.secrets import SHAPES


def spans(text: str) -> list[str]:
    return [text[one.start : one.end] for one in detect(text, {"SECRET"})]


# Put together here so that no scanner of repositories takes this file for a leak.
KEYS = [
    "AKIA" + "IOSFODNN7EXAMPLE", "ghp_" + "a1B2c3D4" * 5, "hf_" + "a1B2c3D4" * 4,
    "sk-" + "proj-a1B2c3D4e5F6g7H8", "eyJ" + "hbGciOiJI.eyJ" + "zdWIiOiIx.SflKxwRJSMeKKF2QT4",
    "SG." + "a1B2c3D4e5F6g7H8i9J0kL." + "a1B2c3D4e5F6g7H8i9J0kLmN" + "opQ4r5S6t7U8v9W0xYz",
    "dapi" + "0a1b2c3d" * 4,
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "Bearer " + "a1B2c3D4e5F6g7H8i9",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_a_known_shape_is_found_whole(key):
    """A private key with its body, not its first line only."""
    assert spans(f"use {key} please") == [key]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("my password is Hunter2024, help", "Hunter2024"),
        ("Password: s3cr3t-pa55.", "s3cr3t-pa55"),
        ("mein Passwort lautet Sommer2024", "Sommer2024"),
        ("the api key is 9f86d081884c7d", "9f86d081884c7d"),
        ("contraseña: Verano2024", "Verano2024"),
    ],
)
def test_a_password_told_in_words_is_found_without_them(text, value):
    """What opens the door is the value."""
    assert spans(text) == [value]


@pytest.mark.parametrize(
    "text",
    [
        "I forgot my password: can you help me?", "reset the password please",
        "password = '********'",
        "api_key = '<your key>'", "pad_token = '<|endoftext|>'", "the secret is patience",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)  # fmt: skip
def test_words_about_a_secret_are_none(text):
    """A question, a placeholder, a digest, a model's vocabulary."""
    assert spans(text) == []


def test_every_shape_that_stops_a_run_is_a_secret_here_too():
    """One table for both: what may not enter a notebook may not hide in a column."""
    assert "AWS access key" in SHAPES and spans("AKIA" + "IOSFODNN7EXAMPLE")
    assert spans('db_password = "correct-horse"') and spans("postgres://app:s3cr3t@db.x.org/y")

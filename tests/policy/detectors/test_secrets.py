"""Keys, tokens and passwords in running text; a placeholder and a question about one are none."""

from __future__ import annotations

import time

import pytest

from workbench.policy.detectors import detect
from workbench.policy.detectors.secrets import SHAPES, find_secrets


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


TOLD = [
    ("my PIN is 4821", "4821"),
    ("pin: 4821", "4821"),
    ("PIN 4821 does not work", "4821"),
    ("the pin number, 4821, was refused", "4821"),
    ("I changed my PIN to 4821 yesterday", "4821"),
    ("My PIN was set to 482193.", "482193"),
    ("use the PIN (4821) please", "4821"),
    ("the PIN for my new card is 4821", "4821"),
    ("a pin of 4821", "4821"),
    ('PIN: "4821"', "4821"),
    ("my pin number is still 4821", "4821"),
    ("The CVV is 482", "482"),
    ("cvc 482", "482"),
    ("security code: 4821", "4821"),
    ("the three digits on the back are 482", "482"),
    ("the security code on my card is 482, exp soon", "482"),
    ("The one-time code was 482913", "482913"),
    ("OTP 482913", "482913"),
    ("your verification code is 482 913", "482 913"),
    ("the code you texted me is 482913", "482913"),
    ("I entered code 482913 twice", "482913"),
    ("the code 482913 is refused", "482913"),
    ("my activation code is X7K9Q2", "X7K9Q2"),
    ("login code: 4829", "4829"),
    ("authorisation code AB12-CD34", "AB12-CD34"),
    ("passcode is 48291", "48291"),
    ("the verification code I got today was 482913", "482913"),
    ("one-time passcode 482913", "482913"),
    ("one time password is 482913", "482913"),
    ("security code is 482913", "482913"),
    ("my memorable word is Bluebell", "Bluebell"),
    ("my memorable word is bluebell.", "bluebell"),
    ("memorable word: Bluebell", "Bluebell"),
    ("mother's maiden name is Cartwright", "Cartwright"),
    ("my mother’s maiden name was O'Brien, I said so", "O'Brien"),
    ("security answer: Rex", "Rex"),
    ("the answer to my security question is Rover", "Rover"),
    ("the memorable place is St Ives", "St Ives"),
    ("my password is sunshine", "sunshine"),
    ("my password was Sunshine and it fails", "Sunshine"),
    ("password should be Hunter2024", "Hunter2024"),
    ("the password (Hunter2024) fails", "Hunter2024"),
    ("the password (sunshine) fails", "sunshine"),
    ('password "correct horse" is refused', "correct horse"),
    ("my password 'sunshine'", "sunshine"),
    ("password: monkey", "monkey"),
    ("my online password is Wellington, thanks", "Wellington"),
    ("password is p@ss, ok?", "p@ss"),
    ('my password is "Tr0ub4dor&3"', "Tr0ub4dor&3"),
    ("my passphrase is violet otter garden seven", "violet otter garden seven"),
]

NOT_TOLD = [
    "I forgot my PIN",
    "my PIN is blocked",
    "PIN is blocked after 3 times",
    "the code did not arrive",
    "a 4 digit PIN",
    "enter your PIN",
    "enter your PIN 3 times",
    "error code 4021",
    "error code 402134",
    "the code of conduct",
    "promo code SAVE20",
    "the postcode is SW1A 1AA",
    "the postcode is 90210",
    "sort code 123456",
    "sort code is 123456",
    "my PIN was sent to 124 High Street",
    "Reset the password, it says success, then says password wrong",
    "the PIN arrived and the balance was 4821",
    "PIN did not come by 2021",
    "I tried the PIN 5 times",
    "my password is wrong",
    "my password is not working any more",
    "my password is working fine",
    "password: help please",
    "I forgot my password, please help",
    "Password Reset",
    "the password is missing",
    "the password was changed",
    "my password is the same as before",
    "MY PASSWORD IS EXPIRED",
    "what is my memorable word",
    "my memorable word is incorrect",
    "security answer rejected",
    "is my maiden name needed",
    "my maiden name is on the passport",
    "I changed my maiden name",
    "CVV is 3 digits",
    "where is the CVV",
    "the security code on the back is missing",
    "verification code never came",
    "OTP not received",
    "login code expired after 10 minutes",
    "the pin machine took £4821",
    "PIN 4821.50",
    "country code 0044",
    "the login code is 6 digits",
    "password (again)",
    "the one-time code is valid for 5 minutes",
    "my verification code is wrong",
    "the one-time password is useless",
    "my password is case sensitive",
    "I was asked for my mother's maiden name",
    "passphrase is too long",
    "what is a passphrase?",
    "reference 4821 is on the letter",
    "the PIN is for my card ending 4821",
    "my card ending 4821 needs a PIN",
    "how do I set the PIN",
    "your passcode is required",
]


@pytest.mark.parametrize(("text", "value"), TOLD)
def test_what_lets_somebody_sign_in_or_pay_is_found_when_it_is_told(text, value):
    """PINs, card codes, one-time codes, memorable words, passwords: the value and no more."""
    assert spans(text) == [value]


@pytest.mark.parametrize("text", NOT_TOLD)
def test_to_speak_of_a_code_is_not_to_tell_it(text):
    """A PIN that is blocked, other codes, amounts, counts, what is said of a password."""
    assert spans(text) == []


@pytest.mark.parametrize(
    "piece", ["pin is ", "password is aa bb ", "my PIN x x x ", "passphrase aa "]
)
def test_a_long_message_takes_time_in_proportion_to_its_length(piece):
    """No pattern is quadratic: eight times the text takes less than 24 times as long."""
    short, long = (min(_seconds((piece * n)[:n]) for _ in range(3)) for n in (20_000, 160_000))
    assert long < 24 * short


def _seconds(text: str) -> float:
    began = time.process_time()
    list(find_secrets(text))
    return time.process_time() - began

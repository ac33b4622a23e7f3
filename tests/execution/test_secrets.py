"""Secrets are found by shape and by name, words of the field are not, and values are not echoed."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench.execution.secrets import looks_secret, scan_notebook, scan_text, secret_name

# Put together here so that no scanner of repositories takes this file for a leak.
SECRETS = {
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "AWS access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "GitHub token": "ghp_" + "a1B2c3D4" * 5,
    "GitLab token": "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "Slack token": "xoxb-" + "1234567890-abcdef",
    "Slack webhook": "https://hooks.slack.com/services/" + "T00000000/B00000000/abcdefgh",
    "Hugging Face token": "hf_" + "a1B2c3D4" * 4,
    "Stripe key": "sk_live_" + "a1B2c3D4e5F6g7H8",
    "OpenAI or Anthropic key": "sk-" + "proj-a1B2c3D4e5F6g7H8",
    "Google API key": "AIza" + "a1B2c" * 7,
    "package registry token": "npm_" + "a1B2c3" * 6,
    "JSON web token": "eyJ" + "hbGciOiJI.eyJ" + "zdWIiOiIx.SflKxwRJSMeKKF2QT4",
    "URL with credentials": "postgres://app:" + "s3cr3t" + "@db.example.org/x",
    "value of db_password": "db_password = '" + "correct-horse" + "'",
    "value of token": '{"token": "' + "a1b2c3d4e5" + '"}',
    "value of api_key": "https://x.example/?api_key=" + "a1b2c3d4e5",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_of_a_known_shape_is_found_and_not_echoed(kind):
    """Each kind is found in running text, with its line, and its value is in no message."""
    (finding,) = scan_text(f"first line\nsecond {SECRETS[kind]} rest", "notes")
    assert (finding.kind, finding.where, finding.line) == (kind, "notes", 2)
    assert SECRETS[kind] not in str(finding) and "masked" in str(finding)


@pytest.mark.parametrize(
    "text",
    [
        "I forgot my password: can you help me?",
        "password: please send me a new one",
        "My card 4000 0000 0000 0000 was stolen",
        "tokenizer.pad_token = tokenizer.eos_token",
        'pad_token = "<|endoftext|>"',
        "token = next(tokens)",
        'password = os.environ["DB_PASSWORD"]',
        "password = '********'",
        "api_key = '<your key>'",
        "token=${HF_TOKEN}",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        "task-oriented-dialogue-with-several-intents",
        "max_new_tokens=32 token_type_ids=0",
    ],
)
def test_what_only_sounds_like_a_secret_is_left_alone(text):
    """A customer's words, a placeholder and the field's vocabulary are no leaks."""
    assert scan_text(text) == []


@pytest.mark.parametrize(
    "name",
    ["password", "db_password", "hf_token", "token", "apiKey", "OPENAI_API_KEY", "client_secret",
     "privateKey", "aws_secret_access_key", "pwd", "credentials"],
)  # fmt: skip
def test_a_name_that_promises_a_secret_may_carry_no_text(name):
    """Not even an empty one: the notebook must not ask."""
    assert secret_name(name)
    assert looks_secret(name, "") and looks_secret(name, ["x"])


@pytest.mark.parametrize(
    "name",
    ["pad_token", "eos_token", "max_new_tokens", "tokens", "tokenizer", "label_key", "monkey",
     "key", "passes", "author", "secretary"],
)  # fmt: skip
def test_words_of_the_field_are_no_secrets(name):
    """Models have tokens, tables have keys."""
    assert looks_secret(name, "<pad>") is None


def test_a_number_under_a_secret_name_is_no_secret():
    """`token: int = 512` is a length."""
    assert looks_secret("token", 512) is None


def test_a_notebook_is_searched_in_sources_outputs_and_metadata():
    """A secret hides in a printed dictionary or a widget's state as well as in a cell."""
    secret = SECRETS["GitHub token"]
    output = new_output("display_data", data={"application/json": {"deep": [{"x": secret}]}})
    nb = new_notebook(
        cells=[
            new_markdown_cell(f"see {secret}"),
            new_code_cell("x = 1", outputs=[output], metadata={"note": secret}),
        ],
        metadata={"widgets": {"state": secret}},
    )
    assert {finding.where for finding in scan_notebook(nb)} == {
        "notebook metadata", "cell 0", "metadata of cell 1", "output of cell 1",
    }  # fmt: skip


def test_a_secret_parameter_in_the_metadata_is_found_by_its_name():
    """Papermill writes parameters there as plain values."""
    nb = new_notebook(metadata={"papermill": {"parameters": {"db_password": "correct-horse"}}})
    assert [finding.kind for finding in scan_notebook(nb)] == ["value of db_password"]


def test_images_are_not_searched():
    """Base64 of a picture can look like anything."""
    output = new_output("display_data", data={"image/png": SECRETS["AWS access key"]})
    assert scan_notebook(new_notebook(cells=[new_code_cell("", outputs=[output])])) == []

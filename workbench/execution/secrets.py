"""Find secrets before they reach a parameter, a notebook or a record; never echo one.

A finding names the kind, the place and the length of what was found. The value itself is in no
message, because messages end up in terminals, ledgers and CI logs.

Two rules:

- A *name* that promises a secret (`password`, `hf_token`, `apiKey`) may not carry text at all.
  The words of the field that only sound like it (`pad_token`, `max_new_tokens`) may.
- A *value* of a well-known shape (a private key, a vendor's token, a JWT, a URL with credentials,
  `password=...`) is refused wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SHAPES: dict[str, re.Pattern[str]] = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,})"),
    "GitLab token": re.compile(r"\bglpat-[\w-]{20,}"),
    "Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "Slack webhook": re.compile(r"https://hooks\.slack\.com/services/[\w/]{20,}"),
    "Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "Stripe key": re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    "OpenAI or Anthropic key": re.compile(r"\bsk-(?=[\w-]*\d)[\w-]{20,}"),
    "Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "package registry token": re.compile(r"\b(?:pypi-AgE[\w-]{20,}|npm_[A-Za-z0-9]{36})"),
    "JSON web token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    "URL with credentials": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"<>]+:[^\s/@'\"<>]{3,}@"),
}

# `name = "value"`, `"name": "value"`, or name=value without quotes when it has letters and digits.
ASSIGNED = re.compile(
    r"""(?<![\w.])(?P<name>[A-Za-z_]\w*)["']?\s*(?:
        [=:]\s*(?P<quote>["'])(?P<quoted>[^"'\s]{6,})(?P=quote)
        |=(?P<bare>(?=[^\s&]*\d)(?=[^\s&]*[A-Za-z])[\w!$%^*+?@~/-]{6,})
    )""",
    re.VERBOSE,
)
PLACEHOLDER = re.compile(
    r"^(?:[*•x.]+|<.*>|\$\{?\w+\}?|\{.*\}|%\w+%|(?:your|example|change)[\w-]*)$", re.I
)

SECRET_WORDS = {"password", "passwd", "passphrase", "pwd", "secret", "secrets", "credential",
                "credentials", "token", "apikey", "bearer"}  # fmt: skip
SECRET_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("signing", "key"),
                ("encryption", "key"), ("ssh", "key"), ("account", "key")}  # fmt: skip
# Words before `token` that make it a model's vocabulary entry and no credential.
VOCABULARY = {"pad", "eos", "bos", "unk", "mask", "sep", "cls", "stop", "end", "start", "image",
              "special", "first", "last", "next", "new", "per", "label", "prompt"}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One secret found: what it looks like and where, never the value."""

    kind: str
    where: str
    line: int
    length: int

    def __str__(self) -> str:
        return f"{self.kind} in {self.where}, line {self.line} ({self.length} characters, masked)"


def secret_name(name: str) -> bool:
    """Whether a name promises a secret: `hf_token` does, `pad_token` and `token_limit` do not."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    words = [word.lower() for word in words]
    if not words:
        return False
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "token" and before in VOCABULARY:
        return False
    return words[-1] in SECRET_WORDS or (before, words[-1]) in SECRET_PAIRS


def looks_secret(name: str, value: object) -> str | None:
    """Why a parameter looks like a secret, or None. The reason never holds the value.

    A secret-looking name is refused with any text, empty text too: a notebook that asks for a
    password is wrong before somebody types one.
    """
    texts = list(_texts(value))
    if texts and secret_name(name):
        return "its name promises a secret"
    findings = [finding for text in texts for finding in scan_text(text)]
    return f"its value looks like a secret ({findings[0].kind})" if findings else None


def scan_text(text: str, where: str = "text") -> list[Finding]:
    """Every secret in a text, in order of place."""
    found = [
        (match.start(), kind, len(match.group()))
        for kind, shape in SHAPES.items()
        for match in shape.finditer(text)
    ]
    found += [(at, f"value of {name}", length) for at, name, length in _assigned(text)]
    return [
        Finding(kind, where, text.count("\n", 0, at) + 1, length)
        for at, kind, length in sorted(found)
    ]


def scan_notebook(nb: Mapping[str, Any]) -> list[Finding]:
    """Every secret in a notebook: sources, outputs of any depth, metadata. Images are not read."""
    findings = scan_text("\n".join(_texts(nb["metadata"])), "notebook metadata")
    for index, cell in enumerate(nb["cells"]):
        findings += scan_text(_joined(cell["source"]), f"cell {index}")
        findings += scan_text("\n".join(_texts(cell["metadata"])), f"metadata of cell {index}")
        for output in cell.get("outputs", []):
            findings += scan_text("\n".join(_texts(output)), f"output of cell {index}")
    return findings


def _assigned(text: str) -> Iterator[tuple[int, str, int]]:
    for match in ASSIGNED.finditer(text):
        value = match["quoted"] or match["bare"]
        if secret_name(match["name"]) and not PLACEHOLDER.match(value):
            yield match.start(), match["name"], len(value)


def _texts(value: object, key: str = "") -> Iterator[str]:
    """Every text inside nested values; a key that names its text keeps them together."""
    if isinstance(value, str):
        yield f'{key}="{value}"' if secret_name(key) else value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if not str(name).startswith("image/"):
                yield from _texts(inner, str(name))
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        for inner in value:
            yield from _texts(inner, key)


def _joined(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)

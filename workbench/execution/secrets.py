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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..policy.detectors.secrets import SHAPES, assignments, secret_name


@dataclass(frozen=True)
class Finding:
    """One secret found: what it looks like and where, never the value."""

    kind: str
    where: str
    line: int
    length: int

    def __str__(self) -> str:
        return f"{self.kind} in {self.where}, line {self.line} ({self.length} characters, masked)"


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
    found += [
        (match.start(), f"value of {match['name']}", len(match["quoted"] or match["bare"]))
        for match in assignments(text)
    ]
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

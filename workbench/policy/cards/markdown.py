"""Markdown in which a declared text is neither markup nor the end of its cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_MARKUP = re.compile(r"([\\`\[\]|])")


def visible(text: object) -> str:
    """On one line, without what draws nothing or turns around what stands beside it."""
    return "".join(char for char in " ".join(str(text).split()) if char.isprintable())


def plain(value: object) -> str:
    """On one line, without HTML, links, code or the end of a cell; `not stated` where empty."""
    text = "not stated" if value in (None, "") else escape(str(value), quote=False)
    return visible(_MARKUP.sub(r"\\\1", text))


def table(names: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """These fields of each row; `None.` where there is no row."""
    heads = names.split()
    lines = [[plain(row.get(name)) for name in heads] for row in rows]
    lines = [[name.replace("_", " ") for name in heads], ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if len(lines) > 2 else "None."


def bullets(lines: Iterable[str]) -> str:
    """One line each, already plain; `None.` where there is none."""
    return "\n".join(f"- {line}" for line in lines) or "None."


def sections(front: str, parts: Mapping[str, str]) -> str:
    """Front matter and a part a heading."""
    return f"---\n{front}---\n" + "".join(f"\n{head}\n\n{text}\n" for head, text in parts.items())

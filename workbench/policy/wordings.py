"""Word lists and patterns that stand as data beside the code that reads them.

They are part of the package as its modules are: imported with them, and under the same digest.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from typing import Any

import yaml


def wordings(package: str, name: str) -> dict[str, Any]:
    """The YAML of that name in a package."""
    return yaml.load(pkgutil.get_data(package, name) or b"", yaml.CSafeLoader)


def patterns(
    written: Mapping[str, str], parts: Mapping[str, str] | None = None
) -> dict[str, re.Pattern[str]]:
    """Each text as a pattern: an alternative a line, `<name>` for the part of that name."""

    def joined(text: str) -> str:
        return re.sub(r"<(\w+)>", part, "|".join(text.splitlines()))

    def part(match: re.Match[str]) -> str:
        known = (parts or {}).get(match[1])
        return match[0] if known is None else f"(?:{joined(known)})"

    return {name: re.compile(joined(text)) for name, text in written.items()}

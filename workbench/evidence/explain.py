"""`why A B`: what differs between two records of a stage, and which figures moved with it."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..record.store import Record
from .tables import figures_of


def why(a: Record, b: Record) -> dict[str, Any]:
    """Causes (inputs, parameters, libraries, code) and effects (figures) that differ.

    Each as name -> [in a, in b]. InputError when the records are of different stages.
    """
    if a.stage != b.stage:
        raise InputError(
            "Records of different stages can't be compared.", expected=a.stage, given=b.stage
        )
    return {
        "causes": _causes(_parts(a), _parts(b)),
        "effects": _effects(figures_of(a), figures_of(b)),
    }


def _parts(record: Record) -> dict[str, Any]:
    """The parts of the key by which the engine decides about reuse."""
    internal = record.statement.predicate.buildDefinition.internalParameters
    return internal.get("key", {}).get("parts", {})


def _causes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    causes: dict[str, list[Any]] = {}
    for part in sorted(before.keys() | after.keys()):
        was, now = before.get(part), after.get(part)
        if isinstance(was, dict) and isinstance(now, dict):
            for name in sorted(was.keys() | now.keys()):
                if was.get(name) != now.get(name):
                    causes[f"{part}: {name}"] = [was.get(name), now.get(name)]
        elif was != now:
            causes[part] = [was, now]
    return causes


def _effects(was: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    return {
        name: [_value(was.get(name)), _value(now.get(name))]
        for name in sorted(was.keys() | now.keys())
        if _value(was.get(name)) != _value(now.get(name))
    }


def _value(figure: Any) -> Any:
    return figure.get("value") if isinstance(figure, dict) else figure

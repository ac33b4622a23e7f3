"""The parameters of a stage, read from its notebook, and the refusal of anything else.

The cell tagged `parameters` is the schema. It is parsed, never executed, one literal a line:

    learning_rate: float = 2e-4     # step size of AdamW [1e-6..1e-2]
    pooling: str = "mean"           # how token vectors become one {mean, first}
    seeds: list[int] = [1, 2, 3]    # one run per seed [0..]
    revision: str = ...             # required: the commit of the base model

`[low..high]` is inclusive, either end may be open; `{a, b}` lists the choices; both hold for each
element of a list. `...` as the value makes a parameter required.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from .secrets import looks_secret

SCALARS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
TYPES = (*SCALARS, "list[str]", "list[int]", "list[float]")
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
BOUNDS = re.compile(r"\[\s*(?P<low>[^\s\]]*?)\s*\.\.\s*(?P<high>[^\s\]]*)\s*\]\s*$")
CHOICES = re.compile(r"\{(?P<items>[^{}]+)\}\s*$")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a stage."""

    name: str
    type: str
    default: Any
    """Ellipsis when the parameter is required."""
    help: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] | None = None

    @property
    def required(self) -> bool:
        return self.default is ...

    @property
    def expected(self) -> str:
        """What a value has to be, in words: `float in [1e-06..0.01]`."""
        if self.choices:
            return f"{self.type}, one of {', '.join(map(str, self.choices))}"
        if self.low is None and self.high is None:
            return self.type
        low, high = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
        return f"{self.type} in [{low}..{high}]"

    def accept(self, value: Any) -> Any:
        """The value as the notebook will see it: an int given for a float becomes one.

        Raises ValueError with what is wrong; `Schema.check` gathers these for the reader.
        """
        if not self.type.startswith("list["):
            return self._accept_one(value, self.type)
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected {self.expected}, given {_shown(value)}")
        return [self._accept_one(item, self.type[5:-1]) for item in value]

    def _accept_one(self, value: Any, kind: str) -> Any:
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not SCALARS[kind] or (kind == "float" and not math.isfinite(value)):
            raise ValueError(f"expected {self.expected}, given {_shown(value)}")
        below = self.low is not None and value < self.low
        above = self.high is not None and value > self.high
        if below or above or (self.choices and value not in self.choices):
            raise ValueError(f"expected {self.expected}, given {_shown(value)}")
        return value

    def coerce(self, text: str) -> Any:
        """A value from the command line's text. ValueError says what was expected."""
        if not self.type.startswith("list["):
            return self.accept(_scalar(text, self.type))
        if text.lstrip().startswith("["):
            try:
                return self.accept(json.loads(text))
            except json.JSONDecodeError:
                raise ValueError(f"expected {self.expected}, given {_shown(text)}") from None
        items = [item.strip() for item in text.split(",") if item.strip()]
        return self.accept([_scalar(item, self.type[5:-1]) for item in items])


@dataclass(frozen=True)
class Schema:
    """The parameters of one notebook, in the order of its cell."""

    parameters: tuple[Parameter, ...]
    where: str = "parameters"

    @classmethod
    def from_notebook(cls, notebook: Path | str | Mapping[str, Any]) -> Schema:
        """Read the schema of a notebook file or node; no `parameters` cell means no parameters.

        Raises InputError for two such cells, or for one that holds more than literals.
        """
        where, nb = "the notebook", notebook
        if not isinstance(notebook, Mapping):
            import nbformat

            where, nb = str(notebook), nbformat.read(notebook, as_version=4)
        cells = [c for c in nb["cells"] if "parameters" in c["metadata"].get("tags", [])]
        if len(cells) > 1:
            raise InputError(
                "The notebook has more than one cell tagged `parameters`.",
                where=where,
                expected="one",
                given=len(cells),
            )
        return cls.parse(cells[0]["source"], where) if cells else cls((), where)

    @classmethod
    def parse(cls, source: str, where: str = "parameters") -> Schema:
        """The schema that a cell's source declares. InputError names the line at fault."""
        try:
            statements, comments = ast.parse(source).body, _comments(source)
        except (SyntaxError, tokenize.TokenError) as error:
            raise _bad_line(where, getattr(error, "lineno", 0) or 0, str(error)) from None
        parameters: dict[str, Parameter] = {}
        for statement in statements:
            try:
                parameter = _parameter(statement, comments.get(statement.end_lineno or 0, ""))
                if parameter.name in parameters:
                    raise ValueError(f"{parameter.name} is declared twice")
            except ValueError as error:
                raise _bad_line(where, statement.lineno, str(error)) from None
            parameters[parameter.name] = parameter
        return cls(tuple(parameters.values()), where)

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters of a run, defaults filled in, in the schema's order.

        Raises one InputError that lists everything wrong: unknown names (with the nearest known
        one), missing values, wrong types, values out of range, and what looks like a secret.
        """
        problems = [self._unknown(name) for name in given if name not in self._names]
        full: dict[str, Any] = {}
        for parameter in self.parameters:
            try:
                full[parameter.name] = _checked(parameter, given)
            except ValueError as error:
                problems.append(f"{parameter.name}: {error}")
        for name, value in given.items():
            reason = looks_secret(name, value)
            if reason:
                problems.append(f"{name}: {reason} (masked)")
        if problems:
            raise self._refused(problems)
        return full

    def coerce(self, assignments: Iterable[str]) -> dict[str, Any]:
        """Typed values from `name=value` texts of the command line; InputError lists all faults."""
        values: dict[str, Any] = {}
        problems = []
        known = {parameter.name: parameter for parameter in self.parameters}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                problems.append(f"{name}: expected name=value")
            elif name not in known:
                problems.append(self._unknown(name))
            elif reason := looks_secret(name, text):
                problems.append(f"{name}: {reason} (masked)")
            else:
                try:
                    values[name] = known[name].coerce(text)
                except ValueError as error:
                    problems.append(f"{name}: {error}")
        if problems:
            raise self._refused(problems)
        return values

    @property
    def _names(self) -> list[str]:
        return [parameter.name for parameter in self.parameters]

    def _unknown(self, name: str) -> str:
        nearest = difflib.get_close_matches(name, self._names, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        return f"{name}: unknown parameter{hint}"

    def _refused(self, problems: list[str]) -> InputError:
        expected = ", ".join(f"{p.name}: {p.type}" for p in self.parameters)
        return InputError(
            "The parameters do not fit the notebook; nothing ran.",
            where=self.where,
            expected=expected or "no parameters",
            given="; ".join(problems),
            next_step="Correct the parameters that are named.",
        )


def _checked(parameter: Parameter, given: Mapping[str, Any]) -> Any:
    if parameter.name in given:
        value = given[parameter.name]
        if looks_secret(parameter.name, value):
            return None  # named once, as a secret, without its value
        return parameter.accept(value)
    if parameter.required:
        raise ValueError(f"missing; expected {parameter.expected}")
    return parameter.default


def _parameter(statement: ast.stmt, comment: str) -> Parameter:
    if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
        raise ValueError("expected only lines of the form `name: type = literal  # meaning`")
    name, kind = statement.target.id, ast.unparse(statement.annotation)
    if kind not in TYPES:
        raise ValueError(f"{name}: expected a type out of {', '.join(TYPES)}, given {kind}")
    if statement.value is None:
        raise ValueError(f"{name}: expected a value, or `...` when it is required")
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        raise ValueError(f"{name}: expected a literal") from None
    meaning, limits = _limits(comment, kind)
    parameter = Parameter(name, kind, default, meaning, **limits)
    if parameter.required:
        return parameter
    if reason := looks_secret(name, default):
        raise ValueError(f"{name}: {reason} (masked)")
    try:
        return Parameter(name, kind, parameter.accept(default), meaning, **limits)
    except ValueError as error:
        raise ValueError(f"{name}: the default does not fit: {error}") from None


def _limits(comment: str, kind: str) -> tuple[str, dict[str, Any]]:
    """Split `meaning [lo..hi]` or `meaning {a, b}` into the meaning and the limits."""
    element = kind.removeprefix("list[").removesuffix("]")
    if match := BOUNDS.search(comment):
        if element not in ("int", "float"):
            raise ValueError(f"a range needs a number, not {kind}")
        ends = {end: float(text) for end, text in match.groupdict().items() if text}
        return comment[: match.start()].strip(), ends
    if match := CHOICES.search(comment):
        items = [item.strip().strip("\"'") for item in match["items"].split(",")]
        return comment[: match.start()].strip(), {
            "choices": tuple(_scalar(item, element) for item in items)
        }
    return comment.strip(), {}


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def _scalar(text: str, kind: str) -> Any:
    try:
        if kind == "bool":
            return BOOLEANS[text.strip().lower()]
        return text if kind == "str" else SCALARS[kind](text)
    except (KeyError, ValueError):
        raise ValueError(f"expected {kind}, given {_shown(text)}") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"


def _bad_line(where: str, line: int, what: str) -> InputError:
    return InputError(
        "The `parameters` cell is not a schema.",
        where=f"{where}, parameters cell, line {line}",
        expected="name: type = literal  # meaning [low..high] or {a, b}",
        given=what,
        next_step="Keep one literal a line; put code into another cell.",
    )

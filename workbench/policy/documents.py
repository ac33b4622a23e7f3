"""A configuration document: every field known and described, or the field at fault is named."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError

SHOWN = 80  # characters of a wrong value that an error repeats


class Document(BaseModel):
    """Base of everything read from YAML: unknown fields are errors, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )

    @classmethod
    def parse(cls, data: Mapping[str, Any], where: object = None) -> Self:
        """The document in `data`. InputError names the field, what was expected and given."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _refusal(cls, error, where) from None


def _refusal(model: type[Document], error: ValidationError, where: object) -> InputError:
    faults = error.errors(include_url=False)
    first, paths = faults[0], [".".join(map(str, fault["loc"])) or "(whole)" for fault in faults]
    what = f"The {model.__name__} document has fields that do not fit: {', '.join(paths)}."
    return InputError(
        what,
        where=f"{where}: {paths[0]}" if where else paths[0],
        expected=_expected(model, first),
        given="nothing" if first["type"] == "missing" else repr(first["input"])[:SHOWN],
        next_step="Correct the field." if len(faults) == 1 else "Correct each of these fields.",
    )


def _expected(model: type[Document], fault: Any) -> str:
    """What would have fitted; for an unknown field the nearest known one."""
    if fault["type"] != "extra_forbidden":
        return fault["msg"].removeprefix("Value error, ")
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = get_close_matches(str(fault["loc"][-1]), known, n=1)
    return f"a known field; did you mean `{near[0]}`?" if near else "no such field"

"""The reply is in the language of the message, or in one of those that the desk speaks."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InputError
from ..reading import LANGUAGES, language
from .interface import Row, Verdict, register, unheard


@register("language")
def spoken(row: Row, *, allowed: Sequence[str] = ()) -> Verdict:
    """Pass when the reply's language is `allowed`, or without such a list, the message's.

    Codes as ISO 639-1; unscored where too little tells the language. InputError names a code that
    can't be told.
    """
    unknown = set(allowed) - set(LANGUAGES)
    if unknown:
        raise InputError(
            "That language can't be told.", expected=", ".join(LANGUAGES), given=sorted(unknown)
        )
    missing = unheard(row, "reply", *([] if allowed else ["text"]))
    if missing:
        return missing
    reply, message = language(row["reply"]), None if allowed else language(row["text"])
    if reply is None or (not allowed and message in (None, "other")):
        return Verdict("unscored", "too little to tell the language")
    wanted = tuple(allowed) or (message,)
    return Verdict("pass" if reply in wanted else "fail", f"{reply}, where {wanted} is spoken")

"""The answer has the form that the desk's software and the customer can take."""

from __future__ import annotations

from collections.abc import Sequence

from .interface import Row, Verdict, register, said

ENDS = (".", "!", "?", "…")
CLOSING = "\"'\N{RIGHT SINGLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK})"


@register("format")
def format(
    row: Row,
    *,
    queues: Sequence[str],
    reasons: Sequence[str],
    persons: Sequence[str] = ("yes", "no"),
    max_words: int = 20,
) -> Verdict:
    """Queue, person and reason out of the allowed values; a whole reply of at most `max_words`.

    A reply that breaks off (no closing mark) fails. Nothing here is unscored: an empty answer
    is a wrong form, which can be judged.
    """
    for name, allowed in (("queue", queues), ("person", persons), ("reason", reasons)):
        if said(row, name) not in allowed:
            return Verdict("fail", f"{name} is not an allowed value")
    reply = (said(row, "reply") or "").strip()
    words = len(reply.split())
    if not 1 <= words <= max_words:
        return Verdict("fail", f"the reply has {words} words, allowed are 1 to {max_words}")
    if not reply.rstrip(CLOSING).endswith(ENDS):
        return Verdict("fail", "the reply breaks off")
    return Verdict("pass", f"allowed values, {words} words")

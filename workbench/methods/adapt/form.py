"""The form that a generative model fills in: a prompt from a message, a completion from a row.

Training and evaluation build their text here and nowhere else, so that what is scored is what
was trained. The system prompt is explicit: the packaged chat template would inject its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workbench.errors import InputError

CARD_SUPPORT = {
    "queue": ["card", "payment", "fraud", "access", "fees", "complaint", "care", "decline"],
    "person": ["yes", "no"],
    "rule": [f"R{number}" for number in range(1, 11)],
}

RENAMED = {"rule": "reason"}
"""In per-case tables `rule` is the policy rule under test; what the model cites is its reason."""


@dataclass(frozen=True)
class Form:
    """Closed fields in the order in which they are decided, then one free field."""

    fields: Mapping[str, list[str]] = field(default_factory=lambda: CARD_SUPPORT)
    """field name -> allowed values; each is chosen by label likelihood."""
    free: str = "reply"
    """The field that is written freely, last."""
    system: str = "Route the bank customer's message."
    """The explicit system prompt."""

    @classmethod
    def of(cls, facts: Mapping) -> Form:
        """The form that a use case declares, from the intake's `data.json`."""
        form = facts["form"]
        fields = {field["name"]: field["values"] for field in form["fields"]}
        return cls(fields, form["free"], form["system"])

    def prompt(self, tokenizer, text: str) -> str:
        """The chat up to where the model answers; markers inside `text` become plain text."""
        turns = [
            {"role": "system", "content": self.system},
            {"role": "user", "content": plain(text, tokenizer.get_added_vocab())},
        ]
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def completion(self, row: Mapping[str, str]) -> str:
        """``queue: card`` … one line a field, the free field last, no end marker.

        Raises InputError for a value that the form does not allow.
        """
        for name, allowed in self.fields.items():
            if row[name] not in allowed:
                raise InputError(
                    "a label that is not in the schema",
                    where=name,
                    expected=", ".join(allowed),
                    given=row[name],
                )
        lines = [f"{name}: {row[name]}" for name in self.fields]
        return "\n".join([*lines, f"{self.free}: {one_line(row[self.free])}"])

    def steps(self) -> list[tuple[str, str, list[str]]]:
        """(field, text before its value, options with their leading space) in order."""
        return [
            (name, f"{name}:" if number == 0 else f"\n{name}:", [f" {value}" for value in allowed])
            for number, (name, allowed) in enumerate(self.fields.items())
        ]


def one_line(text: object) -> str:
    """`text` with every run of white space as one space: a line break would end the field."""
    return " ".join(str(text).split())


def plain(text: str, markers: Iterable[str]) -> str:
    """`text` with every special token broken by a space.

    A message that contains ``<|im_end|>`` must not end its own turn: that would let a customer
    write in the system's or the assistant's name.
    """
    for marker in markers:
        text = text.replace(str(marker), f"{str(marker)[0]} {str(marker)[1:]}")
    return text


def rows_to_learn(tokenizer, rows, form: Form):
    """(prompt, completion, free) frame of rows with ``text`` and the fields of the form."""
    import pandas as pd

    records = rows.to_dict("records")
    return pd.DataFrame(
        {
            "prompt": [form.prompt(tokenizer, row["text"]) for row in records],
            "completion": [form.completion(row) for row in records],
            "free": [f" {one_line(row[form.free])}" for row in records],
        }
    )

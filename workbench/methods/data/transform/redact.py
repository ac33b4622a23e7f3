"""Redact: what detectors find in texts is masked, replaced by a stable surrogate, or made coarse.

A surrogate is HMAC-SHA256 of the entity and the normalised value under the snapshot's key: the same
value has the same one throughout the snapshot, another in any other, and none can be computed back
or guessed without the key (ENISA 2019, Pseudonymisation techniques and best practices, 5.1.4).

Acceptance is measured here and judged elsewhere (`policy.acceptance`): recall and precision on
texts that people labelled, and what the task loses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pandas as pd
from pydantic import Field, field_validator

from ....errors import InputError
from ....policy import detectors
from ....policy.detectors import Finding
from ....policy.documents import Document
from ....policy.texts import lower
from ..lineage import changes
from ..read import read_rows
from .interface import Context, Result, Transformation

How = Literal["mask", "pseudonymise", "generalise"]
AT_ONCE = 2_000  # texts between two signs of progress
UTILITY_ROWS = 20_000  # a larger table is judged by so many of its rows
FEWEST = 50  # rows below which nothing can be said of the task
SURROGATE = 8  # hexadecimal digits: among 10,000 values, two meet with 1 % probability

# What stays of a value: the groups of the first pattern that fits, joined. A date keeps its month
# only as year-month, since 03/04/2021 is read in two ways; six digits of a card name its issuer.
_YEAR = r"(?<!\d)((?:19|20)\d\d)(?!\d)"
COARSE: dict[str, tuple[str, ...]] = {
    "DATE": (r"(?<!\d)((?:19|20)\d\d-(?:0[1-9]|1[0-2]))(?!\d)", _YEAR),
    "DATE_OF_BIRTH": (_YEAR,),
    "AGE": (r"(?<!\d)(\d{0,2})\d(?!\d)",),
    "IP_ADDRESS": (r"^(\d+\.\d+)\.\d+\.\d+$", r"^([0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}):"),
    "POSTCODE": (r"^(\w+)[ -]\w+$", r"^(\w{2})"),
    "PHONE_NUMBER": (r"(\d)\D*" * 3,),
    "CREDIT_CARD": (r"(\d)\D*" * 6,),
}
ENDS = {"AGE": "0s", "IP_ADDRESS": "…", "PHONE_NUMBER": "…", "CREDIT_CARD": "…"}


class Arguments(Document):
    """What is looked for, where, and what becomes of it."""

    entities: dict[str, How] = Field(min_length=1)
    """Entity -> mask, pseudonymise or generalise."""
    columns: list[str] = []
    """The columns that are searched; the message alone when empty."""
    whole: dict[str, Literal["mask", "pseudonymise"]] = {}
    """Columns whose every value is replaced, such as a customer's number."""
    sample: str | None = None
    """Labelled sample, a JSON-lines file of the use case: text, and spans as [start, end, entity]."""

    @field_validator("entities")
    @classmethod
    def _possible(cls, entities: dict[str, How]) -> dict[str, How]:
        for name, how in entities.items():
            if name not in detectors.ENTITIES or how == "generalise" and name not in COARSE:
                raise ValueError(f"entities that are detected and can be so changed, not {name}")
        return entities


def replacement(entity: str, value: str, how: How, context: Context) -> str:
    """`[EMAIL_ADDRESS]`, `[EMAIL_ADDRESS_1f0a93c4]` or `[DATE 2021-05]`.

    A value that has no coarser form that is beyond doubt is masked.
    """
    if how == "pseudonymise":
        surrogate = context.digest("pseudonym", f"{entity}\0{_normalised(value)}")
        return f"[{entity}_{surrogate[:SURROGATE]}]"
    if how == "generalise":
        for pattern in COARSE[entity]:
            if fits := re.search(pattern, value):
                return f"[{entity} {''.join(fits.groups())}{ENDS.get(entity, '')}]"
    return f"[{entity}]"


def _normalised(value: str) -> str:
    """Numbers are the same however they are grouped; words but for case and spaces."""
    folded = lower(value)
    number = "@" not in folded and any(sign.isdigit() for sign in folded)
    return "".join(filter(str.isalnum, folded)) if number else folded


def redacted(text: str, found: list[Finding], how: Mapping[str, How], context: Context) -> str:
    """The text with every finding replaced; findings are in order and don't overlap."""
    for one in reversed(found):
        new = replacement(one.entity, text[one.start : one.end], how[one.entity], context)
        text = text[: one.start] + new + text[one.end :]
    return text


def apply(table: pd.DataFrame, arguments: Arguments, context: Context) -> Result:
    """The rows with what was found replaced; detail names entities and counts, never values."""
    columns = arguments.columns or [context.text]
    wrong = [n for n in [*columns, *arguments.whole] if n not in table or n == context.label]
    if wrong or set(columns) & arguments.whole.keys():
        expected = "columns of the rows, each searched or replaced whole, and not the label"
        raise InputError("A step can't redact so.", expected=expected, given=", ".join(wrong))
    made, total = table.copy(), Counter()
    details = pd.Series("", index=table.index)
    for name in columns:
        made[name] = made[name].astype(object)
        for index, found in _search(table[name], arguments, context):
            text = str(table.at[index, name])
            made.at[index, name] = redacted(text, found, arguments.entities, context)
            counted = Counter(one.entity for one in found)
            total += counted
            words = ", ".join(f"{n} {entity}" for entity, n in sorted(counted.items()))
            details[index] += f"; {name}: {words}"
    for name, how in arguments.whole.items():
        new = [replacement(name.upper(), str(value), how, context) for value in table[name]]
        made[name] = pd.Series(new, table.index).where(table[name].notna(), None)
        differs = table[name].notna() & (made[name] != table[name])
        details = details.mask(differs, details + f"; {name}: {how} whole")
    changed = details != ""
    said = changes(table.loc[changed, "row_id"], "changed", details[changed].str[2:])
    tables = {"redaction.parquet": spans(arguments, context)} if arguments.sample else {}
    tables["utility.parquet"] = utility(table, made, context)
    return Result(made, said, tables, {"entities": dict(sorted(total.items()))})


def _search(
    column: pd.Series, arguments: Arguments, context: Context
) -> Iterator[tuple[Any, list[Finding]]]:
    """(index, findings) of every value in which something was found."""
    texts = column[column.notna()].astype(str)
    for start in range(0, len(texts), AT_ONCE):
        block = texts.iloc[start : start + AT_ONCE]
        found = detectors.detect_all(block, arguments.entities)
        yield from ((i, some) for i, some in zip(block.index, found, strict=True) if some)
        context.on_progress(f"redact {column.name}", start + len(block), len(texts))


def spans(arguments: Arguments, context: Context) -> pd.DataFrame:
    """case_id, entity, expected, found: a row for each labelled span, and each found beside them.

    A labelled span counts as found when no letter or digit of it is left to read, under whatever
    name it was found. An entity without a labelled span has one row that says nothing: unmeasured.
    InputError names a case that is none.
    """
    rows, sample = [], read_rows(context.read(arguments.sample), "jsonl")
    cases = sample.reindex(columns=["row_id", "text", "spans"]).to_numpy().tolist()
    if wrong := [case for case, text, labelled in cases if not _fits(text, labelled)]:
        expected = '{"text": "…", "spans": [[start, end, "ENTITY"], …]}, spans within the text'
        raise InputError("The sample has cases that do not fit.", where=wrong[0], expected=expected)
    found_in = detectors.detect_all([text for _, text, _ in cases], arguments.entities)
    for (case, text, labelled), found in zip(cases, found_in, strict=True):
        hidden = {place for one in found for place in range(one.start, one.end)}
        for start, end, entity in labelled:
            left = any(text[i].isalnum() and i not in hidden for i in range(start, end))
            rows += [(case, entity, True, not left)] if entity in arguments.entities else []
        beside = [f for f in found if not any(s < f.end and f.start < e for s, e, _ in labelled)]
        rows += [(case, one.entity, False, True) for one in beside]
    measured = {entity for _, entity, expected, _ in rows if expected}
    rows += [("", entity, None, None) for entity in sorted(arguments.entities.keys() - measured)]
    names = ["case_id", "entity", "expected", "found"]
    return pd.DataFrame(rows, columns=names, dtype=object)


def _fits(text: Any, spans: Any) -> bool:
    try:
        inside = [0 <= start < end <= len(text) and isinstance(e, str) for start, end, e in spans]
        return isinstance(text, str) and all(inside)
    except (TypeError, ValueError):
        return False


def utility(before: pd.DataFrame, after: pd.DataFrame, context: Context) -> pd.DataFrame:
    """row_id, before, after: is a simple model right on a row that it did not learn from?

    TF-IDF and logistic regression, learned on four fifths and asked on the fifth that chance
    chose; once with the rows as they were, once as they are. Rows of one group stand on one side.
    Empty where there are too few rows or classes to say.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import GroupShuffleSplit
    from sklearn.pipeline import make_pipeline

    rows = before.sample(min(len(before), UTILITY_ROWS), random_state=context.seed)
    owners, labels = rows[context.group or "row_id"].astype(str), rows[context.label].astype(str)
    if len(rows) < FEWEST or owners.nunique() < 5 or labels.nunique() < 2:
        return pd.DataFrame({"row_id": [], "before": [], "after": []}).astype({"row_id": str})
    halves = GroupShuffleSplit(1, test_size=0.2, random_state=context.seed)
    learn, ask = next(halves.split(rows, groups=owners))
    right = {}
    for name, table in {"before": before, "after": after}.items():
        texts = table.loc[rows.index, context.text].fillna("").astype(str)
        logistic = SGDClassifier(loss="log_loss", alpha=1e-5, random_state=context.seed)
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), logistic)
        model.fit(texts.iloc[learn], labels.iloc[learn])
        right[name] = model.predict(texts.iloc[ask]) == labels.iloc[ask].to_numpy()
    return pd.DataFrame({"row_id": rows["row_id"].to_numpy()[ask], **right})


TRANSFORMATION = Transformation("redact", "1.0.0", Arguments, apply)

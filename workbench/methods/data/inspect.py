"""Inspect a data file before anything is classified: every row, and no value of it shown."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from ...policy import proposals
from ...policy.detectors import ENTITIES, detect_all
from ...policy.proposals import ColumnProfile, Kind, Proposal
from ..stage import Stage
from .read import read_chunks

EXACT = 131_072  # distinct values that are counted exactly; beyond, estimated to about 0.3 %
EXAMPLES = 3
KNOWN = 20_000  # values of a column whose findings are remembered from chunk to chunk
_MONTH = r"(?:\d{1,2}|[^\W\d]{3,9}\.?)"
_TIME = r"(?:[T ]\d{1,2}:\d\d.*)?"
_FORMS: dict[Kind, str] = {
    "boolean": r"true|false|yes|no|y|n|t|f|0|1",
    "integer": r"[-+]?\d+",
    "number": r"(?=\D*\d)[-+]?(?:\d+|\d{1,3}(?:[,' ]\d{3})+)?[.,]?\d*(?:e[-+]?\d+)?\s?[%€$£]?",
    "date": rf"(?:\d{{4}}([-/.]){_MONTH}\1\d\d?|\d\d?([-/. ]){_MONTH}\2\d{{2,4}}){_TIME}",
    "code": r"(?=\S*\d)\S+",
    "text": r"(?s:.*)",
}
FORMS = {kind: re.compile(form, re.IGNORECASE) for kind, form in _FORMS.items()}
"""From the narrowest to the widest."""

Progress = Callable[[float, int], None]
"""Called with the share of the file that was read, and the rows so far."""


def printed(share: float, rows: int) -> None:
    """A plain line, which a notebook keeps without noise."""
    print(f"{share:4.0%} read, {rows:,} rows", flush=True)


def profile(
    path: Path, format: str = "auto", on_progress: Progress = printed
) -> list[ColumnProfile]:
    """What each column holds, from every row of the file; memory does not grow with the file.

    InputError as `read.read_rows`: a row that can't be read is named, none is skipped. Progress is
    reported at every tenth of the file.
    """
    tallies: dict[str, Tally] = {}
    rows = tenths = 0
    for share, table in read_chunks(path, format):
        for name in table:
            tallies.setdefault(str(name), Tally(str(name))).add(table[name])
        rows += len(table)
        if int(share * 10) > tenths:
            tenths = int(share * 10)
            on_progress(share, rows)
    return [tally.profile() for tally in tallies.values()]


class Tally:
    """Running counts of one column; kept are `EXACT` hashes and the first `KNOWN` values."""

    def __init__(self, column: str) -> None:
        self.column = column
        self.rows = self.filled = self.words = self.longest = 0
        self.shortest: int | None = None
        self.kinds = list(FORMS)
        self.hashes = np.empty(0, dtype=np.uint64)
        self.findings: Counter[str] = Counter()
        self.examples: dict[int, str] = {}
        self.known: dict[str, list[str]] = {}

    def add(self, values: Iterable[object]) -> None:
        """Count the next rows; equal values among them are looked at once."""
        texts = list(map(_text, values))
        counted = Counter(text for text in texts if text)
        self.rows += len(texts)
        if not counted:
            return
        distinct, times = list(counted), np.fromiter(counted.values(), dtype=np.int64)
        lengths = list(map(len, distinct))
        self.filled += int(times.sum())
        self.words += int(times @ [len(text.split()) for text in distinct])
        self.shortest = min(lengths if self.shortest is None else [self.shortest, *lengths])
        self.longest = max(self.longest, *lengths)
        self.kinds = [k for k in self.kinds if all(map(FORMS[k].fullmatch, distinct))]
        found = self._entities(distinct)
        for entities, n in zip(found, times.tolist(), strict=True):
            self.findings.update(dict.fromkeys(entities, n))
        self._draw(distinct, found)

    def _entities(self, distinct: Sequence[str]) -> list[list[str]]:
        """Names of what is found in each; codes and dates come again in every chunk."""
        new = [text for text in distinct if text not in self.known]
        found = (sorted({one.entity for one in each}) for each in detect_all(new))
        now = self.known | dict(zip(new, found, strict=True))
        self.known = dict(islice(now.items(), KNOWN))
        return [now[text] for text in distinct]

    def _draw(self, distinct: Sequence[str], found: Sequence[Sequence[str]]) -> None:
        """Keep the smallest hashes: a sample of the distinct values, whatever their order."""
        hashes = pd.util.hash_array(np.array(distinct, dtype=object), categorize=False)
        for place in np.argsort(hashes, kind="stable")[:EXAMPLES]:
            self.examples[int(hashes[place])] = shape(distinct[place], found[place])
        self.examples = dict(sorted(self.examples.items())[:EXAMPLES])
        self.hashes = np.unique(np.concatenate([self.hashes, hashes]))[:EXACT]

    def distinct(self) -> int:
        """Exact below `EXACT`; beyond, from the k-th smallest hash (Bar-Yossef et al. 2002)."""
        if len(self.hashes) < EXACT:
            return len(self.hashes)
        return min(self.filled, round((EXACT - 1) * 2.0**64 / float(self.hashes[-1])))

    def profile(self) -> ColumnProfile:
        return ColumnProfile(
            column=self.column,
            kind=self.kinds[0] if self.filled else "empty",
            rows=self.rows,
            missing=self.rows - self.filled,
            distinct=self.distinct(),
            distinct_exact=len(self.hashes) < EXACT,
            shortest=self.shortest or 0,
            longest=self.longest,
            words=round(self.words / self.filled, 2) if self.filled else 0.0,
            findings=dict(sorted(self.findings.items())),
            examples=list(self.examples.values()),
        )


def _text(value: object) -> str:
    """As text; empty where nothing stands there."""
    if not isinstance(value, str):
        value = "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value)
    return value if value.strip() else ""


def shape(text: str, entities: Iterable[str]) -> str:
    """What a value is and how long, and nothing of it: `EMAIL_ADDRESS (14)`, `text (102)`."""
    return f"{'+'.join(entities) or 'text'} ({len(text)})"


# -- what the notebook says, in its order ---------------------------------------------------------


def columns(profiles: Sequence[ColumnProfile]) -> pd.DataFrame:
    """One row a column: its form, how much is missing, how much differs, and how long it is."""
    shown = (
        "kind free_text identifier_like constant missing distinct distinct_exact shortest longest"
    )
    return _table(profiles, [*shown.split(), "examples"])


def _table(items: Sequence[ColumnProfile | Proposal], shown: Sequence[str]) -> pd.DataFrame:
    rows = [one.model_dump(mode="json") for one in items]
    return pd.DataFrame(rows).set_index("column")[list(shown)]


def found(profiles: Sequence[ColumnProfile]) -> pd.DataFrame:
    """Rows with one finding at least, by column and kind; a column without any is left out."""
    rows = {
        one.column: {ENTITIES[e].title: n for e, n in one.findings.items()}
        for one in profiles
        if one.findings
    }
    return pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)


def proposed(made: Sequence[Proposal]) -> pd.DataFrame:
    """One row a column: the class proposed, how sure, and why."""
    return _table(made, ["data_class", "confidence", "why"])


def planted(seed: int, rows: int = 500) -> Proposal:
    """What is proposed for a column `note` of e-mail addresses and IBANs, drawn by `seed`."""
    from stdnum import iban

    chance, tally = random.Random(seed), Tally("note")
    numbers = [f"{chance.randrange(10**18):018d}" for _ in range(rows)]
    banks = [f"DE{iban.calc_check_digits(f'DE00{number}')}{number}" for number in numbers]
    mails = [f"k{number}@example.com" for number in numbers]
    tally.add(map(chance.choice, zip(banks, mails, strict=True)))
    return proposals.propose(tally.profile())


def write(stage: Stage, profiles: Sequence[ColumnProfile], made: Sequence[Proposal]) -> None:
    """Leave the counts and the proposals; nothing of a row goes with them."""
    stage.write_json("columns.json", [one.model_dump(mode="json") for one in profiles])
    stage.write_json(proposals.FILE, [one.model_dump(mode="json") for one in made])

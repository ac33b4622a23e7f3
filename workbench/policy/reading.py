"""How a reply is read before anything is judged of it: clean signs, sentences, the language.

Pure and linear in the length of the text, whatever the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from .wordings import patterns, wordings

# Signs that nobody sees: soft hyphens, zero-width spaces and joiners, marks of direction, controls.
_UNSEEN = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c"
    "\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
# Letters of other scripts that look like Latin ones, replaced only beside a Latin letter.
_ALIKE = str.maketrans("аеорсухіјѕһԁνοαАЕОРСТХВНКМ", "aeopcyxijshdvoaAEOPCTXBHKM")
_MIXED = re.compile(r"(?<![A-Za-z])(?=[^\W\d_]{0,40}[A-Za-z])[^\W\d_]*[Ͱ-ӿԀ-ԯ][^\W\d_]*")
_QUOTES = str.maketrans("‘’‛“”„«»`´", "'''\"\"\"\"\"''")  # noqa: RUF001
_SENTENCE = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|\n+|;\s+")


def clean(text: str) -> str:
    """Compatibility forms folded, unseen signs removed, look-alike letters in Latin words Latin."""
    text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
    return text if text.isascii() else _MIXED.sub(lambda word: word[0].translate(_ALIKE), text)


def plain(text: str) -> str:
    """As `clean`, in lower case with straight quotes, so that patterns need one spelling."""
    return clean(text).translate(_QUOTES).casefold()


def sentences(text: str) -> list[str]:
    """Sentences and lines without the white space around them; no empty ones."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


_WRITTEN = wordings(__package__, "languages.yaml")
_WORDS = {code: frozenset(words.split()) for code, words in _WRITTEN["words"].items()}
LANGUAGES = tuple(_WORDS)
"""ISO 639-1 codes of the languages that `language` tells apart."""
_SPEAKS = {
    word: tuple(code for code, words in _WORDS.items() if word in words)
    for words in _WORDS.values()
    for word in words
}
_CUE = patterns(_WRITTEN["cues"])
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
READ = 4000


def language(text: str) -> str | None:
    """The code of the language; "other" for one not known here, None where too little tells.

    By frequent function words (Grefenstette 1995) and endings in the first 4,000 signs; a word
    weighs the less, the more of the languages have it.
    """
    words = _WORD.findall(plain(text[:READ]))
    score: Counter[str] = Counter()
    for word in words:
        for code in _SPEAKS.get(word, ()):
            score[code] += 1 / len(_SPEAKS[word])  # type: ignore[assignment]
        for code in (code for code, cue in _CUE.items() if cue.fullmatch(word)):
            score[code] += 0.7  # type: ignore[assignment]
    if score and sum(score.values()) >= len(words) / 12:
        (first, most), (_, next_most) = (score.most_common(2) + [("", 0)])[:2]
        return first if most >= 1 and most >= 1.2 * next_most else None
    foreign = sum(not word.isascii() and "LATIN" not in unicodedata.name(word[0], "")
                  for word in words)  # fmt: skip
    few = len(words) >= 25 and sum(score.values()) < len(words) / 25
    return "other" if foreign > len(words) / 2 or few else None

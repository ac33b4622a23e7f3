"""What happens to a text on its way: slips, cuts, bad recognition, what people leave out or mix."""

from __future__ import annotations

import random
import re

from .interface import PHRASES, operator

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEAR = {
    key: row[max(0, n - 1) : n] + row[n + 1 : n + 2] for row in ROWS for n, key in enumerate(row)
}
MISREAD = re.compile("rn|cl|[mloe]")
OCR = {"rn": "m", "cl": "d", "m": "rn", "l": "1", "o": "0", "e": "c"}
DETAIL = re.compile(
    r"[£$€]?\d[\d.,:/%-]*\w*|(?<=[a-z,] )[A-Z][a-z]+"
    r"|\b(?:yesterday|today|tonight|tomorrow|(?:this|last) (?:morning|night|week|month))\b"
)
AMOUNT = re.compile(r"[£$€]?\d[\d,]*(?:\.\d+)?")


@operator
def typos(text: str, draws: random.Random) -> str:
    """A slip in one word of four: a near key, a letter doubled, dropped or swapped.

    Never in a word with a digit, so that amounts stay.
    """
    words = re.split(r"(\s+)", text)
    fit = [n for n, word in enumerate(words) if re.fullmatch(r"\D*[a-zA-Z]{2}\D*", word)]
    for n in draws.sample(fit, min(len(fit), 1 + len(fit) // 4)):
        at = draws.choice([m.start() for m in re.finditer(r"(?=[a-zA-Z]{2})", words[n])])
        a, b = words[n][at : at + 2]
        slip = draws.choice((draws.choice(NEAR[a.lower()]) + b, a + a + b, b, b + a))
        words[n] = words[n][:at] + slip + words[n][at + 2 :]
    return "".join(words)


@operator
def truncation(text: str, draws: random.Random) -> str:
    """Breaks off, often inside a word; at least half of the text stays."""
    return text[: draws.randint((len(text) + 1) // 2, max(1, len(text) * 4 // 5))].rstrip()


@operator
def noise(text: str, draws: random.Random) -> str:
    """As recognised from a picture (words with a digit apart), as dictated, with emoji, or signed."""
    words = [word if re.search(r"\d", word) else _misread(word, draws) for word in text.split(" ")]
    spoken = re.sub(r"[^\w\s£$€%.]|(?<!\d)\.|\.(?!\d)", "", text).lower()
    signed = "\n\n--\nSent from my phone\n[image: logo.png] [attachment: scan0007.pdf]"
    return draws.choice((" ".join(words), f"um {spoken}", f"😡😡 {text} 🙏💳❗", text + signed))


def _misread(word: str, draws: random.Random) -> str:
    return MISREAD.sub(lambda found: OCR[found[0]] if draws.random() < 0.2 else found[0], word)


@operator
def missing_field(text: str, draws: random.Random) -> str:
    """Without amounts, numbers, days and names; where there are none, without its longest word."""
    bare = DETAIL.sub("", text)
    if bare == text:
        longest = max(re.findall(r"\w+", text), key=len)
        bare = text.replace(longest, "", 1)
    return re.sub(r"[ \t]+", " ", bare).strip()


@operator
def contradiction(text: str, draws: random.Random) -> str:
    """Takes back an amount that it names, or else when it was and who."""
    amounts = AMOUNT.findall(text)
    if not amounts:
        return f"{text} No wait, somebody else did this, not me, and last year. Or me, just now?"
    amount = draws.choice(amounts)
    return f"{text} Sorry, it was not {amount} but {amount}0. No, {amount} is right, I think."


@operator
def language_mix(text: str, draws: random.Random) -> str:
    """In part German, Spanish or Polish: an apology, and the small words that are known."""
    (_, *known), *others = PHRASES["languages"].values()
    sorry, *words = draws.choice(others)
    said = dict(zip(known, words, strict=True))
    mixed = re.sub(r"[a-zA-Z]+", lambda found: said.get(found[0].lower(), found[0]), text)
    return f"{sorry}. {mixed}"

"""Secrets: keys, tokens and passwords, by their shape or by what is assigned to a telling name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..classes import DataClass
from .interface import Entity, Finding, detector

SHAPES: dict[str, re.Pattern[str]] = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,})"),
    "GitLab token": re.compile(r"\bglpat-[\w-]{20,}"),
    "Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "Slack webhook": re.compile(r"https://hooks\.slack\.com/services/[\w/]{20,}"),
    "Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "Stripe key": re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    "OpenAI or Anthropic key": re.compile(r"\bsk-(?=[\w-]{0,300}\d)[\w-]{20,}"),
    "Google API key": re.compile(r"\bAIza[\w-]{35}"),
    "package registry token": re.compile(r"\b(?:pypi-AgE[\w-]{20,}|npm_[A-Za-z0-9]{36})"),
    "JSON web token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    "URL with credentials": re.compile(
        r"\b[a-z][a-z0-9+.-]{0,40}://[^\s/:@'\"<>]{1,300}:[^\s/@'\"<>]{3,300}@"
    ),
}

# `name = "value"`, `"name": "value"`, or name=value without quotes when it has letters and digits.
ASSIGNED = re.compile(
    r"""(?<![\w.])(?P<name>[A-Za-z_]\w*)["']?[^\S\x1e]*(?:
        [=:][^\S\x1e]*(?P<quote>["'])(?P<quoted>[^"'\s]{6,})(?P=quote)
        |=(?P<bare>(?=[^\s&]{0,300}\d)(?=[^\s&]{0,300}[A-Za-z])[\w!$%^*+?@~/-]{6,})
    )""",
    re.VERBOSE,
)
PLACEHOLDER = re.compile(
    r"^(?:[*•x.]+|<.*>|\$\{?\w+\}?|\{.*\}|%\w+%|(?:your|example|change)[\w-]*)$", re.I
)

SECRET_WORDS = {"password", "passwd", "passphrase", "pwd", "secret", "secrets", "credential",
                "credentials", "token", "apikey", "bearer"}  # fmt: skip
SECRET_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("signing", "key"),
                ("encryption", "key"), ("ssh", "key"), ("account", "key")}  # fmt: skip
# Words before `token` that make it a model's vocabulary entry and no credential.
VOCABULARY = {"pad", "eos", "bos", "unk", "mask", "sep", "cls", "stop", "end", "start", "image",
              "special", "first", "last", "next", "new", "per", "label", "prompt"}  # fmt: skip

# Beyond what refuses a run: whole private keys, more vendors, and what a person tells in words.
_TOLD = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,20}PRIVATE KEY(?: BLOCK)?-----[^\x1e-]{1,9000}"
    r"(?:-----END [A-Z0-9 ]{3,40}-----)?|\b(?:AC|SK|key-|dapi|shp(?:at|ca|pa|ss)_)[0-9a-f]{32}\b|"
    r"\bSG\.[\w-]{22}\.[\w-]{43}|\b\d{8,10}:AA[\w-]{33}\b|\bdo[por]_v1_[0-9a-f]{64}\b|"
    r"\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{28}|\b(?:hvs\.|glsa_|sq0[a-z]{3}-)[\w-]{22,}|"
    r"\bAccountKey=[\w+/]{80,}=*|\bsecret_[A-Za-z0-9]{40,}|\bBearer [\w.~+/-]{16,}=*|"
    r"\bBasic [A-Za-z0-9+/]{16,}=*(?!\w)|\bssh-(?:rsa|ed25519) [\w+/]{20,}|"
    r"\b(?i:pass(?:word|wort|phrase|code)|passwd|pwd?|kennwort|mot de passe|contraseña|clave|senha|"
    r"wachtwoord|lösenord|secret|token|credentials?|(?:api|access|secret|private|auth|license|"
    r"account|encryption|signing|client)[ _-]?(?:key|token|secret|id))\b"
    r"(?i:[ \t]{1,3}(?:\w{1,12} ){0,3}(?:is|was|to|ist|lautet|est|es|é|è)\b)?[ \t]{0,3}[:=]?"
    r"[ \t]{0,3}[\"'`“]?(?P<value>(?:(?<==)|(?=\S{0,40}(?:\d|[!$%#@^*](?=\w)))(?=\S{0,40}[^\W\d_]))"
    r"[^\s\"'`”,;<>()]{6,200})(?!\()"
)

# What a customer tells: words that name it, a link within one clause, then the value.
_CODE = (
    r"(?:(?<![-\w])pins?(?: (?:number|code))?|cv[vc]2?|cv2|digits on the back|otp|pass ?codes?|"
    r"(?:one[ -]?time|verif\w{1,9}|auth\w{0,11}|activation|log[ -]?[io]n|sign[ -]?in|access|security|"
    r"confirmation|sms|2fa|banking|card|dynamic)[ -](?:pass)?(?:code|word)s?)(?: (?:on|from|for) my (?:\w+ )?card)?"
)
_PHRASE = r"(?:(?:pass|memorable |secret )phrase)"
_MEMORY = (
    r"(?:memorable|security|secret|safe) ?(?:word|name|place|answer|question)|maiden name|"
    r"first (?:pet|school|car|teacher|job)|favou?rite \w{3,10}"
)
_WORD = rf"(?:{_PHRASE}|pass ?word|passwd|pwd|{_MEMORY})"
_LINK = (
    r"(?:(?:,?[ \t](?!(?:and|but|or|so|if|when)\b)[\w'’]{1,12}){0,5}?,?[ \t](?:is|was|are|be|reads?|"
    r"(?:chang|set|reset)\w{0,4} (?:it )?(?:to|as)|(?:i|you|we|they) "
    r"(?:got|gave|said|typed|put|entered|used|sent|read out)(?: (?:him|her|them|you|me))?)"
    r"(?: (?:still|now))?(?!\w)|"
    r"[\"'”’)]?[ \t]?[:=]| [–-] | (?:of|to|as)(?!\w)|(?=[ \t]?[\"'“‘(]))"
)
_OPEN = r"[ \t:,=\"'“‘(–-]{1,4}"
_END = r"(?![\w£$€%]|[.,/:-]\d|-\w| ?(?:%|(?:digit|time|day|hour|minute)s?\b))"
_CLOSE = r"(?=[ \t]*(?:[.,;!?)\n\x1e]|$| (?:and|but|if|so|please)\b))"
# Not a value but what is said of one: wrong, expired.
_SAID = (
    r"(?i:not?|now|wrong|right|in|(?:in)?correct|lost|the|an?|at|what|that|which|it|this|being|been|"
    r"too|very|so|fine|ok|new|reset|again|please|help|something|on|out|my|your|to|for|\w+less|link)"
)
_TOKEN = (
    rf"(?:(?<=[\"'“‘])(?![*•<{{$])[^\"'”’\n\x1e]{{3,60}}(?=[\"'”’])|"
    rf"(?!(?:{_SAID}|[a-z]{{3,}}(?:ed|ing)|[A-Z]{{3,}}(?:ED|ING))(?![\w@]))(?:"
    r"[A-Z][\w’'-]{1,30}(?: [A-Z][\w’'-]{1,30}){0,3}(?![^\W_])|"
    rf"[^\W\d_][\w'’!@#$%^&*-]{{2,40}}{_CLOSE}))"
)
# The value first, or some words between it and what names it.
_NEAR_CODE = re.compile(
    rf"(?i:\b(?P<first>\d{{3,8}})(?:,? (?:(?:is|was|as) )?(?:the |my |your )(?:\w+ ){{0,2}}?(?:pin|cv[vc]2?|"
    rf"(?:pass)?code|number (?:from|in) (?:your|the|my) (?:text|sms|app|e-?mail))\b| on the back\b)|"
    rf"\b{_CODE}\b(?:(?!\b(?:in|since|until|after|before|by|to|sent|ending|balance|order|case|ref\w*|error)\b)[^\d.!?;\n\x1e£$€#]){{1,32}}"
    rf"(?<![\w.-])(?P<later>\d{{3,8}}))(?![\w£$€%]|[.,/:-]\d| ?(?:digit|time|day|hour|minute)s?\b)"
)
_SPOKEN = re.compile(
    rf"\b(?:(?i:{_CODE}{_LINK}?){_OPEN}(?P<code>(?:\d{{3}}[ -]\d{{3}}|\d{{3,8}}|(?=[A-Z-]{{0,9}}\d)"
    rf"(?=[\d-]{{0,9}}[A-Z])[A-Z\d]{{1,9}}(?:-?[A-Z\d]{{2,6}}){{1,3}}){_END})|"
    rf"(?i:(?:the|this|my|entered|got) code{_LINK}?){_OPEN}(?P<bare>\d{{5,8}}{_END})|"
    rf"(?i:{_WORD}{_LINK}){_OPEN}(?P<word>{_TOKEN})|(?i:{_MEMORY}) (?P<name>[A-Z][a-z]{{2,20}}){_CLOSE}|(?i:{_PHRASE}{_LINK}){_OPEN}"
    rf"(?!{_SAID}\b)(?P<phrase>[a-z]{{2,15}}(?: [a-z]{{2,15}}){{2,6}}{_CLOSE}))"
)


@detector(Entity("SECRET", "password, key or token (opens doors)", DataClass.PERSONAL, True))
def find_secrets(text: str) -> Iterator[Finding]:
    """Known shapes, values assigned to names that promise a secret, passwords told in words."""
    for match in _ANY_SHAPE.finditer(text):
        yield Finding("SECRET", match.start(), match.end(), 0.98)
    for match in assignments(text):
        yield Finding("SECRET", match.start(), match.end(), 0.95)
    for match in _TOLD.finditer(text):
        value = match["value"]
        if value is None:
            yield Finding("SECRET", match.start(), match.end(), 0.98)
        elif not PLACEHOLDER.match(value):
            end = match.end() - (value[-1] in ".!?")
            yield Finding("SECRET", match.start("value"), end, 0.93)
    for match in (*_SPOKEN.finditer(text), *_NEAR_CODE.finditer(text)):
        yield Finding("SECRET", *match.span(str(match.lastgroup)), 0.94)


def assignments(text: str) -> Iterator[re.Match[str]]:
    """Matches of ASSIGNED whose name promises a secret and whose value is no placeholder."""
    for match in ASSIGNED.finditer(text):
        if secret_name(match["name"]) and not PLACEHOLDER.match(match["quoted"] or match["bare"]):
            yield match


def secret_name(name: str) -> bool:
    """Whether a name promises a secret: `hf_token` does, `pad_token` and `token_limit` do not."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    words = [word.lower() for word in words]
    if not words:
        return False
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "token" and before in VOCABULARY:
        return False
    return words[-1] in SECRET_WORDS or (before, words[-1]) in SECRET_PAIRS


_ANY_SHAPE = re.compile("|".join(shape.pattern for shape in SHAPES.values()))

"""Ways to reach a person or a machine: e-mail, telephone, web and network addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address

from ..classes import DataClass
from .interface import Entity, Finding, detector, is_whole, said_after, said_before

_LOCAL = "".join(filter(str.isalnum, map(chr, range(0x24F)))) + "._%+-'!#$&*/=?^`{|}~"
_EMAIL = re.compile(
    r"@(?:(?:[^\W_][\w-]{0,62}\.)+[^\W\d_](?:[^\W_]|-(?=\w)){1,23}|\[?(?:\d{1,3}\.){3}\d{1,3}\]?)"
    r"|(?<![\w.+-])[\w.+-]{1,64}+ ?(?: at |[\[({<] ?at ?[\])}>]) ?"
    r"(?:[\w-]{1,63}+ ?(?: dot |[\[({<] ?dot ?[\])}>]) ?){1,4}[a-zA-Z]{2,12}\b"
)
# Domains at the top that stand for themselves in running text; those that are words, too, do not.
_TOP = frozenset(
    "com org net edu gov mil int info biz io ai co app dev xyz online site shop store tech "
    "cloud blog news travel jobs tv cc eu uk de fr es pt nl ch pl se dk fi ie ca au nz jp "
    "cn kr br mx ar cl ru ua cz sk hu ro bg gr hr lt lv ee tr il ae sa eg ng ke hk sg vn "
    "th lu cat asia gl bank example".split()
)
_WORDLIKE = frozenset(
    "it at be in is me us no to so my am as do by an id la li ma pe pk ph".split()
)
_REST = r"[^\s<>\"'`|\\^{}]"
_URL = re.compile(
    rf"(?<![\w@.-])(?:[a-z][a-z0-9+:]{{1,20}}://{_REST}+|www\d?\.{_REST}{{2,}}|"
    rf"(?P<host>(?:[^\W_][\w-]{{0,62}}\.)+(?P<top>[a-z]{{2,9}}))(?![\w@-]|\.\w)"
    rf"(?::\d{{2,5}})?(?P<path>[/?#]{_REST}*)?)", re.I,
)  # fmt: skip
_VISIT = re.compile(r"(?:visit|website|site|web|url|see|link|domain|host|http)\W{1,3}(?:at )?$")
_IP = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?(?![\w/-]|\.\d)|"
    r"(?<![\w:.])(?=[0-9a-fA-F]*:[0-9a-fA-F]*:)(?:[0-9a-fA-F]{0,4}:){2,7}"
    r"(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-fA-F]{1,4})?(?:%\w+)?(?:/\d{1,3})?(?![\w:])"
)
_NO_IP = re.compile(r"(?:\bv|version|release|build|firmware|update|section|clause|§)[ .:]*$")
_MAC = re.compile(
    r"(?<![\w:.-])(?:[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}|"
    r"[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4})(?![\w:-]|\.\w)", re.I,
)  # fmt: skip
_PHONE = re.compile(
    r"(?<![\w$€£¥#%])(?<!\d[.,:/+-])"
    r"(?P<number>(?:\+ ?|\((?=\+?[\d -]{1,7}\))\+?)?\d(?:[ .()/\u00a0\u2010-\u2013-]{0,3}\d)"
    r"{6,16}+)(?P<extension>,? ?"
    r"(?:[x#]|ext(?:ension)?\.?:?) ?\d{1,6})?(?!\w|[,.:]\d| ?[%€$£]|-\w)", re.I,
)  # fmt: skip
_CALLED = re.compile(
    r"phone|\btel\b|t[eé]l[eé]f|mobil|m[oó]vil|cell?(?:ular)?\b|\bfax|\bcall|\bdial|\br[ai]ng|"
    r"\btext|\bsms\b|whatsapp|signal\b|\breach|hot ?line|helpline|landline|switchboard|voicemail|"
    r"contact|\bhandy|rufnummer|rufen|\bruf\b|appele[rz]|joindre|portable|\bgsm\b|ll[aá]m[ae]|"
    r"celular|telem[oó]vel|ligue|ligar|chiama|cellulare|\bbel(?:len)?\b|mobiel|puhelin|telefon|"
    r"kom[oó]rk|(?:my|his|her|our|their|new) (?:\w+ )?number|\bnumber is|\bme (?:on|at)\b|"
    r"\bunter\b|office:|\bph\b|\bmob\b|home:|work:|direct|\b[mtp]:"
)
_CALLED_AFTER = re.compile(r"\W{0,2}\((?:m|h|w|mobile|cell|home|work|office|fax|tel)\b")
COUNTED = re.compile(
    r"\b(?:order|invoice|ref|reference|tracking|isbn|issn|sku|part|serial|ticket|case|transaction|"
    r"article|item|product|model|batch|lot|version|policy|claim|contract|booking|"
    r"pages?|pp|doi|imei|ean|"
    r"upc|rechnung\w*|bestell\w*|auftrag\w*|commande|facture|pedido|factura|ordine|fattura)"
    r"(?: ?(?:no|nr|num|number|code|id|nummer|n°|reference))?\.?\W{0,3}(?:is|was)? ?$"
)
"""Words before a number that make it a count of things."""
_NANP = re.compile(r"(?:\+?1[-. ]?)?(?:\(\d{3}\)[-. ]?|\d{3}[-. /])\d{3}[-. ]\d{4}|555-\d{4}")
_DECIMAL = re.compile(r"(?!\d{4}\.\d{4}$|0\d)\d+\.\d+|0?\d(?:\.\d{3})+")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:[ .\u00a0]\d{3})+")
_DATED = re.compile(
    r"(?:19|20)\d\d[-/. ](?:0?\d|1[0-2])[-/. ]\d\d?(?!\d)|[0-3]?\d([-/. ])[0-3]?\d\1(?:19|"
    r"20)\d\d(?!\d)|(?:(?:1[89]|20)\d\d[-/ \u2010-\u2013]{1,3}){1,2}(?:1[89]|20)\d\d$|"
    r"[0-3]?\d\.[0-5]\d ?[-\u2010-\u2013] ?[0-3]?\d\.[0-5]\d$"
)
# A decimal number; from 5000 to 6000; half a card.
_SPAN = re.compile(r"\d+\.\d+|\d+0\W{1,3}\d+0|4\d{3} \d{4}")
_COUNTING = re.compile(r"\b(?:is|was|of|to|than|about|over|nearly|total|sum|by|from|x|=|:) ?$")
_PLANS = (
    "GB DE FR ES IT NL BE PT AT CH PL SE NO DK FI IE AU NZ IN BR ZA CZ GR HU RO JP CN HK SG TR IL "
    "SK SI HR BG LT LV MX AR"
)


@detector(
    Entity("EMAIL_ADDRESS", "e-mail address", DataClass.PERSONAL, True), needs="@|[ (\\[{<]at"
)
def find_emails(text: str) -> Iterator[Finding]:
    """Addresses as RFC 5321 forms them without quotes, and `name [at] host [dot] org`."""
    for match in _EMAIL.finditer(text):
        at = match.start()
        if text[at] != "@":
            yield Finding("EMAIL_ADDRESS", at, match.end(), 0.8)
            continue
        window = text[max(0, at - 65) : at]
        local = window[len(window.rstrip(_LOCAL)) :].lstrip("'.`*/=|-")
        if 0 < len(local) <= 64 and not local.endswith("."):
            yield Finding("EMAIL_ADDRESS", at - len(local), match.end(), 0.97)


_WEB = Entity("URL", "web address", DataClass.INTERNAL_OPERATIONAL, structured=True)


@detector(_WEB, needs=r"\.[A-Za-z]|://")
def find_urls(text: str) -> Iterator[Finding]:
    """Addresses with a scheme, with `www.`, and bare domains under a well-known top."""
    for match in _URL.finditer(text):
        if match["host"] is None or _is_domain(text, match):
            end = match.start() + len(_trimmed(match[0]))
            yield Finding("URL", match.start(), end, 0.6 if match["host"] else 0.9)


def _trimmed(address: str) -> str:
    """Without the marks that end a sentence or close a bracket that opened before."""
    bare = address.rstrip(".,;:!?*_")
    while bare[-1:] in (")", "]") and bare.count(bare[-1]) > bare.count("(["[bare[-1] == "]"]):
        bare = bare[:-1].rstrip(".,;:!?*_")
    return bare


def _is_domain(text: str, match: re.Match[str]) -> bool:
    """Not `ASP.NET`, and not a full stop without the blank after it."""
    host, top = match["host"], match["top"]
    if not (top.islower() or host.isupper()) or host.lower() in ("asp.net", "vb.net", "ado.net"):
        return False
    if top.lower() not in _WORDLIKE:
        return top.lower() in _TOP
    more = bool(match["path"]) or host.count(".") > 1 or is_whole(text, *match.span())
    return more or bool(_VISIT.search(said_before(text, match.start(), 24)))


@detector(Entity("IP_ADDRESS", "IP address", DataClass.PERSONAL, True), needs=r"\d\.\d+\.|:\w*:")
def find_ips(text: str) -> Iterator[Finding]:
    """IPv4 with or without a prefix length, IPv6 in any form of RFC 4291; no version number."""
    for match in _IP.finditer(text):
        try:
            ip_address(match[0].split("/")[0].split("%")[0])
        except ValueError:
            continue
        if len(match[0]) > 2 and not _NO_IP.search(said_before(text, match.start(), 20)):
            yield Finding("IP_ADDRESS", match.start(), match.end(), 0.9)


@detector(
    Entity("MAC_ADDRESS", "hardware address", DataClass.PERSONAL, True), needs=r"\w\w[:.-]\w\w"
)
def find_macs(text: str) -> Iterator[Finding]:
    """EUI-48 with colons or hyphens, or in groups of four."""
    for match in _MAC.finditer(text):
        yield Finding("MAC_ADDRESS", match.start(), match.end(), 0.95)


@detector(
    Entity("PHONE_NUMBER", "telephone number", DataClass.PERSONAL, True), needs=r"\d[\d ().-]{4}"
)
def find_phones(text: str) -> Iterator[Finding]:
    """Numbers with a country's code, in a national form, or after a word that announces one.

    What is national comes from the metadata of libphonenumber.
    """
    for match in _PHONE.finditer(text):
        score = _phone(text, match)
        if score:
            yield Finding("PHONE_NUMBER", match.start(), match.end(), score)


def _phone(text: str, match: re.Match[str]) -> float:
    """How sure it is that this is a telephone number; 0 when it is none."""
    number = match["number"]
    digits = re.sub(r"\D", "", number)
    if len(digits) > 16 or _DATED.match(number) or _DECIMAL.fullmatch(number):
        return 0.0
    before = said_before(text, match.start())
    if "+" in number[:2] or (digits[:2] == "00" != digits[1:3] and len(digits) >= 11):
        return 0.85 if len(digits) >= 8 and _has_country(digits.lstrip("0")) else 0.0
    if COUNTED.search(before):
        return 0.0
    if _CALLED.search(before) or _CALLED_AFTER.match(said_after(text, match.end())):
        return 0.75
    if _NANP.fullmatch(number):
        return 0.7
    if _THOUSANDS.fullmatch(number) and not match["extension"]:
        if not is_whole(text, *match.span()) and not _stands_alone(text, match, before):
            return 0.0
    return _national(number, digits)


def _stands_alone(text: str, match: re.Match[str], before: str) -> bool:
    """Do three groups of three digits count nothing, neither by the word before nor after?"""
    after = said_after(text, match.end(), 1)
    triples = re.fullmatch(r"\d{3} \d{3} \d{3}", match["number"])
    return bool(triples) and after in ("", *".,;!?)\n") and not _COUNTING.search(before)


def _national(number: str, digits: str) -> float:
    """Without a word that announces it: by the groups, then by the countries' plans."""
    groups, bracketed = [len(group) for group in re.findall(r"\d+", number)], "(" in number
    if len(groups) == 1:
        fits = digits[0] == "0" != digits[1] and 10 <= len(digits) <= 11
    elif digits[0] == "0" or bracketed:
        # A trunk prefix or an area code in brackets, in groups as people speak them.
        fits = 8 <= len(digits) <= 12 and len(groups) < 6 and groups[-1] > 1
        fits = fits and (bracketed or digits[1] != "0")
        if fits and 2 <= groups[0] <= 5 and 9 - bracketed <= len(digits) <= 11:
            return 0.55
    else:
        shape = f"{digits}|{' '.join('0' * group for group in groups)}"
        spoken = (plan for plan, shapes in _plans() if shapes and shapes.fullmatch(shape))
        closed = len(digits) > 7 and not _SPAN.fullmatch(number)
        if closed and any(plan.fullmatch(digits) for plan in spoken):
            return 0.55
        fits = 9 <= len(digits) <= 11 and (2 < len(groups) < 5 or groups[0] == 5)
    return 0.55 if fits and any(plan.fullmatch(digits) for plan, _ in _plans()) else 0.0


@cache
def _plans() -> list[tuple[re.Pattern[str], re.Pattern[str] | None]]:
    """Of each region the numbers as dialled; and `digits|groups` where none has a prefix."""
    from phonenumbers import PhoneMetadata

    plans = []
    for region in _PLANS.split():
        plan = PhoneMetadata.metadata_for_region(region)
        number = f"{plan.national_prefix or ''}(?:{plan.general_desc.national_number_pattern})"
        shapes = "|".join(
            rf"(?:{''.join(one.leading_digits_pattern[-1:])})\d*\|"
            + one.pattern.replace(")(", ") (")
            for one in plan.number_format
        )
        closed = bool(shapes) and not plan.national_prefix
        plans.append((re.compile(number), re.compile(shapes) if closed else None))
    return plans


def _has_country(digits: str) -> bool:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE as CODES

    return any(int(digits[:n] or 0) in CODES for n in (1, 2, 3))

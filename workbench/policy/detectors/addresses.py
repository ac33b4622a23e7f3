"""Addresses: street and number in forms of many countries, boxes, postcodes with towns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..classes import DataClass
from .interface import Entity, Finding, detector
from .places import CAPITAL, UPPER, place_score

_CAP = CAPITAL.replace(r"(?<![^\W_])", "")  # a word that may follow anything
_OF = (
    r"(?:d'|l'|(?:de|del|della|dei|des|du|da|do|dos|das|di|la|le|al|les|los|las|el|van|den|der|y|e"
    r"|et) )"
)
_NAME = rf"{_OF}{{0,2}}{_CAP}(?:[ -]{_OF}{{0,2}}{_CAP}){{0,3}}"
_NUMBER = (
    r"\d{1,5}(?:[-/]\w{1,4}\b){0,2}(?: ?[A-Za-z]\b(?!\. \d)(?: \d{1,2}\b(?! ?\d))?)?"
    r"(?:\.(?=,| \d\d?/))?"
)
_UK = r"[A-PR-UWYZ][A-HK-Y]?\d[\dA-HJKPSTUW]? ?\d[ABD-HJLNP-UW-Z]{2}"
_LETTERED = (  # British, Canadian, Irish
    rf"(?:{_UK}|[ABCEGHJ-NPRSTVXY]\d[A-Z] ?\d[A-Z]\d|"
    r"[AC-FHKNPRTV-Y]\d[\dW] [\dAC-FHKNPRTV-Y]{4})\b"
)
_CODE = rf"(?:{_LETTERED}|[1-9]\d{{3}} ?(?!SA|SD|SS|AM|PM)[A-Z]{{2}}\b)"
_DIGITS = r"(?:[A-Z]{1,2}-)?(?:\d{3} \d\d|\d\d-\d{3}|\d{4}-\d{3}|\d{3,6})(?!\w|-\d)"
_US = r"[A-Z]{2},? \d{5}(?:-\d{4})?\b"
_TOWN = rf"(?!{_CODE})(?:'s-)?{_CAP}(?:[ -]{_OF}?(?!{_CODE}){_CAP}){{0,2}}"
_UNIT = (
    r"(?:(?i:apt|apartment|suite|ste|unit|flat|room|floor|level|building|bldg|b[âa]t|bte|bus|top|m)"
    r"\b\.? ?#?(?:\d\w{0,4}|[A-Z]\d{0,3})\b|#\d{1,5}\b|\d/\d\d?\b|(?i:s/n)\b|"
    r"\d{1,2}(?:\.[ºª]|[º°ª.])? ?"
    r"(?:[A-D]|Esq|Dto|Dta|izq|dcha|tv|th|mf)\b\.?)"
)
_STREET = re.compile(
    rf"(?<![\w.,/-])(?:{_UNIT},? )?(?:"
    # 4 Hillcrest, Oakham LE15 6QT; 31 Old Mill, Danbury CT 06810; 5/12 Banksia, Newtown NSW 2042
    rf"\d{{1,5}}[A-Za-z]?(?:[-/]\d+)?,? (?:(?:{_UNIT}|{_OF}?{_CAP}\.?|\d{{1,3}}(?:st|nd|rd|th)?\b)"
    rf"(?:, ?\n? ?| ?\n ?| )){{1,9}}+"
    rf"(?:{_LETTERED}|(?<=[ \n,][A-Z]{{2}}[ \n])\d{{5}}(?:-\d{{4}})?\b"
    r"|(?<=USA )\d{5}\b|(?<=NSW |VIC |QLD |TAS |ACT | WA | SA | NT )\d{4}\b)"
    # 221B Baker Street, 5 W 42nd St, 12 Broadway
    rf"|\d{{1,6}}[A-Za-z]?(?:[-/]\d+)?,? (?:Broadway|(?:(?:{_CAP}\.?|\d{{1,3}}(?:st|nd|rd"
    rf"|th)) ){{1,4}}(?:Street|"
    r"St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Pl|Square|Sq|Terrace"
    r"|Close|Crescent|Highway|Hwy|Parkway|Pkwy|Circle|Cir|Trail|Row|Mews|Gardens|Grove|Hill|Walk"
    r"|Alley|Plaza|Quay|Route|Loop|Path|Pike|Parade|Esplanade|View|Green|Park|Rise|Vale|Wharf|Cove"
    r"|Ridge|Turnpike|Hollow|Wynd|Brae|Crossing|Freeway|Expressway|Embankment|Heights|Meadows?)"
    r")\b\.?(?: (?:[NSEW]|N[EW]|S[EW]|North|South|East|West)\b)?"
    # Hauptstraße 12, Lange Straße 4, Keizersgracht 5, Storgatan 3, Kossuth Lajos utca 12.
    rf"|(?:(?:{_CAP}[ -]){{1,3}}[^\W\d_]{{0,30}}?|(?=[{UPPER}])[^\W\d_]{{2,30}}?)"
    r"(?i:straße|strasse|str\.|weg|platz|allee|gasse|damm|ufer|chaussee|steig|straat|laan|plein"
    r"|gracht|kade|dijk|steeg|gatan|gate|gata|gränd|torget|vägen|vei(?:en)?|vegen|veje?n?"
    r"|(?<!bri|ene)gade|allé|stræde|katu"
    rf"|kuja|polku|tie|utca|útja|út|körút|tér|u\.|ulice) {_NUMBER}|(?:Am"
    rf"|An der|Im|In der|Auf der|Zum|Zur|Unter den) {_CAP}(?: {_CAP})? \d{{1,4}}[a-z]?\b"
    # 12 bis, rue de la Paix
    r"|\d{1,4}(?: ?(?:bis|ter|[A-Da-d]))?,? (?i:rue|avenue|boulevard|bd|place|impasse|allée|chemin"
    rf"|quai|passage|square|chaussée|route|cours) {_NAME}"
    # Calle de Alcalá, 45; Via Roma 12; Rua Augusta, n.º 5; ul. Długa 5; Chaussée de Namur 77
    r"|(?i:calle|c/|avenida|avda?\.?|plaza|paseo|carrera|carrer|ronda|camino|via|viale|piazza|corso"
    r"|vicolo|largo|rua|r\.|av\.|strada|travessa|praça|estrada|ul\.|plac|al\.|os\.|pl\.|aleja"
    r"|náměstí|třída|rue|avenue"
    rf"|chemin|chaussée|boulevard|jalan) (?:\d{{1,2}} )?{_NAME},? "
    rf"(?:(?:(?i:n[.º°o]{{1,2}}|nr\.?) ?)?"
    rf"{_NUMBER}|s/n\b)"
    r"|(?i:(?:g?p\.? ?o\.? ?)box|postfach|postbus|apartado(?: postal)?|casella postale)"
    r" \d[\d ]{0,8}\b"
    # Skolegade 14, 8000 Aarhus; the town must be known when the postcode could be any amount
    rf"|(?P<plain>(?:{_NAME} {_NUMBER}|Box \d{{1,5}})(?=(?:, {_UNIT})?(?P<gap>, ?\n?|\n) ?"
    rf"(?:{_CODE}|(?P<code>{_DIGITS})) (?P<at>{_TOWN})))"
    r")"
)
_TAIL = re.compile(
    rf"(?:,? ?\n? ?(?:{_UNIT}|{_US}|(?:[A-Z]{{2}} )?{_CODE}(?: {{1,2}}{_TOWN})?|\([A-Z]{{2}}\)"
    rf"|{_DIGITS}(?:[ -]{_TOWN}(?: \d{{1,2}}\b(?![.,]?\d))?)?)|,?[ \n]{_TOWN}"
    rf"(?=,?[ \n](?:[A-Z]{{2}},? \d{{5}}|{_LETTERED}|\d{{4,5}}\b))|(?:, ?\n? ?|\n ?){_TOWN}){{1,8}}"
)
_POST = re.compile(
    rf"(?<!\w)(?:{_TOWN}, {_US}|(?P<code>{_CODE})|(?!(?:1[89]|20)\d\d )"
    rf"(?:[A-Z]{{1,2}}-)?(?:\d{{4,5}}|\d{{3}} \d\d|\d\d-\d{{3}}|\d{{4}}-\d{{3}}) (?P<town>{_TOWN})|"
    rf"(?i:zip(?: ?"
    r"code)?|post(?:al )?code|plz|code postal|código postal|cap|cep)(?: is)?:? "
    r"(?P<cued>[A-Z\d -]{4,10}\b))"
)


@detector(Entity("ADDRESS", "postal address", DataClass.PERSONAL, structured=False))
def find_addresses(text: str) -> Iterator[Finding]:
    """Streets with what follows them; postcodes by form, with a town or with a cue before.

    A postcode with its town right before a street is one address with it, as in Hungary.
    """
    posts = {end: start for start, end in _posts(text)}
    for match in _STREET.finditer(text):
        if match["plain"] and not _has_town(match):
            continue
        tail = _TAIL.match(text, match.end())
        end = tail.end() if tail else match.end()
        gaps = [at for at in (match.start() - 2, match.start() - 1) if at in posts]
        joined = [posts[at] for at in gaps if text[at : match.start()] in (", ", "\n")]
        # With a second number, a postcode as a rule, surer than `Swords, Co.` is a company.
        sure = 0.96 if len(re.findall(r"\d+", text[match.start() : end])) > 1 else 0.9
        yield Finding("ADDRESS", min([match.start(), *joined]), end, sure)
    for end, start in posts.items():
        yield Finding("ADDRESS", start, end, 0.8)


def _posts(text: str) -> Iterator[tuple[int, int]]:
    """Where a postcode stands without a street."""
    for match in _POST.finditer(text):
        if match["town"] is None or place_score(match["town"]) >= 0.35:
            yield match.start("cued") if match["cued"] else match.start(), match.end()


def _has_town(match: re.Match[str]) -> bool:
    """Does a town follow a name with a number? Four digits may be a year or an amount."""
    code = match["code"] or ""
    if len(code) != 4 or "\n" in match["gap"]:
        return True
    known = max(place_score(match["at"]), place_score(match["at"].split(" ")[0]))
    return bool(known) and not re.match("1[89]|20", code)

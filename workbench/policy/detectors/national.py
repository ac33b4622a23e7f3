"""Numbers that a state gives to a person, by form and checksum (python-stdnum) and by the words.

`_NUMBERS` has an entry per scheme: the module of python-stdnum that checks it, and the forms of
writing: `9` is a digit, `A` a letter, `_` a blank, all else itself. A form that ends in `?`
passes its check so easily by chance that it counts only after a word that announces it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module

from ..classes import DataClass
from .contact import COUNTED
from .interface import Entity, Finding, detector, said_after, said_before

_NUMBERS = """
us.ssn 999-99-9999 999_99_9999? 999.99.9999 999–99–9999 999999999?; gb.nino AA999999A
AA_99_99_99_A AA_999999_A AA-99-99-99-A AA_999999A; gb.nhs 999_999_9999? 999-999-9999?
9999999999?; de.idnr 99_999_999_999 99999999999 99/999/999/999; fr.nir 9_99_99_99_999_999_99
9_99_99_99_999_999 999999999999999 9999999999999_99 9_99_99_9A_999_999_99 99999A999999999
9999999999999?; es.dni 99999999A 99999999-A 99.999.999-A 99.999.999A 99999999_A 99_999_999_A;
es.nie A9999999A A-9999999-A A9999999-A A-9999999A A_9999999_A; it.codicefiscale AAAAAA99A99A999A
AAA_AAA_99A99_A999A AAA_AAA_99A99A999A; nl.bsn 999999999? 9999.99.999? 9999_99_999? 999-999-999?
999_999_999?; be.nn 99.99.99-999.99 999999-999-99 999999_999_99 99999999999 99.99.99-999-99
99_99_99_999_99; pl.pesel 99999999999; se.personnummer 999999-9999 99999999-9999 999999+9999
9999999999? 999999999999; no.fodselsnummer 99999999999 999999_99999 999999-99999; dk.cpr
999999-9999? 999999_9999? 9999999999?; fi.hetu 999999-999A 999999A999A 999999A9999 999999+999A
999999-9999; pt.nif 999999999? 999_999_999?; pt.cc 99999999_9_AA9 999999999AA9 99999999-9-AA9;
ie.pps 9999999A 9999999AA 9999999_A 9999999_AA; ch.ssn 999.9999.9999.99 9999999999999
999_9999_9999_99; at.vnr 9999_999999 9999999999? 9999-999999; br.cpf 999.999.999-99 99999999999
999999999-99 999_999_999_99 999.999.999.99; in_.aadhaar 9999_9999_9999 9999-9999-9999
999999999999?; in_.pan AAAAA9999A; au.tfn 999_999_999? 999999999? 999-999-999?; au.medicare
9999_99999_9 9999999999? 9999-99999-9; luhn 999-999-999? 999_999_999? 999999999?;
za.idnr 9999999999999 999999_9999_999 999999_9999_99_9; cn.ric 999999999999999999
99999999999999999A 999999_99999999_9999 999999_99999999_999A; kr.rrn 999999-9999999
9999999999999?; mx.curp AAAA999999AAAAAA99 AAAA999999AAAAAAA9; cz.rc 999999/9999 999999/999;
ro.cnp 9999999999999; bg.egn 9999999999?; hr.oib 99999999999; ee.ik 99999999999; lv.pvn
999999-99999; tr.tckimlik 99999999999 999_999_999_99; gr.amka 99999999999; il.idnr 999999999?;
th.pin 9-9999-99999-99-9 9999999999999 9_9999_99999_99_9; my.nric 999999-99-9999; pk.cnic
99999-9999999-9; id.nik 9999999999999999?; ar.dni 99.999.999?; cl.rut 99.999.999-9 99.999.999-A
99999999-9 9.999.999-9 9.999.999-A; TAX_ID br.cnpj 99.999.999/9999-99 99999999999999?; TAX_ID
us.ein 99-9999999?; TAX_ID gb.utr 9999999999? 99999_99999?; TAX_ID in_.gstin 99AAAAA9999A9A9
99AAAAA9999A9AA; TAX_ID mx.rfc AAAA999999AA9 AAAA999999999 AAAA9999999A9 AAAA999999AAA
AAA999999AA9 AAA999999999?; TAX_ID ar.cuit 99-99999999-9 99999999999?; TAX_ID au.abn
99_999_999_999? 99999999999?; TAX_ID ch.uid AAA-999.999.999 AAA999999999; TAX_ID it.iva
99999999999?; TAX_ID fr.siren 999_999_999? 999999999?; TAX_ID pl.nip 999-999-99-99 999-99-99-999
9999999999?; TAX_ID es.cif A99999999 A-99999999; TAX_ID de.stnr 99/999/99999? 999/9999/9999?
999/999/99999?
"""
_CUE = re.compile(
    r"national|\bssn|\bitin|social sec|\bs\.s\.n|\bnino\b|\bni (?:no|num)|insurance n|\bnhs\b|"
    r"identi|\bid\b|\bbsn\b|burgerserv|steuer|\bidnr|\btin\b|\btax|\bvat\b|\butr\b|\bein\b|"
    r"employer|\bnir\b|sécu|\bsiren\b|\binsee\b|\bdni\b|\bnie\b|\bnif\b|\bcif\b|fiscal|codice|"
    r"\bpesel|\bnip\b|henkilö|person(?:al|en|li|n|\b)|\bcpr\b|\bhetu\b|\bpps|\bahv|\bavs\b|\bsvnr|"
    r"sozialvers|versicherungsn|\bcpf\b|\bcnpj|\bcuit|\brfc\b|\bcurp|aadh?aar|\bpan\b|\btfn\b|"
    r"\babn\b|medicare|\bsin\b|\brut\b|contribuinte|cidad|citizen|resident|\brrn\b|\bcnp\b|\begn\b|"
    r"\boib\b|rijksreg|registre|niss|f.dselsn|partita|\bp?\.?iva\b|\btva\b|\bust|\bgst|health "
    r"(?:card|num)|patient|c[eé]dula|kimlik"
)
_TAX_CUE = re.compile(
    r"\bvat\b|\butr\b|\bein\b|employer|\babn\b|siren|\bp?\.?iva\b|partita|cnpj|\bnip\b|\bust|\bgst|"
    r"\btva\b|\bbtw\b|\buid\b|\bcif\b|\brfc\b|cuit|steuernummer|st\.?-?nr|company|business|firm"
)
_OTHERS = re.compile(
    r"\b(?:customer|client|user|order|account|employee|member|device|session|request|message|"
    r"student|transaction|product|kunden|booking)[ -]?(?:id|no|nr|num\w*|ref\w*)?\.?\W{0,3}(?:is "
    r")?$"
)
_PASSPORT = re.compile(
    r"(?i:passport|reisepass|pass(?:nummer|[- ]n[ro])|passeport|pasaporte|passap?orte?|paspoort|"
    r"paszport)[^\d\x1e]{0,36}?(?<!\w)(?P<number>(?:[A-Z]{1,3}[ -]?|[a-z]{1,3})?\d{2} "
    r"?[A-Za-z]{0,2} ?\d{4,7}[A-Za-z]?|(?=[A-Z\d]{8,9}\b)(?:[A-Z]*\d){3}[A-Z\d]*)(?!\w)|"
    r"(?P<zone>\bP[A-Z<][A-Z]{3}[A-Z]{2}[A-Z<]{30,40}(?:\n[A-Z\d<]{40,44})?)"
)
_LICENCE = re.compile(
    r"(?i:driv(?:er|ing)(?:['’]?s)?['’]? ?li[cs]en[cs]e|\bdl\b|li[cs]en[cs]e (?:no|num|#)|"
    r"führerschein|permis de cond|(?:permiso|carnet|licencia) de cond|patente|rijbewijs|carta de "
    r"condu|prawo jazdy|körkort|førerkort|kørekort|\bdvla|"
    r"\bdmv)[^\d\x1e]{0,36}?(?<![\w-])(?P<number>(?!(?:19|20)\d\d\b)(?=(?:[A-Z "
    r"-]{0,6}\d){4})[A-Z\d]{1,16}(?:[ -](?=[A-Z-]{0,6}\d)[A-Z\d]{1,8}){0,4})(?!\w)|"
    r"\b(?P<british>[A-Z]{2,5}9{0,3}\d[0156]\d[0-3]\d\d[A-Z9]{2}[A-Z\d]{3})\b"
)
_VIN = re.compile(r"(?<!\w)(?=[A-Z]{0,16}\d)(?=\d{0,16}[A-Z])[A-HJ-NPR-Z\d]{17}(?!\w)")
_VIN_CUE = re.compile(r"\bvin\b|chassis|fahrgestell|bastidor|telaio|vehicle id|\bfin\b")
_VAT = re.compile(
    r"(?<!\w)(?:AT|B[EG]|C[YZ]|D[EK]|E[ELS]|F[IR]|GB|H[RU]|I[ET]|L[TUV]|MT|NL|P[LT]|RO|S[EIK]|XI)"
    r" ?[A-Z\d]{0,2}(?:[ .-]?\d){6,11}(?:B\d\d|[A-Z]{0,2})(?!\w)"
)


@detector(
    Entity("NATIONAL_ID", "national identity number", DataClass.PERSONAL, structured=True),
    Entity("TAX_ID", "tax or VAT number", DataClass.PERSONAL, structured=True),
    needs=r"\d\d",
)
def find_numbers(text: str) -> Iterator[Finding]:
    """Every scheme of `_NUMBERS` whose check passes; VAT numbers by the country's own."""
    for match in _pattern().finditer(text):
        form = re.sub(r"[^\W\d_]", "A", re.sub(r"\d", "9", match[0])).replace(" ", "_")
        fits: dict[str, bool] = {}
        for entity, check, weak in _schemes()[form]:
            if check(match[0]):
                fits[entity] = weak and fits.get(entity, True)
        if fits:
            yield from _judged(text, match, fits)
    for match in _VAT.finditer(text):
        if _is_vat(match[0]):
            yield Finding("TAX_ID", match.start(), match.end(), 0.96)


@detector(
    Entity("PASSPORT", "passport number", DataClass.PERSONAL, structured=True),
    Entity("DRIVER_LICENSE", "driving licence number", DataClass.PERSONAL, structured=True),
    Entity("VIN", "vehicle identification number", DataClass.PERSONAL, structured=True),
    needs=r"\d\d|P<",
)
def find_documents(text: str) -> Iterator[Finding]:
    """Passports and licences after the word, machine-readable zones, vehicles (ISO 3779)."""
    for match in _PASSPORT.finditer(text):
        yield Finding("PASSPORT", *match.span(match.lastgroup or 0), 0.97)
    for match in _LICENCE.finditer(text):
        yield Finding("DRIVER_LICENSE", *match.span(match.lastgroup or 0), 0.97)
    for match in _VIN.finditer(text):
        if _is_vin(match[0]) or _VIN_CUE.search(said_before(text, match.start())):
            yield Finding("VIN", match.start(), match.end(), 0.97)


def _judged(text: str, match: re.Match[str], fits: dict[str, bool]) -> Iterator[Finding]:
    """What passed its check, in view of the words around: entity -> whether it needs one."""
    before = said_before(text, match.start(), 48)
    around = (before, said_after(text, match.end()))
    cued = any(near.strip("0123456789 ") and _CUE.search(near) for near in around)
    found = [entity for entity, weak in fits.items() if cued or not weak]
    if not found or _OTHERS.search(before) or (not cued and COUNTED.search(before)):
        return
    likely = "TAX_ID" if _TAX_CUE.search(before) else "NATIONAL_ID"
    entity = likely if likely in found else found[0]
    yield Finding(entity, match.start(), match.end(), 0.97 if cued else 0.72)


@cache
def _pattern() -> re.Pattern[str]:
    """Any form, the longest first, as one expression."""
    symbols = {"9": r"\d", "A": "[A-Za-z]", "_": " "}
    forms = sorted(_schemes(), key=lambda form: (-len(form), form))
    parts = [
        re.sub(r"(.)\1*", lambda m: f"{symbols.get(m[1], re.escape(m[1]))}{{{len(m[0])}}}", form)
        for form in forms
    ]
    return re.compile(
        rf"(?<![\w€$£])(?<!\w[.,/-])(?=.{{0,8}}\d)(?:{'|'.join(parts)})(?!\w|[.,/-]\w)"
    )


@cache
def _schemes() -> dict[str, list[tuple[str, Callable[[str], bool], bool]]]:
    """Form -> what is written so: its entity, its check, and whether it needs a word."""
    found: dict[str, list[tuple[str, Callable[[str], bool], bool]]] = defaultdict(list)
    for line in _NUMBERS.split(";"):
        *tax, scheme = line.split()[: 1 + ("TAX_ID" in line)]
        entity, forms = *(tax or ["NATIONAL_ID"]), line.split()[len(tax) + 1 :]
        for form in forms:
            found[form.rstrip("?")].append((entity, _check(scheme), form.endswith("?")))
    return dict(found)


@cache
def _check(scheme: str) -> Callable[[str], bool]:
    """What decides on a number of the scheme, however it is written."""
    decide = _OWN.get(scheme) or import_module(f"stdnum.{scheme}").is_valid
    if scheme in ("fi.hetu", "se.personnummer"):  # the mark between tells the century
        return decide
    return lambda number: bool(decide(re.sub(r"[^A-Z0-9]", "", number.upper())))


def _is_medicare(number: str) -> bool:
    """Australia's health card: the ninth digit is a weighted sum of the first eight, modulo 10."""
    total = sum(w * int(d) for w, d in zip((1, 3, 7, 9, 1, 3, 7, 9), number, strict=False))
    return number[0] in "23456" and total % 10 == int(number[8])


_OWN: dict[str, Callable[[str], object]] = {
    # stdnum refuses numbers that only advertisements and examples bear; people copy them.
    "us.ssn": re.compile(r"(?!000|666)\d{3}(?!00)\d\d(?!0000)\d{4}").fullmatch,
    "gb.nino": re.compile(  # QQ and ZZ stand in forms and test data
        r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]"
        r"|(?:QQ|ZZ)\d{6}[A-DT]"
    ).fullmatch,
    "au.medicare": _is_medicare,
}


def _is_vat(number: str) -> bool:
    from stdnum.eu import vat
    from stdnum.gb import vat as british

    known = british if number[:2] in ("GB", "XI") else vat
    return bool(known.is_valid(re.sub(r"[ .-]", "", number)))


def _is_vin(number: str) -> bool:
    """The check digit of 49 CFR 565.15, which North America asks for."""
    values = [int(c) if c.isdigit() else _VIN_ORDER.index(c) % 10 for c in number]
    weights = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    rest = sum(w * v for w, v in zip(weights, values, strict=True)) % 11
    return "0123456789X"[rest] == number[8]


_VIN_ORDER = "_ABCDEFGH__JKLMN_P_R__STUVWXYZ"

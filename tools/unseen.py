"""Write the labelled texts on which the detectors are measured: `python tools/unseen.py [FILE]`.

Texts and templates stand in `unseen.txt`, written by someone who had not seen the detectors;
`{tag|value}` is a labelled span, `{tag}` a value drawn here by seed. Labelling guide:

1.  A span is the value without the word that announces it ("IBAN", "born", "aged").
2.  DATE: a calendar date with day and month. A bare year, quarter, weekday or time is none.
3.  DATE_OF_BIRTH: such a date where the text says that somebody was born on it.
4.  NATIONAL_ID: a number that a state gives to a person: identity, tax, insurance, health.
5.  BANK_ACCOUNT: a domestic account number; the sort code, BSB or routing number beside it too.
6.  Cards, IBANs and national ids whose check digit is wrong are not labelled.
7.  PASSPORT and DRIVER_LICENSE are labelled because the text names the document.
8.  SECRET: what opens something: keys, tokens, passwords; an address with a password in it as a
    whole. Placeholders, hashes, commits, trace ids and variables are none.
9.  URL: with or without scheme, path included; the domain in an e-mail address is none.
10. PERSON: a name, with its title; brands, products and pets with such a name are none.
11. LOCATION: town, region or country. The place in a company's name belongs to the company.
12. ADDRESS: street with house number, flat, P.O. box; the postcode is a span of its own.
13. ORGANIZATION: a company or body that is named; "the bank" and "the hospital" are none.
14. AGE: the number alone. 15. HEALTH_TERM: a disease, complaint, drug or treatment by its name;
    a bodily reading (pulse, weight) and words such as "patient" are none.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
import sys
from collections.abc import Callable, Iterator
from datetime import date
from importlib import import_module
from pathlib import Path

from stdnum import iban, luhn
from stdnum.es import ccc

HERE = Path(__file__).resolve()
TARGET = HERE.parent.parent / "tests" / "policy" / "detectors" / "unseen.jsonl"
SEED = 20250611
MARK = re.compile(r"\{([a-z]+)(?:_([a-z]+))?(\d*)(?:\|([^{}]*))?\}")
LABEL = {
    "email": "EMAIL_ADDRESS", "tel": "PHONE_NUMBER", "url": "URL", "ip": "IP_ADDRESS",
    "mac": "MAC_ADDRESS", "card": "CREDIT_CARD", "iban": "IBAN_CODE", "bic": "BIC_CODE",
    "acct": "BANK_ACCOUNT", "account": "BANK_ACCOUNT", "sortcode": "BANK_ACCOUNT",
    "routing": "BANK_ACCOUNT", "nid": "NATIONAL_ID", "natid": "NATIONAL_ID", "pass": "PASSPORT",
    "passport": "PASSPORT",
    "dl": "DRIVER_LICENSE", "licence": "DRIVER_LICENSE", "date": "DATE", "dob": "DATE_OF_BIRTH",
    "sec": "SECRET", "secret": "SECRET", "per": "PERSON", "loc": "LOCATION",
    "org": "ORGANIZATION", "addr": "ADDRESS", "age": "AGE", "med": "HEALTH_TERM",
}  # fmt: skip

# Patterns: # a digit, % one from 2 to 9, @ a capital, ~ a date as YYMMDD.
NATIONAL = {
    "nhs": ("gb.nhs", "### ### ####", "##########"), "nino": ("", "AB ## ## ## C", "JM%#####B"),
    "us": ("us.ssn", "%##-##-####"), "in": ("in_.pan", "@@@P@####@"),
    "de": ("de.idnr", "%## ### ### ##", "%##########"), "pl": ("pl.pesel", "~#####"),
    "fr": ("fr.nir", "1 8# 0% 75 ### ### ##", "29#0%13######%#"), "be": ("be.nn", "~#####"),
    "es": ("es.nif", "########@", "Y#######@"), "it": ("it.codicefiscale", "@@@@@@8#M1#H501@"),
    "nl": ("nl.bsn", "#########", "####.##.###"), "se": ("se.personnummer", "~-####"),
}  # fmt: skip
PHONES = """+44 20 7946 0###|020 7946 0###|07700 900###|07700 900 ###|(202) 555-01##|312-555-01##
+1 646 555 01##|+49 30 23125 ###|0151 2345 67##|01 99 00 %# ##|+33 6 39 98 ## ##|+34 91 %## ## ##
+39 02 %### ####|+31 20 %## ####|+32 2 5## ## ##|+41 44 668 1# ##|+43 1 58058 %##|+46 8 465 004 ##
+47 22 ## ## ##|+45 33 ## ## ##|+353 1 %## ####|+91 98### #####|+81 3 5### ####|+61 2 5550 ####
0491 570 1##|+27 11 %## ####|+65 6%## ####|+55 11 9%### ####|+48 22 %## ## ##|+351 21 %## ####"""
PHONES_IN = {
    "fr": ("06 39 98 ## ##", "01 99 00 ## ##", "+33 (0)6 39 98 ## ##"),
    "de": ("030 23125 ###", "+49 (0)30 23125-###", "0171/39200##"),
}
BBAN = {"DE": "#" * 18, "GB": "LOYD" + "#" * 14, "FR": "#" * 23, "NL": "RABO" + "#" * 10,
        "AT": "#" * 16, "CH": "#" * 17, "IT": "K" + "#" * 22, "PL": "#" * 24, "PT": "#" * 21,
        "SE": "#" * 20, "DK": "#" * 14, "IE": "BOFI" + "#" * 14, "LU": "#" * 16, "CZ": "#" * 20,
        "FI": "#" * 14, "GR": "#" * 23, "ES": "#" * 20, "LT": "#" * 16, "SK": "#" * 20}  # fmt: skip
CARDS = ("4###############", "4###############", "51##############", "54##############",
         "2223############", "37#############", "6011############", "3528############")  # fmt: skip
BICS = """COBADEFFXXX|BNPAFRPP|INGBNL2A|UBSWCHZH80A|NDEASESS|BSCHESMMXXX|UNCRITMM|KREDBEBB|BKAUATWW
AIBKIE2D|CITIUS33|HSBCHKHHHKH|PKOPPLPW|DABADKKK|DNBANOKK|CGDIPTPL|MIDLGB22|ROYCCAT2"""
PASSPORTS = "C%#X#%T## 5######## @@####### ##@@##### M####### PA0#####% X####### A0######".split()
LICENCES = {
    "gb": ("KOWAL#0%14#PT9@@", "ADEYE7##0#5J99KL", "SMYTH#0521%MA9@@"),
    "us": ("D%######", "F%##-####-####", "S###-####-####", "@%#######"),
    "fr": ("9##0751#####", "13AA#####", "17BB#####"),
}
# `*n` stands for n capitals or digits, `:n` for n letters or digits; before | stands no secret.
SECRETS = """AKIA*16 ghp_:36 sk_live_:24 AIza:35 glpat-:20 xoxp-##########-:24 SG.:22.:43 npm_:36
password=|Zw!:9 passwd:|q7-:8 pwd=|Lk$:10 client_secret=|:32 api_key:|x:31 Bearer|t:40 hf_:34
mysql://root:pw:9@db.example.com/prod jwt pem""".split()
HOSTS = """example.org example.com mail.example.net kunden.example.de banque.example.fr
lists.example.co.uk nhs.example hospital.example.ie correo.example.es post.example.at""".split()
SITES = """https://help.example.com/articles/{n} http://www.example.org/~anna/index.html
https://pay.example.co.uk/checkout?id={n}&step=2 www.example.net/download https://10.0.4.{s}:8443/x
https://docs.example.io/v2/#auth ftp://files.example.com/in/{n}.csv portal.example.de/login
https://api.example.com/users/{n}/orders https://sub.domain.example.museum/""".split()
PEOPLE = """Abebe Tessema|Marit Haugland|Rukhsana Mahmood|Vikram Iyer|Lucía Etxeberria
Noah Sinclair|Chiamaka Obi|Kerstin Wallgren|Thibault Lemoine|Piotr Zieliński|Leilani Kahale
Santiago Quispe|Hyun-woo Park|Farida Aziz|Callum Ferguson|Beatrix Vermeulen|Anahit Sargsyan
Sione Taufa|Mei-Ling Chou|Ottilie Brandt|Yaw Asante|Dorothea Papadaki|Goran Petrović
Nomvula Khumalo|Aoife Ní Bhriain|Omar Benali|Elif Şahin|Katarzyna Lis|Rajesh Subramaniam
Maria da Conceição|Hans-Peter Moser|Jolanta Kairytė"""
PLACES = """Bristol|Antwerp|Kraków|Bologna|Winnipeg|Mombasa|Pune|Salzburg|Malmö|Porto|Seville|Nantes
Dresden|Perth|Boston|Limerick|Utrecht|Tallinn|Cardiff|Basel"""
COMPANIES = """Ikea|Lloyds Bank|Bosch GmbH|Carrefour|Orange SA|Hargreaves & Sons Ltd|Unilever
Maersk|Telefónica|Brightwater Housing Association|Pfizer|Rabobank|UniCredit|Octopus Energy"""
STREETS = """31 Ashgrove Avenue|9 Chapel Row|Flat 5, 112 Mill Road|2046 Sycamore Drive
47b Queen Street|8 Rue Pasteur|Bahnhofstrasse 21|1408 Elm Street|Via Roma 66|P.O. Box 2291
6 The Crescent"""
ILLS = """migraine|arthritis|leukaemia|bipolar disorder|tuberculosis|angina|depression|sepsis|HIV
osteoporosis|multiple sclerosis|chemotherapy|amoxicillin|stroke|eczema"""
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
          "diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
          "dicembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
}  # fmt: skip
FORMS = {
    "en": ("{d:02}/{m:02}/{y}", "{d} {M} {y}", "{y}-{m:02}-{d:02}", "{M} {d}, {y}", "{d} {s} {y}",
           "{d:02}-{s}-{y}", "{m}/{d}/{y}", "{d:02}.{m:02}.{y}", "{d}/{m}/{z:02}", "{s} {d}"),
    "de": ("{d:02}.{m:02}.{y}", "{d}. {M} {y}", "{d}.{m}.{z:02}"),
    "fr": ("{d:02}/{m:02}/{y}", "{d} {M} {y}"),
    "es": ("{d:02}/{m:02}/{y}", "{d} de {M} de {y}"),
    "it": ("{d:02}/{m:02}/{y}", "{d} {M} {y}"),
    "nl": ("{d:02}-{m:02}-{y}", "{d} {M} {y}"),
}  # fmt: skip
LISTS = {
    "per": PEOPLE, "loc": PLACES, "org": COMPANIES, "addr": STREETS, "med": ILLS, "bic": BICS,
    "routing": "026009593|121000248|011401533|091000019|322271627",
    "age": "|".join(map(str, range(18, 97))),
}  # fmt: skip


class Draw:
    """Values by seed; a tag is a method, its second part (`_de`) the country or language."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def __call__(self, tag: str, where: str | None, count: str) -> str:
        if tag in LISTS:
            return self.one(LISTS[tag])
        return getattr(self, tag)(*filter(None, [where, count]))

    def one(self, lines: str) -> str:
        return self.chance.choice(re.split(r"[|\n]", lines))

    def fill(self, pattern: str) -> str:
        """The pattern with its signs replaced; what they stand for is said at `NATIONAL`."""
        born = date(*map(self.chance.randint, (1941, 1, 1), (1999, 12, 28)))
        kinds = {"#": string.digits, "%": "23456789", "@": "ABCEHJKLMNPRSTWX"}
        pattern = pattern.replace("~", f"{born:%y%m%d}")
        return re.sub("[#%@]", lambda sign: self.chance.choice(kinds[sign[0]]), pattern)

    def until(self, pattern: str, valid: Callable[[str], bool]) -> str:
        return next(value for value in iter(lambda: self.fill(pattern), "") if valid(value))

    def email(self) -> str:
        first, last = (re.sub(r"[^a-z]", "", part.lower()) or "kim" for part in
                       (self.one(PEOPLE).split()[0], self.one(PEOPLE).split()[-1]))  # fmt: skip
        form = self.chance.choice(("{0}.{1}", "{1}{2}", "{0}_{1}", "{0}+news", "{0}-{1}.{2}"))
        return f"{form.format(first, last, self.digits('2'))}@{self.chance.choice(HOSTS)}"

    def tel(self, where: str = "") -> str:
        return self.fill(self.chance.choice(PHONES_IN[where]) if where else self.one(PHONES))

    def url(self) -> str:
        site = self.chance.choice(SITES)
        return site.format(n=self.digits("4"), s=self.chance.randint(2, 250))

    def ip(self) -> str:
        if self.chance.random() < 0.25:
            return "2001:db8:" + ":".join(self.hex("4") for _ in range(6))
        return ".".join(str(self.chance.randint(1, 254)) for _ in range(4))

    def mac(self) -> str:
        sign, octets = self.chance.choice(":-"), [self.hex("2") for _ in range(6)]
        return self.chance.choice((str.upper, str.lower))(sign.join(octets))

    def card(self, shift: int = 0) -> str:
        body = self.fill(self.chance.choice(CARDS))[:-1]
        number = body + str((int(luhn.calc_check_digit(body)) + shift) % 10)
        cut = (4, 10) if len(number) == 15 else (4, 8, 12)
        parts = [number[a:b] for a, b in zip((0, *cut), (*cut, None), strict=True)]
        return self.chance.choice(("", " ", " ", "-")).join(parts)

    def badcard(self) -> str:
        return self.card(shift=self.chance.randint(1, 9))

    def iban(self, shift: int = 0) -> str:
        land = self.chance.choice(list(BBAN))
        body = self.fill(BBAN[land])
        if land == "ES":
            body = body[:8] + ccc.calc_check_digits(body) + body[10:]
        check = int(iban.calc_check_digits(f"{land}00{body}")) + shift
        number = f"{land}{check:02}{body}"
        grouped = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        return self.chance.choice((number, grouped))

    def badiban(self) -> str:
        return self.iban(shift=1)

    def account(self) -> str:
        return self.fill(self.chance.choice(("########", "1#########", "00########", "%#######%")))

    def sortcode(self) -> str:
        return self.fill(self.chance.choice("20-##-## 40-##-## 60-##-## 83-##-##".split()))

    def passport(self) -> str:
        return self.fill(self.chance.choice(PASSPORTS))

    def natid(self, land: str) -> str:
        module, *patterns = NATIONAL[land]
        valid = import_module(f"stdnum.{module}").is_valid if module else bool
        return self.until(self.chance.choice(patterns), valid)

    def licence(self, land: str) -> str:
        return self.fill(self.chance.choice(LICENCES[land]))

    def date(self, language: str = "en", since: int = 2018, until: int = 2027) -> str:
        year, month = self.chance.randint(since, until), self.chance.randint(1, 12)
        name = MONTHS[language].split()[month - 1]
        return self.chance.choice(FORMS[language]).format(
            d=self.chance.randint(1, 28), m=month, y=year, M=name, s=name[:3], z=year % 100
        )

    def dob(self, language: str = "en") -> str:
        return self.date(language, 1935, 2006)

    def secret(self) -> str:
        kind = self.chance.choice(SECRETS)
        if kind == "jwt":
            parts = ('{"alg":"HS256"}', f'{{"sub":"{self.digits("6")}"}}', self.hex("32"))
            return ".".join(base64.urlsafe_b64encode(p.encode()).decode().strip("=") for p in parts)
        if kind == "pem":
            return f"-----BEGIN PRIVATE KEY----- MIIE{self.word(60)} -----END PRIVATE KEY-----"
        kind = re.sub(r"#+", lambda run: self.digits(len(run[0])), kind)
        kind = re.sub(r"\*(\d+)", lambda run: self.word(int(run[1])).upper(), kind)
        return re.sub(r":(\d+)", lambda run: self.word(int(run[1])), kind)

    def word(self, length: int) -> str:
        return "".join(self.chance.choices(string.ascii_letters + string.digits, k=length))

    def hex(self, length: str) -> str:
        return "".join(self.chance.choices("0123456789abcdef", k=int(length)))

    def digits(self, length: str | int) -> str:
        return str(self.chance.randint(1, 9)) + self.fill("#" * (int(length) - 1))


def labelled(text: str, draw: Draw) -> tuple[str, list[list]]:
    """The text without its marks, and the spans [start, end, entity]."""
    plain, spans, at = "", [], 0
    for mark in MARK.finditer(text):
        tag, where, count, given = mark.groups()
        plain += text[at : mark.start()]
        before, _, value = (given or draw(tag, where, count)).rpartition("|")
        plain += before + (" " if before[-1:].isalpha() else "")
        if tag in LABEL:
            spans.append([len(plain), len(plain) + len(value), LABEL[tag]])
        plain, at = plain + value, mark.end()
    return plain + text[at:], spans


def rows() -> Iterator[dict]:
    """Every text once, a template as often as its section's heading says."""
    draw, section, times = Draw(SEED), "", 1
    for line in (HERE.parent / "unseen.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            section, times = re.match(r"# (\D+?)(?: (\d+))?$", line).groups()
            number = 0
            continue
        for _ in range(int(times or 1)):
            text, spans = labelled(line, draw)
            number += 1
            yield {"id": f"{section}-{number:03}", "text": text, "spans": spans}


def main(target: Path = TARGET) -> None:
    """Write the set."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows()]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""Postal addresses in the forms of many countries."""

from __future__ import annotations

import time

import pytest

from workbench.policy.detectors import addresses, detect, detect_all


def found(text: str) -> list[str]:
    return [text[one.start : one.end] for one in detect(text, ["ADDRESS"])]


@pytest.mark.parametrize(
    "address",
    [
        "742 Elm Street, Apt 4B, Dayton, OH 45402",
        "5 W 42nd St",
        "221B Baker Street, London NW1 6XE",
        "Lange Straße 14, 20095 Hamburg",
        "Hauptstr. 5a",
        "12 bis rue de la République, 75011 Paris",
        "Calle de Alcalá, 45",
        "Via Garibaldi 12",
        "Keizersgracht 174, 1016 DW Amsterdam",
        "Storgatan 3",
        "P.O. Box 1234",
        "K1A 0B1",
        "Dayton, OH 45402-1234",
        "28013 Madrid",
    ],
)
def test_addresses_are_found_whole(address):
    """Street and number in either order, unit, postcode and town make one address."""
    assert found(address) == [address]
    assert found(f"Send it to {address}.")[0].rstrip(".") == address.rstrip(".")


WHOLE = {
    "US": [
        "4543 Goldleaf Lane, Jersey City, NJ 07302",
        "88 Ridgecrest Trail\nApt 4\nMoline, IL 61265",
        "1200 N Cedar Hollow Rd, Suite 310, Plano, TX 75093-1122",
        "19 Birch Hollow, Concord, NH 03301",
        "PO Box 981, Flagstaff, AZ 86002",
        "702 SW 8th Street, Bentonville, Arkansas 72712",
        "31 Old Mill Turnpike, Danbury CT 06810, USA",
        "6 Meadow Ridge\nSaco\nME 04072",
        "2450 Lincoln Boulevard Unit 9, Venice, CA 90291",
        "77 Pelican Cove, Naples, FL 34102",
        "9 Quail Run Apt. 14 Springfield USA 62704",
        "3021 Maple View Drive\n Suite 220\n Dover\n DE 19901",
    ],
    "UK": [
        "14 Larkspur Rise, Oakham LE15 6QT",
        "Flat 3, 28 Harrow Road, London W2 1XJ",
        "9 The Maltings, Ware, Hertfordshire SG12 7AB",
        "221 Kirkgate, Leeds, LS2 7DW, United Kingdom",
        "4 Hillcrest\nStroud\nGL5 1QN",
        "Unit 7, 3 Foundry Lane, Bristol BS1 6AA",
        "102 Newhaven Wynd, Edinburgh EH6 4TL",
        "16 Cwrt Ynys, Neath SA11 2AB",
        "3 Priory Gardens\n York\n United Kingdom YO1 7EP",
    ],
    "CA": [
        "350 Sparks Street, Ottawa, ON K1R 7S8",
        "12 Fenwick Crescent, Halifax NS B3H 1R2",
        "4810 rue Saint-Denis, Montréal, QC H2J 2L6",
        "909 Granville Street, Unit 12, Vancouver, BC V6Z 1L3, Canada",
        "27 Larch Bay\nWinnipeg MB R2M 4C5",
        "1805 17 Avenue SW, Calgary, AB T2T 0E2",
        "77 Rue Principale\nGatineau, QC J8X 2K1",
    ],
    "AU": [
        "45 Wattle Parade, Fremantle WA 6160",
        "5/12 Banksia Street, Newtown NSW 2042",
        "Unit 2, 81 Collins Street\nMelbourne VIC 3000",
        "GPO Box 224, Hobart TAS 7001",
        "17 Jacaranda Vista, Toowong QLD 4066, Australia",
        "3 Gum Tree Close, Belconnen ACT 2617",
        "99 Murray Street\nPERTH WA 6000",
        "62 Barker Grove\nDUBBO NSW 2830",
    ],
    "NZ": [
        "64 Rimu Street, Ponsonby, Auckland 1011",
        "12A Karaka Road\nNapier 4110",
        "PO Box 3312, Christchurch 8140, New Zealand",
        "8 Harbour View Terrace, Wellington 6011",
    ],
    "IE": [
        "15 Merrion Row, Dublin 2, D02 KF81",
        "7 Salthill Park, Galway H91 A2XY",
        "Apt 9, 33 Patrick Street, Cork, T12 W8KP",
        "21 Main Street, Swords, Co. Dublin, K67 X2Y4",
    ],
    "DE": [
        "Lindenweg 7, 80331 München",
        "Bergmannstr. 12a\n10961 Berlin",
        "Am Alten Markt 3, 18055 Rostock",
        "Kaiser-Wilhelm-Ring 22, D-50672 Köln",
        "Goethering 5\n63067 Offenbach\nDeutschland",
        "Postfach 10 22 33, 70018 Stuttgart",
        "Unter den Eichen 87, 12205 Berlin",
        "Hohe Bleichen 8, 20354 Hamburg",
        "Rosenstr. 3, 04109 Leipzig",
        "Schulstraße 9\n 01067 Dresden\n Germany",
        "Marktplatz 1, 97070 Würzburg",
    ],
    "AT": [
        "Mariahilfer Straße 45/2/11, 1060 Wien",
        "Linzer Gasse 17, 5020 Salzburg",
        "Grabenfeld 9, 8010 Graz, Österreich",
        "Annagasse 3a\nA-1010 Wien",
        "Hauptplatz 12\n4020 LINZ",
    ],
    "CH": [
        "Bahnhofstrasse 21, 8001 Zürich",
        "Rue du Lac 14, 1003 Lausanne",
        "Via Nassa 5, 6900 Lugano",
        "Chemin des Vignes 8\nCH-1009 Pully",
        "Kirchrain 6, 6003 Luzern",
        "Seefeldquai 3, CH-8008 Zürich",
        "Rue de Rive 7\n1204 Genève",
    ],
    "FR": [
        "14 rue des Tilleuls, 69003 Lyon",
        "7 bis, avenue Jean Jaurès, 31000 Toulouse",
        "22 place de la Liberté\n29200 Brest",
        "5 impasse du Moulin, 44000 Nantes, France",
        "118 boulevard Victor Hugo, 59000 Lille",
        "3 allée des Érables, Bât. B, 35000 Rennes",
        "9 passage Pasteur, 67000 Strasbourg",
        "61 Cours Marechal-Joffre\n13090 AIX-EN-PROVENCE",
        "24 rue La Boétie\n75008 PARIS",
    ],
    "BE": [
        "Rue de la Station 16, 1300 Wavre",
        "Avenue Louise 210 bte 4, 1050 Bruxelles",
        "Veldstraat 19 bus 3, 9000 Gent",
        "Chaussée de Namur 77\nB-5030 Gembloux",
        "Kerkstraat 44\n2060 Antwerpen",
        "Grote Markt 5, 8500 Kortrijk",
    ],
    "NL": [
        "Prinsengracht 263, 1016 GV Amsterdam",
        "Korte Noordstraat 12\n4331 BB Middelburg",
        "Singel 101-II, 1012 VG Amsterdam",
        "Van der Duynstraat 8a, 2515 NG Den Haag",
        "Postbus 412, 3500 AK Utrecht",
        "Oude Delft 75, 2611 BC Delft, Nederland",
        "Dorpsstraat 120\n1182 JE  Amstelveen",
        "Lange Voorhout 3, 2514 EA 's-Gravenhage",
    ],
    "ES": [
        "Calle Mayor 12, 3º B, 28013 Madrid",
        "C/ Alcalá, 45, 28014 Madrid",
        "Avenida de la Constitución 8, 41001 Sevilla",
        "Plaza del Pilar, s/n, 50003 Zaragoza",
        "Paseo de Gracia 92\n08008 Barcelona",
        "Carrer de Mallorca 401, 08013 Barcelona, España",
        "Avda. Andalucía, 28\n29007 Málaga",
        "Ronda de Poniente 4, 46002 Valencia",
    ],
    "IT": [
        "Via Garibaldi 12, 10122 Torino TO",
        "Corso Vittorio Emanuele II, 74, 00186 Roma",
        "Piazza San Marco 4\n30124 Venezia (VE)",
        "Viale dei Mille 9/B, 50131 Firenze",
        "Vicolo del Gallo 3, 37121 Verona, Italia",
        "Largo Argentina 11, 00186 Roma RM",
        "Via Nazionale, 91\n00184-Roma RM",
        "Strada Provinciale 65\n20090-Segrate MI",
    ],
    "PT": [
        "Rua Augusta 24, 2.º Esq., 1100-053 Lisboa",
        "Avenida da Boavista 1588, 4100-115 Porto",
        "Travessa do Carmo, n.º 5, 1200-095 Lisboa",
        "Largo da Sé 3\n4900-326 Viana do Castelo",
        "Praça da República 10, 3000-343 Coimbra, Portugal",
        "R. do Ouro 52\n2750-320 Cascais",
        "Avenida Júlio Dinis 14\n1050-131 LISBOA",
    ],
    "PL": [
        "ul. Kwiatowa 14/3, 00-123 Warszawa",
        "al. Jerozolimskie 54, 00-024 Warszawa",
        "os. Piastów 8 m. 12\n31-624 Kraków",
        "ul. 3 Maja 17, 40-097 Katowice",
        "Długa 9, 80-831 Gdańsk, Polska",
        "ul. Mickiewicza Adama 133\n30-059 Kraków",
        "Plac Wolności 5, 90-001 Łódź",
    ],
    "CZ": [
        "Vinohradská 1896/46, 120 00 Praha 2",
        "náměstí Svobody 8, 602 00 Brno",
        "Husova ulice 12\n301 00 Plzeň",
        "Dlouhá 33, 110 00 Praha",
        "Masarykova 41\n602 00 Brno-střed",
        "Na Příkopě 14, 110 00 Praha 1",
    ],
    "HU": [
        "1055 Budapest, Kossuth Lajos utca 12.",
        "Petőfi Sándor u. 7, 6720 Szeged",
        "4024 Debrecen, Piac utca 20. 2/5",
        "Andrássy út 60, 1062 Budapest",
        "Váci körút 15\n1134 Budapest",
    ],
    "DK": [
        "Skolegade 14, 8000 Aarhus C",
        "Nørrebrogade 52, 2. tv., 2200 København N",
        "Strandvejen 110, 2900 Hellerup",
        "Torvet 3, 4600 Køge, Danmark",
        "Lærkevej 9\n5000 Odense C",
        "Søndergade 33\n8700 Horsens",
        "Lyngvejen 8\n1610 København V",
    ],
    "SE": [
        "Storgatan 18, 114 55 Stockholm",
        "Kungsvägen 4 B, 212 36 Malmö",
        "Norra Hamngatan 6\n411 06 Göteborg",
        "Box 1180, 751 42 Uppsala",
        "Björkbacken 2, 903 25 Umeå, Sverige",
        "Drottninggatan 88\n111 36 STOCKHOLM",
        "Nybyvägen 2, 960 24 HARADS",
    ],
    "NO": [
        "Karl Johans gate 22, 0159 Oslo",
        "Fjellveien 41, 5019 Bergen",
        "Munkegata 7\n7011 Trondheim",
        "Solbakken 3, 9008 Tromsø",
        "Storgata 15\n9405 HARSTAD",
        "Tors vei 150, 3472 BØDALEN",
    ],
    "FI": [
        "Mannerheimintie 12 A 5, 00100 Helsinki",
        "Hämeenkatu 19, 33200 Tampere",
        "Kauppiaskuja 4 B\n20100 Turku",
        "Rantapolku 1, 90100 Oulu, Suomi",
        "Puruntie 27\n53100 LAPPEENRANTA",
        "Aleksanterinkatu 15 B 3\n00100 HELSINKI",
    ],
}
"""Addresses as people write them in 22 countries, on one line or on several."""


@pytest.mark.parametrize("country", WHOLE)
@pytest.mark.parametrize("frame", ["{}", "Send it to {} please", "I moved to {}. Thanks!"])
def test_an_address_of_any_country_is_one_finding(country, frame):
    """Street, number, unit, town, region, postcode and country in that country's order."""
    for address in WHOLE[country]:
        assert [one.rstrip(".") for one in found(frame.format(address))] == [address.rstrip(".")]


@pytest.mark.parametrize(
    "text",
    [
        "In 2019 Apple bought it.", "In 2019 Apple, Google and Meta grew.", "12 Monkeys is a film",
        "24 Hours of Le Mans", "a 5 Star Hotel in Rome", "We met 3 People, London and Paris",
        "Chapter 12, 2019 Edition", "On May 14, 2019 Apple said", "Windows 10, 3000 Users",
        "Boeing 747, 1500 Passengers", "In June 12, 2021 Paris hosted it", "7 Eleven, Tokyo",
        "Formula 1, 2021 Monaco", "World War 2, 1945 Berlin", "Euro 2020, 2021 London",
        "Room 12, 2019 Paris", "gate 12 at the airport", "take the tie 12 off", 
        "the Box 12, 2000 Units",
        "TOP 10 SONGS OF 2019", "Love Street is a song", "Via 2 friends I heard",
    ],
)  # fmt: skip
def test_numbers_beside_capital_letters_are_no_addresses(text):
    """Years, counts, titles and models: a name with a number needs a postcode and its town."""
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "I waited 12 days for order 45402.",
        "It costs 12345 Euro.",
        "Version 3 Street",
        "2 cards and 3 payments",
        "The way 1 of us walked, on 5 May.",
        "AB 12 cd",
    ],
)
def test_numbers_beside_words_are_no_addresses(text):
    """Amounts, dates and order numbers lack a street, and a number before a word is no postcode."""
    assert found(text) == []


def test_a_postcode_needs_its_form_or_a_cue():
    """Five digits are a postcode after 'zip code'."""
    assert found("My zip code is 90210, thanks") == ["90210"]
    assert found("My order is 90210, thanks") == []


def test_an_address_stays_in_its_cell():
    """A street in one cell does not take the town of the next."""
    assert [
        len(one) for one in detect_all(["742 Elm Street", "Dayton, OH 45402", "x"], ["ADDRESS"])
    ] == [1, 1, 0]


@pytest.mark.parametrize(
    "unit",
    ["1", "1 ", "Aa-", "12 Aa ", "12 de la ", "rue de la ", "calle ", "Aa, 1", "1-", "é",
     "Aa St 1, ", "Aastraße", "12 Aa St. Flat 1 ", "A1A 1", "1234 AB ",
     "Aa 12, 1234 Aa, ", "12 Apt Aa ", "Aa utca 1, ", "Aa d'Aa ", "1 Aa\n", "12 Aa AB "],
)  # fmt: skip
def test_hostile_text_takes_linear_time(unit):
    """100 kB of any one thing take three seconds at most; in quadratic time it would be minutes."""
    started = time.process_time()
    list(addresses.find_addresses(unit * (100_000 // len(unit))))
    assert time.process_time() - started <= 3

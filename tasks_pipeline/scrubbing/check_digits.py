"""Numbers of cards, accounts and persons that prove themselves: their check digits, and the forms that issuers use.

Every function takes the number as it stands in a text, separators included, and says whether it is one. A form without a
check digit, or with one that a tenth of all numbers would pass, is taken only with its separators; other numbers (PESEL,
BSN, Steuer-ID …) are ids like any others to who does not know better: their names give them away, or nothing does.
"""

from __future__ import annotations

from datetime import date

_CARDS: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    # First and last prefix, lengths: ISO/IEC 7812 and the schemes' own tables.
    (4, 4, (13, 16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (300, 305, (14, 16, 19)),  # Diners Club
    (36, 36, (14, 16, 19)),
    (38, 39, (14, 16, 19)),
    (3528, 3589, (16, 17, 18, 19)),  # JCB
    (6011, 6011, (16, 17, 18, 19)),  # Discover
    (644, 659, (16, 17, 18, 19)),
    (62, 62, (16, 17, 18, 19)),  # UnionPay
    (5018, 5018, (16, 17, 18, 19)),  # Maestro; the shorter ones of old are like any other number
    (5020, 5020, (16, 17, 18, 19)),
    (5038, 5038, (16, 17, 18, 19)),
    (6304, 6304, (16, 17, 18, 19)),
    (6759, 6763, (16, 17, 18, 19)),
)

IBAN_LENGTHS = {
    # Country and length of its IBAN: SWIFT's IBAN registry.
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FK", "FO", "GL", "NL", "SD"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"), 20),
    **dict.fromkeys(("CH", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "SO", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HN", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    "LC": 32,
    "RU": 33,
}


def digits(number: str) -> str:
    """The digits of a number."""
    return "".join(filter(str.isdigit, number))


def passes_luhn(number: str) -> bool:
    """Whether the last digit is right (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits(number))):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(number: str) -> bool:
    """A payment card: a brand's prefix and length, a right last digit, and not one digit all over."""
    plain = digits(number)
    known = any(
        first <= int(plain[: len(str(first))]) <= last and len(plain) in lengths
        for first, last, lengths in _CARDS
    )
    return known and len(set(plain)) > 1 and passes_luhn(plain)


def is_iban(number: str) -> bool:
    """An IBAN: the country's length, remainder 1 by 97 (ISO 13616)."""
    plain = "".join(filter(str.isalnum, number)).upper()
    if len(plain) != IBAN_LENGTHS.get(plain[:2]):
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def is_us_ssn(number: str) -> bool:
    """A US social security number, AAA-GG-SSSS: none of the parts that are never issued (SSA)."""
    area, group, serial = number.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def is_canadian_sin(number: str) -> bool:
    """A Canadian social insurance number, in three groups of three."""
    return number[0] not in "08" and passes_luhn(number)


def is_brazilian_cpf(number: str) -> bool:
    """A Brazilian CPF, 000.000.000-00: both check digits (mod 11)."""
    plain = digits(number)
    if len(set(plain)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(d) * (length + 1 - place) for place, d in enumerate(plain[:length]))
        if int(plain[length]) != total * 10 % 11 % 10:
            return False
    return True


def is_french_nir(number: str) -> bool:
    """A French NIR: sex, year, month, then the key, which is 97 less the remainder by 97 (INSEE)."""
    plain = "".join(filter(str.isalnum, number)).upper()
    body = plain[:13].replace("2A", "19").replace("2B", "18")  # Corsica
    return body.isdigit() and plain[13:] == f"{97 - int(body) % 97:02d}"


_ODD_DIGITS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_ODD_LETTERS = (*_ODD_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", _ODD_DIGITS + _ODD_LETTERS, strict=True))


def is_codice_fiscale(number: str) -> bool:
    """An Italian codice fiscale: its last letter (decree of 23 December 1976)."""
    code = number.upper()
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in code[1:15:2])
    return chr(65 + (even + sum(_ODD[c] for c in code[0:15:2])) % 26) == code[15]


def is_chinese_id(number: str) -> bool:
    """A Chinese resident identity number: a date of birth and the last character (GB 11643, ISO 7064 mod 11-2)."""
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(int(d) * (2 ** (17 - place) % 11) for place, d in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


def is_british_nino(number: str) -> bool:
    """A British national insurance number: none of the prefixes that are never issued."""
    return number[:2].upper() not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")

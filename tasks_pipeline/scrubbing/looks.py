"""What is secret by its looks, wherever it stands: tokens, keys, passwords in URLs, numbers of cards and persons.

Each kind has a hint, an expression for the engine that matches every text with a candidate in it (and its JSON), and one
for Python that finds where the candidates stand, which is linear in the length of the text because no repetition in it can
be read in two ways.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tasks_pipeline.scrubbing import check_digits

FILTERED = "[Filtered]"
"""What stands in the place of what was taken out, as SDKs write it."""

Found = tuple[int, int, str, str]
"""[start, end) of what must go from a text, the rule, and what stands there afterwards."""


@dataclass(frozen=True, slots=True)
class Look:
    """A kind of secret.

    `rule` names it in `_meta`; the named group of `expression` that matched (or all of it) is what must go, if `proof`
    says so.
    """

    rule: str
    expression: re.Pattern[str]
    hint: str
    proof: Callable[[str], bool] = bool

    def find(self, text: str) -> Iterator[Found]:
        """The secrets of this kind in a text."""
        for match in self.expression.finditer(text):
            group = match.lastgroup or 0
            if FILTERED not in match[group] and self.proof(match[group]):
                yield *match.span(group), self.rule, FILTERED


def _is_credential(found: str) -> bool:
    """Whether it is a token or base64 of `user:password`, unlike what follows in "basic authentication"."""
    if not found.isalpha() or len(found) > 24:
        return True
    try:
        return b":" in base64.b64decode(found + "=" * (-len(found) % 4))
    except (ValueError, binascii.Error):
        return False


# A number stands alone: not in a longer one, in a hash or behind a decimal point.
_BEFORE, _AFTER = r"(?<![A-Za-z0-9.])(?<![0-9]-)", r"(?![A-Za-z0-9])(?![.-][0-9])"
_ALONE = "(?:^|[^.0-9A-Za-z])"
_COUNTRIES = "|".join(check_digits.IBAN_LENGTHS)

TOKENS = (
    Look(
        "pemkey",
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----(?P<secret>[^-]*+(?:-(?!----END )[^-]*+)*+)"
        ),
        "-----BEGIN",
    ),
    Look(
        "jwt",
        re.compile(r"(?<![\w-])eyJ[\w-]{4,}+\.[\w-]{4,}+(?:\.[\w-]*+){0,3}", re.ASCII),
        r"eyJ[A-Za-z0-9_-]{4,}\.",
    ),
    Look(
        "urlauth",
        re.compile(r"://[^\s/@:\"'<>]*+:(?P<secret>[^\s/@\"'<>]++)@"),
        r":(?://|\\/\\/)[^\s/@:\"]*:[^\s/@\"]+@",
    ),
    Look(
        "auth",
        re.compile(
            r"\b(?:(?:[Bb]earer|BEARER) ++(?P<secret>[\w.~+/-]{6,}+=*+)|(?:[Bb]asic|BASIC) ++(?P<pair>[A-Za-z0-9+/]{4,}+))",
            re.ASCII,
        ),
        r"[Bb](?:earer|EARER|asic|ASIC) +[A-Za-z0-9._~+/-]{4}",
        _is_credential,
    ),
    Look(
        "token",
        re.compile(
            r"(?<![A-Za-z0-9])(?:[sr]k_(?:live|test)_[A-Za-z0-9]{10,}+|gh[opusr]_[A-Za-z0-9]{30,}+|github_pat_\w{30,}+"
            r"|glpat-[\w-]{20,}+|xox[abeprs]-[A-Za-z0-9-]{10,}+|A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])|AIzaSy[\w-]{33}"
            r"|sntry[su]_[\w=+/-]{20,}+)",
            re.ASCII,
        ),
        r"[sr]k_(?:live|test)_|gh[opusr]_[A-Za-z0-9]{30}|github_pat_|glpat-|xox[abeprs]-|A[KS]IA[A-Z0-9]{16}|AIzaSy|sntry[su]_",
    ),
)
"""Unmistakable anywhere, in source code too."""

NUMBERS = (
    Look(
        "creditcard",
        re.compile(
            rf"{_BEFORE}(?:[2-6][0-9]{{12,18}}|[2-6][0-9]{{3}}([ -])[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{1,7}}"
            rf"|3[0-9]{{3}}([ -])[0-9]{{6}}\2[0-9]{{4,5}}){_AFTER}",
            re.ASCII,
        ),
        rf"{_ALONE}(?:[2-6][0-9]{{12}}|[2-6][0-9]{{3}}[ -][0-9]{{4}}[ -][0-9]{{4}}[ -][0-9]|3[0-9]{{3}}[ -][0-9]{{6}}[ -][0-9]{{4}})",
        check_digits.is_card,
    ),
    Look(
        "iban",
        re.compile(
            rf"(?<![A-Za-z0-9])(?:{_COUNTRIES})[0-9]{{2}}"
            r"(?:[A-Z0-9]{11,29}|([ -])[A-Z0-9]{4}(?:\1[A-Z0-9]{4}){1,6}(?:\1[A-Z0-9]{1,3})?)"
            r"(?![A-Za-z0-9])"
        ),
        "[A-Z]{2}[0-9]{2}(?:[A-Z0-9]{11}|[ -][A-Z0-9]{4}[ -][A-Z0-9]{4})",
        check_digits.is_iban,
    ),
    Look(
        "usssn",
        re.compile(rf"{_BEFORE}[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}{_AFTER}", re.ASCII),
        rf"{_ALONE}[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}",
        check_digits.is_us_ssn,
    ),
    Look(
        "nationalid",
        re.compile(rf"{_BEFORE}[0-9]{{3}}-[0-9]{{3}}-[0-9]{{3}}{_AFTER}", re.ASCII),
        rf"{_ALONE}[0-9]{{3}}-[0-9]{{3}}-[0-9]{{3}}",
        check_digits.is_canadian_sin,
    ),
    Look(
        "nationalid",
        re.compile(rf"{_BEFORE}[0-9]{{3}}\.[0-9]{{3}}\.[0-9]{{3}}-[0-9]{{2}}{_AFTER}", re.ASCII),
        rf"{_ALONE}[0-9]{{3}}\.[0-9]{{3}}\.[0-9]{{3}}-[0-9]{{2}}",
        check_digits.is_brazilian_cpf,
    ),
    Look(
        "nationalid",
        re.compile(
            rf"{_BEFORE}(?:[12][0-9]{{2}}(?:0[1-9]|1[0-2])[0-9][0-9AB][0-9]{{8}}"
            rf"|[12] [0-9]{{2}} (?:0[1-9]|1[0-2]) [0-9][0-9AB] [0-9]{{3}} [0-9]{{3}} [0-9]{{2}}){_AFTER}",
            re.ASCII,
        ),
        rf"{_ALONE}(?:[12][0-9]{{2}}[01][0-9]{{2}}[0-9AB][0-9]{{8}}(?:[^0-9A-Za-z]|$)|[12] [0-9]{{2}} [01][0-9] [0-9][0-9AB] [0-9])",
        check_digits.is_french_nir,
    ),
    Look(
        "nationalid",
        re.compile(
            r"(?<![A-Za-z0-9])[A-Z]{6}[0-9]{2}[ABCDEHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z](?![A-Za-z0-9])"
        ),
        "[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z]",
        check_digits.is_codice_fiscale,
    ),
    Look(
        "nationalid",
        re.compile(
            rf"{_BEFORE}[1-9][0-9]{{5}}(?:19|20)[0-9]{{2}}[01][0-9][0-3][0-9]{{4}}[0-9Xx]{_AFTER}", re.ASCII
        ),
        rf"{_ALONE}[1-9][0-9]{{5}}(?:19|20)[0-9]{{2}}[01][0-9][0-3][0-9]{{4}}[0-9Xx]",
        check_digits.is_chinese_id,
    ),
    Look(
        "nationalid",
        re.compile(
            r"(?<![A-Za-z0-9])[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:[0-9]{6}| [0-9]{2} [0-9]{2} [0-9]{2} )[A-D](?![A-Za-z0-9])"
        ),
        "[A-Z]{2}(?:[0-9]{6}| [0-9]{2} [0-9]{2} [0-9]{2} )[A-D]",
        check_digits.is_british_nino,
    ),
)
"""Unmistakable among data; source code is full of examples."""

EMAIL = Look(
    "email",
    re.compile(
        r"(?<![\w.+-])[\w.+-]{1,64}+@[A-Za-z0-9][A-Za-z0-9-]{0,62}(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62}){1,8}"
    ),
    r"@[A-Za-z0-9-]+\.",
)

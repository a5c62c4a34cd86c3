"""Names that say that what they name is secret: `password`, `apiKey`, `X-Auth-Token`, `user[pwd]`.

A name is read as words (`stripeToken` and `STRIPE_TOKEN` are stripe, token), so that `author` is no `auth`, `classname` no
`ssn` and `max_tokens` no `token`. The list puts together what SDKs deny by default (password, secret, token, session,
cookies …), the names of web frameworks' and cloud services' secrets, and what payment cards carry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from tasks_pipeline.scrubbing.engine import plain

Words = tuple[str, ...]

LONGEST = 200
"""Longer names (characters) are judged by their end."""

_WORD = re.compile("[A-Z]+(?![a-z\x80-\U0010ffff])|[A-Z]?[a-z\x80-\U0010ffff]++|[0-9]++")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_BETWEEN = r"[\x00-/:-@\[-`{-\x7f]"  # ASCII that is no letter and no digit
_ESCAPED_BRACKETS = re.compile(r"%5[bd]", re.IGNORECASE)  # of form fields: user%5Btoken%5D


def words(name: str) -> Words:
    """The words of a name, A to Z in lower case; numbers are words, other characters part them."""
    readable = _ESCAPED_BRACKETS.sub(" ", name[-LONGEST:])
    return tuple(word.translate(_LOWER) for word in _WORD.findall(readable))


def _terms(listed: Iterable[str]) -> frozenset[Words]:
    return frozenset(found for name in listed if (found := words(name)))


# Secret wherever they stand in a name: old_password_2, client_secret_value.
_ANYWHERE = _terms(
    "password,passwd,passwort,pass word,secret,secrets,pwd,passphrase,pass phrase,passcode,pass code,kennwort,geheimzahl"
    ",api key,api keys,apikey,apikeys,private key,privatekey,secret key,secretkey,access key,accesskey,encryption key"
    ",signing key,authorization code,xsrf,social security,card number,cardnumber,card no,cardno,ccnumber"
    ",credit card,creditcard,security code,passport number".split(",")
)
# Secret when the name ends in them: csrf_token, but not token_type.
_AT_END = _terms(
    "token,auth,oauth,authorization,bearer,pass,pin,pin code,otp,totp,cookie,cookies,session,session id,sessionid,sessid"
    ",connect sid,csrf,jwt,credential,credentials,amz signature,goog signature,cvv,cvc,ssn,iban,tax id"
    ",national id".split(",")
)
# What may follow the end without changing what is meant.
_TRAILERS = frozenset(
    "value val string str text raw plain header hash hashed hex b base64 encoded confirm confirmation repeat new old"
    " current".split()
)
# Ends that mean something else: places in lists, handles.
_HARMLESS_ENDS = _terms(
    "page token,next token,sync token,continuation token,cancellation token,cancel token".split(",")
)
# Written together: dbpassword, phpsessid, stripetoken, csrfmiddlewaretoken.
_PASSWORD = re.compile("passw(?:or[dt]|d)")
_ENDS_SECRET = re.compile("(?:token|secret|apikey|sessid|sessionid|cookies?|credentials?)$")


class Names:
    """The verdicts of one project on names: built-in ones (unless `defaults` is off), its own, and its safe ones."""

    def __init__(
        self, defaults: bool = True, fields: Sequence[str] = (), safe_fields: Sequence[str] = ()
    ) -> None:
        self._at_end = _AT_END if defaults else frozenset()
        self._own, self._safe = _terms(fields), _terms(safe_fields)
        self.rule = lru_cache(8192)(self._rule)
        """The rule (`password` or `field`) by which a name is secret; "" when it is not."""
        self.is_safe = lru_cache(8192)(self._is_safe)
        """Whether a name is one of the project's safe fields, whose values stay as they are."""

    def _is_safe(self, name: str) -> bool:
        return bool(self._safe) and words(name) in self._safe

    def _rule(self, name: str) -> str:
        found = words(name)
        if not found or found in self._safe:
            return ""
        if _contains(found, self._own):
            return "field"
        return "password" if self._at_end and (is_strong(name) or _ends_secret(found)) else ""

    def expressions(self) -> tuple[str, str]:
        """Two regular expressions, over ASCII in any case: each secret name has a match of one of them.

        The second is for names that are secret by their end, with what may follow it; "" when there are none.
        """
        anywhere = _expression([*self._own, *(_ANYWHERE if self._at_end else ())])
        rest = rf"(?:{_BETWEEN}|[0-9]|%5[bd]|{'|'.join(sorted(_TRAILERS))})*?"
        return anywhere, f"(?:{_expression(self._at_end)}){rest}" if self._at_end else ""


def is_strong(name: str) -> bool:
    """Whether a name is secret by a word that leaves no doubt, so that even `name: word` in a sentence gives it away."""
    found = words(name)
    return _contains(found, _ANYWHERE) or any(_PASSWORD.search(word) for word in found)


def _ends_secret(found: Words) -> bool:
    end = len(found)
    while end and (found[end - 1].isdigit() or found[end - 1] in _TRAILERS):
        end -= 1
    meant = found[:end]
    if not meant or _ends_in(meant, _HARMLESS_ENDS):
        return False
    return _ends_in(meant, _AT_END) or bool(_ENDS_SECRET.search(meant[-1]))


def _contains(found: Words, terms: frozenset[Words]) -> bool:
    return any(found[start : start + length] in terms for start in range(len(found)) for length in (1, 2, 3))


def _ends_in(found: Words, terms: frozenset[Words]) -> bool:
    return any(found[-length:] in terms for length in (1, 2, 3))


def _expression(terms: Iterable[Words]) -> str:
    return "|".join(
        sorted(
            f"{_BETWEEN}*".join(re.escape(plain(word.encode()).decode()) for word in term) for term in terms
        )
    )

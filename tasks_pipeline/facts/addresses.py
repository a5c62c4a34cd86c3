"""Mail addresses in texts, however they are written: what is kept for years holds none. Who makes a fact so belongs to `actors`."""

from __future__ import annotations

import html
import re
import unicodedata
from urllib.parse import unquote

INSTEAD = "(address)"

_ATOM = r"[^\s@<>\"(),;:\[\]\\]"
_QUOTED = r'"(?:[^"\\\n]|\\.){1,128}"'
_LABEL = r"[^\s@<>\"(),;:\[\]\\.。/?&=|!{}~*$^+#'`“”‘’«»„…]"
# Names of releases have an @ too, and a number behind it: shop@1.1.0, shop@1.0.rc, shop@2.beta.
_VERSION = r"v?\d+\.(?:\d|(?:alpha|beta|rc|pre|dev|snapshot|final)(?![a-z]))"
_DOMAIN = rf"(?!{_VERSION})(?:{_LABEL}++[.。])+(?!\d){_LABEL}{{2,}}+"
# Linear in the length of a text: runs are possessive, begin only where no run goes on, and quotes are bounded.
_ADDRESS = re.compile(
    rf"(?<!{_ATOM})(?:{_ATOM}*+{_QUOTED}|{_ATOM}++)@(?:\[[^\[\]\s]{{1,64}}\]|{_DOMAIN})", re.IGNORECASE
)


def without_addresses(text: str) -> str:
    """A text with INSTEAD where an address was. One in which an address was encoded (%40, &#64;, ＠) comes back decoded.

    An address has a domain with a dot, or an IP address in brackets. A domain that begins as a version does is taken for one.
    """
    found = _ADDRESS.sub(INSTEAD, text)
    plain = _decoded(_decoded(found))
    again = found if plain == found else _ADDRESS.sub(INSTEAD, plain)
    return found if again == plain else again


def _decoded(text: str) -> str:
    return unicodedata.normalize("NFKC", html.unescape(unquote(text)))

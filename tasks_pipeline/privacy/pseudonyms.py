"""Pseudonyms: what stands in the place of an identifier. The same for the same one, of the same form (an address stays an address), made
with a key that is thrown away when the work is done: from then on nobody finds back."""

from __future__ import annotations

import html
import ipaddress
import re
import secrets
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import unquote

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f]{16,64}", re.IGNORECASE)
_UNICODE = re.compile(r"\\+u([0-9a-fA-F]{4})")
_ESCAPED = re.compile(r"\\+(.)")


def new_key() -> str:
    """A key for one run, as text."""
    return secrets.token_hex(32)


class Pseudonyms:
    """Those of one person. What differs as it is spelt, but for escapes, has others: so as many users are distinct as before."""

    def __init__(self, key: str) -> None:
        self._key = bytes.fromhex(key)
        self._person = self._digest("")[:8]
        self.of = lru_cache(4096)(self._of)

    def _of(self, spelt: str) -> str:
        """The pseudonym of an identifier, which may be spelt with escapes of JSON, addresses of pages or HTML."""
        plain = _plain(spelt)
        digest = self._digest(plain)
        if "@" in plain:
            return f"person-{self._person}-{digest[:12]}@pseudonym.invalid"
        if address := _address(plain):
            return _like(address, digest)
        if _UUID.fullmatch(plain):
            return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
        if plain.isdecimal():
            return f"9{int(digest, 16) % 10**17:017}"
        return digest[: len(plain)] if _HEX.fullmatch(plain) else f"person-{self._person}-{digest[:12]}"

    def _digest(self, plain: str) -> str:
        return blake2b(plain.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).hexdigest()


def _plain(spelt: str) -> str:
    text = _UNICODE.sub(lambda found: chr(int(found[1], 16)), spelt)
    text = unquote(unquote(text)) if "%" in text else text
    return html.unescape(_ESCAPED.sub(r"\1", text))


def _address(plain: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(plain)
    except ValueError:
        return None


def _like(address: ipaddress.IPv4Address | ipaddress.IPv6Address, digest: str) -> str:
    """An address of blocks that nobody has: 240.0.0.0/4 is reserved (RFC 1112), 100::/64 is thrown away (RFC 6666)."""
    if address.version == 4:
        return str(ipaddress.IPv4Address(0xF0000000 | int(digest[:7], 16) & ~1))
    return str(ipaddress.IPv6Address((0x0100 << 112) | int(digest[:16], 16)))

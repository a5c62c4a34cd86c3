"""Where something listens: a host and a TCP port, as text and as the URL that reaches it from this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

LOOPBACK = "127.0.0.1"
_IPV6_NETWORK = 64


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL a client on this machine uses."""
        host = LOOPBACK if self.host in ("", "0.0.0.0", "::") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that `HOST:PORT` names, an IPv6 host in brackets. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"found {text!r}, allowed is HOST:PORT, such as 127.0.0.1:9101")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def is_within(address: str | None, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an address lies in one of the networks; that of IPv4 which IPv6 wraps counts as itself."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return False
    found = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(found in network for network in networks if network.version == found.version)


def is_loopback(host: str) -> bool:
    """Whether a name or address is that of this machine alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def network_of(address: str) -> str:
    """An address as it counts: of IPv6 its network of 64 bits, since whoever has one has all of it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    if mapped := parsed.ipv4_mapped:
        return str(mapped)
    return str(ip_network((parsed, _IPV6_NETWORK), strict=False))

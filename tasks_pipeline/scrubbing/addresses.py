"""IP addresses in texts: where they stand, and the networks they are cut down to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# A candidate stands alone, or behind the slashes of a URL; `Chrome/131.0.0.0` and `v1.2.3.4` are versions.
HINT = r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|[0-9a-f]{0,4}:[0-9a-f]{0,4}:[0-9a-f:]"
_CANDIDATE = re.compile(
    r"(?:(?<=//)|(?<![\w./:-]))"
    r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[0-9])|\[?(?=[0-9A-Fa-f]*+:)(?P<v6>[0-9A-Fa-f:]{2,39}(?:(?<=:)[0-9.]{7,15})?)(?![\w:]|\.[0-9]))",
    re.ASCII,
)


def find_addresses(text: str) -> Iterator[tuple[int, int, IPv4Address | IPv6Address]]:
    """(start, end, address) of the IP addresses in a text; times (`12:30:45`) and the like are none."""
    for match in _CANDIDATE.finditer(text):
        group = "v6" if match["v6"] else 0
        try:
            yield *match.span(group), ip_address(match[group])
        except ValueError:
            continue


def truncated(address: IPv4Address | IPv6Address) -> str:
    """The first address of the network: the last byte of IPv4 is 0, of IPv6 all but the first 48 bits."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if mapped is not None:
        return f"::ffff:{truncated(mapped)}"
    prefix = 24 if isinstance(address, IPv4Address) else 48
    return str(ip_network((address, prefix), strict=False).network_address)

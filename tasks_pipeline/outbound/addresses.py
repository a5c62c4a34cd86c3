"""Which addresses may be asked: public ones, and those of networks that are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from tasks_pipeline.outbound.errors import Refused

Network = IPv4Network | IPv6Network

EVERYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""For addresses that only who runs the installation can set: the chat server within the house is one of them."""

_SHARED = ip_network("100.64.0.0/10")  # carrier grade NAT (RFC 6598): neither private nor global
_NAT64 = ip_network("64:ff9b::/96")
_NAT64_LOCAL = ip_network("64:ff9b:1::/48")
_SIX_TO_FOUR = ip_network("2002::/16")


def judge(address: str, allowed: Sequence[Network] = ()) -> IPv4Address | IPv6Address:
    """The address when it may be asked. Raises Refused for one that is not public and not in `allowed`.

    What an IPv6 address wraps (IPv4-mapped, NAT64, 6to4) is judged as well.
    """
    found = ip_address(address.partition("%")[0])
    for each in (found, *_wrapped(found)):
        if any(each in network for network in allowed if network.version == each.version):
            continue
        if "%" in address or not each.is_global or each.is_multicast or each.is_reserved or _is_shared(each):
            raise Refused(f"{address} is not a public address")
    return found


def _is_shared(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv4Address) and address in _SHARED


def _wrapped(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if not isinstance(address, IPv6Address):
        return []
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64 or address in _NAT64_LOCAL:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    if address in _SIX_TO_FOUR:
        return [IPv4Address((int(address) >> 80) & 0xFFFFFFFF)]
    return []

"""Requests to addresses that others chose: only to public networks, unless allowed, with bounded time and size.

A name is resolved once for each connection, every address it has is judged, and the connection goes to the judged address
itself. A name that changes its address in between (DNS rebinding) therefore changes nothing.
"""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

MAX_BODY = 1024 * 1024
_SHARED = ip_network("100.64.0.0/10")  # carrier grade NAT (RFC 6598): neither private nor global
_NAT64 = ip_network("64:ff9b::/96")
_NAT64_LOCAL = ip_network("64:ff9b:1::/48")
_SIX_TO_FOUR = ip_network("2002::/16")
_SOCKET_OPTIONS = Iterable[tuple[int, int, int]]
Network = IPv4Network | IPv6Network


class Refused(Exception):
    """An address is not to be asked; the message says which and why."""


class RequestFailed(Exception):
    """No usable answer; the message says at which step."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` holds at most MAX_BODY bytes; `certificate_expires` is None without TLS."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    url: str
    certificate_expires: dt.datetime | None = None


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


class _JudgedBackend(httpcore.NetworkBackend):
    """Opens TCP connections to judged addresses only."""

    def __init__(self, allowed: Sequence[Network], deadline: float) -> None:
        self._allowed, self._deadline = allowed, deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Resolve, judge every address, connect to the first that answers."""
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise RequestFailed(f"DNS: {host}: {error}") from error
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        judged = [judge(address, self._allowed) for address in addresses]
        last: Exception = RequestFailed(f"DNS: {host} has no address")
        for address in judged[:4]:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise RequestFailed(f"connect: {host}:{port}: no time left")
            try:
                return self._inner.connect_tcp(str(address), port, timeout=left)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise RequestFailed(f"connect: {host}:{port}: {last or type(last).__name__}") from last


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to make."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout_seconds: float = 10
    follow_redirects: int = 0


def ask(asked: Asked, allowed: Sequence[Network] = (), context: ssl.SSLContext | None = None) -> Answer:
    """Make a request, and follow its redirects, each judged anew. Raises Refused and RequestFailed.

    All of it takes at most `timeout_seconds`. Request headers that authorise are not sent to another host.
    """
    started = time.monotonic()
    deadline = started + asked.timeout_seconds
    url, method, headers, body = asked.url, asked.method, dict(asked.headers), asked.body
    for hop in range(asked.follow_redirects + 1):
        answer = _once(
            url, method, headers, body, allowed, context or ssl.create_default_context(), deadline, started
        )
        location = answer.headers.get("location")
        if answer.status not in (301, 302, 303, 307, 308) or not location or asked.follow_redirects == 0:
            return answer
        if hop == asked.follow_redirects:
            raise RequestFailed(f"more than {asked.follow_redirects} redirects")
        target = urljoin(url, location)
        if urlsplit(target).netloc != urlsplit(url).netloc:
            headers = {n: v for n, v in headers.items() if n.lower() not in ("authorization", "cookie")}
        if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
            method, body = "GET", b""
        url = target
    raise AssertionError("the last hop returns or raises")


def _once(
    url: str,
    method: str,
    headers: Mapping[str, str],
    body: bytes,
    allowed: Sequence[Network],
    context: ssl.SSLContext,
    deadline: float,
    started: float,
) -> Answer:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RequestFailed(f"not an HTTP address: {url[:200]}")
    left = max(0.001, deadline - time.monotonic())
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), left)
    sent = {"User-Agent": "tasks-pipeline-uptime", "Accept": "*/*", "Accept-Encoding": "identity", **headers}
    try:
        with (
            httpcore.ConnectionPool(ssl_context=context, network_backend=_JudgedBackend(allowed, deadline)) as pool,
            pool.stream(
                method, url, headers=list(sent.items()), content=body or None,
                extensions={"timeout": timeouts},
            ) as response,
        ):  # fmt: skip
            expires = _certificate_expires(response.extensions.get("network_stream"))
            received = b""
            for piece in response.iter_stream():
                received += piece
                if len(received) >= MAX_BODY:
                    break
                if time.monotonic() > deadline:
                    raise RequestFailed("read: the answer took too long")
            names = {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in response.headers}
            return Answer(
                response.status, names, received[:MAX_BODY], time.monotonic() - started, url, expires
            )
    except ssl.SSLError as error:
        raise RequestFailed(f"TLS: {getattr(error, 'verify_message', '') or error}") from error
    except httpcore.ConnectError as error:
        raise RequestFailed(f"TLS or connect: {error}") from error
    except httpcore.TimeoutException as error:
        raise RequestFailed(f"timeout: {type(error).__name__}") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise RequestFailed(f"{type(error).__name__}: {error}") from error
    except (httpcore.UnsupportedProtocol, UnicodeError, ValueError) as error:
        raise RequestFailed(f"not a usable request: {error}") from error


def _certificate_expires(stream: Any) -> dt.datetime | None:
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = tls.getpeercert() if tls is not None else None
    if not certificate or "notAfter" not in certificate:
        return None
    return dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), dt.UTC)

"""Who is at the other end of a request: the client's address behind our own processes and proxies that are believed, and what it came by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from tasks_pipeline.asgi import Scope
from tasks_pipeline.config import Config
from tasks_pipeline.config.web import Web
from tasks_pipeline.service.address import is_loopback, is_within

SAID_BY_PROXIES = frozenset((b"forwarded", b"via", b"x-forwarded-host", b"x-real-ip"))
"""Headers of proxies of which nothing is taken, but that somebody else is asked for."""


@dataclass(frozen=True, slots=True)
class Client:
    """The far end. `is_local`: a person or program on this machine, with nobody between but our receiver."""

    address: str
    is_local: bool
    peer_is_trusted: bool
    """Whether who connected is one of `web.trusted_proxies`."""
    port: int | None
    """That a client on this machine connected to, as the receiver says."""


def client_of(scope: Scope, web: Web) -> Client:
    """Who asks. X-Forwarded-For is followed from the right for as long as who says it is on this machine or a proxy that is believed."""
    peer: str = scope["client"][0] if scope.get("client") else "unknown"
    chain = [part.strip() for value in headers_of(scope, b"x-forwarded-for") for part in value.split(",")]
    address = peer
    while chain and (is_loopback(address) or is_within(address, web.proxies)):
        address = chain.pop()
    proxied = bool(chain) or any(key in SAID_BY_PROXIES for key, _ in scope["headers"])
    ports = headers_of(scope, b"x-forwarded-port") if is_loopback(peer) else []
    port = int(ports[0]) if len(ports) == 1 and re.fullmatch("[0-9]{1,5}", ports[0]) else None
    return Client(address, is_loopback(address) and not proxied, is_within(peer, web.proxies), port)


def is_secure(scope: Scope, config: Config) -> bool:
    """Whether the browser came by https: then cookies are for https alone. Of a proxy's name the configuration says it."""
    if scope.get("scheme") == "https":
        return True
    public = (config.web.public_url, config.receiver.public_url)
    names = {urlsplit(url).hostname for url in public if url and url.startswith("https://")}
    return host_of(header(scope, b"host"))[0] in names


def host_of(host: str) -> tuple[str, int | None]:
    """Name and port of a Host header; an empty name for what is none."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "", parts.port) if parts.netloc == host and "@" not in host else ("", None)
    except ValueError:
        return "", None


def header(scope: Scope, name: bytes) -> str:
    """A header, the last one; empty when there is none."""
    return (headers_of(scope, name) or [""])[-1]


def headers_of(scope: Scope, name: bytes) -> list[str]:
    """All headers of a name (small letters)."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def cookie(scope: Scope, name: str) -> str:
    """A cookie; empty when there is none."""
    try:
        found = SimpleCookie("; ".join(headers_of(scope, b"cookie"))).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""

"""The guard: requests that no page of ours and no client makes are refused before anything else looks at them.

A service on the loopback address is reached by every web page its person visits. What such a page cannot do is name our address in
`Host` while its own name leads here (DNS rebinding), or say that it is of the same origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tasks_pipeline.asgi import Scope
from tasks_pipeline.config import Config
from tasks_pipeline.service.address import is_loopback
from tasks_pipeline.web.clients import Client, header, host_of

SAFE = ("GET", "HEAD", "OPTIONS")
_HTTP = 80


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served."""

    status: int
    detail: str


def refusal(scope: Scope, client: Client, config: Config, *, exposed: bool) -> Refusal | None:
    """Why a request is refused; None when it may be looked at. `exposed`: it listens on other addresses than loopback, under names
    that nobody told; whoever asks there has to log in, and a foreign name has no login."""
    host = header(scope, b"host")
    if not (exposed or _is_ours(scope, client, host) or is_public(host, config)):
        name = f"{host[:100]!r} is no name of this service"
        return Refusal(421, f"{name}; web.public_url of its configuration says which it has")
    if scope["method"] in SAFE or _has_token(scope):
        return None
    if not is_same_origin(header(scope, b"sec-fetch-site"), header(scope, b"origin"), host):
        return Refusal(403, "another site may not send this")
    return None


def is_same_origin(site: str, origin: str, host: str) -> bool:
    """Whether a browser says that a request comes from our own pages, or from none; or it is no browser, which says neither."""
    if site:
        return site in ("same-origin", "none")
    return not origin or urlsplit(origin).netloc.lower() == host.lower()


def _has_token(scope: Scope) -> bool:
    """Whether it carries a token, which no page of another origin has. What a browser adds by itself, whoever makes it ask, is none: Basic
    and others for a proxy before us."""
    return header(scope, b"authorization").partition(" ")[0].lower() == "bearer"


def is_public(host: str, config: Config) -> bool:
    """Whether a Host header has the name of one of the addresses in the configuration."""
    name, _ = host_of(host)
    urls = (config.web.public_url, config.receiver.public_url)
    return name != "" and name in {urlsplit(url).hostname for url in urls if url}


def is_of_this_machine(host: str) -> bool:
    """Whether a Host header has a loopback name, at any port."""
    return is_loopback(host_of(host)[0])


def _is_ours(scope: Scope, client: Client, host: str) -> bool:
    """A loopback name with the port of this process, or of the receiver before it."""
    _, port = host_of(host)
    ports = {scope["server"][1] if scope.get("server") else None, client.port}
    return is_of_this_machine(host) and (port or _HTTP) in ports

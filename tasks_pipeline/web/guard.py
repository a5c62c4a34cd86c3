"""The guard: requests that no page of ours and no client makes are refused before anything else looks at them.

A service on the loopback address is reached by every web page its person visits. What such a page cannot do is name our address in
`Host` while its own name leads here (DNS rebinding), or say that it is of the same origin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from tasks_pipeline.asgi import Scope
from tasks_pipeline.config import Config
from tasks_pipeline.service.address import is_loopback

SAID_BY_PROXIES = frozenset(
    (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")
)
SAFE = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served."""

    status: int
    detail: str


def refusal(scope: Scope, config: Config, *, exposed: bool) -> Refusal | None:
    """Why a request is refused; None when it may be looked at. `exposed`: it listens on other addresses than loopback, under names
    that nobody told; whoever asks there has to log in, and a foreign name has no login."""
    headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
    host = _name_of(headers.get(b"host", ""))
    if not (exposed or is_loopback(host) or host in _public_names(config)):
        return Refusal(421, f"{host[:100]!r} is no name of this service; web.public_url says which it has")
    if scope["method"] in SAFE or b"authorization" in headers:  # no page of another origin has a token
        return None
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        same = site in ("same-origin", "none")
    else:
        origin = headers.get(b"origin")
        same = origin is None or urlsplit(origin).netloc.lower() == headers.get(b"host", "").lower()
    return None if same else Refusal(403, "another site may not send this")


def _public_names(config: Config) -> Iterable[str]:
    urls = (config.web.public_url, config.receiver.public_url)
    return {urlsplit(url).hostname or "" for url in urls if url}


def _name_of(host: str) -> str:
    """The name of a Host header, without its port, in small letters; empty for what is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""

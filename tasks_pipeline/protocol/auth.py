"""DSNs, and the forms in which a request names its client key. Which keys exist is the receiver's business."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

MAX_AUTH_HEADER = 2048
"""Characters of an auth header that are read."""
MAX_CLIENT = 200
"""Characters of a client's name that are kept."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROJECT = re.compile(r"[0-9]{1,18}")
_PAIR = re.compile(r"\s*(sentry_[a-z]+)\s*=\s*([^,\s]*)\s*")


class AuthError(ValueError):
    """The request names no usable key; `reason` is for its sender."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Dsn:
    """The parts of a DSN that matter here. `base_url` is scheme, host, port and path prefix, without a last slash."""

    public_key: str
    project_id: int
    base_url: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about itself. `project_id` is known only from a DSN, `client` only from some forms."""

    public_key: str
    project_id: int | None = None
    client: str | None = None


def parse_dsn(text: object) -> Dsn:
    """The parts of `{scheme}://{public_key}[:{secret}]@{host}[:port][/prefix]/{project_id}`. Raises AuthError."""
    if not isinstance(text, str) or len(text) > 2048:
        raise AuthError("dsn is not valid")
    try:
        url = urlsplit(text.strip())
        host = _host(url)
    except ValueError as error:
        raise AuthError("dsn is not valid") from error
    prefix, _, project = url.path.rstrip("/").rpartition("/")
    if url.scheme not in ("http", "https") or not host or not url.username:
        raise AuthError("dsn is not valid")
    return Dsn(_key(url.username), parse_project_id(project), f"{url.scheme}://{host}{prefix}")


def parse_project_id(text: str) -> int:
    """The project number in a DSN or path. Raises AuthError."""
    if not _PROJECT.fullmatch(text):
        raise AuthError("project is not a number")
    return int(text)


@lru_cache(maxsize=512)  # a client sends the same one with every request
def parse_auth_header(value: str) -> Mapping[str, str] | None:
    """The pairs of `Sentry sentry_key=…, sentry_version=7, …` in any order; None when the scheme is another."""
    scheme, _, rest = value[:MAX_AUTH_HEADER].strip().partition(" ")
    if scheme.lower() != "sentry":
        return None
    pairs = (_PAIR.fullmatch(part) for part in rest.split(","))
    return {pair.group(1): pair.group(2) for pair in pairs if pair}


def request_credentials(
    *,
    x_sentry_auth: str | None = None,
    authorization: str | None = None,
    query: Mapping[str, str] | None = None,
    path_key: str | None = None,
) -> Credentials | None:
    """What the request line and headers say; None when they hold no form of authentication.

    An `Authorization` header of another scheme (a proxy's, say) is none. Raises AuthError when a form is broken or
    two of them name different keys.
    """
    claims: list[Mapping[str, str]] = []
    if x_sentry_auth is not None and (pairs := parse_auth_header(x_sentry_auth)) is not None:
        claims.append(pairs)
    if authorization is not None and (pairs := parse_auth_header(authorization)) is not None:
        claims.append(pairs)
    if query and "sentry_key" in query:
        claims.append(query)
    if path_key is not None:
        claims.append({"sentry_key": path_key})
    if not claims:
        return None
    key = _key(claims[0].get("sentry_key", ""))
    for claim in claims[1:]:
        _agree(key, claim.get("sentry_key", ""))
    client = next((claim["sentry_client"] for claim in claims if claim.get("sentry_client")), None)
    return Credentials(key, None, client[:MAX_CLIENT] if client else None)


def with_dsn(credentials: Credentials | None, dsn: object) -> Credentials:
    """The same, completed by the `dsn` of the envelope headers (None when there is none).

    Raises AuthError when there is neither, or when they disagree.
    """
    if dsn is None:
        if credentials is None:
            raise AuthError("no authentication: neither a sentry_key nor a dsn was sent")
        return credentials
    parsed = parse_dsn(dsn)
    if credentials is None:
        return Credentials(parsed.public_key, parsed.project_id)
    _agree(credentials.public_key, parsed.public_key)
    return Credentials(credentials.public_key, parsed.project_id, credentials.client)


def _host(url: SplitResult) -> str:
    if not url.hostname:
        return ""
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return host if url.port is None else f"{host}:{url.port}"


def _key(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise AuthError("sentry_key is missing or not valid")
    return text


def _agree(key: str, other: str) -> None:
    if key != other:
        raise AuthError("several forms of authentication name different keys")

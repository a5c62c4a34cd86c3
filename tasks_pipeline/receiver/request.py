"""One HTTP request: its parts, and its body read within limits of size and memory. Answers belong elsewhere."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tasks_pipeline.asgi import Receive, Scope
from tasks_pipeline.receiver.accounts import Account
from tasks_pipeline.receiver.answers import Refused

MAX_HEADERS = 256
FORWARDING_HEADERS = (
    b"forwarded",
    b"via",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-real-ip",
)
"""What proxies add to the requests of others; one of them is enough."""
MAX_QUERY_FIELDS = 200
SMALL_BODY = 1024 * 1024
"""Bodies up to this size may use all of the memory for bodies."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that protect the process and are no matter of taste, hence not in the configuration file."""

    linger_seconds: float = 2
    """How long a client that was refused may go on sending before its connection is closed."""
    body_memory: int = 256 * 1024 * 1024
    """Bytes of all bodies held at once."""


class ClientGone(Exception):
    """The client hung up before its body was complete; nobody is left to answer."""


class BodyMemory:
    """Counts the bytes of all bodies held, so that many requests together stay within a bound.

    A quarter is kept for small bodies: a few clients that send large ones slowly must not shut out all others.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int, held: int) -> None:
        """Take `size` bytes more for a body of which `held` are there. Raises Refused (503) when there are none."""
        limit = self.limit if held + size <= SMALL_BODY else self.limit * 3 // 4
        if self.used + size > limit:
            raise Refused(503, "overloaded", "too many requests are in work")
        self.used += size

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        self.used -= size


class Request:
    """An HTTP request. `release` must be called at its end; it gives the body's memory back.

    `complete` says whether its body has come whole; `account` whose it is, once that is known.
    """

    def __init__(self, scope: Scope, receive: Receive, limits: Limits, memory: BodyMemory) -> None:
        self._scope = scope
        self._receive = receive
        self._limits = limits
        self._memory = memory
        self._held = 0
        self._query: dict[str, str] | None = None if scope["query_string"] else {}
        self.account: Account | None = None
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.complete = (
            self._headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in self._headers
        )

    def header(self, name: bytes) -> str | None:
        """A header by its lower-case name; None when it was not sent."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def header_count(self) -> int:
        """How many header lines were sent."""
        return len(self._scope["headers"])

    @property
    def query(self) -> dict[str, str]:
        """The query's fields; of several with a name the last. Broken percent-encoding stays as it is."""
        if self._query is None:
            text = self._scope["query_string"].decode("latin-1")
            try:
                self._query = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS))
            except ValueError as error:
                raise Refused(400, "invalid_query", "the query has too many fields") from error
        return self._query

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case; empty when none was sent."""
        return (self.header(b"content-type") or "").partition(";")[0].strip().lower()

    @property
    def encoding(self) -> str:
        """The content encoding in lower case; empty for identity."""
        encoding = (self.header(b"content-encoding") or "").strip().lower()
        return "" if encoding == "identity" else encoding

    def remote_addr(self, trust_forwarded_for: bool) -> str | None:
        """The client's address: the peer's, or the last of X-Forwarded-For, which is the one that our proxy saw."""
        if trust_forwarded_for and (forwarded := self.header(b"x-forwarded-for")):
            try:
                return str(ipaddress.ip_address(forwarded.rpartition(",")[2].strip()))
            except ValueError:
                pass  # a proxy that does not know writes "unknown"; the peer is then the best there is
        client = self._scope.get("client")
        return client[0] if client else None

    def is_proxied(self) -> bool:
        """Whether a proxy says that it asks for somebody else."""
        return any(self.header(name) is not None for name in FORWARDING_HEADERS)

    def is_local(self) -> bool:
        """Whether this machine itself asks: a proxy on it, which asks for others, says so in a header."""
        client = self._scope.get("client")
        if not client or self.is_proxied():
            return False
        try:
            address = ipaddress.ip_address(client[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    async def body(self, limit: int) -> bytes:
        """The body as sent. Reading stops at `limit` bytes. Raises Refused (413, 503) and ClientGone."""
        length = self.header(b"content-length")
        if length is not None and length.isdecimal() and int(length[:19]) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        while not self.complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if chunk := message.get("body", b""):
                self._memory.take(len(chunk), self._held)
                self._held += len(chunk)
                chunks.append(chunk)
            self.complete = not message.get("more_body", False)
            if self._held > limit:
                raise _too_large(limit)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def linger(self) -> None:
        """Throw away what a refused client still sends, for a while, so that it can read its answer."""
        try:
            async with asyncio.timeout(self._limits.linger_seconds):
                more = True
                while more:
                    message = await self._receive()
                    more = message["type"] != "http.disconnect" and message.get("more_body", False)
        except TimeoutError:
            return

    def release(self) -> None:
        """Give the memory of the body back."""
        self._memory.give_back(self._held)
        self._held = 0


def _too_large(limit: int) -> Refused:
    return Refused(413, "too_large", f"the body is larger than {limit} bytes")

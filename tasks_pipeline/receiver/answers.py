"""What the receiver answers: status, headers and body, with CORS on each. When to answer what belongs elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"x-sentry-error, x-sentry-rate-limits, retry-after"),
)
PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, OPTIONS",
    "access-control-allow-headers": (
        "x-sentry-auth, x-requested-with, x-forwarded-for, origin, referer, accept, content-type, authentication, "
        "authorization, content-encoding, transfer-encoding"
    ),
    "access-control-max-age": "3600",
}
GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b")
"""One transparent pixel."""

_NO_HEADERS: Mapping[str, str] = {}
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer. Header names are lower case, values are ASCII."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as ASGI wants them, CORS included."""
        return [
            (b"content-type", self.content_type.encode("ascii")),
            (b"content-length", b"%d" % len(self.body)),
            *CORS,
            *((name.encode("ascii"), value.encode("ascii")) for name, value in self.headers.items()),
        ]


class Refused(Exception):
    """The request is not accepted.

    `reason` is one of few words, for metrics and outcomes; `detail` is for the sender; `lost` are the items that are
    known to be lost, by category.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        headers: Mapping[str, str] = _NO_HEADERS,
        lost: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers
        self.lost = lost

    def answer(self) -> Answer:
        """`{"detail": …}` and the same in X-Sentry-Error."""
        printable = "".join(c if " " <= c <= "~" else "?" for c in self.detail)
        return json_answer(
            self.status, {"detail": self.detail}, {"x-sentry-error": printable, **self.headers}
        )


def json_answer(status: int, value: object, headers: Mapping[str, str] = _NO_HEADERS) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, _encode(value), headers=headers)

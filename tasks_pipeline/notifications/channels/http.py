"""Channels that are one HTTP request: the request is made by `shapes`, its answer is read here."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from tasks_pipeline.config.channels import Channel
from tasks_pipeline.notifications.channels.base import Receipt
from tasks_pipeline.notifications.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from tasks_pipeline.notifications.message import Message, clean

ANSWER_BYTES = 64 * 1024
DETAIL_LENGTH = 300
LONGEST_RETRY_SECONDS = 6 * 3600
TEMPORARY = frozenset({408, 409, 421, 423, 425, 429})


@dataclass(frozen=True, slots=True)
class Request:
    """A request to make. `secrets` are texts that must not appear in what is logged."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    secrets: tuple[str, ...] = ()


Shape = Callable[[Message, str, str], Request]
"""(message, address, idempotency key) to the request."""


class HttpSender:
    """A channel of one request per message."""

    def __init__(self, channel: Channel, shape: Shape) -> None:
        self._shape = shape
        # Of the environment no proxy is taken, and redirects are not followed: a message goes where it was said to.
        self._client = httpx.Client(
            timeout=channel.timeout_seconds,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=1),
        )

    def send(self, message: Message, *, address: str, idempotency_key: str) -> Receipt:
        """Make the request and judge its answer. Raises as `Sender.send` says."""
        request = self._shape(message, address, idempotency_key)
        headers = {"User-Agent": "tasks-pipeline", "Content-Type": "application/json", **request.headers}
        try:
            with self._client.stream(
                request.method, request.url, content=request.body, headers=headers
            ) as response:
                said = self._read(response, request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise TemporaryFailure(_without(f"cannot connect: {error}", request)) from error
        except (
            httpx.ReadError,
            httpx.ReadTimeout,
            httpx.RemoteProtocolError,
            httpx.WriteError,
            httpx.WriteTimeout,
        ) as error:
            # The request was on its way: who knows what the far side did with it.
            detail = f"no answer: {type(error).__name__} {error}".strip()
            raise UnknownOutcome(_without(detail, request)) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise PermanentFailure(_without(f"not a usable URL: {error}", request)) from error
        except httpx.HTTPError as error:
            raise TemporaryFailure(_without(f"{type(error).__name__}: {error}", request)) from error
        return self._judged(response, said)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _read(self, response: httpx.Response, request: Request) -> str:
        body = b""
        for piece in response.iter_bytes():
            body += piece
            if len(body) >= ANSWER_BYTES:
                break
        return _without(clean(body[:ANSWER_BYTES].decode("utf-8", "replace"), DETAIL_LENGTH), request)

    def _judged(self, response: httpx.Response, said: str) -> Receipt:
        status = response.status_code
        detail = f"HTTP {status} {said}".strip()
        if 200 <= status < 300:
            return Receipt(detail)
        if status in TEMPORARY or status >= 500:
            raise TemporaryFailure(
                detail, retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
            )
        if 300 <= status < 400:
            raise PermanentFailure(f"{detail}: redirects are not followed; configure the address it leads to")
        raise PermanentFailure(detail)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3); bounded, None for neither."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit() and len(text) < 20:
        seconds = float(text)
    else:
        try:
            date = email.utils.parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_SECONDS)


def _without(text: str, request: Request) -> str:
    for secret in request.secrets:
        if secret:
            text = text.replace(secret, "***")
    return clean(text, DETAIL_LENGTH)

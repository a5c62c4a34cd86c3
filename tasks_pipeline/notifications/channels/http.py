"""Channels that are one HTTP request: the request is made by `shapes`, its answer is read here."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tasks_pipeline import outbound
from tasks_pipeline.config.channels import Channel
from tasks_pipeline.notifications.channels.base import Receipt
from tasks_pipeline.notifications.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from tasks_pipeline.notifications.message import Message
from tasks_pipeline.texts import clean

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
        self._shape, self._seconds = shape, channel.timeout_seconds
        # Redirects are not followed: a message goes where it was said to.
        self._client = outbound.Client(outbound.EVERYWHERE, keep=True)

    def send(self, message: Message, *, address: str, idempotency_key: str) -> Receipt:
        """Make the request and judge its answer, all of it within the channel's `timeout_seconds`. Raises as `Sender.send` says."""
        request = self._shape(message, address, idempotency_key)
        asked = outbound.Request(
            request.url,
            request.method,
            {"Content-Type": "application/json", **request.headers},
            request.body,
            self._seconds,
            max_body=ANSWER_BYTES,
        )
        try:
            answer = self._client.ask(asked)
        except outbound.NotUsable as error:
            raise PermanentFailure(_without(str(error), request)) from error
        except (outbound.Unreachable, outbound.Refused) as error:
            raise TemporaryFailure(_without(f"cannot connect: {error}", request)) from error
        except outbound.OutboundError as error:
            # The request was on its way: who knows what the far side did with it.
            raise UnknownOutcome(_without(f"no answer: {error}", request)) from error
        said = _without(clean(answer.body.decode("utf-8", "replace"), DETAIL_LENGTH), request)
        return self._judged(answer, said)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _judged(self, answer: outbound.Answer, said: str) -> Receipt:
        status = answer.status
        detail = f"HTTP {status} {said}".strip()
        if 200 <= status < 300:
            return Receipt(detail)
        if status in TEMPORARY or status >= 500:
            raise TemporaryFailure(detail, retry_after(answer.headers.get("retry-after"), datetime.now(UTC)))
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

"""The channel of Apprise: any of the services it knows. What it logs about a failure becomes the failure's detail."""

from __future__ import annotations

import logging
import threading

from tasks_pipeline.config.channels import AppriseChannel
from tasks_pipeline.notifications.channels.base import Receipt
from tasks_pipeline.notifications.errors import PermanentFailure, TemporaryFailure
from tasks_pipeline.notifications.message import Message, clean

TEXT_LENGTH = 8000
_LOGGER = logging.getLogger("apprise")
_ONE_AT_A_TIME = threading.Lock()  # its log belongs to one message at a time


class AppriseSender:
    """Hands messages to Apprise, which says no more than whether it worked."""

    def __init__(self, channel: AppriseChannel) -> None:
        self._url = channel.url.get_secret_value()
        self._timeout = channel.timeout_seconds

    def send(self, message: Message, *, address: str, idempotency_key: str) -> Receipt:
        """Send. Raises PermanentFailure for a URL that Apprise cannot use, else TemporaryFailure with its words."""
        import apprise

        target = apprise.Apprise()
        limits = f"{'&' if '?' in self._url else '?'}rto={self._timeout:g}&cto={self._timeout:g}"
        if not target.add(self._url + limits):
            raise PermanentFailure("Apprise does not know how to use the URL of this channel")
        kind = (
            apprise.NotifyType.SUCCESS
            if message.status == "recovered"
            else {
                "critical": apprise.NotifyType.FAILURE,
                "warning": apprise.NotifyType.WARNING,
            }.get(message.severity, apprise.NotifyType.INFO)
        )
        with _ONE_AT_A_TIME, _Heard() as heard:
            sent = target.notify(
                body=message.text()[:TEXT_LENGTH],
                title=message.subject,
                notify_type=kind,
                body_format=apprise.NotifyFormat.TEXT,
            )
        if not sent:
            words = "; ".join(heard.lines[-3:]) or "it did not say why"
            raise TemporaryFailure(clean(f"Apprise: {self._without_secrets(words)}", 300))
        return Receipt("Apprise handed it over")

    def close(self) -> None:
        """Nothing is kept open."""

    def _without_secrets(self, text: str) -> str:
        for piece in (
            self._url.replace("://", "/").replace("?", "/").replace("@", "/").replace(":", "/").split("/")[1:]
        ):
            if len(piece) >= 6:
                text = text.replace(piece, "***")
        return text


class _Heard(logging.Handler):
    """What Apprise logs within a `with` block."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> _Heard:
        _LOGGER.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _LOGGER.removeHandler(self)

"""NotificationTask: one way in for everything that sends: `run("send_alert", …)` and `run("send_digest", …)`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tasks_pipeline.notifications.digests import DigestReport, send_digest
from tasks_pipeline.notifications.sending import SendReport, send_alert_notification
from tasks_pipeline.stores import Stores


class NotificationTask:
    """Sends from the outbox, and puts digests into it."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores

    def run(self, notification_type: str, **kwargs: Any) -> Any:
        """Run what a type of notification needs; gives its report. Raises ValueError for an unknown type."""
        types: dict[str, Callable[..., Any]] = {
            "send_alert": self.send_alert,
            "send_digest": self.send_digest,
        }
        if notification_type not in types:
            raise ValueError(f"unknown notification type {notification_type!r}; allowed: {', '.join(types)}")
        return types[notification_type](**kwargs)

    def send_alert(self, **kwargs: Any) -> SendReport:
        """Send what is due, or with `alert_id` the messages of one alert; arguments as of `send_alert_notification`."""
        return send_alert_notification(self.stores, **kwargs)

    def send_digest(
        self, now: datetime | None = None, member: str | None = None, project_id: int | None = None
    ) -> DigestReport:
        """Put the digests that are due into the outbox; with `member` that member's, due or not."""
        return send_digest(self.stores, now or datetime.now(UTC), member=member, project_id=project_id)

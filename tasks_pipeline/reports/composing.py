"""Composer: makes the messages of reports, each once. When one is made, and that it goes out once, is decided in `deliver`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import msgspec

from tasks_pipeline.notifications.outbox import NewNotification
from tasks_pipeline.notifications.report_content import TYPE, keep_letter
from tasks_pipeline.reports.deliveries import outbox_key
from tasks_pipeline.reports.generate import generate_analytics_report
from tasks_pipeline.reports.message import Composed, why_words
from tasks_pipeline.reports.periods import period_of
from tasks_pipeline.reports.recipients import Recipient, held_until
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.store import read_report
from tasks_pipeline.stores import Stores

_REMEMBERED = 4  # composed reports: rows of one follow each other


class Composer:
    """Makes messages of reports; what readers of one report share is made once."""

    def __init__(self, stores: Stores, now: datetime) -> None:
        self._stores, self._now = stores, now
        self._composed: dict[tuple[Any, ...], Composed] = {}

    def message(
        self, recipient: Recipient, key: date, *, suffix: str = "", notes: Sequence[str] = ()
    ) -> NewNotification | None:
        """The message of a report to somebody; None when nothing happened in it. Its mail is stored when this returns."""
        composed = self._of(recipient, key)
        if composed.report.is_empty:
            return None
        stores, config = self._stores, self._stores.config
        content = composed.content(notes)
        channel = config.channel(recipient.channel)
        if channel is not None and channel.type == "mail":
            why = why_words(recipient.kind, composed.report.scope)
            letter = composed.letter(why, to_member=recipient.email is not None, notes=notes)
            # Its figures of projects are in the letter; here they would be 50 KB for each reader of a large organisation.
            about = {**content.report, "projects": []}
            content = replace(content, letter=keep_letter(stores.blobs, letter), report=about)
        return NewNotification(
            key=f"{outbox_key(recipient.kind, key, recipient.target)}{suffix}",
            type=TYPE,
            project_id=0,
            target=recipient.target,
            channel=recipient.channel,
            address=recipient.address,
            thread=f"report:{recipient.kind}:{recipient.stored}",
            not_before=held_until(config, recipient, self._now),
            data=content.data(),
        )

    def report(self, recipient: Recipient, key: date) -> Report:
        """The report that somebody is told of: the stored one, or its part of the organisation's."""
        return self._of(recipient, key).report

    def _of(self, recipient: Recipient, key: date) -> Composed:
        place = recipient.kind, key, recipient.scope, recipient.projects
        if place not in self._composed:
            while len(self._composed) >= _REMEMBERED:
                del self._composed[next(iter(self._composed))]
            report = _report(self._stores, recipient, key, self._now)
            self._composed[place] = Composed(
                report, self._stores.home, self._stores.config, made_at=self._now
            )
        return self._composed[place]


def _report(stores: Stores, recipient: Recipient, key: date, now: datetime) -> Report:
    """Raises ReportMissing."""
    found = read_report(stores, recipient.kind, key, recipient.scope)
    if recipient.projects is None:
        return found
    period = period_of(recipient.kind, key, recipient.zone, stores.config.reports.week_starts)
    part = generate_analytics_report(stores, period, recipient.scope, now, projects=recipient.projects)
    return msgspec.structs.replace(part, revision=found.revision)

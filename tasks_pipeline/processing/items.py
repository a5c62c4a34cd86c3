"""Processors of the items beside error events: transactions, sessions, check-ins, attachments, reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tasks_pipeline.processing.base import BaseEventProcessor, Invalid, JsonProcessor, Staged
from tasks_pipeline.processing.event import ErrorEventProcessor, trace_id
from tasks_pipeline.protocol.checkins import check_in
from tasks_pipeline.protocol.decode import PayloadError, encode_json
from tasks_pipeline.protocol.event import normalise_transaction
from tasks_pipeline.protocol.exact import DecodedEvent, decode_event
from tasks_pipeline.protocol.items import category
from tasks_pipeline.protocol.reports import DiscardedEvents, client_report, feedback, user_report
from tasks_pipeline.protocol.sessions import session_rows, user_hash
from tasks_pipeline.protocol.users import user_key


class TransactionProcessor(JsonProcessor):
    """A transaction, without its spans."""

    def stage_payload(self, payload: Any) -> None:
        """A row of `transactions`."""
        event = normalise_transaction(payload, self.data.context)
        self.filter(event)
        self.tools.scrubber.scrub(event)
        row = {name: event.get(name) for name in ("event_id", "duration_ms", "name", "op", "status", "spans")}
        row |= {name: event.get(name) for name in ("platform", "release", "environment")}
        row |= {
            "timestamp": datetime.fromisoformat(event["timestamp"]),
            "trace_id": event.get("trace_id") or trace_id(event),
            "user_key": user_key(event.get("user") or {}),
            "sdk_name": (event.get("sdk") or {}).get("name"),
            "tags": list((event.get("tags") or {}).items()),
        }
        self.stage("transactions", row, claims_event_id=True)


class SessionProcessor(JsonProcessor):
    """A session update or an aggregate of sessions."""

    without_rows = "empty"
    dropped: Sequence[str] = ()

    def stage_payload(self, payload: Any) -> None:
        """A row of `sessions` for each. Who it was is not stored: a hash of it can be counted, and needs no scrubbing."""
        found = session_rows(payload, self.data.context, aggregate=self.data.item.type == "sessions")
        self.dropped = found.dropped
        for session in found.rows:
            self.filter({"release": session.release, "environment": session.environment})
            self.stage(
                "sessions",
                {
                    "session_id": session.session_id,
                    "user_hash": self._user_hash(session.did),
                    "seq": session.seq,
                    "init": session.init,
                    "started": session.started,
                    "timestamp": session.timestamp,
                    "duration_s": session.duration,
                    "status": session.status,
                    "errors": session.errors,
                    "quantity": session.quantity,
                    "abnormal_mechanism": session.mechanism,
                    "release": session.release,
                    "environment": session.environment,
                },
            )

    def _user_hash(self, did: str | None) -> int | None:
        if did is None:
            return None
        return user_hash(self.tools.user_key(), self.data.context.project_id, did)

    def save(self) -> None:
        """Hand the rows over; buckets that were dropped are counted beside the item, which is stored all the same."""
        if self.dropped:
            self.staging.count(self.data, "invalid_part", "bucket", len(self.dropped))
        super().save()


class CheckInProcessor(JsonProcessor):
    """A check-in of a cron monitor."""

    def stage_payload(self, payload: Any) -> None:
        """A row of `check_ins`."""
        found = check_in(payload, self.data.context)
        config = {"mistake": found.config_error} if found.config_error else found.monitor_config
        self.stage(
            "check_ins",
            {
                "monitor_slug": found.monitor_slug,
                "check_in_id": found.check_in_id,
                "status": found.status,
                "duration_s": found.duration,
                "environment": found.environment,
                "release": found.release,
                "trace_id": found.trace_id,
                "monitor_config": encode_json(config).decode() if config is not None else None,
            },
        )


class UserReportProcessor(JsonProcessor):
    """A user report of the older kind."""

    def stage_payload(self, payload: Any) -> None:
        """A row of `user_reports`."""
        report = user_report(payload, self.data.context)
        self.filter({})
        scrubbed = self.tools.scrubber.text
        self.stage(
            "user_reports",
            {
                "kind": "user_report",
                "event_id": report.event_id,
                "associated_event_id": report.event_id,
                "name": report.name and scrubbed(report.name),
                "email": report.email and scrubbed(report.email),
                "message": scrubbed(report.message),
            },
        )


class FeedbackProcessor(JsonProcessor):
    """User feedback, an event of its own."""

    def stage_payload(self, payload: Any) -> None:
        """A row of `user_reports`."""
        report = feedback(payload, self.data.context)
        self.filter(
            {
                "release": report.release,
                "environment": report.environment,
                "request": {"url": report.url},
            }
        )
        scrubbed = self.tools.scrubber.text
        self.stage(
            "user_reports",
            {
                "kind": "feedback",
                "event_id": report.event_id,
                "associated_event_id": report.associated_event_id,
                "name": report.name and scrubbed(report.name),
                "email": report.email and scrubbed(report.email),
                "message": scrubbed(report.message),
                "url": report.url and scrubbed(report.url),
                "release": report.release,
                "environment": report.environment,
            },
            claims_event_id=True,
        )


class ClientReportProcessor(JsonProcessor):
    """What an SDK dropped by itself: counts, not rows."""

    discarded: Sequence[DiscardedEvents] = ()

    def stage_payload(self, payload: Any) -> None:
        """Read the counts."""
        self.discarded = client_report(payload, self.data.context)

    def save(self) -> None:
        """Count what was dropped."""
        for dropped in self.discarded:
            category, reason = self.staging.notes.named(dropped.category, dropped.reason)
            self.staging.count(self.data, "client_discard", reason, dropped.quantity, category)


class AttachmentProcessor(BaseEventProcessor):
    """A file sent with an event: its bytes become a blob."""

    def process(self) -> None:
        """Stage a row of `attachments`."""
        headers = self.data.item.headers
        event_id = self.data.context.event_id
        if event_id is None:
            raise Invalid("no_event_id", "an attachment needs the event_id of its envelope", "validate")
        self.stage(
            "attachments",
            {
                "event_id": event_id,
                "name": _header(headers, "filename", "unnamed"),
                "content_type": _header(headers, "content_type", None),
                "attachment_type": _header(headers, "attachment_type", "event.attachment"),
                "size": len(self.data.item.payload),
            },
            follows_event=True,
        )

    def save(self) -> None:
        """Store the bytes. Here and not in `process()`, since a full disk is not the item's fault: the batch waits."""
        digest = self.staging.blobs.put(bytes(self.data.item.payload))
        for staged in self.rows:
            staged.row["digest"] = digest
        super().save()


class EventProcessor(BaseEventProcessor):
    """An item of type event: an error by default, but the payload may say otherwise."""

    def process(self) -> None:
        """Hand over to the processor for the payload's own type."""
        try:
            decoded = decode_event(self.data.item.payload, self.data.context)
            self.rows = self._rows(decoded)
        except PayloadError as error:
            raise Invalid("invalid_payload", str(error), "validate") from error

    def _rows(self, decoded: DecodedEvent) -> list[Staged]:
        kind = decoded.payload.get("type") if isinstance(decoded.payload, dict) else None
        chosen = _BY_PAYLOAD_TYPE.get(kind) if isinstance(kind, str) else None
        if chosen is not None:
            # What is stored of it counts as what it is: figures of errors are of rows of events.
            other = chosen(replace(self.data, category=category(str(kind))), self.staging)
            other.stage_payload(decoded.payload)
            return other.rows
        error = ErrorEventProcessor(self.data, self.staging)
        error.stage_event(decoded)
        return error.rows


_BY_PAYLOAD_TYPE: dict[str, type[JsonProcessor]] = {
    "transaction": TransactionProcessor,
    "feedback": FeedbackProcessor,
}

PROCESSORS: dict[str, type[BaseEventProcessor]] = {
    "event": EventProcessor,
    "security": ErrorEventProcessor,
    "transaction": TransactionProcessor,
    "session": SessionProcessor,
    "sessions": SessionProcessor,
    "check_in": CheckInProcessor,
    "user_report": UserReportProcessor,
    "feedback": FeedbackProcessor,
    "client_report": ClientReportProcessor,
    "attachment": AttachmentProcessor,
}


def _header(headers: dict[str, Any], name: str, default: str | None) -> str | None:
    value = headers.get(name)
    return value[:200] if isinstance(value, str) and value else default

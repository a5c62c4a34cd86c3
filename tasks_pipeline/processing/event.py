"""process_event: the steps that turn the bytes of an error event into a stored event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks_pipeline.grouping import Grouping, group_event
from tasks_pipeline.grouping.frames import unmark
from tasks_pipeline.processing.base import Filtered, Invalid, ItemData, JsonProcessor
from tasks_pipeline.processing.stopwatch import Stopwatch
from tasks_pipeline.protocol.bounds import MAX_MISSING_SYMBOLS
from tasks_pipeline.protocol.decode import PayloadError, decode_json, encode_json
from tasks_pipeline.protocol.event import normalise_event
from tasks_pipeline.protocol.exact import DecodedEvent
from tasks_pipeline.protocol.security_report import security_event
from tasks_pipeline.protocol.users import user_key
from tasks_pipeline.symbolication.stacks import stacks
from tasks_pipeline.symbolication.symbolicator import concerns
from tasks_pipeline.tools import ProjectTools


@dataclass(slots=True)
class Work:
    """An event between two steps: the decoded payload, and what the steps found out."""

    data: ItemData
    tools: ProjectTools
    event: dict[str, Any]
    decoded: DecodedEvent
    missing_symbols: tuple[str, ...] = ()
    grouping: Grouping | None = None


def validate(work: Work) -> None:
    """A JSON object; a security report is turned into one that looks like an event."""
    if work.data.item.type == "security":
        work.event = security_event(work.event, work.data.item.headers, work.data.context)
    if not isinstance(work.event, dict):
        raise PayloadError(f"an event is a JSON object, found {type(work.event).__name__}")


def normalise(work: Work) -> None:
    """One canonical, bounded shape, whatever the SDK's age."""
    work.event = normalise_event(work.event, work.data.context, work.decoded.exact)


def filter_event(work: Work) -> None:
    """What the project does not want is kept out, before anything else is done with it."""
    refusal = work.tools.filters.refuses_event(work.event, work.data.context)
    if refusal is not None:
        raise Filtered(refusal.reason, refusal.detail, "filter_event")


def scrub(work: Work) -> None:
    """Secrets and personal data out of the event; whatever is stored of it is made after this."""
    item = work.data.item
    source = item.payload if item.type == "event" else None
    work.tools.scrubber.scrub(work.event, source, work.decoded.variables)


def forget_marks(work: Work) -> None:
    """Frames of a stored event without what grouping noted in them, so that symbolication begins as it first did."""
    for stack in stacks(work.event):
        for frame in stack.frames:
            unmark(frame)


def symbolicate_event(work: Work) -> None:
    """Frames as people wrote them, where debug files, source maps and mappings were uploaded; what was missing."""
    if work.tools.symbolicator is not None:
        missing = work.tools.symbolicator.symbolicate(work.event, work.data.context.project_id)
        work.missing_symbols = missing[:MAX_MISSING_SYMBOLS]


def group(work: Work) -> None:
    """The keys that say which group the event belongs to, its title and culprit."""
    work.grouping = group_event(work.event, work.tools.rules)


# The order of work. Filters see addresses as they were sent; what they keep out need not be scrubbed.
STEPS: tuple[Callable[[Work], None], ...] = (
    validate,
    normalise,
    filter_event,
    scrub,
    symbolicate_event,
    group,
)
# What is done again with a stored event, when symbols came late or rules changed; each starts from what it first saw.
AGAIN: tuple[Callable[[Work], None], ...] = (forget_marks, symbolicate_event, group)
_STAGES: Mapping[Callable[[Work], None], str] = {symbolicate_event: "symbolicate", group: "group"}
"""What the time of a step counts as; that of the others is `decode`."""


def process_event(
    data: ItemData,
    tools: ProjectTools,
    decoded: DecodedEvent,
    steps: tuple[Callable[[Work], None], ...] = STEPS,
    *,
    watch: Stopwatch | None = None,
) -> Work:
    """Run the steps over a decoded event. Raises Invalid naming the step that could not use it, or another Refused."""
    work, watch = Work(data, tools, decoded.payload, decoded), watch or Stopwatch()
    for step in steps:
        watch.at(_STAGES.get(step, "decode"))
        try:
            step(work)
        except PayloadError as error:
            raise Invalid("invalid_payload", str(error), step.__name__) from error
    watch.at("decode")
    return work


class ErrorEventProcessor(JsonProcessor):
    """An error event, a message, or a security report: a row of `events` and one of `event_payloads`."""

    def stage_payload(self, payload: Any) -> None:
        """Run the steps over a decoded payload and stage the event."""
        self.stage_event(DecodedEvent(payload))

    def stage_event(self, decoded: DecodedEvent) -> None:
        """Run the steps and stage the event."""
        staging = self.staging
        tools = staging.tools.of(self.data.context.project_id)
        work = process_event(self.data, tools, decoded, watch=staging.watch)
        payload = encode_json(work.event)
        if (
            concerns(work.event) and b"\\u0000" in payload
        ):  # out of a symbol file: what was sent has none any more
            work.event = decode_json(payload)
            forget_marks(work)
            group(work)
            payload = encode_json(work.event)
        assert work.grouping is not None
        row = event_row(work.event, work.grouping, len(self.data.item.payload), work.missing_symbols)
        self.stage("events", row, claims_event_id=True, payload=payload, grouping=work.grouping)


def event_row(
    event: dict[str, Any], grouping: Grouping, payload_bytes: int, missing_symbols: Sequence[str] = ()
) -> dict[str, Any]:
    """The columns of `events` for a normalised event; its group is known only to the state database."""
    user = event.get("user") or {}
    sdk = event.get("sdk") or {}
    return {
        "event_id": event["event_id"],
        "timestamp": datetime.fromisoformat(event["timestamp"]),
        "type": event.get("type") or "default",
        "level": event.get("level") or "error",
        "platform": event.get("platform") or "other",
        "title": grouping.title,
        "culprit": grouping.culprit,
        "logger": event.get("logger"),
        "transaction": event.get("transaction"),
        "server_name": event.get("server_name"),
        "release": event.get("release"),
        "dist": event.get("dist"),
        "environment": event.get("environment"),
        "user_key": user_key(user),
        "user_id": _text(user.get("id")),
        "user_email": _text(user.get("email")),
        "user_ip": _text(user.get("ip_address")),
        "exception_type": grouping.metadata.get("type"),
        "exception_value": grouping.metadata.get("value"),
        "handled": _handled(event),
        "sdk_name": _text(sdk.get("name")),
        "sdk_version": _text(sdk.get("version")),
        "trace_id": trace_id(event),
        "tags": list((event.get("tags") or {}).items()),
        "fingerprint": event.get("fingerprint"),
        "group_keys": list(grouping.keys),
        "variant": grouping.variant,
        "algorithm": grouping.algorithm,
        "payload_bytes": payload_bytes,
        "missing_symbols": list(missing_symbols) or None,
    }


def trace_id(event: dict[str, Any]) -> str | None:
    """The trace an event belongs to."""
    trace = (event.get("contexts") or {}).get("trace")
    return _text(trace.get("trace_id")) if isinstance(trace, dict) else None


def _handled(event: dict[str, Any]) -> bool | None:
    found: bool | None = None
    for value in (event.get("exception") or {}).get("values") or ():
        mechanism = value.get("mechanism") or {}
        handled = mechanism.get("handled") if isinstance(mechanism, dict) else None
        if handled is False:
            return False
        found = True if handled else found
    return found


def _text(value: object) -> str | None:
    return None if value is None else str(value)

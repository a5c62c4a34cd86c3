"""`grouping`: try the grouping on events from outside, without storing anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import click

from tasks_pipeline.commands.common.command_group import CommandGroup


@click.group(cls=CommandGroup)
def grouping() -> None:
    """Try the grouping on events, without storing anything."""


@grouping.command("eval")
def eval_command() -> None:
    """Group events from stdin, one JSON object a line, and print a line for each in the same order.

    A line is {"event": {…}, "config": {"stack_trace_rules": "…", "fingerprint_rules": "…"}}; `config` may be missing. The
    event goes through validation and normalisation as a received one does. Printed are `hashes` (events that share one
    belong together), `in_app_frames` (container/index/frame), `title`, `variant`, and `message`, the message as it
    counts. For a line that cannot be used it is {"error": "…"}.

    \b
    Example:
      echo '{"event": {"message": "17 late"}}' | tasks-pipeline grouping eval
    Prints:
      {"hashes":["5fe3…"],"message":"<int> late","title":"17 late", …}
    """
    import msgspec

    encode = msgspec.json.Encoder().encode
    for line in sys.stdin.buffer:
        try:
            answer = encode(_evaluated(line))
        except (ValueError, RecursionError) as error:
            answer = encode({"error": f"{type(error).__name__}: {ascii(str(error))[1:-1]}"[:500]})
        sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.buffer.flush()


def _evaluated(line: bytes) -> dict[str, Any]:
    """The answer to one line. Raises ValueError when it cannot be used."""
    from tasks_pipeline.grouping import group_event, grouping_rules
    from tasks_pipeline.protocol.context import ItemContext
    from tasks_pipeline.protocol.decode import decode_json, encode_json
    from tasks_pipeline.protocol.event import normalise_event
    from tasks_pipeline.protocol.exact import decode_event

    request = decode_json(line)
    given = request.get("event") if isinstance(request, dict) else None
    if not isinstance(given, dict):
        raise ValueError("`event` is not an object")
    config = request.get("config") or {}
    rules = grouping_rules(_rules(config, "stack_trace_rules"), _rules(config, "fingerprint_rules"))
    context = ItemContext(project_id=1, received_at=datetime.now(UTC), event_id=uuid4().hex)
    decoded = decode_event(encode_json(given), context)
    event = normalise_event(decoded.payload, context, decoded.exact)
    grouped = group_event(event, rules)
    return {
        "hashes": grouped.keys,
        "in_app_frames": _in_app_frames(event),
        "message": _message(event),
        "title": grouped.title,
        "variant": grouped.variant,
    }


def _rules(config: Any, name: str) -> str:
    rules = config.get(name) if isinstance(config, dict) else None
    return rules if isinstance(rules, str) else ""


def _in_app_frames(event: Mapping[str, Any]) -> list[str]:
    """Where the frames in app are: `exception/0/3`, `threads/1/0`, `stacktrace/5`."""
    stacks = [("stacktrace", event.get("stacktrace"))]
    for name in ("exception", "threads"):
        values = (event.get(name) or {}).get("values", ())
        stacks += [(f"{name}/{index}", value.get("stacktrace")) for index, value in enumerate(values)]
    return [
        f"{place}/{position}"
        for place, stack in stacks
        for position, frame in enumerate((stack or {}).get("frames", ()))
        if frame.get("in_app") is True
    ]


def _message(event: Mapping[str, Any]) -> str | None:
    """The event's message as it counts, else the last exception's value as it would count, else None."""
    from tasks_pipeline.grouping.messages import normalise_message

    entry = event.get("logentry") or {}
    text = entry.get("message") or entry.get("formatted")
    if not text:
        values = (event.get("exception") or {}).get("values") or [{}]
        text = values[-1].get("value")
    return normalise_message(text) if isinstance(text, str) else None

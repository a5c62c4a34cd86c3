"""Files that came with events: what there is, and their bytes, which nobody who looks at them may be made to run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from tasks_pipeline.reading.around import around
from tasks_pipeline.reading.events import EventQuery, find_row, list_events
from tasks_pipeline.web_api.calls import ApiError, Call
from tasks_pipeline.web_api.issue_named import named_group
from tasks_pipeline.web_api.paging import sliced_page

EVENTS = 20
"""Newest events of a group whose files its list has."""
PIECE = 256 * 1024
HARMLESS = {
    "content-type": "application/octet-stream",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "private, no-store",
}


def list_of_event(call: Call) -> Response:
    """Files of an event."""
    row = _row(call)
    return sliced_page(
        call, [_json(row, n, each) for n, each in enumerate(around(call.lake, row).attachments, 1)]
    )


def list_of_group(call: Call) -> Response:
    """Files of the newest events of a group."""
    rows = list_events(call.asked, call.lake, EventQuery(named_group(call)["id"], limit=EVENTS)).events
    found = [
        _json(row, n, each) for row in rows for n, each in enumerate(around(call.lake, row).attachments, 1)
    ]
    return sliced_page(call, found)


def download(call: Call) -> Response:
    """The bytes of a file with `download=1`, else what is known of it."""
    row, number = _row(call), call.params["number"]
    files = around(call.lake, row).attachments
    if not (number.isascii() and number.isdecimal() and 0 < int(number[:9]) <= len(files)):
        raise ApiError(404, f"there is no attachment {number[:40]!r} of this event")
    file = files[int(number) - 1]
    if "download" not in call.query:
        from tasks_pipeline.web_api.calls import answer

        return answer(_json(row, int(number), file))
    try:
        opened = call.services.blobs.open(file["digest"])
    except FileNotFoundError:
        raise ApiError(
            410, "this file is gone: attachments are kept for a shorter time than events"
        ) from None
    name = quote(str(file["name"] or "attachment")[:200].encode("utf-8", "replace"), safe="")
    headers = HARMLESS | {
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "content-length": str(file["size"]),
    }
    return StreamingResponse(_pieces(opened), headers=headers)


def _pieces(opened: IO[bytes]) -> Iterator[bytes]:
    with opened:
        while piece := opened.read(PIECE):
            yield piece


def _row(call: Call) -> dict[str, Any]:
    row = find_row(call.asked, call.lake, call.params["event"], call.project().id)
    if row is None:
        raise ApiError(404, f"there is no event {call.params['event'][:80]!r} in this project")
    return row


def _json(row: Mapping[str, Any], number: int, file: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": str(number),
        "event_id": row["event_id"],
        "name": file["name"] or "attachment",
        "type": file["attachment_type"] or "event.attachment",
        "size": file["size"],
        "mimetype": file["content_type"] or "application/octet-stream",
        "sha1": None,
        "sha256": file["digest"],
        "dateCreated": row["received_at"],
        "headers": {"Content-Type": file["content_type"] or "application/octet-stream"},
    }

"""Tables for other programs: CSV, streamed, however many rows there are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.responses import StreamingResponse

from tasks_pipeline.pages.answers import HEADERS
from tasks_pipeline.texts import clean

_FORMULA = (*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are as wide as Chinese characters."""
ROWS_AT_ONCE = 200
LONGEST = 32_000
"""Characters of a cell: what spreadsheets take."""


def csv_answer(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> StreamingResponse:
    """Rows as CSV, with the names of their columns first."""
    headers = {**HEADERS, "content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_pieces(columns, rows), 200, headers, "text/csv; charset=utf-8")


def _pieces(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for number, row in enumerate(rows, 1):
        writer.writerow([cell(row[name]) for name in columns])
        if number % ROWS_AT_ONCE == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode("utf-8", "replace")


def cell(value: object) -> str:
    """A value as a spreadsheet may have it: what it would take for a formula stands behind a quote."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if not isinstance(value, str):
        return str(value)
    text = clean(value, LONGEST, lines=True)
    return f"'{text}" if value.startswith(_FORMULA) or text.startswith(_FORMULA) else text

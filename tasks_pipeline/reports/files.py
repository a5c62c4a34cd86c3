"""Files of a report: what is kept of each revision, and can be exported."""

from __future__ import annotations

import msgspec

from tasks_pipeline.reports.report import Report


def files_of(report: Report) -> dict[str, bytes]:
    """The files of a report by name; the same report gives the same bytes."""
    return {"report.json": msgspec.json.encode(report)}

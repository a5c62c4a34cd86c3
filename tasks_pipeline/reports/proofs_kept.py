"""Whether a stored report is known to be wrong, by what is remembered of checks. The checks themselves are in proofs.py."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from tasks_pipeline.reports.content.spans import Bounds
from tasks_pipeline.storage.state.proofs import failed_checks, failed_days, mended_days, of_report


def why_wrong(connection: Connection, report: Row[Any]) -> str:
    """Which check says that a report (id, start, end, checked_at) is wrong, or was made of figures that were; empty when none does."""
    days = Bounds(report.start, report.end).days
    for failed in failed_days(connection, days).values():
        return str(failed)
    for failed in failed_checks(connection):
        if failed.subject == of_report(report.id):
            return f"{failed.check}: {failed.said}"
    mended = mended_days(connection, report.checked_at)
    for day in days:
        if day in mended and mended[day] > report.checked_at:
            return f"figures of {day} were put right since it was computed"
    return ""

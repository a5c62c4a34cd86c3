"""files_of: a report as files for people and programs. The same report gives the same bytes; where they are kept is decided elsewhere."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from typing import Any, Literal

import msgspec

from tasks_pipeline.reports.rendering.tables import Column, Table, exported_tables
from tasks_pipeline.reports.report import Report
from tasks_pipeline.texts import clean, safe_json

SCHEMA = 1
"""Of report.json; fields are only ever added to one."""
Format = Literal["csv", "parquet", "json", "html"]
_RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")
_MAX_TEXT = 500


def files_of(report: Report) -> dict[str, bytes]:
    """All files of a report by name: report.json, report.html, and each table as CSV and as Parquet."""
    return {
        "report.json": report_json(report),
        "report.html": report_html(report),
        **csv_files(report),
        **parquet_files(report),
    }


def files_as(report: Report, form: Format) -> dict[str, bytes]:
    """The files of one format."""
    match form:
        case "json":
            return {"report.json": report_json(report)}
        case "html":
            return {"report.html": report_html(report)}
        case "csv":
            return csv_files(report)
        case "parquet":
            return parquet_files(report)


def report_json(report: Report) -> bytes:
    """The report for programs: its fields, and `schema`, the version of their meaning. Texts are as they were sent: what a reader of
    the file would not see stands there as an escape of JSON."""
    document = {"schema": SCHEMA, **msgspec.to_builtins(report, str_keys=True)}
    encoded = msgspec.json.encode(document, order="deterministic")
    return safe_json(msgspec.json.format(encoded, indent=1)).encode() + b"\n"


def report_html(report: Report) -> bytes:
    """The page."""
    from tasks_pipeline.reports.rendering.page import report_page

    return report_page(report).encode()


def csv_files(report: Report) -> dict[str, bytes]:
    """Each table as CSV: UTF-8, times as ISO 8601 in UTC, numbers without grouping, nothing that a spreadsheet would run."""
    return {f"{table.name}.csv": csv_of(table) for table in exported_tables(report)}


def csv_of(table: Table) -> bytes:
    """A table as CSV (RFC 4180)."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([_csv_cell(value) for value in row] for row in table.rows)
    return out.getvalue().encode()


def _csv_cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case float():
            return repr(value)
        case str():
            text = clean(value, _MAX_TEXT)
            return f"'{text}" if text.startswith(_RUN_BY_SPREADSHEETS) or value[:1] in ("\t", "\r") else text
    return str(value)


def parquet_files(report: Report) -> dict[str, bytes]:
    """Each table as Parquet, with the types of its columns."""
    return {f"{table.name}.parquet": _parquet(table) for table in exported_tables(report)}


def _parquet(table: Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [list(values) for values in zip(*table.rows, strict=True)] or [[] for _ in table.columns]
    arrays = [
        pa.array(_typed(column, values), _arrow_type(pa, column))
        for column, values in zip(table.columns, columns, strict=True)
    ]
    out = io.BytesIO()
    pq.write_table(pa.table(arrays, names=[column.name for column in table.columns]), out, compression="zstd")
    return out.getvalue()


def _arrow_type(pa: Any, column: Column) -> Any:
    match column.form:
        case "text" | "id" | "person":
            return pa.string()
        case "count":
            return pa.int64()
        case "time":
            return pa.timestamp("us", tz="UTC")
    return pa.float64()


def _typed(column: Column, values: list[Any]) -> list[Any]:
    if column.form in ("text", "id", "person"):
        return [None if value is None else clean(value, _MAX_TEXT) for value in values]
    return values

"""Sheets: pages that are tables: a page, the same as CSV, and the statement that gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from tasks_pipeline.pages.answers import Refused
from tasks_pipeline.pages.tables import csv_answer
from tasks_pipeline.pages.view import Page, View

MOST_ROWS = 100
"""Of a page; CSV and SQL have more."""
CSV_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with the titles of their columns. `links` gives the address of a row's cell; `marked` columns hold words such as `failing`."""

    title: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    empty: str = "Nothing yet."
    links: Mapping[str, Callable[[Mapping[str, Any]], str]] = field(default_factory=dict)

    def link(self, column: str, row: Mapping[str, Any]) -> str:
        """Where a cell leads; empty for nowhere."""
        return self.links[column](row) if column in self.links and row.get(column) else ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page of tables; the first one is what CSV and SQL are of."""

    title: str
    tables: Sequence[Table]
    sql: str
    note: str = ""
    facts: Sequence[tuple[str, object]] = ()
    older: str = ""
    """Address of the page behind."""
    ways: Sequence[tuple[str, str]] = ()
    """Other addresses: (words, address)."""


Build = Callable[[View, int], Sheet]
"""A sheet of at most so many rows."""


def pages_of(path: str, name: str, build: Build) -> tuple[Page, ...]:
    """The addresses of a sheet: the page, `NAME.csv`, `sql/`."""

    def shown(view: View) -> Response:
        return view.page("sheet.html", sheet=build(view, MOST_ROWS), base=view.path, csv=f"{name}.csv")

    def as_csv(view: View) -> Response:
        table = build(view, CSV_ROWS).tables[0]
        return csv_answer(f"{name}.csv", list(table.columns), table.rows)

    def as_sql(view: View) -> Response:
        back = view.path.removesuffix("sql/")
        return view.page("sql.html", statement=build(view, 1).sql, csv=f"{back}{name}.csv", back=back)

    return (
        Page("GET", path, shown),
        Page("GET", f"{path}{name}.csv/", as_csv),
        Page("GET", f"{path}sql/", as_sql),
    )


def for_admins(view: View) -> None:
    """Raises Refused for who may not see what is of the whole installation."""
    if not view.viewer.may("admin") or view.viewer.projects is not None:
        raise Refused(403, "This is of the whole installation, and for admins who see all projects.")


def listed(ids: Sequence[int]) -> str:
    """Numbers as SQL has them; no number is in an empty list."""
    return ", ".join(map(str, ids)) or "NULL"


def quoted(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("\x00", "").replace("'", "''") + "'"

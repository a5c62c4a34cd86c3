"""`sql`: read-only SQL over the lake and the state database."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import encoded, plain
from tasks_pipeline.commands.common.options import Number
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import database_errors, one_line
from tasks_pipeline.commands.common.tables import table, terminal_width, wrapped
from tasks_pipeline.texts import printable, safe_json

if TYPE_CHECKING:
    import duckdb

TABLE_ROWS = 1000
_CHUNK = 1000


@click.command()
@click.argument("statement", required=False)
@click.option(
    "--limit",
    type=Number(1),
    metavar="N",
    help=f"Most rows to print.  [default: {TABLE_ROWS} in a table, all with --json and --csv]",
)
@click.option("--json", "form", flag_value="json", help="Print a JSON list with an object per row.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV with a header.")
@click.pass_context
def sql(ctx: click.Context, statement: str | None, limit: int | None, form: str | None) -> None:
    """Run one SQL statement that reads, in DuckDB's dialect, over everything stored. `-` reads it from stdin.

    The lake's tables (events, event_payloads, outcomes …) are in the schema `lake`, those of the state database
    (groups, batches …) in `state`; both are found without it. Without a statement, tables and columns are listed with
    what they mean. Times are UTC.

    \b
    Examples:
      tasks-pipeline sql
      tasks-pipeline sql "SELECT level, count(*) FROM events GROUP BY ALL"
      tasks-pipeline sql --csv - < report.sql > report.csv
    """
    import duckdb

    from tasks_pipeline.storage.lake.read_only import NotReadOnly, check_reads
    from tasks_pipeline.storage.lake.reader import open_reader

    if statement == "-":
        statement = sys.stdin.read()
    if statement is None:
        _print_schema(form)
        return
    if not statement.strip():
        raise click.UsageError("the statement is empty")
    home = current_home(ctx)
    try:
        check_reads(statement)
        with one_line(*database_errors(home)):
            reader = open_reader(home, payloads="event_payloads" in statement.lower())
        with reader as connection:
            _print(connection.execute(statement), limit, form)
    except NotReadOnly as error:
        raise click.ClickException(str(error)) from error
    except duckdb.Error as error:
        raise click.ClickException(_told(error)) from error


def _told(error: Exception) -> str:
    """DuckDB's message with the place it points at."""
    return "\n".join(cell(line) if line.strip() else "" for line in str(error).splitlines())


def _print(result: duckdb.DuckDBPyConnection, limit: int | None, form: str | None) -> None:
    names = unique([d[0] for d in result.description or ()])
    if form == "json":
        _print_json(_rows(result, limit), names)
    elif form == "csv":
        _print_csv(names, _rows(result, limit))
    else:
        _print_table(_rows(result, (limit or TABLE_ROWS) + 1), names, limit or TABLE_ROWS)


def _rows(result: duckdb.DuckDBPyConnection, limit: int | None) -> Iterator[Sequence[Any]]:
    left = limit
    while rows := result.fetchmany(_CHUNK if left is None else min(_CHUNK, left)):
        yield from rows
        left = None if left is None else left - len(rows)


def _print_json(rows: Iterator[Sequence[Any]], names: Sequence[str]) -> None:
    """A list with an object per line, written as the rows come: a result may be larger than memory."""
    lead = "[\n"
    for row in rows:
        click.echo(lead + safe_json(encoded(dict(zip(names, row, strict=True)))), nl=False)
        lead = ",\n"
    click.echo("[]" if lead == "[\n" else "\n]")


def _print_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """CSV with a header; values go out as they are, except to a terminal, which might obey them."""
    shown = printable if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(shown(name) for name in names)
    writer.writerows([shown(v) if isinstance(v, str) else v for v in map(_csv_value, row)] for row in rows)


def _csv_value(value: object) -> object:
    """Nested values as JSON, for CSV knows none."""
    simple = plain(value)
    return encoded(simple).decode() if isinstance(simple, dict | list) else simple


def _print_table(rows: Iterator[Sequence[Any]], names: Sequence[str], limit: int) -> None:
    found = [
        {name: v.hex() if isinstance(v, bytes) else v for name, v in zip(names, row, strict=True)}
        for row in rows
    ]
    table(found[:limit], {name: name for name in names})
    if len(found) > limit:
        click.echo(f"the first {limit} rows; --limit N shows more, --json and --csv show all", err=True)


def unique(names: Sequence[str]) -> list[str]:
    """The names with a number behind each that stands before it already, as rows become objects."""
    result: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in result:
            number += 1
            candidate = f"{name}_{number}"
        result.append(candidate)
    return result


def _print_schema(form: str | None) -> None:
    from tasks_pipeline.storage.lake.tables import LAKE_TABLES
    from tasks_pipeline.storage.state.tables import metadata

    rows: list[dict[str, Any]] = []
    for lake_table in LAKE_TABLES.values():
        name = f"lake.{lake_table.name}"
        rows.append({"table": name, "column": None, "type": None, "description": lake_table.description})
        rows += [
            {"table": name, "column": c.name, "type": c.type, "description": c.description}
            for c in lake_table.columns
        ]
    for state_table in metadata.sorted_tables:
        name = f"state.{state_table.name}"
        rows.append({"table": name, "column": None, "type": None, "description": state_table.comment})
        rows += [
            {"table": name, "column": str(c.name), "type": str(c.type).upper(), "description": c.comment}
            for c in state_table.columns
        ]
    if form == "json":
        _print_json(iter([tuple(row.values()) for row in rows]), list(rows[0]))
    elif form == "csv":
        _print_csv(list(rows[0]), (list(row.values()) for row in rows))
    else:
        _print_tables(rows)


def _print_tables(rows: list[dict[str, Any]]) -> None:
    for name, found in groupby(rows, key=lambda row: row["table"]):
        about, *columns = found
        click.echo()
        for line in wrapped("  ".join(filter(None, (name, about["description"]))), terminal_width()):
            click.secho(line, bold=True)
        untitled = dict.fromkeys(("column", "type", "description"), "")
        table(columns, untitled, wrap=["description", "type"])

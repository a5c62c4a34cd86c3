"""JSON as commands print it: values of databases in terms of JSON, and text that no terminal obeys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import click
import msgspec

from tasks_pipeline.texts import safe_json

_INTEGERS = range(-(2**63), 2**64)  # what JSON of msgspec holds


def print_json(value: object) -> None:
    """Print a value as indented JSON that a terminal cannot be commanded by."""
    click.echo(safe_json(msgspec.json.format(encoded(value))))


def encoded(value: object) -> bytes:
    """A value of a database as JSON: times in UTC with Z, whatever JSON does not know as text."""
    return msgspec.json.encode(plain(value))


def plain(value: object) -> object:
    """The value in terms of JSON, recursively: bytes as hex digits, decimals as numbers, times as RFC 3339 in UTC."""
    match value:
        case bool() | None | float():
            return value
        case str():
            return str(value)  # some libraries name things by kinds of their own
        case int():
            return value if value in _INTEGERS else str(value)
        case datetime():  # the databases hold UTC; some of them give it without saying so
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return aware.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case Decimal():
            return float(value)
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.hex()
        case Mapping():
            return {str(plain(k)): plain(v) for k, v in value.items()}
        case list() | tuple() | set():
            return [plain(v) for v in value]
    return str(value)

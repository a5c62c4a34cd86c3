"""`--since`: how far back a command looks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_LENGTH = re.compile(r"([0-9]{1,6})(min|m|h|d|w)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.ParamType[datetime]):
    """A length of time back from now (`90m`, `24h`, `7d`), or a date or time in UTC. Gives an aware UTC datetime."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        text = str(value).strip()
        try:
            return _read(text)
        except (ValueError, OverflowError):
            self.fail(
                f"{text[:50]!r} is no time; allowed are 90m, 24h, 7d, and dates such as 2026-11-22",
                param,
                ctx,
            )


def _read(text: str) -> datetime:
    """Raises ValueError, and OverflowError for what no calendar has."""
    if match := _LENGTH.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

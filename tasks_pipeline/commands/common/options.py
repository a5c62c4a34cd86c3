"""Options that several commands have, and the numbers they take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

Option = Callable[[Any], Any]

json_option: Option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


class Number(click.IntRange):
    """A whole number within bounds; the message about anything else says so in these words."""

    name = "whole number"


class Day(click.DateTime):
    """A day, as a naive datetime: one around which there are other days to count from, as there are none before the year 1."""

    name = "day"

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read it."""
        from tasks_pipeline.reports.periods import FIRST, LAST

        found: datetime = super().convert(value, param, ctx)
        if not FIRST <= found.date() < LAST:
            self.fail(f"{found.date()} is out of range; days are between {FIRST} and {LAST}", param, ctx)
        return found


def limit_option(default: int, what: str, most: int = 10_000) -> Option:
    """`--limit N`: how many rows at most."""
    return click.option(
        "--limit", type=Number(1, most), metavar="N", default=default, show_default=True, help=f"Most {what}."
    )


def project_option(help_text: str) -> Option:
    """`--project SLUG`."""
    return click.option("--project", metavar="SLUG", help=help_text)


def listening_options(port: int) -> Option:
    """`--host` and `--port` of a process that listens, at this port where the configuration names none."""
    host_option: Option = click.option(
        "--host", metavar="ADDRESS", help="Address to listen on.  [default: as configured, else 127.0.0.1]"
    )
    port_option: Option = click.option(
        "--port",
        type=Number(0, 65_535),
        metavar="N",
        help=f"Port to listen on; 0 takes a free one.  [default: as configured, else {port}]",
    )
    return lambda command: host_option(port_option(command))


drain_option: Option = click.option(
    "--drain-seconds",
    type=Number(0, 300),
    metavar="N",
    default=0,
    show_default=True,
    help="After SIGTERM be not ready for so long before ending: behind a balancer.",
)

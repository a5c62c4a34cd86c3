"""Options that several commands have, and the numbers they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Option = Callable[[Any], Any]

json_option: Option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


class Number(click.IntRange):
    """A whole number within bounds; the message about anything else says so in these words."""

    name = "whole number"


def limit_option(default: int, what: str, most: int = 10_000) -> Option:
    """`--limit N`: how many rows at most."""
    return click.option(
        "--limit", type=Number(1, most), metavar="N", default=default, show_default=True, help=f"Most {what}."
    )


def project_option(help_text: str) -> Option:
    """`--project SLUG`."""
    return click.option("--project", metavar="SLUG", help=help_text)

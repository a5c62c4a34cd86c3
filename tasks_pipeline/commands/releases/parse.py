"""`releases parse`: what names of releases tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.protocol.release import ReleaseName, parse_release


@click.command()
@click.argument("names", metavar="NAME…", nargs=-1, required=True)
@click.option("--sort", is_flag=True, help="In ascending order, instead of the order given.")
@json_option
def parse(names: tuple[str, ...], sort: bool, as_json: bool) -> None:
    """Show what names of releases tell: package, kind, version, short name. With --sort, the older versions first.

    Names that cannot tell which is the newer stand by package, then by name; where releases are compared, dates decide.

    \b
    Examples:
      tasks-pipeline releases parse shop@1.10.0-rc.1+7 @scope/pkg@1.0rc1
      tasks-pipeline releases parse --sort --json shop@1.10.0 shop@1.9.0
    """
    parsed = [(name, parse_release(name)) for name in names]
    if sort:
        parsed.sort(key=_ascending)
    rows = [_parts(told) for _, told in parsed]
    if as_json:
        print_json(rows)
        return
    for row, (name, told) in zip(rows, parsed, strict=True):
        row |= {"name": name, "numbers": _dotted(told.numbers), "pre": _dotted(told.pre)}
    table(
        rows,
        ["name", "package", "kind", "numbers", "pre", "build", "short"],
        cut=["name", "short"],
        drop=["short", "package"],
    )


def _ascending(named: tuple[str, ReleaseName]) -> tuple[str, bool, str, str]:
    name, told = named
    return told.package or "", told.sort_key is None, told.sort_key or "", name


def _parts(told: ReleaseName) -> dict[str, Any]:
    return {part: getattr(told, part) for part in ("package", "kind", "numbers", "pre", "build", "short")}


def _dotted(parts: Iterable[object] | None) -> str:
    return ".".join(map(str, parts or ()))

"""Tables and fields as commands print them: on a terminal as wide as it is, elsewhere a row is a line. What a cell says is in output.py."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.output import cell

GAP = 2  # cells between two columns
COMFORTABLE = 24  # cells that a column of text should have before others are dropped for it
FEWEST = 10  # cells that it must have: with fewer, rows are printed value by value
_NAMES = 3  # the names of values take at most so much of the width: one part of three


def table(
    rows: Sequence[Mapping[str, object]],
    columns: Mapping[str, str] | Sequence[str],
    *,
    as_json: bool = False,
    cut: Sequence[str] = (),
    wrap: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> None:
    """Print rows: a table for people, or with `as_json` a JSON list of objects.

    `columns` names the keys to show, in order, or maps each key to its title. On a terminal that is too narrow, columns of
    text share what the others leave: those in `cut` end with an ellipsis, those in `wrap` go on in the next line. For their
    sake the columns in `drop` are left out, the first one first. All others stay whole in one line: where they do not fit,
    each value gets a line of its own. What is no terminal has no width.
    """
    titles = (
        dict(columns) if isinstance(columns, Mapping) else {name: name.replace("_", " ") for name in columns}
    )
    if as_json:
        print_json([{key: row.get(key) for key in titles} for row in rows])
        return
    cells = [{key: cell(row.get(key)) for key in titles} for row in rows]
    needs = {key: max(map(_width, (title, *(row[key] for row in cells)))) for key, title in titles.items()}
    room = terminal_width()
    widths = needs if room is None else _shared(needs, room, [*cut, *wrap], drop)
    if widths is None:
        _print_values(cells, titles)
    else:
        _print_rows(cells, titles, widths, {key for key in titles if _numeric(rows, key)}, set(wrap))


def field_lines(named: Iterable[tuple[str, str]], *, lead: int = 0, indent: str = "") -> list[str]:
    """Names and what belongs to them, a line each; those without anything are left out. The texts are safe to print.

    Names take `lead` cells at least. On a terminal long texts go on below themselves.
    """
    room = terminal_width()
    shown = [(name, text) for name, text in named if text]
    lead = max([lead, *(_width(name) for name, _ in shown)])
    if room is not None:
        lead = min(lead, room // _NAMES)
    lines = []
    for name, text in shown:
        before = f"{indent}{_fitted(name, lead)}{' ' * GAP}"
        first, *others = wrapped(text, None if room is None else max(FEWEST, room - _width(before)))
        lines += [before + first, *(" " * _width(before) + other for other in others)]
    return lines


def say(text: str) -> None:
    """Print a sentence, on a terminal in lines of its width. The text is safe to print."""
    for line in wrapped(text, terminal_width()):
        click.echo(line)


def wrapped(text: str, width: int | None) -> list[str]:
    """The text in lines of at most so many cells, broken at blanks where there are some; None: as it is."""
    if width is None or _width(text) <= width:
        return [text]
    from rich.cells import chop_cells

    lines, line = [], ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if _width(joined) <= width:
            line = joined
            continue
        *whole, line = [*([line] if line else []), *chop_cells(word, width)]
        lines += whole
    return [*lines, line]


def terminal_width() -> int | None:
    """How many cells a line of the terminal has (COLUMNS says so too); None where stdout is no terminal."""
    return max(2 * FEWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def _shared(
    needs: Mapping[str, int], room: int, texts: Sequence[str], drop: Sequence[str]
) -> dict[str, int] | None:
    """The width of each column that is shown; None when they do not fit beside each other."""
    shown = dict(needs)
    for gone in (None, *drop):
        if gone is not None:
            shown.pop(gone, None)
        if (widths := _fitting(shown, room, texts, COMFORTABLE)) is not None:
            return widths
    return _fitting(shown, room, texts, FEWEST)


def _fitting(needs: Mapping[str, int], room: int, texts: Sequence[str], least: int) -> dict[str, int] | None:
    """All columns with what they need, those of text with at least `least` cells and what is left; None when that is too much."""
    widths = {key: min(need, least) if key in texts else need for key, need in needs.items()}
    left = room - sum(widths.values()) - GAP * (len(widths) - 1)
    if left < 0:
        return None
    for key in texts:
        if key in widths:
            more = min(needs[key] - widths[key], left)
            widths[key] += more
            left -= more
    return widths


def _print_rows(
    cells: Sequence[Mapping[str, str]],
    titles: Mapping[str, str],
    widths: Mapping[str, int],
    numbers: set[str],
    wrap: set[str],
) -> None:
    def line(values: Mapping[str, str]) -> str:
        return (
            (" " * GAP)
            .join(_fitted(values.get(key, ""), width, right=key in numbers) for key, width in widths.items())
            .rstrip()
        )

    if any(titles.values()):
        click.secho(line(titles), bold=True)
        if sys.stdout.isatty():
            click.secho("─" * (sum(widths.values()) + GAP * (len(widths) - 1)), dim=True)
    for row in cells:
        parts = {key: wrapped(row[key], widths[key]) if key in wrap else [row[key]] for key in widths}
        for number in range(max(map(len, parts.values()))):
            click.echo(line({key: found[number] for key, found in parts.items() if number < len(found)}))


def _print_values(cells: Sequence[Mapping[str, str]], titles: Mapping[str, str]) -> None:
    """A line for each value, and an empty one between two rows; long values go on below themselves."""
    for number, row in enumerate(cells):
        if number:
            click.echo()
        for line in field_lines((title, row[key]) for key, title in titles.items()):
            click.echo(line)


def _numeric(rows: Sequence[Mapping[str, object]], key: str) -> bool:
    values = [row.get(key) for row in rows]
    return any(v is not None for v in values) and all(v is None or isinstance(v, int | float) for v in values)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _fitted(text: str, width: int, *, right: bool = False) -> str:
    """The text with blanks up to a width, or cut to it with an ellipsis."""
    from rich.cells import set_cell_size

    if (missing := width - _width(text)) >= 0:
        return " " * missing + text if right else text + " " * missing
    return set_cell_size(text, width - 1) + "…"

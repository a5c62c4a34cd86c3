"""Pictures of a report: PNG for mails, SVG for pages. Matplotlib is imported by the functions that draw, which only runs that
render call: it takes seconds and 60 MB.

The same report gives the same bytes: no time, no version, no random id is in them, and the fonts are those that Matplotlib brings.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks_pipeline.reports.rendering.words import counted_parts, milliseconds, part_names
from tasks_pipeline.reports.report import Report
from tasks_pipeline.texts import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 552
"""Pixels that a picture takes in a mail; its own are twice as many."""
_SCALE, _DPI = 2, 100
_MOST_BARS = 8  # of projects or transactions: those with most
_NAME = 34
_ABOVE, _BELOW, _RIGHT, _EDGE = 34, 24, 12, 10  # pixels around the axes, and around all
_UNSAID = ("Date", "Creator", "Format", "Type")  # of an SVG: they would change with time and version

# On a background that suits light and dark alike, since mail programs that turn colours around leave pictures alone.
PAPER = {"back": "#f7f8fa", "ink": "#2b3036", "faint": "#c9ced6", "main": "#3d6fb6", "before": "#9aa5b4", "second": "#d0803a"}  # fmt: skip
# In a page colours are variables of its style, which knows whether it is dark. These stand for them while it is drawn.
_STANDS_FOR = {"back": "#010101", "ink": "#020202", "faint": "#030303", "main": "#040404", "before": "#050505", "second": "#060606"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: its name, the numbers that it shows in words, its height and the room left of its axes in pixels, and what draws it."""

    name: str
    title: str
    says: str
    height: int
    left: int
    draw: Callable[[Axes, dict[str, str]], None]


def charts_of(report: Report) -> list[Chart]:
    """The pictures of a report, at most four; one without anything to show is left out."""
    return [*_errors(report), *_groups(report), *_projects(report), *_transactions(report)]


def png(chart: Chart) -> bytes:
    """The picture as PNG of twice WIDTH."""
    return _saved(_figure(chart, PAPER), format="png", dpi=_DPI * _SCALE, metadata={"Software": None})


def svg(chart: Chart) -> str:
    """The picture as an SVG element whose colours are CSS variables: --back, --ink, --faint, --main, --before, --second."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": chart.name, "svg.fonttype": "none"}):
        text = _saved(_figure(chart, _STANDS_FOR), format="svg", metadata=dict.fromkeys(_UNSAID)).decode()
    text = text[text.index("<svg") :]
    for name, colour in _STANDS_FOR.items():
        text = text.replace(colour, f"var(--{name})")
    # Ids of several pictures in one page must not meet, and a width of its own would not shrink with the page.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{chart.name}-", text)
    return re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)


def _saved(figure: Figure, **options: Any) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        # Of a letter that its font does not have it draws a box, which is what a reader should see.
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(out, **options)
    return out.getvalue()


def _figure(chart: Chart, colours: dict[str, str]) -> Figure:
    """Laid out by what is known of its texts: to have Matplotlib find out would draw everything twice."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 9, "axes.unicode_minus": False}):
        figure = Figure(figsize=(WIDTH / _DPI, chart.height / _DPI), facecolor=colours["back"])
        FigureCanvasAgg(figure)
        left, below, above = chart.left / WIDTH, _BELOW / chart.height, _ABOVE / chart.height
        axes = figure.add_axes((left, below, 1 - left - _RIGHT / WIDTH, 1 - below - above))
        axes.set_facecolor(colours["back"])
        chart.draw(axes, colours)
        axes.tick_params(colors=colours["ink"], length=0)
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(colours["faint"])
        place = (_EDGE / WIDTH, 1 - _EDGE / chart.height)
        figure.text(*place, chart.title, va="top", color=colours["ink"], fontsize=10, fontweight="bold")
    return figure


def _room(texts: Iterable[str]) -> int:
    """Pixels for texts left of the axes; those of other scripts may be twice as wide."""
    widest = max((sum(2 if ord(c) > 0x2E80 else 1 for c in text) for text in texts), default=0)
    return min(WIDTH // 2, 18 + round(7.2 * widest))


def _room_of_numbers(values: Sequence[float]) -> int:
    return _room([f"{max(values, default=0):,.0f}"])


def _errors(report: Report) -> Iterator[Chart]:
    series = report.series
    if not any(series.errors) and not any(series.before):
        return
    every = "hour" if report.kind == "day" else "day"
    names = part_names(report)

    def draw(axes: Axes, colours: dict[str, str]) -> None:
        places = range(len(series.errors))
        axes.bar(places, series.errors, color=colours["main"], width=0.7, label="this period")
        if series.before:
            before = series.before[: len(places)]
            axes.plot(range(len(before)), before, color=colours["before"], marker="o", markersize=3, linewidth=1.4, label="before")  # fmt: skip
            legend = axes.legend(
                loc="lower right", frameon=False, fontsize=8, ncols=2, bbox_to_anchor=(1.01, 0.98)
            )
            for text in legend.get_texts():
                text.set_color(colours["ink"])
        _ticks(axes, names)
        _grid(axes, colours, "y")

    says = f"Errors by {every}: {counted_parts(names, series.errors)}"
    yield Chart(
        "errors", f"Errors by {every}", says, 210, _room_of_numbers([*series.errors, *series.before]), draw
    )


def _groups(report: Report) -> Iterator[Chart]:
    new = report.series.new_groups
    if report.kind == "day" or not any(new):
        return
    names = part_names(report)

    def draw(axes: Axes, colours: dict[str, str]) -> None:
        axes.bar(range(len(new)), new, color=colours["second"], width=0.7)
        _ticks(axes, names)
        _grid(axes, colours, "y")

    says = f"New groups by day: {counted_parts(names, new)}"
    yield Chart("new-groups", "New groups by day", says, 150, _room_of_numbers(new), draw)


def _projects(report: Report) -> Iterator[Chart]:
    found = [(row.project, row.figures.get("errors") or 0) for row in report.projects]
    if len(found) < 2 or not any(count for _, count in found):
        return
    found = sorted(found, key=lambda each: (-each[1], each[0]))[:_MOST_BARS]
    yield _bars("projects", "Errors by project", found, "main", lambda value: f"{value:,.0f}")


def _transactions(report: Report) -> Iterator[Chart]:
    found = [(row.name, row.p95_ms or 0.0) for row in report.transactions.slowest[:_MOST_BARS]]
    if found:
        yield _bars("transactions", "Slowest transactions, p95", found, "second", milliseconds)


def _bars(
    name: str, title: str, found: Sequence[tuple[str, float]], colour: str, words: Callable[[float], str]
) -> Chart:
    """Bars that lie, in the order given."""
    names = [clean(each, _NAME) for each, _ in found]
    values = [value for _, value in found]

    def draw(axes: Axes, colours: dict[str, str]) -> None:
        places = range(len(values))
        axes.barh(places, values, color=colours[colour], height=0.62)
        axes.set_yticks(places, names, parse_math=False)  # a `$` of a stranger is no mathematics
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.margins(x=0.16)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                words(value), (value, place), xytext=(4, 0), textcoords="offset points", va="center",
                color=colours["ink"], fontsize=8,
            )  # fmt: skip

    says = f"{title}: " + ", ".join(
        f"{each} {words(value)}" for each, value in zip(names, values, strict=True)
    )
    return Chart(name, title, says, _ABOVE + _BELOW + 24 * len(values), _room(names), draw)


def _ticks(axes: Axes, names: Sequence[str]) -> None:
    """So many names that they do not touch."""
    every = max(1, -(-len(names) // 16))
    places = range(0, len(names), every)
    axes.set_xticks(places, [names[place] for place in places])


def _grid(axes: Axes, colours: dict[str, str], axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.grid(axis=axis, color=colours["faint"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylim(bottom=0)

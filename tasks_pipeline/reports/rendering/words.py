"""Numbers, shares, durations and changes of reports in words for people, the same in mail, page and text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from tasks_pipeline.reports.report import HEADLINES, Report
from tasks_pipeline.texts import clean
from tasks_pipeline.words import counted

Form = Literal["text", "id", "person", "count", "number", "share", "seconds", "ms", "time"]
Mood = Literal["better", "worse", "same"]

NOTHING = "–"
ADVERBS = {"day": "Daily", "week": "Weekly", "month": "Monthly"}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_TITLES = {
    "errors": "Errors",
    "users": "Users affected",
    "new_groups": "New groups",
    "open_groups": "Open groups",
    "crash_free_sessions": "Crash-free sessions",
    "failed_monitors": "Failed monitors",
    "crash_free_users": "Crash-free users",
    "incidents": "Incidents",
    "check_ins": "Check-ins",
    "sessions": "Sessions",
    "transactions": "Transactions",
    "apdex": "Apdex",
    "failure_rate": "Failed transactions",
    "deploys": "Deploys",
    "notifications": "Messages sent",
    "items": "Items received",
    "moves": "Changes of groups",
}
"""What people call the figures, in the order in which they are listed."""
_PLACES = {name: place for place, name in enumerate(_TITLES)}
_WORSE_UP = ("errors", "users", "new_groups", "open_groups", "failed_monitors", "incidents")
_SPACES = str.maketrans("_.", "  ")
_SHARES = ("crash_free_sessions", "crash_free_users", "failure_rate")


def shown(value: Any, form: Form, limit: int = 200) -> str:
    """A value for people; NOTHING for None. Strangers' text is cleaned and bounded, but not escaped."""
    if value is None or value == "":
        return NOTHING
    if form in ("text", "id"):
        return clean(value, limit)
    return _FORMS[form](value)


def number(value: float) -> str:
    """`1,204`, `0.65`, `12.3`."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.2f}".rstrip("0")


def person(value: str) -> str:
    """`anna` of an address, `team:shop`."""
    return clean(value.partition("@")[0], 60)


def share(value: float) -> str:
    """`99.93 %`. What is not all does not become all by rounding."""
    percent = 100 * value
    text = f"{percent:.2f}".rstrip("0").rstrip(".")
    if text == "100" and value < 1:
        text = "> 99.99"
    return f"{text} %"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`, `2 d 3 h`."""
    whole = round(seconds)
    for number_, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            many, rest = divmod(whole, size)
            finer = _UNITS[number_ + 1] if number_ + 1 < len(_UNITS) else None
            more = f" {rest // finer[0]} {finer[1]}" if finer and rest >= finer[0] else ""
            return f"{many:,} {unit}{more}"
    return "0 s"


def milliseconds(value: float) -> str:
    """`312 ms`, `1.24 s`."""
    return f"{value:,.0f} ms" if value < 1000 else f"{value / 1000:,.2f} s"


def days_words(days: Sequence[date]) -> str:
    """Days in their order, always short: `2026-11-22`, `2026-11-16 to 2026-11-22`, with gaps `5 days from 2026-11-16 to 2026-11-22`."""
    if len(days) < 2:
        return "".join(map(str, days))
    span = f"{days[0]} to {days[-1]}"
    return span if (days[-1] - days[0]).days + 1 == len(days) else f"{counted(len(days), 'day')} from {span}"


def instant(value: datetime | date) -> str:
    """`2026-11-22 10:00`, of a date without the time."""
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value.isoformat()


_FORMS: dict[Form, Callable[[Any], str]] = {
    "count": number,
    "number": number,
    "share": share,
    "seconds": duration,
    "ms": milliseconds,
    "time": instant,
    "text": str,
    "id": str,
    "person": person,
}


def title_of(figure: str) -> str:
    """What people call a figure."""
    return _TITLES.get(figure, clean(figure.translate(_SPACES).capitalize(), 60))


def figure_words(figure: str, value: float | None) -> str:
    """A figure as people read it, by its name: `1,204`, `99.93 %`; NOTHING for None."""
    return shown(value, form_of(figure))


def form_of(figure: str) -> Form:
    """How the values of a figure are shown."""
    return "share" if figure in _SHARES else "number"


def place_of(figure: str) -> tuple[int, str]:
    """What figures are sorted by: the headlines, then the others in the order of their titles here, unknown ones last."""
    return _PLACES.get(figure, len(_PLACES)), figure


def mood_of(report: Report, figure: str) -> Mood:
    """Whether the change of a figure is a good one."""
    change = report.changes.get(figure)
    if change is None or not change.change:
        return "same"
    worse_up = figure in _WORSE_UP
    if not worse_up and not figure.startswith("crash_free"):
        return "same"
    return "worse" if (change.change > 0) == worse_up else "better"


def headlines(report: Report) -> list[str]:
    """The figures that a report begins with, as far as it has them."""
    return [name for name in HEADLINES if report.figures.get(name) is not None]


def change_words(report: Report, figure: str) -> str:
    """`+12 % against 1,075`; empty where there is nothing to compare with."""
    change = report.changes.get(figure)
    if change is None:
        return ""
    before = (report.previous or {}).get(figure)
    against = f" against {figure_words(figure, before)}" if before is not None else ""
    return f"{change.text}{against}"


def baseline_words(report: Report, figure: str) -> str:
    """`mean of 4 before: 980`, of as many periods as there are data of; empty without one."""
    change = report.changes.get(figure)
    if change is None or change.baseline is None:
        return ""
    of = f" of {change.periods}" if change.periods else ""
    return f"mean{of} before: {figure_words(figure, change.baseline)}"


def revised_words(figure: str, before: float | None, after: float | None) -> str:
    """`errors 1,204 → 1,260`."""
    return f"{title_of(figure).lower()} {figure_words(figure, before)} → {figure_words(figure, after)}"


def scope_words(scope: str) -> str:
    """`all projects`, `team shop`, `project shop`."""
    kind, _, name = scope.partition(":")
    return f"{kind} {clean(name, 64)}" if name else "all projects"


def heading(report: Report) -> str:
    """`Weekly report 2026-W47`."""
    return f"{ADVERBS.get(report.kind, report.kind)} report {report.label}"


def in_a_line(report: Report) -> str:
    """`1,204 errors (+12 %), 3 new groups, project shop`: what a mail's subject says behind the heading."""
    said = []
    if (errors := report.figures.get("errors")) is not None:
        change = report.changes.get("errors")
        said.append(counted(int(errors), "error") + (f" ({change.text})" if change else ""))
    if new := report.figures.get("new_groups"):
        said.append(counted(int(new), "new group"))
    return ", ".join([*said, scope_words(report.scope)])


def span_words(report: Report) -> str:
    """`16 to 22 November 2026, Europe/Berlin`; the length where it is unusual."""
    zone = ZoneInfo(report.zone)
    first = report.start.astimezone(zone)
    last = (report.end - timedelta(microseconds=1)).astimezone(zone)
    if first.date() == last.date():
        days = f"{first:%A} {first.day} {first:%B %Y}"
    elif (first.year, first.month) == (last.year, last.month):
        days = f"{first.day} to {last.day} {last:%B %Y}"
    else:
        days = f"{first.day} {first:%B %Y} to {last.day} {last:%B %Y}"
    return f"{days}, {report.zone}{_unusual(report)}"


def _unusual(report: Report) -> str:
    """Its length, where clocks made it another than usual: a day of 24 hours, of which a week and a month have whole ones."""
    return f", {report.hours:g} hours" if report.hours % 24 else ""


def state_words(report: Report) -> list[str]:
    """What must be known before its numbers are believed: running, incomplete, open, revised."""
    found = []
    if report.running:
        found.append("The period has not ended yet: these are the figures so far.")
    elif report.incomplete:
        waited = counted(report.incomplete, "envelope")
        found.append(f"Incomplete: {waited} of the period still waited when it was computed.")
    elif not report.final and report.pipeline.open_days:
        found.append("Not final: sessions of its last days may still come.")
    if report.pipeline.wrong_days:
        found.append(
            f"Figures of {days_words(report.pipeline.wrong_days)} do not hold: a check of them failed."
        )
    if report.revision > 1:
        found.append(f"Revision {report.revision}: it was computed again after something changed.")
    if report.revised:
        found.append(f"The report before was revised: {clean('; '.join(report.revised), 400)}")
    if not report.books.balanced:
        found.append("The books of the period do not balance: see the checks of the report.")
    return found


def part_names(report: Report) -> list[str]:
    """What the parts of the series are called in the report's zone: hours of a day, else days."""
    zone = ZoneInfo(report.zone)
    form = "%H" if report.kind == "day" else "%a %d" if report.kind == "week" else "%d"
    return [start.astimezone(zone).strftime(form) for start in report.series.starts]


def counted_parts(names: Sequence[str], values: Sequence[float]) -> str:
    """`Mon 16: 120, Tue 17: 98`: what a picture shows, in words."""
    return ", ".join(f"{name}: {value:,.0f}" for name, value in zip(names, values, strict=True))


def small_svg(values: Sequence[float], width: int = 240, height: int = 40) -> str:
    """Values as bars in an SVG of less than 680 characters, a picture for Markdown. At most 31 bars: neighbours are added up."""
    every = -(-len(values) // 31) or 1
    sums = [sum(values[i : i + every]) for i in range(0, len(values), every)]
    top, step = max(sums, default=0) or 1, width / (len(sums) or 1)
    path = "".join(
        f"M{i * step:.0f} {height}v-{max(1, round(v / top * (height - 2)))}h{step - 1:.0f}V{height}z"
        for i, v in enumerate(sums)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><path fill="#3d6fb6" d="{path}"/></svg>'

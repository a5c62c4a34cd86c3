"""What a report says as a message, and its mail for one reader. Composed once; senders only read it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.message import GroupLine, Letter
from tasks_pipeline.notifications.report_content import ReportContent
from tasks_pipeline.notifications.subscriptions import ADVERBS, stand_in, unsubscribe_url
from tasks_pipeline.notifications.what_to_do import typed
from tasks_pipeline.reports.rendering import words
from tasks_pipeline.reports.report import GroupRow, Report
from tasks_pipeline.texts import clean

GROUPS_SHOWN = 10
PROJECTS_IN_DATA = 50
_FIELDS = ("kind", "key", "label", "scope", "zone", "start", "end", "hours", "final", "incomplete", "revision", "figures", "previous", "changes")  # fmt: skip


@dataclass
class Composed:
    """A report with its pictures and attached tables, drawn when the first mail needs them and shared by all."""

    report: Report
    home: Home
    config: Config
    made_at: datetime = field(kw_only=True)
    token: str = field(default_factory=stand_in)
    """Stands for that of each reader, who are many: the mail of one is that of all until it is sent."""

    @cached_property
    def pictures(self) -> Any:
        """Pictures of mails."""
        from tasks_pipeline.reports.rendering.mail import pictures_of

        return pictures_of(self.report)

    @cached_property
    def files(self) -> tuple[tuple[str, bytes], ...]:
        """Tables that mails bring along: the figures, and the groups where there are any."""
        from tasks_pipeline.reports.files import csv_files

        found = csv_files(self.report)
        period = f"{self.report.kind}-{self.report.key}"
        return tuple(
            (f"{period}-{name}", found[name]) for name in ("figures.csv", "groups.csv") if name in found
        )

    @cached_property
    def commands(self) -> tuple[str, ...]:
        """What shows more."""
        report = self.report
        where = ("--scope", report.scope) if ":" in report.scope else ()
        place = (report.kind, report.key.isoformat(), *where)
        return (
            typed(self.home, "reports", "show", *place),
            typed(self.home, "reports", "export", *place, "--format", "html", "--to", "."),
        )

    def letter(self, why: str, *, to_member: bool, notes: Sequence[str] = ()) -> Letter:
        """The mail for somebody who gets it because of `why`: a member can end it."""
        from tasks_pipeline.reports.rendering import mail

        unsubscribe = unsubscribe_url(self.config, self.token) if to_member else ""
        options: dict[str, Any] = {
            "why": why,
            "unsubscribe": unsubscribe,
            "commands": self.commands,
            "notes": notes,
        }
        return Letter(
            html=mail.mail_html(self.report, self.pictures, **options),
            text=mail.mail_text(self.report, **options),
            made_at=self.made_at,
            pictures=tuple((p.cid, p.name, p.png) for p in self.pictures),
            files=self.files,
            unsubscribe=unsubscribe,
        )

    def content(self, notes: Sequence[str] = ()) -> ReportContent:
        """The message without its mail: headlines, the groups with most events, a link."""
        report = self.report
        return ReportContent(
            title=clean(words.in_a_line(report), 300),
            subject=words.heading(report),
            project=words.scope_words(report.scope),
            changed=clean(" ".join([words.span_words(report) + ".", *words.state_words(report)]), 1000),
            facts=tuple(_facts(report)),
            groups=tuple(asdict(_line(row)) for row in report.groups.top[:GROUPS_SHOWN]),
            links=_links(self.config, report),
            commands=self.commands,
            notes=tuple(notes),
            report=program_data(report),
        )


def program_data(report: Report) -> dict[str, Any]:
    """What programs get of a report with its message: bounds, figures, changes, and those of its projects."""
    found = msgspec.to_builtins(report, str_keys=True)
    projects = found["projects"][:PROJECTS_IN_DATA]
    return {**{name: found[name] for name in _FIELDS}, "projects": projects}


def why_words(kind: str, scope: str) -> str:
    """Why somebody gets a report."""
    return f"You get the {ADVERBS[kind]} report of {words.scope_words(scope)}."  # type: ignore[index]


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    for name in words.headlines(report):
        value = words.figure_words(name, report.figures[name])
        change = words.change_words(report, name)
        yield words.title_of(name), f"{value} ({change})" if change else value


def _line(row: GroupRow) -> GroupLine:
    return GroupLine(
        row.short_id, clean(row.title, 200), clean(row.culprit, 200), "", row.events, row.before, row.users
    )


def _links(config: Config, report: Report) -> tuple[tuple[str, str], ...]:
    ui = config.notifications.ui_url
    if not ui:
        return ()
    asset = f"{ADVERBS[report.kind]}_report"  # type: ignore[index]
    return (
        ("The report in Dagster", f"{ui.rstrip('/')}/assets/{asset}?view=partitions&partition={report.key}"),
    )

"""Section `reports`: in which weeks and zone figures are told, and when. Who gets reports is in `members`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks_pipeline.config.channels import HttpUrl
from tasks_pipeline.config.model import Model
from tasks_pipeline.config.people import TimeZone

WeekStart = Literal["monday", "saturday", "sunday"]
Percent = Annotated[float, Field(ge=0, le=1000)]


class Reports(Model):
    """Reports of days, weeks and months."""

    timezone: TimeZone = Field(
        "UTC",
        description="Zone of the organisation's days, weeks and months; projects and teams may have their own.",
    )
    week_starts: WeekStart = Field("monday", description="First day of all weeks of this installation.")
    complete_after_hours: float = Field(
        6,
        ge=0,
        le=72,
        description="So long after its end a report is computed even if something received in the period still waits; then it says so.",
    )
    send_within_days: float = Field(
        3,
        gt=0,
        le=31,
        description="Daily and weekly reports that are computed later than so many days after the end are not sent.",
    )
    send_monthly_within_days: float = Field(7, gt=0, le=31, description="The same of monthly reports.")
    min_sessions: int = Field(
        100,
        ge=1,
        description="With fewer sessions in either period a change of crash-free sessions says nothing.",
    )
    mail_revisions_above: Percent | None = Field(
        None,
        description="Tell members when a headline of a report that they got changes by so many percent within 7 days; absent: never.",
    )
    unsubscribe_url: HttpUrl | None = Field(
        None,
        description="Where mails lead who wants no more of them: the receiver's address for people, without a path. "
        "`receiver.public_url` when absent.",
    )

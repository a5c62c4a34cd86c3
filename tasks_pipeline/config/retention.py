"""Section `retention`, of the installation and of projects: how long things are kept. What goes by each setting is in
`retention/policy.py`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks_pipeline.config.model import MIB, Model, PlaceUrl

LONGEST = 3650
Days = Annotated[int, Field(ge=1, le=LONGEST)]
WindowDays = Annotated[int, Field(ge=8, le=LONGEST)]
"""Windows of alert rules reach back 7 days, and begin within a day."""
FigureDays = Annotated[int, Field(ge=70, le=LONGEST)]
"""A monthly report compares two months, and is made some days after them."""


class Retention(Model):
    """How long things are kept, in days."""

    raw_days: int = Field(
        7,
        ge=0,
        le=365,
        description="Raw envelopes in the spool; days in here can be recomputed. 0: gone once they are processed.",
    )
    raw_database_days: int = Field(
        1,
        ge=0,
        le=365,
        description="On PostgreSQL: days before today of which raw envelopes stay in the database; older ones are moved into files.",
    )
    event_days: WindowDays = Field(90, description="Error events with their payloads.")
    transaction_days: WindowDays = Field(
        30, description="Transactions; those of a month stay until its reports are made."
    )
    session_days: WindowDays = Field(30, description="Updates of sessions, as they were received.")
    health_days: FigureDays = Field(400, description="Release health: what sessions were counted to.")
    check_in_days: Days = Field(90, description="Check-ins of monitors, as they were received.")
    outcome_days: WindowDays = Field(
        90, description="What became of items. Without it the books of a day are those of its batches."
    )
    dead_letter_days: Days = Field(90, description="Dead letters: why items could not be processed.")
    attachment_days: Days = Field(30, description="Attachments and minidumps, with their files.")
    user_report_days: Days = Field(90, description="Feedback and user reports.")
    empty_group_days: Days = Field(
        90, description="Groups without events, of which nobody decided anything, after their last event."
    )
    empty_release_days: Days = Field(
        400, description="Releases of which nothing is stored, after what was last heard of them."
    )
    debug_file_days: Days = Field(
        400, description="Debug files and artifact bundles, after they were last used or uploaded."
    )
    alert_days: WindowDays = Field(
        400, description="Alerts; one stays for as long as a message about it is kept."
    )
    notification_days: Annotated[int, Field(ge=31, le=LONGEST)] = Field(
        90, description="Messages that were sent, or were not to be, with each attempt."
    )
    monitor_days: WindowDays = Field(90, description="Runs of monitors, and incidents that are over.")
    analytics_days: FigureDays = Field(
        400, description="Facts and figures: analytics_events and what is known of each."
    )
    report_days: FigureDays = Field(800, description="Reports with their files, after their period ended.")
    report_revision_days: Days = Field(
        31, description="Files of revisions of reports; those of the newest stay."
    )
    dagster_days: Days = Field(
        7,
        description="Dagster's runs with their events and captured output. The newest run of each partition stays.",
    )
    archive_url: PlaceUrl | None = Field(
        None,
        description="Folder outside of the home, or fsspec URL (`s3://bucket/prefix`), for this installation alone: what was received is "
        "kept there as Parquet before it goes. Absent: nothing is archived.",
    )
    max_disk: int | None = Field(
        None,
        ge=64 * MIB,
        description="Most bytes that spool, lake, state and blobs may take together. The oldest days go before their time to stay "
        "below it, never today.",
    )


RAW_WITHIN = (
    "event_days",
    "transaction_days",
    "session_days",
    "check_in_days",
    "dead_letter_days",
    "attachment_days",
    "user_report_days",
)
"""Settings of what raw envelopes hold too: shorter than `raw_days` they would promise what is not so."""


class ProjectRetention(Model):
    """How long things of this project are kept, where that is not as `retention` of the installation says."""

    event_days: WindowDays | None = Field(None, description="Error events with their payloads.")
    transaction_days: WindowDays | None = Field(None, description="Transactions.")
    session_days: WindowDays | None = Field(None, description="Updates of sessions.")
    check_in_days: Days | None = Field(None, description="Check-ins of monitors.")
    dead_letter_days: Days | None = Field(None, description="Dead letters.")
    attachment_days: Days | None = Field(None, description="Attachments and minidumps.")
    user_report_days: Days | None = Field(None, description="Feedback and user reports.")
    empty_group_days: Days | None = Field(None, description="Groups without events.")
    empty_release_days: Days | None = Field(None, description="Releases of which nothing is stored.")
    debug_file_days: Days | None = Field(None, description="Debug files and artifact bundles.")
    alert_days: WindowDays | None = Field(None, description="Alerts.")
    notification_days: Annotated[int, Field(ge=31, le=LONGEST)] | None = Field(None, description="Messages.")
    archive: bool | None = Field(
        None,
        description="Whether what goes is archived. Absent: where `retention.archive_url` of the installation says.",
    )
    max_events: int | None = Field(
        None,
        ge=1000,
        description="Most events that stay stored. Beyond it a sample stays: the first, the newest and some of each group and release.",
    )

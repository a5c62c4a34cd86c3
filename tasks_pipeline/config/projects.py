"""Sections `organisation` and `projects`: who runs the installation, and the applications that send to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from tasks_pipeline.config.alerts import AlertRule
from tasks_pipeline.config.filters import Filters
from tasks_pipeline.config.grouping import GroupingSettings
from tasks_pipeline.config.merging import Merging
from tasks_pipeline.config.model import Model, PublicKey, Slug, refuse, repeated
from tasks_pipeline.config.monitors import CronMonitor
from tasks_pipeline.config.ownership import Ownership
from tasks_pipeline.config.people import TimeZone
from tasks_pipeline.config.performance import Performance
from tasks_pipeline.config.releases import Releases, Repository
from tasks_pipeline.config.retention import ProjectRetention
from tasks_pipeline.config.scrubbing import Scrubbing
from tasks_pipeline.config.suspects import SuspectCommits
from tasks_pipeline.config.uptime import UptimeMonitor

PIPELINE = 0
"""The number of the project that the pipeline's words about itself belong to."""

Category = Literal[
    "all", "error", "transaction", "session", "attachment", "monitor", "feedback", "security", "default"
]


class Quota(Model):
    """At most `limit` items of a category in every window; the rest is answered 429 and counted as rate_limited."""

    category: Category = Field("all", description="Data category the quota counts; `all` counts every item.")
    limit: int = Field(ge=0, description="Items allowed in a window; 0 refuses the category altogether.")
    window_seconds: int = Field(60, ge=1, le=86_400, description="Length of the window in seconds.")


class Key(Model):
    """A client key: the user part of a DSN."""

    public_key: PublicKey = Field(description="The DSN's public key.")
    name: str = Field("default", description="Shown to people.")
    enabled: bool = Field(True, description="A disabled key is answered 403.")
    quotas: tuple[Quota, ...] = Field((), description="Limits of this key, beside those of its project.")


class Project(Model):
    """One application that sends events."""

    id: int = Field(ge=1, lt=2**63, description="The number at the end of the DSN. Never reuse one.")
    slug: Slug = Field(description="Short name; the prefix of group ids (SHOP-3F).")
    name: str = Field("", description="Shown to people; the slug when empty.")
    platform: str = Field("other", description="Main platform, for people.")
    keys: tuple[Key, ...] = Field(min_length=1, description="Client keys; one is enough.")
    quotas: tuple[Quota, ...] = Field((), description="Limits of the whole project.")
    scrubbing: Scrubbing = Field(Scrubbing(), description="What is taken out before anything is stored.")
    filters: Filters = Field(Filters(), description="What is counted, but not stored.")
    grouping: GroupingSettings = Field(GroupingSettings(), description="Rules of its own for grouping.")
    alert_rules: tuple[AlertRule, ...] = Field((), description="Rules of its own, beside those of all.")
    ownership: tuple[Ownership, ...] = Field((), description="Who takes care of what; the last that matches.")
    suspect_commits: SuspectCommits = Field(
        SuspectCommits(), description="What is made of commits that may have caused a group."
    )
    monitors: tuple[CronMonitor, ...] = Field((), description="Cron jobs that have to report.")
    uptime: tuple[UptimeMonitor, ...] = Field((), description="Addresses that have to answer.")
    merging: Merging = Field(Merging(), description="When groups are alike enough to be one.")
    releases: Releases = Field(Releases(), description="How its releases come into being.")
    timezone: TimeZone | None = Field(None, description="Zone of its reports; that of `reports` when absent.")
    performance: Performance = Field(Performance(), description="How its transactions are judged.")
    retention: ProjectRetention = Field(ProjectRetention(), description="How long its things are kept.")
    production: tuple[str, ...] = Field(
        ("production", "prod"),
        min_length=1,
        description="Environments whose deploys reports count as shipped.",
    )
    repository: str | None = Field(
        None,
        max_length=200,
        description="Repository that clients call `origin`; the only one of the organisation when absent.",
    )

    @model_validator(mode="after")
    def _monitors(self) -> Project:
        refuse(
            repeated(
                "slug",
                [
                    *((("monitors", number, "slug"), each.slug) for number, each in enumerate(self.monitors)),
                    *((("uptime", number, "slug"), each.slug) for number, each in enumerate(self.uptime)),
                ],
            )
        )
        return self


class Organisation(Model):
    """Who runs this installation."""

    slug: Slug = "acme"
    name: str = "Acme"
    repositories: tuple[Repository, ...] = Field(
        (), max_length=1000, description="Repositories that commits of releases are of."
    )


def project_name(slugs: Mapping[int, str], project_id: int) -> str:
    """What people call the project of an alert: its slug, or its number when it is not configured any more."""
    return "pipeline" if project_id == PIPELINE else slugs.get(project_id, str(project_id))

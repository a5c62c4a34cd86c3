"""Sections `integrations` and `trackers`: where issues are made from groups, and how the two are kept in step."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, model_validator

from tasks_pipeline.config.channels import HttpUrl
from tasks_pipeline.config.model import About, Model, Slug
from tasks_pipeline.config.uptime import Network

Way = Literal["both", "push", "pull", "off"]
"""Which way something is carried: ours to theirs is push."""


class IntegrationBase(Model):
    """What every integration has: one connection with its credentials, which serves one or more trackers."""

    name: Slug = Field(description="What trackers, accounts of members and stored links call it.")
    allow_insecure: bool = Field(False, description="Whether its address may be plain http.")
    allow_private: bool | tuple[Network, ...] = Field(
        False, description="Whether addresses that are not public may be asked, or which."
    )
    ca_file: str | None = Field(
        None, description="Certificates that are trusted besides the usual ones, as a PEM file."
    )
    requests_per_second: float | None = Field(
        None, gt=0, le=1000, description="Requests it is asked at most; as its provider allows when absent."
    )
    enabled: bool = Field(True, description="A disabled one is not asked, and nothing is sent to it.")

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Networks that are allowed though they are not public; all of them when `allow_private` is true."""
        if self.allow_private is True:
            return (ip_network("0.0.0.0/0"), ip_network("::/0"))
        return tuple(ip_network(text) for text in self.allow_private or ())


class GitHubIntegration(IntegrationBase):
    """GitHub, or an Enterprise Server, with a token."""

    type: Literal["github"] = "github"
    url: HttpUrl = Field("https://github.com", description="Address that people open.")
    token: SecretStr = Field(description="A token that may read and write issues; write it as ${env:NAME}.")


class RedmineIntegration(IntegrationBase):
    """Redmine with the API key of its user."""

    type: Literal["redmine"] = "redmine"
    url: HttpUrl = Field(description="Address that people open.")
    token: SecretStr = Field(description="API key of the user who writes; write it as ${env:NAME}.")


class RoundupIntegration(IntegrationBase):
    """Roundup with the name and password of its user."""

    type: Literal["roundup"] = "roundup"
    url: HttpUrl = Field(description="Address of the tracker that people open.")
    user: str = Field(min_length=1, max_length=200, description="Login of the user who writes.")
    password: SecretStr = Field(description="Password of that user; write it as ${env:NAME}.")


AnyIntegration = Annotated[
    GitHubIntegration | RedmineIntegration | RoundupIntegration, Field(discriminator="type")
]


class Sync(Model):
    """Which way each thing is carried."""

    status: Way = Field("both", description="Open and closed.")
    assignee: Way = Field("both", description="Who has it.")
    comments: Way = Field("both", description="Comments.")


class Closed(Model):
    """What becomes of an issue when its groups are no longer open."""

    when_resolved: Literal["keep", "close", "close_not_planned"] = Field("close", description="Resolved.")
    when_resolved_in_next_release: Literal["keep", "close", "close_not_planned"] = Field(
        "close", description="Resolved in a release that is still to come."
    )
    when_ignored: Literal["keep", "close", "close_not_planned"] = Field("keep", description="Ignored.")


class Statuses(Model):
    """Names of a workflow's statuses, where the provider has its own."""

    open: str | None = Field(
        None,
        max_length=200,
        description="Status of an issue that is reopened; its first open one when absent.",
    )
    closed: str | None = Field(
        None,
        max_length=200,
        description="Status of an issue that is closed; its first closed one when absent.",
    )
    counts_as_closed: tuple[str, ...] = Field(
        (), description="Statuses that mean closed; as the provider says when empty."
    )
    not_planned: tuple[str, ...] = Field((), description="Statuses that mean closed without a fix.")


class Tracker(Model):
    """One place where issues are made: a repository or project of an integration."""

    name: Slug = Field(description="What rules, commands and stored links call it.")
    integration: Slug = Field(description="Name of the integration that it belongs to.")
    repository: str | None = Field(None, max_length=300, description="GitHub: owner/name.")
    project: str | None = Field(None, max_length=300, description="Redmine: identifier of the project.")
    tracker: str | None = Field(None, max_length=200, description="Redmine: name of the kind of issue.")
    projects: tuple[Slug, ...] = Field(
        (), description="Our projects whose groups may be linked, by slug; all when empty."
    )
    labels: tuple[str, ...] = Field(
        (), max_length=20, description="Labels of new issues; may hold {level} and the like."
    )
    fields: dict[str, Any] = Field({}, description="Further fields of new issues, passed as they are.")
    marker_field: int | None = Field(
        None, ge=1, description="Redmine: number of a text field that holds the marker of what we made."
    )
    title: str = Field("{title}", min_length=1, max_length=500, description="Title of new issues.")
    body: Annotated[str, About("default, or the name of a template in templates_dir")] = Field(
        "default", max_length=200, description="Text of new issues: default, or a template."
    )
    sync: Sync = Field(Sync(), description="Which way each thing is carried.")
    closed: Closed = Field(Closed(), description="What becomes of issues of groups that are not open.")
    on_close: Literal["resolve", "resolve_in_next_release", "nothing"] = Field(
        "resolve", description="What a close there does here."
    )
    on_not_planned: Literal["resolve", "ignore", "nothing"] = Field(
        "ignore", description="What a close there as not planned, or as a duplicate, does here."
    )
    on_reopen: Literal["unresolve", "nothing"] = Field(
        "unresolve", description="What a reopening there does here."
    )
    on_regression: Literal["reopen", "comment", "new_issue", "nothing"] = Field(
        "reopen", description="What a regression here does there."
    )
    statuses: Statuses = Field(Statuses(), description="Names of its workflow's statuses.")
    poll_seconds: float = Field(300, ge=10, le=86_400, description="Changes there are looked for so often.")
    max_new_issues_per_hour: int = Field(
        20, ge=1, le=10_000, description="Rules make no more issues than so many; what is above waits."
    )
    flap_limit: int = Field(6, ge=1, le=1000, description="A link that changes direction more often …")
    flap_minutes: float = Field(60, ge=1, le=10_080, description="… within so many minutes is held.")
    comments_per_hour: int = Field(30, ge=1, le=10_000, description="Comments on one issue, at most.")
    regression_comment_hours: float = Field(
        24, ge=0, le=8760, description="At most one comment about a regression in so many hours."
    )
    mirror_edits: Literal["append", "nothing"] = Field(
        "nothing", description="What an edit of a comment does that cannot be edited there."
    )
    ignore_bots: bool = Field(True, description="Comments of bots are not copied.")
    comment_on_unlink: bool = Field(False, description="Unlinking is said there.")
    merge_policy: Literal["keep", "close_as_duplicate"] = Field(
        "keep", description="What becomes of the issue of a group that is merged into another with one."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Tracker:
        if self.repository is not None and self.project is not None:
            raise ValueError("both repository and project; allowed is the one that its provider has")
        return self

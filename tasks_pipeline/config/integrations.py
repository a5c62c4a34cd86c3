"""Sections `integrations` and `trackers`: where issues are made from groups, and how the two are kept in step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, model_validator

from tasks_pipeline.config.channels import HttpUrl
from tasks_pipeline.config.model import About, Model, Slug, Wrong, refuse
from tasks_pipeline.config.uptime import Network

Way = Literal["both", "push", "pull", "off"]
"""Which way something is carried: ours to theirs is push."""
FOLDER = "folder"
"""Name in the validation's context: the folder that relative names of files start from."""
OWN_FIELDS = ("repository", "project", "tracker", "marker_field", "statuses", "labels")
"""Fields of a tracker that only some providers have."""
PLACEHOLDERS = ("short_id", "title", "culprit", "level", "environment", "release", "project")
"""What titles and labels of new issues may hold in braces, besides `tag:NAME`."""
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NO_TRACKER = frozenset({"member", "team", "channel", "rule"})
"""Who did something is written as one of these and a colon: a tracker of that name would pass for it."""


def _in_a_header(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError(
            "empty, or with characters that no header may hold; allowed are letters, digits and signs of ASCII"
        )
    return SecretStr(text)


def _whole_path(name: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get(FOLDER)
    return str(Path(folder, Path(name).expanduser())) if folder is not None else name


Token = Annotated[SecretStr, AfterValidator(_in_a_header), About(referred=True)]
Password = Annotated[SecretStr, Field(min_length=1), About(referred=True)]
FilePath = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_whole_path)]
"""A file; what is no whole path starts at the folder of the configuration file."""


@dataclass(frozen=True, slots=True)
class PlaceField:
    """How a tracker names its place at a provider: by which field, and how that looks."""

    name: str
    pattern: str
    said: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a provider may be asked: requests a second, and of those that change something so many a second and an hour."""

    per_second: float = 5.0
    writes_per_second: float = 5.0
    writes_per_hour: int = 3600


class IntegrationBase(Model):
    """What every integration has: one connection with its credentials, which serves one or more trackers."""

    place: ClassVar[PlaceField | None] = None
    """None: the address itself is the place."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Those of OWN_FIELDS, besides the place, that its trackers may have."""
    pace: ClassVar[Pace] = Pace()

    name: Slug = Field(description="What trackers, accounts of members and stored links call it.")
    url: HttpUrl = Field(description="Address that people open.")
    allow_insecure: bool = Field(False, description="Whether its address may be plain http.")
    allow_private: bool | tuple[Network, ...] = Field(
        False, description="Whether addresses that are not public may be asked, or which."
    )
    ca_file: FilePath | None = Field(
        None,
        description="Certificates that are trusted besides the usual ones, as a PEM file; from the folder of the configuration file.",
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

    @model_validator(mode="after")
    def _address(self) -> IntegrationBase:
        refuse([Wrong(("url",), said) for said in _wrong_with(self.url, self.allow_insecure)])
        return self


def _wrong_with(url: str, allow_insecure: bool) -> Iterator[str]:
    """Words that hold no piece of the address: what does is not told, since an address may be a secret."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        yield "no address that can be asked; allowed are scheme, host, port and path"
        return
    if "@" in parts.netloc:
        yield "with a name or password before the @; allowed is none, what logs in has other fields"
    if parts.query or parts.fragment:
        yield "with something behind ? or #; allowed is no more than a path"
    if parts.scheme == "http" and not allow_insecure:
        yield "not encrypted, so that whoever is on the way can read what logs in; allowed with allow_insecure: true, or with TLS"


class GitHubIntegration(IntegrationBase):
    """GitHub, or an Enterprise Server, with a token."""

    place: ClassVar[PlaceField | None] = PlaceField(
        "repository", r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}", "owner/name, as acme/shop"
    )
    takes: ClassVar[frozenset[str]] = frozenset({"labels"})
    # Secondary limits are 80 writes a minute and 500 an hour; whoever goes on beyond them may be banned.
    pace: ClassVar[Pace] = Pace(per_second=10, writes_per_second=1, writes_per_hour=300)

    type: Literal["github"] = "github"
    url: HttpUrl = Field("https://github.com", description="Address that people open.")
    token: Token = Field(description="A token that may read and write issues; write it as ${env:NAME}.")


class RedmineIntegration(IntegrationBase):
    """Redmine with the API key of its user."""

    place: ClassVar[PlaceField | None] = PlaceField(
        "project", r"[a-z0-9_-]{1,100}", "the identifier of a project, as in the address of its page: shop"
    )
    takes: ClassVar[frozenset[str]] = frozenset({"tracker", "marker_field", "statuses"})

    type: Literal["redmine"] = "redmine"
    token: Token = Field(description="API key of the user who writes; write it as ${env:NAME}.")


class RoundupIntegration(IntegrationBase):
    """Roundup with the name and password of its user."""

    takes: ClassVar[frozenset[str]] = frozenset({"statuses"})

    type: Literal["roundup"] = "roundup"
    user: str = Field(min_length=1, max_length=200, description="Login of the user who writes.")
    password: Password = Field(description="Password of that user; write it as ${env:NAME}.")


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
    labels: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        (), max_length=20, description="GitHub: labels of new issues; may hold {level} and the like."
    )
    fields: dict[str, Any] = Field({}, description="Further fields of new issues, passed as they are.")
    marker_field: int | None = Field(
        None, ge=1, description="Redmine: number of a text field that holds the marker of what we made."
    )
    title: str = Field("{title}", min_length=1, max_length=500, description="Title of new issues.")
    body: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"),
        About("default, or the name of a file in notifications.templates_dir"),
    ] = Field("default", max_length=200, description="Text of new issues: default, or a template.")
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
    ignore_bots: bool = Field(True, description="Comments of bots are not copied.")
    comment_on_unlink: bool = Field(False, description="Unlinking is said there.")
    merge_policy: Literal["keep", "close_as_duplicate"] = Field(
        "keep",
        description="What becomes of the issue of a group that is merged into one with an open issue in the same tracker.",
    )

    @model_validator(mode="after")
    def _words(self) -> Tracker:
        wrong = [Wrong(("title",), said) for said in _wrong_placeholders(self.title)]
        for number, label in enumerate(self.labels):
            wrong += [Wrong(("labels", number), said) for said in _wrong_placeholders(label)]
        if self.name in _NO_TRACKER:
            said = (
                f"{self.name} is a word of its own where it is told who did something; allowed is any other"
            )
            wrong.append(Wrong(("name",), said))
        refuse(wrong)
        return self


def placeholders(text: str) -> list[str]:
    """What stands in braces in a text."""
    return PLACEHOLDER.findall(text)


def _wrong_placeholders(text: str) -> Iterator[str]:
    for name in placeholders(text):
        if name not in PLACEHOLDERS and not (name.startswith("tag:") and name[4:].strip()):
            allowed = ", ".join(f"{{{each}}}" for each in (*PLACEHOLDERS, "tag:NAME"))
            yield f"{{{name}}} stands for nothing; allowed: {allowed}"

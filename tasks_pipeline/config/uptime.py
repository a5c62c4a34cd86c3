"""Section `uptime` of a project: addresses that have to answer."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tasks_pipeline.config.alerts import Target
from tasks_pipeline.config.channels import HttpUrl
from tasks_pipeline.config.model import About, Model, Slug, Wrong, refuse


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise ValueError("not a network; allowed are addresses and prefixes such as 10.1.0.0/16") from None


def _statuses(value: object) -> object:
    return (value,) if isinstance(value, int | str) else value


def _status(value: object) -> object:
    text = str(value)
    first, _, last = text.partition("-")
    if not (
        first.isdigit() and (not last or last.isdigit()) and 100 <= int(first) <= int(last or first) <= 599
    ):
        raise ValueError("not a status; allowed are 200 and ranges such as 200-299")
    return text


Network = Annotated[str, AfterValidator(_network)]
StatusRange = Annotated[str, BeforeValidator(_status)]


class Expected(Model):
    """What counts as a good answer."""

    status: Annotated[tuple[StatusRange, ...], BeforeValidator(_statuses)] = Field(
        ("200-299",), min_length=1, description="Statuses and ranges of them."
    )
    body_contains: str | None = Field(None, max_length=1000, description="A text that the body must hold.")
    body_lacks: str | None = Field(None, max_length=1000, description="A text that the body must not hold.")
    headers: dict[str, str] = Field({}, description="Headers and texts that their values must hold.")


class UptimeMonitor(Model):
    """An address that is asked again and again."""

    slug: Slug = Field(description="What commands call it; unique among the project's monitors.")
    name: str = Field("", max_length=100, description="Shown to people; the slug when empty.")
    url: HttpUrl = Field(description="What is asked for.")
    method: Literal["GET", "HEAD", "POST", "PUT", "OPTIONS"] = Field("GET", description="How.")
    headers: dict[str, SecretStr] = Field({}, description="Request headers.")
    body: Annotated[str, About(private=True)] | None = Field(
        None, max_length=100_000, description="Request body."
    )
    interval_seconds: float = Field(60, ge=10, le=86_400, description="Time between checks.")
    timeout_seconds: float = Field(
        10, gt=0, le=60, description="An answer may take so long, redirects and all."
    )
    expect: Expected = Field(Expected(), description="What counts as a good answer.")
    certificate_days: float = Field(
        14, ge=0, le=365, description="A certificate that expires earlier is trouble; 0: never."
    )
    follow_redirects: int = Field(5, ge=0, le=10, description="Redirects that are followed.")
    allow_private: bool | tuple[Network, ...] = Field(
        False, description="Whether addresses that are not public may be asked, or which."
    )
    failure_threshold: int = Field(3, ge=1, le=100, description="Failures in a row that open an incident.")
    recovery_threshold: int = Field(1, ge=1, le=100, description="Good answers in a row that close it.")
    environment: str = Field("", max_length=64, description="Environment of its incidents.")
    owner: Target | None = Field(None, description="A member's address or team:SLUG: assignee of its groups.")
    muted: bool = Field(False, description="Incidents are noted, but nobody is told.")
    enabled: bool = Field(True, description="A disabled one is not asked.")

    @model_validator(mode="after")
    def _owner(self) -> UptimeMonitor:
        if self.owner is not None and not self.owner.startswith(("member:", "team:")):
            refuse([Wrong(("owner",), "cannot own anything; allowed are an e-mail address and team:SLUG")])
        return self

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Networks that are allowed though they are not public; all of them when `allow_private` is true."""
        if self.allow_private is True:
            return (ip_network("0.0.0.0/0"), ip_network("::/0"))
        return tuple(ip_network(text) for text in self.allow_private or ())

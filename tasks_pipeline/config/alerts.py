"""Section `alert_rules`: when something is worth telling, and to whom."""

from __future__ import annotations

import itertools
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tasks_pipeline.config.model import Model, Slug, Wrong, refuse
from tasks_pipeline.config.people import folded

DEFAULT_RULE = "default"
LEVELS = ("debug", "info", "warning", "error", "fatal")
Level = Literal["debug", "info", "warning", "error", "fatal"]
_COMPARISON = re.compile(r"\s*(>=|<=|>|<|=)?\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*")
_LEVEL = re.compile(rf"\s*(>=|<=|>|<|=)?\s*({'|'.join(LEVELS)})\s*")
_TARGET = re.compile(
    r"assignee|owners|suspects|members|operators|team:[a-z0-9][a-z0-9_-]{0,49}|channel:[a-z0-9][a-z0-9_-]{0,49}"
    r"|(?:member:)?[^\s@<>,;:\"]{1,64}@[^\s@<>,;:\"]{1,130}"
)


def _target(text: str) -> str:
    if not _TARGET.fullmatch(text):
        raise ValueError(
            "nobody; allowed are assignee, owners, suspects, members, operators, team:SLUG, channel:NAME and an e-mail address"
        )
    return f"member:{folded(text.removeprefix('member:'))}" if "@" in text else text


def _comparison(text: object) -> object:
    if isinstance(text, int | float):
        return f"={text}"
    if isinstance(text, str) and not _COMPARISON.fullmatch(text):
        raise ValueError("not a comparison; allowed are a number with >=, <=, >, < or = before it, as '>=10'")
    return text


def _level(text: str) -> str:
    if not _LEVEL.fullmatch(text):
        raise ValueError(
            f"not a level; allowed are {', '.join(LEVELS)}, with >=, <=, > or < before it if wanted"
        )
    return text


def _tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Target = Annotated[str, AfterValidator(_target)]
Comparison = Annotated[str, BeforeValidator(_comparison)]
"""A number with what compares it, as `>=10`."""
Globs = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=500)], ...], BeforeValidator(_tuple)]
"""Globs, of which one has to match; a single one needs no list."""


class Storm(Model):
    """Above `alerts` within `window_minutes` the alerts of a rule collapse into one message with counts."""

    alerts: int = Field(20, ge=1, le=100_000, description="Alerts of the rule that are sent one by one.")
    window_minutes: float = Field(5, gt=0, le=1440, description="Within so many minutes.")


class Happened(Model):
    """Something happened to a group. A word alone is short for this."""

    type: Literal["new_group", "regression", "unignored", "escalation", "monitor"]


class Count(Model):
    """So many events, or users, of a group within a window."""

    type: Literal["events", "users"]
    count: int = Field(ge=1, le=10_000_000, description="At least so many.")
    window_minutes: float = Field(60, ge=1, le=10_080, description="Within so many minutes.")


class SessionPercent(Model):
    """Events of a group in percent of the sessions that began in the window."""

    type: Literal["session_percent"]
    percent: float = Field(gt=0, le=100_000, description="At least so many events per 100 sessions.")
    window_minutes: float = Field(60, ge=1, le=10_080, description="Within so many minutes.")
    min_sessions: int = Field(50, ge=1, description="With fewer sessions nothing is said.")


class Metric(Model):
    """A figure of the whole project crosses a threshold, and comes back.

    `error_count` is bad above its thresholds, the crash free shares (percent) below them.
    """

    type: Literal["metric"]
    metric: Literal["error_count", "crash_free_sessions", "crash_free_users"]
    window_minutes: float = Field(60, ge=1, le=10_080, description="Over so many minutes.")
    warning: float | None = Field(None, ge=0, description="First threshold.")
    critical: float | None = Field(None, ge=0, description="Second threshold.")
    resolve: float | None = Field(
        None, ge=0, description="Where it counts as recovered; the mildest threshold when absent."
    )
    min_sessions: int = Field(50, ge=1, description="Shares of fewer sessions say nothing.")

    @property
    def bad_above(self) -> bool:
        """Whether large values are the bad ones."""
        return self.metric == "error_count"

    @model_validator(mode="after")
    def _order(self) -> Metric:
        sign = 1 if self.bad_above else -1
        ordered = [v for v in (self.resolve, self.warning, self.critical) if v is not None]
        if self.warning is None and self.critical is None:
            raise ValueError("neither warning nor critical; allowed is at least one of them")
        if not self.bad_above and any(v > 100 for v in ordered):
            raise ValueError("a share above 100 percent")
        if any(sign * a > sign * b for a, b in itertools.pairwise(ordered)):
            order = "resolve ≤ warning ≤ critical" if self.bad_above else "resolve ≥ warning ≥ critical"
            raise ValueError(f"thresholds of {self.metric} are out of order; allowed is {order}")
        return self


AnyTrigger = Annotated[Happened | Count | SessionPercent | Metric, Field(discriminator="type")]


def _trigger(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


class TagIs(Model):
    """A tag has a value."""

    name: str = Field(min_length=1, max_length=200, description="Name of the tag.")
    value: Globs = Field(alias="is", description="Globs of its value; `*` for any.")


class Condition(Model):
    """One condition: exactly one of these."""

    level: Annotated[str, AfterValidator(_level)] | None = Field(None, description="As `>=error`.")
    environment: Globs | None = Field(None, description="Globs.")
    release: Globs | None = Field(None, description="Globs; `latest` is the newest release of the project.")
    platform: Globs | None = Field(None, description="Globs.")
    error_type: Globs | None = Field(None, description="Globs of the exception's type.")
    message: Globs | None = Field(None, description="Globs of the title.")
    category: Globs | None = Field(None, description="error, cron, uptime, security …")
    tag: TagIs | None = Field(None, description="{name: browser, is: 'Chrome*'}.")
    times_seen: Comparison | None = Field(None, description="Events of the group so far, as `>=10`.")
    users: Comparison | None = Field(None, description="Users of the group so far.")
    age_minutes: Comparison | None = Field(None, description="Minutes since the group was first seen.")
    assigned_to: Globs | None = Field(None, description="An address, team:SLUG, nobody, or anybody.")

    @property
    def subject(self) -> str:
        """The name of the one that is given."""
        (name,) = self._given()
        return name

    def _given(self) -> list[str]:
        return [name for name in type(self).model_fields if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _one(self) -> Condition:
        if len(self._given()) != 1:
            raise ValueError(
                f"{len(self._given())} conditions in one entry; allowed is one, each in an entry of its own"
            )
        return self


class Conditions(Model):
    """What must hold besides: all of `all`, one of `any` (if there are some), none of `none`."""

    all: tuple[Condition, ...] = Field((), description="Every one must hold.")
    any: tuple[Condition, ...] = Field((), description="At least one must hold.")
    none: tuple[Condition, ...] = Field((), description="Not one may hold.")


class AlertRule(Model):
    """When something is worth telling, and to whom."""

    name: str = Field(min_length=1, max_length=100, description="Shown to people; unique.")
    when: tuple[Annotated[AnyTrigger, BeforeValidator(_trigger)], ...] = Field(
        min_length=1, description="One of these happened."
    )
    conditions: Conditions = Field(Conditions(), alias="if", description="What must hold besides.")
    notify: tuple[Target, ...] = Field((), description="Who is told; may be left out with `create_issue`.")
    create_issue: Slug | None = Field(
        None, description="Tracker in which an issue is made for the group, by name."
    )
    every_minutes: float = Field(
        30, ge=0, le=43_200, description="At most one alert per group (or metric) in so many minutes."
    )
    storm: Storm = Field(Storm(), description="When alerts collapse into one message.")
    severity: Literal["info", "warning", "critical"] | None = Field(
        None, description="How serious; by the level of the event when absent."
    )
    enabled: bool = Field(True, description="A disabled rule fires nothing.")

    @model_validator(mode="after")
    def _does_something(self) -> AlertRule:
        if not self.notify and self.create_issue is None:
            refuse(
                [
                    Wrong(
                        ("notify",),
                        "Field required: nobody is told and no issue is made; allowed is one of notify and create_issue, or both",
                    )
                ]
            )
        return self


def default_rule() -> AlertRule:
    """What applies where people or channels are configured, but no rules."""
    return AlertRule.model_validate(
        {
            "name": DEFAULT_RULE,
            "when": ["new_group", "regression", "unignored", "escalation", "monitor"],
            "notify": ["assignee", "owners", "members"],
        }
    )

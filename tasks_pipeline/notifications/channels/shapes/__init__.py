"""Shapes: what a message looks like to each service that takes one HTTP request. A file per service, whose limits are those of
its documentation; a new service is a new file and a line in `_SHAPES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tasks_pipeline.config.channels import AnyChannel
from tasks_pipeline.notifications.channels.http import Shape
from tasks_pipeline.notifications.channels.shapes import (
    discord,
    ntfy,
    opsgenie,
    pagerduty,
    slack,
    teams,
    telegram,
    webhook,
)

_SHAPES: Mapping[str, Callable[[Any], Shape]] = {
    "discord": discord.shape,
    "ntfy": ntfy.shape,
    "opsgenie": opsgenie.shape,
    "pagerduty": pagerduty.shape,
    "slack": slack.shape,
    "teams": teams.shape,
    "telegram": telegram.shape,
    "webhook": webhook.shape,
}
"""By the type of the channel, which is what each takes."""


def shape_of(channel: AnyChannel) -> Shape:
    """The shape of a configured channel, with its address and secrets. Raises ValueError for a kind that is no HTTP request."""
    shape = _SHAPES.get(channel.type)
    if shape is None:
        raise ValueError(f"channels of type {channel.type} are no HTTP request")
    return shape(channel)

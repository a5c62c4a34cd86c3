"""Section `filters` of a project: what comes in and is not stored, but counted as `filtered`."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field

from tasks_pipeline.config.model import Model
from tasks_pipeline.filtering.user_agents import RULE
from tasks_pipeline.grouping.globs import text_glob


def _glob(given: str) -> str:
    text_glob(given, folded=True)
    return given


def _browser(given: str) -> str:
    if not RULE.fullmatch(given):
        raise ValueError(
            "allowed are ie, edge, safari, opera, opera_mini, android, chrome and firefox, alone (ie), "
            "with a version (ie11) or with those before one (safari_pre_6)"
        )
    return given


def _network(given: str) -> str:
    try:
        ip_network(given, strict=False)
    except ValueError as error:
        raise ValueError("an IP address or a range such as 10.0.0.0/8 or 2001:db8::/32 is allowed") from error
    return given


Glob = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_glob)]
BrowserRule = Annotated[str, AfterValidator(_browser)]
Network = Annotated[str, AfterValidator(_network)]


class Filters(Model):
    """What of a project is not stored. Everything is off until it is asked for."""

    releases: tuple[Glob, ...] = Field((), max_length=500, description="Globs of releases, such as shop@0.*.")
    environments: tuple[Glob, ...] = Field((), max_length=500, description="Globs of environments.")
    error_messages: tuple[Glob, ...] = Field(
        (), max_length=500, description="Globs of messages, and of exceptions as `Type: value`."
    )
    error_types: tuple[Glob, ...] = Field(
        (), max_length=500, description="Globs of the types of exceptions, such as Broken*Error."
    )
    browser_extensions: bool = Field(False, description="Errors that browser extensions raise on a page.")
    legacy_browsers: tuple[BrowserRule, ...] = Field(
        (), max_length=100, description="Browsers such as ie, ie11, safari_pre_6, edge_pre_79."
    )
    web_crawlers: bool = Field(
        False, description="Errors while search engines and other programs read pages."
    )
    localhost: bool = Field(False, description="Events from a developer's own machine.")
    ip_addresses: tuple[Network, ...] = Field(
        (), max_length=1000, description="Addresses and ranges of users and clients, such as 10.0.0.0/8."
    )

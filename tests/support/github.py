"""GitHub for tests: the stand-in that keeps state, where it is on this machine, and an integration with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest

from tasks_pipeline.config.integrations import GitHubIntegration, Tracker
from tests.support.stand_ins import StandInMissing, folder

SHOP = Tracker(name="shop-issues", integration="hub", repository="acme/shop")
BOT, ANN, BEN = "ghp_bot", "ghp_ann", "ghp_ben"
"""Tokens: of our account, of somebody who may write, of somebody who may read."""


def tool(name: str) -> Any:
    """One of the modules of the stand-ins, in this process. Skips the test where they are not."""
    try:
        place = str(folder())
    except StandInMissing as missing:
        pytest.skip(str(missing))
    if place not in sys.path:
        sys.path.append(place)
    return import_module(name)


@dataclass
class Hub:
    """A stand-in that is running. `tracker` is its state: `tracker.log`, `tracker.settings`, `tracker.control(action, data)`."""

    tracker: Any
    url: str

    def integration(self, token: str = BOT, url: str = "") -> GitHubIntegration:
        """The settings with which one of its accounts asks it."""
        settings = {"name": "hub", "url": url or self.url, "token": token, "allow_insecure": True}
        return GitHubIntegration.model_validate(settings | {"allow_private": ("127.0.0.0/8",)})

    def begin_anew(self) -> None:
        """Without issues, and without a log."""
        self.tracker.log.clear()
        self.tracker.settings.update(
            clock_skew_seconds=0, per_hour=5000, content_per_minute=80, content_per_hour=500
        )
        self.tracker.settings.pop("secondary_without_header", None)
        self.tracker.reset()

    def do(self, action: str, **data: Any) -> Any:
        """What somebody does there by hand: rename, archive, issues, transfer, delete, lock, revoke and the like."""
        return self.tracker.control(action, data)

    def paths(self, method: str = "GET") -> list[str]:
        """Paths of the requests so far."""
        return [entry["path"] for entry in self.tracker.log if entry["method"] == method]


@contextmanager
def running_hub(kind: str = "github") -> Iterator[Hub]:
    """A stand-in for the time of a `with` block: `github`, or `github-enterprise`."""
    github = tool("standin_github")
    github._rsa_key = lambda: ("", 1)  # of its App, which takes a second to make
    tracker, server = tool("standin").start(kind)
    try:
        yield Hub(tracker, tracker.base_url)
    finally:
        server.shutdown()
        server.server_close()
        tracker._queue.put(None)


@contextmanager
def bad_weather(hub: Hub, *rules: dict[str, Any]) -> Iterator[Any]:
    """A proxy before it, with rules: `url`, `log`, `rules`."""
    weather, server = tool("weather").start(hub.url)
    weather.rules = [dict(rule) for rule in rules]
    try:
        yield weather
    finally:
        server.shutdown()
        server.server_close()

"""send_test: a message to one target, at once, that says exactly what failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from tasks_pipeline.config import Config
from tasks_pipeline.config.people import folded
from tasks_pipeline.notifications.channels import open_channel
from tasks_pipeline.notifications.composing import test_message
from tasks_pipeline.notifications.errors import SendFailure, UnknownOutcome
from tasks_pipeline.notifications.routing import Route, routes


@dataclass(frozen=True, slots=True)
class TestResult:
    """What came of a test message to one person or channel."""

    target: str
    channel: str
    address: str
    sent: bool
    detail: str
    seconds: float = 0.0


def send_test(config: Config, target: str) -> list[TestResult]:
    """Send a test message to a target: `member:EMAIL` (or the address alone), `team:SLUG`, `channel:NAME` (or the name alone).

    Limits, quiet hours and digests do not hold it up; who wants no notifications gets none. Raises ValueError for nobody.
    """
    wanted = _target(config, target)
    found = routes(
        config, project_id=0, targets=(wanted,), rule="test", severity="critical", at=datetime.now(UTC)
    )
    return [_send(config, route) for route in found]


def _target(config: Config, text: str) -> str:
    known = [f"member:{m.email}" for m in config.members]
    known += [f"team:{t.slug}" for t in config.teams]
    known += [f"channel:{c.name}" for c in config.channels]
    found = next((target for target in known if folded(text) in (target, target.partition(":")[2])), None)
    if found is None:
        raise ValueError(f"there is no target {text[:100]}; there are: {', '.join(known[:50]) or 'none'}")
    return found


def _send(config: Config, route: Route) -> TestResult:
    channel = config.channel(route.channel)
    if route.delivery == "skipped" or channel is None:
        return TestResult(route.target, route.channel, route.address, False, f"not sent: {route.reason}")
    address = route.address
    if route.delivery == "digest" and not address and channel.type == "mail":
        address = route.target.removeprefix("member:")
    key = f"test:{uuid4().hex}"
    message = test_message(key, "pipeline", route.target)
    sender = open_channel(channel, config)
    started = time.monotonic()
    try:
        receipt = sender.send(message, address=address, idempotency_key=key)
    except UnknownOutcome as failure:
        detail = f"sent, but nobody knows whether it arrived: {failure.detail}"
        return TestResult(route.target, channel.name, address, False, detail, time.monotonic() - started)
    except SendFailure as failure:
        return TestResult(
            route.target, channel.name, address, False, failure.detail, time.monotonic() - started
        )
    finally:
        sender.close()
    return TestResult(route.target, channel.name, address, True, receipt.detail, time.monotonic() - started)

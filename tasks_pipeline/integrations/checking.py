"""Checking an integration: who we are there, and how its places are; and when that is to be done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Row, select

from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.integrations.gate import AUTH_FAILED, DISABLED, OK, Clock, StoredGate, utc_now
from tasks_pipeline.integrations.judging import Seen
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import integration_states
from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.calls import Gate
from tasks_pipeline.trackers.provider import Provider, open_provider

CHECK_SECONDS = 300.0
AGAIN_SECONDS = 60.0
"""Until the next check where the last one saw another state than the one before."""
REFUSED_ONCE_SECONDS = 10.0
REFUSED_SECONDS = PLACE_SECONDS = 3600.0
EARLY = 5.0
"""A check that is due in so many seconds is made now."""

Opened = Callable[[AnyIntegration, Gate], AbstractContextManager[Provider]]


def check(
    state: StateDatabase,
    integration: AnyIntegration,
    trackers: Sequence[Tracker],
    opened: Opened = open_provider,
    clock: Clock = utc_now,
) -> Seen:
    """Ask who we are there, and how the places of some trackers are. A refusal is asked about once more."""
    seen = Seen(checked=True)
    try:
        with StoredGate(state, integration, clock=clock) as gate, opened(integration, gate) as provider:
            seen.identity = _twice(provider.who, seen)
            for tracker in trackers:
                seen.calls += 1
                try:
                    seen.places[tracker.name] = provider.place(tracker)
                except TrackerError as error:
                    if error.verdict.do in (Do.AUTH_FAILED, Do.RATE_LIMITED, Do.RETRY, Do.UNREACHABLE):
                        raise
                    seen.places[tracker.name] = error.verdict
    except TrackerError as error:
        seen.error = error.verdict
    return seen


def _twice(ask: Callable[[], Any], seen: Seen) -> Any:
    seen.calls += 1
    try:
        return ask()
    except TrackerError as error:
        if error.verdict.do is not Do.AUTH_FAILED:
            raise
    seen.calls += 1
    return ask()


def checks_due(state: StateDatabase, integrations: Sequence[AnyIntegration], now: datetime) -> list[str]:
    """Names of the integrations that are to be looked at now. One question, and none without integrations."""
    if not integrations:
        return []
    query = select(integration_states).where(integration_states.c.tracker == "")
    with state.read() as connection:
        known = {row.integration: row for row in connection.execute(query)}
    return [
        each.name for each in integrations if each.name not in known or is_due(known[each.name], each, now)
    ]


def is_due(row: Row[Any], integration: AnyIntegration, now: datetime) -> bool:
    """Whether an integration is to be asked now, or its state to be set."""
    if not integration.enabled or row.disabled_at is not None:
        return bool(row.status != DISABLED)
    if row.checked_at is None or row.status in ("", DISABLED):
        return True
    age = (now - row.checked_at).total_seconds() + EARLY
    if row.refused and row.status != AUTH_FAILED:
        return bool(age >= REFUSED_ONCE_SECONDS)  # it let somebody not in: whether it is so is told soon
    if row.status == AUTH_FAILED:
        return age >= REFUSED_SECONDS or not _same_credential(row, integration)
    return bool(age >= (AGAIN_SECONDS if row.pending else CHECK_SECONDS))


def place_is_due(row: Row[Any], integration: AnyIntegration, tracker: Tracker, now: datetime) -> bool:
    """Whether the place of a tracker is to be read now."""
    if row.checked_at is None or row.status != OK or row.config_stamp != stamp_of(integration, [tracker]):
        return True
    return bool((now - row.checked_at).total_seconds() + EARLY >= PLACE_SECONDS)


def _same_credential(row: Row[Any], integration: AnyIntegration) -> bool:
    return bool(row.config_stamp.partition(":")[0] == stamp_of(integration, []).partition(":")[0])


def stamp_of(integration: AnyIntegration, trackers: Sequence[Tracker]) -> str:
    """Changes when the configuration of an integration or these trackers does, its secrets too. Of secrets it holds 12 bits alone, got
    by work: too few to find out a password by."""
    data = integration.model_dump(mode="json", exclude={"name"})
    secrets = [value.get_secret_value() for _, value in integration if isinstance(value, SecretStr)]
    word = hashlib.pbkdf2_hmac("sha256", "\0".join(secrets).encode(), integration.name.encode(), 10_000)
    own = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    places = json.dumps([each.model_dump(mode="json") for each in trackers], sort_keys=True)
    return f"{own}{word.hex()[:3]}:{hashlib.sha256(places.encode()).hexdigest()[:16]}"

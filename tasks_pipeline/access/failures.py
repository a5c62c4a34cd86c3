"""Logins that failed: whoever guesses waits. Counted for an address and a name together, and, higher, for each alone."""

from __future__ import annotations

import math
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, select

from tasks_pipeline.access.digests import digest
from tasks_pipeline.access.ends import FAILURES_FOR
from tasks_pipeline.service.address import network_of
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import login_failures

TOGETHER, OF_ADDRESS, OF_NAME = 10, 50, 100
"""So many within FAILURES_FOR, of a name from one address, of an address, of a name from everywhere."""


def admit(state: StateDatabase, address: str, name: str, now: datetime) -> int:
    """0 when a login may be tried for this name from this address now, else for how many seconds none is. A try that is admitted counts as
    failed until `forgive` takes it back, so that a hundred at once are no more than ten. Looks the same for a name that nobody has."""
    network, hashed = network_of(address), digest(name)
    with state.write() as connection:
        state.serialise(connection, login_failures.name)
        if wait := _wait(connection, network, hashed, now):
            return wait
        connection.execute(login_failures.delete().where(login_failures.c.at <= now - FAILURES_FOR))
        connection.execute(login_failures.insert().values(address=network, name=hashed, at=now))
    return 0


def _wait(connection: Connection, address: str, name: str, now: datetime) -> int:
    c = login_failures.c
    by_address, by_name = c.address == address, c.name == name
    bounds: list[tuple[ColumnElement[bool], int]] = [
        (and_(by_address, by_name), TOGETHER), (by_address, OF_ADDRESS), (by_name, OF_NAME)
    ]  # fmt: skip
    seconds = 0
    for condition, most in bounds:
        lately = select(c.at).where(c.at > now - FAILURES_FOR, condition).order_by(c.at.desc())
        at = connection.execute(lately.offset(most - 1).limit(1)).scalar()
        if at is not None:
            seconds = max(seconds, math.ceil((at + FAILURES_FOR - now).total_seconds()))
    return seconds


def forgive(state: StateDatabase, address: str, name: str) -> None:
    """Forget what failed of a name from an address: its person is in."""
    c = login_failures.c
    with state.write() as connection:
        connection.execute(
            login_failures.delete().where(c.address == network_of(address), c.name == digest(name))
        )

"""Logins that failed: whoever guesses waits. Counted for an address and a name together, and, higher, for each alone."""

from __future__ import annotations

import ipaddress
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select

from tasks_pipeline.access.digests import digest
from tasks_pipeline.access.ends import FAILURES_FOR
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import login_failures

TOGETHER, OF_ADDRESS, OF_NAME = 10, 50, 100
"""So many within FAILURES_FOR, of a name from one address, of an address, of a name from everywhere."""
_IPV6_NETWORK = 64


def wait_of(state: StateDatabase, address: str, name: str, now: datetime) -> int:
    """For how many seconds no login is tried for this name from this address; 0: now. Looks the same for a name that nobody has."""
    c = login_failures.c
    by_address, by_name = c.address == network_of(address), c.name == digest(name)
    bounds: list[tuple[ColumnElement[bool], int]] = [
        (and_(by_address, by_name), TOGETHER), (by_address, OF_ADDRESS), (by_name, OF_NAME)
    ]  # fmt: skip
    waits = [0.0]
    with state.read() as connection:
        for condition, most in bounds:
            lately = (
                select(c.at)
                .where(c.at > now - FAILURES_FOR, condition)
                .order_by(c.at.desc())
                .offset(most - 1)
                .limit(1)
            )
            at = connection.execute(lately).scalar()
            if at is not None:
                waits.append((at + FAILURES_FOR - now).total_seconds())
    return max(0, round(max(waits) + 0.5)) if max(waits) > 0 else 0


def note(state: StateDatabase, address: str, name: str, now: datetime) -> None:
    """Count a login that failed; those that count no more go."""
    row = {"address": network_of(address), "name": digest(name), "at": now}
    with state.write() as connection:
        connection.execute(login_failures.delete().where(login_failures.c.at <= now - FAILURES_FOR))
        connection.execute(login_failures.insert().values(row))


def forgive(state: StateDatabase, address: str, name: str) -> None:
    """Forget what failed of a name from an address: its person is in."""
    c = login_failures.c
    with state.write() as connection:
        connection.execute(
            login_failures.delete().where(c.address == network_of(address), c.name == digest(name))
        )


def failures(state: StateDatabase) -> int:
    """How many are remembered."""
    with state.read() as connection:
        return int(connection.execute(select(func.count()).select_from(login_failures)).scalar_one())


def network_of(address: str) -> str:
    """An address as it counts: of IPv6 its network of 64 bits, since whoever has one has all of it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    if mapped := parsed.ipv4_mapped:
        return str(mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))

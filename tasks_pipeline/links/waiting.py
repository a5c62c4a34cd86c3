"""When nothing may be asked of an integration, for a while or any more: what is due of it is put off together, so that nobody starts a run
for it, or given up."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, and_, update

from tasks_pipeline.links.intents import DEAD, KINDS, UNKNOWN, WAITING
from tasks_pipeline.storage.state.tables import issue_intents, issue_links


def put_off_intents(
    connection: Connection, integration: str, until: datetime, kinds: Collection[str] = KINDS
) -> None:
    """Changes that wait are not due before; no attempt is used up."""
    c = issue_intents.c
    which = and_(c.integration == integration, c.status.in_((WAITING, UNKNOWN)), c.not_before < until)
    connection.execute(update(issue_intents).where(which, c.kind.in_(list(kinds))).values(not_before=until))


def put_off_looks(connection: Connection, integration: str, until: datetime) -> None:
    """Links that ask to be looked at are not before."""
    c = issue_links.c
    which = and_(c.look_at.is_not(None), c.look_at < until, c.integration == integration)
    connection.execute(update(issue_links).where(which).values(look_at=until))


def bury_unconfigured(connection: Connection, integrations: Collection[str], now: datetime) -> int:
    """Changes for integrations that are not configured (any more) are given up; `integrations retry` brings them back. Gives how many."""
    c = issue_intents.c
    which = and_(c.status.in_((WAITING, UNKNOWN)), c.integration.not_in(list(integrations)))
    reason = "its integration is not configured"
    return connection.execute(
        update(issue_intents).where(which).values(status=DEAD, ended_at=now, reason=reason)
    ).rowcount

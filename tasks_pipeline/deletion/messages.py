"""Alerts and messages that tell of what goes: emptied, so that who was told when stays counted; what waits to be sent is withdrawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, select, update

from tasks_pipeline.erasure.letters import Told
from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.retention.blobs import texts_in
from tasks_pipeline.storage.state.database import CHUNK, StateDatabase, chunks
from tasks_pipeline.storage.state.tables import alerts, deliveries, notifications
from tasks_pipeline.stores import Stores

WITHDRAWN = "what it was about was deleted"
_UNSENT = ("waiting", "sending", "digest", "collapsed", "dead")
_TOLD_OF_GROUPS = ("deploy", "report")
"""Types of messages that name groups without an alert of theirs."""
_n = notifications.c


def empty_alerts(
    state: StateDatabase,
    where: ColumnElement[bool],
    about: Callable[[Row[Any]], bool] = lambda _alert: True,
) -> list[Erased]:
    """Empty alerts that meet a condition, of these those that are `about` it, with their messages; a piece in a transaction. An alert
    that is empty is about nothing."""
    emptied, told = 0, 0
    for some in _alerts(state, where):
        ids = [row.id for row in some if row.data and about(row)]
        if not ids:
            continue
        with state.write() as connection:
            state.serialise(connection, "alerts")
            told += _empty_messages(connection, _n.alert_id.in_(ids))
            connection.execute(update(alerts).where(alerts.c.id.in_(ids)).values(data={}, group_id=None))
        emptied += len(ids)
    return _erased(("state.alerts", emptied), ("state.notifications", told))


def count_alerts(
    state: StateDatabase,
    where: ColumnElement[bool],
    about: Callable[[Row[Any]], bool] = lambda _alert: True,
) -> list[Erased]:
    """The same, only counted."""
    found = told = 0
    for some in _alerts(state, where):
        ids = [row.id for row in some if row.data and about(row)]
        found += len(ids)
        with state.read() as connection:
            told += len(connection.execute(select(_n.id).where(_n.alert_id.in_(ids))).all())
    return _erased(("state.alerts", found), ("state.notifications", told))


def _alerts(state: StateDatabase, where: ColumnElement[bool]) -> Iterator[Sequence[Row[Any]]]:
    after = 0
    while True:
        query = select(alerts.c.id, alerts.c.data, alerts.c.project_id).where(where, alerts.c.id > after)
        with state.read() as connection:
            rows = connection.execute(query.order_by(alerts.c.id).limit(CHUNK)).all()
        if not rows:
            return
        after = rows[-1].id
        yield rows


def named_messages(
    stores: Stores, named: re.Pattern[str], about: Callable[[Row[Any]], bool] = lambda _message: False
) -> tuple[list[int], set[str]]:
    """Messages of deploys and reports that are `about` what goes, or name it, be it in the mail that is kept beside them; and the blobs that
    only these hold."""
    state, told = stores.state, Told(stores.blobs, lambda text: named.search(text) is not None)
    ids: list[int] = []
    theirs: set[str] = set()
    others: set[str] = set()
    after = 0
    while True:
        query = select(_n.id, _n.type, _n.data, _n.thread, _n.project_id).where(
            _n.type.in_(_TOLD_OF_GROUPS), _n.id > after
        )
        with state.read() as connection:
            rows = connection.execute(query.order_by(_n.id).limit(CHUNK)).all()
        if not rows:
            return ids, theirs - others
        after = rows[-1].id
        for row in rows:
            goes = bool(row.data) and (
                about(row) or named.search(str(row.data)) is not None or told.is_in(row.data)
            )
            if goes:
                ids.append(row.id)
            if row.type == "report":
                (theirs if goes else others).update(_digests(row.data))


def _digests(data: Any) -> Iterator[str]:
    return (text for text in texts_in(data) if len(text) == 64 and set(text) <= set("0123456789abcdef"))


def empty_messages(state: StateDatabase, ids: Collection[int]) -> list[Erased]:
    """Empty messages, and withdraw those of them that were not sent."""
    emptied = 0
    for some in chunks(sorted(ids)):
        with state.write() as connection:
            state.serialise(connection, "alerts")
            emptied += _empty_messages(connection, _n.id.in_(some))
    return _erased(("state.notifications", emptied))


def _empty_messages(connection: Connection, which: ColumnElement[bool]) -> int:
    ids = list(connection.execute(select(_n.id).where(which).order_by(_n.id)).scalars())
    unsent = _n.status.in_(_UNSENT)
    for some in chunks(ids):
        connection.execute(
            update(notifications).where(_n.id.in_(some)).values(
                data={},
                reason=case((unsent, WITHDRAWN), else_=_n.reason),
                claimed_by=case((unsent, None), else_=_n.claimed_by),
                status=case((unsent, "skipped"), else_=_n.status),
            )
        )  # fmt: skip
        connection.execute(update(deliveries).where(deliveries.c.notification_id.in_(some)).values(detail=""))
    return len(ids)


def _erased(*found: tuple[str, int]) -> list[Erased]:
    return [Erased(where, rows, "overwritten") for where, rows in found if rows]

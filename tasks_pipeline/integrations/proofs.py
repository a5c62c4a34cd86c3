"""What proves that groups and issues are in step, from what is stored: nothing is asked outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from tasks_pipeline.config import Config
from tasks_pipeline.integrations.canary import AFTER, MOST, unexplained
from tasks_pipeline.integrations.gate import states_of
from tasks_pipeline.links.intents import UNFINISHED, UNKNOWN
from tasks_pipeline.links.rows import HELD, LINKED
from tasks_pipeline.storage.state.tables import UtcDateTime, issue_intents, issue_links

FULL_PASS = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether something holds; `said` tells of it, `many` is how much of it does not."""

    name: str
    many: int
    said: str

    @property
    def holds(self) -> bool:
        """Whether it holds for all."""
        return not self.many


LOOKED_AT, NOTHING_STUCK, AGREED, ONE_EACH = (
    "links_looked_at", "nothing_stuck", "agreed_is_theirs", "one_link_for_each_marker",
)  # fmt: skip
PROOFS = {
    LOOKED_AT: "Every open link was looked at within two full passes, which are made once a day.",
    NOTHING_STUCK: "No change that is to be made there is of unknown end for an hour.",
    AGREED: "What both sides agreed on is what the last look showed, or something says why not; and what a few issues show that are read now.",
    ONE_EACH: "No issue was made twice: no two open links of a group and tracker were made by the same firing.",
}


def prove(
    connection: Connection, config: Config, now: datetime, names: Sequence[str] = tuple(PROOFS)
) -> list[Proof]:
    """Proofs by name, of integrations that are configured and not disabled."""
    asked = [each.name for each in config.integrations if each.enabled]
    disabled = {name for name, rows in states_of(connection).items() if "" in rows and rows[""].disabled_at}
    asked = [name for name in asked if name not in disabled]
    trackers = [each.name for each in config.trackers if each.integration in asked]
    found = {
        LOOKED_AT: lambda: _looked_at(connection, trackers, now),
        NOTHING_STUCK: lambda: _nothing_stuck(connection, asked, now),
        AGREED: lambda: _agreed(connection, config, asked, now),
        ONE_EACH: lambda: _one_each(connection),
    }
    return [found[name]() for name in names]


def _looked_at(connection: Connection, trackers: Sequence[str], now: datetime) -> Proof:
    c = issue_links.c
    seen = func.coalesce(c.last_looked_at, c.created_at, type_=UtcDateTime())
    query = select(func.count(), func.min(seen, type_=UtcDateTime())).where(
        c.tracker.in_(trackers), c.state.in_((LINKED, HELD)), seen < now - 2 * FULL_PASS
    )
    many, oldest = connection.execute(query).one()
    return Proof(
        LOOKED_AT, many, f"{many or 'no'} open links were not looked at for two days" + _since(oldest)
    )


def _nothing_stuck(connection: Connection, integrations: Sequence[str], now: datetime) -> Proof:
    c = issue_intents.c
    query = select(func.count(), func.min(c.created_at, type_=UtcDateTime())).where(
        c.integration.in_(integrations), c.status == UNKNOWN, c.created_at < now - AFTER
    )
    many, oldest = connection.execute(query).one()
    waiting = select(func.count()).where(c.integration.in_(integrations), c.status.in_(UNFINISHED))
    said = f"{many or 'no'} changes are of unknown end for an hour{_since(oldest)}; {connection.execute(waiting).scalar_one()} wait"
    return Proof(NOTHING_STUCK, many, said)


def _agreed(connection: Connection, config: Config, integrations: Sequence[str], now: datetime) -> Proof:
    long_ago = now - AFTER
    differ = [
        row.shown_key
        for name in integrations
        for row in unexplained(connection, config, name)
        if row.last_looked_at is not None and row.last_looked_at < long_ago
    ]
    shown = f": {', '.join(differ[:3])}" if differ else ""
    more = " or more" if len(differ) >= MOST else ""
    return Proof(
        AGREED,
        len(differ),
        f"{len(differ) or 'no'}{more} links differ for an hour, and nothing says why{shown}",
    )


def _one_each(connection: Connection) -> Proof:
    c = issue_links.c
    twice = (
        select(c.tracker, c.group_id)
        .where(
            c.state == LINKED, c.origin == "created", c.rule != "", c.theirs["state"].as_string() == "open"
        )
        .group_by(c.tracker, c.group_id)
        .having(func.count() > 1)
    )
    many = connection.execute(select(func.count()).select_from(twice.subquery())).scalar_one()
    return Proof(ONE_EACH, many, f"{many or 'no'} groups have two open issues that rules made in one tracker")


def _since(at: datetime | None) -> str:
    return f", the oldest since {at:%Y-%m-%d %H:%M} UTC" if at is not None else ""

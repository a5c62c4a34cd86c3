"""Limits of sending: token buckets of channels and targets, kept in the state database and so shared by all senders."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from tasks_pipeline.config.channels import Channel, Rate
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import send_limits


def refilled(tokens: float, rate: Rate, seconds: float) -> float:
    """Tokens after a time; never more than the burst."""
    return min(float(rate.burst), tokens + max(0.0, seconds) * rate.messages / rate.seconds)


def take_token(
    state: StateDatabase, connection: Connection, channel: Channel, target: str, now: datetime
) -> tuple[str, float]:
    """Take a token of the channel and one of the target: ("", 0). Else nothing is taken, and it gives whose bucket is
    empty (empty text for the channel's), and the seconds until it holds a token."""
    rates = {"": channel.rate, target: channel.target_rate}
    rows = connection.execute(
        select(send_limits).where(
            send_limits.c.channel == channel.name, send_limits.c.target.in_(list(rates))
        )
    )
    known = {row.target: row for row in rows}
    left: dict[str, float] = {}
    for name, rate in rates.items():
        row = known.get(name)
        tokens = refilled(row.tokens, rate, (now - row.at).total_seconds()) if row else float(rate.burst)
        if tokens < 1:
            return name, (1 - tokens) * rate.seconds / rate.messages
        left[name] = tokens - 1
    insert = state.insert(send_limits)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[send_limits.c.channel, send_limits.c.target],
            set_={"tokens": insert.excluded.tokens, "at": insert.excluded.at},
        ),
        [
            {"channel": channel.name, "target": name, "tokens": tokens, "at": now}
            for name, tokens in left.items()
        ],
    )
    return "", 0.0

"""Subscriptions: which reports a member wants, by the configuration or by what they decided themselves, and the links that decide.

What a member decided wins over the configuration until they decide otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.config.people import Member, folded
from tasks_pipeline.facts.actors import Actor, hashed
from tasks_pipeline.facts.actors import member as person
from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import ReportUnsubscribed
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import notifications, subscriptions

Kind = Literal["day", "week", "month"]
ADVERBS: dict[Kind, str] = {"day": "daily", "week": "weekly", "month": "monthly"}
"""Kinds of reports, and what settings call them."""
PATH = "/unsubscribe/"
LOCK = "subscriptions"
"""Held by who decides, and by who puts a message that depends on it: neither overtakes the other."""
_TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class Decision:
    """What a member decided about a kind of report, and how: `link`, the one in a mail, or `command`."""

    wanted: bool
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """Whether a member gets a kind of report, and who says so: a link, a command, the file, or its defaults."""

    wanted: bool
    by: str
    at: datetime | None = None


def decisions(connection: Connection, member: str | None = None) -> dict[tuple[str, str], Decision]:
    """What members decided, by address and kind; of one member, or of all."""
    query = select(subscriptions)
    if member is not None:
        query = query.where(subscriptions.c.member == folded(member))
    return {
        (row.member, row.kind): Decision(row.wanted, row.by, row.at)
        for row in connection.execute(query)
    }  # fmt: skip


def decide(
    state: StateDatabase,
    connection: Connection,
    member: str,
    kind: Kind,
    wanted: bool,
    by: Literal["link", "command"],
    now: datetime,
    actor: Actor | None = None,
) -> bool:
    """Note that a member wants a kind of report, or no more. Gives whether that is news; to say it again changes nothing.

    `actor` is who said so: the member, unless it was somebody else.
    """
    state.serialise(connection, LOCK)
    member = folded(member)
    known = decisions(connection, member).get((member, kind))
    if known is not None and known.wanted == wanted:
        return False
    state.put(
        connection,
        _decided,
        [{"member": member, "kind": kind, "wanted": wanted, "by": by, "at": now}],
    )
    if not wanted:
        _withdraw(connection, member, kind)
        fact = ReportUnsubscribed(kind=kind, member=hashed(state, connection, member), by=by)
        record(state, connection, fact, at=now, actor=actor or person(member))
    return True


def refusal(state: StateDatabase, connection: Connection, member: str | None, kind: Kind) -> Decision | None:
    """What a member decided who wants no more of a kind of report; None of all others, and of nobody (`member` is None).

    It stays so until the transaction ends: what is put in it is withdrawn by whoever unsubscribes next.
    """
    if member is None:
        return None
    state.serialise(connection, LOCK)
    own = decisions(connection, member).get((folded(member), kind))
    return None if own is None or own.wanted else own


def _withdraw(connection: Connection, member: str, kind: Kind) -> None:
    """What waits in the outbox, for quiet hours to end or a mail server to come back, is not wanted any more either."""
    n = notifications.c
    waits = n.target == f"member:{member}", n.status == "waiting", n.type == "report"
    of_kind = n.key.startswith(f"report:{ADVERBS[kind]}:", autoescape=True)
    withdrawn = update(notifications).where(*waits, of_kind)
    connection.execute(withdrawn.values(status="skipped", reason="unsubscribed"))


def _decided(state: StateDatabase) -> Any:
    statement = state.insert(subscriptions)
    changed = {name: statement.excluded[name] for name in ("wanted", "by", "at")}
    return statement.on_conflict_do_update(index_elements=["member", "kind"], set_=changed)


def subscription_of(member: Member, kind: Kind, decided: Mapping[tuple[str, str], Decision]) -> Subscription:
    """Whether a member gets a kind of report.

    One who wants no notifications at all gets none by default, but those that the file names for them.
    """
    own = decided.get((member.email, kind))
    if own is not None:
        return Subscription(own.wanted, own.by, own.at)
    name = ADVERBS[kind]
    in_file = "reports" in member.model_fields_set and name in member.reports.model_fields_set
    wanted = getattr(member.reports, name) and (in_file or member.notifications.delivery != "none")
    return Subscription(wanted, "file" if in_file else "default")


def unsubscribe_base(config: Config) -> str:
    """Where links in mails lead, without a path: empty where nobody said how people reach the receiver."""
    return (config.reports.unsubscribe_url or config.receiver.public_url or "").rstrip("/")


def without_links(config: Config) -> str:
    """What to know where members get reports by mail, and nothing says where a link could lead that ends that; else empty."""
    mails = {channel.name for channel in config.channels if channel.type == "mail"}
    wanted = any(subscription_of(member, kind, {}).wanted for member in config.members for kind in ADVERBS)
    if not (mails and wanted) or unsubscribe_base(config):
        return ""
    return (
        "mails of reports have no link to unsubscribe: neither reports.unsubscribe_url nor receiver.public_url says how people "
        "reach the receiver"
    )


def unsubscribe_url(config: Config, token: str) -> str:
    """The link that ends a subscription; empty where there is no address for it."""
    base = unsubscribe_base(config)
    return f"{base}{PATH}{token}" if base else ""


def stand_in() -> str:
    """What mails have for a token until they are sent: as long, and unlike anything that a stranger's text could hold."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_of(key: bytes, member: str, kind: Kind) -> str:
    """What a link has for a member and a kind: 192 bits of an HMAC, so that nobody can guess it, and no name is in it."""
    mac = hmac.new(key, f"{kind}\0{folded(member)}".encode(), hashlib.sha256).digest()[:_TOKEN_BYTES]
    return base64.urlsafe_b64encode(mac).decode()


def tokens_of(key: bytes, config: Config) -> dict[str, tuple[str, Kind]]:
    """Members and kinds by their tokens: how a link is understood. 3 µs for each."""
    return {
        token_of(key, member.email, kind): (member.email, kind)
        for member in config.members
        for kind in ADVERBS
    }

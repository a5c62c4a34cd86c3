"""send_by_hand: a person has a report sent, due or not; says what was done for each subscriber, and what was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from tasks_pipeline.config import Config
from tasks_pipeline.notifications.subscriptions import Decision, Kind, decisions, refusal
from tasks_pipeline.reports.composing import Composer
from tasks_pipeline.reports.deliveries import deliveries_of, keep_row, put_message
from tasks_pipeline.reports.periods import period_of
from tasks_pipeline.reports.recipients import Recipient, recipient_of_member, recipient_of_team, recipients
from tasks_pipeline.reports.store import ReportMissing
from tasks_pipeline.stores import Stores


@dataclass(frozen=True, slots=True)
class ByHand:
    """What sending by hand did for somebody: put a message into the outbox, or why not."""

    target: str
    put: bool
    said: str


def send_by_hand(
    stores: Stores, kind: Kind, key: date, now: datetime, *, target: str | None = None, again: bool = False
) -> list[ByHand]:
    """Put the messages of a stored report into the outbox, due or not: to all subscribers, or to `target` (member:…, team:…).

    Who has theirs gets it only `again`; who unsubscribed gets none, whoever asks. Raises ReportMissing when
    nobody gets any because of that.
    """
    with stores.state.read() as connection:
        decided = decisions(connection)
    chosen = [r for r in recipients(stores.config, decided) if r.kind == kind]
    if target is not None:
        chosen = [r for r in chosen if r.target == target] or [_named(stores.config, target, kind)]
    composer = Composer(stores, now)
    done, missing = [], None
    for recipient in chosen:
        try:
            done.append(_by_hand(stores, composer, recipient, key, now, decided, again))
        except ReportMissing as error:  # there are those of other scopes
            missing = error
            done.append(ByHand(recipient.target, False, str(error)))
    if missing is not None and not any(each.put for each in done):
        raise missing
    return done


def _named(config: Config, target: str, kind: Kind) -> Recipient:
    """Somebody who is no subscriber. Raises ValueError for nobody."""
    what, _, name = target.partition(":")
    if what == "member" and (member := config.member(name)):
        return recipient_of_member(config, member, kind)
    if what == "team" and (team := config.team(name)):
        return recipient_of_team(config, team, kind)
    raise ValueError(f"there is no {target[:100]}")


def _by_hand(
    stores: Stores,
    composer: Composer,
    recipient: Recipient,
    key: date,
    now: datetime,
    decided: Mapping[tuple[str, str], Decision],
    again: bool,
) -> ByHand:
    target, kind = recipient.target, recipient.kind
    own = decided.get((recipient.email or "", kind))
    if own is not None and not own.wanted:
        return _refused(target, own)
    if recipient.reason:
        return ByHand(target, False, recipient.reason)
    with stores.state.read() as connection:
        rows = deliveries_of(connection, kind, key, target=target)
    known = next(iter(rows), None)
    if known is not None and known["notification_id"] is not None and not again:
        at = known["sent_at"] or known["decided_at"]
        return ByHand(
            target, False, f"{known['status']} since {at:%Y-%m-%d %H:%M} UTC; --again sends it once more"
        )
    first = known is None or known["notification_id"] is None
    message = composer.message(recipient, key, suffix="" if first else f":again:{now:%Y%m%dT%H%M%S}")
    if message is None:
        return ByHand(target, False, "empty: nothing happened in the period")
    with stores.state.write() as connection:
        if own := refusal(stores.state, connection, recipient.email, kind):  # while it was composed
            return _refused(target, own)
        if first:
            period = period_of(kind, key, recipient.zone, stores.config.reports.week_starts)
            keep_row(stores.state, connection, recipient, period, now)
        put_message(stores.state, connection, message, kind, key, target)
    held = (
        f", held until {message.not_before:%Y-%m-%d %H:%M} UTC by quiet hours"
        if message.not_before > now
        else ""
    )
    return ByHand(target, True, f"put into the outbox for {recipient.channel}{held}")


def _refused(target: str, own: Decision) -> ByHand:
    said = f"unsubscribed on {own.at:%Y-%m-%d} ({own.by}); only they can change that"
    return ByHand(target, False, said)

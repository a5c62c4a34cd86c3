"""What `members show` says of reports: which a member gets, who decided, what became of the last one, when the next is due."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks_pipeline.commands.common.output import cell

if TYPE_CHECKING:
    from tasks_pipeline.config import Config
    from tasks_pipeline.config.people import Member
    from tasks_pipeline.storage.state.database import StateDatabase


def reports_of(config: Config, state: StateDatabase, member: Member, now: datetime) -> list[dict[str, Any]]:
    """A row for each kind of report."""
    from tasks_pipeline.notifications.subscriptions import ADVERBS, decisions, subscription_of
    from tasks_pipeline.reports.deliveries import deliveries_of, next_due
    from tasks_pipeline.reports.recipients import recipient_of_member

    with state.read() as connection:
        decided = decisions(connection, member.email)
        lately = {
            kind: deliveries_of(connection, kind, target=f"member:{member.email}", limit=1)
            for kind in ADVERBS
        }
    rows = []
    for kind, name in ADVERBS.items():
        said = subscription_of(member, kind, decided)
        recipient = recipient_of_member(config, member, kind)
        row = next(iter(lately[kind]), None)
        at = f" on {cell(said.at)} UTC" if said.at else ""
        rows.append(
            {
                "report": name, "wanted": "yes" if said.wanted else "no", "decided_by": f"{said.by}{at}",
                "projects": _projects(config, recipient.projects) or recipient.scope,
                "channel": recipient.channel or recipient.reason,
                "next_due": next_due(config, recipient, row, now) if said.wanted and not recipient.reason else None,
                "last": _last(row),
            }
        )  # fmt: skip
    return rows


def _projects(config: Config, numbers: frozenset[int] | None) -> str:
    return ", ".join(p.slug for p in config.projects if p.id in (numbers or ()))


def _last(row: dict[str, Any] | None) -> str:
    """`2026-11-16: skipped, empty`."""
    if row is None:
        return ""
    return f"{row['key']}: {row['status']}" + (f", {row['reason']}" if row["reason"] else "")

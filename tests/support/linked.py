"""Groups of a project that are linked to issues of a tracker, and passes over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml
from sqlalchemy import select, update

from tasks_pipeline.config import parse_config
from tasks_pipeline.groups.assign import NewGroup, create_group
from tasks_pipeline.groups.decisions import actions_of
from tasks_pipeline.integrations.sync import SyncReport, sync_integrations
from tasks_pipeline.links.rows import Link, read_link, update_link
from tasks_pipeline.links.seen import looked
from tasks_pipeline.storage.state.tables import groups, issue_intents, issue_links, tracker_cursors
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.issue import Issue
from tests.support.fake_tracker import FakeTracker

ANNA, BEN = "anna@acme.example", "ben@acme.example"
MEMBERS = [
    {"email": ANNA, "name": "Anna", "accounts": {"hub": "ann"}},
    {"email": BEN, "accounts": {"hub": "ben-there"}},
]


@dataclass
class Linked:
    """Stores whose configuration has a tracker `shop-issues` of an integration `hub`, and a tracker in memory behind it."""

    stores: Stores
    there: FakeTracker

    def group(self, **columns: Any) -> int:
        """A new group; gives its number."""
        now = datetime.now(UTC)
        new = NewGroup(
            1, (f"key-{now.timestamp()}",), "It fails", "here", "error", "python", "error", {}, "v1"
        )
        with self.stores.state.write() as connection:
            number = create_group(self.stores.state, connection, new, "shop")
            values = {
                "first_seen": now,
                "last_seen": now - timedelta(hours=1),
                "times_seen": 3,
                "users": 1,
                **columns,
            }
            connection.execute(update(groups).where(groups.c.id == number).values(**values))
        return number

    def link(
        self,
        group_id: int,
        issue: Issue,
        *,
        tracker: str = "shop-issues",
        agreed: str | None = "open",
        **columns: Any,
    ) -> int:
        """A link that both sides agree on; gives its number."""
        now = datetime.now(UTC)
        row = {
            "project_id": 1, "group_id": group_id, "integration": "hub", "tracker": tracker, "state": "linked",
            "origin": "created", "marker": f"m{group_id}-{tracker}-{issue.external_id}", "agreed_state": agreed, "agreed_assignee": "",
            "agreed_group": group_id, "created_at": now,
        }  # fmt: skip
        with self.stores.state.write() as connection:
            made = issue_links.insert().values(**({"theirs": {}, "turns": []} | row | columns))
            number = int(connection.execute(made.returning(issue_links.c.id)).scalar_one())
            link = read_link(connection, number)
            assert link is not None
            update_link(connection, number, **looked(issue, link, now - timedelta(minutes=1)))
        return number

    def pair(self, **columns: Any) -> tuple[int, int, str]:
        """A group, its link, and the id of its issue."""
        issue, group_id = self.there.made(), self.group(**columns)
        return group_id, self.link(group_id, issue), issue.external_id

    def sync(self, **options: Any) -> SyncReport:
        """Do all that is due."""
        return sync_integrations(
            self.stores, **({"linger_seconds": 0, "max_run_seconds": 60, "opened": self.there.open} | options)
        )

    def poll(self, **options: Any) -> SyncReport:
        """Do all that is due, and polls besides."""
        with self.stores.state.write() as connection:
            connection.execute(
                update(tracker_cursors).where(tracker_cursors.c.tracker != "").values(polled_at=None)
            )
        return self.sync(**options)

    def hurry(self) -> None:
        """What waits for its time is due now, and looks are older than ten seconds."""
        now = datetime.now(UTC) - timedelta(seconds=1)
        with self.stores.state.write() as connection:
            connection.execute(
                update(issue_intents)
                .where(issue_intents.c.status.in_(("waiting", "unknown")))
                .values(not_before=now)
            )
            connection.execute(
                update(issue_links).where(issue_links.c.look_at.is_not(None)).values(look_at=now)
            )
            connection.execute(update(issue_links).values(last_looked_at=now - timedelta(minutes=5)))

    def row(self, link_id: int) -> Link:
        with self.stores.state.read() as connection:
            link = read_link(connection, link_id)
        assert link is not None
        return link

    def status(self, group_id: int) -> str:
        with self.stores.state.read() as connection:
            return str(
                connection.execute(select(groups.c.status).where(groups.c.id == group_id)).scalar_one()
            )

    def assignee(self, group_id: int) -> str | None:
        with self.stores.state.read() as connection:
            found: str | None = connection.execute(
                select(groups.c.assignee).where(groups.c.id == group_id)
            ).scalar_one()
            return found

    def log(self, group_id: int) -> list[tuple[str, str, dict[str, Any]]]:
        """Entries of a group's log, newest first: actor, action, data."""
        return [(e["actor"], e["action"], e["data"]) for e in actions_of(self.stores.state, group_id)]

    def intents(self) -> list[tuple[str, str]]:
        """Kind and status of all intents, oldest first."""
        c = issue_intents.c
        with self.stores.state.read() as connection:
            return [
                (row.kind, row.status) for row in connection.execute(select(c.kind, c.status).order_by(c.id))
            ]


def linked(
    stores: Stores, there: FakeTracker | None = None, *, more: Mapping[str, Any] | None = None, **tracker: Any
) -> Linked:
    """Stores with the configuration of such a tracker; `tracker` are settings of it, `more` further sections."""
    document = {
        "projects": [{"id": 1, "slug": "shop", "keys": [{"public_key": "abcdef"}]}],
        "integrations": [{"name": "hub", "type": "github", "token": "${env:HUB_TOKEN}"}],
        "trackers": [{"name": "shop-issues", "integration": "hub", "repository": "acme/shop", **tracker}],
        "members": MEMBERS,
        **(more or {}),
    }
    config = parse_config(yaml.safe_dump(document), environ={"HUB_TOKEN": "ghp_something"})
    return Linked(replace(stores, config=config), there or FakeTracker())

"""Groups whose issues are made: a day with a tracker, and what a sync would do about intents to create, one after the other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import select, update

from tasks_pipeline.config import parse_config
from tasks_pipeline.integrations.creating import make_issue
from tasks_pipeline.integrations.work import LEASE, SyncReport, Work, work_for
from tasks_pipeline.links.intents import claim
from tasks_pipeline.links.making import request_issue
from tasks_pipeline.links.rows import Link, read_link
from tasks_pipeline.storage.state.tables import group_actions, issue_intents, issue_links
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import TrackerError
from tasks_pipeline.trackers.provider import Provider
from tests.support.day import Day
from tests.support.far_side import FarSide

HUB = "integrations: [{name: hub, type: github, token: '${env:HUB_TOKEN}'}]\n"
ISSUES = "trackers: [{name: shop-issues, integration: hub, repository: acme/shop%s}]\n"
TRACKER = "shop-issues"
ANNA = "member:anna@acme.example"


def tracked(day: Day, tracker: str = "", text: str = "") -> Day:
    """The day with a tracker (more of its settings, as `labels: [error]`) and more of a configuration."""
    project = f"projects: [{{id: {day.project}, slug: shop, keys: [{{public_key: abcdef}}]}}]\n"
    whole = project + HUB + ISSUES % (f", {tracker}" if tracker else "") + text
    return replace(
        day, stores=replace(day.stores, config=parse_config(whole, environ={"HUB_TOKEN": "s3cret-token"}))
    )


def request(stores: Stores, group_id: int, actor: str = ANNA, **more: Any) -> Link:
    """Somebody asks for an issue."""
    with stores.state.write() as connection:
        return request_issue(stores.state, connection, stores.config, group_id, TRACKER, actor=actor, **more)


@dataclass
class Maker:
    """What a sync does about intents to create. Time goes on as fast as a test wants: `make_next` takes what is due next."""

    stores: Stores
    far: FarSide | Provider

    @property
    def work(self) -> Work:
        integration = self.stores.config.integration("hub")
        assert integration is not None
        return work_for(self.stores, integration, cast("Any", self.far), SyncReport(), "run-1")

    def make_next(self, *, at: datetime | None = None) -> bool:
        """Do what is due next, as if it were so late already; False when there is nothing."""
        state = self.stores.state
        now = at or datetime.now(UTC) + timedelta(days=1)
        claimed = claim(state, "hub", now, claimed_by="run-1", lease_until=datetime.now(UTC) + LEASE)
        if claimed is None:
            return False
        with suppress(TrackerError):
            make_issue(self.work, claimed)
        return True

    def make_all(self, most: int = 50) -> int:
        """Until nothing is due; gives how often something was."""
        done = 0
        while self.make_next():
            done += 1
            assert done < most, "it goes on for ever"
        return done

    def link(self, link: Link) -> Link:
        with self.stores.state.read() as connection:
            found = read_link(connection, link.id)
        assert found is not None
        return found

    def links(self) -> list[dict[str, Any]]:
        with self.stores.state.read() as connection:
            query = select(issue_links).order_by(issue_links.c.id)
            return [dict(row._mapping) for row in connection.execute(query)]

    def intents(self) -> list[dict[str, Any]]:
        with self.stores.state.read() as connection:
            query = select(issue_intents).order_by(issue_intents.c.id)
            return [dict(row._mapping) for row in connection.execute(query)]

    def intent(self) -> dict[str, Any]:
        (found,) = self.intents()
        return found

    def log(self, group_id: int) -> list[dict[str, Any]]:
        """Entries of a group's log about links, oldest first."""
        a = group_actions.c
        query = select(a.action, a.data, a.actor).where(
            a.group_id == group_id, a.action.in_(("link", "unlink"))
        )
        with self.stores.state.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query.order_by(a.id))]

    def expire(self) -> None:
        """Whoever has something in hand fell silent long ago."""
        with self.stores.state.write() as connection:
            connection.execute(update(issue_intents).values(lease_until=datetime.now(UTC)))

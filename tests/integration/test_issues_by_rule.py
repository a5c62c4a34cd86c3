"""`alerts test` of a rule that makes issues, and what becomes of links when groups, projects and time go."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import delete as delete_rows
from sqlalchemy import func, insert, select, update

from tasks_pipeline.cli import main
from tasks_pipeline.deletion.groups import choose_groups
from tasks_pipeline.deletion.run import delete
from tasks_pipeline.erasure.state_texts import overwrite_texts
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.groups.forgetting import forget_groups
from tasks_pipeline.links.comments import add_comment
from tasks_pipeline.retention.finished import REQUESTS_FOR, drop_finished
from tasks_pipeline.storage.state.tables import (
    group_actions,
    groups,
    integration_requests,
    issue_comment_copies,
    issue_comments,
    issue_intents,
    issue_links,
)
from tests.support.day import Day
from tests.support.events import event
from tests.support.far_side import FarSide
from tests.support.making import Maker, request, tracked

TABLES = (issue_links, issue_intents, issue_comments, issue_comment_copies)


def counted(day: Day) -> list[int]:
    with day.stores.state.read() as connection:
        return [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in TABLES]


@pytest.fixture
def linked(alone: Day, tmp_path: Path) -> Day:
    """Two groups with an issue and a comment each."""
    day = tracked(alone)
    day.send(event("Boom"), event("Crash"))
    day.drain()
    for group in day.groups():
        request(day.stores, group["id"])
        add_comment(
            day.stores.state, group["id"], "anna@acme.example", f"seen by jo@shop.example: {group['title']}"
        )
    Maker(day.stores, FarSide(tmp_path / "issues.json")).make_all()
    assert counted(day) == [2, 2, 2, 2]
    return day


def test_alerts_test_shows_what_would_be_filed_and_asks_nobody(
    alone: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = alone.stores.home
    monkeypatch.setenv("HUB_TOKEN", "s3cret-token")
    home.config_path.write_text(
        f"projects: [{{id: {alone.project}, slug: shop, keys: [{{public_key: abcdef}}]}}]\n"
        "integrations: [{name: hub, type: github, url: 'http://127.0.0.1:9', token: '${env:HUB_TOKEN}', allow_insecure: true}]\n"
        "trackers: [{name: shop-issues, integration: hub, repository: acme/shop, labels: ['{level}'], fields: {milestone: 3}}]\n"
        "alert_rules: [{name: file it, when: [new_group], create_issue: shop-issues}]\n"
    )
    alone.send(event("Boom"), event("Crash"))
    alone.drain()
    with alone.stores.state.write() as connection:
        connection.execute(update(groups).values(created_at=datetime.now(UTC)))

    def ran(*more: str) -> str:
        result = CliRunner().invoke(
            main, ["--home", str(home.root), "alerts", "test", "file it", "--since", "3650d", *more]
        )
        assert result.exit_code == 0, result.output
        return result.output

    found = json.loads(ran("--json"))["issues"]
    assert [issue["title"] for issue in found] == ["Boom: it went wrong", "Crash: it went wrong"]
    assert found[0] | {"body": ""} == {
        "group": "SHOP-1", "tracker": "shop-issues", "title": "Boom: it went wrong", "body": "", "labels": ["error"],
        "fields": {"milestone": 3},
    }  # fmt: skip
    shown = ran()
    assert "issues: 2 in shop-issues; the first:" in shown
    assert "  title: Boom: it went wrong" in shown
    assert "do_Boom" in shown
    assert "s3cret-token" not in shown
    assert counted(alone)[:2] == [0, 0]


def test_links_and_comments_go_with_a_group_that_is_deleted(linked: Day) -> None:
    boom = linked.groups()[0]["id"]
    delete(linked.stores, choose_groups(linked.stores.state, [boom]), "anna")
    assert counted(linked) == [1, 1, 1, 1]
    with linked.stores.state.read() as connection:
        assert boom not in connection.execute(select(issue_links.c.group_id)).scalars().all()


def test_and_with_one_that_retention_forgets(linked: Day) -> None:
    """Which is one that nobody decided about, as of a link that was never made: what is made is in the log."""
    boom = linked.groups()[0]["id"]
    with linked.stores.state.write() as connection:
        connection.execute(delete_rows(group_actions).where(group_actions.c.group_id == boom))
    assert forget_groups(linked.stores.state, [groups.c.id == boom], datetime.now(UTC)) == 1
    assert counted(linked) == [1, 1, 1, 1]


def test_a_person_s_texts_are_overwritten_in_comments_and_titles(linked: Day) -> None:
    texts = Texts.of(["jo@shop.example"])
    overwrite_texts(linked.stores.state, texts)
    with linked.stores.state.read() as connection:
        bodies = connection.execute(select(issue_comments.c.body)).scalars().all()
    assert len(bodies) == 2
    assert not any("jo@shop.example" in body for body in bodies)


def test_counts_of_requests_go_after_thirty_days(alone: Day) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows: list[dict[str, Any]] = [
        {"integration": "hub", "hour": now - age} for age in (timedelta(), REQUESTS_FOR + timedelta(hours=1))
    ]
    with alone.stores.state.write() as connection:
        connection.execute(insert(integration_requests), rows)
    assert drop_finished(alone.stores.state, now)["requests"] == 1

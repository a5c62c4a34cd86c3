"""Questions of clients about all events in the Web API: tables, series, tags, volumes; and monitors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from tasks_pipeline.storage.state import tables as t
from tests.support.api import Api, Caller
from tests.support.pages_home import RICH, TIMEOUTS

ORG = "/organizations/acme"
EVENTS, STATS = f"{ORG}/events/", f"{ORG}/events-stats/"
RICH_ONES = "error.type:ValueError"


def test_rows_are_of_the_fields_that_are_named(anna: Caller) -> None:
    fields = [
        "id",
        "issue",
        "project",
        "title",
        "level",
        "environment",
        "browser",
        "user.email",
        "error.unhandled",
        "timestamp",
    ]
    found = anna.get(EVENTS, field=fields, query=RICH_ONES, dataset="errors", sort="-timestamp")
    assert found["meta"]["fields"]["timestamp"] == "date"
    assert len(found["data"]) == 9
    first = found["data"][0]
    assert list(first) == fields
    assert (first["id"], first["project"], first["level"], first["environment"]) == (
        RICH,
        "shop",
        "error",
        "staging",
    )
    assert (first["browser"], first["user.email"], first["error.unhandled"]) == (
        "Firefox 0",
        "user9@example.org",
        True,
    )
    assert first["issue"].startswith("SHOP-")
    assert first["timestamp"].endswith("Z")


def test_with_a_figure_rows_are_grouped(anna: Caller) -> None:
    asked = {
        "field": ["environment", "count()", "count_unique(user)", "last_seen()"],
        "query": RICH_ONES,
        "sort": "-count()",
    }
    found = anna.get(EVENTS, **asked)["data"]
    assert [(row["environment"], row["count()"], row["count_unique(user)"]) for row in found] == [
        ("staging", 5, 3),
        ("production", 4, 2),
    ]
    (total,) = anna.get(EVENTS, field=["count()", "failure_rate()", "epm()"], query=RICH_ONES)["data"]
    assert (total["count()"], total["failure_rate()"]) == (9, 1.0)
    assert 0 < total["epm()"] < 1


def test_tables_have_pages(anna: Caller) -> None:
    found, cursor = list[str](), "0:0:0"
    for _ in range(10):
        answer = anna(
            "GET",
            EVENTS,
            query={"field": ["title", "count()"], "query": "Timeout", "per_page": "25", "cursor": cursor},
        )
        found += [row["title"] for row in answer.json()["data"]]
        cursor = answer.links["next"]["cursor"]
        if answer.links["next"]["results"] == "false":
            break
    assert len(found) == len(set(found)) == TIMEOUTS


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "field"),
        ({"field": "p95(x)"}, "no figure"),
        ({"field": "a b"}, "no field"),
        ({"field": ["title", "count()"], "sort": "level"}, "not among the fields"),
        ({"field": "title", "query": "is:x"}, "character 4"),
        ({"field": [f"tag{n}" for n in range(31)]}, "at most 30"),
        ({"field": "title", "hostname": "x"}, "no such filter"),
    ],
)
def test_questions_that_cannot_be_asked(anna: Caller, query: dict[str, Any], said: str) -> None:
    assert said in anna.get(EVENTS, 400, **query)["detail"]


def test_a_name_of_a_tag_is_no_sql(anna: Caller) -> None:
    for name in ("tags[x') FROM lake.events --]", 'tags[";]', "tags[*]"):
        assert anna.get(EVENTS, field=["id", name], query=RICH_ONES)["data"][0][name] is None


def test_validity_is_told_of_each_part(anna: Caller) -> None:
    path = f"{EVENTS}validate/"
    good = anna.get(
        path,
        dataset="errors",
        field=["title", "count()", "error.handled"],
        orderby="-count()",
        query=RICH_ONES,
    )
    assert good["valid"]
    assert [each["attrType"] for each in good["field"]] == ["string", "number", "boolean"]
    bad = anna.get(path, 400, dataset="nonsense", field=["p95(x)"], query="(a")
    assert not bad["valid"]
    assert not bad["dataset"][0]["valid"]
    assert "no figure" in bad["field"][0]["error"]
    assert "never closed" in bad["query"]["error"]


def total(series: dict[str, Any]) -> int:
    return sum(point[1][0]["count"] for point in series["data"])


def test_series_have_every_stretch(anna: Caller) -> None:
    one = anna.get(STATS, query=RICH_ONES, interval="1h", statsPeriod="7d")
    assert total(one) == 9
    assert len(one["data"]) in (7 * 24 + 1, 7 * 24 + 2)
    assert {b - a for (a, _), (b, _) in zip(one["data"], one["data"][1:], strict=False)} == {3600}
    several = anna.get(STATS, query=RICH_ONES, yAxis=["count()", "count_unique(user)"], statsPeriod="7d")
    assert set(several) == {"count()", "count_unique(user)"}
    by = anna.get(
        STATS, field=["environment", "count()"], topEvents=2, query=RICH_ONES, interval="1d", statsPeriod="7d"
    )
    assert {name: (total(each), each["order"]) for name, each in by.items()} == {
        "staging": (5, 0),
        "production": (4, 1),
    }
    assert "intervals" in anna.get(STATS, 400, interval="1s", statsPeriod="7d")["detail"]


def test_tags_of_an_issue_and_of_all(anna: Caller) -> None:
    issue = anna.get(f"{ORG}/issues/", query="ValueError")[0]["id"]
    tags = {tag["key"]: tag for tag in anna.get(f"{ORG}/issues/{issue}/tags/")}
    assert tags["tier"]["topValues"][0]["value"] == "gold"
    browser = anna.get(f"/issues/{issue}/tags/browser/")
    assert (browser["totalValues"], browser["uniqueValues"]) == (9, 3)
    values = anna.get(f"/issues/{issue}/tags/browser/values/")
    assert sum(each["count"] for each in values) == 9
    assert anna.get(f"/issues/{issue}/tags/nothing/", 404)
    assert {"browser", "environment"} <= {tag["key"] for tag in anna.get(f"{ORG}/tags/")}


def test_volumes_are_those_of_the_books(anna: Caller) -> None:
    found = anna.get(
        f"{ORG}/stats_v2/",
        field="sum(quantity)",
        groupBy="outcome",
        category="error",
        interval="1d",
        statsPeriod="7d",
        project=1,
    )
    (group,) = found["groups"]
    assert group["by"] == {"outcome": "accepted"}
    series = group["series"]["sum(quantity)"]
    assert len(series) == len(found["intervals"])
    assert group["totals"]["sum(quantity)"] == sum(series) == 10 + TIMEOUTS
    points = anna.get("/projects/acme/shop/stats/", stat="received", resolution="1h")
    assert sum(n for _, n in points) == sum(
        n for _, n in anna.get("/projects/acme/1/stats/", resolution="1d")
    )
    assert sum(n for _, n in anna.get("/projects/acme/shop/stats/", stat="rejected")) == 0
    assert anna.get(f"{ORG}/stats_v2/", 400, groupBy="key")


def test_metrics_are_figures_of_sessions(anna: Caller) -> None:
    found = anna.get(
        f"{ORG}/metrics/data/", field="session.all", interval="1h", statsPeriod="24h", includeSeries=1
    )
    assert len(found["intervals"]) == 24
    assert all(len(group["series"]["session.all"]) == 24 for group in found["groups"])
    assert anna.get(f"{ORG}/metrics/data/", 400, field="session.duration")


def test_monitors_with_environments_and_check_ins(api: Api, anna: Caller) -> None:
    now = datetime.now(UTC)
    schedule = {"schedule": {"type": "interval", "value": 2, "unit": "hour"}, "checkin_margin": 5}
    monitor = {
        "project_id": 1,
        "slug": "nightly",
        "type": "cron",
        "name": "Nightly",
        "config": schedule,
        "source": "check_in",
        "created_at": now,
        "updated_at": now,
    }
    with api.state.write() as connection:
        number = connection.execute(
            insert(t.monitors).values(monitor).returning(t.monitors.c.id)
        ).scalar_one()
        environment = {
            "monitor_id": number,
            "environment": "production",
            "status": "missed",
            "last_check_in_at": now,
            "data": {},
        }
        place = connection.execute(
            insert(t.monitor_environments).values(environment).returning(t.monitor_environments.c.id)
        ).scalar_one()
        for n, status in enumerate(("ok", "timed_out", "ok")):
            run = {
                "environment_id": place,
                "check_in_id": f"{n:032x}",
                "status": status,
                "started_at": now - timedelta(minutes=n),
                "duration_s": 1.5,
            }
            connection.execute(insert(t.monitor_check_ins).values(run))
    (found,) = anna.get(f"{ORG}/monitors/", query="night")
    assert (found["slug"], found["status"], found["isMuted"]) == ("nightly", "active", False)
    assert found["config"]["schedule"] == [2, "hour"]
    assert found["environments"][0]["status"] == "missed_checkin"
    assert anna.get("/projects/acme/shop/monitors/nightly/")["project"]["slug"] == "shop"
    runs = anna("GET", f"{ORG}/monitors/nightly/checkins/", query={"per_page": 2})
    assert [(each["status"], each["duration"]) for each in runs.json()] == [("ok", 1500), ("timeout", 1500)]
    assert runs.links["next"]["results"] == "true"
    counted = anna.get(f"{ORG}/monitors/nightly/stats/", resolution="1h")
    assert (sum(each["ok"] for each in counted), sum(each["timeout"] for each in counted)) == (2, 1)
    assert api.caller(member="ben@acme.example").get(f"{ORG}/monitors/") == []

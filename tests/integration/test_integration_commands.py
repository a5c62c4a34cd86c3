"""Commands about issue trackers: what programs read, what people are told, and names that change."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click import ClickException
from click.testing import CliRunner, Result
from sqlalchemy import select

from tasks_pipeline.cli import main
from tasks_pipeline.commands.groups.issues import _tracker_of
from tasks_pipeline.home import Home
from tasks_pipeline.links.rows import links_of_groups
from tasks_pipeline.storage.state.tables import integration_states, issue_intents, issue_links
from tasks_pipeline.stores import open_stores
from tests.support.day import Day
from tests.support.events import event
from tests.support.small_github import small_github

NOW = datetime.now(UTC)
CONFIG = """\
projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}, {id: 2, slug: office, keys: [{public_key: efghij}]}]
integrations:
  - {name: hub, type: github, url: 'http://127.0.0.1:9', token: '${env:HUB}', allow_insecure: true, allow_private: true}
  - {name: round, type: roundup, url: 'http://127.0.0.1:9/t', user: u, password: '${env:HUB}', allow_insecure: true, allow_private: true}
trackers:
  - {name: shop-issues, integration: hub, repository: acme/shop, projects: [shop]}
  - {name: web-issues, integration: hub, repository: acme/web}
  - {name: all-round, integration: round}
"""

HUB = """\
projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]
integrations: [{{name: hub, type: github, url: "{url}", token: "${{env:HUB}}", allow_insecure: true, allow_private: true}}]
trackers: [{{name: shop-issues, integration: hub, repository: acme/shop}}]
"""


@pytest.fixture
def shop(home: Home) -> Home:
    home.config_path.write_text(CONFIG)
    with open_stores(home, home.config_to_look()) as stores:
        day = Day(stores, NOW.date(), 1)
        day.send(event())
        day.drain()
    return home


def run(home: Home, *words: str, **options: Any) -> Result:
    return CliRunner().invoke(main, ["--home", str(home.root), *words], **options)


def said(home: Home, *words: str, **options: Any) -> str:
    result = run(home, *words, **options)
    assert result.exit_code == 0, result.output
    return result.output


def linked(home: Home, tracker: str = "shop-issues", number: int = 12, **values: Any) -> None:
    row = {
        "project_id": 1, "group_id": 1, "integration": "hub", "tracker": tracker, "external_id": f"1#{number}",
        "shown_key": f"acme/shop#{number}", "url": f"https://github.com/acme/shop/issues/{number}", "title": "It broke",
        "state": "linked", "origin": "linked", "marker": str(number), "agreed_state": "open", "theirs": {"state": "open"},
        "turns": [], "created_at": NOW, **values,
    }  # fmt: skip
    with open_stores(home, home.config_to_look()) as stores, stores.state.write() as connection:
        connection.execute(issue_links.insert().values(**row))


def test_programs_read_how_integrations_are(shop: Home) -> None:
    linked(shop)
    hub, other = json.loads(said(shop, "integrations", "status", "--json"))
    assert list(hub)[:10] == [
        "name", "type", "state", "since", "cause", "links", "waiting", "oldest_waiting_seconds", "requests_last_hour", "limit",
    ]  # fmt: skip
    assert (hub["name"], hub["type"], hub["state"], hub["links"], hub["waiting"], hub["limit"]) == (
        "hub", "github", "not_checked", 1, 0, None,
    )  # fmt: skip
    assert (other["name"], other["links"]) == ("round", 0)


def test_what_nobody_may_look_at_waits_too(shop: Home) -> None:
    """A change here is found by a look at both sides, and none is made while the tracker lets nobody in."""
    linked(shop, look_at=NOW + timedelta(hours=1), agreed_at=NOW)
    said(shop, "groups", "resolve", "SHOP-1")
    with open_stores(shop, shop.config_to_look()) as stores, stores.state.write() as connection:
        row = {
            "integration": "hub",
            "tracker": "",
            "status": "auth_failed",
            "since": NOW,
            "pace": {},
            "noted": {},
        }
        connection.execute(integration_states.insert().values(**row))
    hub, _ = json.loads(run(shop, "integrations", "status", "--json").output)
    assert (hub["state"], hub["waiting"]) == ("auth_failed", 1)
    assert hub["oldest_waiting_seconds"] is not None


def test_a_group_is_shown_with_its_issues_and_comments(shop: Home) -> None:
    linked(shop)
    linked(shop, "web-issues", 7, state="held", held="the workflow does not allow it")
    linked(shop, "all-round", 8, state="unlinked")
    said(shop, "groups", "comment", "SHOP-1", "-", input="The bank\nsays no\n")
    shown = json.loads(said(shop, "groups", "show", "SHOP-1", "--json"))
    assert shown["external_issues"] == [
        {"tracker": "shop-issues", "key": "acme/shop#12", "url": "https://github.com/acme/shop/issues/12", "state": "open", "agreed": "open", "held": ""},
        {"tracker": "web-issues", "key": "acme/shop#7", "url": "https://github.com/acme/shop/issues/7", "state": "held", "agreed": "open", "held": "the workflow does not allow it"},
    ]  # fmt: skip
    assert [each["body"] for each in shown["comments"]] == ["The bank\nsays no"]
    text = said(shop, "groups", "show", "SHOP-1")
    assert "issues        acme/shop#12 open https://github.com/acme/shop/issues/12" in text
    assert "acme/shop#7 held: the workflow does not allow it" in text
    assert "\ncomments\n" in text


def test_comments_are_changed_and_deleted_where_they_belong(shop: Home) -> None:
    said(shop, "groups", "comment", "SHOP-1", "first")
    assert (
        said(shop, "groups", "comment", "SHOP-1", "second", "--edit", "1") == "comment 1 of SHOP-1 changed\n"
    )
    assert run(shop, "groups", "comment", "SHOP-1", "x", "--edit", "9").exit_code == 1
    assert said(shop, "groups", "comment", "SHOP-1", "--delete", "1") == "comment 1 of SHOP-1 deleted\n"
    assert json.loads(said(shop, "groups", "show", "SHOP-1", "--json"))["comments"] == []


def test_an_issue_is_asked_for_once(shop: Home) -> None:
    assert "is to be made in shop-issues" in said(shop, "groups", "link", "SHOP-1", "--create", "shop-issues")
    again = run(shop, "groups", "create-issue", "SHOP-1", "shop-issues")
    assert again.exit_code == 1
    assert "an issue of it is being made in shop-issues already" in again.output
    with open_stores(shop, shop.config_to_look()) as stores, stores.state.read() as connection:
        assert [link.state for link in links_of_groups(connection, [1])[1]] == ["creating"]
        assert connection.execute(select(issue_intents.c.kind)).scalars().all() == ["create"]
    for words in (
        ["SHOP-1"],
        ["SHOP-1", "12", "--create", "x"],
        ["SHOP-1", "--create", "x", "--take", "ours"],
    ):
        assert run(shop, "groups", "link", *words).exit_code == 2
    assert "'x' is no tracker" in run(shop, "groups", "link", "SHOP-1", "--create", "x").output


def test_which_tracker_an_issue_is_of(shop: Home) -> None:
    with open_stores(shop, shop.config_to_look()) as stores:

        def found(issue: str, project: str = "shop") -> str:
            try:
                return _tracker_of(stores, issue, {"project": project})
            except ClickException as error:
                return error.message

        assert found("http://127.0.0.1:9/acme/shop/issues/12") == "shop-issues"
        assert found("http://127.0.0.1:9/ACME/web/issues/12") == "web-issues"
        assert found("http://127.0.0.1:9/t/issue12") == "all-round"
        assert found("acme/Web#12") == "web-issues"
        assert "is of no tracker for project shop" in found("https://github.com/acme/shop/issues/1")
        assert (
            found("17")
            == "17 may be of several trackers; name one by --tracker: shop-issues (github acme/shop), "
            "web-issues (github acme/web), all-round (roundup http://127.0.0.1:9/t)"
        )
        assert found("acme/shop#1", "office") == "web-issues", "whose repository may have been called so"
        assert found("issue2") == "all-round"
        assert "is of no tracker for project shop" in found("SHOP-1")


@pytest.mark.parametrize(
    ("repository", "scopes", "lacks"),
    [
        ({"archived": True}, None, "acme/shop is archived"),
        ({"permissions": {"pull": True, "push": False}}, None, "our account may only read acme/shop"),
        ({"private": True}, "gist, public_repo", "give it the scope repo (it has gist, public_repo)"),
        ({}, "", "give it the scope repo (it has none)"),
    ],
)
def test_a_check_says_who_we_are_and_what_is_missing(
    home: Home, repository: dict[str, Any], scopes: str | None, lacks: str
) -> None:
    with small_github() as github:
        github.repository, github.scopes = repository, scopes
        home.config_path.write_text(HUB.format(url=github.server.url))
        checked = run(home, "integrations", "check", env={"HUB": "ghp_something"})
        tried = run(home, "integrations", "test", "shop-issues", env={"HUB": "ghp_something"})
    assert (checked.exit_code, tried.exit_code) == (1, 1)
    for output in (checked.output, tried.output):
        shown = " ".join(output.split())
        assert "as tasks-bot" in shown
        assert lacks in shown


def test_a_token_with_its_scopes_lacks_nothing(home: Home) -> None:
    with small_github() as github:
        github.scopes = "public_repo"
        home.config_path.write_text(HUB.format(url=github.server.url))
        assert "as tasks-bot" in said(home, "integrations", "check", env={"HUB": "ghp_something"})


def test_what_answers_nothing_ends_with_a_line(shop: Home) -> None:
    result = run(shop, "groups", "link", "SHOP-1", "acme/shop#12", env={"HUB": "tok-3n"})
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "tok-3n" not in result.output
    tried = run(shop, "integrations", "test", "shop-issues", env={"HUB": "tok-3n"})
    assert tried.exit_code == 1
    assert tried.output.splitlines()[1].startswith("sign in  failed  ")


def test_a_link_is_ended_by_what_names_it(shop: Home) -> None:
    assert "SHOP-1 is linked to no issue" in run(shop, "groups", "unlink", "SHOP-1").output
    linked(shop)
    linked(shop, "web-issues", 7)
    many = run(shop, "groups", "unlink", "SHOP-1")
    assert (
        "SHOP-1 is linked to acme/shop#12 in shop-issues, acme/shop#7 in web-issues: name one of them"
        in many.output
    )
    assert "not linked any more" in said(shop, "groups", "unlink", "SHOP-1", "acme/shop#12")
    assert "not linked any more" in said(shop, "groups", "unlink", "SHOP-1", "--tracker", "web-issues")
    assert [row["state"] for row in json.loads(said(shop, "groups", "links", "SHOP-1", "--json"))] == [
        "unlinked"
    ] * 2


def test_links_of_a_former_name_are_told_and_given_to_another(shop: Home) -> None:
    linked(shop, "former-issues")
    linked(shop, "former-too", 13, integration="former-hub")
    status = run(shop, "integrations", "status")
    assert status.exit_code == 1
    assert "tasks-pipeline integrations rename former-hub NEW" in status.output
    assert "tasks-pipeline integrations rename former-issues NEW" in status.output
    assert (
        said(shop, "integrations", "rename", "former-hub", "hub")
        == "integration former-hub is hub now, with 1 link\n"
    )
    for old, new in (("former-issues", "web-issues"), ("former-too", "shop-issues")):
        assert said(shop, "integrations", "rename", old, new) == f"tracker {old} is {new} now, with 1 link\n"
    hub = json.loads(said(shop, "integrations", "status", "--json"))[0]
    assert {each["name"]: each["links"] for each in hub["trackers"]} == {"shop-issues": 1, "web-issues": 1}
    for words, why in (
        (("nothing", "shop-issues"), "no link names nothing"),
        (("shop-issues", "web-issues"), "shop-issues is in the configuration still"),
    ):
        refused = run(shop, "integrations", "rename", *words)
        assert (refused.exit_code, why in refused.output) == (1, True), refused.output


def test_one_is_disabled_and_enabled(shop: Home) -> None:
    assert said(shop, "integrations", "disable", "hub") == "hub is disabled\n"
    assert said(shop, "integrations", "disable", "hub") == "hub was disabled already\n"
    assert json.loads(said(shop, "integrations", "status", "--json"))[0]["state"] == "disabled"
    assert said(shop, "integrations", "enable", "hub") == "hub is enabled\n"
    with open_stores(shop, shop.config_to_look()) as stores, stores.state.read() as connection:
        assert connection.execute(select(integration_states.c.disabled_at)).scalar() is None
    assert (
        "there is no integration nobody; there are: hub, round"
        in run(shop, "integrations", "enable", "nobody").output
    )

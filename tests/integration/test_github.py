"""The provider of GitHub against the stand-in that keeps state, on github.com's addresses and on an Enterprise Server's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks_pipeline.trackers import calls
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Changes, Cursor, Draft, Issue, IssueState
from tasks_pipeline.trackers.markers import marker_in, without_marker
from tasks_pipeline.trackers.markup import ZERO_WIDTH, neutral, neutral_title
from tasks_pipeline.trackers.provider import Provider, open_provider
from tasks_pipeline.trackers.providers import github_polling
from tasks_pipeline.trackers.providers.github import addresses
from tests.support.github import ANN, BEN, SHOP, Hub, bad_weather, running_hub
from tests.support.stand_ins import folder

OFFICE = SHOP.model_copy(update={"repository": "acme/office"})


@pytest.fixture(scope="module", params=["github", "github-enterprise"])
def server(request: pytest.FixtureRequest) -> Iterator[Hub]:
    with running_hub(request.param) as hub:
        yield hub


@pytest.fixture(scope="module")
def dotcom() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


@pytest.fixture
def hub(dotcom: Hub) -> Hub:
    dotcom.begin_anew()
    return dotcom


@pytest.fixture
def ours(hub: Hub) -> Iterator[Provider]:
    with open_provider(hub.integration()) as provider:
        yield provider


@pytest.fixture
def anns(hub: Hub) -> Iterator[Provider]:
    with open_provider(hub.integration(ANN)) as provider:
        yield provider


def made(provider: Provider, number: int = 1, **more: object) -> Issue:
    return provider.create(SHOP, replace(Draft(f"Problem {number}", "It failed.", f"K{number}"), **more))  # type: ignore[arg-type]


def verdict_of(what: object) -> Verdict:
    with pytest.raises(TrackerError) as caught:
        what()  # type: ignore[operator]
    return caught.value.verdict


def ids(changes: Changes) -> list[str]:
    return [issue.external_id for issue in changes.issues]


def test_an_issue_from_its_making_to_its_end(server: Hub) -> None:
    server.begin_anew()
    with open_provider(server.integration()) as hub:
        assert hub.who().person.login == "tasks-bot"
        assert hub.place(SHOP).problem == ""
        issue = made(hub, labels=["error", "new"], assignee="ann")
        assert (issue.external_id, issue.key, issue.url) == (
            "701#1",
            "acme/shop#1",
            f"{server.url}/acme/shop/issues/1",
        )
        assert (issue.labels, [one.login for one in issue.assignees]) == (("error", "new"), ["ann"])
        assert (marker_in(issue.body), without_marker(issue.body)) == ("K1", "It failed.")
        closed = hub.set_state(SHOP, issue, IssueState.CLOSED, "not_planned")
        assert (closed.state, closed.reason) == (IssueState.CLOSED, "not_planned")
        assert closed.changed_by is not None
        assert closed.changed_by.login == "tasks-bot"
        assert hub.set_state(SHOP, issue, IssueState.OPEN).reason == ""
        assert [one.login for one in hub.assign(SHOP, issue, "ben").assignees] == ["ben"]
        assert hub.assign(SHOP, issue, None).assignees == ()
        comment = hub.comment(SHOP, issue, "Seen again.", "c:1:1")
        changed = hub.edit_comment(SHOP, issue, comment.external_id, "Seen twice.", "c:1:2")
        assert [(one.external_id, one.body) for one in hub.comments(SHOP, issue)] == [
            (comment.external_id, changed.body)
        ]
        assert (marker_in(changed.body), without_marker(changed.body)) == ("c:1:2", "Seen twice.")
        hub.delete_comment(SHOP, issue, comment.external_id)
        hub.delete_comment(SHOP, issue, comment.external_id)
        read = hub.read(SHOP, issue.external_id)
        assert read is not None
        assert hub.read(SHOP, issue.external_id, read.etag) is None
        assert hub.comments(SHOP, read) == []


def test_no_request_differs_from_the_published_document(hub: Hub, tmp_path: Path) -> None:
    test_an_issue_from_its_making_to_its_end(hub)
    with open_provider(hub.integration()) as provider:
        provider.by_ids(SHOP, [f"701#{number}" for number in range(1, 6)])
        provider.find_marker(SHOP, "K9", datetime.now(UTC))
        cursor = provider.changed(SHOP, Cursor()).cursor
        provider.changed(SHOP, provider.changed(SHOP, cursor).cursor)
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(entry) + "\n" for entry in hub.tracker.log))
    spec = folder() / "openapi" / "github.json"
    command = [
        sys.executable,
        str(folder() / "validate.py"),
        str(log),
        "--spec",
        str(spec),
        "--requests-only",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    # What is unknown there: where the API of this address was looked for.
    assert [line for line in told.stdout.splitlines() if "unknown" in line and "/meta" not in line] == []


def test_a_name_without_the_right_to_write_is_told_what_it_may_not(hub: Hub) -> None:
    with open_provider(hub.integration(BEN)) as provider:
        issue = made(provider, labels=["error"], assignee="ann")
        assert (issue.labels, issue.assignees) == ((), ())
        assert verdict_of(lambda: provider.assign(SHOP, issue, "ann")).fields == ("assignees",)
    with open_provider(hub.integration()) as provider:
        theirs = made(provider, 2)
    with open_provider(hub.integration(BEN)) as provider:
        found = verdict_of(lambda: provider.set_state(SHOP, theirs, IssueState.CLOSED))
    assert (found.do, found.tracker) == (Do.HELD, "degraded")


def test_an_unknown_assignee_is_worth_another_try_without(ours: Provider) -> None:
    found = verdict_of(lambda: made(ours, assignee="nobody-there"))
    assert (found.do, found.fields, bool(found.then)) == (Do.DEAD, ("assignees",), True)
    assert verdict_of(lambda: ours.assign(SHOP, made(ours), "ghost")).fields == ("assignees",)


def test_a_lost_answer_is_found_by_its_marker(hub: Hub) -> None:
    rule = {"method": "POST", "path": "/issues$", "do": "lose_answer"}
    before = datetime.now(UTC) - timedelta(seconds=120)
    with bad_weather(hub, rule) as weather, open_provider(hub.integration(url=weather.url)) as provider:
        assert verdict_of(lambda: made(provider)).do is Do.UNKNOWN
        found = provider.find_marker(SHOP, "K1", before)
        assert found is not None
        assert found.external_id == "701#1"
        assert provider.find_marker(SHOP, "K", before) is None, "a marker that begins like it is another one"
    assert len(hub.tracker.issues) == 1


@pytest.mark.parametrize(
    ("rule", "read", "create"),
    [
        ({"do": "cut"}, Do.RETRY, Do.UNKNOWN),
        ({"do": "truncate"}, Do.RETRY, Do.UNKNOWN),
        ({"do": "html"}, Do.UNREACHABLE, Do.UNKNOWN),
        ({"do": "status", "status": 503, "body": "busy"}, Do.RETRY, Do.UNKNOWN),
        ({"do": "after", "status": 502, "body": "<html>"}, Do.RETRY, Do.UNKNOWN),
        ({"do": "status", "status": 429, "headers": {"Retry-After": "7"}}, Do.RATE_LIMITED, Do.RATE_LIMITED),
        ({"do": "status", "status": 302, "headers": {"Location": "http://169.254.169.254/"}}, Do.MISCONFIGURED, Do.MISCONFIGURED),
    ],
)  # fmt: skip
def test_bad_weather(rule: dict[str, object], read: Do, create: Do, hub: Hub, ours: Provider) -> None:
    issue = made(ours)
    with bad_weather(hub) as weather, open_provider(hub.integration(url=weather.url)) as provider:
        provider.read(SHOP, issue.external_id)
        weather.rules = [{"path": "/issues", "times": 9, **rule}]
        assert verdict_of(lambda: provider.read(SHOP, issue.external_id)).do is read
        assert verdict_of(lambda: made(provider, 2)).do is create


def test_a_secondary_limit_stops_what_makes(hub: Hub, ours: Provider) -> None:
    hub.tracker.settings["content_per_minute"] = 1
    made(ours)
    found = verdict_of(lambda: made(ours, 2))
    assert (found.do, found.scope) == (Do.RATE_LIMITED, "writes of the integration")
    assert 60 <= found.wait <= 66
    hub.tracker.settings["per_hour"] = 1
    found = verdict_of(lambda: ours.who())
    assert (found.do, found.scope) == (Do.RATE_LIMITED, "integration")


def test_places_that_take_no_issues_say_why(hub: Hub, ours: Provider) -> None:
    def problem(name: str) -> str:
        return ours.place(SHOP.model_copy(update={"repository": f"acme/{name}"})).problem

    assert "archived" in problem("legacy")
    assert "switched off" in problem("noissues")
    assert "is not there" in problem("nowhere")
    for name, words in {"legacy": "archived", "noissues": "disabled"}.items():
        place = SHOP.model_copy(update={"repository": f"acme/{name}"})
        found = verdict_of(lambda place=place: ours.create(place, Draft("x", "y", "K")))
        assert (found.do, found.tracker) == (Do.HELD, "degraded")
        assert words in found.said
    assert (
        verdict_of(lambda: ours.place(SHOP.model_copy(update={"repository": "acme/../user"}))).do
        is Do.MISCONFIGURED
    )


def test_a_renamed_repository_is_the_same_one(hub: Hub, ours: Provider) -> None:
    issue = made(ours)
    hub.do("rename", repo="shop", name="store")
    closed = ours.set_state(SHOP, issue, IssueState.CLOSED)
    assert (closed.external_id, closed.key, closed.url) == (
        "701#1",
        "acme/store#1",
        f"{hub.url}/acme/store/issues/1",
    )
    with open_provider(hub.integration()) as later:
        place = later.place(SHOP)
        assert (place.renamed_to, place.external_id) == ("acme/store", "701")
        assert later.create(SHOP, Draft("x", "y", "K2")).external_id == "701#2"
        assert later.find(SHOP, "acme/shop#1").external_id == "701#1"


def test_an_issue_is_followed_to_where_it_went(hub: Hub, ours: Provider) -> None:
    issue = made(ours)
    hub.do("transfer", repo="shop", number=1, to="office")
    found = ours.read(SHOP, issue.external_id)
    assert found is not None
    assert (found.external_id, found.key) == ("702#1", "acme/office#1")
    assert ours.set_state(SHOP, found, IssueState.CLOSED).external_id == "702#1"
    assert ours.comment(SHOP, found, "There, too.", "c:1:1").body.startswith("There")


def test_what_is_gone_is_gone_and_what_was_made_anew_is_another(hub: Hub, ours: Provider) -> None:
    issue = made(ours)
    made(ours, 2)
    hub.do("delete", repo="shop", number=1)
    assert verdict_of(lambda: ours.read(SHOP, issue.external_id)).do is Do.GONE
    assert verdict_of(lambda: ours.read(SHOP, "701#99")).do is Do.MAYBE_GONE
    assert ours.by_ids(SHOP, ["701#1", "701#99"]) == {"701#1": None, "701#99": None}
    hub.tracker.repos[701]["gone"] = True
    hub.tracker.repos[701]["name"] = "former"
    hub.tracker.repos[799] = {**hub.tracker.repos[702], "id": 799, "name": "shop"}
    with open_provider(hub.integration()) as later:
        assert verdict_of(lambda: later.read(SHOP, "701#2")).do is Do.MAYBE_GONE


def test_a_locked_issue_takes_no_comment(hub: Hub, ours: Provider) -> None:
    issue = made(ours)
    hub.do("lock", repo="shop", number=1)
    with open_provider(hub.integration(BEN)) as provider:
        assert verdict_of(lambda: provider.comment(SHOP, issue, "x", "c:1:1")).do is Do.HELD


def test_a_revoked_token_is_told_from_all_else(hub: Hub, ours: Provider) -> None:
    issue = made(ours)
    hub.do("revoke", token="ghp_bot")
    assert verdict_of(lambda: ours.read(SHOP, issue.external_id)).do is Do.AUTH_FAILED
    assert verdict_of(lambda: made(ours, 2)).do is Do.AUTH_FAILED


@pytest.mark.parametrize(
    "text",
    [
        "{url}/acme/shop/issues/1",
        "{url}/acme/shop/issues/1#issuecomment-5",
        "acme/shop#1",
        "Acme/Shop#1",
        "#1",
        "1",
        " 1 ",
    ],
)
def test_an_issue_is_found_by_how_people_name_it(text: str, hub: Hub, ours: Provider) -> None:
    made(ours)
    assert ours.find(SHOP, text.format(url=hub.url)).external_id == "701#1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "shop",
        "acme/office#1",
        "https://evil.example/acme/shop/issues/1",
        "SHOP-1",
        "0x1",
        "1; drop",
        "#1#2/",
    ],
)
def test_what_names_no_issue_of_the_place_is_refused(text: str, ours: Provider) -> None:
    with pytest.raises(ValueError, match="acme/shop#12"):
        ours.find(SHOP, text)


def test_one_that_is_not_there_is_told_so(ours: Provider) -> None:
    assert (
        verdict_of(lambda: ours.find(SHOP, "99")).said
        == "acme/shop#99 is not there, or the token may not see it"
    )


def test_a_server_without_the_list_of_all_comments_is_polled_all_the_same(hub: Hub, ours: Provider) -> None:
    made(ours)
    rule = {"path": "/issues/comments", "do": "status", "status": 404, "body": {"message": "Not Found"}}
    with bad_weather(hub, rule) as weather, open_provider(hub.integration(url=weather.url)) as provider:
        found = provider.changed(SHOP, Cursor(since=datetime.now(UTC) - timedelta(hours=1)))
    assert (ids(found), found.comments) == (["701#1"], None)


def test_a_pull_request_is_told_apart(hub: Hub, ours: Provider) -> None:
    number = hub.do("pull", repo="shop", title="Fix", body="", merged=False)["number"]
    assert ours.find(SHOP, f"{hub.url}/acme/shop/pull/{number}").is_pull_request


def test_polling_finds_what_changed_once(hub: Hub, ours: Provider, anns: Provider) -> None:
    first = ours.changed(SHOP, Cursor())
    assert (list(first.issues), first.more) == ([], False)
    issue = made(ours)
    second = ours.changed(SHOP, first.cursor)
    assert ids(second) == ["701#1"]
    anns.set_state(SHOP, issue, IssueState.CLOSED)
    said = anns.comment(SHOP, issue, "Not here.", "")
    third = ours.changed(SHOP, second.cursor)
    assert [(one.state, one.external_id) for one in third.issues] == [(IssueState.CLOSED, "701#1")]
    assert third.comments is not None
    assert [one.external_id for one in third.comments["701#1"]] == [said.external_id]
    cursor = third.cursor
    for _ in range(3):
        again = ours.changed(SHOP, cursor)
        assert (list(again.issues), again.comments, again.more) == ([], {}, False)
        cursor = again.cursor
    assert [entry["status"] for entry in hub.tracker.log[-2:]] == [304, 304], (
        "unchanged costs nothing of the limit"
    )
    anns.edit_comment(SHOP, issue, said.external_id, "Not there.")
    again = ours.changed(SHOP, cursor)
    assert again.comments is not None
    assert [one.body for one in again.comments["701#1"]] == ["Not there."]


def test_two_changes_within_a_second_are_two(hub: Hub, ours: Provider, anns: Provider) -> None:
    issue = made(ours)
    cursor = ours.changed(SHOP, Cursor(since=datetime.now(UTC) - timedelta(hours=1))).cursor
    hub.tracker.issues[701, 1] |= {"state": "closed", "state_reason": "completed"}  # updated_at stays
    assert [one.state for one in ours.changed(SHOP, cursor).issues] == [IssueState.CLOSED]
    assert issue.state is IssueState.OPEN


@pytest.mark.parametrize("skew", [-600, 600])
def test_their_clock_alone_counts(skew: int, hub: Hub, ours: Provider) -> None:
    hub.tracker.settings["clock_skew_seconds"] = skew
    rule = {"do": "skew", "seconds": skew, "times": 99}
    with bad_weather(hub, rule) as weather, open_provider(hub.integration(url=weather.url)) as provider:
        cursor = provider.changed(SHOP, Cursor()).cursor
        assert cursor.since is not None
        assert abs((cursor.since - datetime.now(UTC)).total_seconds() - min(skew, 0)) < 5
        made(ours)
        assert ids(provider.changed(SHOP, cursor)) == ["701#1"]


def test_a_gateway_whose_clock_is_ahead_hides_nothing(hub: Hub, ours: Provider) -> None:
    """Its `Date` is in the answers, the times of rows are the tracker's."""
    with (
        bad_weather(hub, {"do": "skew", "seconds": 600, "times": 99}) as weather,
        open_provider(hub.integration(url=weather.url)) as provider,
    ):
        cursor = provider.changed(SHOP, Cursor()).cursor
        made(ours)
        assert ids(provider.changed(SHOP, cursor)) == ["701#1"]


def many(hub: Hub, count: int, *, seconds_apart: float = 1) -> datetime:
    """So many issues, each changed some time after the one before. When the first was."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
    for number in range(1, count + 1):
        at = (start + timedelta(seconds=number * seconds_apart)).strftime("%Y-%m-%dT%H:%M:%SZ")
        hub.tracker.issues[701, number] = {
            "id": number, "number": number, "title": f"T{number}", "body": "", "user": "ann", "state": "open", "state_reason": None,
            "locked": False, "labels": [], "assignees": [], "created_at": at, "updated_at": at, "closed_at": None, "closed_by": None,
            "pull": False, "touched": 0,
        }  # fmt: skip
    hub.tracker.repos[701]["last"] = count
    return start


@pytest.mark.parametrize("apart", [1.0, 0.02, 0.0])
def test_many_changes_come_in_bounded_steps_and_none_is_missed(
    apart: float, hub: Hub, ours: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_polling, "PAGES", 2)
    start = many(hub, 500, seconds_apart=apart)
    cursor, found, steps = Cursor(since=start), set(), 0
    more = True
    while more:
        step = ours.changed(SHOP, cursor)
        found |= set(ids(step))
        cursor, more, steps = step.cursor, step.more, steps + 1
        assert steps < 20
    assert len(found) == 500
    assert steps >= (3 if apart else 1)
    assert ids(ours.changed(SHOP, cursor)) == []


def test_texts_that_are_too_long_for_a_page_hide_nothing(
    hub: Hub, ours: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred comments of 65,536 characters are more than an answer may have: anybody there can write them."""
    start = many(hub, 30)
    for issue in hub.tracker.issues.values():
        issue["body"] = "x" * 4000
    monkeypatch.setattr(calls, "BODY_BYTES", 60_000)
    cursor, found, more = Cursor(since=start), set(), True
    while more:
        step = ours.changed(SHOP, cursor)
        found |= set(ids(step))
        cursor, more = step.cursor, step.more
    assert len(found) == 30
    assert len(ours.by_ids(SHOP, sorted(found))) == 30


def test_one_row_that_is_none_hides_no_other_and_one_of_next_year_nothing_that_follows(
    hub: Hub, ours: Provider
) -> None:
    start = many(hub, 3)
    hub.tracker.issues[701, 1]["updated_at"] = "2999-01-01T00:00:00Z"
    hub.tracker.issues[701, 2]["state"] = "draft"
    step = ours.changed(SHOP, Cursor(since=start))
    assert sorted(ids(step)) == ["701#1", "701#3"]
    assert step.cursor.since == start + timedelta(seconds=3)
    hub.tracker.issues[701, 2]["state"] = "open"
    assert ids(ours.changed(SHOP, step.cursor)) == ["701#2"]


def test_what_changed_behind_a_full_page_is_seen_and_costs_no_more(hub: Hub, ours: Provider) -> None:
    """Three hundred issues within a second, then one by one: the first page of the list stays the same."""
    start = many(hub, 300, seconds_apart=0.003)
    cursor, more = Cursor(since=start), True
    while more:
        step = ours.changed(SHOP, cursor)
        cursor, more = step.cursor, step.more
    assert ids(ours.changed(SHOP, cursor)) == []
    for number in (7, 8, 9):
        at = start + timedelta(seconds=number)
        hub.tracker.issues[701, number] |= {
            "state": "closed",
            "updated_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        before = len(hub.tracker.log)
        step = ours.changed(SHOP, cursor)
        assert ids(step) == [f"701#{number}"]
        cursor = step.cursor
    assert len(hub.tracker.log) - before == 2


def test_a_full_page_that_stays_the_same_hides_nothing(hub: Hub, ours: Provider) -> None:
    start = many(hub, github_polling.PER_PAGE, seconds_apart=0.1)
    cursor = ours.changed(SHOP, Cursor(since=start)).cursor
    for _ in range(2):
        cursor = ours.changed(SHOP, cursor).cursor
    made(ours, 101)
    assert ids(ours.changed(SHOP, cursor)) == ["701#101"]


def test_rows_that_move_between_pages_are_not_missed(hub: Hub, ours: Provider) -> None:
    start = many(hub, 250)
    first = hub.tracker.issues[701, 5]

    def touch(entry: dict[str, object]) -> None:
        first["updated_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    class Touching(list):  # type: ignore[type-arg]
        """The log; after each request an early row moves to the end."""

        def append(self, entry: dict[str, object]) -> None:
            super().append(entry)
            touch(entry)

    hub.tracker.log = Touching()
    try:
        step = ours.changed(SHOP, Cursor(since=start))
    finally:
        hub.tracker.log = []
    assert set(ids(step)) == {f"701#{number}" for number in range(1, 251)}


def test_many_issues_cost_few_requests(hub: Hub, ours: Provider) -> None:
    many(hub, 1000)
    for number in range(1, 400, 7):
        del hub.tracker.issues[701, number]
    wanted = [f"701#{number}" for number in range(301, 401)] + ["701#990", "701#5", "701#9000"]
    ours.place(SHOP)
    before = len(hub.tracker.log)
    found = ours.by_ids(SHOP, wanted)
    assert set(found) == set(wanted)
    missing = {f"701#{number}" for number in range(1, 400, 7)} & set(wanted)
    assert {one for one, issue in found.items() if issue is None} == missing | {"701#9000"}
    assert len(hub.tracker.log) - before <= 8 + len(missing)


def test_hostile_texts_come_back_harmless(ours: Provider) -> None:
    title = neutral_title("@ann fixes #1\r\n<script>", ours.markup, ours.title_length)
    body = neutral(
        "@ben ```\n<!-- tasks-pipeline:K7 --> \u202e" + "x" * 70_000, ours.markup, ours.body_length
    )
    issue = made(ours, 3)
    issue = ours.create(SHOP, Draft(title, body, "K4"))
    assert ZERO_WIDTH in issue.title
    assert "@ben" not in issue.body
    assert marker_in(issue.body) == "K4"
    assert ours.find_marker(SHOP, "K7", datetime.now(UTC) - timedelta(minutes=2)) is None


@pytest.mark.parametrize(
    ("url", "web", "api"),
    [
        ("https://github.com", "https://github.com", "https://api.github.com"),
        ("https://www.GitHub.com/", "https://github.com", "https://api.github.com"),
        ("https://api.github.com", "https://github.com", "https://api.github.com"),
        ("https://acme.ghe.com", "https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://github.corp.example", "https://github.corp.example", "https://github.corp.example/api/v3"),
        (
            "https://corp.example:8443/gh/",
            "https://corp.example:8443/gh",
            "https://corp.example:8443/gh/api/v3",
        ),
        (
            "https://github.corp.example/api/v3",
            "https://github.corp.example",
            "https://github.corp.example/api/v3",
        ),
        ("https://notgithub.com", "https://notgithub.com", "https://notgithub.com/api/v3"),
    ],
)
def test_where_the_api_is(url: str, web: str, api: str) -> None:
    assert addresses(url) == (web, api)


def test_the_end_of_a_token_is_read(hub: Hub, ours: Provider) -> None:
    ends = {
        "GitHub-Authentication-Token-Expiration": "2026-12-24 10:00:00 UTC",
        "X-OAuth-Scopes": "repo, read:org",
    }
    rule = {
        "path": "/user$",
        "do": "after",
        "status": 200,
        "headers": ends,
        "body": {"login": "tasks-bot", "type": "Bot"},
    }
    with bad_weather(hub, rule) as weather, open_provider(hub.integration(url=weather.url)) as provider:
        found = provider.who()
    assert found.expires_at == datetime(2026, 12, 24, 10, tzinfo=UTC)
    assert found.scopes == ("repo", "read:org")
    assert found.person.is_bot


def test_no_call_is_made_by_opening(hub: Hub) -> None:
    with open_provider(hub.integration()):
        pass
    assert hub.tracker.log == []


def test_who_reopened_an_issue_is_told(hub: Hub, ours: Provider, anns: Provider) -> None:
    issue, other = made(ours, 1), made(ours, 2)
    anns.set_state(SHOP, ours.set_state(SHOP, issue, IssueState.CLOSED), IssueState.OPEN)
    ours.set_state(SHOP, ours.set_state(SHOP, other, IssueState.CLOSED), IssueState.OPEN)
    read = ours.read(SHOP, issue.external_id)
    assert read is not None
    asked = len(hub.paths())
    told = ours.attributed(SHOP, read, state=True, assignee=False)
    assert told.changed_by is not None
    assert told.changed_by.login == "ann"
    assert len(hub.paths()) == asked + 1


def test_who_assigned_an_issue_is_told_and_when(hub: Hub, ours: Provider, anns: Provider) -> None:
    issue, other = made(ours, 1), made(ours, 2)
    read = anns.assign(SHOP, issue, "ann")
    ours.assign(SHOP, other, "ann")
    told = ours.attributed(SHOP, read, state=False, assignee=True)
    assert told.assigned_by is not None
    assert (told.assigned_by.login, told.changed_by) == ("ann", None)
    assert told.assigned_at is not None
    asked = len(hub.paths())
    assert ours.attributed(
        SHOP, ours.set_state(SHOP, issue, IssueState.CLOSED), state=True, assignee=False
    ).changed_by
    assert len(hub.paths()) == asked, "who closed it the issue says itself"

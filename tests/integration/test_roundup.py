"""Roundup, the real one: what it alone does. It has conditional writes and creation exactly once, and rules that answer comments."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tasks_pipeline.config.integrations import Statuses
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Cursor, Draft, Issue, IssueState
from tasks_pipeline.trackers.provider import Provider, open_provider
from tests.support.far_sides import RoundupSide
from tests.support.outside import HttpReceiver, Posted, http_receiver
from tests.support.trackers import real_roundup

CLOSED = IssueState.CLOSED


@pytest.fixture
def provider(roundup: RoundupSide) -> Iterator[Provider]:
    with open_provider(roundup.integration()) as opened:
        yield opened


def draft(title: str = "broken") -> Draft:
    return Draft(title, "text", f"K{uuid.uuid4().hex[:12]}")


def verdict_of(call: object, *given: object) -> Verdict:
    with pytest.raises(TrackerError) as caught:
        call(*given)  # type: ignore[operator]
    return caught.value.verdict


@contextmanager
def losing(roundup: RoundupSide, is_lost: Callable[[Posted, int], bool]) -> Iterator[HttpReceiver]:
    """A way to a tracker on which answers are lost: what was asked is done."""
    origin = roundup.real.url.removesuffix("/tracker")
    lost: list[int] = []

    def answer(posted: Posted, _before: int) -> tuple[int, dict[str, str], bytes] | None:
        headers = {
            name: value
            for name, value in posted.headers.items()
            if name.lower() not in ("host", "content-length", "connection")
        } | {"Origin": origin, "Referer": f"{roundup.real.url}/"}  # fmt: skip
        found = httpx.request(
            posted.method, origin + posted.path, headers=headers, content=posted.body, trust_env=False
        )
        if is_lost(posted, len(lost)):
            lost.append(found.status_code)
            return None
        kept = {
            name: found.headers[name] for name in ("Content-Type", "Date", "ETag") if name in found.headers
        }
        return found.status_code, kept, found.content

    with http_receiver() as receiver:
        receiver.answer = answer
        yield receiver


@pytest.mark.parametrize("times", [1, 2, 9])
def test_an_issue_whose_answer_is_lost_is_made_once(roundup: RoundupSide, times: int) -> None:
    wanted, title = draft(f"lost {times} times"), f"lost {times} times"

    def is_lost(posted: Posted, before: int) -> bool:
        return "/issue/@poe/" in posted.path and before < times

    with (
        losing(roundup, is_lost) as way,
        open_provider(roundup.integration(url=f"{way.url}/tracker")) as provider,
    ):
        issue = provider.create(roundup.tracker(), wanted)
        found = provider.find_marker(roundup.tracker(), wanted.marker, datetime.now(UTC))
    assert found is not None
    assert found.external_id == issue.external_id
    assert roundup.titles().count(title) == 1


def test_when_no_answer_comes_at_all_nobody_knows_what_was_made(roundup: RoundupSide) -> None:
    wanted = draft("silence")

    def is_lost(posted: Posted, before: int) -> bool:
        return "/issue/@poe/" in posted.path or (before > 0 and "messageid" in posted.path)

    with (
        losing(roundup, is_lost) as way,
        open_provider(roundup.integration(url=f"{way.url}/tracker")) as provider,
    ):
        verdict = verdict_of(provider.create, roundup.tracker(), wanted)
    assert verdict.do in (Do.UNKNOWN, Do.RETRY)
    assert roundup.titles().count("silence") == 1


def test_a_comment_whose_answer_is_lost_is_found_by_its_marker(
    roundup: RoundupSide, provider: Provider
) -> None:
    issue = provider.create(roundup.tracker(), draft())

    def is_lost(posted: Posted, before: int) -> bool:
        return posted.method == "PATCH"

    with (
        losing(roundup, is_lost) as way,
        open_provider(roundup.integration(url=f"{way.url}/tracker")) as over,
    ):
        assert verdict_of(over.comment, roundup.tracker(), issue, "a word", "c:7:1").do is Do.UNKNOWN
    assert ["tasks-pipeline:c:7:1" in one.body for one in provider.comments(roundup.tracker(), issue)] == [
        True
    ]


def test_what_somebody_did_meanwhile_is_not_undone(roundup: RoundupSide, provider: Provider) -> None:
    issue = provider.create(roundup.tracker(), draft())
    roundup.change(issue.external_id, status="testing")
    verdict = verdict_of(provider.set_state, roundup.tracker(), issue, CLOSED)
    assert verdict.do is Do.LOOK_AGAIN
    assert "testing" in verdict.said


def test_who_made_a_change_between_read_and_write_comes_first(
    roundup: RoundupSide, provider: Provider
) -> None:
    issue = provider.create(roundup.tracker(), draft())

    def meddle(posted: Posted, before: int) -> bool:
        if posted.method == "GET" and f"/issue/{issue.external_id}" in posted.path and not meddled:
            meddled.append(before)
            roundup.rename(issue.external_id, "another title")
        return False

    meddled: list[int] = []
    with losing(roundup, meddle) as way, open_provider(roundup.integration(url=f"{way.url}/tracker")) as over:
        assert verdict_of(over.set_state, roundup.tracker(), issue, CLOSED).do is Do.LOOK_AGAIN
        meddled.clear()
        assert over.comment(roundup.tracker(), issue, "a word", "c:8:1").external_id, (
            "a comment is added all the same"
        )


def test_statuses_of_the_settings(roundup: RoundupSide, provider: Provider) -> None:
    names = Statuses(open="need-eg", closed="testing", not_planned=("deferred",))
    tracker = roundup.tracker(statuses=names)
    issue = provider.create(tracker, draft())
    closed = provider.set_state(tracker, issue, CLOSED)
    assert (closed.state, closed.status, closed.reason) == (CLOSED, "testing", "completed")
    dropped = provider.set_state(tracker, closed, CLOSED, "not_planned")
    assert (dropped.status, dropped.reason) == ("deferred", "not_planned")
    assert provider.set_state(tracker, dropped, IssueState.OPEN).status == "need-eg"
    wrong = roundup.tracker(statuses=Statuses(closed="gone"))
    assert provider.place(wrong).problem.startswith("there is no status gone; there are: unread, ")


def test_one_that_another_took_the_place_of_is_a_duplicate(roundup: RoundupSide, provider: Provider) -> None:
    tracker = roundup.tracker()
    issue, other = provider.create(tracker, draft()), provider.create(tracker, draft())
    roundup.change(issue.external_id, status="resolved", superseder=[other.external_id])
    seen = provider.read(tracker, issue.external_id)
    assert seen is not None
    assert (seen.state, seen.reason) == (CLOSED, "duplicate")


def test_polls_do_not_mind_the_zone_of_our_user(roundup: RoundupSide, provider: Provider) -> None:
    tracker = roundup.tracker()
    cursor = provider.changed(tracker, Cursor()).cursor
    user = roundup.call("GET", "user?username:=tasks-bot", by="admin")["collection"][0]["id"]
    try:
        roundup.call("PATCH", f"user/{user}", {"@op": "replace", "timezone": "11"}, "admin")
        issue: Issue = provider.create(tracker, draft("in another zone"))
        found = provider.changed(tracker, cursor)
        assert issue.external_id in {one.external_id for one in found.issues}
        assert found.cursor.since is not None
        assert abs(datetime.now(UTC) - found.cursor.since) < timedelta(minutes=5)
    finally:
        roundup.call("PATCH", f"user/{user}", {"@op": "replace", "timezone": ""}, "admin")


def test_too_many_calls_wait_although_it_says_zero(roundup: RoundupSide) -> None:
    with real_roundup(limit=2) as real, open_provider(RoundupSide(real).integration()) as provider:
        verdict = verdict_of(lambda: [provider.who() for _ in range(6)])
    assert verdict.do is Do.RATE_LIMITED
    assert 1 <= verdict.wait <= 90

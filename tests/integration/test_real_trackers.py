"""Redmine and Roundup, the real ones, by their providers: what both do alike."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.issue import Cursor, Draft, Issue, IssueState
from tasks_pipeline.trackers.markers import marker_in
from tasks_pipeline.trackers.markup import neutral, neutral_title
from tasks_pipeline.trackers.provider import Provider, open_provider
from tests.support.far_sides import FarSide
from tests.support.integration_cases import cases_of

OPEN, CLOSED = IssueState.OPEN, IssueState.CLOSED


@pytest.fixture
def provider(far: FarSide) -> Iterator[Provider]:
    with open_provider(far.integration()) as opened:
        yield opened


@pytest.fixture
def marker() -> str:
    return f"K{uuid.uuid4().hex[:12]}"


@pytest.fixture
def issue(far: FarSide, provider: Provider, marker: str) -> Issue:
    return provider.create(far.tracker(), Draft("ValueError in pay()", "shop.pay\n\n17 times", marker))


def verdict_of(call: object, *given: object) -> Do:
    with pytest.raises(TrackerError) as caught:
        call(*given)  # type: ignore[operator]
    return caught.value.verdict.do


def test_whom_and_where(far: FarSide, provider: Provider) -> None:
    assert provider.who().person.login == far.ours
    place = provider.place(far.tracker())
    assert (place.problem, place.missing_fields) == ("", ())


def test_an_issue_is_made_and_found_again_by_its_marker(
    far: FarSide, provider: Provider, issue: Issue, marker: str
) -> None:
    since = datetime.now(UTC) - timedelta(minutes=2)
    assert (issue.title, issue.state, issue.assignees) == ("ValueError in pay()", OPEN, ())
    assert issue.body.startswith("shop.pay\n\n17 times")
    found = provider.find_marker(far.tracker(), marker, since)
    assert found is not None
    assert (found.external_id, found.url) == (issue.external_id, issue.url)
    assert provider.find_marker(far.tracker(), marker[:-1], since) is None
    assert provider.find(far.tracker(), issue.url).external_id == issue.external_id
    assert provider.find(far.tracker(), issue.key).external_id == issue.external_id
    with pytest.raises(ValueError, match="names no issue; allowed"):
        provider.find(far.tracker(), "https://elsewhere.example/issues/1")


def test_it_is_closed_and_reopened_on_both_sides(far: FarSide, provider: Provider, issue: Issue) -> None:
    tracker = far.tracker()
    closed = provider.set_state(tracker, issue, CLOSED)
    assert (closed.state, closed.reason) == (CLOSED, "completed")
    assert closed.closed_at is not None
    opened = provider.set_state(tracker, closed, OPEN)
    assert (opened.state, opened.reason, opened.closed_at) == (OPEN, "", None)

    far.close(issue.external_id)
    seen = provider.read(tracker, issue.external_id)
    assert seen is not None
    assert (seen.state, seen.changed_by and seen.changed_by.login) == (CLOSED, far.ann)
    far.reopen(issue.external_id)
    seen = provider.read(tracker, issue.external_id, seen.etag)
    assert seen is not None
    assert (seen.state, seen.changed_by and seen.changed_by.login) == (OPEN, far.ann)


def test_it_is_given_to_somebody_and_taken_back(far: FarSide, provider: Provider, issue: Issue) -> None:
    tracker = far.tracker()
    given = provider.assign(tracker, issue, far.ann)
    assert [person.login for person in given.assignees] == [far.ann]
    assert provider.assign(tracker, given, None).assignees == ()
    assert verdict_of(provider.assign, tracker, issue, "nobody") is Do.DEAD
    far.assign(issue.external_id, far.ann)
    seen = provider.read(tracker, issue.external_id)
    assert seen is not None
    assert [person.login for person in seen.assignees] == [far.ann]


def test_comments_are_written_changed_and_removed(far: FarSide, provider: Provider, issue: Issue) -> None:
    tracker = far.tracker()
    provider.set_state(tracker, issue, CLOSED)
    ours = provider.comment(tracker, issue, "bob wrote:\n\nlook at this", "c:17:1")
    theirs = far.comment(issue.external_id, "I did")
    if far.kind == "roundup":  # a comment of somebody opens the issue there
        far.close(issue.external_id)
    seen = provider.comments(tracker, issue)
    assert [one.external_id for one in seen] == [ours.external_id, theirs]
    assert [one.author and one.author.login for one in seen] == [far.ours, far.ann]
    assert [marker_in(one.body) for one in seen] == ["c:17:1", None]
    assert seen[1].body == "I did"

    changed = provider.edit_comment(tracker, issue, ours.external_id, "look at that", "c:17:2")
    assert (changed.external_id, marker_in(changed.body)) == (ours.external_id, "c:17:2")
    provider.delete_comment(tracker, issue, ours.external_id)
    provider.delete_comment(tracker, issue, ours.external_id)
    assert [one.external_id for one in provider.comments(tracker, issue)] == [theirs]
    assert verdict_of(provider.edit_comment, tracker, issue, "999999", "look") is Do.DEAD
    after = provider.read(tracker, issue.external_id)
    assert after is not None
    assert after.state is CLOSED, "our comments do not open it"


def test_an_issue_without_a_change_is_not_read_again(far: FarSide, provider: Provider, issue: Issue) -> None:
    tracker = far.tracker()
    comment = far.comment(issue.external_id, "first words")
    seen = provider.read(tracker, issue.external_id)
    assert seen is not None
    assert provider.read(tracker, issue.external_id, seen.etag) is None
    far.edit(comment, "other words")  # which leaves the time of its last change as it was
    again = provider.read(tracker, issue.external_id, seen.etag)
    assert again is not None
    assert [one.body for one in again.comments or ()] == ["other words"]


def test_polls_see_each_change_once(far: FarSide, provider: Provider, marker: str) -> None:
    tracker = far.tracker()
    first = provider.changed(tracker, Cursor())
    assert first.issues == ()
    issue = provider.create(tracker, Draft("seen once", "text", marker))
    second = provider.changed(tracker, first.cursor)
    assert issue.external_id in {one.external_id for one in second.issues}
    third = provider.changed(tracker, second.cursor)
    assert (list(third.issues), third.more) == ([], False)
    far.close(issue.external_id)
    fourth = provider.changed(tracker, third.cursor)
    assert [(one.external_id, one.state) for one in fourth.issues] == [(issue.external_id, CLOSED)]


def test_one_that_was_deleted_is_not_there(far: FarSide, provider: Provider, issue: Issue) -> None:
    tracker, ids = far.tracker(), [issue.external_id, "999999", "none"]
    found = provider.by_ids(tracker, ids)
    assert [found[one] is not None for one in ids] == [True, False, False]
    far.delete(issue.external_id)
    assert provider.by_ids(tracker, ids) == dict.fromkeys(ids)
    assert verdict_of(provider.read, tracker, issue.external_id) is Do.MAYBE_GONE
    assert provider.place(tracker).problem == "", (
        "its place is there: that tells it from one that is out of sight"
    )


def test_a_wrong_secret_is_told_without_it(far: FarSide) -> None:
    given = {"token" if far.kind == "redmine" else "password": "wrong-secret-1234"}
    with open_provider(far.integration(**given)) as provider, pytest.raises(TrackerError) as caught:
        provider.who()
    assert caught.value.verdict.do is Do.AUTH_FAILED
    assert "wrong-secret" not in str(caught.value)


def test_hostile_texts_are_shown_as_they_are(far: FarSide, provider: Provider, marker: str) -> None:
    """In an issue and in a comment: nothing of them is an element of the page, a mention or a reference."""
    tracker = far.tracker()
    other = provider.create(tracker, Draft("referred to", "text", f"{marker}o"))
    texts = [case["text"] for case in cases_of("texts") if len(case["text"]) < 5000] + [
        f"#{other.external_id} issue{other.external_id} {other.url}",
        '<img src="https://evil.example/x.gif" onerror="alert(1)"> !https://evil.example/y.gif!',
        '"go":javascript:alert(1) [[Start]] {{collapse(x)}} h1. Big\n\nh1. Bigger',
    ]
    body = "\n\n".join(neutral(text, provider.markup) for text in texts)[: provider.body_length]
    title = neutral_title("@ann <script>alert(1)</script> #1", provider.markup)
    issue = provider.create(tracker, Draft(title, body, marker))
    written = provider.comment(tracker, issue, body, "c:1:1")

    assert issue.title == title
    for read in (issue.body, written.body):
        assert read.startswith(body.rstrip()[:2000])
    page = far.page(issue.external_id)
    assert "evil.example" in page
    found = elements(page)
    assert found["script"].isdisjoint({"alert(1)"})
    assert not [source for source in found["src"] if "evil" in source]
    assert not [name for name in found["handlers"] if name == "onerror"]
    assert not [link for link in found["href"] if link.startswith("javascript:")]
    assert "Big" not in found["h1"]
    assert "Bigger" not in found["h1"]
    assert not [text for text in found["a"] if re.fullmatch(rf"(?:#|issue){other.external_id}|.*Ann.*", text)]


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, set[str]] = defaultdict(set)
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        for name, value in attrs:
            self.found["handlers" if name.startswith("on") else name].add(
                name if name[:2] == "on" else value or ""
            )

    def handle_data(self, data: str) -> None:
        self.found[self._open].add(data.strip())


def elements(page: str) -> dict[str, set[str]]:
    """Texts of a page by the element that holds them, values of attributes by their names, and names of handlers."""
    parser = _Elements()
    parser.feed(page)
    return parser.found

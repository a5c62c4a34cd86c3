"""Answers that are none: whatever a far side sends, a call ends with a verdict, and never with issues that are not there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tasks_pipeline.config.integrations import (
    GitHubIntegration,
    RedmineIntegration,
    RoundupIntegration,
    Tracker,
)
from tasks_pipeline.trackers import calls
from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.issue import Cursor, Draft, Issue, IssueState
from tasks_pipeline.trackers.provider import Provider, open_provider
from tests.support.outside import Posted, http_receiver

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ISSUE = Issue("1", "#1", "", "title", IssueState.OPEN)
TRACKER = Tracker(name="far-issues", integration="far", project="shop")
PLACES: dict[str, Any] = {
    "redmine": lambda url: RedmineIntegration(
        name="far", url=url, token="key-of-ours-1", allow_insecure=True, allow_private=True
    ),
    "roundup": lambda url: RoundupIntegration(
        name="far", url=url, user="bot", password="key-of-ours-1", allow_insecure=True, allow_private=True
    ),
}
CALLS: dict[str, Callable[[Provider], object]] = {
    "who": lambda far: far.who(),
    "place": lambda far: far.place(TRACKER),
    "read": lambda far: far.read(TRACKER, "1"),
    "create": lambda far: far.create(TRACKER, Draft("title", "body", "K1")),
    "find_marker": lambda far: far.find_marker(TRACKER, "K1", NOW),
    "set_state": lambda far: far.set_state(TRACKER, ISSUE, IssueState.CLOSED),
    "assign": lambda far: far.assign(TRACKER, ISSUE, "6"),
    "comments": lambda far: far.comments(TRACKER, ISSUE),
    "comment": lambda far: far.comment(TRACKER, ISSUE, "text", "c:1:1"),
    "edit_comment": lambda far: far.edit_comment(TRACKER, ISSUE, "1", "text", "c:1:2"),
    "changed": lambda far: far.changed(TRACKER, Cursor(NOW)),
    "by_ids": lambda far: far.by_ids(TRACKER, ["1", "2"]),
}
ROW = {"id": "x", "status": 5}
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "a page to log in": (200, "text/html", b"<html><form action=/login></html>"),
    "nothing": (200, "application/json", b""),
    "null": (200, "application/json", b"null"),
    "a number": (200, "application/json", b"17"),
    "an empty list": (200, "application/json", b"[]"),
    "another object": (200, "application/json", b'{"ok": true}'),
    "half an answer": (200, "application/json", b'{"issues": [{"id": 1, "sta'),
    "parts that are null": (
        200,
        "application/json",
        json.dumps(dict.fromkeys(("issue", "issues", "user", "project", "data", "issue_statuses"))).encode(),
    ),
    "rows of another shape": (
        200,
        "application/json",
        json.dumps(
            {"issue": ROW, "issues": [ROW], "user": ROW, "project": ROW, "issue_statuses": [ROW]}
            | {"data": {"id": 1, "collection": [ROW, 17], "link": 5, "attributes": []}}
        ).encode(),
    ),
    "deep": (200, "application/json", b'{"data": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("kind", PLACES)
def test_no_call_takes_it_for_an_answer(kind: str, answer: str) -> None:
    status, content_type, body = ANSWERS[answer]
    with http_receiver() as server, open_provider(PLACES[kind](server.url)) as far:
        server.answer = lambda posted, before: (status, {"Content-Type": content_type}, body)
        for name, call in CALLS.items():
            with pytest.raises(TrackerError) as caught:
                pytest.fail(f"{name}: {call(far)}")
            assert caught.value.verdict.do not in (Do.GOOD, Do.GONE, Do.MAYBE_GONE, Do.UNCHANGED), name
            assert "key-of-ours" not in str(caught.value), name
            if (
                name == "create" and kind == "redmine"
            ):  # Roundup has to prepare it first: nothing was made yet
                assert caught.value.verdict.do is Do.UNKNOWN, "it may have been made"


@pytest.mark.parametrize("kind", PLACES)
def test_one_odd_row_does_not_cost_the_others(kind: str) -> None:
    rows = [{"id": 1, "status": {"id": 1, "name": "New", "is_closed": False}}, ROW]
    odd = {
        "redmine": {"issues": rows},
        "roundup": {"data": {"collection": [{"id": "1"}, {"id": [], "title": 5}]}},
    }
    with http_receiver() as server, open_provider(PLACES[kind](server.url)) as far:
        server.answer = lambda posted, before: (200, {}, json.dumps(odd[kind]).encode())
        found = far.by_ids(TRACKER, ["1", "2"])
    assert {key: issue is not None for key, issue in found.items()} == {"1": True}, (
        "2 may be the odd one: it is not gone"
    )


def test_only_what_no_row_shows_is_gone() -> None:
    status = {"id": 1, "name": "New"}
    answers = {
        "redmine": {"issues": [{"id": 1, "status": {**status, "is_closed": False}}, {"id": 2, "status": 5}]},
        "roundup": {"data": {"collection": [{"id": "1"}, {"id": "2", "title": 5}]}},
    }
    for kind, said in answers.items():
        with http_receiver() as server, open_provider(PLACES[kind](server.url)) as far:
            server.answer = lambda posted, before, said=said: (200, {}, json.dumps(said).encode())
            found = far.by_ids(TRACKER, ["1", "2", "3"])
        assert {key: issue is not None for key, issue in found.items()} == {"1": True, "3": False}, kind


def test_an_issue_with_more_notes_than_an_answer_may_have_is_read_and_closed_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "BODY_BYTES", 50_000)
    statuses = [{"id": 1, "name": "New", "is_closed": False}, {"id": 5, "name": "Closed", "is_closed": True}]
    row: dict[str, Any] = {"id": 1, "status": statuses[0]}

    def answer(posted: Posted, _before: int) -> tuple[int, dict[str, str], bytes]:
        if posted.path.startswith("/issue_statuses"):
            return 200, {}, json.dumps({"issue_statuses": statuses}).encode()
        if posted.method == "PUT":
            row["status"] = statuses[1] if "status_id" in posted.json["issue"] else row["status"]
            return 204, {}, b""
        notes = {"journals": [{"id": 1, "notes": "x" * 60_000}]} if "journals" in posted.path else {}
        return 200, {}, json.dumps({"issue": row | notes}).encode()

    with http_receiver() as server, open_provider(PLACES["redmine"](server.url)) as far:
        server.answer = answer
        issue = far.read(TRACKER, "1")
        assert issue is not None
        assert (issue.state, issue.comments) == (IssueState.OPEN, None)
        assert "more than" in issue.unread
        assert far.set_state(TRACKER, issue, IssueState.CLOSED).state is IssueState.CLOSED
        for call in (
            lambda: far.comments(TRACKER, issue),
            lambda: far.comment(TRACKER, issue, "text", "c:1:1"),
        ):
            with pytest.raises(TrackerError) as caught:
                call()
            assert caught.value.is_too_long


ODD = "a\0b\ud800c\\u0000"
"""What PostgreSQL takes neither in a text nor in JSON, and what only looks like it."""
WHO = {"id": 6, "login": ODD, "name": ODD}
LINKED = {"id": "6", "name": ODD, "username": ODD}
AT = "2026-11-30T12:00:00Z"
PAGES: dict[str, dict[str, Any]] = {
    "github": {
        "/api/v3/meta": {},
        "/api/v3/repos/acme/shop": {"id": 1, "full_name": "acme/shop"},
        "/api/v3/repos/acme/shop/issues/1": {
            "number": 1, "title": ODD, "body": ODD, "state": "closed", "state_reason": ODD, "updated_at": AT, "html_url": ODD,
            "repository_url": "http://far/repos/acme/shop", "assignees": [WHO], "labels": [ODD, {"name": ODD}], "closed_by": WHO,
        },
        "/api/v3/repos/acme/shop/issues/1/comments": [
            {"id": 1, "issue_url": "http://far/issues/1", "updated_at": AT, "user": WHO, "body": ODD}
        ],
    },
    "redmine": {
        "/issues/1.json": {
            "issue": {
                "id": 1, "subject": ODD, "description": ODD, "status": {"id": 1, "name": ODD, "is_closed": False},
                "assigned_to": WHO, "journals": [{"id": 1, "user": WHO, "notes": ODD}],
            }
        },
        "/issue_statuses.json": {"issue_statuses": [{"id": 1, "name": ODD}]},
    },
    "roundup": {
        "/rest/data/issue": {
            "data": {"collection": [{"id": "1", "title": ODD, "status": LINKED, "assignedto": LINKED, "messages": [LINKED, LINKED]}]}
        },
        "/rest/data/msg": {"data": {"collection": [{"id": each, "content": ODD, "author": LINKED} for each in ("6", "7")]}},
        "/rest/data/status": {"data": {"collection": [{"id": "1", "name": ODD}]}},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", PAGES)
def test_nothing_that_a_database_refuses_comes_in(kind: str) -> None:
    pages = PAGES[kind]
    opened = {
        **PLACES,
        "github": lambda url: GitHubIntegration(
            name="far", url=url, token="key-of-ours-1", allow_insecure=True, allow_private=True
        ),
    }[kind]
    tracker = TRACKER.model_copy(update={"repository": "acme/shop"})

    def answer(posted: Posted, _before: int) -> tuple[int, dict[str, str], bytes]:
        path = posted.path.partition("?")[0]
        return 200, {}, json.dumps(pages[path]).encode()

    with http_receiver() as server, open_provider(opened(server.url)) as far:
        server.answer = answer
        issue = far.read(tracker, "1#1" if kind == "github" else "1")
        assert issue is not None
        comments = far.comments(tracker, issue)
    clean = "a\ufffdb\ufffdc\\u0000"
    assert (issue.title, [each.body for each in comments]) == (clean, [clean])
    for text in (str(dataclasses.asdict(each)) for each in (issue, *comments)):
        assert "\\x00" not in text
        assert "\\ud800" not in text


def test_redmine_s_texts_may_be_longer_than_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write there writes as much as they like: that costs their issue, and no other. It is not gone for that."""
    monkeypatch.setattr(calls, "BODY_BYTES", 50_000)
    texts = {1: "short", 2: "x" * 60_000, **dict.fromkeys(range(3, 30), "y" * 4000)}

    def answer(posted: Any, _before: object) -> tuple[int, dict[str, str], bytes]:
        asked = {name: found[0] for name, found in parse_qs(urlsplit(posted.path).query).items()}
        ids = [int(one) for one in asked.get("issue_id", "").split(",") if one] or sorted(texts)
        offset = int(asked.get("offset", 0))
        status = {"id": 1, "name": "New", "is_closed": False}
        rows = [
            {
                "id": one,
                "status": status,
                "description": texts[one],
                "updated_on": f"2026-11-30T12:00:{one:02}Z",
            }
            for one in ids[offset : offset + int(asked["limit"])]
        ]
        return 200, {}, json.dumps({"issues": rows}).encode()

    others = {str(number) for number in texts} - {"2"}
    with http_receiver() as server, open_provider(PLACES["redmine"](server.url)) as far:
        server.answer = answer
        found = far.by_ids(TRACKER, [str(number) for number in texts])
        changed = far.changed(TRACKER, Cursor(NOW)).issues
    assert {key for key, issue in found.items() if issue} == set(found) == others
    assert {issue.external_id for issue in changed} == others

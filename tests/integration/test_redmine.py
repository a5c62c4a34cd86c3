"""Redmine, the real one: what it alone does. It drops what it does not allow without a word, and asks for fields of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks_pipeline.config.integrations import Statuses, Tracker
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Draft, Issue, IssueState
from tasks_pipeline.trackers.markers import marker_in, plain
from tasks_pipeline.trackers.provider import Provider, open_provider
from tests.support.far_sides import RedmineSide
from tests.support.trackers import REDMINE_KEYS

CLOSED = IssueState.CLOSED


@pytest.fixture
def provider(redmine: RedmineSide) -> Iterator[Provider]:
    with open_provider(redmine.integration()) as opened:
        yield opened


def as_(redmine: RedmineSide, login: str) -> object:
    return open_provider(redmine.integration(token=REDMINE_KEYS[login]))


def made(provider: Provider, tracker: Tracker, **values: object) -> Issue:
    draft = Draft("broken", "text", f"K{uuid.uuid4().hex[:12]}")
    return provider.create(tracker, replace(draft, **values))  # type: ignore[arg-type]


def verdict_of(call: object, *given: object, **named: object) -> Verdict:
    with pytest.raises(TrackerError) as caught:
        call(*given, **named)  # type: ignore[operator]
    return caught.value.verdict


def test_it_is_closed_by_the_way_that_the_workflow_has(redmine: RedmineSide, provider: Provider) -> None:
    tracker = redmine.tracker(tracker="Feature")  # of its closed statuses only Rejected can be reached
    closed = provider.set_state(tracker, made(provider, tracker), CLOSED)
    assert (closed.state, closed.status, closed.reason) == (CLOSED, "Rejected", "not_planned")


def test_a_way_that_the_workflow_does_not_have_is_told(redmine: RedmineSide, provider: Provider) -> None:
    tracker = redmine.tracker(tracker="Support")
    issue = made(provider, tracker)
    verdict = verdict_of(provider.set_state, tracker, issue, CLOSED)
    assert (verdict.do, verdict.tracker) == (Do.HELD, ""), "this issue waits, and no other"
    assert verdict.said == (
        'the workflow does not allow "Closed" from "New"; it allows: New, In Progress, Resolved, Feedback'
    )
    seen = provider.read(tracker, issue.external_id)
    assert seen is not None
    assert seen.status == "New"


def test_statuses_of_the_settings_are_used_and_understood(redmine: RedmineSide, provider: Provider) -> None:
    names = Statuses(open="In Progress", closed="Resolved", not_planned=("Feedback",))
    tracker = redmine.tracker(tracker="Support", statuses=names)
    issue = made(provider, tracker)
    closed = provider.set_state(tracker, issue, CLOSED)
    assert (closed.state, closed.status, closed.reason) == (CLOSED, "Resolved", "completed")
    dropped = provider.set_state(tracker, issue, CLOSED, "not_planned")
    assert (dropped.state, dropped.status, dropped.reason) == (CLOSED, "Feedback", "not_planned")
    assert provider.set_state(tracker, issue, IssueState.OPEN).status == "In Progress"

    wrong = redmine.tracker(statuses=Statuses(closed="Done"))
    assert provider.place(wrong).problem.startswith("there is no status Done")
    assert verdict_of(provider.set_state, wrong, issue, CLOSED).do is Do.MISCONFIGURED


def test_a_field_that_is_required_is_named(redmine: RedmineSide, provider: Provider) -> None:
    tracker = redmine.tracker(project="strict")
    verdict = verdict_of(made, provider, tracker)
    assert (verdict.do, verdict.fields, verdict.tracker) == (Do.DEAD, ("Root cause",), "misconfigured")
    field = {"id": redmine.real.facts["required_field"], "value": "code"}
    assert made(provider, tracker, fields={"custom_fields": [field]}).title == "broken"

    with as_(redmine, "admin") as admin:  # type: ignore[attr-defined]
        assert admin.place(tracker).missing_fields == (f"Root cause (custom field {field['id']})",)
        given = redmine.tracker(project="strict", fields={"custom_fields": [field]})
        assert admin.place(given).missing_fields == ()


@pytest.mark.parametrize(
    ("project", "kind", "said"),
    [
        ("nowhere", "Bug", "there is no project nowhere"),
        ("plain", "Bug", "issue tracking is switched off in project plain"),
        ("shop", "Epic", 'project shop has no tracker "Epic"; it has: Bug, Feature, Support'),
    ],
)
def test_what_is_wrong_with_a_project_is_told(
    redmine: RedmineSide, provider: Provider, project: str, kind: str, said: str
) -> None:
    tracker = redmine.tracker(project=project, tracker=kind)
    assert provider.place(tracker).problem.startswith(said)
    assert verdict_of(made, provider, tracker).do is Do.HELD, "it waits until that is mended"


def test_rights_that_are_missing_are_told_by_their_names(redmine: RedmineSide) -> None:
    tracker = redmine.tracker()
    with as_(redmine, "reader") as reader:  # type: ignore[attr-defined]
        said = "in project shop the user reader (Read only) may not: add issues, edit issues, add notes"
        assert reader.place(tracker).problem.startswith(said)
        refused = verdict_of(made, reader, tracker)  # which Redmine says as "Project cannot be blank"
    assert (refused.do, refused.tracker) == (Do.HELD, "degraded")
    assert refused.said.startswith(said)


def test_a_note_of_somebody_else_is_left_alone(redmine: RedmineSide, provider: Provider) -> None:
    tracker = redmine.tracker()
    issue = made(provider, tracker)
    theirs = redmine.comment(issue.external_id, "mine")
    verdict = verdict_of(provider.edit_comment, tracker, issue, theirs, "yours")
    assert (verdict.do, verdict.tracker) == (Do.HELD, ""), "this note is refused, not the tracker"
    assert [one.body for one in provider.comments(tracker, issue)] == ["mine"]


def test_private_notes_are_known_as_such(redmine: RedmineSide, provider: Provider) -> None:
    tracker = redmine.tracker()
    issue = made(provider, tracker)
    redmine.comment(issue.external_id, "between us", private_notes=True)
    redmine.comment(issue.external_id, "to all")
    seen = provider.comments(tracker, issue)
    assert [(one.body, one.private) for one in seen] == [("between us", True), ("to all", False)]


def test_an_issue_that_moved_to_another_project_is_the_same(redmine: RedmineSide, provider: Provider) -> None:
    tracker = redmine.tracker()
    issue = made(provider, tracker)
    redmine.change(issue.external_id, by="admin", project_id=redmine.real.facts["projects"]["office"])
    seen = provider.read(tracker, issue.external_id)
    assert seen is not None
    assert (seen.external_id, seen.url, seen.state) == (issue.external_id, issue.url, issue.state)
    assert provider.by_ids(tracker, [issue.external_id])[issue.external_id] is not None


def test_the_marker_is_in_its_field_where_issues_have_one(redmine: RedmineSide, provider: Provider) -> None:
    """A value for a field that a project does not have is dropped without a word, so that the text holds the marker there."""
    since = datetime.now(UTC) - timedelta(minutes=2)
    for project, in_text in (("shop", False), ("office", True)):
        tracker = redmine.tracker(project=project, marker_field=redmine.real.facts["marker_field"])
        made(provider, tracker)  # of a project without issues nobody knows which fields they have
        draft = Draft("broken", "the text", f"K{uuid.uuid4().hex[:12]}")
        with open_provider(redmine.integration()) as later:
            issue = later.create(tracker, draft)
            assert marker_in(issue.body) == draft.marker
            found = later.find_marker(tracker, draft.marker, since)
        assert found is not None
        assert found.external_id == issue.external_id
        there = redmine.call("GET", f"/issues/{issue.external_id}.json")["issue"]
        assert (plain(draft.marker) in there["description"]) is in_text
        fields = there.get("custom_fields", [])
        assert (plain(draft.marker) in [field["value"] for field in fields]) is not in_text


def test_a_text_is_cut_so_that_its_marker_fits(redmine: RedmineSide, provider: Provider) -> None:
    tracker = redmine.tracker()
    draft = Draft("long", "äöü €\n" * 10_000, f"K{uuid.uuid4().hex[:12]}")
    issue = provider.create(tracker, draft)
    assert marker_in(issue.body) == draft.marker
    assert len(issue.body.replace("\n", "\r\n").encode()) < 65_535
    found = provider.find_marker(tracker, draft.marker, datetime.now(UTC) - timedelta(minutes=2))
    assert found is not None

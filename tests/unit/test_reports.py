"""Feedback, user reports and client reports."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError
from tasks_pipeline.protocol.reports import DiscardedEvents, UserReport, client_report, feedback, user_report

ID = "1f7ecbf61a1d4ee79a710c6d5a0d5f30"
OTHER = "a" * 32
CONTEXT = ItemContext(project_id=1, received_at=datetime(2026, 11, 22, 12, 30, tzinfo=UTC), event_id=ID)


def test_a_user_report() -> None:
    payload = {"event_id": OTHER, "name": " Ann ", "email": "ann@example.com", "comments": "It broke.\n"}
    assert user_report(payload, CONTEXT) == UserReport(
        kind="user_report",
        event_id=OTHER,
        associated_event_id=OTHER,
        name="Ann",
        email="ann@example.com",
        message="It broke.",
        url=None,
        release=None,
        environment=None,
    )


def test_feedback() -> None:
    given = {
        "message": "x" * 5000,
        "contact_email": "ann@example.com",
        "name": "Ann",
        "url": "https://shop/cart",
        "associated_event_id": OTHER,
    }
    report = feedback({"type": "feedback", "contexts": {"feedback": given}, "release": "shop@1"}, CONTEXT)
    assert len(report.message) == 4096
    assert (report.kind, report.event_id, report.associated_event_id) == ("feedback", ID, OTHER)
    assert (report.name, report.email, report.url) == ("Ann", "ann@example.com", "https://shop/cart")
    assert (report.release, report.environment) == ("shop@1", None)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"comments": ""},
        {"comments": "  "},
        {"comments": 5},
        {"contexts": {"feedback": {"message": ""}}},
    ],
)
def test_reports_without_a_text_are_refused(payload: Any) -> None:
    for reader in (user_report, feedback):
        with pytest.raises(PayloadError):
            reader(payload, CONTEXT)


def test_a_client_report() -> None:
    entries = [
        {"reason": "sample_rate", "category": "error", "quantity": 3},
        {"reason": "before_send", "category": "transaction", "quantity": 0},
    ]
    assert client_report({"discarded_events": entries}, CONTEXT) == [
        DiscardedEvents("sample_rate", "error", 3)
    ]
    assert client_report({}, CONTEXT) == []


@pytest.mark.parametrize(
    "entries",
    [
        "x",
        [1],
        [{}],
        [{"reason": "a", "category": "b"}],
        [{"reason": "a", "category": "b", "quantity": -1}],
        [{"reason": "a", "category": "b", "quantity": True}],
        [{"reason": "a", "category": None, "quantity": 1}],
        [{"reason": "a", "category": "b", "quantity": 1}] * 201,
    ],
)
def test_malformed_client_reports_are_refused(entries: object) -> None:
    with pytest.raises(PayloadError):
        client_report({"discarded_events": entries}, CONTEXT)

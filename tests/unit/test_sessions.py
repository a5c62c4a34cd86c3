"""Session items as rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError
from tasks_pipeline.protocol.sessions import SessionRow, session_rows, user_hash

RECEIVED = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
CONTEXT = ItemContext(project_id=1, received_at=RECEIVED)
SID = "1f7ecbf6-1a1d-4ee7-9a71-0c6d5a0d5f30"
SESSION: dict[str, Any] = {
    "sid": SID,
    "init": True,
    "started": "2026-11-22T12:29:00Z",
    "timestamp": "2026-11-22T12:29:30.5Z",
    "status": "ok",
    "attrs": {"release": "shop@1", "environment": "staging"},
}


def row(**changes: Any) -> SessionRow:
    [only] = session_rows({**SESSION, **changes}, CONTEXT, aggregate=False).rows
    return only


def test_an_update() -> None:
    assert row(did="u1", errors=2, duration=30.5, seq=7, init=False) == SessionRow(
        session_id=SID.replace("-", ""),
        did="u1",
        status="ok",
        seq=7,
        init=False,
        started=datetime(2026, 11, 22, 12, 29, tzinfo=UTC),
        timestamp=datetime(2026, 11, 22, 12, 29, 30, 500_000, tzinfo=UTC),
        duration=30.5,
        errors=2,
        release="shop@1",
        environment="staging",
        quantity=1,
    )


def test_the_first_message_is_first_whatever_its_seq_says() -> None:
    assert row(seq=7).seq == 0
    assert row(seq=7, init=False).seq == 7


@pytest.mark.parametrize(
    ("did", "user"),
    [
        (42, "42"), ("42", "42"), (2**63 - 1, str(2**63 - 1)), (1.5, "1.5"), ("x" * 500, "x" * 500),
        (None, None), ("", None), ("00000000-0000-0000-0000-000000000000", None), ("0" * 32, None),
        (True, None), (["u"], None), ({}, None),
    ],
)  # fmt: skip
def test_who_it_was(did: object, user: str | None) -> None:
    assert row(did=did).did == user


def test_users_are_told_apart_by_project_and_key() -> None:
    hashes = {
        user_hash(key, project, did)
        for key in (b"a", b"b")
        for project, did in ((1, "1"), (11, ""), (1, "u"), (2, "u"))
    }
    assert len(hashes) == 8
    assert user_hash(b"a", 1, "u") == user_hash(b"a", 1, "u")
    assert all(-(2**63) <= each < 2**63 for each in hashes)


def test_a_session_that_one_message_tells_of_needs_no_id() -> None:
    only = row(sid=None, status="exited", did="u", duration=3)
    assert (only.session_id, only.quantity, only.did, only.duration) == (None, 1, "u", 3)
    with pytest.raises(PayloadError):
        row(sid="x", status="exited")


def test_how_an_abnormal_end_was_noticed() -> None:
    assert row(status="abnormal", abnormal_mechanism="anr_foreground").mechanism == "anr_foreground"
    assert row(status="abnormal", abnormal_mechanism="x" * 65).mechanism is None
    assert row(status="abnormal", abnormal_mechanism=["x"]).mechanism is None
    assert row(status=None).status == "ok"


def test_updates_without_seq_are_in_order_of_their_time() -> None:
    first, later = row(), row(init=False)
    last = row(init=False, timestamp="2026-11-22T12:29:31Z")
    assert first.seq == 0 < later.seq < last.seq


@pytest.mark.parametrize(
    ("status", "errors"), [("crashed", 1), ("unhandled", 1), ("abnormal", 0), ("exited", 0)]
)
def test_a_crash_is_an_error_too(status: str, errors: int) -> None:
    assert (row(status=status).status, row(status=status).errors) == (status, errors)


@pytest.mark.parametrize(
    "duration", [None, -1, "x", True, 28 * 86_400 + 1, 1e12, 1e308, float("nan"), float("inf"), 2**63]
)
def test_impossible_durations_are_unknown(duration: object) -> None:
    assert row(duration=duration).duration is None


def test_the_clock_is_corrected() -> None:
    context = replace(CONTEXT, sent_at=RECEIVED - timedelta(days=400))
    started = {"started": "2025-10-18T12:29:00Z", "timestamp": "2025-10-18T12:29:30Z"}
    [only] = session_rows({**SESSION, **started}, context, aggregate=False).rows
    assert only.started == RECEIVED - timedelta(minutes=1)
    assert only.timestamp == RECEIVED - timedelta(seconds=30)


@pytest.mark.parametrize(
    "changes",
    [
        {"sid": None},
        {"sid": "x"},
        {"status": "weird"},
        {"status": ["ok"]},
        {"attrs": None},
        {"attrs": {}},
        {"attrs": {"release": ""}},
        {"started": None},
        {"started": "x"},
        {"started": "2026-11-17T12:00:00Z"},
        {"started": "2026-11-22T13:30:00Z"},
        {"errors": -1},
        {"errors": "1"},
        {"errors": 2**40},
        {"errors": 10_000_001},
    ],
)
def test_malformed_updates_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        row(**changes)


def test_aggregates_become_a_row_per_way_to_end() -> None:
    payload = {
        "attrs": {"release": "shop@1", "environment": "staging"},
        "aggregates": [
            {"started": "2026-11-22T12:29:00Z", "exited": 5, "crashed": 0},
            {"started": "2026-11-22T12:28:00Z", "did": "u1", "errored": 2, "crashed": 1},
        ],
    }
    rows = session_rows(payload, CONTEXT, aggregate=True).rows
    assert [(r.status, r.quantity, r.errors, r.did, r.started.minute) for r in rows] == [
        ("exited", 5, 0, None, 29),
        ("errored", 2, 2, "u1", 28),
        ("crashed", 1, 1, "u1", 28),
    ]
    assert {(r.session_id, r.release, r.environment) for r in rows} == {(None, "shop@1", "staging")}


@pytest.mark.parametrize(
    "aggregates",
    [
        None,
        {},
        [1],
        [{"started": "x", "exited": 1}],
        [{"started": "2026-11-22T12:29:00Z", "exited": -1}],
        [{}] * 101,
    ],
)
def test_aggregates_without_a_good_bucket_are_refused(aggregates: object) -> None:
    with pytest.raises(PayloadError):
        session_rows({"attrs": {"release": "a"}, "aggregates": aggregates}, CONTEXT, aggregate=True)


def test_buckets_are_dropped_one_by_one() -> None:
    good = {"started": "2026-11-22T12:29:00Z", "exited": 2, "crashed": 1}
    bad: list[Any] = [
        1,
        {"exited": 1},
        {**good, "exited": 10**9},
        {**good, "crashed": -1},
        {**good, "started": "2026-11-22T12:32:01Z"},
        {**good, "started": "2026-11-17T12:29:59Z"},
        {**good, "started": "2025-11-22T12:29:00Z"},
    ]
    found = session_rows({"attrs": {"release": "a"}, "aggregates": [*bad, good]}, CONTEXT, aggregate=True)
    assert [(r.status, r.quantity) for r in found.rows] == [("exited", 2), ("crashed", 1)]
    assert len(found.dropped) == len(bad)


@pytest.mark.parametrize("aggregate", [True, False])
def test_what_is_no_object_is_refused(aggregate: bool) -> None:
    with pytest.raises(PayloadError):
        session_rows([], CONTEXT, aggregate)


@pytest.mark.parametrize("given", ["0001-01-01T00:00:00Z", -62135596800, "2026-11-10T00:00:00Z"])
def test_an_update_is_not_of_before_its_session(given: object) -> None:
    assert row(timestamp=given, init=False).timestamp == RECEIVED
    assert row(timestamp=given, init=False).seq > 0

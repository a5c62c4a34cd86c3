"""What becomes of the items of an envelope: rows, duplicates, dead letters; and what groups make of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tasks_pipeline.grouping import Grouping, GroupingRules, group_event
from tasks_pipeline.groups.lifecycle import Lifecycle, Status, ignore, resolve
from tasks_pipeline.groups.lists import find_group, group_day_counts, group_value_counts
from tasks_pipeline.processing import base, items
from tasks_pipeline.processing import event as event_steps
from tasks_pipeline.processing import process_batch as batch_module
from tasks_pipeline.processing import settle as settle_module
from tasks_pipeline.processing.base import Staged, Staging
from tasks_pipeline.processing.event import Work
from tasks_pipeline.protocol.envelope import Item
from tasks_pipeline.storage.lake.events import find_event, newest_events
from tests.support.day import Day
from tests.support.events import event, item

# ── items and their rows


def test_an_event_is_stored_whole_and_found_by_its_id(day: Day) -> None:
    sent = event("ZeroDivisionError", release="shop@1.0", user={"id": "7", "email": "a@example.org"})
    day.send(sent)
    report = day.drain()

    assert (report.batches, report.envelopes, report.counts["stored"]) == (1, 1, 1)
    found = find_event(day.stores.state, day.stores.lake, sent["event_id"], day.project)
    assert found is not None
    assert found["title"] == "ZeroDivisionError: it went wrong"
    assert (found["release"], found["user_key"], found["user_email"]) == ("shop@1.0", "id:7", "a@example.org")
    assert found["received_at"] == day.at()
    assert '"do_ZeroDivisionError"' in found["payload"]
    assert find_event(day.stores.state, day.stores.lake, "f" * 32) is None


def test_every_kind_of_item_gets_its_rows(day: Day) -> None:
    started = day.at().isoformat()
    transaction = {
        "transaction": "/checkout",
        "start_timestamp": day.at(-2).timestamp(),
        "timestamp": day.at().timestamp(),
        "contexts": {"trace": {"trace_id": "a" * 32, "span_id": "b" * 16, "op": "http.server"}},
    }
    session = {"sid": "1" * 32, "did": "u", "init": True, "started": started, "attrs": {"release": "r@1"}}
    bucket = {"aggregates": [{"started": started, "exited": 4}], "attrs": {"release": "r@1"}}
    check_in = {"check_in_id": "e" * 32, "monitor_slug": "nightly", "status": "ok"}
    feedback = {"contexts": {"feedback": {"message": "broken", "contact_email": "a@example.org"}}}
    report = {"event_id": "c" * 32, "name": "Ann", "email": "a@example.org", "comments": "help"}
    discarded = {"discarded_events": [{"reason": "queue_overflow", "category": "error", "quantity": 3}]}
    csp = {
        "csp-report": {
            "document-uri": "https://shop.example/",
            "violated-directive": "img-src",
            "blocked-uri": "https://ads.example/x.png",
        }
    }
    with_file = event()
    ids = [f"{day.project:031x}{n}" for n in range(5)]
    day.spool(
        day.receipt(with_file, item("attachment", b"log line", filename="a.log")),
        day.receipt(item("transaction", transaction), event_id=ids[0]),
        day.receipt(item("session", session), item("sessions", bucket)),
        day.receipt(item("check_in", check_in)),
        day.receipt(item("feedback", feedback), event_id=ids[1]),
        day.receipt(item("user_report", report)),
        day.receipt(item("client_report", discarded)),
        day.receipt(item("security", csp), event_id=ids[2]),
        day.receipt(item("event", {"type": "transaction", **transaction}), event_id=ids[3]),
        day.receipt(item("event", {"type": "feedback", **feedback}), event_id=ids[4]),
        day.receipt(item("profile", b"{}"), item("made_up", b"")),
    )
    day.drain()

    assert {row["event_id"]: row["type"] for row in day.rows("events")} == {
        with_file["event_id"]: "error",
        ids[2]: "csp",
    }
    (attachment,) = day.rows("attachments")
    assert (attachment["name"], attachment["size"]) == ("a.log", 8)
    assert day.stores.blobs.get(attachment["digest"]) == b"log line"
    assert {row["event_id"] for row in day.rows("transactions")} == {ids[0], ids[3]}
    stored = day.rows("transactions")[0]
    assert (stored["name"], stored["op"], stored["duration_ms"]) == ("/checkout", "http.server", 2000)
    assert sorted(row["quantity"] for row in day.rows("sessions")) == [1, 4]
    assert [row["monitor_slug"] for row in day.rows("check_ins")] == ["nightly"]
    assert sorted((row["kind"], row["message"]) for row in day.rows("user_reports")) == [
        ("feedback", "broken"),
        ("feedback", "broken"),
        ("user_report", "help"),
    ]
    outcomes = day.outcomes()
    assert outcomes["stored", ""] == 12
    assert outcomes["client_discard", "queue_overflow"] == 3
    assert outcomes["unsupported", "profile"] == outcomes["unsupported", "made_up"] == 1
    day.assert_balanced()


def test_items_that_a_quota_refused_are_counted_but_not_stored(day: Day) -> None:
    sent = event()
    session = {"sid": "1" * 32, "started": day.at().isoformat(), "attrs": {"release": "r@1"}}
    day.spool(day.receipt(sent, item("session", session), refused=["session"]))
    day.drain()
    assert day.ids() == [sent["event_id"]]
    assert day.rows("sessions") == []
    assert day.outcomes() == {("stored", ""): 1, ("rate_limited", "quota"): 1}
    day.assert_balanced()


def test_refusals_that_the_receiver_reports_are_counted_and_are_no_items(day: Day) -> None:
    refusals = {
        "outcomes": [{"category": "error", "outcome": "rate_limited", "reason": "quota", "quantity": 9}]
    }
    day.spool(day.receipt(item("refusals", refusals), internal=True))
    day.drain()
    assert day.outcomes() == {("rate_limited", "quota"): 9}
    day.assert_balanced()


# ── duplicates


def test_an_event_sent_twice_is_stored_once_wherever_the_second_lies(day: Day) -> None:
    """Within a batch, in a later batch, and on the next day."""
    sent = event()
    day = day.configured(batch_envelopes=2)
    day.send(sent, sent, event(), sent)
    day.drain()
    tomorrow = day.next()
    tomorrow.send(sent)
    tomorrow.drain()

    assert day.ids().count(sent["event_id"]) == 1
    assert len(day.ids()) == 2
    assert tomorrow.ids() == []
    assert day.outcomes() == {("stored", ""): 2, ("duplicate", "event_id"): 2}
    assert tomorrow.outcomes() == {("duplicate", "event_id"): 1}
    assert day.group()["times_seen"] == 2
    day.assert_balanced()
    tomorrow.assert_balanced()


def test_an_id_belongs_to_the_day_that_was_processed_first(day: Day) -> None:
    sent, tomorrow = event(), day.next()
    day.send(sent)
    tomorrow.send(sent)
    tomorrow.drain()
    day.drain()
    assert (day.ids(), tomorrow.ids()) == ([], [sent["event_id"]])
    day.recompute()
    tomorrow.recompute()
    assert (day.ids(), tomorrow.ids()) == ([], [sent["event_id"]])


def test_two_projects_may_have_events_of_one_id(day: Day) -> None:
    sent = event()
    day.spool(day.receipt(sent), day.receipt(sent, project=day.project + 500_000))
    day.drain()
    assert day.ids() == [sent["event_id"]] * 2
    assert day.outcomes() == {("stored", ""): 2}


def test_attachments_share_the_fate_of_their_event(day: Day) -> None:
    sent = event()
    files = [item("attachment", b"same", filename="a"), item("attachment", b"same too", filename="b")]
    day.spool(day.receipt(sent, *files), day.receipt(sent, *files))
    day.drain()
    assert [(row["position"], row["name"]) for row in day.rows("attachments")] == [(1, "a"), (1, "b")]
    assert day.outcomes() == {("stored", ""): 3, ("duplicate", "event_id"): 3}
    day.assert_balanced()


def test_an_attachment_may_follow_its_event_in_an_envelope_of_its_own(day: Day) -> None:
    sent = event()
    day.spool(
        day.receipt(sent), day.receipt(item("attachment", b"late", filename="a"), event_id=sent["event_id"])
    )
    day.drain()
    assert [row["name"] for row in day.rows("attachments")] == ["a"]


# ── poison


def test_bad_items_become_dead_letters_and_their_neighbours_are_stored(day: Day) -> None:
    first, last = event(), event()
    day.spool(
        day.receipt(first),
        day.receipt(item("event", b"{not json"), event_id="1" * 32),
        day.receipt(body=b"\x00 no envelope"),
        day.receipt(item("event", []), event_id="2" * 32),
        day.receipt(event(), body=b"whatever", encoding="made-up"),
        day.receipt(item("check_in", {"status": "ok"}), item("attachment", b"x")),
        day.receipt(last),
    )
    day.drain()

    assert day.ids() == [first["event_id"], last["event_id"]]
    letters = [
        (row["position"], row["item_type"], row["step"], row["reason"]) for row in day.rows("dead_letters")
    ]
    assert letters == [
        (2, "event", "validate", "invalid_payload"),
        (3, "envelope", "open", "invalid_envelope"),
        (4, "event", "validate", "invalid_payload"),
        (5, "envelope", "open", "invalid_envelope"),
        (6, "check_in", "validate", "invalid_payload"),
        (6, "attachment", "validate", "no_event_id"),
    ]
    assert all(row["detail"] for row in day.rows("dead_letters"))
    day.assert_balanced()


def test_a_step_that_fails_costs_its_event_alone(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(work: Work) -> None:
        if work.event.get("logger") == "poison":
            raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(event_steps.process_event, "__defaults__", ((*event_steps.STEPS, fail),))
    good, bad = event(), event(logger="poison")
    day.send(bad, good)
    day.drain()

    assert day.ids() == [good["event_id"]]
    (letter,) = day.rows("dead_letters")
    assert (letter["event_id"], letter["reason"]) == (bad["event_id"], "processor_error")
    assert letter["detail"] == "ZeroDivisionError: a bug of ours"
    day.assert_balanced()


def test_a_store_that_fails_is_nobodys_poison(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk must not turn attachments into dead letters: the batch stays open and is done later."""
    sent = event()
    day.spool(day.receipt(sent, item("attachment", b"bytes", filename="a")))

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(day.stores.blobs), "put", full)
        with pytest.raises(OSError, match="No space left"):
            day.drain()
    day.assert_balanced()
    day.drain()
    assert [row["name"] for row in day.rows("attachments")] == ["a"]
    assert day.rows("dead_letters") == []
    day.assert_stored_once([sent["event_id"]])


def test_huge_events_are_cut_and_stored(day: Day) -> None:
    frames = [{"function": f"f{n}", "module": "m", "lineno": n, "in_app": True} for n in range(10_000)]
    exception = {"type": "RecursionError", "value": "deep", "stacktrace": {"frames": frames}}
    huge = event(exception={"values": [exception]}, tags={f"t{n}": "x" * 500 for n in range(1000)})
    day.send(huge, event())
    day.drain()
    stored = find_event(day.stores.state, day.stores.lake, huge["event_id"])
    assert stored is not None
    assert stored["title"] == "RecursionError: deep"
    assert len(stored["payload"]) < 500_000
    assert len(day.ids()) == 2


HOSTILE: list[Any] = [
    "\U0001f469\u200d\U0001f467" * 5_000,
    "null\u0000byte",
    2**80,
    -1,
    1e308,
    True,
    {"a": {"b": {"c": []}}},
    [None, [None]],
]
FIELDS = (
    *("platform", "level", "logger", "transaction", "server_name", "release", "dist", "environment", "tags"),
    *("user", "sdk", "fingerprint", "contexts", "timestamp", "message", "modules", "exception", "request"),
    *("extra", "checksum"),
)


def test_odd_values_in_any_field_are_stored_or_refused_but_never_stop_a_batch(day: Day) -> None:
    """What one database does not take (NUL, long text, large numbers) must not get there."""
    ids = (f"{day.project:028x}{n:04}" for n in range(10_000))
    good = event()
    day.spool(
        *(
            day.receipt(hostile, event_id=next(ids))
            for value in HOSTILE
            for hostile in _items_with(value, day.at().isoformat(), day.at(-1).isoformat())
        ),
        day.receipt(good),
    )
    day.drain()
    assert good["event_id"] in day.ids()
    assert {row["reason"] for row in day.rows("dead_letters")} == {
        "invalid_payload",
        "invalid_envelope",
    }  # headers of 64 KB are too long
    day.assert_balanced()
    before = day.state()
    day.recompute()
    assert day.state() == before


def _items_with(value: Any, now: str, earlier: str) -> Iterator[Item]:
    """Items of every type with the value in one field, or in all."""
    for name in (*FIELDS, "type"):
        yield item("event", {**event(), name: value})
    common = dict.fromkeys(FIELDS, value)
    yield item("event", common)
    yield item("event", {**event(), "user": dict.fromkeys(("id", "email", "username", "ip_address"), value)})
    times = {"start_timestamp": earlier, "timestamp": now}
    yield item("transaction", {**common, **times, "spans": value})
    yield item(
        "transaction", {**times, "contexts": {"trace": dict.fromkeys(("trace_id", "op", "status"), value)}}
    )
    session = {"sid": "1" * 32, "started": now, "attrs": {"release": "r@1"}}
    for name in ("did", "seq", "duration", "errors", "status", "timestamp", "sid"):
        yield item("session", {**session, name: value})
    yield item(
        "sessions",
        {"aggregates": [{"started": now, "exited": value, "did": value}], "attrs": {"release": "r@1"}},
    )
    yield item("check_in", {"status": "ok", "monitor_slug": "m", "duration": value, "release": value})
    yield item("feedback", {"contexts": {"feedback": {"message": value, "url": value, "name": value}}})
    yield item("user_report", {"event_id": "1" * 32, "comments": value, "name": value})
    yield item(
        "client_report", {"discarded_events": [{"reason": value, "category": value, "quantity": value}]}
    )
    yield item("security", {"csp-report": {"document-uri": value, "blocked-uri": value}})
    yield item("attachment", b"x", filename=value, content_type=value)


# ── bounds


def test_aggregates_without_end_cost_their_own_envelope_alone(day: Day) -> None:
    bucket = {
        "started": day.at().isoformat(),
        **dict.fromkeys(("exited", "errored", "crashed", "abnormal"), 1),
    }
    flood = item("sessions", {"aggregates": [bucket] * 100, "attrs": {"release": "r@1"}})
    first, last = event(), event()
    day.spool(
        day.receipt(*[flood] * 150, first, item("attachment", b"log", filename="a")), day.receipt(last, flood)
    )
    day.drain()

    assert sorted(day.ids()) == sorted([first["event_id"], last["event_id"]])
    assert len(day.rows("sessions")) == 3 * 400
    assert len(day.rows("attachments")) == 1
    assert day.outcomes() == {("stored", ""): 2 + 1 + 3, ("invalid", "too_many_rows"): 148}
    day.assert_balanced()
    before = day.lake()
    day.recompute()
    assert day.lake() == before


def test_check_ins_beyond_what_clients_send_are_refused(day: Day) -> None:
    day.spool(day.receipt(*[item("check_in", {"status": "ok", "monitor_slug": "m"})] * 12))
    day.drain()
    assert len(day.rows("check_ins")) == 10
    assert day.outcomes() == {("stored", ""): 10, ("invalid", "too_many_check_ins"): 2}
    day.assert_balanced()


def test_a_batch_is_staged_in_pieces_of_any_kind_of_row(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also sessions, dead letters and reports are memory; a piece is a few rows or bytes more than its bound."""
    session = item("session", {"sid": "1" * 32, "started": day.at().isoformat(), "attrs": {"release": "r@1"}})
    report = item("user_report", {"event_id": "1" * 32, "comments": "x" * 4000})
    bad = item("session", {})
    day.spool(*(day.receipt(*[one] * 5) for one in (session, report, bad) * 4))
    sizes: list[int] = []
    monkeypatch.setattr(batch_module, "CHUNK_ROWS", 10)
    monkeypatch.setattr(batch_module, "CHUNK_BYTES", 20_000)
    settle = batch_module.settle

    def settled(stores: Any, staging: Staging, *rest: Any, **options: Any) -> None:
        sizes.append(len(staging.staged) + len(staging.dead_letters))
        assert staging.size < 50_000
        settle(stores, staging, *rest, **options)

    monkeypatch.setattr(batch_module, "settle", settled)
    day.drain()
    assert sum(sizes) == 60
    assert max(sizes) <= 10
    assert len(day.rows("user_reports")) == len(day.rows("dead_letters")) == 20


def test_names_that_strangers_make_up_are_counted_together_beyond_a_bound(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "MAX_BATCH_REASONS", 3)
    entries = [{"reason": f"r{n}", "category": "error", "quantity": 2} for n in range(4)]
    day.spool(
        day.receipt(item("made-up-1", b""), item("made-up-2", b"")),
        day.receipt(item("client_report", {"discarded_events": entries}), item("made-up-1", b"")),
    )
    day.drain()
    assert day.outcomes() == {
        ("stored", ""): 1,
        ("unsupported", "made-up-1"): 2,
        ("unsupported", "made-up-2"): 1,
        ("client_discard", "r0"): 2,
        ("client_discard", "other"): 6,
    }


def test_what_a_database_does_not_take_costs_its_event_alone(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attachment shares the fate of its event; the session in its envelope does not."""
    bad, good = event(logger="poison"), [event(), event()]

    def failing(staged: Staged, tools: Any) -> Any:
        if staged.row["logger"] == "poison":
            raise OverflowError("date value out of range")
        return new_group(staged, tools)

    new_group = settle_module.new_group
    monkeypatch.setattr(settle_module, "new_group", failing)
    session = item("session", {"sid": "1" * 32, "started": day.at().isoformat(), "attrs": {"release": "r@1"}})
    day.spool(
        day.receipt(good[0]),
        day.receipt(bad, item("attachment", b"x", filename="a"), session),
        day.receipt(good[1]),
    )
    day.drain()

    assert sorted(day.ids()) == sorted(e["event_id"] for e in good)
    assert len(day.rows("sessions")) == 1
    assert [(r["item_type"], r["step"], r["detail"]) for r in day.rows("dead_letters")] == [
        (kind, "settle", "OverflowError: date value out of range") for kind in ("event", "attachment")
    ]
    assert day.outcomes() == {("stored", ""): 3, ("invalid", "processor_error"): 2}
    day.assert_balanced()


@pytest.mark.parametrize("value", ["\ud800", "a\0", 2**63, [1]])
def test_a_row_that_no_table_takes_costs_its_item_alone(
    day: Day, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    def spoil(work: Work) -> None:
        if work.event.get("logger") == "poison":
            work.event["server_name"] = value

    monkeypatch.setattr(event_steps.process_event, "__defaults__", ((*event_steps.STEPS, spoil),))
    good, bad = event(), event(logger="poison", platform="javascript")  # symbol files may have to do with it
    day.send(bad, good)
    day.drain()
    stored = day.ids()
    # NUL is mended: a file of symbols may hold it
    assert stored == ([bad["event_id"]] if value == "a\0" else []) + [good["event_id"]]
    day.assert_balanced()


def test_many_failures_of_a_kind_are_logged_once_and_counted(
    day: Day, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("x" * 100_000)

    monkeypatch.setattr(items, "session_rows", fail)
    day.spool(day.receipt(*[item("session", {})] * 150))
    day.drain()
    assert len(day.rows("dead_letters")) == 150
    assert len(caplog.text) < 15_000
    assert "an item of type session failed: ZeroDivisionError: 150 times in this batch" in caplog.text


# ── groups


def test_a_group_counts_events_users_releases_and_environments(day: Day) -> None:
    day.spool(
        *(
            day.receipt(
                event(user={"id": user}, release=release, environment=env, timestamp=day.at(at).timestamp()),
                seconds=9,
            )
            for user, release, env, at in (
                ("1", "a@1", "prod", 5),
                ("2", "a@1", "prod", 2),
                ("1", "a@2", "test", 8),
            )
        )
    )
    day.drain()
    tomorrow = day.next()
    tomorrow.send(event(user={"id": "2"}), event(user={"id": "3"}))
    tomorrow.drain()

    group = day.group()
    assert (group["times_seen"], group["users"]) == (5, 3)
    assert (group["first_seen"], group["last_seen"]) == (day.at(2), tomorrow.at(1))
    values = group_value_counts(day.stores.state, group["id"])
    assert dict(values["user"]) == {"id:1": 2, "id:2": 2, "id:3": 1}
    assert dict(values["release"]) == {"a@1": 2, "a@2": 1}
    assert dict(values["environment"]) == {"prod": 2, "test": 1}
    assert group_day_counts(day.stores.state, group["id"]) == [(day.date, 3), (tomorrow.date, 2)]
    newest = newest_events(day.stores.state, day.stores.lake, group["id"], 2)
    assert [row["timestamp"] for row in newest] == [tomorrow.at(1), tomorrow.at(0)]


def test_a_group_shows_its_newest_event_and_not_the_one_that_came_last(day: Day) -> None:
    def saying(value: str, at: float) -> dict[str, Any]:
        sent = event("Timeout", timestamp=day.at(at).timestamp())
        sent["exception"]["values"][0]["value"] = value
        return sent

    for sent in (saying("first", 1), saying("newest", 9), saying("late", 5)):
        day.spool(day.receipt(sent, seconds=10))
        day.drain()
    assert day.group()["title"] == "Timeout: newest"


def test_short_ids_count_within_a_project(day: Day) -> None:
    other = day.project + 700_000
    day.spool(*(day.receipt(event(p)) for p in ("A", "B", "A")), day.receipt(event("A"), project=other))
    day.drain()
    assert [g["short_id"] for g in day.groups()] == [f"{day.project}-1", f"{day.project}-2"]
    slugs = {day.project: "shop", other: "other"}
    first = find_group(day.stores.state, slugs, short_id=("other", 1))
    assert first is not None
    assert (first["short_id"], first["times_seen"]) == ("OTHER-1", 1)
    assert find_group(day.stores.state, slugs, short_id=("shop", 3)) is None


def test_one_shared_key_makes_one_group(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event with keys (a, b) joins what a and b were before: the group of the first key wins, b keeps its group."""

    def with_keys_of_logger(found: dict[str, Any], rules: GroupingRules) -> Grouping:
        return replace(group_event(found, rules), keys=tuple(found["logger"].split(",")))

    monkeypatch.setattr(event_steps, "group_event", with_keys_of_logger)
    day.send(*(event(logger=keys) for keys in ("a", "b", "a,b", "c,b", "c", "d,e", "e")))
    day.drain()
    numbers = [row["group_id"] for row in day.rows("events")]
    first = numbers[0]
    assert [n - first for n in numbers] == [0, 1, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(("seconds", "status"), [(10, Status.REGRESSED), (-10, Status.RESOLVED)])
def test_a_resolved_group_comes_back_by_a_newer_event_alone(day: Day, seconds: int, status: Status) -> None:
    day.send(event())
    day.drain()
    day.decide(resolve(day.at(100)))
    day.spool(day.receipt(event(timestamp=day.at(100 + seconds).timestamp()), seconds=120))
    day.drain()
    assert day.group()["status"] == status
    assert day.group()["times_seen"] == 2


@pytest.mark.parametrize(
    ("decision", "statuses"),
    [
        ({}, ["ignored", "ignored", "ignored"]),
        ({"until_times_seen": 3}, ["ignored", "ignored", "unresolved"]),
        ({"until": timedelta(seconds=30)}, ["ignored", "ignored", "unresolved"]),
    ],
    ids=["for good", "until seen three times", "until a time"],
)
def test_an_ignored_group_stays_so_as_long_as_was_said(
    day: Day, decision: dict[str, Any], statuses: list[str]
) -> None:
    day.send(event())
    day.drain()
    if "until" in decision:
        decision = {"until": day.at() + decision["until"]}
    life: Lifecycle = ignore(day.at(), **decision)
    day.decide(life)
    seen = [day.group()["status"]]
    for at in (20, 40):
        day.spool(day.receipt(event(), seconds=at))
        day.drain()
        seen.append(day.group()["status"])
    assert seen == statuses

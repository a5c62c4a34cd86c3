"""What is stored of events with secrets, what is kept out, and what of raw envelopes is left on disk."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from typing import Any

import pytest

from tasks_pipeline.config import Key, Project, Retention
from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.tools import Tools
from tests.support.day import Day
from tests.support.events import event, item

SECRET = "hunter2-X9-hunter2"


def of_project(day: Day, **settings: Any) -> Day:
    """The same day, its project with settings of its own."""
    project = Project.model_validate(
        {"id": day.project, "slug": "shop", "keys": (Key(public_key="abcd"),), **settings}
    )
    config = day.stores.config.model_copy(update={"projects": (project,)})
    return replace(
        day, stores=replace(day.stores, config=config, tools=Tools(config, user_key=lambda: b"key"))
    )


def without_raw(day: Day) -> Day:
    """The same day, raw envelopes erased as soon as they are processed."""
    config = day.stores.config.model_copy(update={"retention": Retention(raw_days=0)})
    return replace(day, stores=replace(day.stores, config=config))


def with_secrets() -> dict[str, Any]:
    secret = event(
        message=f"password={SECRET}",
        tags={"auth.token": SECRET},
        user={"id": "7", "ip_address": "203.0.113.77"},
        transaction=f"/login?token={SECRET}",
        server_name=f"password={SECRET}",
        logger=f"secret={SECRET}",
        extra={"password": SECRET},
    )
    secret["exception"]["values"][0]["value"] = f"no login with password={SECRET}"
    secret["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"] = {"password": SECRET}
    return secret


def test_nothing_secret_is_in_any_table(day: Day) -> None:
    day = of_project(day, scrubbing={"ip_addresses": "truncate"})
    sent = with_secrets()
    now = day.at()
    transaction = {
        "type": "transaction",
        "event_id": "b" * 32,
        "transaction": f"/login?token={SECRET}",
        "start_timestamp": now.timestamp(),
        "timestamp": now.timestamp() + 1,
        "tags": {"auth.token": SECRET},
        "user": {"ip_address": "203.0.113.77"},
    }
    session = {
        "sid": "c" * 32,
        "did": f"token={SECRET}",
        "started": now.isoformat(),
        "attrs": {"release": "shop@1"},
    }
    report = {"event_id": "d" * 32, "comments": f"my password: {SECRET}", "email": "me@example.com"}
    day.spool(
        day.receipt(sent),
        day.receipt(item("transaction", transaction), event_id="b" * 32),
        day.receipt(item("session", session)),
        day.receipt(item("user_report", report)),
        day.receipt(item("session", {**session, "status": f"password={SECRET}"})),
    )
    day.drain()
    rows = day.lake()
    assert [len(rows[t]) for t in ("events", "transactions", "sessions", "user_reports", "dead_letters")] == [
        1
    ] * 5
    (payload,) = rows["event_payloads"]
    assert json.loads(payload["payload"])["_meta"]
    assert SECRET not in str(rows)
    assert SECRET not in str(day.groups())
    assert "203.0.113.77" not in str(rows)
    (stored,) = rows["events"]
    assert (stored["user_ip"], stored["user_id"]) == ("203.0.113.0", "7")
    assert stored["title"] == "Problem: no login with password=[Filtered]"
    assert isinstance(rows["sessions"][0]["user_hash"], int)  # counted all the same
    day.assert_balanced()
    day.recompute()
    assert day.lake() == rows


def test_what_filters_keep_out_is_counted_with_its_attachments(day: Day) -> None:
    day = of_project(day, filters={"releases": ["old@*"], "ip_addresses": ["10.0.0.0/8"]})
    old, kept = event(release="old@1"), event(release="new@1")
    log = item("attachment", b"a log of the old one", filename="log.txt")
    now = day.at().isoformat()
    session = {"sid": "c" * 32, "started": now, "attrs": {"release": "old@2"}}
    day.spool(
        day.receipt(log, old, log),
        day.receipt(kept, log, seconds=1),
        day.receipt(item("session", session), event(), log, seconds=2),
        day.receipt(event(), seconds=3, remote_addr="10.1.2.3"),
    )
    day.drain()
    assert len(day.rows("events")) == 2
    assert len(day.rows("attachments")) == 2
    assert day.rows("dead_letters") == []
    assert day.outcomes() == {("stored", ""): 4, ("filtered", "release"): 4, ("filtered", "ip_address"): 1}
    day.assert_balanced()
    rows = day.lake()
    day.recompute()
    assert day.lake() == rows


def test_without_raw_retention_nothing_of_an_envelope_is_left(day: Day) -> None:
    day = without_raw(day)
    address = "198.51.100.99"
    # large enough for pages of their own, and not to be found by chance
    large = event(extra={"password": SECRET, "filler": "x" * 20_000})
    writer = day.stores.spool.writer()  # a receiver has its files open all the time
    writer.append([day.receipt(large, remote_addr=address), day.receipt(event(), seconds=1)])
    if day.stores.home.embedded:
        assert SECRET.encode() in spool_bytes(day)
    day.drain()
    assert len(day.ids()) == 2
    day.assert_balanced()
    assert day.stores.spool.read(day.date, "r0", 0) == []
    if day.stores.home.embedded:
        assert SECRET.encode() not in spool_bytes(day)
        assert address.encode() not in spool_bytes(day)
    writer.close()

    rows = day.lake()
    with pytest.raises(RawGone, match=r"raw_days is 0\); the day stays as it is"):
        day.recompute()
    assert day.lake() == rows

    later = day.send(event(), event())  # the day goes on
    day.assert_balanced()
    day.drain()
    assert set(later) <= set(day.ids())
    day.assert_balanced()


def test_what_a_dead_drain_left_is_erased_by_the_next(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    day.send(event(), event())
    day.drain()  # while raw envelopes were kept
    assert len(day.stores.spool.read(day.date, "r0", 0)) == 2
    day = without_raw(day)
    waiting = day.send(event())
    day.drain()
    assert day.stores.spool.read(day.date, "r0", 0) == []
    assert waiting[0] in day.ids()
    day.assert_balanced()


def test_what_still_waits_is_not_erased(day: Day) -> None:
    day = without_raw(day)
    day.send(event(), event(), event())
    day.stores.spool.erase(day.date, "r0", 1, 1)
    waiting = day.stores.spool.waiting(day.date, "r0", 0)
    assert (waiting.envelopes, waiting.items) == (3, 3)
    assert [s.position for s in day.stores.spool.read(day.date, "r0", 0)] == [2, 3]
    day.stores.spool.erase(day.date, "r7", 1, 1)  # what is not there cannot be erased, and need not be


def test_raw_envelopes_are_for_their_owner_alone(day: Day) -> None:
    if not day.stores.home.embedded:
        pytest.skip("rows of a database")
    day.send(event())
    folder = day.stores.home.spool_dir
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [path for path in folder.iterdir() if path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def spool_bytes(day: Day) -> bytes:
    """Every byte of the files of the day, as somebody who reads the disk would see it."""
    found = day.stores.home.spool_dir.glob(f"{day.date.isoformat()}-*")
    return b"".join(path.read_bytes() for path in found)

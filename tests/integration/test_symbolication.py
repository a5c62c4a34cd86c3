"""Events on their way through a drain: symbolicated with what was uploaded, and again when it came too late."""

from __future__ import annotations

import json
from typing import Any

from tasks_pipeline.processing.reprocess import reprocess_events
from tasks_pipeline.symbolication.keys import debug_id_key, release_key
from tasks_pipeline.uploads import inspect
from tasks_pipeline.uploads.known import add_bundle, add_debug_file
from tests.support.day import Day
from tests.support.events import event
from tests.support.symbols import DATA

BROWSER_ID = "248bcf3a-41a8-5d27-8cc8-87e636bed392"
CRASHER = "30a2a0e9-1749-25d3-06c0-d4244f61b852"


def browser_event(column: int = 274) -> dict[str, Any]:
    url = "https://shop.test/assets/app.min.js"
    frames = [
        {
            "filename": "node:internal/node_modules/x",
            "function": "run",
            "lineno": 1,
            "colno": 1,
            "in_app": True,
        },
        {"filename": url, "function": "o.add", "lineno": 3, "colno": 1, "in_app": True},
        {"filename": url, "function": "o.add", "lineno": 3, "colno": column, "in_app": True},
    ]
    return event(
        platform="javascript",
        release="shop@1",
        exception={"values": [{"type": "TypeError", "value": "no price", "stacktrace": {"frames": frames}}]},
        debug_meta={"images": [{"type": "sourcemap", "code_file": url, "debug_id": BROWSER_ID}]},
    )


def upload_bundle(day: Day, release: str | None = None) -> None:
    path = DATA / "browser.bundle"
    found = inspect.bundle(path, "100", str(2**20)).bundle
    assert found is not None
    add_bundle(
        day.stores.state,
        [day.project],
        sha1="0" * 40,
        digest=day.stores.blobs.put(path.read_bytes()),
        size=path.stat().st_size,
        release=release,
        dist=None,
        bundle=found,
    )


def upload_debug_file(day: Day, name: str) -> None:
    path = DATA / name
    add_debug_file(
        day.stores.state,
        day.project,
        sha1=f"{len(name):040}",
        digest=day.stores.blobs.put(path.read_bytes()),
        size=path.stat().st_size,
        name=name,
        objects=inspect.debug_file(path, name).objects,
    )


def stored(day: Day, event_id: str) -> dict[str, Any]:
    (row,) = [row for row in day.rows("event_payloads") if row["event_id"] == event_id]
    payload: dict[str, Any] = json.loads(row["payload"])
    return payload


def crash_frame(payload: dict[str, Any]) -> dict[str, Any]:
    frame: dict[str, Any] = payload["exception"]["values"][0]["stacktrace"]["frames"][-1]
    return frame


def test_symbols_that_were_there(day: Day) -> None:
    upload_bundle(day)
    native = json.loads((DATA / "native.json").read_text())["event"]
    upload_debug_file(day, "crasher.debug")
    ids = day.send(browser_event(), native)
    day.drain()
    script, crash = (stored(day, event_id) for event_id in ids)
    assert (crash_frame(script)["function"], crash_frame(script)["lineno"]) == ("Cart.add", 9)
    assert (crash_frame(crash)["function"], crash_frame(crash)["lineno"]) == ("sum_lines", 38)
    rows = {row["event_id"]: row for row in day.rows("events")}
    assert rows[ids[0]]["missing_symbols"] is None
    assert rows[ids[1]]["missing_symbols"] == [debug_id_key("ec61ac93-8e5a-39b1-6f9f-bd350e3169a5")]
    assert "Cart.add" in rows[ids[0]]["culprit"]


def test_symbols_that_came_late_heal_what_is_stored(day: Day) -> None:
    ids = day.send(browser_event(), browser_event())
    day.drain()
    (key, *_) = keys = day.rows("events")[0]["missing_symbols"]
    assert keys == [debug_id_key(BROWSER_ID), release_key("shop@1", None)]
    before = stored(day, ids[0])["exception"]["values"][0]
    assert crash_frame(stored(day, ids[0]))["function"] == "o.add"
    assert before["stacktrace"]["frames"][0]["data"]["orig_in_app"] == 1  # grouping's rules had their say
    upload_bundle(day)
    report = reprocess_events(day.stores, day.date, wanted={(day.project, key)})
    assert (report.events, report.missing) == (2, 0)
    for event_id in ids:
        payload = stored(day, event_id)
        assert crash_frame(payload)["function"] == "Cart.add"
        raw = payload["exception"]["values"][0]["raw_stacktrace"]["frames"]
        assert raw == browser_event()["exception"]["values"][0]["stacktrace"]["frames"]
    lake = day.lake()
    reprocess_events(day.stores, day.date)
    assert day.lake() == lake
    day.recompute()
    assert day.lake() == lake

"""Rows as Arrow tables: every value as it was, and nothing where there was none."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.storage.lake.arrow import to_arrow

PLACE = {"day": date(2026, 11, 22), "part": "r0", "position": 1, "item": 0}


@settings(deadline=None)  # the first use of Arrow loads libraries
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_payloads_are_what_they_were(payloads: list[str]) -> None:
    rows = [PLACE | {"payload": payload.encode()} for payload in payloads]
    table = to_arrow({"event_payloads": rows})["event_payloads"]
    table.validate(full=True)
    assert table["payload"].to_pylist() == payloads
    assert table["event_id"].null_count == len(payloads)


def test_columns_of_an_event() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    row: dict[str, Any] = PLACE | {
        "received_at": now,
        "tags": [("a", "b")],
        "group_keys": ["k"],
        "handled": False,
    }
    (found,) = to_arrow({"events": [row]})["events"].to_pylist()
    assert {name: found[name] for name in row} == row
    assert {value for name, value in found.items() if name not in row} == {None}

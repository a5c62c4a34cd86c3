"""Item types, the books' view of an envelope, and event ids."""

from __future__ import annotations

import json

import pytest

from tasks_pipeline.protocol.envelope import Envelope, Item
from tasks_pipeline.protocol.ids import dashed, new_event_id, parse_event_id, payload_event_id
from tasks_pipeline.protocol.items import SUPPORTED, accounted, category

ID = "0123456789abcdef0123456789abcdef"


def envelope(*types: str) -> Envelope:
    return Envelope({}, [Item({"type": item_type}, b"") for item_type in types])


def test_only_supported_items_count_and_keep_their_place() -> None:
    kept = accounted(envelope("span", "event", "refusals", "attachment", "log", "client_report", "surprise"))
    assert [(index, item.type) for index, item in kept] == [
        (1, "event"),
        (3, "attachment"),
        (5, "client_report"),
    ]


def test_refused_categories_do_not_count() -> None:
    kept = accounted(envelope("event", "sessions", "session", "attachment"), refused=["session", "error"])
    assert [item.type for _, item in kept] == ["attachment"]


def test_every_supported_type_has_a_category() -> None:
    assert {category(item_type) for item_type in SUPPORTED} == {
        "error", "attachment", "session", "monitor", "internal", "feedback", "transaction", "security"
    }  # fmt: skip
    assert category("surprise") == "default"


@pytest.mark.parametrize(
    "text", [ID, ID.upper(), dashed(ID), dashed(ID).upper()], ids=["plain", "upper", "dashed", "dashed upper"]
)
def test_event_ids_in_all_spellings(text: str) -> None:
    assert parse_event_id(text) == ID


@pytest.mark.parametrize(
    "value", ["", ID[:-1], ID + "0", "g" * 32, dashed(ID) + "\n", "0123-" * 8, None, 7, [ID]]
)
def test_what_is_no_event_id(value: object) -> None:
    assert parse_event_id(value) is None


def test_new_ids_are_valid() -> None:
    assert parse_event_id(new_event_id()) is not None


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (json.dumps({"event_id": dashed(ID), "extra": {"event_id": "x"}}).encode(), ID),
        (b'{"extra":NaN,"event_id":"%s"}' % ID.encode(), ID),
        (b'{"message":"\\ud800","event_id":"%s"}' % ID.encode(), ID),
        (b'{"event_id":7}', None),
        (b"{}", None),
        (b"[1]", None),
        (b"nonsense", None),
        (b"[" * 100_000, None),
        (b"", None),
    ],
)
def test_the_id_inside_an_event(payload: bytes, expected: str | None) -> None:
    assert payload_event_id(payload) == expected

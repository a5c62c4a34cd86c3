"""Obfuscated Java names become the original ones: classes, methods, exceptions, inlined frames."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.symbolication.keys import debug_id_key
from tasks_pipeline.symbolication.symbolicator import Symbolicator
from tests.support.symbols import DATA, PROJECT, MemorySource, normalised

MAPPING = "c6917a9b-4a99-593e-bca3-7b0348487fe5"


@pytest.fixture
def source(tmp_path: Path) -> MemorySource:
    (tmp_path / "blobs").mkdir()
    return MemorySource(tmp_path / "blobs")


@pytest.fixture
def symbolicator(tmp_path: Path, source: MemorySource) -> Iterator[Symbolicator]:
    made = Symbolicator(source, tmp_path / "cache", Symbols())
    yield made
    made.close()


def event(
    *frames: tuple[str, str, int | None], kind: str = "IllegalStateException", **fields: Any
) -> dict[str, Any]:
    made = [{"module": m, "function": f, "lineno": line, "filename": "SourceFile"} for m, f, line in frames]
    exception = {"type": kind, "module": "java.lang", "stacktrace": {"frames": made}}
    return normalised(
        {
            "platform": "java",
            "exception": {"values": [exception | fields]},
            "debug_meta": {"images": [{"type": "proguard", "uuid": MAPPING}]},
        }
    )


def seen(event: dict[str, Any]) -> list[tuple[Any, ...]]:
    frames = event["exception"]["values"][0]["stacktrace"]["frames"]
    return [(f["module"], f["function"], f.get("lineno")) for f in frames]


def test_classes_methods_lines_and_inlined_frames(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_debug_file((DATA / "mapping.txt").read_bytes(), MAPPING, "proguard", "mapping", arch="any")
    made = event(
        ("java.lang.Thread", "run", 833), ("a.a.c", "onCreate", 2), ("a.a.b", "a", 4), ("a.a.b", "a", 2)
    )
    raw = normalised(made)["exception"]["values"][0]["stacktrace"]
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert seen(made) == [
        ("java.lang.Thread", "run", 833),
        ("com.example.shop.MainActivity", "onCreate", 16),
        ("com.example.shop.Cart", "add", 23),
        ("com.example.shop.Prices", "priceOf", 9),
        ("com.example.shop.Cart", "add", 21),
    ]
    last = made["exception"]["values"][0]["stacktrace"]["frames"][-1]
    assert last["raw_function"] == "a"
    assert "filename" not in last
    assert made["exception"]["values"][0]["raw_stacktrace"] == raw
    assert "errors" not in made
    again = normalised(made)
    symbolicator.symbolicate(again, PROJECT)
    assert again == made


def test_the_type_of_an_exception(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_debug_file((DATA / "mapping.txt").read_bytes(), MAPPING, "proguard", "mapping")
    made = event(("a.a.b", "a", 2), kind="b", module="a.a")
    symbolicator.symbolicate(made, PROJECT)
    value = made["exception"]["values"][0]
    assert (value["module"], value["type"]) == ("com.example.shop", "Cart")
    assert (value["raw_module"], value["raw_type"]) == ("a.a", "b")
    again = normalised(made)
    symbolicator.symbolicate(again, PROJECT)
    assert again == made


def test_without_a_line_only_what_is_certain(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_debug_file((DATA / "mapping.txt").read_bytes(), MAPPING, "proguard", "mapping")
    made = event(("a.a.b", "a", None), ("a.a.c", "onCreate", None))
    symbolicator.symbolicate(made, PROJECT)
    assert seen(made) == [
        ("com.example.shop.Cart", "a", None),
        ("com.example.shop.MainActivity", "onCreate", None),
    ]
    assert made["errors"] == [{"type": "proguard_missing_lineno", "name": "a.a.b.a"}]


def test_a_missing_mapping_and_a_broken_one(source: MemorySource, symbolicator: Symbolicator) -> None:
    made = event(("a.a.b", "a", 2))
    assert symbolicator.symbolicate(made, PROJECT) == (debug_id_key(MAPPING),)
    assert made["errors"] == [{"type": "proguard_missing_mapping", "name": MAPPING}]
    source.add_debug_file(b"\xff\0nothing" * 50, MAPPING, "proguard", "mapping")
    assert symbolicator.symbolicate(made, PROJECT) == ()
    (frame,) = made["exception"]["values"][0]["stacktrace"]["frames"]
    assert frame["data"] == {"symbolicator_status": "malformed"}
    assert [e["type"] for e in made["errors"]] == ["proguard_invalid_mapping"]


def test_several_mappings(source: MemorySource, symbolicator: Symbolicator) -> None:
    other = str(uuid.uuid4())
    source.add_debug_file((DATA / "mapping.txt").read_bytes(), MAPPING, "proguard", "mapping")
    source.add_debug_file(
        b"com.example.lib.Net -> x.y:\n    1:1:void get():7:7 -> a\n", other, "proguard", "mapping"
    )
    made = event(("x.y", "a", 1), ("a.a.b", "a", 2))
    made["debug_meta"]["images"].append({"type": "proguard", "uuid": other})
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert seen(made) == [("com.example.lib.Net", "get", 7), ("com.example.shop.Cart", "add", 21)]

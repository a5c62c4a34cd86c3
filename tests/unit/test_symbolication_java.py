"""Obfuscated Java names become the original ones: classes, methods, exceptions, inlined frames."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.symbolication.keys import debug_id_key
from tasks_pipeline.symbolication.r8 import Annotations
from tasks_pipeline.symbolication.requests import JavaNotes
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


R8 = """# {"id":"com.android.tools.r8.mapping","version":"2.2"}
com.acme.shop.NoCard -> a.e:
com.acme.shop.Cart$$ExternalSyntheticOutline0 -> a.o:
# {"id":"sourceFile","fileName":"R8$$SyntheticClass"}
# {"id":"com.android.tools.r8.synthesized"}
    1:2:int m():0:0 -> a
      # {"id":"com.android.tools.r8.synthesized"}
      # {"id":"com.android.tools.r8.outline"}
    3:4:int m():0:0 -> a
com.acme.shop.Cart -> a.b:
    java.util.List lines -> s
      # {"id":"com.android.tools.r8.synthesized"}
    1:1:void clear():42:42 -> s
      # {"id":"com.android.tools.r8.residualsignature","signature":"()V"}
    4:4:int pay(int):98:98 -> s
    5:5:int com.acme.shop.Till.take(int):12:12 -> s
    5:5:int pay(int):100:100 -> s
    27:27:int pay(int):0:0 -> s
      # {"id":"com.android.tools.r8.outlineCallsite","positions":{"1":4,"2":5,"x":7,"9":-1},"outline":"La/o;a()I"}
    28:28:int pay(int):0:0 -> s
      # { 'id': 'com.android.tools.r8.outlineCallsite', 'positions': { '3': 4 } }
    29:29:int pay(int):101:101 -> s
      # {"id":"com.android.tools.r8.outlineCallsite","positions":{"1":4},"outline":"La/other;a()I"}
    30:30:int com.acme.shop.Card.check():7:7 -> s
    30:30:int pay(int):102:102 -> s
      # { id: 'com.android.tools.r8.rewriteFrame', conditions: ['throws(Ljava/lang/NullPointerException;)'], actions: ['removeInnerFrames(1)'] }
    31:31:int com.acme.shop.Card.check():7:7 -> s
    31:31:int pay(int):102:102 -> s
      # {"id":"com.android.tools.r8.rewriteFrame","conditions":["throws(La/e;)"],"actions":["removeInnerFrames(5)"]}
      # {"id":"com.android.tools.r8.rewriteFrame","conditions":["instanceOf(La/e;)"],"actions":["removeInnerFrames(1)"]}
com.acme.shop.Cart$$ExternalSyntheticLambda0 -> a.l:
# {"id":"com.android.tools.r8.synthesized"}
    void run() -> a
      # {"id":"com.android.tools.r8.synthesized"}
    4:4:void com.acme.shop.Cart.lambda$pay$0():225:225 -> run
    4:4:void run():0:0 -> run
      # {"id":"com.android.tools.r8.synthesized"}
    5:5:void com.acme.shop.Cart.lambda$pay$1():228:228 -> run
    5:5:void run():0:0 -> run
"""
NPE = {"kind": "NullPointerException", "module": "java.lang"}
PAY, CHECK = ("com.acme.shop.Cart", "pay"), ("com.acme.shop.Card", "check")


@pytest.mark.parametrize(
    ("frames", "fields", "expected"),
    [
        # outlines: the caller stands at the line that the outline's line stands for
        ([("a.b", "s", 27), ("a.o", "a", 1)], {}, [(*PAY, 98)]),
        ([("a.b", "s", 27), ("a.o", "a", 2)], {}, [(*PAY, 100), ("com.acme.shop.Till", "take", 12)]),
        ([("a.b", "s", 28), ("a.o", "a", 3)], {}, [(*PAY, 98)]),
        ([("a.b", "s", 27), ("a.o", "a", 4)], {}, [(*PAY, 27)]),
        ([("a.b", "s", 29), ("a.o", "a", 1)], {}, [(*PAY, 101)]),
        ([("a.b", "s", 1), ("a.b", "s", 27), ("a.o", "a", 1)], {}, [("com.acme.shop.Cart", "clear", 42), (*PAY, 98)]),
        ([("a.b", "s", 1), ("a.o", "a", 1), ("x", "y", 5)], {}, [("com.acme.shop.Cart", "clear", 42), ("x", "y", 5)]),
        # what nobody wrote is no frame, whichever of a method's lines says so
        ([("a.b", "s", 1), ("a.l", "a", None), ("a.b", "s", 4)], {}, [("com.acme.shop.Cart", "clear", 42), (*PAY, 98)]),
        ([("a.l", "run", 4)], {}, [("com.acme.shop.Cart", "lambda$pay$0", 225)]),
        ([("a.l", "run", 5)], {}, [("com.acme.shop.Cart", "lambda$pay$1", 228)]),
        # frames rewritten for what was thrown, right below it
        ([("a.b", "s", 30)], NPE, [(*PAY, 102)]),
        ([("a.b", "s", 30)], {}, [(*PAY, 102), (*CHECK, 7)]),
        ([("a.b", "s", 30), ("a.b", "s", 1)], NPE, [(*PAY, 102), (*CHECK, 7), ("com.acme.shop.Cart", "clear", 42)]),
        ([("a.b", "s", 31)], {"kind": "e", "module": "a"}, [(*PAY, 102)]),
        ([("a.b", "s", 31)], NPE, [(*PAY, 102), (*CHECK, 7)]),
        # better than no stack at all
        ([("a.l", "a", None)], {}, [("a.l", "a", None)]),
    ],
)  # fmt: skip
def test_code_that_nobody_wrote_or_that_was_moved_is_where_people_wrote_it(
    frames: list[tuple[str, str, int | None]],
    fields: dict[str, Any],
    expected: list[tuple[Any, ...]],
    source: MemorySource,
    symbolicator: Symbolicator,
) -> None:
    source.add_debug_file(R8.encode(), MAPPING, "proguard", "mapping")
    made = event(*frames, **fields)
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert seen(made) == expected
    again = normalised(made)
    symbolicator.symbolicate(again, PROJECT)
    assert again == made


def test_a_stack_that_lost_a_frame_can_be_symbolicated_again(
    source: MemorySource, symbolicator: Symbolicator
) -> None:
    source.add_debug_file(R8.encode(), MAPPING, "proguard", "mapping")
    made = event(("x", "y", 1), ("a.o", "a", 1))
    symbolicator.symbolicate(made, PROJECT)
    assert seen(made) == [("x", "y", 1)]
    raw = made["exception"]["values"][0]["raw_stacktrace"]["frames"]
    assert [frame["module"] for frame in raw] == ["x", "a.o"]


@pytest.mark.parametrize(
    "note",
    [
        "{",
        "[" * 5000,
        '"com.android.tools.r8.outline"',
        '{"id":["com.android.tools.r8.outline"]}',
        '{"id":"com.android.tools.r8.outlineCallsite","positions":[1]}',
        '{"id":"com.android.tools.r8.outlineCallsite","positions":{"1":"4","99999999999999999999":1,"2":1e99}}',
        '{"id":"com.android.tools.r8.rewriteFrame","conditions":5,"actions":["removeInnerFrames(1)"]}',
        '{"id":"com.android.tools.r8.rewriteFrame","conditions":[5],"actions":["removeInnerFrames(99999)"]}',
    ],
)
def test_a_broken_annotation_says_nothing(
    note: str, source: MemorySource, symbolicator: Symbolicator
) -> None:
    mapping = f"com.acme.Cart -> a.b:\n    1:1:int pay(int):98:98 -> s\n      # {note} com.android.tools.r8.outline\n      # {note}\n"
    source.add_debug_file(mapping.encode(), MAPPING, "proguard", "mapping")
    made = event(("a.b", "s", 1), **NPE)
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert seen(made) == [("com.acme.Cart", "pay", 98)]


def test_whatever_strangers_name_is_not_kept() -> None:
    notes = Annotations(R8.encode())
    assert notes.of("a.o", "a", 1).outline
    for number in range(1_000):
        assert notes.of(f"b.c{number}", "a", 1) == JavaNotes()
    assert list(notes._methods._values) == ["a.o"]


@pytest.mark.parametrize(
    "note",
    [
        {"id": "outlineCallsite", "positions": {str(line): line for line in range(5_000)}, "outline": "L" * 100_000},
        {"id": "rewriteFrame", "conditions": [f"throws(L{n};)" for n in range(5_000)], "actions": []},
        {"id": "rewriteFrame", "conditions": [[[[[]]]]], "actions": [{"removeInnerFrames(1)": 1}]},
        {"id": "rewriteFrame", "conditions": ["throws(" + "L" * 100_000 + ")"], "actions": ["removeInnerFrames(1)"]},
    ],
)  # fmt: skip
def test_what_is_told_of_a_frame_is_bounded(note: dict[str, Any]) -> None:
    line = f"      # {json.dumps(note | {'id': 'com.android.tools.r8.' + note['id']})}\n"
    mapping = "com.acme.Cart -> a.b:\n    1:1:int pay(int):98:98 -> s\n" + line * 100
    told = msgspec.msgpack.encode(Annotations(mapping.encode()).of("a.b", "s", 1))
    assert len(told) < 10_000

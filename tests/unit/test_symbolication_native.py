"""Native addresses become functions and lines, inlined ones included, and say why when they do not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from symbolic import Archive

from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.symbolication.demangle import demangle
from tasks_pipeline.symbolication.keys import debug_id_key
from tasks_pipeline.symbolication.symbolicator import Symbolicator
from tests.support.objects import CPU_ARM64, CPU_X86_64, fat_macho, macho, wasm
from tests.support.symbols import DATA, PROJECT, MemorySource, bundle, normalised

RECORDED = json.loads((DATA / "native.json").read_text())
CRASHER = "30a2a0e9-1749-25d3-06c0-d4244f61b852"
BASE = 0x7F00_0000_0000

BREAKPAD_ID = "c0bcc3f1-9827-fe65-3058-404b2831d9e6"
BREAKPAD = b"""MODULE Linux x86_64 C0BCC3F19827FE653058404B2831D9E60 shop
FILE 0 /src/shop/cart.cpp
FILE 1 /src/shop/prices.hpp
INLINE_ORIGIN 0 _ZN4shop5priceEi
FUNC 1000 100 0 _ZN4shop4Cart5totalEv
INLINE 0 12 0 0 1010 20
1000 10 10 0
1010 20 7 1
1030 d0 14 0
PUBLIC 2000 0 main
"""


@pytest.fixture
def source(tmp_path: Path) -> MemorySource:
    (tmp_path / "blobs").mkdir()
    return MemorySource(tmp_path / "blobs")


@pytest.fixture
def symbolicator(tmp_path: Path, source: MemorySource) -> Iterator[Symbolicator]:
    made = Symbolicator(source, tmp_path / "cache", Symbols())
    yield made
    made.close()


def event(*frames: dict[str, Any], images: list[dict[str, Any]], **stack: Any) -> dict[str, Any]:
    trace = {"frames": list(frames), **stack}
    return normalised(
        {
            "platform": "native",
            "exception": {"values": [{"type": "SIGSEGV", "stacktrace": trace}]},
            "debug_meta": {"images": images},
        }
    )


def image(debug_id: str = BREAKPAD_ID, kind: str = "elf", **fields: Any) -> dict[str, Any]:
    facts = {"type": kind, "debug_id": debug_id, "image_addr": hex(BASE), "image_size": 0x10000}
    return {**facts, "code_file": "/srv/shop/shop", "arch": "x86_64", **fields}


def at(address: int, **fields: Any) -> dict[str, Any]:
    return {"instruction_addr": hex(BASE + address), **fields}


def frames_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = event["exception"]["values"][0]["stacktrace"]["frames"]
    return frames


def seen(event: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(f.get("function"), f.get("filename"), f.get("lineno")) for f in frames_of(event)]


def test_the_recorded_crash(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_debug_file((DATA / "crasher").read_bytes(), CRASHER, "elf", "symtab", "unwind")
    source.add_debug_file((DATA / "crasher.debug").read_bytes(), CRASHER, "elf", "symtab", "debug")
    sources = {
        "files/srv/crasher.c": (
            {"type": "source", "path": "/srv/shop/native/crasher.c"},
            (DATA / "crasher.c").read_bytes(),
        )
    }
    source.add_debug_file(bundle(sources), CRASHER, "sourcebundle", "sources")
    made = normalised(RECORDED["event"])
    raw = frames_of(normalised(RECORDED["event"]))

    missing = symbolicator.symbolicate(made, PROJECT)

    assert missing == (debug_id_key("ec61ac93-8e5a-39b1-6f9f-bd350e3169a5"),)  # libc's
    found = frames_of(made)
    by_address: dict[str, list[dict[str, Any]]] = {}
    for frame in found:
        by_address.setdefault(frame["instruction_addr"], []).insert(0, frame)
    for expected in RECORDED["expected"]:
        frames = by_address[raw[expected["frame"]]["instruction_addr"]]
        shown = [[f["function"], f"{f.get('abs_path', '??')}:{f.get('lineno', '?')}"] for f in frames]
        assert shown == [[name, place.partition(" ")[0]] for name, place in expected["innermost_first"]]
    crash = found[-1]
    assert crash["context_line"] == (DATA / "crasher.c").read_text().splitlines()[crash["lineno"] - 1][:256]
    assert (crash["image_addr"], crash["symbol_addr"]) == ("0x559f00e44000", "0x559f00e45340")
    assert (crash["package"], crash["filename"]) == ("/srv/shop/native/crasher", "crasher.c")
    inlined, outer = by_address[raw[4]["instruction_addr"]]
    assert inlined["symbol_addr"] == outer["symbol_addr"]
    assert made["exception"]["values"][0]["raw_stacktrace"]["frames"] == raw
    assert [i.get("debug_status") for i in made["debug_meta"]["images"]] == ["found", None, "missing", None]
    assert made["errors"] == [
        {
            "type": "native_missing_system_dsym",
            "name": "/usr/lib/x86_64-linux-gnu/libc.so.6",
            "value": "ec61ac93-8e5a-39b1-6f9f-bd350e3169a5",
        }
    ]

    again = normalised(made)
    assert symbolicator.symbolicate(again, PROJECT) == missing
    assert again == made


def test_breakpad_with_mangled_and_inlined_functions(
    source: MemorySource, symbolicator: Symbolicator
) -> None:
    source.add_debug_file(BREAKPAD, BREAKPAD_ID, "breakpad", "debug", "symtab")
    made = event(at(0x2005), at(0x1030), at(0x1018), images=[image()])
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert seen(made) == [
        ("main", None, None),
        ("shop::Cart::total()", "cart.cpp", 12),  # the call before 0x1030 lies in the inlined function
        ("shop::price(int)", "prices.hpp", 7),
        ("shop::Cart::total()", "cart.cpp", 12),
        ("shop::price(int)", "prices.hpp", 7),
    ]
    assert frames_of(made)[-1]["raw_function"] == "_ZN4shop5priceEi"


def test_a_fat_macho_by_uuid_alone(source: MemorySource, symbolicator: Symbolicator) -> None:
    intel, arm = uuid.uuid4(), uuid.uuid4()
    fat = fat_macho(
        (CPU_X86_64, macho(CPU_X86_64, intel, [(b"_wrong", 0x1000)])),
        (CPU_ARM64, macho(CPU_ARM64, arm, [(b"__ZN4shop4Cart5totalEv", 0x1000), (b"_main", 0x1800)])),
    )
    for debug_id in (intel, arm):
        source.add_debug_file(fat, str(debug_id), "macho", "symtab")
    by_code_id = image(kind="macho", code_id=arm.hex.upper(), arch="arm64") | {"debug_id": None}
    made = event(at(0x1800), at(0x1004), images=[by_code_id])
    # names only: a file with lines would still be welcome
    assert symbolicator.symbolicate(made, PROJECT) == (debug_id_key(str(arm)),)
    # the caller's address is the first of `main`, so the call is the last instruction before it
    assert [s[0] for s in seen(made)] == ["shop::Cart::total()", "shop::Cart::total()"]


def test_a_windows_program_and_its_pdb(source: MemorySource, symbolicator: Symbolicator) -> None:
    program, pdb = (DATA / "windows.exe").read_bytes(), (DATA / "windows.pdb").read_bytes()
    (object_,) = Archive.from_bytes(program).iter_objects()
    assert {found.debug_id for found in Archive.from_bytes(pdb).iter_objects()} == {object_.debug_id}
    stack = at(0x1044), at(0x1018), at(0x1000)
    images = [image(object_.debug_id, "pe", code_id=object_.code_id, code_file="C:\\shop\\shop.exe")]
    source.add_debug_file(program, object_.debug_id, "pe", "unwind")
    without = event(*stack, images=images)
    assert symbolicator.symbolicate(without, PROJECT) == (debug_id_key(object_.debug_id),)
    source.add_debug_file(pdb, object_.debug_id, "pdb", "debug", "symtab")
    symbolicator.arrived_through(source.generation())
    made = event(*stack, images=images)
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert seen(made) == [
        ("start()", "shop.c", 4),
        ("charge(int*)", "shop.c", 3),
        ("checked(int*)", "shop.c", 2),
        ("deepest(int*)", "shop.c", 1),
    ]
    assert frames_of(made)[-1]["abs_path"] == "C:\\shop\\shop.c"


def test_webassembly_by_number_of_the_image(source: MemorySource, symbolicator: Symbolicator) -> None:
    module, starts = wasm(uuid.UUID(CRASHER).bytes, b"_ZN4shop4Cart5totalEv", b"checkout")
    (object_,) = Archive.from_bytes(module).iter_objects()
    source.add_debug_file(module, object_.debug_id, "wasm", "symtab", arch="wasm32")
    images = [
        image(),
        {"type": "wasm", "debug_id": object_.debug_id, "code_file": "https://shop.test/a.wasm"},
    ]
    frames = [
        {"instruction_addr": hex(start + 3), "addr_mode": "rel:1", "filename": "https://shop.test/a.wasm"}
        for start in reversed(starts)
    ]
    made = event(*frames, images=images)
    assert symbolicator.symbolicate(made, PROJECT) == (debug_id_key(object_.debug_id),)
    assert [s[0] for s in seen(made)] == ["checkout", "shop::Cart::total()"]
    assert "image_addr" not in frames_of(made)[0]


def test_what_cannot_be_resolved_says_why(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_debug_file(BREAKPAD, BREAKPAD_ID, "breakpad", "debug")
    broken, absent = str(uuid.uuid4()), str(uuid.uuid4())
    source.add_debug_file(b"\x7fELF" + b"\xff" * 500, broken, "elf", "debug", name="b")
    images = [
        image(),
        image(broken, image_addr=hex(BASE + 0x10000), code_file="/srv/broken.so"),
        image(absent, image_addr=hex(BASE + 0x20000), code_file="/srv/absent.so"),
        image("no id", image_addr=hex(BASE + 0x30000), code_file="/srv/nameless.so"),
    ]
    frames = [at(0x10), at(0x10010), at(0x20010), at(0x30010), at(0x90000), {"function": "known"}, at(0x1001)]
    made = event(*frames, images=images)
    assert symbolicator.symbolicate(made, PROJECT) == (debug_id_key(absent),)
    statuses = [f.get("data", {}).get("symbolicator_status") for f in frames_of(made)]
    assert statuses == [
        "missing_symbol",
        "malformed",
        "missing",
        "missing",
        "unknown_image",
        None,
        "symbolicated",
    ]
    assert [(e["type"], e["name"]) for e in made["errors"]] == [
        ("native_unknown_image", "?"),
        ("native_missing_dsym", "/srv/nameless.so"),
        ("native_missing_dsym", "/srv/absent.so"),
        ("native_bad_dsym", "/srv/broken.so"),
        ("native_missing_symbol", "/srv/shop/shop"),
    ]


def test_threads_and_the_crash_address(source: MemorySource, symbolicator: Symbolicator) -> None:
    """The top frame stands at its instruction, unless a signal's register says that it is a return address."""
    source.add_debug_file(BREAKPAD, BREAKPAD_ID, "breakpad", "debug")
    crash = {"type": "SIGSEGV", "mechanism": {"meta": {"signal": {"number": 11}}}}
    trace = {"frames": [at(0x1030)], "registers": {"rip": hex(BASE + 0x1040)}}
    made = normalised(
        {
            "platform": "native",
            "exception": {"values": [crash | {"stacktrace": trace}]},
            "threads": {"values": [{"id": 1, "stacktrace": {"frames": [at(0x1030)]}}]},
            "stacktrace": {"frames": [at(0x1030)]},
            "debug_meta": {"images": [image()]},
        }
    )
    symbolicator.symbolicate(made, PROJECT)
    assert seen(made)[-1] == ("shop::price(int)", "prices.hpp", 7)
    for holder in (made["threads"]["values"][0], made):
        assert holder["stacktrace"]["frames"][-1]["lineno"] == 14
        assert holder["raw_stacktrace"]["frames"] == [at(0x1030)]
    assert normalised(made)["raw_stacktrace"]


def test_a_stack_stays_bounded(source: MemorySource, symbolicator: Symbolicator) -> None:
    depth = 40
    inlined = [b"INLINE %d %d 0 0 1000 100" % (level, level) for level in range(depth)]
    lines = [
        b"MODULE Linux x86_64 C0BCC3F19827FE653058404B2831D9E60 shop",
        b"FILE 0 a.c",
        b"INLINE_ORIGIN 0 deep",
    ]
    source.add_debug_file(
        b"\n".join([*lines, b"FUNC 1000 100 0 outer", *inlined, b"1000 100 3 0", b""]),
        BREAKPAD_ID,
        "breakpad",
        "debug",
    )
    made = event(*[at(0x1010)] * 50, images=[image()])
    symbolicator.symbolicate(made, PROJECT)
    assert len(frames_of(made)) <= 100
    assert [f["function"] for f in frames_of(made)[-41:]] == ["outer", *["deep"] * depth]
    assert all(f["data"]["symbolicated"] for f in frames_of(made))


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("_ZN4shop4Cart5totalEv", "shop::Cart::total()"),
        ("__ZN4shop4Cart5totalEv", "shop::Cart::total()"),
        ("_ZN4core9panicking5panic17h0123456789abcdefE", "core::panicking::panic"),
        (
            "_ZN66_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..drop..Drop$GT$4drop17h0123456789abcdefE",
            "<alloc::vec::Vec<T> as core::ops::drop::Drop>::drop",
        ),
        ("_RNvCs1234_4shop8checkout", "shop::checkout"),
        ("?checkout@Shop@@QEAAHXZ", "public: int __cdecl Shop::checkout(void)"),
        ("$s4shop8checkoutyyF", "shop.checkout() -> ()"),
        ("main", "main"),
        ("-[Cart total]", "-[Cart total]"),
        ("_Znonsense\xff", "_Znonsense\xff"),
        ("_Z" + "1a" * 5000, ("_Z" + "1a" * 5000)[:1024]),
    ],
)
def test_readable_names(symbol: str, name: str) -> None:
    assert demangle(symbol) == name

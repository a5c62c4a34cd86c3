"""Files that break, lie, explode or kill: bounded, said on the event, and without harm to others."""

from __future__ import annotations

import io
import json
import os
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline.config.model import MIB
from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.symbolication.cache import SymbolCache, read_entry, write_entry
from tasks_pipeline.symbolication.source import Artifact
from tasks_pipeline.symbolication.symbolicator import Symbolicator
from tests.support.symbols import DATA, PROJECT, MemorySource, bundle, normalised, script

GOOD = "248bcf3a-41a8-5d27-8cc8-87e636bed392"
BAD = "11111111-1111-4111-8111-111111111111"
SMALL_MAP = json.dumps({"version": 3, "sources": ["a.js"], "names": [], "mappings": "AAAA"}).encode()
LIMITS = Symbols(max_file_bytes=8 * MIB, worker_memory_bytes=512 * MIB, file_seconds=20)


@pytest.fixture
def source(tmp_path: Path) -> MemorySource:
    (tmp_path / "blobs").mkdir()
    made = MemorySource(tmp_path / "blobs")
    made.add_bundle((DATA / "browser.bundle").read_bytes())
    return made


@pytest.fixture
def symbolicator(tmp_path: Path, source: MemorySource) -> Iterator[Symbolicator]:
    made = Symbolicator(source, tmp_path / "cache", LIMITS)
    yield made
    made.close()


def event(bad: str = BAD) -> dict[str, Any]:
    """A frame of a script that does harm, and one of a good one."""
    frames = [
        {"filename": "https://shop.test/bad.js", "lineno": 1, "colno": 1},
        {"filename": "https://shop.test/assets/app.min.js", "lineno": 3, "colno": 274},
    ]
    images = [
        {"type": "sourcemap", "code_file": frames[0]["filename"], "debug_id": bad},
        {"type": "sourcemap", "code_file": frames[1]["filename"], "debug_id": GOOD},
    ]
    return normalised(
        {
            "platform": "javascript",
            "exception": {"values": [{"type": "Error", "stacktrace": {"frames": frames}}]},
            "debug_meta": {"images": images},
        }
    )


def outcome(made: dict[str, Any]) -> tuple[str, list[str]]:
    """Status of the bad frame, and the errors; the good one is always resolved."""
    bad, good = made["exception"]["values"][0]["stacktrace"]["frames"]
    assert good["function"] == "Cart.add"
    return bad["data"]["symbolicator_status"], [e["type"] for e in made.get("errors", ())]


HARMFUL = {
    "no json": (b"a()", b"<html>404</html>", "malformed"),
    "bad mappings": (b"a()", b'{"version":3,"sources":["a"],"names":[],"mappings":"%%%%"}', "malformed"),
    "wrong types": (b"a()", b'{"version":3,"sources":7,"names":[],"mappings":[]}', "malformed"),
    "deep json": (b"a()", b'{"version":3,"x":' + b"[" * 100_000, "malformed"),
    "indices out of range": (b"a()", SMALL_MAP.replace(b"AAAA", b"AgggggBAA"), "no_position"),
    "offsets out of range": (
        b"a()",
        json.dumps(
            {"version": 3, "sections": [{"offset": {"line": 2**31, "column": 2**31}, "map": {}}]}
        ).encode(),
        "no_position",
    ),
    "kills the process": (b"(" * 200_000 + b"1" + b")" * 200_000, SMALL_MAP, "too_large"),
    "too large": (b"a()", SMALL_MAP + b" " * (9 * MIB), "too_large"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_harmful_scripts_and_maps(name: str, source: MemorySource, symbolicator: Symbolicator) -> None:
    minified, source_map, status = HARMFUL[name]
    source.add_bundle(script(minified, source_map, debug_id=BAD))
    made = event()
    assert symbolicator.symbolicate(made, PROJECT) == ()  # broken is not missing
    found, errors = outcome(made)
    assert found == status
    assert errors == [
        {"malformed": "js_invalid_source", "too_large": "js_too_large", "no_position": "js_invalid_sourcemap_location"}[status]
    ]  # fmt: skip


def test_what_kills_is_not_read_again_by_anybody(
    tmp_path: Path, source: MemorySource, symbolicator: Symbolicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    minified, source_map, _ = HARMFUL["kills the process"]
    source.add_bundle(script(minified, source_map, debug_id=BAD))
    symbolicator.symbolicate(event(), PROJECT)
    other = Symbolicator(source, tmp_path / "cache", LIMITS)
    started = []
    start = type(other._library._worker)._start
    monkeypatch.setattr(type(other._library._worker), "_start", lambda self: started.append(1) or start(self))
    made = event()
    other.symbolicate(made, PROJECT)
    other.close()
    assert outcome(made) == ("too_large", ["js_too_large"])
    assert len(started) == 1


def test_what_takes_too_long_is_given_up(tmp_path: Path, source: MemorySource) -> None:
    impatient = Symbolicator(source, tmp_path / "cache", LIMITS.model_copy(update={"file_seconds": 0.05}))
    impatient.symbolicate(event(GOOD), PROJECT)  # the process is started, for which there is more time
    source.add_bundle(script(b"a()\n" * 1_900_000, SMALL_MAP, debug_id=BAD))
    made = event()
    impatient.symbolicate(made, PROJECT)
    impatient.close()
    assert outcome(made) == ("too_large", ["js_too_large"])
    assert "takes more than" in made["errors"][0]["value"]


def test_an_event_takes_bounded_time(tmp_path: Path, source: MemorySource) -> None:
    hasty = Symbolicator(source, tmp_path / "cache", LIMITS.model_copy(update={"event_seconds": 1e-9}))
    source.add_bundle(script(b"a()", SMALL_MAP, debug_id=BAD))
    made = event()
    hasty.symbolicate(made, PROJECT)
    hasty.close()
    statuses = [
        f["data"]["symbolicator_status"] for f in made["exception"]["values"][0]["stacktrace"]["frames"]
    ]
    assert sorted(statuses) == ["symbolicated", "too_large"]


def test_a_zip_bomb_is_not_unpacked(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_bundle(script(b"a()", b" " * (64 * MIB), debug_id=BAD))
    made = event()
    symbolicator.symbolicate(made, PROJECT)
    assert outcome(made) == ("too_large", ["js_too_large"])


def test_a_bundle_that_lies_about_sizes(source: MemorySource, symbolicator: Symbolicator) -> None:
    """The zip says that the map has 4 bytes; what is more is not believed to be the map."""
    made_by_us = bytearray(script(b"a()", SMALL_MAP * 1000, debug_id=BAD))
    size = len(SMALL_MAP * 1000).to_bytes(4, "little")
    assert made_by_us.count(size) == 2
    lying = bytes(made_by_us.replace(size, (4).to_bytes(4, "little")))
    digest = source.add_blob(lying)
    for path, kind in (("files/_/_/app.js", "minified_source"), ("files/_/_/app.js.map", "source_map")):
        source.artifacts.append((None, None, Artifact(digest, path, kind, "~/app.js", BAD, None)))
    source.arrived += 1
    made = event()
    symbolicator.symbolicate(made, PROJECT)
    assert outcome(made) == ("malformed", ["js_invalid_source"])


def test_names_that_climb_stay_where_they_are(
    tmp_path: Path, source: MemorySource, symbolicator: Symbolicator
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("../../evil.js", b"a()")
        made.writestr("../../evil.js.map", SMALL_MAP)
    digest = source.add_blob(out.getvalue())
    for path, kind in (("../../evil.js", "minified_source"), ("../../evil.js.map", "source_map")):
        source.artifacts.append((None, None, Artifact(digest, path, kind, "~/app.js", BAD, None)))
    source.arrived += 1
    before = {p for p in tmp_path.rglob("*") if "cache" not in p.parts}
    made = event()
    symbolicator.symbolicate(made, PROJECT)
    assert outcome(made)[0] == "symbolicated"
    assert {p for p in tmp_path.rglob("*") if "cache" not in p.parts} == before
    assert all(len(p.name) == 64 for p in (tmp_path / "cache").glob("*/*"))


@pytest.mark.parametrize("name", ["", "files/_/_/app.js", "\0", "/etc/passwd"])
def test_members_that_are_not_there(name: str, source: MemorySource, symbolicator: Symbolicator) -> None:
    digest = source.add_blob(script(b"a()", debug_id=BAD))
    source.artifacts.append((None, None, Artifact(digest, name, "source_map", "~/a.map", BAD, None)))
    source.arrived += 1
    made = event()
    symbolicator.symbolicate(made, PROJECT)
    assert outcome(made)[0] == "malformed"


def test_a_blob_that_is_gone(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.artifacts.append((None, None, Artifact("0" * 64, "a", "source_map", "~/a.map", BAD, None)))
    source.arrived += 1
    made = event()
    symbolicator.symbolicate(made, PROJECT)
    assert outcome(made) == ("missing", ["js_no_source"])


def test_damaged_entries_of_the_cache_are_made_again(tmp_path: Path, source: MemorySource) -> None:
    source.add_debug_file((DATA / "crasher.debug").read_bytes(), CRASHER, "elf", "debug")
    native = json.loads((DATA / "native.json").read_text())["event"]
    for damage in (None, b"", b"TPS1" + b"\0" * 60, b"x" * 5000):
        entries = list((tmp_path / "cache").glob("??/*"))
        for entry in entries if damage is not None else ():
            entry.write_bytes(damage or b"")
        fresh = Symbolicator(source, tmp_path / "cache", LIMITS)
        made, crash = event(GOOD), normalised(native)
        fresh.symbolicate(made, PROJECT)
        fresh.symbolicate(crash, PROJECT)
        fresh.close()
        assert made["exception"]["values"][0]["stacktrace"]["frames"][1]["function"] == "Cart.add"
        assert crash["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "sum_lines"
        assert damage is None or len(entries) == 3


CRASHER = "30a2a0e9-1749-25d3-06c0-d4244f61b852"


def test_the_cache_stays_small_and_keeps_what_is_used(tmp_path: Path) -> None:
    cache = SymbolCache(tmp_path, 5000)
    for index in range(10):
        write_entry(cache.path(str(index)), bytes(1000))
        os.utime(cache.path(str(index)), (1_000_000 + index, 1_000_000 + index))
    assert read_entry(cache.path("0")) == bytes(1000)  # used just now
    assert cache.trim() <= 5000
    assert [i for i in range(10) if Path(cache.path(str(i))).exists()] == [0, 7, 8, 9]


@given(data=st.binary(max_size=3000), flips=st.lists(st.integers(0, 10**6), max_size=3))
@settings(max_examples=60, deadline=None)
def test_an_entry_is_right_or_nothing(
    data: bytes, flips: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("entry") / "e"
    write_entry(path, data)
    assert read_entry(path) == data
    stored = bytearray(path.read_bytes())
    for flip in flips:
        stored[flip % len(stored)] ^= 1 << flip % 8
    path.write_bytes(stored)
    assert read_entry(path) in (None, data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_ADDRESS = st.integers(0, 2**64 - 1).map(hex)
_FRAME = st.fixed_dictionaries(
    {},
    optional={
        "filename": st.sampled_from(["https://shop.test/assets/app.min.js", "http://[::1", "app:///x.js", "?", "/a/b.js"]),
        "abs_path": st.sampled_from(["https://shop.test/bad.js", "~", "//", "webpack://a", "http://a b/c.js"]),
        "lineno": st.integers(-1, 2**33),
        "colno": st.integers(-1, 2**33),
        "function": st.text(max_size=5),
        "module": st.sampled_from(["a.a.b", "a.a.c", "", "x"]),
        "instruction_addr": _ADDRESS,
        "addr_mode": st.sampled_from(["rel:0", "rel:99", "rel:x", "abs"]),
        "platform": st.sampled_from(["java", "javascript", "native", "node"]),
        "data": _JSON,
    },
)  # fmt: skip
_IMAGE = st.fixed_dictionaries(
    {"type": st.sampled_from(["sourcemap", "elf", "proguard", "macho", "pe", "wasm", "x"])},
    optional={
        "debug_id": st.sampled_from([GOOD, BAD, CRASHER, "x", "0" * 33, ""]),
        "code_id": st.sampled_from(["ab", "e9a0a2304917d32506c0d4244f61b852654c05a0", "zz"]),
        "code_file": st.sampled_from(["https://shop.test/assets/app.min.js", "app:///x.js", ""]),
        "uuid": st.sampled_from([MAPPING := "c6917a9b-4a99-593e-bca3-7b0348487fe5", "no"]),
        "image_addr": _ADDRESS,
        "image_size": st.integers(-5, 2**64),
        "arch": st.sampled_from(["x86_64", "arm64", "?", ""]),
    },
)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Symbolicator]:
    folder = tmp_path_factory.mktemp("full")
    (folder / "blobs").mkdir()
    source = MemorySource(folder / "blobs")
    source.add_bundle((DATA / "browser.bundle").read_bytes(), "r")
    source.add_bundle(script(b"a()", b"{", debug_id=BAD), "r")
    source.add_debug_file((DATA / "crasher.debug").read_bytes(), CRASHER, "elf", "debug")
    source.add_debug_file((DATA / "mapping.txt").read_bytes(), MAPPING, "proguard", "mapping")
    source.add_debug_file(bundle({"a": ({"path": "b"}, b"c")}), CRASHER, "sourcebundle", "sources")
    made = Symbolicator(source, folder / "cache", LIMITS)
    yield made
    made.close()


@given(
    frames=st.lists(_FRAME, max_size=6),
    images=st.lists(_IMAGE, max_size=4),
    platform=st.sampled_from(["javascript", "node", "java", "native", "python"]),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_event_is_symbolicated_twice_alike(
    frames: list[Any], images: list[Any], platform: str, full: Symbolicator
) -> None:
    raw = {
        "platform": platform,
        "release": "r",
        "exception": {"values": [{"type": "b", "module": "a.a", "stacktrace": {"frames": frames}}]},
        "threads": {"values": [{"crashed": True, "stacktrace": {"frames": frames}}]},
        "debug_meta": {"images": images},
    }
    made = normalised(raw)
    missing = full.symbolicate(made, PROJECT)
    stored = normalised(made)
    assert stored == made  # nothing in it that normalisation would not have let through
    assert full.symbolicate(stored, PROJECT) == missing
    assert stored == made


def test_random_bytes_are_malformed(tmp_path: Path) -> None:
    """Whatever is uploaded under any kind, the event gets an answer and the next one does."""
    (tmp_path / "blobs").mkdir()
    source = MemorySource(tmp_path / "blobs")
    crash = json.loads((DATA / "native.json").read_text())["event"]
    seeds = [(DATA / name).read_bytes() for name in ("crasher.debug", "crasher")]
    with Symbolicator(source, tmp_path / "cache", LIMITS) as symbolicator:
        for index in range(40):
            data = bytearray(seeds[index % 2])
            for position in range(0, len(data), 7 + index):
                data[position] = zlib.crc32(b"%d %d" % (index, position)) & 0xFF
            data[:16] = seeds[index % 2][:16]
            source.files.clear()
            source.add_debug_file(bytes(data), CRASHER, "elf", "debug", name=str(uuid.uuid4()))
            made = normalised(crash)
            symbolicator.symbolicate(made, PROJECT)
            statuses = {
                (f.get("data") or {}).get("symbolicator_status")
                for f in made["exception"]["values"][0]["stacktrace"]["frames"]
            }
            assert statuses <= {"symbolicated", "missing_symbol", "malformed", "missing", "too_large"}

"""Minified JavaScript frames become original ones, by debug id and by release and URL, and say why when not."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from symbolic.sourcemapcache import SourceMapCache

from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.symbolication.js_names import join, plain_url
from tasks_pipeline.symbolication.keys import debug_id_key, release_key
from tasks_pipeline.symbolication.source_maps import usable_mappings
from tasks_pipeline.symbolication.symbolicator import Symbolicator
from tests.support.symbols import DATA, PROJECT, MemorySource, bundle, normalised, script

RECORDED = json.loads((DATA / "javascript.json").read_text())
BROWSER_ID = "248bcf3a-41a8-5d27-8cc8-87e636bed392"
NODE_ID = "d4f347b9-640f-54af-882d-eb6cfa85e9af"
APP, APP_MAP = (DATA / "app.min.js").read_bytes(), (DATA / "app.min.js.map").read_bytes()


@pytest.fixture
def source(tmp_path: Path) -> MemorySource:
    (tmp_path / "blobs").mkdir()
    return MemorySource(tmp_path / "blobs")


@pytest.fixture
def symbolicator(tmp_path: Path, source: MemorySource) -> Iterator[Symbolicator]:
    made = Symbolicator(source, tmp_path / "cache", Symbols())
    yield made
    made.close()


def event(*frames: dict[str, Any], platform: str = "javascript", **fields: Any) -> dict[str, Any]:
    return normalised(
        {
            "platform": platform,
            "exception": {"values": [{"type": "Error", "stacktrace": {"frames": list(frames)}}]},
            **fields,
        }
    )


def frames_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = event["exception"]["values"][0]["stacktrace"]["frames"]
    return frames


def frame(line: int = 3, column: int = 274, url: str = "https://shop.test/assets/app.min.js", **fields: Any):
    return {"filename": url, "lineno": line, "colno": column, "function": "o.add", "in_app": True, **fields}


def image(url: str = "https://shop.test/assets/app.min.js", debug_id: str = BROWSER_ID) -> dict[str, Any]:
    return {"images": [{"type": "sourcemap", "code_file": url, "debug_id": debug_id}]}


def recorded_event(case: dict[str, Any]) -> dict[str, Any]:
    """The recorded event; of those not kept, one with the recorded frames."""
    if case["event"] is not None:
        return normalised(case["event"])
    frames = [frame(*f["minified"][:2], function=f["minified"][2]) for f in case["expected"]]
    return event(*frames, debug_meta=image())


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["name"])
def test_every_recorded_frame_gets_its_original_position(
    case: dict[str, Any], source: MemorySource, symbolicator: Symbolicator
) -> None:
    source.add_bundle((DATA / "browser.bundle").read_bytes())
    node = [(DATA / name).read_bytes() for name in ("server.min.js", "server.min.js.map")]
    source.add_bundle(script(*node, url="~/server.min.js", debug_id=NODE_ID))
    given = recorded_event(case)
    made = normalised(given)
    keys = symbolicator.symbolicate(made, PROJECT)
    assert not any(key.startswith("debug_id:") for key in keys)  # other scripts were not uploaded
    synthetic = case["event"] is None
    for index, expected in enumerate(case["expected"]):
        exception = 0 if synthetic else expected["exception"]
        found = made["exception"]["values"][exception]["stacktrace"]["frames"][
            index if synthetic else expected["frame"]
        ]
        original = expected["original"]
        assert found["filename"] == original["source"]
        assert (found["lineno"], found["colno"]) == (original["line"], original["column"] + 1)
        assert found["data"]["symbolicated"] is True
        assert found["data"]["symbolicator_status"] == "symbolicated"
        assert found["context_line"]
        raw = made["exception"]["values"][exception]["raw_stacktrace"]["frames"]
        assert raw == given["exception"]["values"][exception]["stacktrace"]["frames"]


def test_a_frame_by_debug_id(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_bundle((DATA / "browser.bundle").read_bytes())
    made = event(frame(), frame(3, 35, function="p"), debug_meta=image())
    assert symbolicator.symbolicate(made, PROJECT) == ()
    add, price = frames_of(made)
    assert add == {
        "filename": "../src/cart.ts",
        "abs_path": "https://shop.test/src/cart.ts",
        "module": "src/cart",
        "function": "Cart.add",
        "raw_function": "o.add",
        "lineno": 9,
        "colno": 18,
        "in_app": True,
        "pre_context": [
            "",
            "export class Cart {",
            "  private lines: Line[] = [];",
            "",
            "  add(sku: string, qty: number): Cart {",
        ],
        "context_line": "    const unit = unitPrice(PRICES, sku);",
        "post_context": [
            "    this.lines.push({ sku, qty, unit });",
            "    return this;",
            "  }",
            "",
            "  checkout(): number {",
        ],
        "data": {
            "symbolicated": True,
            "symbolicator_status": "symbolicated",
            "sourcemap": "~/assets/app.min.js.map",
        },
    }
    assert price["function"] == "unitPrice"
    assert "errors" not in made


def test_a_frame_by_release_and_url(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_bundle(script(APP, APP_MAP, "~/assets/app.min.js"), "shop@1", "web")
    made = event(frame(url="https://shop.test/assets/app.min.js?v=3#x"), release="shop@1", dist="web")
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert frames_of(made)[0]["function"] == "Cart.add"
    other_dist = event(frame(), release="shop@1", dist="ios")
    assert symbolicator.symbolicate(other_dist, PROJECT) == (release_key("shop@1", "ios"),)


@pytest.mark.parametrize(
    ("uploaded", "asked_for"),
    [
        ("~/pages/orders/[id]-3f.js", "https://shop.test/pages/orders/%5Bid%5D-3f.js"),
        ("~/pages/orders/%5Bid%5D-3f.js", "https://shop.test/pages/orders/[id]-3f.js"),
        ("~/pages/%5bid%5d.js", "https://shop.test/pages/%5Bid%5D.js?v=3#x"),
        ("https://shop.test/my%20app/[...slug].js", "https://shop.test/my app/%5B...slug%5D.js"),
        ("~/gr\u00f6\u00dfe/caf%C3%A9.js", "app:///gr%C3%B6%C3%9Fe/caf\u00e9.js"),
        ("~/c#/100%.js", "https://shop.test/c%23/100%25.js"),
        ("~/a/(shop)/@cart/x+y.js", "https://shop.test/a/%28shop%29/%40cart/x%2By.js"),
        ("~/latin-%e9.js", "https://shop.test/latin-%E9.js"),
    ],
)
def test_however_a_script_is_percent_encoded_it_is_the_same(
    uploaded: str, asked_for: str, source: MemorySource, symbolicator: Symbolicator
) -> None:
    source.add_bundle(script(APP, APP_MAP, url=uploaded), "shop@1")
    made = event(frame(url=asked_for), release="shop@1")
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert frames_of(made)[0]["function"] == "Cart.add"
    source.add_bundle(script(APP, APP_MAP, url="~/elsewhere.js", debug_id=BROWSER_ID))
    by_id = event(frame(url=asked_for), debug_meta=image(uploaded))
    by_id["debug_meta"]["images"][0]["code_file"] = asked_for.replace("%5B", "[")
    symbolicator.symbolicate(by_id, PROJECT)
    assert frames_of(by_id)[0]["function"] == "Cart.add"


def test_an_escaped_slash_is_another_path(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_bundle(script(APP, APP_MAP, url="~/a/b.js"), "shop@1")
    made = event(frame(url="https://shop.test/a%2Fb.js"), release="shop@1")
    assert symbolicator.symbolicate(made, PROJECT) == (release_key("shop@1", None),)


@given(st.text(max_size=100))
def test_a_plain_url_is_plain(url: str) -> None:
    plain = plain_url(url)
    assert plain_url(plain) == plain
    assert not set(plain) & set("?#\0\n")


def test_a_map_named_by_a_comment_and_one_inside(source: MemorySource, symbolicator: Symbolicator) -> None:
    comment = APP + b"\n//# sourceMappingURL=maps/app.map\n"
    source.add_bundle(
        bundle(
            {
                "a": ({"type": "minified_source", "url": "~/assets/app.min.js"}, comment),
                "b": ({"type": "source_map", "url": "~/assets/maps/app.map"}, APP_MAP),
            }
        ),
        "shop@1",
    )
    inside = APP + b"\n//# sourceMappingURL=data:application/json;base64," + base64.b64encode(APP_MAP)
    source.add_bundle(script(inside), "shop@2")
    for release, url in (("shop@1", "https://shop.test/assets/app.min.js"), ("shop@2", "app:///app.js")):
        made = event(frame(url=url), release=release)
        assert symbolicator.symbolicate(made, PROJECT) == ()
        assert frames_of(made)[0]["filename"] == "../src/cart.ts"


def test_missing_files_are_named_and_heal(source: MemorySource, symbolicator: Symbolicator) -> None:
    made = event(frame(), debug_meta=image(), release="shop@1")
    keys = symbolicator.symbolicate(made, PROJECT)
    assert keys == (debug_id_key(BROWSER_ID), release_key("shop@1", None))
    assert made["errors"] == [{"type": "js_no_source", "name": "https://shop.test/assets/app.min.js"}]
    assert frames_of(made)[0]["data"] == {"symbolicator_status": "missing"}
    assert "raw_stacktrace" not in made["exception"]["values"][0]

    source.add_bundle((DATA / "browser.bundle").read_bytes())
    stored = normalised(made)  # as it comes back from the store
    assert symbolicator.symbolicate(stored, PROJECT) == ()
    assert frames_of(stored)[0]["function"] == "Cart.add"
    assert "errors" not in stored


def test_again_gives_the_same(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_bundle((DATA / "browser.bundle").read_bytes())
    made = event(frame(), frame(99, 1), debug_meta=image())
    symbolicator.symbolicate(made, PROJECT)
    again = normalised(made)
    assert again == {**made, "received": again["received"], "timestamp": again["timestamp"]}
    symbolicator.symbolicate(again, PROJECT)
    assert again == made


def test_positions_that_the_map_does_not_have(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_bundle((DATA / "browser.bundle").read_bytes())
    made = event(frame(99, 1), frame(), {**frame(), "colno": None}, debug_meta=image())
    assert symbolicator.symbolicate(made, PROJECT) == ()
    nowhere, resolved, without = frames_of(made)
    assert nowhere["data"]["symbolicator_status"] == without["data"]["symbolicator_status"] == "no_position"
    assert resolved["data"]["symbolicator_status"] == "symbolicated"
    assert {e["type"] for e in made["errors"]} == {"js_invalid_sourcemap_location", "js_no_column"}


def source_map(
    sources: list[str], contents: list[str | None] | None = None, mappings: str = "AAAA"
) -> dict[str, Any]:
    made: dict[str, Any] = {"version": 3, "sources": sources, "names": [], "mappings": mappings}
    if contents is not None:
        made["sourcesContent"] = contents
    return made


@pytest.mark.parametrize(
    ("named", "filename", "abs_path", "module", "in_app"),
    [
        ("webpack:///./src/a.ts", "./src/a.ts", "webpack:///./src/a.ts", "src/a", True),
        ("webpack://shop/./src/a.ts?1f2e", "./src/a.ts", "webpack://shop/./src/a.ts?1f2e", "src/a", True),
        ("../node_modules/lodash/map.js", "../node_modules/lodash/map.js", "https://shop.test/node_modules/lodash/map.js", "lodash/map", False),
        ("webpack://shop/webpack/bootstrap", "webpack/bootstrap", "webpack://shop/webpack/bootstrap", "webpack/bootstrap", False),
        ("https://cdn.test/x/b.mjs", "https://cdn.test/x/b.mjs", "https://cdn.test/x/b.mjs", "x/b", True),
    ],
)  # fmt: skip
def test_names_of_sources(
    named: str,
    filename: str,
    abs_path: str,
    module: str,
    in_app: bool,
    source: MemorySource,
    symbolicator: Symbolicator,
) -> None:
    source.add_bundle(script(b"a()", json.dumps(source_map([named], ["a()"])).encode()), "r")
    made = event(frame(1, 1, "https://shop.test/js/app.js"), release="r")
    source.artifacts = [
        (r, d, type(a)(a.digest, a.path, a.type, a.url.replace("~/", "~/js/"), a.debug_id, a.source_map))
        for r, d, a in source.artifacts
        if a.url
    ]
    symbolicator.symbolicate(made, PROJECT)
    (found,) = frames_of(made)
    assert (found["filename"], found["abs_path"], found.get("module"), found["in_app"]) == (
        filename, abs_path, module, in_app,
    )  # fmt: skip


def test_an_indexed_map(source: MemorySource, symbolicator: Symbolicator) -> None:
    sections = [
        {"offset": {"line": 0, "column": 0}, "map": source_map(["one.js"], ["first()"])},
        {"offset": {"line": 1, "column": 0}, "map": source_map(["two.js"], ["second()"])},
    ]
    indexed = json.dumps({"version": 3, "sections": sections}).encode()
    source.add_bundle(script(b"a();\nb();", indexed, debug_id=BROWSER_ID))
    made = event(frame(1, 1), frame(2, 1), debug_meta=image())
    symbolicator.symbolicate(made, PROJECT)
    assert [f["context_line"] for f in frames_of(made)] == ["first()", "second()"]


LINE = b"function x(){return yyyyyyyyyyyyyyy+zzzzzzzzzzz}"


def vlq(*numbers: int) -> str:
    """A mapping of a source map."""
    out = ""
    for number in numbers:
        rest = (-number << 1) | 1 if number < 0 else number << 1
        while True:
            digit, rest = rest & 31, rest >> 5
            out += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[digit | 32 * bool(rest)]
            if not rest:
                break
    return out


def simple_map(*mappings: str, **fields: Any) -> dict[str, Any]:
    made = {"version": 3, "sources": ["src/a.js"], "names": ["foo"], "mappings": ",".join(mappings)} | fields
    return {name: value for name, value in made.items() if value is not ...}


# (column in the minified line from 0, source, line and column, each relative to the mapping before): lines 1, 2, 4
AT_0, AT_10, AT_30 = vlq(0, 0, 0, 0), vlq(10, 0, 1, 0), vlq(10, 0, 2, 0)
TAIL = {"offset": {"line": 0, "column": 20}}


@pytest.mark.parametrize(
    ("source_map", "lines"),
    [
        (simple_map(AT_0, AT_10, vlq(10, 5, 7, 3), vlq(10, -5, -5, -3)), [1, 2, None, 4]),
        (simple_map(AT_0, AT_10, vlq(10, -1, 0, 0), vlq(10, 1, 2, 0)), [1, 2, None, 4]),
        (simple_map(AT_0, AT_10, vlq(10, 0, 1, 0, 9), vlq(10, 0, 1, 0, -9)), [1, 2, 3, 4]),
        (simple_map(AT_0, AT_10, vlq(10, 0, 0, 0, -1), AT_30, names=...), [1, 2, 2, 4]),
        (simple_map(AT_0, AT_10, vlq(10, 0, -9, 0), vlq(10, 0, 11, 0)), [1, 2, None, 4]),
        (simple_map(AT_0, AT_10, vlq(10, 0, 0, -9), vlq(10, 0, 2, 9)), [1, 2, None, 4]),
        (simple_map(AT_0, AT_10, vlq(-20, 3, 0, 0), vlq(40, -3, 2, 0)), [1, 2, 2, 4]),
        (simple_map(AT_0, AT_10, vlq(10, 0), AT_30), [1, 2, None, 4]),
        (simple_map(AT_0, AT_10, vlq(10, 0, 0), AT_30), [1, 2, None, 4]),
        (simple_map(AT_0, AT_10, vlq(10, 0, 1, 0, 0, 8), vlq(10, 0, 1, 0)), [1, 2, 3, 4]),
        (simple_map(AT_0, AT_10, vlq(20, 0, 2, 0), version="3"), [1, 2, 2, 4]),
        (simple_map(AT_0, AT_10, vlq(20, 0, 2, 0), sourcesContent={}), [1, 2, 2, 4]),
        (simple_map(AT_0, AT_10, vlq(20, 0, 2, 0), sourcesContent=[5], ignoreList="x"), [1, 2, 2, 4]),
        (simple_map(AT_0, AT_10, vlq(20, 1, 2, 0), sources=["src/a.js", 5]), [1, 2, 2, None]),
        (
            {"version": 3, "sections": [
                {"offset": {"line": 0, "column": 0}, "map": simple_map(AT_0, AT_10, vlq(1, 0, 0, 0, 5))},
                TAIL | {"map": simple_map(vlq(0, 0, 2, 0), vlq(10, 7, 0, 0))},
            ]},
            [1, 2, 3, None],
        ),
        (
            {"version": 3, "sections": [
                {"offset": {"line": 0, "column": 0}, "map": simple_map(AT_0, AT_10)}, TAIL | {"url": "rest.map"}, TAIL | {"map": None},
                {"offset": {"line": -1, "column": 0}, "map": simple_map(AT_0)}, 5, TAIL | {"map": simple_map("!")},
            ]},
            [1, 2, None, None],
        ),
    ],
)  # fmt: skip
def test_a_wrong_mapping_costs_itself_alone(
    source_map: dict[str, Any], lines: list[int | None], source: MemorySource, symbolicator: Symbolicator
) -> None:
    source.add_bundle(script(LINE, json.dumps(source_map).encode(), debug_id=BROWSER_ID))
    url = "https://shop.test/app.js"
    made = event(*(frame(1, column, url) for column in (1, 12, 22, 32)), debug_meta=image(url))
    symbolicator.symbolicate(made, PROJECT)
    found = [(f["data"]["symbolicator_status"], f["lineno"]) for f in frames_of(made)]
    assert found == [("symbolicated", line) if line else ("no_position", 1) for line in lines]


@pytest.mark.parametrize("wrong", ["!", "g", "gggggggggggggggA", "A A"])
def test_mappings_that_are_no_text_of_that_kind_are_malformed(
    wrong: str, source: MemorySource, symbolicator: Symbolicator
) -> None:
    source.add_bundle(script(LINE, json.dumps(simple_map(AT_0, wrong, AT_10)).encode(), debug_id=BROWSER_ID))
    made = event(frame(1, 1, "https://shop.test/app.js"), debug_meta=image("https://shop.test/app.js"))
    symbolicator.symbolicate(made, PROJECT)
    assert frames_of(made)[0]["data"]["symbolicator_status"] == "malformed"


_MAPPING = st.lists(st.integers(-40, 40), min_size=1, max_size=6)


@given(st.lists(st.lists(_MAPPING, max_size=6), max_size=4), st.integers(0, 3), st.integers(0, 3))
def test_any_mappings_become_usable_ones_that_stay(
    rows: list[list[list[int]]], sources: int, names: int
) -> None:
    text = ";".join(",".join(vlq(*mapping) for mapping in row) for row in rows)
    usable = usable_mappings(text, sources, names)
    assert usable_mappings(usable, sources, names) == usable
    assert usable.count(";") == text.count(";")
    source_map = simple_map(usable, sources=["a.js"] * sources, names=["n"] * names)
    SourceMapCache.from_bytes(b"", json.dumps(source_map).encode())


def test_a_mapping_of_many_numbers_is_no_mapping() -> None:
    with pytest.raises(ValueError, match="no mapping"):
        usable_mappings("AAAA," + "A" * 5_000, 1, 1)


def test_lines_from_an_uploaded_source(source: MemorySource, symbolicator: Symbolicator) -> None:
    source.add_bundle(
        bundle(
            {
                "a": ({"type": "minified_source", "url": "~/js/app.js", "headers": {"sourcemap": "app.js.map"}}, b"a()"),
                "b": ({"type": "source_map", "url": "~/js/app.js.map"}, json.dumps(source_map(["../src/a.ts"])).encode()),
                "c": ({"type": "source", "url": "~/src/a.ts"}, b"one()\ntwo()\n"),
                "d": ({"type": "source", "url": "~/js/plain.js"}, b"three()\nfour()\n"),
            }
        ),
        "r",
    )  # fmt: skip
    made = event(
        frame(1, 1, "http://x.test/js/app.js"), frame(2, 1, "http://x.test/js/plain.js"), release="r"
    )
    assert symbolicator.symbolicate(made, PROJECT) == ()
    mapped, plain = frames_of(made)
    assert (mapped["context_line"], mapped["post_context"]) == ("one()", ["two()"])
    assert (plain["context_line"], plain["pre_context"]) == ("four()", ["three()"])
    assert "errors" not in made


def test_nothing_is_asked_for_events_without_scripts(
    source: MemorySource, symbolicator: Symbolicator
) -> None:
    engine = [
        frame(url=u) for u in ("node:internal/modules/run_main", "<anonymous>", "chrome-extension://x/a.js")
    ]
    for made in (
        event(frame(), platform="python", release="r"),
        event(frame()),
        event(*engine, release="r"),
        normalised({"message": "hello", "platform": "javascript", "release": "r"}),
    ):
        before = json.dumps(made)
        assert symbolicator.symbolicate(made, PROJECT) == ()
        assert json.dumps(made) == before
    assert source.asked == 0


def test_lookups_are_remembered_until_something_arrives(
    source: MemorySource, symbolicator: Symbolicator
) -> None:
    for _ in range(3):
        symbolicator.symbolicate(event(frame(), debug_meta=image()), PROJECT)
    assert source.asked == 1
    source.add_bundle((DATA / "browser.bundle").read_bytes())
    made = event(frame(), debug_meta=image())
    assert symbolicator.symbolicate(made, PROJECT) == ()
    assert frames_of(made)[0]["filename"] == "../src/cart.ts"


def test_whoever_says_what_arrived_spares_the_question(
    source: MemorySource, symbolicator: Symbolicator
) -> None:
    symbolicator.arrived_through(0)
    source.generation = lambda: pytest.fail("asked")  # type: ignore[method-assign]
    assert symbolicator.symbolicate(event(frame(), debug_meta=image()), PROJECT)
    source.add_bundle((DATA / "browser.bundle").read_bytes())
    assert symbolicator.symbolicate(event(frame(), debug_meta=image()), PROJECT)
    symbolicator.arrived_through(1)
    assert symbolicator.symbolicate(event(frame(), debug_meta=image()), PROJECT) == ()


@pytest.mark.parametrize(
    ("minified", "call", "function"),
    [
        ("function add(){throw 1}", None, "add"),
        ("(()=>{throw 1})()", None, "<anonymous>"),
        ("(()=>{throw 1})()", "checkout", "checkout"),
        ("throw 1", None, "Object.<anonymous>"),
    ],
)
def test_names_of_functions(
    minified: str, call: str | None, function: str, source: MemorySource, symbolicator: Symbolicator
) -> None:
    """Of the scope, else of the call in the frame before, else none; code of no function keeps the engine's name."""
    column = minified.index("throw")
    called = "AAAAA" if call else "AAAA"
    names = [call] if call else []
    source.add_bundle(
        script(
            f"{minified}\nc()".encode(),
            json.dumps(
                {"version": 3, "sources": ["a.ts"], "names": names, "mappings": f"AAAA,KAAK;{called}"}
            ).encode(),
            debug_id=BROWSER_ID,
        )
    )
    caller = [frame(2, 1)] if call else []
    made = event(*caller, frame(1, column + 1, function="Object.<anonymous>"), debug_meta=image())
    symbolicator.symbolicate(made, PROJECT)
    assert frames_of(made)[-1]["function"] == function


@pytest.mark.parametrize(
    ("base", "reference", "joined"),
    [
        ("https://a.test/js/app.js?v=1", "app.js.map", "https://a.test/js/app.js.map"),
        ("https://a.test/js/app.js", "/maps/app.map", "https://a.test/maps/app.map"),
        ("https://a.test/js/app.js", "//cdn.test/app.map", "https://cdn.test/app.map"),
        ("https://a.test/js/app.js", "../../../x.ts", "https://a.test/x.ts"),
        ("https://a.test", "x.ts", "https://a.test/x.ts"),
        ("app:///dist/app.js", "../src/a.ts", "app:///src/a.ts"),
        ("~/js/app.js", "app.js.map", "~/js/app.js.map"),
        ("~/app.js", "../x.map", "~/x.map"),
        ("~/js/app.js", "/maps/x.map", "~/maps/x.map"),
        ("/srv/dist/app.js", "../src/a.ts", "/srv/src/a.ts"),
        ("dist/app.js", "../src/a.ts", "src/a.ts"),
        ("https://a.test/app.js", "webpack:///a.ts", "webpack:///a.ts"),
    ],
)
def test_joining(base: str, reference: str, joined: str) -> None:
    assert join(base, reference) == joined

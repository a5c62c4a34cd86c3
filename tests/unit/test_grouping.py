"""Which events belong together, how they are called, and why: small events, the rules one by one."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tasks_pipeline.grouping import (
    ALGORITHM,
    FORMER_ALGORITHM,
    explain,
    former_rules,
    group_event,
    grouping_rules,
)

Event = dict[str, Any]


def frame(function: str = "pay", *, module: str = "shop.cart", in_app: bool = True, **more: Any) -> Event:
    return {"function": function, "module": module, "in_app": in_app, "lineno": 1, **more}


def error(*frames: Event, type: str = "ValueError", value: str = "no such cart", **more: Any) -> Event:
    exception = {"type": type, "value": value, "stacktrace": {"frames": list(frames)}}
    return {"platform": "python", "exception": {"values": [exception]}, **more}


def chain(*exceptions: Event) -> Event:
    return {"platform": "python", "exception": {"values": list(exceptions)}}


def message(text: str, **more: Any) -> Event:
    return {"platform": "other", "logentry": {"formatted": text}, **more}


def together(one: Event, other: Event) -> bool:
    return bool(set(group_event(one).keys) & set(group_event(other).keys))


class TestVariants:
    def test_frames_in_app_and_all_frames_give_one_key_each(self) -> None:
        grouping = group_event(error(frame("run", module="lib", in_app=False), frame()))
        assert grouping.variant == "app"
        assert len(set(grouping.keys)) == 2
        assert all(len(key) == 32 and int(key, 16) >= 0 for key in grouping.keys)
        assert grouping.algorithm == ALGORITHM

    def test_one_key_when_all_frames_are_in_app(self) -> None:
        assert len(group_event(error(frame())).keys) == 1

    def test_only_system_when_no_frame_is_in_app(self) -> None:
        grouping = group_event(error(frame(in_app=False)))
        assert (grouping.variant, len(grouping.keys)) == ("system", 1)

    def test_library_frames_do_not_separate(self) -> None:
        assert together(
            error(frame("run", module="lib", in_app=False), frame()),
            error(frame("go", module="otherlib", in_app=False), frame()),
        )

    def test_changed_in_app_flags_do_not_separate(self) -> None:
        assert together(error(frame("run", in_app=False), frame()), error(frame("run"), frame()))

    def test_the_same_frames_are_one_failure_whether_flagged_or_all(self) -> None:
        assert together(error(frame("run", in_app=False), frame()), error(frame(in_app=False)))

    def test_nothing_usable_falls_back_to_one_group(self) -> None:
        grouping = group_event({})
        assert grouping.variant == "fallback"
        assert grouping.keys == group_event({"platform": "native", "exception": {"values": [{}]}}).keys
        assert grouping.title == "<unlabeled event>"


class TestFrames:
    @pytest.mark.parametrize(
        "change",
        [
            {"lineno": 99},
            {"colno": 7},
            {"abs_path": "/srv/releases/2/shop/cart.py"},
            {"filename": "elsewhere/cart.py"},  # the module takes precedence
            {"vars": {"a": "1"}},
            {"instruction_addr": "0x7f00"},
            {"context_line": "\t  pay( cart ) "},
        ],
    )
    def test_what_never_counts(self, change: Event) -> None:
        base = frame(context_line="pay( cart )", abs_path="/srv/shop/cart.py")
        assert together(error(base), error({**base, **change}))

    @pytest.mark.parametrize(
        "change", [{"function": "refund"}, {"module": "shop.order"}, {"context_line": "pay(order)"}]
    )
    def test_what_counts(self, change: Event) -> None:
        base = frame(context_line="pay(cart)")
        assert not together(error(base), error({**base, **change}))

    def test_the_file_name_stands_in_for_the_module(self) -> None:
        one = frame(module="", filename="/srv/a/Cart.py")
        assert together(error(one), error({**one, "filename": "C:\\b\\cart.py"}))
        assert not together(error(one), error({**one, "filename": "/srv/a/order.py"}))

    @pytest.mark.parametrize(
        "url", ["https://cdn.example/a.1f2e.js", "blob:https://x/1", "applewebdata://x/y"]
    )
    def test_names_of_files_from_the_web_do_not_count(self, url: str) -> None:
        one = {"function": "pay", "filename": "https://shop.example/a.0000.js", "in_app": True}
        assert together(
            error(one, one | {"function": "b"}), error(one | {"filename": url}, one | {"function": "b"})
        )

    def test_minified_lines_do_not_count(self) -> None:
        assert together(error(frame(context_line="x" * 121)), error(frame(context_line="y" * 500)))

    def test_source_lines_count_only_where_source_is_dependable(self) -> None:
        one, other = frame(context_line="a"), frame(context_line="b")
        assert together(error(one) | {"platform": "go"}, error(other) | {"platform": "go"})

    def test_the_platform_of_a_frame_wins(self) -> None:
        one = frame(context_line="a", platform="native")
        assert together(error(one), error({**one, "context_line": "b"}))

    def test_direct_recursion_counts_once(self) -> None:
        assert together(
            error(frame(), frame("deep"), frame("deep"), frame("deep")), error(frame(), frame("deep"))
        )
        assert not together(
            error(frame(), frame("deep"), frame("deep", lineno=2)), error(frame(), frame("deep"))
        )

    def test_javascript_eval_and_native_code_do_not_count(self) -> None:
        one = {"function": "pay", "in_app": True}
        for ignored in ({"function": "window.eval"}, {"function": "map", "abs_path": "[native code]"}):
            assert together(
                error(one, one | ignored) | {"platform": "javascript"},
                error(one) | {"platform": "javascript"},
            )

    def test_functions_from_source_maps_give_way_to_the_source_line(self) -> None:
        one = frame("a", context_line="pay(cart)", data={"sourcemap": "app.js.map"})
        assert together(
            error(one) | {"platform": "javascript"},
            error({**one, "function": "b"}) | {"platform": "javascript"},
        )

    def test_a_single_nameless_script_frame_is_no_stack(self) -> None:
        script = {"filename": "https://shop.example/app.js", "context_line": "go()", "in_app": True}
        event = error(script, value="boom 17") | {"platform": "javascript"}
        assert together(event, error(value="boom 18") | {"platform": "javascript"})

    def test_csharp_groups_by_the_full_name(self) -> None:
        one = frame("Pay", raw_function="Pay (int)")
        other = frame("Pay", raw_function="Pay (string)")
        assert not together(error(one) | {"platform": "csharp"}, error(other) | {"platform": "csharp"})


class TestExceptions:
    def test_the_value_does_not_count_with_frames(self) -> None:
        assert together(error(frame(), value="one"), error(frame(), value="other"))

    def test_the_type_counts(self) -> None:
        assert not together(error(frame()), error(frame(), type="KeyError"))

    def test_without_frames_type_and_parameterized_value_count(self) -> None:
        assert together(error(value="order 17 is gone"), error(value="order 18 is gone"))
        assert not together(error(value="order 17 is gone"), error(value="order 17 is late"))
        assert not together(error(), error(type="KeyError"))

    def test_a_synthetic_type_does_not_count(self) -> None:
        one, other = error(frame(), type="SIGSEGV"), error(frame(), type="SIGABRT")
        for event in (one, other):
            event["exception"]["values"][0]["mechanism"] = {"type": "signalhandler", "synthetic": True}
        assert together(one, other)

    def test_an_nserror_counts_instead_of_the_value(self) -> None:
        def ns(value: str, code: int) -> Event:
            meta = {"ns_error": {"domain": "Shop", "code": code}}
            return chain({"type": "E", "value": value, "mechanism": {"type": "NSError", "meta": meta}})

        assert together(ns("one", 1), ns("other", 1))
        assert not together(ns("one", 1), ns("one", 2))

    def test_the_causes_count(self) -> None:
        outer = {"type": "Outer", "value": "x", "stacktrace": {"frames": [frame()]}}
        assert not together(chain({"type": "A"}, outer), chain({"type": "B"}, outer))

    def test_a_cause_that_failed_in_a_library_does_not_bring_its_text_into_the_app_key(self) -> None:
        outer = {"type": "Outer", "value": "x", "stacktrace": {"frames": [frame()]}}

        def with_cause(value: str, function: str) -> Event:
            inner = {
                "type": "OSError",
                "value": value,
                "stacktrace": {"frames": [frame(function, in_app=False)]},
            }
            return chain(inner, outer)

        assert together(with_cause("refused", "connect"), with_cause("timed out", "read"))

    @pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
    def test_members_of_a_group_in_any_order(self, order: tuple[int, ...]) -> None:
        members = [
            member(1, "A", "one"),
            member(2, "B", "two"),
            member(0, "Group", "all", group=True, parent=None),
        ]
        assert together(chain(*members), chain(*(members[position] for position in order)))

    def test_a_group_of_equal_members_is_the_member(self) -> None:
        root = member(0, "Group", "all", group=True, parent=None)
        grouping = group_event(chain(member(2, "A", "one 1"), member(1, "A", "one 2"), root))
        assert together(
            chain(member(2, "A", "one 1"), member(1, "A", "one 2"), root),
            chain(member(1, "A", "one 3"), root),
        )
        assert grouping.main_exception == 1
        assert grouping.title == "A: one 2"

    def test_a_group_of_different_members_is_named_by_its_root(self) -> None:
        grouping = group_event(
            chain(
                member(2, "A", "a"), member(1, "B", "b"), member(0, "Group", "all", group=True, parent=None)
            )
        )
        assert grouping.main_exception is None
        assert grouping.title == "Group: all"

    @pytest.mark.parametrize(
        "broken",
        [
            {"exception_id": 0, "parent_id": 0},
            {"exception_id": 1, "parent_id": 2},
            {"exception_id": 2, "parent_id": 1},
            {"exception_id": "x"},
            {"parent_id": 0},
            None,
        ],
    )
    def test_broken_groups_are_survived(self, broken: Any) -> None:
        values = [
            {"type": "C", "value": "c", "mechanism": broken},
            member(2, "A", "a", parent=1, group=True),
            member(1, "B", "b", parent=2, group=True),
            member(0, "Group", "all", group=True, parent=None),
        ]
        assert group_event(chain(*values)).keys
        assert group_event(chain(*values[:-1])).keys


def member(id: int, type: str, value: str, *, group: bool = False, parent: int | None = 0) -> Event:
    mechanism = {"type": "chained", "exception_id": id, "parent_id": parent, "is_exception_group": group}
    return {"type": type, "value": value, "mechanism": mechanism}


class TestOtherParts:
    def test_the_exception_takes_precedence_over_the_message(self) -> None:
        assert together(
            error(frame(), logentry={"formatted": "a"}), error(frame(), logentry={"formatted": "b"})
        )

    def test_the_template_of_a_message_takes_precedence_over_its_text(self) -> None:
        one = {"logentry": {"message": "cart %s is gone", "formatted": "cart Ann is gone"}}
        other = {"logentry": {"message": "cart %s is gone", "formatted": "cart Bob is gone"}}
        assert together(one, other)

    def test_numbers_in_messages_do_not_separate_but_words_do(self) -> None:
        assert together(message("order 17 rejected"), message("order 18 rejected"))
        assert not together(message("order 17 rejected"), message("order 17 accepted"))

    def test_the_crashed_thread_decides(self) -> None:
        def threads(*flags: str) -> Event:
            return {
                "threads": {
                    "values": [
                        {"id": n, flag: True, "stacktrace": {"frames": [frame(f"f{n}")]}}
                        for n, flag in enumerate(flags)
                    ]
                }
            }

        assert together(threads("crashed", "current"), threads("crashed", "main"))
        assert group_event(threads("current", "main")).variant == "app"
        assert group_event(threads("crashed", "crashed")).variant == "fallback"
        assert group_event(threads("main", "main")).variant == "fallback"

    def test_a_top_level_stack_trace(self) -> None:
        event = {"stacktrace": {"frames": [frame()]}, "logentry": {"formatted": "x"}}
        assert together(event, {**event, "logentry": {"formatted": "y"}})

    def test_a_template(self) -> None:
        event = {"template": {"filename": "cart.html", "context_line": "{% x %}", "lineno": 3}}
        assert together(event, {"template": {**event["template"], "lineno": 4}})
        assert not together(event, {"template": {**event["template"], "context_line": "{% y %}"}})

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("https://cdn.example/a.js", "http://u@CDN.example:81/b.js?x", True),
            ("https://cdn.example/a.js", "https://evil.example/a.js", False),
            ("data:abc", "data:xyz", True),
            ("blob:1", "data:1", False),
            ("", "self", True),
        ],
    )
    def test_csp_reports_group_by_directive_and_host(self, one: str, other: str, same: bool) -> None:
        report = {"effective_directive": "img-src"}
        assert (
            together({"csp": {**report, "blocked_uri": one}}, {"csp": {**report, "blocked_uri": other}})
            is same
        )

    def test_csp_violations_of_the_page_itself_are_told_apart(self) -> None:
        report = {"effective_directive": "script-src", "blocked_uri": "self"}
        inline = {"csp": {**report, "violated_directive": "script-src 'unsafe-inline'"}}
        evaluated = {"csp": {**report, "violated_directive": "script-src 'unsafe-eval'"}}
        assert not together(inline, evaluated)

    @pytest.mark.parametrize("kind", ["hpkp", "expectct", "expectstaple"])
    def test_other_reports_group_by_host(self, kind: str) -> None:
        event = {kind: {"hostname": "shop.example", "port": 443}}
        assert together(event, {kind: {"hostname": "shop.example", "port": 444}})
        assert not together(event, {kind: {"hostname": "other.example"}})
        assert "shop.example" in group_event(event).title


class TestFingerprints:
    def test_default_in_any_spelling_changes_nothing(self) -> None:
        for fingerprint in (["{{ default }}"], ["{{default}}"], [], None, "x", [None]):
            assert group_event(error(frame(), fingerprint=fingerprint)) == group_event(error(frame()))

    def test_a_custom_fingerprint_decides_alone(self) -> None:
        one = error(frame(), fingerprint=["checkout", "7"])
        assert group_event(one).variant == "custom"
        assert together(one, message("anything", fingerprint=["checkout", "7"]))
        assert not together(one, error(frame(), fingerprint=["checkout7"]))
        assert not together(one, error(frame(), fingerprint=["checkout", "7", ""]))

    def test_a_salt_is_added_to_every_key(self) -> None:
        plain = error(frame("run", in_app=False), frame())
        salted = {**plain, "fingerprint": ["{{ default }}", "tenant-4"]}
        assert len(group_event(salted).keys) == 2
        assert not together(plain, salted)
        assert together(salted, {**salted, "fingerprint": ["{{default}}", "tenant-4"]})
        assert not together({"fingerprint": ["{{ default }}", "a"]}, {"fingerprint": ["{{ default }}", "b"]})

    @pytest.mark.parametrize(
        ("variable", "change"),
        [
            ("{{ transaction }}", {"transaction": "/other"}),
            ("{{ level }}", {"level": "fatal"}),
            ("{{ logger }}", {"logger": "other"}),
            ("{{ tags.tenant }}", {"tags": {"tenant": "b"}}),
            ("{{ message }}", {"logentry": {"formatted": "other words"}}),
            ("{{ error.type }}", error(frame(), type="KeyError")),
            ("{{ error.value }}", error(frame(), value="other words")),
            ("{{ stack.function }}", error(frame("refund"))),
            ("{{ stack.module }}", error(frame(module="shop.order"))),
            ("{{ stack.package }}", error(frame(package="/usr/lib/libb.so"))),
            ("{{ stack.abs_path }}", error(frame(abs_path="/b.py"))),
            ("{{ stack.filename }}", error(frame(filename="b.py"))),
        ],
    )
    def test_variables(self, variable: str, change: Event) -> None:
        base = error(
            frame(package="/lib/liba.so", abs_path="/a.py", filename="a.py"),
            transaction="/cart",
            level="error",
            logger="shop",
            tags={"tenant": "a"},
            logentry={"formatted": "words"},
            fingerprint=[variable],
        )
        assert together(base, copy.deepcopy(base))
        assert not together(base, base | change | {"fingerprint": [variable]})
        assert not together(base, {"fingerprint": [variable]})  # missing is a value of its own

    def test_message_and_value_are_parameterized_unless_raw(self) -> None:
        one, other = error(value="order 17"), error(value="order 18")
        for variable, same in (
            ("{{ error.value }}", True),
            ("{{ message }}", True),
            ("{{ raw_value }}", False),
        ):
            assert together(one | {"fingerprint": [variable]}, other | {"fingerprint": [variable]}) is same
        assert together(one | {"fingerprint": ["order 17"]}, other | {"fingerprint": ["order 18"]})

    def test_missing_and_unknown_variables_are_marked(self) -> None:
        event = {"fingerprint": ["{{ tags.x }}", "{{ nonsense }}", "{{ package }}"]}
        values = [part["value"] for part in explain(event)["variants"]["custom"]["parts"]]
        assert values == ["<no-value-for-tag-x>", "<unrecognized-variable-nonsense>", "<no-package>"]

    def test_a_checksum_decides_before_everything(self) -> None:
        checksum = "AB" * 16
        assert group_event(error(frame(), checksum=checksum, fingerprint=["x"])).keys == ("ab" * 16,)
        grouping = group_event(error(frame(), checksum="short"))
        assert grouping.variant == "checksum"
        assert len(grouping.keys[0]) == 32
        assert together(error(checksum="short"), message("other", checksum="short"))


class TestTitles:
    @pytest.mark.parametrize(
        ("event", "title"),
        [
            (error(frame(), value="no such cart\nsecond line"), "ValueError: no such cart"),
            (error(frame(), value=""), "ValueError"),
            (error(frame(), type=""), "no such cart"),
            (error(frame(), type="", value=""), "pay"),
            (message("\n first \r\nsecond"), "first"),
            ({"logentry": {"message": "cart %s", "formatted": "cart 7"}}, "cart 7"),
            (error(frame(), type="", value="clicked", logentry={"formatted": "clicked %s"}), "clicked %s"),
            (error(frame(), logentry={"formatted": "while paying"}), "ValueError: no such cart"),
            (
                {"csp": {"effective_directive": "script-src", "blocked_uri": "https://cdn.example/x.js"}},
                "Blocked 'script' from 'cdn.example'",
            ),
            (
                {"csp": {"effective_directive": "script-src-elem", "blocked_uri": "inline"}},
                "Blocked 'script-elem' from 'inline'",
            ),
            ({"stacktrace": {"frames": [frame()]}}, "<unlabeled event>"),
        ],
    )
    def test_title(self, event: Event, title: str) -> None:
        assert group_event(event).title == title

    def test_titles_and_culprits_are_bounded(self) -> None:
        grouping = group_event(error(frame("f" * 5_000), value="x" * 5_000))
        assert len(grouping.title) == 256
        assert grouping.title.endswith("...")
        assert len(grouping.culprit) == 200

    def test_metadata_of_an_error(self) -> None:
        event = error(frame(filename="shop/cart.py"), frame("json", module="lib", in_app=False))
        assert group_event(event).metadata == {
            "type": "ValueError",
            "value": "no such cart",
            "filename": "shop/cart.py",
            "function": "pay",
        }

    @pytest.mark.parametrize(
        ("event", "culprit"),
        [
            (error(frame(), transaction="/cart"), "/cart"),
            (error(frame(), frame("json", module="lib", in_app=False)), "shop.cart in pay"),
            (error(frame(module="", filename="cart.py")), "cart.py in pay"),
            (error(frame("", in_app=False)), "shop.cart in ?"),
            ({"platform": "native", "stacktrace": {"frames": [frame("int pay(int)")]}}, "shop.cart in pay"),
            (message("x"), ""),
        ],
    )
    def test_culprit(self, event: Event, culprit: str) -> None:
        assert group_event(event).culprit == culprit


class TestExplain:
    def test_it_tells_what_counted_and_why_the_rest_did_not(self) -> None:
        event = error(frame("run", in_app=False), frame(), logentry={"formatted": "x"})
        told = explain(event)
        assert told["strategy"] == "exception"
        assert tuple(told["keys"].values()) == group_event(event).keys
        app = told["variants"]["app"]
        stack = next(part for part in app["parts"] if part["id"] == "stacktrace")
        library, own = stack["parts"]
        assert (library["contributes"], library["reason"]) == (False, "not in app")
        assert own["contributes"]
        assert {"id": "function", "contributes": True, "value": "pay"} in own["parts"]
        value = next(part for part in app["parts"] if part["id"] == "value")
        assert value == {
            "id": "value",
            "contributes": False,
            "value": "no such cart",
            "reason": "the stack trace takes precedence",
        }
        assert told["not_used"]["message"]["default"]["reason"] == "exception takes precedence"
        assert msgspec.json.decode(msgspec.json.encode(told)) == told

    def test_a_custom_fingerprint_shows_what_it_replaced(self) -> None:
        told = explain(error(frame(), fingerprint=["checkout"]))
        assert list(told["keys"]) == ["custom"]
        assert told["variants"]["app"]["reason"] == "the fingerprint takes precedence"


def test_keys_are_the_same_in_another_process() -> None:
    event = error(frame("run", in_app=False), frame(), fingerprint=["{{ default }}", "ü"])
    program = (
        "import json, sys; from tasks_pipeline.grouping import group_event;"
        "print(json.dumps(group_event(json.load(sys.stdin)).keys))"
    )
    # another seed for hashes of texts: no key may depend on the order of a set
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(event),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
    )
    assert tuple(json.loads(done.stdout)) == group_event(event).keys


def test_keys_of_this_algorithm_never_change() -> None:
    """Whoever changes these must change `ALGORITHM` too: keys are stored."""
    assert ALGORITHM == "2027-01"
    assert group_event(message("order 17 rejected")).keys == ("3b119422c358dd5507c33e2483f23615",)
    assert group_event(error(frame("run", in_app=False), frame())).keys == (
        "dfaf1069d0150fb828954a209650891b",
        "478a2a119331ab63ea52cf59a057999a",
    )


_PROXY = frame("lambda$pay$3", module="shop.Cart$$ExternalSyntheticLambda2")
_WINDOWS = (
    {"function": "_OnTimer@8", "package": "C:\\Windows\\System32\\winmm.dll"},
    {"function": "`Cart::pay'::`2'::<lambda_1>::operator()", "in_app": True},
)
_CHUNK = {"type": "TypeError", "value": "Failed to fetch dynamically imported module: x"}


@pytest.mark.parametrize(
    ("event", "keys"),
    [
        (message("order 17 rejected"), ["f9be040548dd685ca10fc257af363518"]),
        (
            error(frame("run", in_app=False), frame()),
            ["18fe43c34aed082851b9010712a630c0", "d8bbae514b4366cc7cf665bf632a141f"],
        ),
        (error(_PROXY, platform="java"), ["8f7b4f3280340febc19f831aea9ed051"]),
        (
            error(*_WINDOWS, platform="native"),
            ["bdf3b008b1b7a0dac7b34cb298056b95", "98542157c004c570baaa79901c8b36d3"],
        ),
        (message("Key (code)=(SPRING) already exists. #PID<0.1.2>"), ["26079be129465a62b3f2749ab7a05472"]),
        (chain(_CHUNK) | {"platform": "javascript"}, ["bc43e65e37e3a3b32b26bf83c4e7e1a9"]),
        (message("x", fingerprint=["{{ message }}", "1.2.3.4 Jan 1"]), ["8760e03007aeb46d04c2c2bba86e1e9d"]),
    ],
)
def test_keys_of_the_former_algorithm_never_change(event: Event, keys: list[str]) -> None:
    """Groups of before are found by them, also where this algorithm sees something else."""
    former = former_rules()
    assert former.algorithm == FORMER_ALGORITHM == "2026-12"
    assert list(group_event(event, former).keys) == keys


def test_the_former_algorithm_follows_the_rules_of_the_project() -> None:
    event = error(frame("retry"), frame())
    by_rules = group_event(event, former_rules("function:retry -app -group", "")).keys
    assert by_rules != group_event(event, former_rules()).keys
    custom = group_event(event, former_rules("", "type:ValueError -> cart"))
    assert custom.variant == "custom"
    assert custom.keys != group_event(event, grouping_rules("", "type:ValueError -> cart")).keys


def test_what_is_kept_of_a_stack_is_kept_for_each_exception_raised_with_it() -> None:
    """An explanation computes everything; grouping keeps what an exception of a type contributes with its stack."""
    rules = grouping_rules("# rules of this test alone")
    synthetic = {"mechanism": {"type": "generic", "synthetic": True}}
    ns_error = {"mechanism": {"type": "NSError", "meta": {"ns_error": {"domain": "shop", "code": 3}}}}
    keys = set()
    for _ in range(2):
        for number in range(40):
            for more in ({}, synthetic, ns_error):
                event = error(frame("run", module="lib", in_app=False), frame(), type=f"Error{number}")
                event["exception"]["values"][0] |= more
                grouping = group_event(copy.deepcopy(event), rules)
                assert list(grouping.keys) == list(explain(event, rules)["keys"].values())
                keys.add(grouping.keys)
    assert len(keys) == 40 + 1 + 40  # the type of a synthetic one says nothing

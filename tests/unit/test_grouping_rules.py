"""Rules for grouping: what they match, what they change, and what is said when one cannot be read."""

from __future__ import annotations

import copy
import fnmatch
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.config import ConfigError, parse_config
from tasks_pipeline.grouping import RuleError, explain, former_rules, group_event, grouping_rules
from tasks_pipeline.grouping.fingerprint_rules import parse_fingerprint_rules
from tasks_pipeline.grouping.globs import path_glob, text_glob
from tasks_pipeline.grouping.stack_rules import parse_stack_rules

Event = dict[str, Any]


def frame(function: str = "pay", **more: Any) -> Event:
    return {"function": function, "module": "shop.cart", "in_app": True, **more}


def error(
    *frames: Event, platform: str = "python", type: str = "ValueError", value: str = "x 1", **more: Any
) -> Event:
    exception = {"type": type, "value": value, "stacktrace": {"frames": list(frames)}}
    return {"platform": platform, "exception": {"values": [exception]}, **more}


def frames_of(event: Event) -> list[Event]:
    return list(event["exception"]["values"][0]["stacktrace"]["frames"])


def flags(event: Event, stack_trace_rules: str = "") -> list[bool]:
    """The frames in app after the rules."""
    marked = copy.deepcopy(event)
    group_event(marked, grouping_rules(stack_trace_rules))
    return [one.get("in_app") is True for one in frames_of(marked)]


def counting(event: Event, stack_trace_rules: str = "", variant: str = "system") -> list[str]:
    """The functions of the frames that count."""
    told = explain(copy.deepcopy(event), grouping_rules(stack_trace_rules))
    (stack,) = [part for part in told["variants"][variant]["parts"] if part["id"] == "stacktrace"]
    names = [one["function"] for one in frames_of(event)]
    return [name for name, part in zip(names, stack["parts"], strict=True) if part["contributes"]]


class TestGlobs:
    @pytest.mark.parametrize(
        ("pattern", "text", "matches"),
        [
            ("shop.*", "shop.cart.pay", True),
            ("shop.*", "myshop.cart", False),
            ("*.pay", "shop.cart.pay", True),
            ("p?y", "pay", True),
            ("p?y", "paay", False),
            ("[a-c]x", "bx", True),
            ("[!a-c]x", "bx", False),
            ("?[[]KSCrash*", "-[KSCrash run]", True),
            ("-\\[a]", "-[a]", True),
            ("{a,bc}d", "bcd", True),
            ("{a,bc}d", "abcd", False),
            ("{a}d", "{a}d", True),
            ("\\*", "*", True),
            ("\\*", "x", False),
            ("*a*b*c", "xxaxxbxxcxxc", True),
            ("a", "a\n", False),
            ("*", "two\nlines", True),
        ],
    )
    def test_text(self, pattern: str, text: str, matches: bool) -> None:
        assert text_glob(pattern).matches(text) is matches

    @pytest.mark.parametrize(
        ("pattern", "path", "matches"),
        [
            ("**/site-packages/**", "/venv/lib/site-packages/django/x.py", True),
            ("**/site-packages/**", "site-packages/django/x.py", True),
            ("/usr/lib/*", "/usr/lib/libc.so", True),
            ("/usr/lib/*", "/usr/lib/x/libc.so", False),
            ("/usr/lib/**", "/usr/lib/x/libc.so", True),
            ("C:/Windows/**", "c:\\windows\\System32\\ntdll.dll", True),
            ("C:\\Windows\\*.dll", "C:/windows/a.DLL", True),
            ("**/a*b", "/ax/ab", True),
            ("*.py", "a/b.py", False),
        ],
    )
    def test_paths(self, pattern: str, path: str, matches: bool) -> None:
        assert path_glob(pattern).matches(path) is matches

    @given(st.text("ab*?.", max_size=8), st.text("ab.", max_size=10))
    @settings(deadline=None)
    def test_text_globs_agree_with_the_standard_library(self, pattern: str, text: str) -> None:
        glob = text_glob(pattern)
        assert glob.matches(text) is fnmatch.fnmatchcase(text, pattern)
        if glob.matches(text):
            assert any(literal in text for literal in glob.literals)

    @given(st.text(max_size=20), st.text(max_size=20))
    @settings(deadline=None)
    def test_any_pattern_can_be_used(self, pattern: str, text: str) -> None:
        for glob in (text_glob(pattern), text_glob(pattern, folded=True), path_glob(pattern)):
            assert glob.matches(text) in (True, False)

    def test_many_wildcards_take_no_time(self) -> None:
        assert not text_glob("*a" * 300 + "b").matches("a" * 2_000)


class TestReading:
    @pytest.mark.parametrize(
        ("rules", "line", "column", "says"),
        [
            ("-app", 1, 1, "a matcher is missing"),
            ("function:a", 1, 11, "an action is missing"),
            ("function:a -app\n\n# note\nfuncton:a -app", 4, 1, "unknown matcher 'functon'"),
            ("function:a app", 1, 12, "expected an action"),
            ('function:"a -app', 1, 10, "never closed"),
            ("[ function:a function:b -app", 1, 1, "never closed"),
            ("[ function:a ] function:b -app", 1, 16, "`|` is missing"),
            ("function:b | -app", 1, 14, "the called frame is missing"),
            ("[ type:E ] | function:b -app", 1, 1, "only frames"),
            ("app:maybe +app", 1, 1, "yes or no"),
            ("family:jvm -app", 1, 1, "unknown family 'jvm'"),
            ("function:a max-frames=some", 1, 12, "whole number"),
            ("function:a category=a:b", 1, 12, "a category is"),
            ("function:" + "{a,b}" * 9 + " -app", 1, 1, "more than 64 alternatives"),
        ],
    )
    def test_a_stack_trace_rule_that_cannot_be_read(
        self, rules: str, line: int, column: int, says: str
    ) -> None:
        with pytest.raises(RuleError, match=says) as caught:
            parse_stack_rules(rules)
        assert (caught.value.line, caught.value.column) == (line, column)

    @pytest.mark.parametrize(
        ("rules", "line", "column", "says"),
        [
            ("type:E", 1, 7, "`->` and the fingerprint are missing"),
            ("-> a", 1, 1, "a matcher is missing"),
            ("type:E ->", 1, 10, "the fingerprint is missing"),
            ("typ:E -> a", 1, 1, "unknown matcher 'typ'"),
            ('type:E -> a title="x', 1, 13, "the title stands"),
            ('type:E -> a title="x" b', 1, 13, "the title stands"),
            ("\ntype:E -> {{ a", 2, 11, "expected a value"),
        ],
    )
    def test_a_fingerprint_rule_that_cannot_be_read(
        self, rules: str, line: int, column: int, says: str
    ) -> None:
        with pytest.raises(RuleError, match=says) as caught:
            parse_fingerprint_rules(rules)
        assert (caught.value.line, caught.value.column) == (line, column)

    @given(st.text('abc:*"[]{}|-+^v=#>, \\\nfunctionapp', max_size=60))
    @settings(deadline=None)
    def test_nothing_but_a_rule_error_comes_of_any_text(self, text: str) -> None:
        for parse in (parse_stack_rules, parse_fingerprint_rules):
            with suppress(RuleError):
                parse(text)

    def test_the_configuration_names_project_line_and_column(self) -> None:
        text = (
            "projects:\n- id: 1\n  slug: shop\n  keys: [{public_key: abcd}]\n  grouping:\n"
            "    stack_trace_rules: |\n      path:**/x/** -app\n      function:a\n"
            "    fingerprint_rules: 'typ:E -> a'\n"
        )
        with pytest.raises(ConfigError) as caught:
            parse_config(text)
        first, second = str(caught.value).splitlines()
        assert "projects[0].grouping.stack_trace_rules: line 2, column 11: an action is missing" in first
        assert "projects[0].grouping.fingerprint_rules: line 1, column 1: unknown matcher 'typ'" in second


class TestStackTraceRules:
    def test_flags_are_set_top_to_bottom(self) -> None:
        event = error(frame("a"), frame("b", in_app=False))
        assert flags(event, "function:a -app\nfunction:b +app") == [False, True]
        assert flags(event, "function:* -app\nfunction:a +app") == [True, False]

    @pytest.mark.parametrize(
        ("rule", "after"),
        [
            ("function:b -app", "TFTT"),
            ("function:b ^-app", "TTFF"),
            ("function:b v-app", "FTTT"),
            ("function:b v-app -app", "FFTT"),
            ("!function:b -app", "FTFF"),
            ("[ function:b ] | function:* -app", "TTFT"),
            ("function:* | [ function:c ] -app", "TFTT"),
            ("function:b module:other -app", "TTTT"),
            ("type:ValueError function:b -app", "TFTT"),
            ("type:KeyError function:b -app", "TTTT"),
            ("error.value:x* mechanism:<unknown> function:b -app", "TFTT"),
            ("family:javascript function:b -app", "TTTT"),
            ("family:native,other function:b -app", "TFTT"),
            ("app:yes function:b -app", "TFTT"),
            ("app:no function:b -app", "TTTT"),
            ("function:a category=x\n[ category:x ] | function:* category=x\ncategory:x -app", "FFFF"),
        ],
    )
    def test_what_a_rule_reaches(self, rule: str, after: str) -> None:
        event = error(*(frame(name) for name in "abcd"))
        assert flags(event, rule) == [letter == "T" for letter in after]

    def test_frames_that_are_switched_off_do_not_count(self) -> None:
        event = error(*(frame(name) for name in "abcd"))
        assert counting(event, "function:b -group", "app") == ["a", "c", "d"]
        assert counting(event, "function:b ^-group", "app") == ["a", "b"]
        assert counting(event, "function:* -group\nfunction:c +group", "app") == ["c"]

    def test_a_frame_out_of_app_does_not_come_back(self) -> None:
        event = error(frame("a"), frame("b"))
        assert counting(event, "function:b -app +group", "app") == ["a"]

    def test_limits(self) -> None:
        event = error(*(frame(name) for name in "abcd"))
        assert counting(event, "function:a max-frames=2", "app") == ["c", "d"]
        assert counting(event, "function:a max-frames=2\nfunction:a max-frames=0", "app") == list("abcd")
        told = explain(event, grouping_rules("function:a min-frames=5"))
        assert "too few frames" in str(told)
        assert group_event(event, grouping_rules("function:a min-frames=5")).keys == group_event(error()).keys

    def test_rules_reach_threads_and_the_top_level(self) -> None:
        event = {
            "platform": "python",
            "threads": {"values": [{"stacktrace": {"frames": [frame("a")]}}]},
            "stacktrace": {"frames": [frame("a")]},
        }
        group_event(event, grouping_rules("function:a -app"))
        assert event["threads"]["values"][0]["stacktrace"]["frames"][0]["in_app"] is False
        assert event["stacktrace"]["frames"][0]["in_app"] is False

    def test_the_project_has_the_last_word(self) -> None:
        event = error(frame(abs_path="/venv/lib/python3.12/site-packages/mine/a.py"))
        assert flags(event) == [False]
        assert flags(event, "path:**/site-packages/mine/** +app") == [True]

    def test_changed_flags_do_not_split_a_group(self) -> None:
        event = error(frame("a"), frame("b"), frame("c", in_app=False))
        before = group_event(copy.deepcopy(event)).keys
        after = group_event(event, grouping_rules("function:a -app")).keys
        assert set(before) & set(after)


_RULES = [
    "",
    "function:a -app",
    "function:b +app category=x",
    "[ category:x ] | function:* -app\nfunction:c v-app",
    "function:* +app",
    "app:yes category=y\nfunction:b -group",
]
_DATA = st.none() | st.fixed_dictionaries({"x": st.just(1)}, optional={"sourcemap": st.just("a.map")})
_FRAMES = st.lists(
    st.fixed_dictionaries(
        {"function": st.sampled_from("abc")},
        optional={"in_app": st.booleans(), "data": _DATA, "lineno": st.integers(1, 2)},
    ),
    min_size=1,
    max_size=6,
)


@given(_FRAMES, st.sampled_from(_RULES), st.sampled_from(_RULES))
@settings(deadline=None, max_examples=300)
def test_a_stored_event_is_grouped_again_as_if_it_had_never_been(
    frames: list[Event], first: str, second: str
) -> None:
    frames = [{name: value for name, value in one.items() if value is not None} for one in frames]
    event = error(*frames)
    stored = copy.deepcopy(event)
    once = group_event(stored, grouping_rules(first))
    again = copy.deepcopy(stored)
    assert group_event(again, grouping_rules(first)) == once
    assert again == stored
    fresh = copy.deepcopy(event)
    assert group_event(again, grouping_rules(second)) == group_event(fresh, grouping_rules(second))
    assert again == fresh
    group_event(again, former_rules())
    assert again == event  # the former algorithm has no rules


def test_the_flag_of_the_sdk_stays_with_the_frame() -> None:
    event = error(frame("a"), frame("b", in_app=False), {"function": "c"}, frame("d"))
    group_event(event, grouping_rules("function:a -app\nfunction:b +app\nfunction:c +app category=x"))
    assert [one.get("data") for one in frames_of(event)] == [
        {"orig_in_app": 1},
        {"orig_in_app": 0},
        {"orig_in_app": -1, "category": "x"},
        None,
    ]


class TestOwnRules:
    @pytest.mark.parametrize(
        ("platform", "fields"),
        [
            ("python", {"abs_path": "/srv/venv/lib/python3.12/site-packages/django/x.py"}),
            ("python", {"abs_path": "/usr/lib/python3/dist-packages/requests/x.py"}),
            ("javascript", {"abs_path": "https://shop.example/node_modules/react/index.js"}),
            ("javascript", {"abs_path": "https://unpkg.com/react@18/react.js"}),
            ("node", {"abs_path": "node:internal/process/task_queues"}),
            ("node", {"abs_path": "/app/node_modules/express/lib/router.js"}),
            ("go", {"abs_path": "/go/pkg/mod/github.com/lib/pq@v1/conn.go"}),
            ("ruby", {"abs_path": "/usr/local/bundle/gems/rails-7.1/lib/rails.rb"}),
            ("php", {"abs_path": "/app/vendor/symfony/http-kernel/Kernel.php"}),
            ("java", {"module": "java.util.ArrayList"}),
            ("java", {"module": "org.springframework.web.servlet.DispatcherServlet"}),
            ("java", {"module": "kotlinx.coroutines.BuildersKt"}),
            ("csharp", {"module": "System.Threading.Tasks.Task"}),
            ("native", {"package": "/usr/lib/x86_64-linux-gnu/libc.so.6"}),
            ("native", {"package": "C:\\Windows\\System32\\ntdll.dll"}),
            ("cocoa", {"package": "/System/Library/Frameworks/UIKit.framework/UIKit"}),
            ("dart", {"abs_path": "package:flutter/src/widgets/framework.dart"}),
            ("dart", {"abs_path": "org-dartlang-sdk:///lib/async.dart"}),
        ],
    )
    def test_libraries_are_not_in_app(self, platform: str, fields: Event) -> None:
        assert flags(error(frame("own"), frame("other", **fields), platform=platform)) == [True, False]

    @pytest.mark.parametrize(
        "package",
        [
            "/private/var/containers/Bundle/Application/1B2C/Shop.app/Shop",
            "/Users/ann/build/shop",
            "/Applications/Shop.app/Contents/MacOS/Shop",
        ],
    )
    def test_the_bundle_is_in_app(self, package: str) -> None:
        event = error({"function": "pay", "package": package, "in_app": False}, platform="cocoa")
        assert flags(event) == [True]

    @pytest.mark.parametrize(
        ("platform", "frames", "counted"),
        [
            (
                "native",
                ["__libc_start_main", "main", "pay", "abort", "raise"],
                ["pay", "abort"],
            ),
            ("native", ["pay", "_sigtramp", "handler"], ["pay"]),
            ("native", ["pay", "core::panicking::panic", "rust_panic"], ["pay"]),
            ("native", ["pay", "std::__1::function<T>::operator()", "cart"], ["pay", "cart"]),
            ("native", ["pay", "malloc", "_int_malloc"], ["pay", "malloc"]),
            ("javascript", ["pay", "asyncGeneratorStep", "_asyncToGenerator"], ["pay"]),
            ("node", ["processTicksAndRejections", "pay"], ["pay"]),
        ],
    )
    def test_frames_that_say_nothing_do_not_count(
        self, platform: str, frames: list[str], counted: list[str]
    ) -> None:
        event = error(*({"function": name, "in_app": False} for name in frames), platform=platform)
        assert counting(event) == counted

    def test_a_run_of_the_system_counts_by_what_was_called(self) -> None:
        modules = ["java.lang.Thread", "shop.Cart", "android.app.NotificationManager", "android.os.Parcel"]
        names = ["run", "pay", "notify", "readException"]
        frames = [{"module": module, "function": name} for module, name in zip(modules, names, strict=True)]
        assert counting(error(*frames, platform="java")) == ["pay", "notify"]

    def test_chunks_that_did_not_load_are_one_problem(self) -> None:
        one = error(frame("a"), platform="javascript", type="ChunkLoadError", value="Loading chunk 7 failed")
        other = error(frame("b"), platform="javascript", type="Error", value="ChunkLoadError: chunk 12")
        assert group_event(one).keys == group_event(other).keys
        assert group_event(one | {"platform": "python"}).keys != group_event(one).keys

    def test_hydration_is_a_problem_of_a_page(self) -> None:
        text = "Hydration failed because the server rendered HTML didn't match"
        one = error(frame("a"), platform="javascript", value=text, transaction="/cart")
        same = error(
            frame("b"), platform="javascript", value="Minified React error #418; visit …", transaction="/cart"
        )
        assert group_event(one).keys == group_event(same).keys
        assert group_event(one).keys != group_event(one | {"transaction": "/home"}).keys


class TestFingerprintRules:
    def keys(self, event: Event, rules: str) -> tuple[str, ...]:
        return group_event(event, grouping_rules("", rules)).keys

    @pytest.mark.parametrize(
        "matcher",
        [
            "type:ValueError",
            "error.value:X*",
            "message:*LATE*",
            "message:x?1",
            "logger:shop.*",
            "level:ERROR",
            "tags.tenant:acme",
            "sdk:sentry.python,sentry.javascript",
            "release:shop@*",
            "family:other",
            "function:pay module:shop.*",
            "path:**/cart.py app:yes",
            "!type:KeyError",
            "type:ValueError logger:shop.cart function:pay",
        ],
    )
    def test_what_matches(self, matcher: str) -> None:
        event = error(
            frame(abs_path="/srv/shop/cart.py"),
            logentry={"formatted": "order is late"},
            logger="shop.cart",
            level="error",
            tags={"tenant": "acme"},
            sdk={"name": "sentry.python"},
            release="shop@1.2",
        )
        assert group_event(event, grouping_rules("", f"{matcher} -> mine")).variant == "custom"

    @pytest.mark.parametrize(
        "matcher",
        [
            "type:valueerror",
            "type:KeyError",
            "!type:*",
            "function:pay module:other",
            "logger:shop",
            "tags.tenant:acme",
            "sdk:sentry.*",
            "release:*",
            "family:javascript",
            "app:no",
        ],
    )
    def test_what_does_not_match(self, matcher: str) -> None:
        event = error(frame())
        assert self.keys(event, f"{matcher} -> mine") == group_event(event).keys

    def test_conditions_of_a_bundle_hold_on_one_frame(self) -> None:
        event = error(frame("a", module="m"), frame("b", module="n"))
        assert self.keys(event, "function:a module:n -> mine") == group_event(event).keys
        assert self.keys(event, "function:a module:m -> mine") != group_event(event).keys

    def test_rules_see_the_flags_that_stack_trace_rules_set(self) -> None:
        event = error(frame("a"))
        rules = grouping_rules("function:a -app", "app:no -> mine")
        assert group_event(event, rules).variant == "custom"

    def test_the_first_rule_wins_and_replaces_the_fingerprint_of_the_client(self) -> None:
        event = error(frame(), fingerprint=["client"])
        assert self.keys(event, "type:* -> one\ntype:* -> two") == self.keys(
            error(frame("b")), "type:* -> one"
        )

    def test_the_rules_of_the_project_come_before_our_own(self) -> None:
        event = error(frame(), platform="javascript", type="ChunkLoadError")
        assert self.keys(event, "type:ChunkLoadError -> mine") == self.keys(error(), "type:* -> mine")

    def test_values_and_variables(self) -> None:
        rules = 'type:* -> "a b", c{{ logger }} {{ default }}'
        one, other = error(frame(), logger="x"), error(frame(), logger="y")
        assert len({*self.keys(one, rules), *self.keys(other, rules), *group_event(one).keys}) == 3
        told = explain(one, grouping_rules("", rules))
        assert told["fingerprint"] == {
            "elements": ["a b", "c", "{{ logger }}", "{{ default }}"],
            "rule": rules,
        }

    def test_a_title(self) -> None:
        rules = grouping_rules("", 'type:* -> x title="{{ type }} of {{ tags.tenant }}: {{ value }}"')
        grouped = group_event(error(frame(), tags={"tenant": "acme"}), rules)
        assert grouped.title == "ValueError of acme: x 1"

    def test_patterns_with_characters_that_mean_something(self) -> None:
        event = {"platform": "other", "logentry": {"formatted": "{[*?]}"}}
        assert (
            group_event(event, grouping_rules("", r'message:"\\{\\[\\*\\?\\]\\}" -> x')).variant == "custom"
        )
        assert group_event(event, grouping_rules("", r'message:"\{\[\*\?\]\}" -> x')).variant == "custom"

"""Events in their canonical form: shapes, times, limits and what is said about what was removed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError, decode_json, encode_json
from tasks_pipeline.protocol.event import normalise_event, normalise_transaction

RECEIVED = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
ID = "0123456789abcdef0123456789abcdef"
CONTEXT = ItemContext(project_id=1, received_at=RECEIVED, event_id=ID, remote_addr="203.0.113.9")


def normalise(context: ItemContext = CONTEXT, /, **event: Any) -> dict[str, Any]:
    """The normalised event, sent over the wire first."""
    return normalise_event(decode_json(encode_json(event)), context)


def kinds(event: dict[str, Any]) -> dict[str, str]:
    """What was wrong, by the name of the field."""
    return {e["name"]: e["type"] for e in event.get("errors", [])}


def test_an_empty_event_gets_what_every_event_has() -> None:
    assert normalise() == {
        "event_id": ID,
        "type": "default",
        "level": "error",
        "platform": "other",
        "timestamp": "2026-11-22T12:30:00.000000Z",
        "received": "2026-11-22T12:30:00.000000Z",
    }


class TestIds:
    def test_the_envelopes_id_wins(self) -> None:
        assert normalise(event_id="f" * 32)["event_id"] == ID

    def test_the_payloads_id_in_any_spelling(self) -> None:
        context = replace(CONTEXT, event_id=None)
        event = normalise(context, event_id="01234567-89AB-CDEF-0123-456789ABCDEF")
        assert event["event_id"] == ID

    @pytest.mark.parametrize("event_id", [None, "", "xyz", 5, ["a"]])
    def test_without_any_it_is_refused(self, event_id: object) -> None:
        with pytest.raises(PayloadError, match="no event_id"):
            normalise(replace(CONTEXT, event_id=None), event_id=event_id)

    @pytest.mark.parametrize("payload", [None, [], "x", 5])
    def test_what_is_no_object_is_refused(self, payload: object) -> None:
        with pytest.raises(PayloadError, match="not a JSON object"):
            normalise_event(payload, CONTEXT)


class TestTimes:
    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ("2026-11-22T11:38:21.704157Z", "2026-11-22T11:38:21.704157Z"),
            ("2026-11-22T11:38:21Z", "2026-11-22T11:38:21.000000Z"),
            ("2026-11-22T11:38:21", "2026-11-22T11:38:21.000000Z"),
            ("2026-11-22T12:38:21+01:00", "2026-11-22T11:38:21.000000Z"),
            ("2026-11-22T11:38:21.485290442Z", "2026-11-22T11:38:21.485290Z"),
            (1795347543.72, "2026-11-22T11:39:03.720000Z"),
            (1795347543, "2026-11-22T11:39:03.000000Z"),
        ],
    )
    def test_forms(self, sent: object, kept: str) -> None:
        event = normalise(timestamp=sent)
        assert event["timestamp"] == kept
        assert "errors" not in event

    @pytest.mark.parametrize(
        ("sent", "error"),
        [
            ("yesterday", "invalid_data"),
            ("", "invalid_data"),
            (1e308, "invalid_data"),
            (-1e308, "invalid_data"),
            (10**30, "invalid_data"),
            (True, "invalid_data"),
            ([1], "invalid_data"),
            ("9999-12-31T23:59:59-14:00", "invalid_data"),
            ("2026-11-22T12:31:01Z", "future_timestamp"),
            ("2026-10-01T00:00:00Z", "past_timestamp"),
        ],
    )
    def test_what_cannot_be_becomes_the_time_of_receipt(self, sent: object, error: str) -> None:
        event = normalise(timestamp=sent)
        assert event["timestamp"] == event["received"]
        assert kinds(event) == {"timestamp": error}

    def test_a_clock_that_is_off_is_corrected_everywhere(self) -> None:
        context = replace(CONTEXT, sent_at=RECEIVED - timedelta(days=365))
        event = normalise(
            context, timestamp="2025-11-22T12:29:50Z", breadcrumbs=[{"timestamp": "2025-11-22T12:29:40Z"}]
        )
        assert event["timestamp"] == "2026-11-22T12:29:50.000000Z"
        assert event["breadcrumbs"]["values"][0]["timestamp"] == "2026-11-22T12:29:40.000000Z"
        assert kinds(event) == {"timestamp": "clock_drift"}

    def test_time_on_the_way_is_no_drift(self) -> None:
        event = normalise(
            replace(CONTEXT, sent_at=RECEIVED - timedelta(seconds=59)), timestamp="2026-11-22T12:29:00Z"
        )
        assert event["timestamp"] == "2026-11-22T12:29:00.000000Z"


class TestScalars:
    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ("warning", "warning"),
            ("WARN", "warning"),
            ("log", "info"),
            ("critical", "fatal"),
            (40, "error"),
            ("30", "warning"),
        ],
    )
    def test_levels(self, sent: object, kept: str) -> None:
        assert normalise(level=sent)["level"] == kept

    def test_an_unknown_level_is_named(self) -> None:
        event = normalise(level="loud")
        assert event["level"] == "error"
        assert event["errors"] == [{"type": "invalid_data", "name": "level", "value": "loud"}]

    @pytest.mark.parametrize(
        ("field", "value", "error"),
        [
            ("environment", "a" * 65, "value_too_long"),
            ("environment", "a\nb", "invalid_data"),
            ("environment", "None", "invalid_data"),
            ("release", "r" * 201, "value_too_long"),
            ("release", "1\t2", "invalid_data"),
            ("release", "..", "invalid_data"),
            ("dist", "d" * 65, "value_too_long"),
        ],
    )
    def test_names_that_are_not_allowed_are_removed(self, field: str, value: str, error: str) -> None:
        event = normalise(**{field: value})
        assert field not in event
        assert kinds(event) == {field: error}

    def test_names_that_are_allowed(self) -> None:
        event = normalise(environment=" staging ", release="shop@1.0+2", dist=42, server_name="web-1")
        assert (event["environment"], event["release"], event["dist"]) == ("staging", "shop@1.0+2", "42")
        assert "environment" not in normalise(environment="")

    @pytest.mark.parametrize(
        ("event", "kind"),
        [
            ({}, "default"),
            ({"message": "x"}, "default"),
            ({"exception": {"type": "E"}}, "error"),
            ({"exception": {"values": []}}, "default"),
            ({"exception": {"type": "E"}, "type": "feedback"}, "feedback"),
            ({"type": "transaction"}, "transaction"),
            ({"type": "nonsense"}, "default"),
            ({"csp": {"effective_directive": "img-src"}}, "csp"),
        ],
    )
    def test_types(self, event: dict[str, Any], kind: str) -> None:
        assert normalise(**event)["type"] == kind

    def test_unknown_fields_are_removed_and_named(self) -> None:
        event = normalise(nonsense=1, project=5, time_spent=None)
        assert "nonsense" not in event
        assert kinds(event) == {"nonsense": "invalid_attribute"}


class TestShapes:
    @pytest.mark.parametrize("form", [lambda v: v, lambda v: {"values": v}, lambda v: [None, *v, None, {}]])
    @pytest.mark.parametrize("field", ["exception", "breadcrumbs", "threads"])
    def test_lists_come_bare_or_wrapped(self, field: str, form: Any) -> None:
        value = {"type": "E", "name": "main", "thread_id": 1}
        event = normalise(**{field: form([value])})
        assert len(event[field]["values"]) == 1
        assert "errors" not in event

    def test_a_single_exception(self) -> None:
        assert normalise(exception={"type": "E", "value": 5})["exception"] == {
            "values": [{"type": "E", "value": "5"}]
        }

    def test_old_mechanism_beside_the_values(self) -> None:
        event = normalise(
            exception={"values": [{"type": "A"}, {"type": "B"}], "mechanism": {"handled": False}}
        )
        assert event["exception"]["values"][1]["mechanism"] == {"handled": False}

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ({"message": "hello"}, {"formatted": "hello"}),
            ({"logentry": "hello"}, {"formatted": "hello"}),
            ({"logentry": {"message": "hello"}}, {"formatted": "hello"}),
            ({"sentry.interfaces.Message": {"message": "hello"}}, {"formatted": "hello"}),
            ({"message": {"message": "hello"}}, {"formatted": "hello"}),
            (
                {"logentry": {"message": "took %.2f s in %s", "params": [1.5, "db"]}},
                {"message": "took %.2f s in %s", "params": [1.5, "db"], "formatted": "took 1.5 s in db"},
            ),
            (
                {"logentry": {"message": "{} of {total}, {1}", "params": {"total": 7}}},
                {"message": "{} of {total}, {1}", "params": {"total": 7}, "formatted": "{} of 7, {1}"},
            ),
            (
                {"logentry": {"message": "a %s", "formatted": "a b", "params": ["b"]}, "message": "ignored"},
                {"message": "a %s", "formatted": "a b", "params": ["b"]},
            ),
        ],
    )
    def test_messages(self, sent: dict[str, Any], kept: dict[str, Any]) -> None:
        assert normalise(**sent)["logentry"] == kept

    @pytest.mark.parametrize(
        "sent",
        [
            {"a": True, "n": 7, "none": None, "s": "x"},
            [["a", True], ["n", 7], ["none", None], ["s", "x"]],
            [{"key": "a", "value": True}, {"key": "n", "value": 7}, {"key": "s", "value": "x"}],
        ],
    )
    def test_tags(self, sent: Any) -> None:
        assert normalise(tags=sent)["tags"] == {"a": "true", "n": "7", "s": "x"}

    def test_invalid_tags_are_named(self) -> None:
        event = normalise(tags={"good": "x", "bad": {"a": 1}})
        assert event["tags"] == {"good": "x"}
        assert kinds(event) == {"tags.bad": "invalid_data"}

    def test_old_interface_names(self) -> None:
        event = normalise(
            **{
                "sentry.interfaces.Http": {"url": "http://x/"},
                "sentry.interfaces.User": {"id": 5},
                "sentry.interfaces.Exception": [{"type": "E"}],
                "sentry.interfaces.Stacktrace": {"frames": [{"function": "f"}]},
                "culprit": "shop.views.index",
            }
        )
        assert event["request"] == {"url": "http://x/"}
        assert event["user"] == {"id": "5"}
        assert event["exception"]["values"] == [{"type": "E"}]
        assert event["stacktrace"] == {"frames": [{"function": "f"}]}
        assert event["transaction"] == "shop.views.index"
        assert "errors" not in event

    def test_fingerprint(self) -> None:
        assert normalise(fingerprint=["{{ default }}", 1, None, True])["fingerprint"] == [
            "{{ default }}",
            "1",
            "true",
        ]
        assert normalise(fingerprint="one")["fingerprint"] == ["one"]
        assert "fingerprint" not in normalise(fingerprint=[])


class TestFrames:
    def frames(self, *frames: Any, **event: Any) -> list[dict[str, Any]]:
        stack = {"frames": list(frames)}
        kept: list[dict[str, Any]] = normalise(exception=[{"type": "E", "stacktrace": stack}])["exception"][
            "values"
        ][0]["stacktrace"]["frames"]
        return kept

    def test_numbers_and_flags(self) -> None:
        frame = {"function": "f", "lineno": "12", "colno": 3.0, "in_app": False, "module": None, "junk": 1}
        assert self.frames(frame) == [{"function": "f", "lineno": 12, "colno": 3, "in_app": False}]

    @pytest.mark.parametrize("lineno", [-1, "x", 2**31, 1.5, True, [], 10**30])
    def test_impossible_lines_are_removed_and_named(self, lineno: object) -> None:
        event = normalise(stacktrace={"frames": [{"function": "f", "lineno": lineno}]})
        assert event["stacktrace"]["frames"] == [{"function": "f"}]
        assert kinds(event) == {"stacktrace.frames.0.lineno": "invalid_data"}

    @pytest.mark.parametrize(
        "frame",
        [
            {"function": "f", "lineno": 3.0, "in_app": True, "vars": {"a": [1, {"b": None}]}},
            {"function": "f", "vars": {}, "pre_context": [], "post_context": ["a"]},
            {"function": "f" * 1024, "context_line": "x" * 256, "vars": {"big": "x" * 8100}},
            {"function": "f", "vars": {"big": "x" * 8300}},
        ],
    )
    def test_a_stack_is_the_same_whether_or_not_another_frame_has_faults(self, frame: dict[str, Any]) -> None:
        alone = self.frames(frame, {"function": "g"})
        beside = self.frames(frame, {"function": "g", "junk": 1})
        assert encode_json(alone) == encode_json(beside)

    def test_addresses(self) -> None:
        frames = self.frames(
            {"instruction_addr": 4096}, {"instruction_addr": "4096"}, {"instruction_addr": "0x1000"}
        )
        assert {f["instruction_addr"] for f in frames} == {"0x1000"}

    def test_null_frames_are_dropped(self) -> None:
        assert self.frames(None, {"function": "f"}, {}, {"module": None}) == [{"function": "f"}]

    def test_of_many_the_middle_is_removed(self) -> None:
        event = normalise(stacktrace={"frames": [{"lineno": i} for i in range(10_000)]})
        lines = [f["lineno"] for f in event["stacktrace"]["frames"]]
        assert lines == [*range(25), *range(9975, 10_000)]
        assert event["stacktrace"]["frames_omitted"] == [25, 9975]
        assert event["_meta"]["stacktrace"]["frames"][""]["len"] == 10_000

    def test_notes_of_the_sdk_follow_their_frame(self) -> None:
        meta = {
            "stacktrace": {"frames": {"59": {"vars": {"": {"len": 9}}}, "30": {"vars": {"": {"len": 8}}}}}
        }
        event = normalise(stacktrace={"frames": [{"lineno": i} for i in range(60)]}, _meta=meta)
        assert event["_meta"]["stacktrace"]["frames"] == {"49": {"vars": {"": {"len": 9}}}, "": {"len": 60}}

    def test_long_lines_and_variables(self) -> None:
        event = normalise(
            stacktrace={
                "frames": [
                    {
                        "context_line": "x" * 1000,
                        "pre_context": ["y" * 300, 5, "z"],
                        "vars": {"big": "v" * 100_000, "small": "1"},
                    }
                ]
            }
        )
        [frame] = event["stacktrace"]["frames"]
        assert frame["context_line"] == "x" * 253 + "..."
        assert frame["pre_context"] == ["y" * 253 + "...", "", "z"]
        assert frame["vars"]["small"] == "1"
        assert len(encode_json(frame["vars"])) <= 8192
        notes = event["_meta"]["stacktrace"]["frames"]["0"]
        assert notes["context_line"] == {"": {"len": 1000, "rem": [["!limit", "x", 253, 256]]}}
        assert notes["vars"]["big"][""]["len"] == 100_000


class TestImages:
    @pytest.mark.parametrize(("size", "kept"), [(4096, 4096), ("0x1000", 4096), ("4096", 4096)])
    def test_sizes_are_numbers_and_addresses_texts(self, size: object, kept: int) -> None:
        event = normalise(debug_meta={"images": [{"type": "elf", "image_addr": 4096, "image_size": size}]})
        assert event["debug_meta"]["images"] == [{"type": "elf", "image_addr": "0x1000", "image_size": kept}]

    @pytest.mark.parametrize("size", [None, "", "big", -1, 1.5, 10**30, "0xffffffffffffffff", []])
    def test_impossible_sizes_are_removed(self, size: object) -> None:
        event = normalise(debug_meta={"images": [{"type": "elf", "image_size": size}]})
        assert event["debug_meta"]["images"] == [{"type": "elf"}]


class TestRequest:
    def test_forms_of_headers_query_and_cookies(self) -> None:
        forms: list[dict[str, Any]] = [
            {"headers": {"x-a": "1", "B": 2}, "query_string": "q=a b&z=", "cookies": "c=1; d=2"},
            {
                "headers": [["x-a", "1"], ["B", 2]],
                "query_string": {"q": "a b", "z": None},
                "cookies": {"c": 1, "d": "2"},
            },
            {
                "headers": {"X-A": ["1"], "b": "2"},
                "query_string": [["q", "a b"], ["z", ""]],
                "cookies": [["c", "1"], ["d", "2"]],
            },
        ]
        for form in forms:
            assert normalise(request=form)["request"] == {
                "headers": [["X-A", "1"], ["B", "2"]],
                "query_string": [["q", "a b"], ["z", ""]],
                "cookies": [["c", "1"], ["d", "2"]],
            }

    def test_the_url_is_taken_apart(self) -> None:
        request = normalise(request={"url": "https://shop/a?b=1&b=2#top", "method": "GET"})["request"]
        assert request == {
            "url": "https://shop/a",
            "query_string": [["b", "1"], ["b", "2"]],
            "fragment": "top",
            "method": "GET",
        }

    def test_nul_cannot_come_back_by_percent_encoding(self) -> None:
        assert normalise(request={"query_string": "a%00=b%00"})["request"]["query_string"] == [
            ["a\ufffd", "b\ufffd"]
        ]

    @pytest.mark.parametrize("body", ["x" * 100_000, {"a": ["x" * 1000] * 100}, ["é" * 5000] * 3])
    def test_bodies_are_cut(self, body: object) -> None:
        event = normalise(request={"data": body})
        assert 4 < len(encode_json(event["request"]["data"])) <= 8192
        assert event["_meta"]["request"]["data"]


class TestUser:
    @pytest.mark.parametrize(
        ("event", "address"),
        [
            ({"user": {"ip_address": "{{auto}}"}}, "203.0.113.9"),
            ({"user": {"id": 1}, "sdk": {"name": "x", "settings": {"infer_ip": "auto"}}}, "203.0.113.9"),
            (
                {"user": {"ip_address": "{{auto}}"}, "sdk": {"name": "x", "settings": {"infer_ip": "never"}}},
                None,
            ),
            ({"user": {"ip_address": "198.51.100.7"}}, "198.51.100.7"),
            ({"user": {"ip_address": "2001:DB8::0:1"}}, "2001:db8::1"),
            ({"user": {"ip_address": "not an address"}}, None),
            ({"platform": "javascript"}, "203.0.113.9"),
            ({"platform": "python"}, None),
            ({"request": {"env": {"REMOTE_ADDR": "198.51.100.8"}}}, "198.51.100.8"),
        ],
    )
    def test_addresses(self, event: dict[str, Any], address: str | None) -> None:
        assert normalise(**event).get("user", {}).get("ip_address") == address

    def test_other_fields_become_data(self) -> None:
        user = normalise(user={"id": 7, "plan": "gold", "data": {"team": "a"}})["user"]
        assert user == {"id": "7", "data": {"plan": "gold", "team": "a"}}


class TestSdk:
    @pytest.mark.parametrize(
        ("client", "user_agent", "sdk"),
        [
            ("sentry.python/2.75.0", None, {"name": "sentry.python", "version": "2.75.0"}),
            ("raven-node", None, {"name": "raven-node"}),
            ("sentry-cli/x86_64", "sentry-cli/3.8.2", {"name": "sentry-cli", "version": "3.8.2"}),
            (None, "curl/8", None),
        ],
    )
    def test_it_follows_from_the_client(self, client: str, user_agent: str, sdk: Any) -> None:
        assert normalise(replace(CONTEXT, client=client, user_agent=user_agent)).get("sdk") == sdk

    def test_what_the_event_says_wins(self) -> None:
        event = normalise(replace(CONTEXT, client="a/1"), sdk={"name": "b", "version": "2"})
        assert event["sdk"] == {"name": "b", "version": "2"}


class TestLimits:
    def test_messages(self) -> None:
        event = normalise(message="m" * 10_000)
        assert event["logentry"]["formatted"] == "m" * 8189 + "..."
        assert event["_meta"]["logentry"]["formatted"][""] == {
            "len": 10_000,
            "rem": [["!limit", "x", 8189, 8192]],
        }

    def test_tags(self) -> None:
        event = normalise(tags={f"k{i}": "v" for i in range(100_000)} | {"long" * 100: "v" * 1000})
        assert len(event["tags"]) == 200
        assert event["_meta"]["tags"][""]["len"] == 100_001
        [(name, value)] = normalise(tags={"k" * 300: "v" * 300})["tags"].items()
        assert (len(name), len(value)) == (200, 200)

    def test_contexts_and_extra(self) -> None:
        event = normalise(
            contexts={"big": {"a": "x" * 20_000}, "small": {"a": 1}, "bad": "text", "none": None},
            extra={f"k{i}": "x" * 30_000 for i in range(40)},
        )
        assert len(encode_json(event["contexts"]["big"])) <= 8192
        assert event["contexts"]["small"] == {"a": 1}
        assert kinds(event) == {"contexts.bad": "invalid_data"}
        assert all(len(encode_json(v)) <= 16_384 for v in event["extra"].values())
        assert len(encode_json(event["extra"])) <= 262_144

    def test_the_last_breadcrumbs_and_outer_exceptions_are_kept(self) -> None:
        event = normalise(
            breadcrumbs=[{"message": str(i)} for i in range(500)],
            exception=[{"value": str(i)} for i in range(500)],
        )
        assert [b["message"] for b in event["breadcrumbs"]["values"]] == [str(i) for i in range(400, 500)]
        assert [e["value"] for e in event["exception"]["values"]] == [
            str(i) for i in [*range(25), *range(475, 500)]
        ]

    def test_ids_of_the_trace(self) -> None:
        trace = {
            "trace_id": "01234567-89ab-cdef-0123-456789abcdef",
            "span_id": "bad",
            "parent_span_id": None,
            "op": "x",
        }
        event = normalise(contexts={"trace": trace})
        assert event["contexts"]["trace"] == {"trace_id": ID, "op": "x"}
        assert kinds(event) == {"contexts.trace.span_id": "invalid_data"}

    def test_errors_are_bounded(self) -> None:
        event = normalise(
            **{f"unknown{i}": "x" for i in range(5000)}, tags={f"t{i}": [] for i in range(1000)}
        )
        assert len(event["errors"]) == 50


class TestTransactions:
    def test_what_is_kept(self) -> None:
        kept = normalise_transaction(
            {
                "type": "transaction",
                "transaction": "/cart",
                "start_timestamp": 1795347543.5,
                "timestamp": "2026-11-22T11:39:03.750000Z",
                "contexts": {
                    "trace": {"trace_id": ID, "span_id": "a" * 16, "op": "http.server", "status": "ok"}
                },
                "spans": [{}, {}],
                "release": "shop@1",
                "tags": {"a": 1},
                "user": {"id": 5},
                "measurements": {"lcp": {"value": 1}},
            },
            replace(CONTEXT, client="sentry.python/2.75.0"),
        )
        assert kept == {
            "event_id": ID,
            "name": "/cart",
            "op": "http.server",
            "status": "ok",
            "trace_id": ID,
            "span_id": "a" * 16,
            "start_timestamp": "2026-11-22T11:39:03.500000Z",
            "timestamp": "2026-11-22T11:39:03.750000Z",
            "received": "2026-11-22T12:30:00.000000Z",
            "duration_ms": 250.0,
            "spans": 2,
            "release": "shop@1",
            "tags": {"a": "1"},
            "user": {"id": "5"},
            "platform": "other",
            "sdk": {"name": "sentry.python", "version": "2.75.0"},
        }

    @pytest.mark.parametrize(("start", "end"), [(None, 5), (5, None), (6, 5), ("x", 5)])
    def test_one_without_a_duration_is_refused(self, start: object, end: object) -> None:
        with pytest.raises(PayloadError, match="start_timestamp"):
            normalise_transaction({"start_timestamp": start, "timestamp": end}, CONTEXT)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00+14:00", "2026-11-22T12:00:00Z"),
        (-62135596800, 253402300799),
        ("2026-10-24T11:59:59Z", "2026-11-22T12:00:00Z"),
    ],
)
def test_a_transaction_of_more_than_four_weeks_is_refused(start: object, end: object) -> None:
    context = ItemContext(1, datetime(2026, 11, 22, 12, tzinfo=UTC), "a" * 32)
    with pytest.raises(PayloadError):
        normalise_transaction({"start_timestamp": start, "timestamp": end}, context)


@pytest.mark.parametrize("given", [2**64, str(2**64), "9" * 20])
def test_addresses_are_of_64_bits(given: object) -> None:
    image = {"type": "elf", "debug_id": "x", "image_addr": given, "image_vmaddr": str(2**64 - 1)}
    context = ItemContext(1, datetime(2026, 11, 22, 12, tzinfo=UTC), "a" * 32)
    event = normalise_event({"debug_meta": {"images": [image]}}, context)
    assert event["debug_meta"]["images"] == [
        {"type": "elf", "debug_id": "x", "image_vmaddr": "0xffffffffffffffff"}
    ]

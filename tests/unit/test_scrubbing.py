"""Events without secrets: every part of them, what is noted, what stays, whatever lies in them."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.config import ConfigError, parse_config
from tasks_pipeline.config.scrubbing import Scrubbing
from tasks_pipeline.demo.traffic import wire_requests
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError, encode_json
from tasks_pipeline.protocol.encoding import decompress
from tasks_pipeline.protocol.envelope import EnvelopeError, parse_envelope
from tasks_pipeline.protocol.event import normalise_event
from tasks_pipeline.protocol.exact import decode_event
from tasks_pipeline.scrubbing.scrubber import Scrubber

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTEXT = ItemContext(1, NOW, event_id="a" * 32, remote_addr="203.0.113.77")
SCRUBBER = Scrubber(Scrubbing())
SECRET = "hunter2-X9"


def scrubbed(payload: dict[str, Any], scrubber: Scrubber = SCRUBBER) -> dict[str, Any]:
    """What is stored of an event as an SDK sends it."""
    sent = encode_json(payload)
    decoded = decode_event(sent, CONTEXT)
    event = normalise_event(decoded.payload, CONTEXT, decoded.exact)
    scrubber.scrub(event, sent, decoded.variables)
    stored: dict[str, Any] = json.loads(encode_json(event))
    return stored


def frame(**fields: Any) -> dict[str, Any]:
    return {"function": "pay", "filename": "shop/pay.py", "lineno": 1, **fields}


def error(*frames: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"values": [{"type": "E", "value": "failed", "stacktrace": {"frames": [*frames]}, **fields}]}


PLACES: dict[str, dict[str, Any]] = {
    "header": {"request": {"headers": {"Authorization": f"Digest {SECRET}"}}},
    "header pair": {"request": {"headers": [["X-Api-Key", SECRET]]}},
    "cookies": {"request": {"cookies": f"theme=dark; x={SECRET}"}},
    "query": {"request": {"query_string": f"a=1&token={SECRET}"}},
    "query of the url": {"request": {"url": f"https://shop.example/?token={SECRET}"}},
    "url": {"request": {"url": f"https://me:{SECRET}@shop.example/"}},
    "form": {"request": {"data": f"a=1&password={SECRET}"}},
    "json body": {"request": {"data": json.dumps({"a": {"password": SECRET}})}},
    "body": {"request": {"data": {"a": [{"password": SECRET}]}}},
    "env": {"request": {"env": {"SECRET_KEY": SECRET}}},
    "extra": {"extra": {"a": {"b": {"client_secret": SECRET}}}},
    "below a secret name": {"extra": {"credentials": {"a": [1, {"b": SECRET}]}}},
    "a pair": {"extra": {"headers": [["authorization", SECRET]]}},
    "contexts": {"contexts": {"app": {"api_key": SECRET}}},
    "tags": {"tags": {"auth.token": SECRET}},
    "user": {"user": {"id": "1", "password": SECRET}},
    "breadcrumb": {"breadcrumbs": [{"message": f"login password={SECRET}"}]},
    **{
        f"{name} of a breadcrumb": {"breadcrumbs": {"values": [{name: f"password={SECRET}"}]}}
        for name in ("category", "type", "origin")
    },
    "data of a breadcrumb": {"breadcrumbs": {"values": [{"data": {"password": SECRET}}]}},
    "url in a breadcrumb": {"breadcrumbs": [{"data": {"url": f"https://x.example/?api_key={SECRET}"}}]},
    "message": {"message": f"password={SECRET}"},
    "parameters": {"logentry": {"message": "login %s", "params": {"password": SECRET}}},
    "what parameters make": {"logentry": {"message": "%s: %s=%s", "params": ["x", "password", SECRET]}},
    "value of an exception": {"exception": error(value=f"no login for me, password={SECRET}")},
    "mechanism": {"exception": error(mechanism={"type": "x", "data": {"token": SECRET}})},
    "variables": {"exception": error(frame(vars={"user": "me", "password": f"'{SECRET}'"}))},
    "repr in variables": {"exception": error(frame(vars={"user": f"User(password='{SECRET}')"}))},
    "variables of a thread": {
        "threads": {"values": [{"id": 1, "stacktrace": {"frames": [frame(vars={"password": SECRET})]}}]}
    },
    "variables in a bare stack": {"stacktrace": {"frames": [frame(vars={"password": SECRET})]}},
    "url in source": {"exception": error(frame(context_line=f"connect('db://me:{SECRET}@host')"))},
    "transaction": {"transaction": f"/login?token={SECRET}"},
    "fingerprint": {"fingerprint": ["{{ default }}", f"token={SECRET}"]},
    "csp report": {"csp": {"document_uri": f"https://shop.example/?token={SECRET}"}},
    "what was invalid": {"user": {"id": "1"}, "level": f"password={SECRET}"},
    "value in a note": {"extra": {"a": 1}, "_meta": {"extra": {"a": {"": {"val": SECRET}}}}},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_goes_from_every_part_of_an_event(place: str) -> None:
    payload = {"platform": "python", **PLACES[place]}
    stored = scrubbed(payload)
    assert SECRET not in json.dumps(stored)
    if place != "value in a note":
        assert "[Filtered]" in json.dumps(stored)
        assert "filter" in json.dumps(stored["_meta"])
    again = json.loads(encode_json(stored))
    SCRUBBER.scrub(again)
    assert again == stored


def test_numbers_go_wherever_they_stand() -> None:
    stored = scrubbed(
        {
            "extra": {"n": 4111111111111111, "text": "4111 1111 1111 1111", "4111111111111111": 1},
            "tags": {"iban": "x", "account": "DE89370400440532013000"},
            "exception": error(frame(vars={"order": "{'card': 4111111111111111}"})),
        }
    )
    assert stored["extra"] == {"n": "[Filtered]", "text": "[Filtered]", "[Filtered]": 1}
    assert stored["tags"]["account"] == "[Filtered]"
    assert "4111" not in json.dumps(stored)


def test_names_of_cookies_and_headers_stay() -> None:
    request = {"cookies": "theme=dark; sid=abc123", "headers": {"Cookie": "a=b", "Accept": "*/*"}}
    assert scrubbed({"request": request})["request"] == {
        "cookies": [["theme", "[Filtered]"], ["sid", "[Filtered]"]],
        "headers": [["Cookie", "[Filtered]"], ["Accept", "*/*"]],
    }
    assert scrubbed({"extra": {"token": ["a1", "b2"]}})["extra"] == {"token": ["[Filtered]"] * 2}


def test_what_was_taken_out_is_noted_as_sdks_do() -> None:
    stored = scrubbed(
        {
            "message": "me password=hunter2 and Bearer ab12cd34",
            "extra": {"password": "hunter2", "n": {"password": 5}},
            "_meta": {"extra": {"x": {"": {"len": 3, "val": "abc"}}}},
        }
    )
    assert stored["logentry"] == {"formatted": "me password=[Filtered] and Bearer [Filtered]"}
    assert stored["_meta"] == {
        "logentry": {
            "formatted": {
                "": {
                    "rem": [["@password:filter", "s", 12, 22], ["@auth:filter", "s", 34, 44]],
                    "len": 39,
                }
            }
        },
        "extra": {
            "x": {"": {"len": 3}},
            "password": {"": {"rem": [["@password:filter", "s", 0, 10]], "len": 7}},
            "n": {"password": {"": {"rem": [["@password:filter", "s", 0, 10]]}}},
        },
    }


def test_notes_of_what_was_cut_move_with_the_text() -> None:
    text = "password=hunter2 " + "x" * 9000
    stored = scrubbed({"message": text})
    entry = stored["_meta"]["logentry"]["formatted"][""]
    formatted = stored["logentry"]["formatted"]
    (_, _, start, end), secret = entry["rem"]
    assert (formatted[start:end], entry["len"]) == ("...", len(text))
    assert formatted[secret[2] : secret[3]] == "[Filtered]"


def test_values_that_give_nothing_away_stay() -> None:
    values = {
        "password": None,
        "has_password": True,
        "token": "None",
        "api_key": "",
        "fetch_token": "<function fetch_token at 0x7fe9>",
        "session": "<sqlalchemy.orm.session.Session object at 0x7fe9e089d5d0>",
        "secret": "[Filtered]",
    }
    stored = scrubbed({"exception": error(frame(vars=values))})
    assert stored["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"] == values
    assert "_meta" not in stored


def test_source_code_stays() -> None:
    lines = ['password = form["password"]', "card = 4111111111111111", "token: str = 'abc'"]
    stored = scrubbed({"exception": error(frame(pre_context=lines, context_line="secret=1"))})
    assert stored["exception"]["values"][0]["stacktrace"]["frames"][0]["pre_context"] == lines


TOKEN = "ghp_" + "a1B2" * 9
CLEAN = error(frame(vars={"a": "1"}))


@pytest.mark.parametrize(
    "payload",
    [
        {"exception": error(frame(context_line=TOKEN, vars={"a": "1"}))},
        {"exception": error(frame(vars={"a": TOKEN}))},
        {"exception": error(frame(vars={"a": "1"}), frame(vars={"password": TOKEN}))},
        {"exception": CLEAN, "threads": {"values": [{"stacktrace": {"frames": [frame(vars={"a": TOKEN})]}}]}},
        {"exception": CLEAN, "stacktrace": {"frames": [frame(vars={"a": TOKEN})]}},
        {"exception": CLEAN, "stacktrace": {"frames": [frame(pre_context=[TOKEN])]}},
        {"exception": error(frame(vars={"a": "1"}), value=TOKEN)},
        {"exception": CLEAN, "breadcrumbs": {"values": [{"data": {"a": TOKEN}}]}},
        {"exception": CLEAN, "modules": {TOKEN: "1"}},
    ],
)
def test_a_secret_goes_wherever_it_stands_beside_what_is_clean(payload: dict[str, Any]) -> None:
    assert TOKEN not in json.dumps(scrubbed(copy.deepcopy(payload)))


def test_a_name_that_is_secret_in_a_project_is_so_in_breadcrumbs_too() -> None:
    own = Scrubber(Scrubbing(fields=("origin",)))
    stored = scrubbed({"breadcrumbs": {"values": [{"origin": "mine"}]}}, own)
    assert stored["breadcrumbs"]["values"] == [{"origin": "[Filtered]"}]


def test_an_event_without_secrets_is_left_alone() -> None:
    sent = encode_json(
        {"platform": "python", "exception": error(frame(vars={"a": "1"})), "extra": {"author": "me"}}
    )
    decoded = decode_event(sent, CONTEXT)
    event = normalise_event(decoded.payload, CONTEXT, decoded.exact)
    before = encode_json(event)
    SCRUBBER.scrub(event, sent, decoded.variables)
    assert encode_json(event) == before
    variables = event["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"]
    assert isinstance(variables, msgspec.Raw)  # not even decoded


def test_settings_of_a_project() -> None:
    payload = {
        "extra": {
            "customer_number": "K-17",
            "card_token": "4111111111111111",
            "password": "x",
            "note": "order-12",
        },
        "user": {"email": "jane@example.com", "ip_address": "203.0.113.77"},
        "request": {"env": {"REMOTE_ADDR": "203.0.113.77"}},
    }
    own = Scrubbing(
        fields=("customer_number",),
        safe_fields=("card_token",),
        patterns=(r"order-\d+",),
        ip_addresses="truncate",
        email_addresses="remove",
    )
    stored = scrubbed(payload, Scrubber(own))
    assert stored["extra"] == {
        "customer_number": "[Filtered]",
        "card_token": "4111111111111111",
        "password": "[Filtered]",
        "note": "[Filtered]",
    }
    assert stored["user"] == {"email": "[Filtered]", "ip_address": "203.0.113.0"}
    assert stored["request"]["env"] == {"REMOTE_ADDR": "203.0.113.0"}
    without = scrubbed(payload, Scrubber(Scrubbing(ip_addresses="remove")))
    assert without["user"] == {"email": "jane@example.com"}
    assert without["request"]["env"] == {"REMOTE_ADDR": "[Filtered]"}
    assert without["_meta"]["user"]["ip_address"] == {"": {"rem": [["@ip:filter", "x"]]}}
    only_own = scrubbed(payload, Scrubber(Scrubbing(defaults=False, fields=("customer_number",))))
    assert only_own["extra"]["password"] == "x"
    assert only_own["extra"]["customer_number"] == "[Filtered]"
    off = scrubbed(payload, Scrubber(Scrubbing(enabled=False, fields=("customer_number",))))
    assert off["extra"] == payload["extra"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("{patterns: ['(a']}", r"patterns[0]: not a usable regular expression: unclosed group"),
        ("{patterns: ['a*']}", "it matches the empty text"),
        ("{fields: ['--']}", "a name of one to three words"),
        ("{ip_addresses: some}", "Input should be 'keep', 'truncate' or 'remove'"),
        ("{colour: red}", "unknown field"),
    ],
)
def test_settings_that_cannot_be_used(section: str, expected: str) -> None:
    text = f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcd}}], scrubbing: {section}}}]"
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert expected in str(caught.value)


# Whatever lies in an event

NAMES = st.sampled_from(
    ["a", "password", "Token", "x y", "author", "", "é", "user", "apiKey", "values", "card"]
)
TEXTS = st.sampled_from(
    [
        "x",
        "",
        "None",
        "password",
        "token=1",
        '{"password": "x"}',
        "a b",
        "[Filtered]",
        "\n",
        'a"b',
        "é",
        "://",
    ]
)
DATA: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | TEXTS, inner, max_size=4),
    max_leaves=15,
)
FIELDS = st.sampled_from(
    "extra contexts tags user request breadcrumbs exception threads stacktrace logentry message transaction _meta errors"
    " fingerprint modules sdk csp debug_meta level template platform".split()
)


@settings(max_examples=200)
@given(st.dictionaries(FIELDS, DATA, max_size=6), st.booleans())
def test_any_event_is_scrubbed_once_and_for_all(payload: dict[str, Any], quick: bool) -> None:
    sent = encode_json(payload)
    try:
        decoded = decode_event(sent, CONTEXT)
        event = normalise_event(decoded.payload, CONTEXT, decoded.exact)
    except PayloadError:
        return
    before = encode_json(event)
    SCRUBBER.scrub(event, sent if quick else None, decoded.variables if quick else None)
    once = encode_json(event)
    again = json.loads(once)
    SCRUBBER.scrub(again)
    assert encode_json(again) == once
    if not SCRUBBER._dirty(json.loads(before), None):
        assert once == before or "_meta" in json.loads(before)


@settings(max_examples=200)
@given(DATA, st.sampled_from([*range(9)]))
def test_a_planted_secret_is_never_left(data: Any, form: int) -> None:
    forms: tuple[Any, ...] = (
        {"password": SECRET},
        f"password={SECRET}",
        {"x": [["Authorization", SECRET]]},
        "4111-1111-1111-1111",
        {"auth": {"a": [SECRET]}},
        f"https://me:{SECRET}@x.example",
        f"Bearer {SECRET}",
        f'{{"secret": "{SECRET}"}}',
        4111111111111111,
    )
    planted: Any = [data, forms[form]]
    for payload in (
        {"extra": {"d": planted}},
        {"exception": error(frame(vars={"d": planted}))},
        {"breadcrumbs": {"values": [{"data": {"d": planted}}]}},
    ):
        stored = json.dumps(scrubbed(payload))
        assert SECRET not in stored
        assert "4111-1111" not in stored
        assert "4111111111111111" not in stored


def test_deep_and_large_events_are_scrubbed_too() -> None:
    deep: Any = {"password": SECRET}
    for _ in range(90):
        deep = {"a": [deep]} if isinstance(deep, dict) and len(deep) == 2 else {"a": deep}
    assert SECRET not in json.dumps(scrubbed({"extra": {"d": deep}}))
    many = {f"password_{n}": SECRET for n in range(5000)}
    stored = scrubbed({"extra": many})
    assert SECRET not in json.dumps(stored)
    assert len(json.dumps(stored["_meta"])) < 200_000


def test_recorded_events_of_every_sdk_pass() -> None:
    seen = 0
    for request in wire_requests():
        if not request.accepted or "/envelope/" not in request.path:
            continue
        try:
            envelope = parse_envelope(
                decompress(request.body, request.headers.get("content-encoding", ""), 2**26), 200
            )
        except EnvelopeError:
            continue
        for item in envelope.items:
            if item.type != "event":
                continue
            decoded = decode_event(bytes(item.payload), CONTEXT)
            event = normalise_event(decoded.payload, CONTEXT, decoded.exact)
            SCRUBBER.scrub(event, bytes(item.payload), decoded.variables)
            seen += 1
            assert event["event_id"] == CONTEXT.event_id
    assert seen > 50

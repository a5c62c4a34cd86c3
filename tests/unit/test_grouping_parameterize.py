"""Messages without their variable parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.grouping import parameterize
from tasks_pipeline.grouping.messages import normalise_message
from tasks_pipeline.grouping.parameterize import LONGEST


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail to ann.lee+x@shop.example bounced", "mail to <email> bounced"),
        ("GET https://shop.example/cart?id=7, retry", "GET <url>, retry"),
        ("see http://a.example/b.", "see <url>."),
        ("no route to db-7.eu.example.com:5432", "no route to <hostname>:<int>"),
        ("Blocked 'font' from 'www.shop.co'", "Blocked 'font' from '<hostname>'"),
        ("10.0.0.7:80 refused [2001:db8::2:1] and ::1", "<ip>:<int> refused [<ip>] and <ip>"),
        ("trace 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "trace <traceparent>"),
        ("order 7c1811ed-e98f-4c9c-a9f9-58c757ff494f", "order <uuid>"),
        ("session_7c1811ed-e98f-4c9c-a9f9-58c757ff494f", "session_<uuid>"),
        ("da39a3ee5e6b4b0d3255bfef95601890afd80709 d41d8cd98f00b204e9800998ecf8427e", "<sha1> <md5>"),
        ("at 2026-11-22T10:11:12.123+02:00", "at <date>"),
        ("at Sun, 22 Nov 2026 10:11:12 GMT:", "at <date>:"),
        ("[22/Nov/2026:10:11:12 +0000]", "[<date>]"),
        ("since Jan 18, 2019 or 3:04 PM", "since <date> or <date>"),
        ("x=datetime.datetime(2026, 11, 22, tzinfo=datetime.timezone(datetime.timedelta(0)))", "x=<date>"),
        ("took 12ms, 1.5s, 1h2m3s", "took <duration>, <duration>, <duration>"),
        ("device 00:1b:44:11:3a:b7", "device <mac>"),
        ("object at 0x7fe9e0cdedd0>", "object at <hex>>"),
        ("commit 9f86d081", "commit <hex>"),
        ("ratio -0.5 of 2.5e-3 from 1e6", "ratio <float> of <float> from <float>"),
        ("range 3-5, offset -7, #42, 50%", "range <int>-<int>, offset <int>, #<int>, <int>%"),
        ("version 1.2.3", "version <int>.<int>.<int>"),
        ("name='O\\'Neil' flag=True", "name=<quoted_str> flag=<bool>"),
        ("#PID<0.991.3> {#Reference<0.2871.4.88>}", "#PID<<process>> {#Reference<<process>>}"),
        ("com.example.Cart@6d06d69c and [B@12345678", "com.example.Cart@<hex> and [B@<hex>"),
        ("version 10.0.19041.1234", "version <ip>"),
        ("pod cart-7d9f8b6c5d-x2x4z is gone", "pod cart-<id> is gone"),
        ("cannot open /tmp/tmpx8k2_a1z", "cannot open /tmp/<id>"),
    ],
)
def test_variable_parts_are_replaced(text: str, expected: str) -> None:
    assert parameterize(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "returned false",
        "1password python3 abc123 123abc user_123",
        "Foo::bar() A1::B2() dead::beef",
        "java.io.IOException in com.shop.example",
        "No module named requests.adapters",
        "b = 'open",
        "Blocked 'script' from 'wasm-eval:'",
        "deadbeef decade X509Certificate2Collection",
        "",
    ],
)
def test_words_are_left_alone(text: str) -> None:
    assert parameterize(text) == text


@pytest.mark.parametrize(
    "date",
    [
        "6. Nov. 1994", "06-NOV-1994", "06-NOV-94 08.49.37.000000 AM", "6 nov 1994", "NOV 6 1994", "November 6th, 1994",
        "Nov 6, 1994 8:49:37 AM", "Nov 6, 1994, 8:49:37 AM", "Sunday, November 6, 1994 8:49:37 AM", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun, Nov 6, 1994 at 8:49 AM", "Sun Nov  6 08:49:37 1994", "Sun, 6 Nov 1994 08:49:37 (GMT)", "Sun 06 Nov 1994 08:49:37 AM UTC",
        "1994-11-06 08:49:37.123 +0000 UTC m=+0.0001", "2006-01-02 15:04:05 -0700 MST", "06/Nov/1994:08:49:37 +0000", "1994-W45-7",
    ],
)  # fmt: skip
def test_dates_of_older_formats(date: str) -> None:
    assert parameterize(f"due {date}, not paid") == "due <date>, not paid"


_VALUES = {
    "int": st.integers(0, 10**12).map(str),
    "uuid": st.uuids().map(str),
    "ip": st.ip_addresses(v=4).map(str),
    "date": st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")),
    "hex": st.integers(0, 2**64).map(hex),
    "email": st.from_regex(r"[a-z]{1,8}\.[a-z]{1,8}@[a-z]{1,8}\.example", fullmatch=True),
}


@given(
    data=st.data(),
    kind=st.sampled_from(sorted(_VALUES)),
    words=st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True)),
)
def test_a_value_is_replaced_whole_and_its_words_stay(
    data: st.DataObject, kind: str, words: list[str]
) -> None:
    value = data.draw(_VALUES[kind])
    place = data.draw(st.integers(0, len(words)))
    text = [*words[:place], value, *words[place:]]
    expected = [*words[:place], f"<{kind}>", *words[place:]]
    assert parameterize(" ".join(text)) == " ".join(expected)


@given(st.text(max_size=200))
def test_any_text_is_survived_without_losing_its_letters(text: str) -> None:
    if not any(char in "0123456789@=:." for char in text):
        assert parameterize(text) == text
    else:
        assert bool(parameterize(text)) == bool(text)


@pytest.mark.parametrize(
    "unit",
    [
        "1-",
        "a.b-",
        ":1",
        "='",
        "datetime.datetime(",
        "@",
        "a@a.",
        "0a",
        "Jan 1 ",
        "http://",
        "1h",
        "\\",
        ".a",
        "0000:",
        "(1:",
        "1 Jan ",
        "<1.1",
        "1.1.1",
        "A@",
        "a-bcdfghjk2-",
    ],
)
def test_hostile_texts_end(unit: str) -> None:
    assert isinstance(parameterize((unit * LONGEST)[:LONGEST]), str)


def test_long_texts_are_left_alone() -> None:
    text = "order 17 " * 2_000
    assert parameterize(text) == text


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("first\n\nsecond\nthird", "first\nsecond..."),
        ("only one", "only one"),
        ("  only one \n", "only one"),
        ("order 17\nof 18", "order <int>\nof <int>"),
        (" \n ", ""),
    ],
)
def test_messages_count_with_their_first_two_lines(message: str, expected: str) -> None:
    assert normalise_message(message) == expected

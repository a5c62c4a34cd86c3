"""What is a person's is found however programs spell it, and nobody else is taken for them: by Python and by DuckDB alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.privacy.conditions import mentions
from tasks_pipeline.privacy.identity import Identity

USER, MAIL = "ÄRZTE|Müller-1", "o'brien+x@example.org"
WHO = [
    Identity.of([USER, "İrem Yılmaz", "иванов", 'O"Neil\\77'], [MAIL, "İrem@example.org"]),
    Identity.of(ips=["2001:0DB8:0:0::1", "2001:db8:1:2::", "::ffff:192.0.2.7"]),
]
THEIRS = [
    [
        USER, USER.lower(), USER.upper(), json.dumps(USER), json.dumps(json.dumps([USER])), "?u=%C3%84rzte%7Cm%C3%BCller-1&",
        "İrem Yılmaz", "q=%C4%B0rem+Y%C4%B1lmaz", json.dumps("İrem Yılmaz"), "Иванов, да", json.dumps({"\u201c": "иванов"}),
        json.dumps('O"Neil\\77'), json.dumps(json.dumps('O"Neil\\77')), f"<{MAIL}>", "m=o'brien%2Bx%40example.org", "m=o%27brien+x@example.org&",
        r"\u0022o\u0027brien\u002Bx@example.org\u0022", "o%2527brien%252Bx%2540example.org", "İrem@Example.org.", "m%3Dİrem%40example.org",
    ],
    [
        "2001:db8::1", "[2001:DB8::1]:443", "peer=2001:0db8:0000:0000:0000:0000:0000:0001,", "source:2001:db8:0:0:0:0:0:1", "2001:0db8::0001/64",
        "a 2001%3Adb8%3A%3A1", "2001:db8:1:2::", "from 192.0.2.7:80", "::ffff:192.0.2.7", "x ::ffff:c000:207",
    ],
]  # fmt: skip
OTHERS = [
    [
        "иванова", "тиванов", json.dumps("иванова"), "ÄRZTE|Müller-12", "ö" + MAIL, "b%2B" + MAIL, "obrien+x@example.org", MAIL + ".au", "irem Yilmazer",
        "O'Neil77", "ärzte|müller-1ß",
    ],
    [
        "2001:db8::1:5", "fe80:2001:db8::1", "2001:db8::11", "2001:db8:1:2::7", "2001:db8:1:2:0:0:0:7", "192.0.2.70", "192.0.2.7.1", "12001:db8::1",
    ],
]  # fmt: skip


@pytest.fixture(scope="module")
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        yield connection


@pytest.mark.parametrize(("person", "theirs", "others"), list(zip(WHO, THEIRS, OTHERS, strict=True)))
def test_each_spelling_is_theirs_and_others_are_not(
    person: Identity, theirs: list[str], others: list[str], lake: duckdb.DuckDBPyConnection
) -> None:
    texts = person.texts
    query = f"SELECT told FROM (SELECT unnest(?::VARCHAR[]) AS told) WHERE {mentions('told', person)}"
    assert [told for (told,) in lake.execute(query, [[*theirs, *others]]).fetchall()] == theirs
    assert [each for each in (*theirs, *others) if texts.are_in(each)] == theirs
    assert [
        each for each in (*theirs, *others) if texts.spans_in(b"\xff \xf0\x9f\x98\x80 " + each.encode())
    ] == theirs
    assert [each for each in theirs if texts.are_in(texts.removed_from(each))] == []


def test_places_in_bytes_are_those_of_the_text_wherever_pieces_end() -> None:
    texts, one = Texts.of([MAIL]), f"ä\xff{MAIL} ".encode()
    content = b"\xe4 " + one.replace("\xff".encode(), b"\xff ") * 40_000
    spans = texts.spans_in(content)
    assert len(spans) == 40_000
    assert {content[first:last] for first, last in spans} == {MAIL.encode()}

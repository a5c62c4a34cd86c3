"""Addresses in texts of facts: none is kept, however it is written; names of releases are, and no text takes long."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks_pipeline.facts.addresses import without_addresses
from tasks_pipeline.facts.record import checked_values
from tasks_pipeline.facts.types import LONGEST, Custom, ReleaseCreated

ODD = [
    "ANNA@ACME.EXAMPLE",
    "anna+tag@acme.example",
    "o'brien@acme.example",
    "!#$%&'*+-/=?^_`{|}~@acme.example",
    '"anna meyer"@acme.example',
    r'"a\\"b@c"@acme.example',
    'anna."van der m"@acme.example',
    "anna@acme.example.",
    "anna@acme.example2026",
    "anna@[203.0.113.7]",
    "anna@[IPv6:2001:db8::1]",
    "kim@163.com",
    "anna@müller.example",
    "anna@xn--mller-kva.example",
    "例@例え.テスト",
    "राम@डाटा.भारत",
    "anna@acme。example",
    "anna＠acme.example",
    "anna%40acme.example",
    "anna%2540acme%2Eexample",
    "%22anna%20meyer%22%40acme.example",
    "anna&#64;acme.example",
    "anna&#x40;acme.example",
    "anna&commat;acme.example",
    "mailto:anna@acme.example?subject=hello",
    "anna%40acme.example%2Cben%40acme.example",
    "ben@anna@acme.example",
]
RELEASES = [
    "shop@1.1.0",
    "@scope/pkg@1.0.0",
    "com.example.app@1.2+3",
    "web@1.0.rc",
    "web@2.beta.1",
    "web@v1.2",
    "web@1.x",
    "shop@1.0.0-feature.login",
    "shop@2026.11.30-fix.basket",
    "shop@main",
    "image@sha256:0a1b",
    "4f0066a",
]
PIECES = ("acme", "example", "müller", "203.0", "2001:", "例え", "डाटा", "163", "anna@", "anna%40")


@pytest.mark.parametrize("address", ODD)
@pytest.mark.parametrize("around", ["{}", "by {}, ben", "<{}>", "'{}'", "who={}&x=1"])
def test_no_address_is_kept_however_it_is_written(address: str, around: str) -> None:
    found = without_addresses(around.format(address))
    assert "(address)" in found
    assert [piece for piece in PIECES if piece in found.lower()] == []


@settings(max_examples=40)
@given(
    address=st.emails(),
    before=st.sampled_from(["", "by ", "<", "to:", "shop@1.1.0 ", '"']),
    encode=st.sampled_from([str, quote]),
)
def test_no_address_of_the_standard_is_kept(address: str, before: str, encode: Callable[[str], str]) -> None:
    domain = address.rpartition("@")[2]
    found = without_addresses(f"{before}{encode(address)} and more")
    assert re.search(rf"@{re.escape(domain)}", found) is None
    assert found.endswith("(address) and more")


@pytest.mark.parametrize("release", RELEASES)
def test_names_of_releases_are_no_addresses(release: str) -> None:
    for text in (release, f"built {release}, 100 % of it & more"):
        assert without_addresses(text) == text
    assert checked_values(ReleaseCreated(version=release, by="api"))["version"] == release


@pytest.mark.parametrize("text", ["anna at acme.example", "at home @ work", "@anna", "a@b", "50%", "&amp;"])
def test_what_only_looks_a_little_like_one_is_left(text: str) -> None:
    assert without_addresses(text) == text


def test_a_release_and_a_fact_of_ones_own_hold_none_and_none_is_cut_in_two() -> None:
    assert checked_values(ReleaseCreated(version="anna@acme.example", by="api"))["version"] == "(address)"
    for room in range(LONGEST - 20, LONGEST):
        text = f"{'x' * room} anna.meyer@acme.example"
        for attribute in ("release", "name"):
            (value,) = checked_values(Custom.made("custom.a", {attribute: text}, "once")).values()
            assert isinstance(value, str)
            assert len(value) <= LONGEST
            assert "anna" not in value


@pytest.mark.parametrize(
    "piece", ["a", "@", "a@", '"', 'a"', '"a"', "a.", "a@a.", "a@1.", "%25", "&#", '"\\', "a@b.cd ", "%40"]
)
def test_steps_grow_with_the_text_and_not_faster(piece: str) -> None:
    """A quadratic search of a text of this length would take minutes; `timeout` of the test run would end it."""
    without_addresses(piece * (100_000 // len(piece)))

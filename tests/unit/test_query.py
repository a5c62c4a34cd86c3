"""The query language: what is read as what, what is told of mistakes, and that nothing is too large."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.reading.keys import KEYS, STATUSES, Kind, key_of
from tasks_pipeline.reading.parse import (
    MOST_CHARACTERS,
    MOST_LEVELS,
    MOST_TERMS,
    QueryError,
    parse_query,
    unknown_keys,
)
from tasks_pipeline.reading.tree import EVERYTHING, All, Filter, Node, Some, Words, leaves, without, written

pytestmark = pytest.mark.filterwarnings("error")


def w(*value: str, negated: bool = False) -> Words:
    return Words(value, negated)


def f(key: str, *values: str, comparison: str = "", negated: bool = False) -> Filter:
    return Filter(key, tuple(tuple(v.split("*")) for v in values), comparison, negated)


READ: list[tuple[str, Node]] = [
    ("", EVERYTHING),
    ("  ", EVERYTHING),
    ("timeout", w("timeout")),
    ("average of", All((w("average"), w("of")))),
    ('"average of"', w("average of")),
    ("is:unresolved level:error", All((f("is", "unresolved"), f("level", "error")))),
    ("a OR b c", Some((w("a"), All((w("b"), w("c")))))),
    ("a AND b", All((w("a"), w("b")))),
    ("(a OR b) c", All((Some((w("a"), w("b"))), w("c")))),
    ("!is:resolved !timeout", All((f("is", "resolved", negated=True), w("timeout", negated=True)))),
    ("release:[shop@1, shop@2.*]", f("release", "shop@1", "shop@2.*")),
    ("release:>=shop@4.2", f("release", "shop@4.2", comparison=">=")),
    ("timesSeen:>100 age:-24h", All((f("timesSeen", "100", comparison=">"), f("age", "-24h")))),
    ("tags[a:b]:x", f("tags[a:b]", "x")),
    ("browser:Firefox*", f("browser", "Firefox*")),
    ('title:"a \\"b\\" c"', f("title", 'a "b" c')),
    (r"culprit:C:\Users\x", f("culprit", r"C:\Users\x")),
    (r"title:2\*3", Filter("title", (("2*3",),))),
    ("title:<lambda>", f("title", "<lambda>")),
    ("culprit:total(x)", f("culprit", "total(x)")),
    ("(culprit:total)", f("culprit", "total")),
    # What is pasted from a title is text.
    ("ValueError: bad", All((w("ValueError:"), w("bad")))),
    ("http://shop.example/", w("http://shop.example/")),
    ("std::bad_alloc", w("std::bad_alloc")),
    ("12:30", w("12:30")),
    ("ORDER ANDROID", All((w("ORDER"), w("ANDROID")))),
    # As other trackers call it.
    ("times_seen:3 issue.id:7", All((f("timesSeen", "3"), f("issue", "7")))),
    ("error.unhandled:true", f("handled", "true", negated=True)),
    ("assigned:#payments", f("assigned", "#payments")),
]


@pytest.mark.parametrize(("text", "tree"), READ, ids=[repr(text) for text, _ in READ])
def test_what_is_read_as_what(text: str, tree: Node) -> None:
    assert parse_query(text) == tree


MISTAKES = [
    ("is:solved", 3, "unresolved"),
    ("timesSeen:many", 10, "numbers"),
    ("a firstSeen:yesterday", 12, "-24h"),
    ("(a OR b", 0, "never closed"),
    ("a)", 1, "nothing was opened"),
    ("()", 0, "nothing between"),
    ("a OR", 2, "OR"),
    ("OR a", 0, "OR"),
    ("AND a", 0, "AND"),
    ("a AND OR b", 6, "AND"),
    ('title:"abc', 6, "never closed"),
    ('""', 0, "missing"),
    ("release:[a, b", 8, "never closed"),
    ("release:[a,,b]", 11, "missing"),
    ("!(a b)", 0, "!"),
    ("title:a*b*c*d*e*f", 6, "wildcards"),
    ("handled:perhaps", 8, "true"),
    ("timesSeen:>=", 12, "numbers"),
    ("timesSeen:" + "9" * 30, 10, "numbers"),
    ("firstSeen:>0001-01-01", 11, "times"),
    ("age:-999999w", 4, "times"),
    ("(" * (MOST_LEVELS + 1) + "a" + ")" * (MOST_LEVELS + 1), MOST_LEVELS, "deep"),
    ("a " * MOST_TERMS + "b", 2 * MOST_TERMS, "terms"),
    ("a" * (MOST_CHARACTERS + 1), MOST_CHARACTERS, "characters"),
    ("title:a\0b", 6, "NUL"),
]


@pytest.mark.parametrize(("text", "at", "said"), MISTAKES, ids=[repr(text[:30]) for text, _, _ in MISTAKES])
def test_mistakes_are_told_with_their_place(text: str, at: int, said: str) -> None:
    with pytest.raises(QueryError, match=said) as raised:
        parse_query(text)
    assert raised.value.at == at


def test_keys_that_are_none_are_tags_and_said_so() -> None:
    tree = parse_query("browser:x tags[os]:y level:error (browser:z OR shopp:1)")
    assert unknown_keys(leaves(tree)) == ["browser", "shopp"]
    assert key_of("tags[os]").lake == key_of("os").lake


def test_what_is_said_of_the_status_can_be_taken_out() -> None:
    tree = parse_query("is:unresolved a (is:resolved OR b)")
    left = without(tree, lambda leaf: isinstance(leaf, Filter) and leaf.key == "is")
    assert left == parse_query("a (is:resolved OR b)")


def test_the_document_names_every_key_and_state() -> None:
    text = (Path(__file__).parents[2] / "docs" / "queries.md").read_text()
    assert [name for name in KEYS if f"`{name}`" not in text] == []
    assert [name for name in STATUSES if not re.search(rf"\b{name}\b", text)] == []


# ── round trip

_SAMPLES = {
    Kind.NUMBER: ["0", "17"], Kind.TIME: ["2026-11-22", "2026-11-22T10:00:00Z"], Kind.STATUS: ["new", "ignored"],
    Kind.TRUTH: ["true", "0"],
}  # fmt: skip
_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
_patterns = st.lists(_texts | st.just(""), min_size=1, max_size=4).map(tuple).filter(any)


@st.composite
def _filters(draw: st.DrawFn) -> Filter:
    key = key_of(draw(st.sampled_from([*KEYS, "tags[a b]", "tags[x]", "browser"])))
    value: st.SearchStrategy[tuple[str, ...]]
    if key.kind in _SAMPLES:
        value = st.sampled_from(_SAMPLES[key.kind]).map(lambda text: (text,))
    elif key.kind in (Kind.TEXT, Kind.CONTAINED, Kind.RELEASE):
        value = _patterns
    else:
        value = _texts.map(lambda text: (text,))
    comparison = draw(st.sampled_from(["", "<", ">="])) if key.compares else ""
    name = key.name.replace(" ", "_")
    if comparison:
        plain = value.filter(lambda each: len(each) == 1)
        return Filter(name, (draw(plain),), comparison, draw(st.booleans()))
    return Filter(name, tuple(draw(st.lists(value, min_size=1, max_size=3))), "", draw(st.booleans()))


_leaves = _filters() | st.builds(Words, _patterns, st.booleans())
_trees = st.recursive(
    _leaves,
    lambda inner: (
        st.builds(lambda terms: All(tuple(terms)), st.lists(inner, min_size=2, max_size=3))
        | st.builds(lambda terms: Some(tuple(terms)), st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=12,
)


def read(text: str) -> Node | QueryError:
    try:
        return parse_query(text)
    except QueryError as error:
        return error


@given(_trees)
def test_what_is_written_is_read_as_the_same(tree: Node) -> None:
    found = read(text := written(tree))
    if isinstance(found, QueryError):
        assert "deep" in str(found) or "characters" in str(found), text
    else:
        assert found == tree


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.text('()"!:*\\[],<>= ORANDis', max_size=40)
)
def test_any_text_is_a_query_or_a_mistake_within_it(text: str) -> None:
    found = read(text)
    if isinstance(found, QueryError):
        assert 0 <= found.at <= len(text)
    else:
        assert read(written(found)) == found

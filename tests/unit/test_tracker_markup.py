"""Texts of strangers in issues and comments: nobody is mentioned, nothing is referred to, and the words are still there."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks_pipeline.trackers.markers import hidden, marker_in, without_marker
from tasks_pipeline.trackers.markup import ZERO_WIDTH, neutral, neutral_title
from tests.support.integration_cases import cases

MARKUPS = ("github", "gitlab", "redmine", "roundup", "jira_dc")
PIECES = st.sampled_from(
    "@ben @acme/backend ann@acme.example #12 acme/shop#3 GH-12 gh-7 SHOP-12 !12 &4 %7 $9 ~bug ^alert#1 0f1e2d3c4b 0f1e2d3 /close ` ``` "
    "~~~ \\ \\\\ [x](y) [x][1] [1]: ! [ ] ( ) { } {{macro}} [[wiki]] {code} [~ben] <!-- --> <img &#64;ben &amp; https://x.example/a "
    "https://github.com/acme/shop/issues/12 http://x_y/#12 www.x.example/@ben HTTPS://X.EXAMPLE/?a=@b r12 commit:abc h1. bq. issue12 "
    "tasks-pipeline:abc --- === # * | _ - + ? … é 😀 \u200b \u202e \r\n \n \t".split(" ")
) | st.sampled_from([" ", "\n", "\r\n", "\t", "\x00", "\u200b", "\u2066"])
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)
LIVE = {
    "github": r"@\w|#\d|(?<!\w)(?i:gh)-\d+(?!\w)|!\[|\]\(|\]\[|\]:|<[A-Za-z/!?]|&[#\w]|(?m:^[ \t]*(?:```|~~~|#))|(?<!\w)(?=\w*\d)(?=\w*[a-f])[0-9a-f]{7,40}(?!\w)",
    "gitlab": r"@\w|#\d|!\d|&\d|%\w|\$\d|~\w|\^alert|\]\(|<[A-Za-z/!?]|(?m:^[ \t]*(?:/\w|```|~~~|#))",
    "redmine": r"@\w|#\d|!\w|\[\[|\{\{|(?<!\w)r\d+(?!\w)|commit:\w|<[A-Za-z/!?]|(?m:^[ \t]*(?:h1\. |```|~~~|#))",
    "roundup": r"@\w|#\d|(?<!\w)issue\d",
    "jira_dc": r"(?<!\\)(?:\\\\)*[\[\]{}|*!]|(?m:^h1\.)",
}
"""By markup: what has an effect outside of code."""


def effects(text: str, markup: str) -> str | None:
    """The first of them, outside of code and of addresses that are links as a whole.

    A span of code begins at a backtick that has no odd number of backslashes before it.
    """
    if markup in ("github", "gitlab"):
        text = re.sub(r"(?<!\\)((?:\\\\)*)(`+)(?!`).*?(?<!`)\2(?!`)", r"\1·", text, flags=re.DOTALL)
        text = re.sub(
            r"(?<![^\s(])https?://[\w-]+(?:\.[\w-]+)+(?:/[\w./%=?+,-]*)?…?", "·", text, flags=re.ASCII
        )
    found = re.search(LIVE[markup], text)
    return found and found[0]


@cases("texts")
def test_a_case_of_a_hostile_text(case: dict[str, Any]) -> None:
    assert set(case) <= {"id", "text", "to", "must_not_match", "must_keep", "note"}
    for markup in case["to"]:
        made = neutral(case["text"], markup)
        assert [found for found in case["must_not_match"] if re.search(found, made)] == [], markup
        seen = made.replace(ZERO_WIDTH, "")
        assert [word for word in case["must_keep"] if word not in seen] == [], markup


@pytest.mark.parametrize("markup", MARKUPS)
@given(text=TEXTS)
@example(text="`https://x.example/#12`@ben`https://x.example/#1")
@example(text="\\`https://x.example/#12` @ben")
@example(text="``@ben``")
@example(text="\\\\`@ben`")
@example(text="\\`https://x.example @ben`")
@example(text="\\https://x.example/#12 `@ben`")
def test_nothing_of_a_text_has_an_effect(markup: str, text: str) -> None:
    made = neutral(text, markup)
    assert effects(made, markup) is None
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", made)
    assert "tasks-pipeline:" not in made


@pytest.mark.parametrize("markup", MARKUPS)
@given(text=TEXTS)
@example(text="https://x.example/a`")
def test_what_is_harmless_stays_as_it_is(markup: str, text: str) -> None:
    once = neutral(text, markup)
    assert neutral(once, markup) == once
    assert neutral_title(neutral_title(text, markup), markup) == neutral_title(text, markup)


@pytest.mark.parametrize("markup", MARKUPS)
@given(text=TEXTS)
def test_the_words_are_kept(markup: str, text: str) -> None:
    made = neutral(text, markup).replace(ZERO_WIDTH, "")
    assert re.sub(r"[^A-Za-z0-9]", "", made) == re.sub(r"[^A-Za-z0-9]", "", text)


@pytest.mark.parametrize("markup", MARKUPS)
@given(text=TEXTS, limit=st.integers(1, 60))
def test_a_text_is_cut_without_bringing_anything_about(markup: str, text: str, limit: int) -> None:
    made = neutral(text, markup, limit)
    assert len(made) <= limit
    assert effects(made, markup) is None
    assert neutral(made, markup, limit) == made
    assert len(neutral_title(text, markup, limit)) <= limit


def test_a_title_is_one_line_that_mentions_nobody() -> None:
    made = neutral_title("ValueError in @ann's\n/close `code` for #12\u202e SHOP-7", "github")
    assert made.replace(ZERO_WIDTH, "·") == "ValueError in @·ann's /close `code` for #·12 SHOP-·7"
    assert neutral_title("x" * 300, "github", 256) == "x" * 255 + "…"


def test_addresses_can_be_followed_unless_a_tracker_makes_a_reference_of_them() -> None:
    assert neutral("see https://wiki.acme.example/a/b.", "github") == "see https://wiki.acme.example/a/b."
    assert (
        neutral("(https://github.com/acme/shop/pull/3)", "github")
        == "(`https://github.com/acme/shop/pull/3`)"
    )


@pytest.mark.parametrize("markup", MARKUPS)
@pytest.mark.parametrize(
    "piece",
    [
        "@",
        "\\",
        "[",
        "`",
        " ",
        "=",
        "-",
        "A",
        "AB-",
        "\n",
        "   \n",
        "https://",
        "www.",
        "`https://x",
        "h1",
        "\\`",
    ],
)
def test_no_text_takes_long(piece: str, markup: str) -> None:
    """With expressions that look back and forth, a text of one character would take minutes."""
    text = piece * (30_000 // len(piece)) + "x"
    assert len(neutral(text, markup, 20_000)) <= 20_000
    assert marker_in(text) is None
    assert without_marker(f"{text}\n\n{hidden('K1')}") == text.rstrip()

"""Commits as clients send them: whatever comes is a list that can be stored, or a mistake that names its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.releases.sent_commits import (
    MAX_AUTHOR_EMAIL,
    MAX_PATH,
    MAX_SHA,
    BadCommits,
    SentCommit,
    read_commits,
    read_refs,
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("id", "repository", "message", "author_name", "author_email", "timestamp", "patch_set")
COMMITS = st.lists(
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=7)
    | st.fixed_dictionaries(
        {"id": st.sampled_from("abcdef")},
        optional={
            "timestamp": st.none() | st.datetimes().map(lambda at: f"{at.isoformat()}+05:30"),
            "patch_set": st.lists(
                st.fixed_dictionaries({"path": st.text(min_size=1, max_size=9), "type": st.characters()}),
                max_size=3,
            ),
        },
    ),
    max_size=8,
)


def read(how: Callable[[list[Any]], list[Any]], sent: list[Any]) -> tuple[list[Any], BadCommits | None]:
    """What was read, or the mistake."""
    try:
        return how(sent), None
    except BadCommits as error:
        return [], error


@given(COMMITS)
def test_whatever_comes_is_read_or_refused_with_its_place(sent: list[Any]) -> None:
    found, refused = read(read_commits, sent)
    if refused is not None:
        assert (refused.field, str(refused)[:8]) == ("commits", "commits[")
    assert len({commit.sha for commit in found}) == len(found)
    for commit in found:
        assert 0 < len(commit.sha) <= MAX_SHA
        assert len(commit.author_email or "") <= MAX_AUTHOR_EMAIL
        paths = [path for path, _ in commit.files or ()]
        assert paths == sorted(set(paths))
        assert all(0 < len(path) <= MAX_PATH for path in paths)
        assert {kind for _, kind in commit.files or ()} <= set("AMDT")
        text = "".join(str(value) for value in (commit.message, commit.author_name, *paths))
        assert "\0" not in text
        text.encode()
    moments = [commit.committed_at for commit in found if commit.committed_at]
    assert moments == sorted(moments, reverse=True)


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.data())
def test_commits_of_one_moment_stay_as_they_were_sent(shas: list[str], data: st.DataObject) -> None:
    times = data.draw(st.lists(st.sampled_from("12"), min_size=len(shas), max_size=len(shas)))
    sent = [
        {"id": sha, "timestamp": f"2026-11-20T0{hour}:00:00Z"} for sha, hour in zip(shas, times, strict=True)
    ]
    later = [sha for sha, hour in zip(shas, times, strict=True) if hour == "2"]
    assert [commit.sha for commit in read_commits(sent)] == later + [sha for sha in shas if sha not in later]


@given(
    st.lists(
        st.dictionaries(st.sampled_from(("repository", "commit", "previousCommit")), ANYTHING), max_size=4
    )
)
def test_refs_are_read_or_refused(sent: list[Any]) -> None:
    found, refused = read(read_refs, sent)
    if refused is not None:
        assert (refused.field, str(refused)[:5]) == ("refs", "refs[")
        return
    assert len({ref.repository for ref in found}) == len(sent)


def test_authors_are_known_by_their_mail_address() -> None:
    assert SentCommit("a", author_email="Jo@Example.COM", author_name="Jo").author_key == "jo@example.com"
    assert SentCommit("a", author_name="Jo").author_key == "Jo"
    assert SentCommit("a").author_key is None
    assert len(SentCommit("a", author_email="\u0130" * 200).author_key or "") == 200

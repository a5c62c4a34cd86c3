"""The lists of releases against a model: replaced as a whole, commits shared between them, nothing left behind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from tasks_pipeline.home import Home
from tasks_pipeline.releases.commit_lists import contents_of, previous_with_commits
from tasks_pipeline.releases.commits import set_commits, set_refs, shas_of
from tasks_pipeline.releases.known import delete_release, find_releases, save_release
from tasks_pipeline.releases.sent_commits import SentCommit
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.storage.state.database import StateDatabase

VERSIONS = ("v1", "v2", "v3")
LISTS = st.lists(st.sampled_from("abcdef"), unique=True, max_size=5)
STEPS = st.lists(st.tuples(st.sampled_from(VERSIONS), LISTS | st.none()), min_size=1, max_size=10)


@pytest.fixture
def state(any_home: Home) -> Iterator[StateDatabase]:
    state = StateDatabase(any_home)
    yield state
    state.close()


def commit(sha: str) -> SentCommit:
    files = tuple(sorted(((f"{sha}.py", "M"), ("all.py", "M"))))
    return SentCommit(sha, author_name=f"author of {sha}", files=files)


def put(state: StateDatabase, version: str, shas: list[str]) -> bool:
    with state.write() as connection:
        if not shas:
            return set_refs(state, connection, version, [])
        return set_commits(state, connection, version, [commit(sha) for sha in shas])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_lists_are_as_they_were_last_sent(
    state: StateDatabase, steps: list[tuple[str, list[str] | None]]
) -> None:
    project, names = uuid.uuid4().int >> 66, {v: uuid.uuid4().hex for v in VERSIONS}
    with state.write() as connection:
        for table in (t.release_commits, t.release_heads, t.commit_files, t.commits, t.commit_authors):
            connection.execute(delete(table))
    model: dict[str, list[str]] = {}
    for version, shas in steps:
        if shas is None:
            delete_release(state, [project], names[version])
            model.pop(version, None)
            continue
        save_release(state, [project], names[version], {})
        assert put(state, names[version], shas) == (model.get(version, []) != shas)
        assert put(state, names[version], shas) is False, "the same again"
        model[version] = shas
    known = {sha for shas in model.values() for sha in shas}
    with state.read() as connection:
        for version, shas in model.items():
            assert shas_of(connection, names[version]) == shas
            made_of = contents_of(connection, names[version])
            assert (made_of.commits, made_of.files) == (len(shas), len(shas) + bool(shas))
            (row,) = find_releases(connection, [project], names[version])
            assert row["commit_count"] == len(shas)
            previous = previous_with_commits(connection, [project], names[version])
            assert previous is None or previous != names[version]
        assert {*connection.execute(select(t.commits.c.sha)).scalars()} == known
        assert {*connection.execute(select(t.commit_files.c.sha)).scalars()} == known
        assert len(connection.execute(select(t.commit_authors)).all()) == len(known)


def test_lists_that_are_sent_at_once(state: StateDatabase) -> None:
    """They share commits, in different orders; one of the releases goes while it is written."""
    for version in VERSIONS:
        save_release(state, [1], version, {})
    shas = [f"{n:03}" for n in range(120)]

    def work(number: int) -> Any:
        version = VERSIONS[number % 3]
        if number == 7:
            return delete_release(state, [1], version)
        ordered = shas[number:] + shas[:number]
        return put(state, version, ordered[::-1] if number % 2 else ordered)

    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            list(pool.map(work, range(12)))
    with state.read() as connection:
        assert {len(shas_of(connection, version)) for version in VERSIONS} <= {0, len(shas)}

"""The search of releases."""

from __future__ import annotations

from sqlalchemy import and_, select

from tasks_pipeline.storage.state.tables import releases
from tasks_pipeline.web_api.release_search import search


def test_what_is_said_twice_is_asked_once() -> None:
    conditions = search("release.stage:adopted " * 10, ["a", "b"] * 10, list)
    assert len(conditions) == 2
    query = select(releases.c.version).where(and_(*(condition(releases.c) for condition in conditions)))
    asked = [value for value in query.compile().params.values() if isinstance(value, list)]
    # The stage once, and what a release was seen in by deploys, sessions and stages.
    assert asked == [["a", "b"]] * 4

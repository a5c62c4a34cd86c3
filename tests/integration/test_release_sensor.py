"""new_release_sensor and its run in a real Dagster instance, and what the nudge wants started."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANE_TAG
from tasks_pipeline.nudging.wanted import SHIPPING, wanted
from tasks_pipeline.releases.commits import set_commits
from tasks_pipeline.releases.known import Heard, find_releases, note_releases, save_release
from tasks_pipeline.releases.sent_commits import SentCommit
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.new_release import new_release_sensor
from tasks_pipeline.shipping import loop
from tasks_pipeline.shipping.loop import ship_releases
from tasks_pipeline.storage.state.passed_over import passed_over
from tasks_pipeline.stores import Stores, open_stores

V = "shop@1.0.0"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(home: Home, instance: dg.DagsterInstance) -> Any:
    resources = {"stores": StoresResource(home=str(home.root))}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        return new_release_sensor(context)


def nudged(stores: Stores) -> list[str]:
    questions = wanted(stores.state, stores.spool, stores.config, datetime.now(UTC), by_the_clock=False)
    return [start.key for question in questions for start in question()]


def test_the_sensor_asks_for_one_run_that_does_all_that_waits(
    home: Home, instance: dg.DagsterInstance
) -> None:
    with open_stores(home) as stores:
        assert nudged(stores) == []
        skipped = tick(home, instance)
        assert isinstance(skipped, dg.SkipReason)
        assert skipped.skip_message == "nothing waits"
        save_release(stores.state, [1], V, {})
        with stores.state.write() as connection:
            set_commits(stores.state, connection, V, [SentCommit("a"), SentCommit("b")])
        assert nudged(stores) == [SHIPPING.key]
        (request,) = tick(home, instance).run_requests
        assert (request.tags[LANE_TAG], request.run_config) == ("releases", dict(SHIPPING.config))
        job = build_defs({"stores": StoresResource(home=str(home.root))}).resolve_job_def("process_releases")
        at_hand = {"ops": {"releases": {"config": {"linger_seconds": 0}}}}
        result = job.execute_in_process(instance=instance, run_config=at_hand)
        (made,) = result.asset_materializations_for_node("releases")
        figures = {name: value.value for name, value in made.metadata.items()}
        assert (figures["new_releases"], figures["commits_linked"], figures["mails_planned"]) == (1, 4, 0)
        assert nudged(stores) == []
        assert isinstance(tick(home, instance), dg.SkipReason)


def test_a_run_under_way_is_left_to_do_it(home: Home, instance: dg.DagsterInstance) -> None:
    with open_stores(home) as stores:
        save_release(stores.state, [1], V, {})
    job = build_defs({"stores": StoresResource(home=str(home.root))}).resolve_job_def("process_releases")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    skipped = tick(home, instance)
    assert "what waits: new releases; run " in skipped.skip_message


def test_a_release_that_raises_costs_itself(own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [f"shop@1.0.{n}" for n in range(3)]
    with own.state.write() as connection:
        note_releases(own.state, connection, 1, {v: Heard(datetime.now(UTC)) for v in versions})
        for version in versions:
            set_commits(own.state, connection, version, [SentCommit("a")])
    real = loop.process_new_release

    def failing(stores: Stores, project_id: int, version: str) -> Any:
        if version == versions[1]:
            raise ValueError("a name that nothing can be made of")
        return real(stores, project_id, version)

    monkeypatch.setattr(loop, "process_new_release", failing)
    report = ship_releases(own, linger_seconds=0)
    assert (report.new_releases, report.passed_over) == (3, 1)
    with own.state.read() as connection:
        assert [row["commit_count"] for v in versions for row in find_releases(connection, [1], v)] == [
            1,
            1,
            1,
        ]
        assert all(row["processed_at"] for v in versions for row in find_releases(connection, [1], v))
        (told,) = passed_over(connection, datetime.now(UTC))
    assert (told["kind"], "shop@1.0.1" in told["detail"]) == ("releases", True)

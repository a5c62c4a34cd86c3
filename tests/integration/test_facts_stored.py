"""Facts on their way to the lake: each once whoever dies, bad ones alone, few files; what Dagster and commands show of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from tasks_pipeline import schedules
from tasks_pipeline.analytics import process_analytics_event as processing
from tasks_pipeline.analytics.facts_stored import newest_facts, prove_facts
from tasks_pipeline.analytics.process_analytics_event import BadFact, store_facts
from tasks_pipeline.analytics.process_analytics_event import process_analytics_event as process
from tasks_pipeline.cli import main
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.facts.outbox import take_batch, waiting_facts
from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import FeedbackReceived, GroupCreated
from tasks_pipeline.home import Home
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.lake.compaction import MOST
from tasks_pipeline.storage.state.tables import analytics_dead, analytics_outbox, day_changes
from tasks_pipeline.stores import Stores, open_stores
from tests.support.crash import FACTS_MOMENTS, run_in_process, store_facts_and_die
from tests.support.day import damage

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = NOW.date()
TABLE = "analytics_events"


def happen(stores: Stores, *groups: int, at: datetime = NOW, project: int = 1) -> None:
    """Some groups are created, in a transaction each."""
    for group in groups:
        with stores.state.write() as connection:
            record(
                stores.state, connection, GroupCreated(group=group, level="error"), at=at, project_id=project
            )


def stored(stores: Stores) -> list[int]:
    """The groups whose creation is in the lake, as often as it is there."""
    rows = stores.lake.query(f"SELECT (data->>'group')::BIGINT AS g FROM lake.{TABLE} ORDER BY g")
    return [row["g"] for row in rows]


def changed(stores: Stores) -> dict[date, int]:
    with stores.state.read() as connection:
        rows = connection.execute(select(day_changes).where(day_changes.c.reason == "facts"))
        return {row.day: row.changes for row in rows}


def test_facts_reach_the_lake_once_with_their_days_noted(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "BATCH_ROWS", 2)
    happen(own, 1, 2, 3)
    happen(own, 4, at=NOW - timedelta(days=1))
    report = store_facts(own, NOW)
    assert (report.stored, report.batches, report.dead) == (4, 2, 0)
    happen(own, 1, 2, 3, 4)  # again: nothing
    assert store_facts(own, NOW).batches == 0
    assert stored(own) == [1, 2, 3, 4]
    assert changed(own) == {DAY: 2, DAY - timedelta(days=1): 1}
    (row,) = own.lake.query(f"SELECT * FROM lake.{TABLE} WHERE data->>'group' = '4'")
    assert row["day"] == DAY - timedelta(days=1)
    assert row["at"] == NOW - timedelta(days=1)
    assert (row["type"], row["project_id"], row["actor_kind"], row["source"]) == (
        "group.created",
        1,
        "system",
        "cli",
    )
    with own.state.read() as connection:
        assert waiting_facts(connection).count == 0
        left = connection.execute(select(analytics_outbox.c.data)).scalars().all()
    assert left == [None] * 4
    for day in (DAY, DAY - timedelta(days=1)):
        proof = prove_facts(own.state, own.lake, day)
        assert proof.sent
        assert not proof.differing


def test_a_row_that_becomes_visible_late_is_of_another_batch(own: Stores) -> None:
    """On Postgres numbers are given before transactions end: a smaller one may come after a larger one was stored."""
    happen(own, 1, 2, 3)
    with own.state.write() as connection:
        late = connection.execute(select(analytics_outbox).order_by(analytics_outbox.c.id)).mappings().first()
        assert late is not None
        connection.execute(analytics_outbox.delete().where(analytics_outbox.c.id == late["id"]))
    taken = take_batch(own.state, 10)  # whoever took it is gone
    assert taken is not None
    with own.state.write() as connection:
        connection.execute(analytics_outbox.insert().values(**late))
    store_facts(own, NOW)
    assert stored(own) == [1, 2, 3]
    assert not prove_facts(own.state, own.lake, DAY).differing


def test_a_row_that_is_no_fact_is_dead_alone(own: Stores) -> None:
    happen(own, 1, 2, 3)
    o = analytics_outbox
    with own.state.write() as connection:
        ids = list(connection.execute(select(o.c.id).order_by(o.c.id)).scalars())
        connection.execute(update(o).where(o.c.id == ids[0]).values(type="no.such"))
        connection.execute(update(o).where(o.c.id == ids[1]).values(data={"group": [1]}))
    report = store_facts(own, NOW)
    assert (report.stored, report.dead) == (1, 2)
    with own.state.read() as connection:
        errors = list(
            connection.execute(select(analytics_dead.c.error).order_by(analytics_dead.c.id)).scalars()
        )
    assert "no.such" in errors[0]
    assert "group" in errors[1]
    assert not prove_facts(own.state, own.lake, DAY).differing
    assert store_facts(own, NOW).batches == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "no.such"},
        {"version": 99},
        {"data": None},
        {"data": {"a": "x" * 201}},
        {"data": {str(n): n for n in range(60)}},
    ],
)
def test_process_analytics_event_refuses_what_is_no_fact(wrong: dict[str, Any]) -> None:
    row = {
        "fact": bytes(16), "type": "group.created", "version": 1, "at": NOW, "project_id": 1, "actor_kind": "system",
        "actor": "", "source": "drain", "run_id": None, "data": {"group": 1},
    }  # fmt: skip
    assert process(row)["data"] == '{"group":1}'
    with pytest.raises(BadFact):
        process(row | wrong)


def test_files_of_a_day_stay_few(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing, "BATCH_ROWS", 1)
    with open_stores(home) as stores:
        happen(stores, *range(70))
        store_facts(stores, NOW)
        store_facts(stores, NOW)
        assert stored(stores) == list(range(70))
        assert len([f for f in stores.lake.live_files() if f.table == TABLE]) <= MOST


def test_the_proof_finds_what_is_missing_and_what_is_there_twice(home: Home) -> None:
    with open_stores(home) as stores:
        happen(stores, 1, 2)
        store_facts(stores, NOW)
        damage(stores, f"INSERT INTO stored.{TABLE} SELECT * FROM stored.{TABLE} WHERE data->>'group' = '1'")
        assert prove_facts(stores.state, stores.lake, DAY).doubled == 1
        damage(stores, f"DELETE FROM stored.{TABLE} WHERE data->>'group' = '1'")
        assert len(prove_facts(stores.state, stores.lake, DAY).differing) == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", FACTS_MOMENTS)
def test_killed_at_any_step_each_fact_is_stored_once(any_home: Home, moment: str) -> None:
    with open_stores(any_home) as stores:
        happen(stores, 1, 2, 3, 4, 5)
    assert run_in_process(store_facts_and_die, any_home, moment) == -signal.SIGKILL
    with open_stores(any_home) as stores:
        happen(stores, 5, 6)
        store_facts(stores, NOW)
        assert stored(stores) == [1, 2, 3, 4, 5, 6]
        assert not prove_facts(stores.state, stores.lake, DAY).differing


# ── Dagster


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def test_the_asset_tells_of_its_days_and_the_schedule_of_what_waits(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "MANY_FACTS", 3)
    resource = StoresResource(home=str(home.root))
    today = datetime.now(UTC).date()
    defs = build_defs({"stores": resource}, first_day=today)
    repository = defs.get_repository_def()

    def tick() -> dg.ScheduleExecutionData:
        with dg.build_schedule_context(
            instance,
            scheduled_execution_time=datetime.now(UTC),
            repository_def=repository,
            resources={"stores": resource},
        ) as context:
            return repository.get_schedule_def("process_analytics_schedule").evaluate_tick(context)

    assert tick().skip_message == "all facts are in the lake"
    with open_stores(home) as stores:
        happen(stores, 1, 2, at=datetime.now(UTC))
    assert tick().skip_message.startswith("2 facts wait for the next figures, or until ")  # type: ignore[union-attr]
    with open_stores(home) as stores:
        happen(stores, 3, at=datetime.now(UTC) - timedelta(days=1))
    (request,) = tick().run_requests or ()
    job = defs.resolve_job_def("process_analytics")
    result = job.execute_in_process(instance=instance, tags=dict(request.tags))
    assert result.success
    events = instance.fetch_materializations(dg.AssetKey(TABLE), limit=10).records
    found = {record.partition_key: record.asset_materialization.metadata for record in events}  # type: ignore[union-attr]
    assert {key: m["dagster/partition_row_count"].value for key, m in found.items()} == {
        str(today): 2,
        str(today - timedelta(days=1)): 1,
    }
    checks = result.get_asset_check_evaluations()
    assert [(c.check_name, c.passed) for c in checks] == [("facts_stored_once", True)]
    assert tick().skip_message == "all facts are in the lake"
    by_hand = job.execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": str(today - timedelta(days=1)),
            "dagster/asset_partition_range_end": str(today),
        },
    )
    assert by_hand.success


def test_facts_know_the_run_and_what_started_it(home: Home, instance: dg.DagsterInstance) -> None:
    @dg.op
    def work(stores: StoresResource) -> None:
        with stores.open() as opened, opened.state.write() as connection:
            record(opened.state, connection, FeedbackReceived(feedback="f" * 32), at=NOW)

    @dg.job(resource_defs={"stores": StoresResource(home=str(home.root))})
    def some_job() -> None:
        work()

    result = some_job.execute_in_process(instance=instance, tags={"dagster/schedule_name": "a_schedule"})
    with StoresResource(home=str(home.root)).open() as opened:
        with opened.state.write() as connection:
            record(opened.state, connection, FeedbackReceived(feedback="e" * 32), at=NOW)
        rows = newest_facts(opened.state, opened.lake, since=NOW - timedelta(days=1), limit=10)
    assert {(row["source"], row["run_id"]) for row in rows} == {("schedule", result.run_id), ("sensor", None)}


# ── commands


def test_commands_list_facts_and_record_ones_own(home: Home) -> None:
    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["--home", str(home.root), *words])
        assert result.exit_code == code, result.output
        return result.output

    project = "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
    home.config_path.write_text(project)
    with open_stores(home) as stores:
        happen(stores, 1, at=datetime.now(UTC) - timedelta(hours=1))
        store_facts(stores)
        happen(stores, 2, at=datetime.now(UTC))
    assert "are off" in run("analytics", "record", "custom.spring", "name=1", code=1)
    home.config_path.write_text(project + "analytics: {custom: true}\n")
    for words in (("custom.Spring",), ("spring",), ("custom.spring", "=1"), ("custom.spring", "Name=1")):
        run("analytics", "record", *words, code=2 if "=1" in words else 1)
    assert "201 characters" in run("analytics", "record", "custom.spring", f"name={'x' * 201}", code=2)
    for number in ("1" * 19, f"0.{'1' * 19}"):
        assert "more than 18 digits" in run("analytics", "record", "custom.spring", f"n={number}", code=2)
    wanted = (
        "custom.spring",
        "mail=anna@acme.example",
        "visitors=1200",
        "share=0.5",
        "on=true",
        "--project",
        "shop",
    )
    run("analytics", "record", *wanted, "--once", "x")
    assert "before" in run("analytics", "record", *wanted, "--once", "x")
    listed = msgspec.json.decode(run("analytics", "events", "--json"))
    ours = [row for row in listed if row["type"] == "custom.spring"]
    assert [row["data"] for row in ours] == [
        {"mail": "(address)", "visitors": 1200, "share": 0.5, "on": True}
    ]
    assert [row["data"]["group"] for row in listed if row["type"] == "group.created"] == [2, 1]
    used = [
        (row["data"]["command"], row["data"]["status"]) for row in listed if row["type"] == "command.used"
    ]
    assert used.count(("analytics record", 0)) == 2
    assert ("analytics record", 1) in used
    assert {
        row["type"]
        for row in msgspec.json.decode(
            run("analytics", "events", "--type", "group.created", "--project", "shop", "--json")
        )
    } == {"group.created"}
    run("analytics", "events", "--type", "no.such", code=2)
    assert "group.resolved" in run("analytics", "types", "group.")

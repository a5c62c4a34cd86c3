"""The asset of what is deleted on purpose: deletions that wait are finished, and days of which rows went say why. Numbers only, never whose."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.assets.maintenance import GROUP, NIGHTLY, TAGS, DropConfig
from tasks_pipeline.assets.metadata import COMPUTED
from tasks_pipeline.deletion.run import KINDS as DELETIONS
from tasks_pipeline.erasure.certificate import certificates
from tasks_pipeline.erasure.finish import finish_open
from tasks_pipeline.privacy.delete import KINDS as PERSONS
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.state.erasures import open_since
from tasks_pipeline.storage.state.removals import RemovedRows, removed_on_purpose
from tasks_pipeline.stores import Stores

NAME = "deletions"
MOST_SHOWN, MOST_DAYS = 200, 1_000


@dg.asset(
    name=NAME,
    group_name=GROUP,
    deps=["cleanup_old_events"],
    kinds={"ducklake", "sql", "cleanup"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="What was deleted on purpose: persons, groups, releases and projects, with their certificates (`deleted_on_purpose`), and "
    "what is asked for and not done. Those that wait are finished. Days of which rows went since are observed with the reason.",
)
def finish_deletions(
    context: dg.AssetExecutionContext, config: DropConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Finish deletions that wait, and tell of all that are done."""
    before = context.instance.get_latest_materialization_event(context.asset_key)
    since = datetime.fromtimestamp(0 if before is None else before.timestamp, UTC)
    with stores.open() as opened:
        if not config.dry_run:
            for done in finish_open(opened, {**PERSONS, **DELETIONS}):
                context.log.info(f"deletion {done.certificate['id']} is finished: {done.path}")
        with opened.state.read() as connection:
            gone = removed_on_purpose(connection, since, MOST_DAYS)
        figures = _figures(opened)
    for observation in _observations(gone):
        context.log_event(observation)
    return dg.MaterializeResult(metadata={**figures, "days_told": len({each.day for each in gone})})


def _observations(gone: list[RemovedRows]) -> Iterator[dg.AssetObservation]:
    """Of each partition of which rows went: how many, and why."""
    for each in gone:
        if each.table in COMPUTED:
            yield dg.AssetObservation(
                each.table,
                partition=each.day.isoformat(),
                metadata={"removed": each.rows, "why rows are missing": each.why},
            )


def _figures(stores: Stores) -> dict[str, Any]:
    """What was deleted on purpose, as the certificates say: when, what kind of, how much; not whose. And what is asked for and not done."""
    found = certificates(stores.home)
    with stores.state.read() as connection:
        still_open = len(open_since(connection))
    names = ("done", "of", "rows", "certificate")
    rows = [
        dg.TableRecord(
            {
                "done": each["done_at"][:19],
                "of": ", ".join(each["identifiers"]),
                "rows": sum(place["rows"] for place in each["erased"]),
                "certificate": each["id"],
            }
        )
        for each in found[:MOST_SHOWN]
    ]
    columns = [dg.TableColumn(name, "int" if name == "rows" else "string") for name in names]
    return {
        "deletions": len(found),
        "deletions_open": still_open,
        "deleted_on_purpose": dg.MetadataValue.table(rows, schema=dg.TableSchema(columns=columns)),
    }

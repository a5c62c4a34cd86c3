"""What tests of backups share: an installation with something of everything, all that is in one, and processes that die."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tasks_pipeline.backup import create, restore
from tasks_pipeline.backup.create import create_backup
from tasks_pipeline.backup.restore import restore_backup
from tasks_pipeline.backup.target import Target
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.spool.interface import Spool, Spooled
from tasks_pipeline.storage.state.tables import metadata
from tasks_pipeline.stores import Stores, open_stores
from tests.support.crash import Moment, at, die
from tests.support.day import Day, damage
from tests.support.events import event, item

CREATE_MOMENTS = {
    "files stored": Moment(create, "moment_of", after=False),
    "files of the lake not stored": Moment(create._Copy, "_lake_files", after=False),
    "not published": Moment(Target, "publish", after=False),
    "published": Moment(Target, "publish"),
    "one withdrawn": Moment(Target, "withdraw"),
    "swept": Moment(Target, "sweep"),
}
RESTORE_MOMENTS = {
    "marked": Moment(restore, "mark"),
    "a file of the lake": Moment(restore, "_write"),
    "lake made": Moment(restore, "remake_lake"),
    "rows, not committed": Moment(restore.tables, "fill"),
}


def fill(stores: Stores, day: Day) -> list[str]:
    """Events in files, one of them deleted since, and one that waits. Gives the ids of all that are there."""
    sent = []
    for number in range(2):
        sent += day.send(event("A", user={"id": str(number)}), event("B"))
        day.spool(
            day.receipt(core := event("C"), item("attachment", f"core {number}".encode(), filename="core"))
        )
        sent.append(core["event_id"])
        day.drain()
    damage(stores, "DELETE FROM stored.events WHERE event_id = ?", [sent.pop(1)])
    return [*sent, *day.send(event("D"))]


def envelopes(spool: Spool, day: date, part: str) -> Iterator[Spooled]:
    """All envelopes of a part."""
    after = 0
    while found := spool.read(day, part, after):
        yield from found
        after = found[-1].position


def everything(stores: Stores) -> dict[str, Any]:
    """All rows and blobs of an installation."""
    spool, lake = stores.spool, stores.lake
    with stores.state.read() as connection:
        state = {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in metadata.sorted_tables
        }
    return {
        "state": state,
        "lake": {
            name: sorted(
                map(repr, lake.query(f"SELECT * FROM lake.{name}", payloads=name == "event_payloads"))
            )
            for name in LAKE_TABLES
        },
        "spool": [
            spooled
            for day in spool.days()
            for part in sorted(spool.totals(day))
            for spooled in envelopes(spool, day, part)
        ],
        "totals": [(day, spool.totals(day)) for day in spool.days()],
        "blobs": {digest: stores.blobs.get(digest) for digest in stores.blobs.digests()},
    }


def create_and_die(home: Home, to: Path, moment: str) -> None:
    """Make a backup, keep one, and die at the moment."""
    with open_stores(home) as stores, at(CREATE_MOMENTS[moment], die):
        create_backup(stores, str(to), keep=1)


def restore_and_die(home: Home, to: Path, moment: str) -> None:
    """Restore the newest backup and die at the moment."""
    with at(RESTORE_MOMENTS[moment], die):
        restore_backup(home, Target(str(to)))

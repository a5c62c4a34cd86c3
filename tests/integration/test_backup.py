"""Backups: what was taken while events came is back row by row on either engine, and goes on; damage is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tasks_pipeline.backup.create import create_backup
from tasks_pipeline.backup.restore import restore_backup
from tasks_pipeline.backup.target import Target
from tasks_pipeline.backup.verify import verify_backup
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.tables import metadata
from tasks_pipeline.stores import Stores, open_stores
from tests.support.day import Day
from tests.support.events import event, item

PROJECT, DAY = 1000, date(2020, 1, 1)


def busy(stores: Stores) -> Day:
    """Events in files, with some deleted; in the tail; and one that waits."""
    day = Day(stores, DAY, PROJECT)
    from tasks_pipeline.storage.lake.flush import flush
    for n in range(3):
        day.send(event("A", user={"id": str(n)}), event("B"))
        day.spool(day.receipt(event("C"), item("attachment", b"core dump", filename="core")))
        day.drain()
        if n < 2:
            flush(stores.state, stores.lake)
    with stores.lake.lock():
        stores.lake._stored.execute("DELETE FROM stored.events WHERE position = 2")
    day.send(event("D"))
    return day


def state_rows(stores: Stores) -> dict[str, list[Any]]:
    with stores.state.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in metadata.sorted_tables
        }


def lake_rows(stores: Stores) -> dict[str, list[str]]:
    return {
        name: sorted(map(repr, stores.lake.query(f"SELECT * FROM lake.{name}", payloads=name == "event_payloads")))
        for name in LAKE_TABLES
    }


def spool_rows(stores: Stores) -> list[Any]:
    spool = stores.spool
    return [
        spooled
        for day in spool.days()
        for part in sorted(spool.totals(day))
        for spooled in spool.read(day, part, 0)
    ]


def everything(stores: Stores) -> dict[str, Any]:
    return {
        "state": state_rows(stores), "lake": lake_rows(stores), "spool": spool_rows(stores),
        "totals": [(day, stores.spool.totals(day)) for day in stores.spool.days()],
        "blobs": {digest: stores.blobs.get(digest) for digest in stores.blobs.digests()},
    }


def test_x(home: Home, tmp_path: Path) -> None:
    with open_stores(home) as stores:
        busy(stores)
        before = everything(stores)
        report = create_backup(stores, str(tmp_path / "to"))
        print(report)
    target = Target(str(tmp_path / "to"))
    v = verify_backup(target)
    print(v)
    assert v.ok
    again = Home(root=tmp_path / "again")
    print(restore_backup(again, target))
    with open_stores(again) as stores:
        assert everything(stores) == before


def test_pg(home: Home, postgres_url: str, tmp_path: Path) -> None:
    with open_stores(home) as stores:
        busy(stores)
        before = everything(stores)
        report = create_backup(stores, str(tmp_path / "to"))
    target = Target(str(tmp_path / "to"))
    again = Home(root=tmp_path / "again", database_url=postgres_url)
    print(restore_backup(again, target))
    with open_stores(again) as stores:
        assert everything(stores) == before
        create_backup(stores, str(tmp_path / "to2"))
    back = Home(root=tmp_path / "back")
    target = Target(str(tmp_path / "to2"))
    restore_backup(back, target)
    with open_stores(back) as stores:
        assert everything(stores) == before

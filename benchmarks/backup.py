"""What a backup costs: `python -m benchmarks backup` prints one JSON object, megabytes a second of each store's files, and ratios
to a plain copy of the same folder that is as durable.

A home of so many raw envelopes of 5 KB (stored as files of the lake too) and blobs: backed up, backed up again, proven, restored.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks_pipeline.backup.create import create_backup
from tasks_pipeline.backup.restore import restore_backup
from tasks_pipeline.backup.target import Target
from tasks_pipeline.backup.verify import verify_backup
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.sizes import folder_size
from tasks_pipeline.storage.spool.interface import Receipt
from tasks_pipeline.storage.state.tables import event_ids
from tasks_pipeline.stores import Stores, open_stores

DAY = date(2026, 11, 22)
ENVELOPE = 5_000
BLOB = 1024 * 1024
PIECE = 2_000


def fill(stores: Stores, envelopes: int, blobs: int) -> None:
    """Raw envelopes, their payloads in the lake, their event ids, and blobs; random, as compressed bytes are."""
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    table = LAKE_TABLES["event_payloads"]
    with closing(stores.spool.writer()) as writer, stores.lake.writing(DAY, "bench") as files:
        for first in range(0, envelopes, PIECE):
            ids = [os.urandom(16).hex() for _ in range(PIECE)]
            bodies = [os.urandom(ENVELOPE) for _ in ids]
            places = writer.append(
                [
                    Receipt(noon + timedelta(milliseconds=first + n), 1, "abcd1234", name, "gzip", 1, body)
                    for n, (name, body) in enumerate(zip(ids, bodies, strict=True))
                ]
            )
            given: dict[str, list[Any]] = {
                "day": [DAY] * PIECE,
                "part": ["r0"] * PIECE,
                "position": [position for _, position in places],
                "item": [0] * PIECE,
                "project_id": [1] * PIECE,
                "event_id": ids,
                "payload": [body.hex() for body in bodies],
            }
            columns = [pa.array(given.get(field.name, [None] * PIECE), field.type) for field in table.arrow]
            files.add_piece(table.name, pa.Table.from_arrays(columns, schema=table.arrow))
            rows = [
                {"project_id": 1, "event_id": bytes.fromhex(name), "day": DAY, "part": "r0", "position": position, "item": 0}
                for name, (_, position) in zip(ids, places, strict=True)
            ]  # fmt: skip
            with stores.state.write() as connection:
                connection.execute(event_ids.insert(), rows)
        written = files.finish()
        with stores.lake.lock():
            stores.lake.register(written)
    for _ in range(blobs):
        stores.blobs.put(os.urandom(BLOB))


def copy_durably(source: Path, to: Path) -> None:
    """What a backup is compared with: each file copied and synced."""
    for path in source.rglob("*"):
        if path.is_file() and not path.is_symlink():
            there = to / path.relative_to(source)
            there.parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as read, there.open("wb") as written:
                while piece := read.read(1024 * 1024):
                    written.write(piece)
                written.flush()
                os.fsync(written.fileno())


def rate(size: int, work: Callable[[], object]) -> dict[str, float]:
    """Megabytes a second, seconds of wall time and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    took = time.perf_counter() - wall
    return {
        "mb_per_second": round(size / 1e6 / took, 1),
        "seconds": round(took, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks backup", description=__doc__)
    parser.add_argument("--envelopes", type=int, default=100_000)
    parser.add_argument("--blobs", type=int, default=300, help="of 1 MiB")
    arguments = parser.parse_args()
    with temporary_root() as root:
        home, to = Home(root=root / "home"), str(root / "to")
        home.make_root()
        with open_stores(home) as stores:
            fill(stores, arguments.envelopes, arguments.blobs)
            size = folder_size(home.root)
            found = {
                "bytes": size,
                "copy": rate(size, lambda: copy_durably(home.root, root / "copy")),
                "create": rate(size, lambda: create_backup(stores, to)),
                "create_again": rate(size, lambda: create_backup(stores, to)),
            }
        found["verify"] = rate(size, lambda: verify_backup(Target(to)))
        found["restore"] = rate(size, lambda: restore_backup(Home(root=root / "new"), Target(to)))
        rates = {name: one["mb_per_second"] for name, one in found.items() if isinstance(one, dict)}
        found["of_a_copy"] = {name: round(one / rates["copy"], 2) for name, one in rates.items()}
        found["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

"""Cleanup, compaction and pages over many small events: `python -m benchmarks cleanup --events 1000000` prints one JSON object.

Events are written straight as files of the lake, with the ids that own them and what groups count of days. `page_ms` is the newest fifty
events of one group, in this home and in one of 100,000 events. Then the ten oldest days go: seconds, peak memory of the process, how
much of what those days took on disk is free again, and for how long the lake's lock was held at most, by who took it. With `--payloads`
a day of so many events in 40 files is made one file. With `--drain` a drain of 10,000 real envelopes works meanwhile in a process of its
own: events a second alone and beside, and for how long it waited for the lock at most.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.looking_after import SPOOLED, look_after, page_ms, spool, work_off
from benchmarks.many_events import fill, fill_day
from tasks_pipeline.demo.show import temporary_root

FEW_EVENTS = 100_000
SPAWN = multiprocessing.get_context("spawn")


def _in_processes(*works: tuple[Callable[..., None], tuple[Any, ...]]) -> None:
    """Do them at once, each in a process of its own: its peak of memory is its own."""
    processes = [SPAWN.Process(target=work, args=arguments, name=work.__name__) for work, arguments in works]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
        if each.exitcode != 0:
            raise SystemExit(f"{each.name} ended with {each.exitcode}")


def measure(root: Path, events: int, days: int, payloads: int, *, beside: bool) -> dict[str, Any]:
    """All of it, in folders below."""
    few, many = root / "few", root / "many"
    with SPAWN.Manager() as manager:
        found = manager.dict()
        _in_processes((fill, (few, FEW_EVENTS, days)))
        _in_processes((fill, (many, events, days)))
        pages = {str(FEW_EVENTS): page_ms(few), str(events): page_ms(many)}
        if payloads:
            _in_processes((fill_day, (many, payloads)))
        works: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            (look_after, (many, days, payloads, found))
        ]
        if beside:
            _in_processes((spool, (many, 0)))
            _in_processes((work_off, (many, "drain_alone", found)))
            _in_processes((spool, (many, SPOOLED)))
            works.append((work_off, (many, "drain_beside", found)))
        _in_processes(*works)
        return {"events": events, "days": days, "page_ms": pages, **found}


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cleanup", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="how many; of 100,000 at least")
    parser.add_argument("--days", type=int, default=100, help="over so many days, more than 20")
    parser.add_argument("--payloads", type=int, default=0, help="merge the files of a day of so many too")
    parser.add_argument("--drain", action="store_true", help="drain meanwhile, and before")
    parser.add_argument("--home", type=Path, help="keep the homes in this folder")
    chosen = parser.parse_args(arguments)
    with temporary_root() as temporary:
        print(
            json.dumps(
                measure(
                    chosen.home or temporary, chosen.events, chosen.days, chosen.payloads, beside=chosen.drain
                )
            )
        )


if __name__ == "__main__":
    main()

"""SIGKILL at random moments of cleanup, compaction, archiving, restoring, backups and deletions: what is lost, twice there, back, or left
lying about after the next run. `python -m benchmarks kills` prints a table and, at the end, a JSON list.

Each round begins with the same installation, starts the operation as a process, kills its group at a moment within the time that it takes,
looks whether readers miss anything that stays, runs it again to the end, has a night pass (cleanup, upkeep; for all files a day), and
compares everything row by row with what the operation makes when nobody disturbs it. `rounds` go on until so many processes were hit.
On PostgreSQL (`--postgres` starts a server that is gone at the end) each round has a copy of the database.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import shutil
import signal
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.kill_home import age_files, fill
from benchmarks.kill_judge import (
    Content,
    Reference,
    Rows,
    content,
    judge,
    lake_rows,
    lost,
    reference,
    rows_of,
)
from benchmarks.kill_operations import CONTEXT, OPERATIONS, Operation, Place, begin, command, night, run
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.stores import open_stores

TIMED = 3
"""Runs that nobody disturbs: their median is how long an operation takes, and the first two say what it should come to."""
SHOWN = 3
READ = ("events", "event_payloads", "transactions", "sessions", "attachments")
"""Tables that are read between a kill and the next run."""
Databases = Callable[[str], Any]
"""A copy of a database by its name; an empty one without."""


def made(place: Place) -> None:
    """Fill a home; for a process of its own."""
    from tests.support.lakes import had_rows

    place.home.make_root()
    OPERATIONS[0].configure(place)
    with open_stores(place.home) as stores:
        stores.lake.flushed_through()
        had_rows(stores.lake)
    fill(place.home)


def titled(title: str) -> Operation:
    """An operation by its title, which can be told to other processes."""
    (operation,) = [each for each in OPERATIONS if each.title == title]
    return operation


def prepared(place: Place, title: str) -> None:
    """Configure a home and do what comes before the first round of an operation."""
    operation = titled(title)
    operation.configure(place)
    age_files(place.root)
    for work in operation.prepare:
        work(place)
    age_files(place.root)


def before(place: Place) -> Rows:
    """What a home holds."""
    with open_stores(place.home) as stores:
        return rows_of(stores)


def looked_at(place: Place, title: str) -> Content:
    """The night, and what there is then."""
    operation = titled(title)
    ended = night(place, operation)
    with open_stores(place.home) as stores:
        found = content(stores, place.root)
    if ended:
        found.unfinished.append("the night failed")
    if operation.word == "backup":
        found.unfinished += verified(place)
        rows = restored(place)
        found.rows |= {f"restored {name}": of for name, of in rows.items() if not name.startswith("state.")}
    return found


def gone_on(place: Place, title: str, wanted: Reference) -> dict[str, list[str]]:
    """After a kill: what readers miss, another run, the night, and what is wrong then."""
    operation = titled(title)
    missed = []
    if operation.read_meanwhile:
        with open_stores(place.home) as stores:
            missed = lost(lake_rows(stores, READ), wanted)
    if operation.is_night:
        age_files(place.root)
    ended = command(place, operation.words(place))
    verdict = judge(looked_at(place, title), wanted)
    verdict.missing += [f"between: {each}" for each in missed]
    if ended and not operation.may_refuse:
        verdict.unfinished.append(f"it ended with {ended}")
    return asdict(verdict)


def verified(place: Place) -> list[str]:
    """What is wrong with backups."""
    from tasks_pipeline.backup.target import Target
    from tasks_pipeline.backup.verify import verify_backup

    target = Target(str(place.backups))
    wanted = {file.sha256 for name in target.names() for file in target.manifest(name).files}
    unneeded = [f"no backup needs {digest}" for digest in target.files.digests() if digest not in wanted]
    return [*verify_backup(target).problems, *unneeded]


def restored(place: Place) -> Rows:
    """What the newest backup brings back."""
    from tasks_pipeline.backup.restore import restore_backup
    from tasks_pipeline.backup.target import Target

    other = Home(place.root / "restored")
    restore_backup(other, Target(str(place.backups)))
    with open_stores(other) as stores:
        return rows_of(stores)


def _answer(work: Callable[..., Any], args: tuple[Any, ...], to: Path) -> None:
    begin(args[0])
    to.write_bytes(pickle.dumps(work(*args)))


def apart(work: Callable[..., Any], place: Place, *args: Any) -> Any:
    """What a function gives in a process of its own: this one opens no stores."""
    to = place.root.parent / "answer"
    to.unlink(missing_ok=True)
    process = CONTEXT.Process(target=_answer, args=(work, (place, *args), to))
    process.start()
    process.join()
    if process.exitcode != 0:
        said = place.root / "output"
        raise SystemExit(
            f"{work.__name__} ended with {process.exitcode}: {said.read_text()[-3000:] if said.exists() else ''}"
        )
    return pickle.loads(to.read_bytes())


class Rounds:
    """The rounds of one operation, each in the same folder, which is put there anew."""

    def __init__(self, root: Path, operation: Operation, databases: Databases | None, filled: str) -> None:
        self._root, self._operation, self._databases = root, operation, databases
        self._kept, self._folder = root / operation.title.replace(" ", "-"), root / "round"
        self._stack = ExitStack()
        with self._place(root / "filled", filled) as place:
            apart(prepared, place, operation.title)
            self._before: Rows = apart(before, place)
            if operation.word == "restore":
                shutil.rmtree(place.home.root)
            shutil.copytree(place.root, self._kept, symlinks=True, ignore=shutil.ignore_patterns("run"))
            self._database = self._copied(place.database_url)
        self._reference()

    def close(self) -> None:
        self._stack.close()
        shutil.rmtree(self._kept)

    def _copied(self, url: str) -> str:
        if self._databases is None:
            return ""
        empty = self._operation.word == "restore"
        return str(
            self._stack.enter_context(self._databases("" if empty else url.rpartition("/")[2]))
        ).rpartition("/")[2]

    @contextmanager
    def _place(self, kept: Path, database: str) -> Iterator[Place]:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(kept, self._folder, symlinks=True, ignore=shutil.ignore_patterns("run"))
        with ExitStack() as stack:
            url = "" if self._databases is None else stack.enter_context(self._databases(database))
            yield Place(self._folder, url)

    def _fresh(self) -> Any:
        return self._place(self._kept, self._database)

    def _words(self, place: Place) -> list[str]:
        return list(self._operation.words(place))

    def _reference(self) -> None:
        """Without a kill: what it comes to, and how long it takes."""
        found, took = [], []
        for _ in range(TIMED):
            with self._fresh() as place:
                code, seconds = run(place, self._words(place))
                if code != 0:
                    raise SystemExit(
                        f"{self._operation.title} ended with {code}:\n{(place.root / 'output').read_text()}"
                    )
                took.append(seconds)
                if len(found) < 2:
                    found.append(self._found(place))
        for each in found:
            if each.orphans or each.unfinished:
                raise SystemExit(f"{self._operation.title} without a kill: {each.orphans} {each.unfinished}")
        self.seconds = statistics.median(took)
        self._wanted = reference(found[0].rows, found[1].rows, self._before)

    def _found(self, place: Place) -> Content:
        found: Content = apart(looked_at, place, self._operation.title)
        return found

    def once(self, after: float) -> tuple[bool, dict[str, list[str]]]:
        """One round; gives whether the process was hit, and what is wrong."""
        with self._fresh() as place:
            code, _ = run(place, self._words(place), after)
            if code != -signal.SIGKILL:
                return False, {}
            return True, apart(gone_on, place, self._operation.title, self._wanted)


def measure(rounds: Rounds, operation: Operation, hits: int, chance: random.Random) -> dict[str, Any]:
    """Rounds until so many processes were hit, or three times as many were tried."""
    wrong, shown = Counter[str](), 0
    tried = hit = 0
    while hit < hits and tried < 3 * hits:
        after = chance.uniform(0, rounds.seconds)
        was_hit, verdict = rounds.once(after)
        tried, hit = tried + 1, hit + was_hit
        for kind, found in verdict.items():
            wrong[kind] += len(found)
            for each in found[:SHOWN] if shown < 5 * SHOWN else ():
                shown += 1
                print(
                    f"{operation.title}, after {after:.3f} s: {kind}: {each[:1500]}",
                    file=sys.stderr,
                    flush=True,
                )
    kinds = ("missing", "doubled", "came_back", "changed", "orphans", "unfinished")
    return {
        "operation": operation.title, "seconds": round(rounds.seconds, 2), "rounds": tried, "hit": hit,
        **{kind: wrong[kind] for kind in kinds},
    }  # fmt: skip


@contextmanager
def _databases(wanted: bool) -> Iterator[Databases | None]:
    if not wanted:
        yield None
        return
    from tests.support.postgres import running_server

    with running_server() as server:
        yield lambda like: server.database(like or "template0")


def kills(root: Path, hits: int, only: list[str], seed: int, postgres: bool) -> list[dict[str, Any]]:
    """All operations, or those named."""
    chance, results = random.Random(seed), []
    with _databases(postgres) as databases, ExitStack() as stack:
        url = "" if databases is None else stack.enter_context(databases(""))
        folder = root / "round"
        folder.mkdir(parents=True)
        apart(made, Place(folder, url))
        shutil.copytree(folder, root / "filled", symlinks=True, ignore=shutil.ignore_patterns("run"))
        for operation in OPERATIONS:
            if only and operation.word not in only:
                continue
            rounds = Rounds(root, operation, databases, url.rpartition("/")[2])
            try:
                results.append(measure(rounds, operation, hits, chance))
            finally:
                rounds.close()
            line = results[-1]
            print("  ".join(f"{name} {value}" for name, value in line.items()), flush=True)
    return results


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks kills", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50, help="processes to be hit, of each operation")
    parser.add_argument(
        "--only", action="append", default=[], choices=sorted({each.word for each in OPERATIONS})
    )
    parser.add_argument("--postgres", action="store_true", help="databases on PostgreSQL")
    parser.add_argument("--seed", type=int, default=None, help="of the moments")
    chosen = parser.parse_args(arguments)
    seed = random.randrange(10**6) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", file=sys.stderr)
    with temporary_root() as root:
        print(json.dumps(kills(root, chosen.rounds, chosen.only, seed, chosen.postgres)))


if __name__ == "__main__":
    from benchmarks.kills import (
        main as as_module,
    )  # what other processes are given has to be found under its name

    as_module()

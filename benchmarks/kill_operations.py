"""What `kills` kills: each an operation as people and the service start it, in a process of its own, and the night that comes after it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.kill_home import AGES, ANN, age_files, configuration
from tasks_pipeline.cli import main as command_line
from tasks_pipeline.home import Home
from tasks_pipeline.retention.upload_chunks import drop_stale_chunks
from tasks_pipeline.stores import open_stores
from tasks_pipeline.upkeep.caches import clear_expired_caches
from tasks_pipeline.upkeep.optimize import optimize_database

FOR_GOOD = 3650
"""Days that events are kept for where no cleanup is meant to take any."""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.support.warm", "benchmarks.kill_operations", "benchmarks.kill_judge", "benchmarks.kill_home"]
)
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Place:
    """Where one round happens: a folder with the home and what lies beside it, always the same, and the URL of a database."""

    root: Path
    database_url: str = ""

    @property
    def home(self) -> Home:
        """The installation."""
        return Home(self.root / "home", database_url=self.database_url)

    @property
    def archive(self) -> Path:
        """Where it archives."""
        return self.root / "archive"

    @property
    def backups(self) -> Path:
        """Where its backups are."""
        return self.root / "backups"


@dataclass(frozen=True)
class Operation:
    """Words of the command line, or what is done instead; before the first round `prepare` is done, once. `days` events are kept."""

    word: str
    words: Callable[[Place], Sequence[str]]
    name: str = ""
    days: int = FOR_GOOD
    archived: bool = False
    shop: bool = True
    prepare: tuple[Callable[[Place], object], ...] = ()
    may_refuse: bool = False
    """Whether the command may say, when it comes again, that there is nothing to be done."""

    @property
    def title(self) -> str:
        """Its name."""
        return self.name or self.word

    @property
    def is_night(self) -> bool:
        """Whether it is what each night does: then the next night is the next run."""
        return self.words(Place(Path())) == ("cleanup",)

    @property
    def may_be_open(self) -> bool:
        """Whether the next cleanup finishes it."""
        return self.word in ("deletion", "privacy")

    @property
    def read_meanwhile(self) -> bool:
        """Whether people read what stays while it is at work."""
        return self.word not in ("restore", "archive-restore")

    def configure(self, place: Place) -> None:
        """Write the configuration file."""
        text = configuration(self.days, place.archive if self.archived else None, shop=self.shop)
        place.home.config_path.write_text(text)


OPTIMIZE = "optimize"


def command(place: Place, words: Sequence[str]) -> int:
    """Run a command of the home in this process; gives its exit code."""
    os.environ["TASKS_PIPELINE_DATABASE_URL"] = place.database_url
    if words[0] == OPTIMIZE:
        return _optimize(place.home)
    try:
        command_line(["--home", str(place.home.root), *words], standalone_mode=True)
    except SystemExit as ended:
        return int(ended.code or 0) if not isinstance(ended.code, str) else 1
    return 0


def _optimize(home: Home, steps: Sequence[str] | None = None) -> int:
    """What the job `optimize_database_job` does, which no command does."""
    with open_stores(home) as stores:
        found = optimize_database(stores, datetime.now(UTC), steps)
    print(found.failed, found.damage, found.postponed)
    return 1 if found.failed or found.damage or found.postponed else 0


def night(place: Place, operation: Operation) -> int:
    """The night after, a day later for all files: cleanup, where deletions may be open, pieces of uploads, caches, orphans."""
    age_files(place.root)
    ended = command(place, ["cleanup"]) if operation.may_be_open else 0
    with open_stores(place.home) as stores:
        drop_stale_chunks(stores, datetime.now(UTC) - timedelta(hours=24))
        clear_expired_caches(stores, datetime.now(UTC))
    return ended or _optimize(place.home, ["trim_catalog"])


# ── processes


def begin(place: Place) -> None:
    """A process of its own group, whose output goes to a file, on the database of the place."""
    os.setsid()
    os.environ["TMPDIR"] = str(place.root / "tmp")
    (place.root / "tmp").mkdir(exist_ok=True)
    descriptor = os.open(place.root / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _work(place: Place, words: Sequence[str], up: object) -> None:
    begin(place)
    up.set()  # type: ignore[attr-defined]
    code = command(place, words)
    sys.stdout.flush()
    os._exit(code)


def run(place: Place, words: Sequence[str], kill_after: float | None = None) -> tuple[int, float]:
    """Run a command in a process, and kill its group so many seconds after it began; gives its exit code (-9: it was killed) and the seconds
    that it took."""
    up = CONTEXT.Event()
    process = CONTEXT.Process(target=_work, args=(place, tuple(words), up))
    process.start()
    if not up.wait(PATIENCE_SECONDS):
        raise TimeoutError("a process never began")
    began = time.perf_counter()
    process.join(PATIENCE_SECONDS if kill_after is None else kill_after)
    if process.is_alive():
        if kill_after is None:
            process.kill()
            raise TimeoutError(f"{' '.join(words)} went on for {PATIENCE_SECONDS} s")
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    assert process.exitcode is not None
    return process.exitcode, time.perf_counter() - began


# ── the operations


def _first_group(place: Place) -> Sequence[str]:
    return ("groups", "delete", "SHOP-1", "SHOP-2", "--yes", "--actor", "anna")


def _oldest(place: Place) -> str:
    return (datetime.now(UTC).date() - timedelta(days=AGES[0])).isoformat()


def _cleaned(place: Place) -> None:
    command(place, ["cleanup"])


def _backed_up(place: Place) -> None:
    command(place, ["backup", "create", "--to", str(place.backups)])


OPERATIONS = (
    Operation("cleanup", lambda _place: ("cleanup",), days=90),
    Operation("compaction", lambda _place: (OPTIMIZE,)),
    Operation("archive", lambda _place: ("cleanup",), days=90, archived=True),
    Operation(
        "archive-restore",
        lambda place: ("archive", "restore", _oldest(place)),
        days=90, archived=True, prepare=(_cleaned,), may_refuse=True,
    ),
    Operation("backup", lambda place: ("backup", "create", "--to", str(place.backups), "--keep", "1"), prepare=(_backed_up,)),
    Operation("restore", lambda place: ("backup", "restore", "--from", str(place.backups)), prepare=(_backed_up,)),
    Operation("deletion", _first_group, name="deletion of groups", may_refuse=True),
    Operation(
        "deletion",
        lambda _place: ("projects", "delete", "shop", "--yes", "--actor", "anna"),
        name="deletion of a project", shop=False, may_refuse=True,
    ),
    Operation(
        "privacy",
        lambda _place: ("privacy", "delete", "--user-id", ANN, "--yes", "--even-if-many"),
        may_refuse=True,
    ),
)  # fmt: skip

"""Starting, watching and stopping the processes of a service. Which processes there are is said in `service.py`."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks_pipeline.service import logs
from tasks_pipeline.service.guard import Guard
from tasks_pipeline.service.leftovers import MARKER_VARIABLE, group_alive, kill_all, marked_processes, send


def always_ready() -> None:
    """The `ready` of a part that nobody has to wait for."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the service.

    `environment` is added to the supervisor's own. `ready` is asked from a thread until it returns None; any text
    it returns says what is still missing. It must answer within a few seconds.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], str | None] = always_ready


@dataclass(frozen=True, slots=True)
class Life:
    """What there is of a part: how often it was started, and its process, which leads its session; None between two lives."""

    starts: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a supervisor is, in seconds and numbers."""

    stop_seconds: float = 10
    """From SIGTERM to SIGKILL."""
    first_pause_seconds: float = 0.5
    """Before a dead part is started again; doubled for each quick death in a row."""
    quick_seconds: float = 60
    """A part that lived shorter, and was not killed, has died quickly."""
    quick_deaths: int = 5
    """After so many quick deaths in a row the service gives up."""
    ask_seconds: float = 0.5
    """Between two questions whether a part is ready."""
    patience_seconds: float = 30
    """After so long a part that is not ready is named, and again each time."""
    look_seconds: float = 5
    """Between two looks whether the service may go on."""


_KILLED = "killed by SIGKILL"


class PartFailed(Exception):
    """A part cannot be kept running; the message says why, with the end of its log."""


class _Stopped(Exception):
    """Somebody told the service to stop."""


class Supervisor:
    """Keeps parts running until it is told to stop (SIGINT, SIGTERM, SIGHUP) or one of them cannot be kept running.

    Each part has a session of its own and writes to `log_dir/NAME.log`. `marker` names this service among the
    processes of the machine: at most one supervisor at a time may use it (the caller holds a lock). `say` gets lines
    for the person watching. `lost` is asked from a thread now and then; any text it returns says why the service has to end.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        log_dir: Path,
        marker: str,
        say: Callable[[str], None],
        limits: Limits | None = None,
        lost: Callable[[], str | None] = always_ready,
    ) -> None:
        self._parts = parts
        self._lost = lost
        self._log_dir = log_dir
        self._marker = marker
        self._say = say
        self._limits = limits or Limits()
        self.killed = False
        """Whether something did not stop by itself and had to be killed."""
        self._groups: set[int] = set()
        self._lives = {part.name: Life(0, None) for part in parts}
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def run(self, on_ready: Callable[[], None], on_start: Callable[[], None] = always_ready) -> int:
        """Run until the end; returns the exit status: 0 when told to stop, 1 when a part failed.

        `on_start` is called before the first part is started, and may start threads. `on_ready` is called once, when every part is ready. When this returns no process that a part started lives,
        and none survives a SIGKILL of the supervisor either (a guard process sees to it). Call it from the main
        thread, before other threads are started.
        """
        self._log_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in self._parts:
            logs.rotate(self._log(part))
        kill_all(self._marker)  # of a service whose supervisor and guard were both killed
        self._guard = Guard(self._marker)
        try:
            on_start()
            return asyncio.run(self._run(on_ready))
        finally:
            self._guard.release()

    def lives(self) -> dict[str, Life]:
        """The parts by name, as they are now. Any thread may ask."""
        return dict(self._lives)

    async def _run(self, on_ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, self._told_to_stop)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup stays nohup
            loop.add_signal_handler(signal.SIGHUP, self._told_to_stop)
        status = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                for part in self._parts:
                    tasks.create_task(self._keep(part))
                tasks.create_task(self._announce(on_ready))
                tasks.create_task(self._bound_logs())
                tasks.create_task(self._until_told())
                tasks.create_task(self._until_lost())
        except* PartFailed as failures:
            for failure in failures.exceptions:
                self._say(str(failure))
            status = 1
        except* _Stopped:
            self._say("stopping")
        finally:
            await self._end()
        return status

    def _told_to_stop(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _until_told(self) -> None:
        await self._stop.wait()
        raise _Stopped

    async def _until_lost(self) -> None:
        while (why := await asyncio.to_thread(self._lost)) is None:
            await asyncio.sleep(self._limits.look_seconds)
        raise PartFailed(why)

    async def _keep(self, part: Part) -> None:
        """Start a part, and again whenever it dies. Raises PartFailed when it dies quickly too often in a row."""
        quick = deaths = 0
        while True:
            log_size, started = self._log_size(part), time.monotonic()
            how = await self._live(part)
            lines = logs.last_lines(self._log(part), log_size)
            deaths += 1
            # SIGKILL comes from outside (a person, the kernel short of memory): it says nothing of the part itself.
            own_fault = how != _KILLED and time.monotonic() - started < self._limits.quick_seconds
            quick = quick + 1 if own_fault else 0
            if quick >= self._limits.quick_deaths:
                raise PartFailed(
                    f"{part.name} cannot be started: {how}, {quick} times in a row; "
                    f"the end of {self._log(part)}:\n{lines}"
                )
            await asyncio.sleep(self._limits.first_pause_seconds * 2 ** max(quick - 1, 0))
            self._say(f"{part.name} died ({how}); restarted ({_ordinal(deaths)} time); last lines:\n{lines}")

    async def _live(self, part: Part) -> str:
        """One life of a part; returns how it ended."""
        environment = {**os.environ, **part.environment, MARKER_VARIABLE: self._marker}
        with logs.open_log(self._log(part)) as log:
            try:
                process = await asyncio.create_subprocess_exec(
                    *part.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                return str(error)
        self._guard.started(process.pid)
        self._groups.add(process.pid)
        starts = self._lives[part.name].starts + 1
        self._lives[part.name] = Life(starts, process.pid)
        status = await process.wait()
        self._lives[part.name] = Life(starts, None)
        self._forget_empty_groups()
        return f"exit {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"

    def _forget_empty_groups(self) -> None:
        for group in [group for group in self._groups if not group_alive(group)]:
            self._groups.discard(group)
            self._guard.ended(group)

    async def _announce(self, on_ready: Callable[[], None]) -> None:
        await asyncio.gather(*(self._until_ready(part) for part in self._parts))
        on_ready()

    async def _until_ready(self, part: Part) -> None:
        patience = time.monotonic() + self._limits.patience_seconds
        while (missing := await asyncio.to_thread(part.ready)) is not None:
            if time.monotonic() > patience:
                self._say(f"still waiting for {part.name}: {missing}")
                patience = time.monotonic() + self._limits.patience_seconds
            await asyncio.sleep(self._limits.ask_seconds)

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(30)
            for part in self._parts:
                logs.bound(self._log(part))

    async def _end(self) -> None:
        """SIGTERM to everything, SIGKILL to what is left after `stop_seconds` or at a second signal."""
        # To all and not only to the parts: a run that gets it reports its end, a run that is killed seems to go on.
        send(signal.SIGTERM, self._marker, self._groups)
        deadline = time.monotonic() + self._limits.stop_seconds
        while self._alive() and time.monotonic() < deadline and not self._hurry.is_set():
            await asyncio.sleep(0.05)
        if self._alive():
            self.killed = True
            self._say("killing what did not stop")
            # In a thread, for this one must reap its children before their groups are empty.
            left = await asyncio.to_thread(kill_all, self._marker, self._groups)
            if left:
                self._say(f"still alive after SIGKILL: {', '.join(map(str, left))}")

    def _alive(self) -> bool:
        return any(group_alive(group) for group in self._groups) or bool(marked_processes(self._marker))

    def _log(self, part: Part) -> Path:
        return self._log_dir / f"{part.name}.log"

    def _log_size(self, part: Part) -> int:
        return self._log(part).stat().st_size if self._log(part).exists() else 0


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"

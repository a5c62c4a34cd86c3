"""Which service runs in a home: the lock that allows one only, and what it tells others about itself."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from tasks_pipeline.files import write_atomically
from tasks_pipeline.home import Home


class AlreadyRunning(Exception):
    """Another service holds this home; the message says which and where."""


class RunningService(msgspec.Struct, frozen=True):
    """`run/service.json`: what is known of the service of a home while it runs.

    `receiver_url` is where clients send to (the public URL when one is configured), `web_url` where pages and the Web API are when not
    there, `ready` whether every part has answered.
    """

    pid: int
    started_at: datetime
    receiver_url: str
    receiver_port: int
    ui_url: str
    ui_port: int
    code_server_port: int
    ready: bool = False
    web_url: str | None = None

    @property
    def pages_url(self) -> str:
        """Where people and clients of the Web API ask."""
        return self.web_url or self.receiver_url


@contextmanager
def service_lock(home: Home, patience_seconds: float = 3) -> Iterator[None]:
    """Hold the one place of a home. Raises AlreadyRunning when it stays taken for `patience_seconds`.

    The kernel frees the lock with its last holder, so none is ever left behind. The patience is for the guard of a
    service killed a moment ago, and for readers of `running_service`.
    """
    home.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(_lock_path(home), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _locked(descriptor, patience_seconds):
            raise AlreadyRunning(_who_holds(home, descriptor))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def announced(home: Home, service: RunningService) -> Iterator[None]:
    """`run/service.json` is there while this lasts. Use `announce` again to change what it says."""
    announce(home, service)
    try:
        yield
    finally:
        _service_path(home).unlink(missing_ok=True)


def announce(home: Home, service: RunningService) -> None:
    """Write `run/service.json`; readers see the old one or the new one."""
    write_atomically(_service_path(home), msgspec.json.encode(service).decode() + "\n")


def running_service(home: Home) -> RunningService | None:
    """The service that runs in this home now, or None; a file left by a killed one does not count."""
    return _described(home) if is_held(home) else None


def is_held(home: Home) -> bool:
    """Whether a service has the place of this home: one that says nothing of itself is about to start, to end, or stands by."""
    try:
        descriptor = os.open(_lock_path(home), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _described(home: Home) -> RunningService | None:
    try:
        return msgspec.json.decode(_service_path(home).read_bytes(), type=RunningService)
    except (FileNotFoundError, msgspec.DecodeError):  # it starts or ends just now, or is of another version
        return None


def _locked(descriptor: int, patience_seconds: float) -> bool:
    pause, step = threading.Event(), 0.05
    for _ in range(max(1, round(patience_seconds / step))):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(step)
        else:
            return True
    return False


def _who_holds(home: Home, descriptor: int) -> str:
    pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
    service = _described(home)
    where = f", receiver {service.receiver_url}, UI {service.ui_url}" if service else ""
    return f"a service runs in {home.root} already: pid {pid}{where}"


def _lock_path(home: Home) -> Path:
    return home.run_dir / "service.lock"


def _service_path(home: Home) -> Path:
    return home.run_dir / "service.json"

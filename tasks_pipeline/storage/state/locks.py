"""Locks among all processes of an installation: a file's when embedded, else an advisory lock in Postgres whose holder gives signs of life.

On Postgres the lock lives in an open transaction that the server ends when nothing was said in it for FROZEN_SECONDS. A holder that is
frozen (SIGSTOP, a machine that sleeps, a lost route) thus loses it, and finds out when it asks `ensure_locks` before it commits.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
from psycopg2 import errors
from sqlalchemy import Engine

from tasks_pipeline.home import Home

log = logging.getLogger(__name__)

FROZEN_SECONDS = 25.0
"""A lock whose holder said nothing for so long is taken from it by the server."""
BEAT_SECONDS = 3.0
"""Between two signs of life of a holder."""
WRITE_SECONDS = 20.0
"""A transaction of the state database in which nothing was said for so long is ended by the server; before a lock that was held with it
is free: shorter than FROZEN_SECONDS by more than a beat."""
TOLD_AFTER_SECONDS = 5.0
"""Whoever waits says so after this time, and for whom."""
KEEPALIVES: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_HOLDERS = """
SELECT a.application_name, host(a.client_addr), a.pid, a.xact_start::timestamptz(0)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objid = %s::oid AND l.classid = 0 AND l.objsubid = 1
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class LockLost(Exception):
    """The server ended the transaction that held a lock: somebody else may hold it by now."""


_here = threading.local()
"""The locks in Postgres that a thread holds, by name, with their connections."""


def ensure_locks() -> None:
    """Raise LockLost when a lock that this thread took is held no more. To be asked at the end of whatever is committed under it.

    Between the answer and the commit a process may freeze, too: transactions of the state database are ended by the server before
    the lock is free for others, and a commit to the lake meets the newer snapshot of whoever made one meanwhile.
    """
    for name, connection in getattr(_here, "held", {}).items():
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error as error:
            raise LockLost(
                f"the lock {name!r} was lost: this process gave no sign of life for {FROZEN_SECONDS:g} s,"
                " or its session was ended; what it was about to commit is not stored"
            ) from error


def application_name() -> str:
    """What Postgres shows of this process's connections."""
    return f"tasks-pipeline {socket.gethostname()[:36]} {os.getpid()}"


@contextmanager
def process_lock(home: Home, name: str, engine: Engine | None = None) -> Iterator[None]:
    """Hold a lock among all processes of an installation; the kernel or the server frees it when the process dies.

    With the engine of the state database a connection of its pool is used on Postgres, else a new one.
    """
    if home.embedded:
        with _file_lock(home, name):
            yield
        return
    with _session(home, engine) as connection:
        _acquire(connection, name)
        with _signs_of_life(connection), _noted(connection, name):
            yield


def is_locked(home: Home, name: str) -> bool:
    """Whether anybody holds a lock of `process_lock` just now."""
    if home.embedded:
        descriptor = _lock_file(home, name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
    with _session(home, None) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (_key(name),))
        return not cursor.fetchone()[0]


@contextmanager
def _file_lock(home: Home, name: str) -> Iterator[None]:
    descriptor = _lock_file(home, name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock_file(home: Home, name: str) -> int:
    home.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return os.open(home.run_dir / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def _session(home: Home, engine: Engine | None) -> Iterator[Any]:
    """A connection of psycopg2 in no transaction; what it holds is given up at the end."""
    if engine is None:
        url = home.postgres_url.replace("+psycopg2", "", 1)
        connection = psycopg2.connect(url, application_name=application_name(), **KEEPALIVES)
        try:
            yield connection
        finally:
            connection.close()
        return
    pooled = engine.raw_connection()
    try:
        yield pooled.driver_connection
    finally:
        try:
            pooled.rollback()
        except psycopg2.Error:
            pooled.invalidate()  # it is lost, and the lock with it
        finally:
            pooled.close()


def _acquire(connection: Any, name: str) -> None:
    """Take the lock in a transaction; say who has it while it is waited for."""
    waiting = False
    while True:
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET LOCAL idle_in_transaction_session_timeout = %s; SET LOCAL lock_timeout = %s; "
                    "SELECT pg_advisory_xact_lock(%s)",
                    (_ms(FROZEN_SECONDS), _ms(TOLD_AFTER_SECONDS), _key(name)),
                )
            return
        except errors.LockNotAvailable:
            connection.rollback()
            if not waiting:
                log.warning("waiting for the lock %r, held by %s", name, _holder(connection, name))
            waiting = True


def _holder(connection: Any, name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, (_key(name),))
        found = cursor.fetchone()
    connection.rollback()
    if found is None:
        return "somebody who has given it up just now"
    application, host, pid, since = found
    return f"{application or 'somebody'} at {host or 'this machine'} (server process {pid}) since {since}"


@contextmanager
def _signs_of_life(connection: Any) -> Iterator[None]:
    """Say something in the transaction now and then, from a thread: it stands still when the process does."""
    over = threading.Event()

    def beat() -> None:
        with suppress(psycopg2.Error):  # the lock is lost, as its holder will find
            while not over.wait(BEAT_SECONDS):
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")

    heart = threading.Thread(target=beat, name="lock-heartbeat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()


@contextmanager
def _noted(connection: Any, name: str) -> Iterator[None]:
    """Have `ensure_locks` ask for it."""
    held = _here.__dict__.setdefault("held", {})
    held[name] = connection
    try:
        yield
    finally:
        del held[name]


def _key(name: str) -> int:
    return zlib.crc32(f"tasks_pipeline:{name}".encode())


def _ms(seconds: float) -> int:
    return int(seconds * 1000)

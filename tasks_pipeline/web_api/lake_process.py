"""The process that reads health for the receiver: `python -m tasks_pipeline.web_api.lake_process`, started by health_reading.py.

On its standard input come the home and then questions, on its standard output go their rows: messages behind their length. It
ends when the input does, so it never outlives who asks.
"""

from __future__ import annotations

import signal
import struct
import sys
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import msgspec

_LENGTH = struct.Struct(">I")


class Opened(msgspec.Struct, frozen=True):
    """The first message: which lake to read, within what bounds."""

    root: str
    database_url: str
    data_url: str
    memory: str
    seconds: float


class Question(msgspec.Struct, frozen=True):
    """A query with its parameters."""

    sql: str
    parameters: Any


class Rows(msgspec.Struct, frozen=True):
    """What came of it: rows, or what was wrong; `too_long`: it was ended for the time that it took."""

    rows: list[dict[str, Any]] = []
    error: str = ""
    too_long: bool = False


def send(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Write a message. Raises OSError when nobody reads."""
    data = msgspec.msgpack.encode(message)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """The next message; None when there will be none."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    size = _LENGTH.unpack(head)[0]
    data = stream.read(size)
    return data if len(data) == size else None


def main() -> None:
    """Answer questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks gets it too, and ends the input
    import duckdb

    from tasks_pipeline.home import Home
    from tasks_pipeline.storage.lake.reader import DerivedReader
    from tasks_pipeline.storage.state.database import StateDatabase

    first = receive(sys.stdin.buffer)
    if first is None:
        return
    given = msgspec.msgpack.decode(first, type=Opened)
    home = Home(Path(given.root), database_url=given.database_url, data_url=given.data_url)
    with (
        closing(StateDatabase(home)) as state,
        closing(DerivedReader(home, state, memory=given.memory, seconds=given.seconds)) as reader,
    ):
        while (message := receive(sys.stdin.buffer)) is not None:
            question = msgspec.msgpack.decode(message, type=Question)
            try:
                found = Rows(reader.query(question.sql, question.parameters))
            except duckdb.InterruptException:
                found = Rows(too_long=True)
            except duckdb.Error as error:
                found = Rows(error=str(error))
            send(sys.stdout.buffer, found)


if __name__ == "__main__":
    main()

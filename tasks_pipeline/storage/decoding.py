"""Parquet from elsewhere is decoded once in a process of its own before anybody reads it: there it may fill memory that is bounded, take
time that is bounded, and crash. What decoded there row group by row group can be read here the same way."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_BYTES = 512 * 1024 * 1024
"""Of a row group, decoded: twice what one of ours has whose payloads are all as large as may be."""
FILE_ROWS = 50_000_000
"""Of a file: their places alone would fill memory."""
MEMORY = 1024 * 1024 * 1024
"""Bytes that decoding may take beside what the process has when it starts. On Linux; elsewhere the bounds above hold, of honest files."""
SECONDS, SLOWEST = 60.0, 2 * 1024 * 1024
"""Time for a file, and a second more for so many of its bytes."""


class Undecodable(Exception):
    """A file is not Parquet, or not such as may be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What is in a file: rows, and their bytes in memory."""

    rows: int
    bytes: int


def prove(path: Path, columns: Sequence[str] | None = None) -> Decoded:
    """Decode a local file elsewhere, all of it or some columns. Raises Undecodable, and OSError when there is no file."""
    with _lock:
        return _helper().prove(path, columns)


class _Helper:
    """The process, which takes one file after another."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    @property
    def is_at_work(self) -> bool:
        """Whether it is one of this process, and alive."""
        return self.pid == os.getpid() and self._process.poll() is None

    def prove(self, path: Path, columns: Sequence[str] | None) -> Decoded:
        seconds = SECONDS + path.stat().st_size / SLOWEST
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said = b""
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([str(path), columns]).encode() + b"\n")
            self._process.stdin.flush()
            if not select.select([self._process.stdout], [], [], seconds)[0]:
                self.close()
                raise Undecodable(f"it is not decoded after {seconds:.0f} s")
            said = self._process.stdout.readline()
        if not said:
            self.close()
            raise Undecodable(f"the process that decodes it died (status {self._process.returncode})")
        answer = json.loads(said)
        if answer["problem"]:
            raise Undecodable(answer["problem"])
        return Decoded(answer["rows"], answer["bytes"])

    def close(self) -> None:
        """End it."""
        if self.pid == os.getpid():
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if self.pid == os.getpid():
            self._process.wait()


_lock = threading.Lock()
_kept: list[_Helper] = []


def _helper() -> _Helper:
    if _kept and not _kept[0].is_at_work:
        _kept.pop().close()
    if not _kept:
        _kept.append(_Helper())
    return _kept[0]


@atexit.register
def _end() -> None:
    while _kept:
        _kept.pop().close()


# ── in the process


def _decode(path: str, columns: list[str] | None) -> Decoded:
    import pyarrow.parquet as pq

    rows = size = 0
    with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
        for field in file.schema_arrow:
            if not _is_plain(field.type):
                raise Undecodable(
                    f"column {field.name[:80]} is of a type that is never written: {str(field.type)[:80]}"
                )
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns, use_threads=False)
            rows, size = rows + table.num_rows, size + table.nbytes
            if table.nbytes > GROUP_BYTES:
                raise Undecodable(
                    f"row group {number} has {table.nbytes:,} bytes; allowed are {GROUP_BYTES:,}"
                )
            if rows > FILE_ROWS:
                raise Undecodable(f"it has more than {FILE_ROWS:,} rows, which are allowed")
    return Decoded(rows, size)


def _is_plain(kind: pa.DataType) -> bool:
    """Whether values lie one after the other: what names one value many times is small here, and large for the next who reads it."""
    import pyarrow as pa

    if pa.types.is_map(kind):
        return _is_plain(kind.key_type) and _is_plain(kind.item_type)
    if pa.types.is_list(kind):
        return _is_plain(kind.value_type)
    return bool(pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind))


def _bound_memory() -> None:
    with suppress(OSError, ImportError, ValueError):
        import resource

        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        used = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, used + MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve() -> None:
    import pyarrow as pa
    import pyarrow.parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _bound_memory()
    for line in sys.stdin.buffer:
        try:
            found, problem = _decode(*json.loads(line)), ""
        except (MemoryError, pa.ArrowMemoryError):
            found, problem = (
                Decoded(0, 0),
                f"decoding takes more than {MEMORY:,} bytes of memory, which are allowed",
            )
        except (Undecodable, pa.ArrowException, OSError, ValueError) as error:
            found, problem = Decoded(0, 0), str(error)[:500] or type(error).__name__
        sys.stdout.write(json.dumps({"rows": found.rows, "bytes": found.bytes, "problem": problem}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()

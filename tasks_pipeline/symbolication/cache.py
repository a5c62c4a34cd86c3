"""Files on disk that can be made again: unpacked sources, symbol tables, and verdicts on files that did harm.

An entry is named by a digest of what it is made of, so it never becomes stale; it carries a checksum, so a damaged one
is found and made again. Processes share the folder: an entry appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import uuid
import zlib
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

# Of another symbolic or another form of entries nothing is understood: its entries age away.
_FORM = f"1/{version('symbolic')}"
_HEADER = struct.Struct(">4sIQ")  # magic, checksum, length
_MAGIC = b"TPS1"
_TOUCH_SECONDS = 600  # an entry in use is marked so at most so often
_ABANDONED_SECONDS = 3600


def read_entry(path: str | Path, use: bool = True) -> bytes | None:
    """What an entry holds; None when it is not there or damaged. Unless told otherwise it is marked as used."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            header = file.read(_HEADER.size)
            data = file.read()
    except FileNotFoundError:
        return None
    if len(header) < _HEADER.size or _HEADER.unpack(header) != (_MAGIC, zlib.crc32(data), len(data)):
        return None
    if use and time.time() - status.st_mtime > _TOUCH_SECONDS:
        with suppress(FileNotFoundError):
            os.utime(path)
    return data


def write_entry(path: str | Path, data: bytes) -> None:
    """Keep an entry; another process may do the same at the same time."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(temporary, "wb") as file:
            file.write(_HEADER.pack(_MAGIC, zlib.crc32(data), len(data)))
            file.write(data)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class SymbolCache:
    """A folder of entries, at most `max_bytes` large after each `trim()`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def path(self, *parts: str) -> str:
        """Where the entry made of these parts lies."""
        digest = hashlib.sha256("\0".join((_FORM, *parts)).encode()).hexdigest()
        return str(self.folder / digest[:2] / digest)

    def trim(self) -> int:
        """Remove what was not used longest until the rest fits; returns the bytes that remain."""
        entries = []
        now = time.time()
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                if path.name.startswith(".") and now - status.st_mtime < _ABANDONED_SECONDS:
                    continue  # being written
                entries.append((status.st_mtime, status.st_size, path))
        entries.sort()
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
        return total

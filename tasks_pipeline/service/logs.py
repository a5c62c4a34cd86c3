"""Log files of supervised processes: opened, kept bounded, and their last lines shown."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 20 * 1024 * 1024
KEPT = 3
_TAIL_BYTES = 8192
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def rotate(path: Path) -> None:
    """NAME.log becomes NAME.log.1 and so on; the oldest beyond KEPT goes. For a log nobody has open."""
    if not path.exists() or path.stat().st_size == 0:
        return
    for number in range(KEPT - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number + 1}"))
    path.replace(path.with_name(f"{path.name}.1"))


def bound(path: Path) -> None:
    """Copy a log that grew beyond MAX_BYTES to NAME.log.1 and empty it.

    The process goes on writing to the same file: it was opened for appending, so its next line is the first again.
    Lines written between copy and cut are lost.
    """
    if path.exists() and path.stat().st_size > MAX_BYTES:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        with path.open("r+b") as file:
            file.truncate(0)


def open_log(path: Path) -> BinaryIO:
    """The log opened for appending, readable by its owner only."""
    file = path.open("ab")
    path.chmod(0o600)
    return file


def last_lines(path: Path, since: int = 0, count: int = 12) -> str:
    """The last lines written after byte `since`, indented, without colours and other control characters."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = since if since <= size else 0  # the log was cut meanwhile
        file.seek(max(start, size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = _COLOURS.sub("", text).splitlines()[-count:]
    shown = ["".join(c if c.isprintable() else " " for c in line)[:400].rstrip() for line in lines]
    return "\n".join(f"    {line}" for line in shown if line) or "    (it said nothing)"

"""Folders of this machine for what is on its way to a far place or from it. They end with their process, however that dies: the next
one removes what it left."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_BORN = 60.0
"""Seconds within which a folder may not be locked yet."""


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder of one's own for the time of the block, below that for temporary files (`TMPDIR`). Raises OSError."""
    root = _root()
    _sweep(root)
    folder = Path(tempfile.mkdtemp(dir=root))
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _root() -> Path:
    root = Path(tempfile.gettempdir(), f"tasks-pipeline-{os.getuid()}")
    root.mkdir(mode=0o700, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{root} is not a folder of this user alone: remove it, or set TMPDIR")
    return root


def _sweep(root: Path) -> None:
    """Remove the folders of processes that are no more."""
    for folder in root.iterdir():
        with suppress(OSError):  # it has just ended by itself, or somebody is at work in it
            if time.time() - folder.stat().st_mtime < _BORN:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)

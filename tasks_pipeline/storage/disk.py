"""What a local disk needs beside writing a file: names in a folder that survive a power cut, and room for what is written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

LOOK_BYTES = 16 * 1024 * 1024


class DiskFull(OSError):
    """So little disk is free that nothing large may be written."""


class Room:
    """The free disk of a folder, looked at while something large is written; `least` bytes are left for other things."""

    def __init__(self, folder: Path, least: Callable[[], int]) -> None:
        self._folder = folder
        self._least = least
        self._written = 0

    @property
    def least(self) -> int:
        """Bytes that have to stay free."""
        return self._least()

    def look(self) -> None:
        """Raise DiskFull when there is not enough."""
        if shutil.disk_usage(self._folder).free < self.least:
            raise DiskFull(errno.ENOSPC, "not enough free disk")

    def take(self, size: int) -> None:
        """Count bytes that are about to be written, and look every LOOK_BYTES. Raises DiskFull."""
        before = self._written // LOOK_BYTES
        self._written += size
        if self._written // LOOK_BYTES > before:
            self.look()


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk: a new or renamed file is durable only then. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder for this user alone, and those above it, durably; nothing when it is there. Raises OSError."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        sync_folder(folder.parent)

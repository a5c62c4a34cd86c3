"""Small files that other processes read while they are replaced."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner only; left alone when it already says this.

    Readers see the old text or the new one. Raises OSError.
    """
    try:
        if path.read_text(encoding="utf-8") == text and not path.stat().st_mode & 0o077:
            return
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        with open(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

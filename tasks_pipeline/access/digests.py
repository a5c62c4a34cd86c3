"""What is stored of secrets that are random: their SHA-256, from which they cannot be found."""

from __future__ import annotations

import hashlib


def digest(secret: str) -> str:
    """64 hex digits."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()

"""Keys under which missing symbols are noted on events and arriving ones are announced, so that the two meet."""

from __future__ import annotations

KEY_LENGTH = 300  # characters, the width of the column in the state database


def debug_id_key(debug_id: str) -> str:
    """Key of a debug file or of an artifact with a debug id; `debug_id` is normalised."""
    return f"debug_id:{debug_id}"[:KEY_LENGTH]


def release_key(release: str, dist: str | None) -> str:
    """Key of the artifacts of a release and dist, which are looked up by URL."""
    return f"release:{release}:{dist or ''}"[:KEY_LENGTH]

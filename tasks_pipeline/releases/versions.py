"""Which of two releases is the newer: by their version where both tell one of the same package, else by their dates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tasks_pipeline.protocol.release import parse_release


def is_newer(release: str, than: str, dates: Mapping[str, datetime]) -> bool:
    """Whether a release comes after another; `dates` are the order dates of those that are known.

    One that was never heard of is newer than any that was. The database sorts the releases of a package in the same
    order by `version_key`, `order_date`, `version`.
    """
    if release == than:
        return False
    by_version = compare_versions(release, than)
    if by_version:
        return by_version > 0
    if release not in dates or than not in dates:
        return than in dates
    if dates[release] == dates[than]:
        return by_version is not None and release > than
    return dates[release] > dates[than]


def decided_by(release: str, than: str) -> str:
    """What decides whether a release is newer than another, or is it: "version", where their names tell; else "date"."""
    by_version = compare_versions(release, than)
    return "version" if by_version or (by_version == 0 and release == than) else "date"


def compare_versions(a: str, b: str) -> int | None:
    """-1, 0 or 1 as the version in a name is before, the same as, or after that in another; None when they cannot tell."""
    ours, theirs = parse_release(a), parse_release(b)
    key, other = ours.sort_key, theirs.sort_key
    if key is None or other is None or ours.package != theirs.package:
        return None
    return (key > other) - (key < other)

"""Which of two releases is the newer: by their version where both tell one, else by when they were first seen.

Versions as https://semver.org has them, with what SDKs put around them: `name@1.2.3-beta.1+build`. Two to four numbers
are taken, since many projects use other than three. Builds that are both numbers count, as mobile clients need it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

_VERSION = re.compile(
    r"(?:(?P<package>[^@]+)@)?v?(?P<numbers>\d{1,9}(?:\.\d{1,9}){1,3})"
    r"(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+(?P<build>[0-9A-Za-z.-]+))?",
    re.ASCII,
)
_LONGEST = 200
_DIGITS = re.compile(r"[0-9]{1,18}")
Precedence = tuple[tuple[int, ...], tuple[tuple[int, int, str], ...]]


@dataclass(frozen=True, slots=True)
class Version:
    """A release that tells its version: of which package, what it is ordered by, and its build when that is a number."""

    package: str
    precedence: Precedence
    build: int | None


def parse_version(release: str) -> Version | None:
    """The version in a release's name; None when it holds none (a commit, say)."""
    match = _VERSION.fullmatch(release) if len(release) <= _LONGEST else None
    if match is None:
        return None
    numbers = tuple(int(n) for n in match["numbers"].split("."))
    build = match["build"] or ""
    return Version(
        package=match["package"] or "",
        precedence=(numbers + (0,) * (4 - len(numbers)), _pre_release(match["pre"])),
        build=int(build) if _DIGITS.fullmatch(build) else None,
    )


def _pre_release(text: str | None) -> tuple[tuple[int, int, str], ...]:
    """Sorts as semver says: before the release itself, numbers before words, fewer fields before more."""
    if text is None:
        return ((2, 0, ""),)
    fields = text.split(".")
    return tuple((0, int(f), "") if _DIGITS.fullmatch(f) else (1, 0, f) for f in fields)


def is_newer(release: str, than: str, first_seen: Mapping[str, datetime]) -> bool:
    """Whether a release comes after another. One that was never seen before is newer than any that was."""
    if release == than:
        return False
    ours, theirs = parse_version(release), parse_version(than)
    if ours and theirs and ours.package == theirs.package:
        if ours.precedence != theirs.precedence:
            return ours.precedence > theirs.precedence
        return ours.build is not None and theirs.build is not None and ours.build > theirs.build
    if than not in first_seen:
        return False
    return release not in first_seen or first_seen[release] > first_seen[than]


def newest_release(first_seen: Mapping[str, datetime]) -> str | None:
    """The newest of some releases, None of none.

    The one that was seen first most lately; if that tells its version, the highest version of its package, so that a
    correction of an old version is not taken for the newest.
    """
    if not first_seen:
        return None
    latest = max(first_seen, key=lambda release: (first_seen[release], release))
    version = parse_version(latest)
    if version is None:
        return latest
    same = [
        (found.precedence, found.build if found.build is not None else -1, release)
        for release in first_seen
        if (found := parse_version(release)) and found.package == version.package
    ]
    return max(same)[2]

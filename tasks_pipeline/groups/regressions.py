"""Regressions: which events bring a resolved group back, by their release where it was resolved in one, and how that is told.

Which of two releases is the newer is in `releases/versions.py`, what is known of them in `known_releases.py`. Releases decide
whenever an event happened; one that tells none brings back only what was resolved without regard to releases.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from typing import Any

from tasks_pipeline.groups.lifecycle import Lifecycle, Resolution, Status, is_about_time
from tasks_pipeline.protocol.release import why_no_release
from tasks_pipeline.releases.versions import decided_by, is_newer
from tasks_pipeline.words import short_commit

_NAME_SHOWN = 100


@dataclass(frozen=True, slots=True)
class KnownReleases:
    """What is known of a project's releases that a decision is about: their order dates, which of them have a date of release,
    and by commit the first that holds it."""

    dates: Mapping[str, datetime] = field(default_factory=dict)
    finalised: Collection[str] = frozenset()
    holding: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Regression:
    """How a resolved group came back: in the `release` of an event (None: that told none), compared with the release that
    the group was resolved in, or after, by version or by date; None where the time of the event decided."""

    resolution: Resolution
    release: str | None
    resolved_in: str | None = None
    compared: str | None = None
    commit: str | None = None

    @property
    def facts(self) -> dict[str, str]:
        """What logs and messages hold of it; what it has not is left out."""
        named = {
            "resolution": str(self.resolution), "release": self.release, "resolved_in": self.resolved_in,
            "compared": self.compared, "commit": self.commit,
        }  # fmt: skip
        return {name: value for name, value in named.items() if value is not None}


def regression(
    life: Lifecycle,
    newest: datetime,
    newest_release: str | None,
    found: Iterable[str],
    known: KnownReleases,
) -> Regression | None:
    """How events bring a group back; None when they do not.

    `newest` is the time of the newest of them and `newest_release` its release, `found` are the releases of all that tell
    one. Where several bring it back, the newest release is named.
    """
    if life.status is not Status.RESOLVED:
        return None
    if is_about_time(life):
        came_later = life.changed_at is None or newest > life.changed_at
        return Regression(Resolution.NOW, newest_release) if came_later else None
    assert life.resolution is not None
    version = life.resolved_in_release
    if life.resolution is Resolution.IN_COMMIT:
        version = known.holding.get(life.resolved_in_commit or "")
    if version is None:  # no release holds the commit yet: nothing can tell
        return None
    dates = _dates(life, version, known)
    fixed = sorted(
        name
        for name in set(found)
        if is_newer(name, version, dates)
        or (name == version and life.resolution is not Resolution.NEXT_RELEASE)
    )
    if not fixed:
        return None
    release = reduce(lambda one, other: other if is_newer(other, one, dates) else one, fixed)
    return Regression(
        life.resolution, release, version, decided_by(release, version), life.resolved_in_commit
    )


def _dates(life: Lifecycle, version: str, known: KnownReleases) -> Mapping[str, datetime]:
    """Order dates, of which that of the release in the resolution outlives its row: deleted, the release has no date, and
    made again by its next event it is no younger than it was."""
    said = life.resolved_release_date
    if said is None or version in known.finalised:
        return known.dates
    return {**known.dates, version: min(said, known.dates.get(version, said))}


def can_tell(release: str | None) -> bool:
    """Whether the release of an event can decide anything: not when it is none, or a word that can be none."""
    return bool(release) and why_no_release(release or "") is None


def told_regression(facts: Mapping[str, Any]) -> str:
    """What a log or a message says of a regression: `facts` are those of a Regression with `resolved_by` and `resolved_at`
    (ISO), as far as they are known."""
    release, version = facts.get("release"), facts.get("resolved_in")
    said = "it is back"
    if release:
        said += f" in {_name(release)}"
    if release and version:
        said += " (the same release)" if release == version else f" (newer by {facts.get('compared')})"
    said += f": it was resolved{_resolved_how(facts, version)}"
    if facts.get("resolved_by"):
        said += f" by {_name(facts['resolved_by'])}"
    if facts.get("resolved_at"):
        said += f" at {datetime.fromisoformat(facts['resolved_at']):%Y-%m-%d %H:%M:%S} UTC"
    return said


def _resolved_how(facts: Mapping[str, Any], version: str | None) -> str:
    if version is None:
        return ""
    if facts.get("resolution") == Resolution.NEXT_RELEASE:
        return f" in the release after {_name(version)}"
    commit = facts.get("commit")
    return f" in {_name(version)}" + (f" with commit {short_commit(commit)}" if commit else "")


def _name(text: str) -> str:
    return text if len(text) <= _NAME_SHOWN else f"{text[: _NAME_SHOWN - 1]}…"

"""Stages of releases: what they are, the fold of hours that tells them, and their rows. Sessions are read in adoption.py.

At each full hour the stage of a release in a named environment of a project follows from its share of the sessions that
began there in the six hours before:

- at least a tenth: `adopted`;
- less, and it was adopted before: `replaced`;
- less, and it never was: `low_adoption`;
- no session of any release there in these hours: nothing changes, so a quiet night replaces nothing.

So the stage at an hour and the sessions since tell all stages after it: days that change are folded again from there.
A release that is not looked at, since so many others have more sessions, keeps what it has: see MOST_RELEASES in adoption.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, literal_column, select

from tasks_pipeline.releases.spans import HOUR
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import release_stages, releases
from tasks_pipeline.storage.state.wanted import rows_among

LOW, ADOPTED, REPLACED = STAGES = ("low_adoption", "adopted", "replaced")
WINDOW = 6 * HOUR
_ONE_IN = 10
"""A release is adopted with one session in so many."""

Key = tuple[int, str, str]
"""Project, environment, version."""
Place = tuple[int, str]
"""Project, environment."""
Share = tuple[int, int]
"""Sessions of a release in the hours before a full hour, and those of all releases there."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage of a release since a full hour; `adopted_at` is when it was adopted for the first time ever."""

    project_id: int
    environment: str
    version: str
    since: datetime
    stage: str
    adopted_at: datetime | None

    @property
    def key(self) -> Key:
        """Which release, and where."""
        return self.project_id, self.environment, self.version

    @property
    def release(self) -> tuple[int, str]:
        """Which release, wherever."""
        return self.project_id, self.version

    @property
    def unadopted_at(self) -> datetime | None:
        """When it was replaced, unless it was adopted again since."""
        return self.since if self.stage == REPLACED else None


@dataclass(slots=True)
class StageFold:
    """Stages as hours go by. `standing` has the stage of each release that matters: see `expect`."""

    standing: dict[Key, Stage] = field(default_factory=dict)
    _adopted: defaultdict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))

    def expect(self, stages: Iterable[Stage]) -> None:
        """Make known what was before the hours that follow: of each release in them, and of each that is adopted where they
        have sessions. One that is known already stays as it is."""
        for stage in stages:
            if stage.key not in self.standing:
                self._stand(stage)

    def hour(self, at: datetime, shares: Mapping[Key, Share]) -> list[Stage]:
        """Take the shares of a full hour; gives the stages that changed then. Hours come in order.

        Each place where sessions began has at least one release among them. A release that is adopted is among them wherever
        it has a tenth: else it has less.
        """
        places: defaultdict[Place, dict[str, Share]] = defaultdict(dict)
        for (project_id, environment, version), share in shares.items():
            places[project_id, environment][version] = share
        return [stage for place in sorted(places) for stage in self._judge(place, places[place], at)]

    def _judge(self, place: Place, shares: Mapping[str, Share], at: datetime) -> list[Stage]:
        found = []
        for version in sorted(shares.keys() | self._adopted[place]):
            before = self.standing.get((*place, version))
            stage = _stage(shares.get(version), before)
            if before is None or before.stage != stage:
                adopted_at = before.adopted_at if before else None
                if stage == ADOPTED and adopted_at is None:
                    adopted_at = at
                found.append(Stage(*place, version, at, stage, adopted_at))
        for one in found:
            self._stand(one)
        return found

    def _stand(self, stage: Stage) -> None:
        self.standing[stage.key] = stage
        adopted = self._adopted[stage.key[:2]]
        (adopted.add if stage.stage == ADOPTED else adopted.discard)(stage.version)


def is_adopted(sessions: str, everyone: str) -> str:
    """The rule as SQL over columns of sessions: that of `_stage`."""
    return f"{_ONE_IN} * {sessions} >= {everyone}"


def _stage(share: Share | None, before: Stage | None) -> str:
    if share is not None and _ONE_IN * share[0] >= share[1]:
        return ADOPTED
    return LOW if before is None or before.adopted_at is None else REPLACED


# ── rows

LOCK = "release_stages"
"""Held by whoever writes stages: they are told in no order of rows, so two at a time could wait for each other."""

_NOW_ADOPTED = and_(
    release_stages.c.until.is_(None), release_stages.c.stage == literal_column(f"'{ADOPTED}'")
)


@dataclass(slots=True)
class Former:
    """What is stored about the time after a moment: to fold it again, and to write down what that changed.

    `after` are stages that began after it, `cut` those of that moment that end after it; both with their end.
    """

    at: datetime
    after: dict[tuple[Key, datetime], tuple[Stage, datetime | None]]
    cut: dict[Key, tuple[Stage, datetime | None]]


def read_former(connection: Connection, at: datetime) -> Former:
    """What is stored about the time after a moment."""
    c = release_stages.c
    after = connection.execute(select(release_stages).where(c.since > at))
    cut = connection.execute(select(release_stages).where(c.until.is_not(None), c.until > at, c.since <= at))
    return Former(
        at,
        {(stage.key, stage.since): (stage, until) for stage, until in map(_ended, after)},
        {stage.key: (stage, until) for stage, until in map(_ended, cut)},
    )


def stages_before(connection: Connection, former: Former, keys: Collection[Key]) -> list[Stage]:
    """The stages at the moment of `former` of these releases, and of all that are adopted at their places."""
    c, at = release_stages.c, former.at
    places = {key[:2] for key in keys}
    found = [stage for stage, _ in former.cut.values() if stage.key in keys or stage.key[:2] in places]
    standing = select(release_stages).where(c.until.is_(None), c.since <= at)
    rows = [*rows_among(connection, standing, keys, c.project_id, c.environment, c.version)]
    adopted = select(release_stages).where(_NOW_ADOPTED, c.since <= at)
    rows += rows_among(connection, adopted, places, c.project_id, c.environment)
    return found + [_stage_of(row) for row in rows]


def releases_among(connection: Connection, named: Collection[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of some names, given with their projects, that are releases. Strangers invent others by the thousand, and some
    were deleted: they have sessions, which count, but no stages of their own."""
    c = releases.c
    query = select(c.project_id, c.version)
    return {
        (row.project_id, row.version) for row in rows_among(connection, query, named, c.project_id, c.version)
    }


def replace_stages(
    state: StateDatabase,
    connection: Connection,
    former: Former,
    before: Mapping[Key, Stage],
    stages: Iterable[Stage],
) -> tuple[list[Stage], int]:
    """Put stages in the place of all that began after the moment of `former`. `before` has those of that moment, of each
    release that has new ones. Gives what was not stored before, and how many went. The caller holds LOCK.

    A release that was deleted meanwhile gets none.
    """
    stages, standing = list(stages), [*before.values(), *(stage for stage, _ in former.cut.values())]
    here = releases_among(connection, {stage.release for stage in (*stages, *standing)})
    new = _with_ends(stage for stage in stages if stage.release in here)
    changed = {at: ended for at, ended in new.items() if former.after.get(at) != ended}
    gone = former.after.keys() - new.keys()
    firsts: dict[Key, datetime] = {}
    for key, since in sorted(new):
        firsts.setdefault(key, since)
    ends = {
        stage.key: (stage, firsts.get(stage.key))
        for stage in standing
        if stage.release in here and (stage.key in firsts or stage.key in former.cut)
    }
    rows = [
        *(ended for key, ended in ends.items() if former.cut.get(key, (ended[0], None)) != ended),
        *changed.values(),
    ]
    _delete(connection, gone)
    for some in chunks([_row(*ended) for ended in rows]):
        state.put(connection, _put_stages, some)
    added = [
        stage for at, (stage, _) in changed.items() if at not in former.after or former.after[at][0] != stage
    ]
    return added, len(gone)


def _with_ends(stages: Iterable[Stage]) -> dict[tuple[Key, datetime], tuple[Stage, datetime | None]]:
    ended: dict[tuple[Key, datetime], tuple[Stage, datetime | None]] = {}
    next_of: dict[Key, datetime] = {}
    for stage in sorted(stages, key=lambda stage: stage.since, reverse=True):
        ended[stage.key, stage.since] = stage, next_of.get(stage.key)
        next_of[stage.key] = stage.since
    return ended


def _put_stages(state: StateDatabase) -> Any:
    statement = state.insert(release_stages)
    values = {name: statement.excluded[name] for name in ("until", "stage", "adopted_at")}
    return statement.on_conflict_do_update(
        index_elements=list(release_stages.primary_key.columns), set_=values
    )


def _delete(connection: Connection, gone: Collection[tuple[Key, datetime]]) -> None:
    names = ("project_id", "environment", "version", "since")
    statement = delete(release_stages).where(
        *(release_stages.c[name] == bindparam(f"of_{name}") for name in names)
    )
    for some in chunks(sorted(gone)):
        connection.execute(
            statement,
            [{f"of_{n}": v for n, v in zip(names, (*key, since), strict=True)} for key, since in some],
        )


def _row(stage: Stage, until: datetime | None) -> dict[str, Any]:
    return {
        "project_id": stage.project_id, "environment": stage.environment, "version": stage.version, "since": stage.since,
        "until": until, "stage": stage.stage, "adopted_at": stage.adopted_at,
    }  # fmt: skip


def _stage_of(row: Any) -> Stage:
    return Stage(row.project_id, row.environment, row.version, row.since, row.stage, row.adopted_at)


def _ended(row: Any) -> tuple[Stage, datetime | None]:
    return _stage_of(row), row.until


# ── for people


def current_stages(
    connection: Connection, named: Collection[tuple[int, str]]
) -> dict[tuple[int, str], dict[str, Stage]]:
    """The stages of releases, given as project and version, by environment. Those that have none are left out."""
    c = release_stages.c
    found: dict[tuple[int, str], dict[str, Stage]] = {}
    query = select(release_stages).where(c.until.is_(None)).order_by(c.environment)
    for row in rows_among(connection, query, named, c.project_id, c.version):
        found.setdefault((row.project_id, row.version), {})[row.environment] = _stage_of(row)
    return found


@dataclass(frozen=True, slots=True)
class Overall:
    """Stages of several environments as one: the best of them; since when it is adopted anywhere, or nowhere any more."""

    stage: str
    adopted_at: datetime | None
    unadopted_at: datetime | None


def overall(stages: Collection[Stage]) -> Overall | None:
    """Adopted where it is adopted anywhere, else replaced, else low adoption; None without stages."""
    if not stages:
        return None
    best = next(stage for stage in (ADOPTED, REPLACED, LOW) if any(one.stage == stage for one in stages))
    replaced = [one.unadopted_at for one in stages if one.unadopted_at] if best == REPLACED else []
    return Overall(
        best,
        min((one.adopted_at for one in stages if one.adopted_at), default=None),
        max(replaced, default=None),
    )

"""What became of groups in a period, from the log of their moves and never from their status of today: the balance, first
response, resolution, ages of what is open, by assignee."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.measures import OPEN, newest, up_to
from tasks_pipeline.reports.content.spans import Bounds, in_moments, moment
from tasks_pipeline.reports.report import Balance, BalanceRow, Resolutions, Spread
from tasks_pipeline.reports.scopes import Scope

if TYPE_CHECKING:
    import pandas as pd


AGES = (0, 1, 7, 30, 90)
"""Open groups are counted by the days that they are open at least."""
MOST_ASSIGNEES = 20


@dataclass(slots=True)
class GroupLog:
    """Moves of a period as frames. `moves`: those in it, each with when its group last became open before it. `begin` and `end`:
    groups that were open then, `end` also those that a team has, each with status, assignee, and since when it is open.
    `waits`: groups created in it, with seconds until a person first did something (NaN: nobody did)."""

    moves: pd.DataFrame
    begin: pd.DataFrame
    end: pd.DataFrame
    waits: pd.DataFrame

    def of(self, scope: Scope) -> GroupLog:
        """What of it is a scope's."""
        if scope.project_ids is None:
            return self
        projects = scope.project_ids
        elsewhere = set(self.end[self.end["assignee"] == scope.assignee]["group_id"]) if scope.team else set()

        def own(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[frame["project_id"].isin(projects) | frame["group_id"].isin(elsewhere)]

        return GroupLog(own(self.moves), own(self.begin), own(self.end), own(self.waits))

    @property
    def open_at_end(self) -> pd.DataFrame:
        """Groups that are open at the end."""
        return self.end[self.end["open"]]


def read_log(lake: Figures, span: Bounds) -> GroupLog:
    """The log of a period."""
    in_span = in_moments(span)
    return GroupLog(
        moves=_frame(lake, _moves(span, in_span)),
        begin=_frame(lake, f"SELECT * FROM ({_status(up_to(span.start))}) WHERE open"),
        end=_frame(
            lake, f"SELECT * FROM ({_status(up_to(span.end))}) WHERE open OR starts_with(assignee, 'team:')"
        ),
        waits=_frame(lake, _waits(span, in_span)),
    )


def balance_of(log: GroupLog) -> Balance:
    """The balance: moves are counted, not groups, so that it adds up."""
    moves = log.moves
    created = moves["move"] == "created"
    became = moves["status_to"].where(moves["status_to"] != moves["status_from"].fillna(""), "")
    entered = moves["opens"] & ~moves["was_open"]
    merged = (moves["move"] == "merge") & (became != "") & ~moves["opens"]
    resolved = moves[became == "resolved"]
    return Balance(
        open_at_start=len(log.begin),
        new=int(created.sum()),
        reopened=int((entered & ~created).sum()),
        resolved=len(resolved),
        ignored=int((became == "ignored").sum()),
        merged=int(merged.sum()),
        open_at_end=len(log.open_at_end),
        entered=int(entered.sum()),
        left=int((moves["was_open"] & ~moves["opens"]).sum()),
        first_response=_first_response(log.waits),
        resolution=_resolution(resolved),
    )


def ages_of(log: GroupLog, span: Bounds) -> dict[int, int]:
    """Groups open at the end by the days that they are open at least, those of the next step left out."""
    seconds = (span.end - log.open_at_end["opened"]).dt.total_seconds()
    at_least = [int((seconds >= days * 86_400).sum()) for days in AGES]
    return {days: n - more for days, n, more in zip(AGES, at_least, [*at_least[1:], 0], strict=True)}


def by_assignee(log: GroupLog, names: Mapping[str, str]) -> list[BalanceRow]:
    """Open at the end and resolved in the period by who has the groups, those with the most first; `names`: of hashes of members."""
    held = log.open_at_end["assignee"].value_counts()
    moves = log.moves
    resolved = moves[(moves["status_to"] == "resolved") & (moves["status_from"] != "resolved")]
    done = resolved["assignee"].value_counts()
    rows = [
        BalanceRow(assignee=names.get(who, who), open=int(held.get(who, 0)), resolved=int(done.get(who, 0)))
        for who in {*held.index, *done.index}
    ]
    return sorted(rows, key=lambda r: (-r.open, -r.resolved, r.assignee))[:MOST_ASSIGNEES]


def nearest_rank(values: list[float], percent: int) -> float | None:
    """The value at place ceil(p·n) of sorted values; None of none, and where it is infinite."""
    if not values:
        return None
    found = sorted(values)[-(-percent * len(values) // 100) - 1]
    return None if math.isinf(found) else found


def _first_response(waits: pd.DataFrame) -> Spread:
    """A group that waits counts as infinite: what is still unanswered must not look quick."""
    seconds = waits["seconds"].fillna(math.inf).tolist()
    return Spread(
        groups=len(seconds),
        responded=sum(not math.isinf(each) for each in seconds),
        p50_seconds=nearest_rank(seconds, 50),
        p90_seconds=nearest_rank(seconds, 90),
    )


def _resolution(resolved: pd.DataFrame) -> Resolutions:
    known = (resolved["at"] - resolved["opened"]).dt.total_seconds().dropna().tolist()
    return Resolutions(
        resolved=len(resolved), p50_seconds=nearest_rank(known, 50), p90_seconds=nearest_rank(known, 90)
    )


_PLACE = '("at", coalesce(action_id, 0))'
_ENTERS = f"status_to IN {OPEN} AND coalesce(status_from NOT IN {OPEN}, true)"


def _status(rows: str) -> str:
    """What each group is by its newest move among some rows: whether it is open and since when, its status and assignee."""
    return (
        f"SELECT project_id, group_id, {newest('status_to')} AS status, coalesce({newest('assignee')}, '') AS assignee, "
        f'{newest("status_to")} IN {OPEN} AS open, max("at") FILTER ({_ENTERS}) AS opened '
        f"FROM lake.group_moves WHERE {rows} GROUP BY project_id, group_id"
    )


def _moves(span: Bounds, in_span: str) -> str:
    """Moves in the span; of their groups all before them too, since these say when a group last became open."""
    moved = f"SELECT group_id FROM lake.group_moves WHERE {in_span}"
    before = f"PARTITION BY project_id, group_id ORDER BY {_PLACE} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    return (
        "SELECT project_id, group_id, \"at\", move, status_from, status_to, coalesce(assignee, '') AS assignee, opened, "
        f"coalesce(status_from IN {OPEN}, false) AS was_open, status_to IN {OPEN} AS opens FROM ("
        f'SELECT *, max(CASE WHEN {_ENTERS} THEN "at" END) OVER ({before}) AS opened '
        f"FROM lake.group_moves WHERE {up_to(span.end)} AND group_id IN ({moved})) "
        f'WHERE "at" >= {moment(span.start)} ORDER BY {_PLACE}, project_id, group_id'
    )


def _waits(span: Bounds, in_span: str) -> str:
    return (
        'SELECT c.project_id, c.group_id, date_diff(\'microsecond\', c."at", min(p."at")) / 1e6 AS seconds '
        f"FROM (SELECT * FROM lake.group_moves WHERE {in_span} AND move = 'created') c "
        f"LEFT JOIN (SELECT * FROM lake.group_moves WHERE {in_span} AND \"by\" = 'person') p "
        'ON p.project_id = c.project_id AND p.group_id = c.group_id GROUP BY c.project_id, c.group_id, c."at"'
    )


def _frame(lake: Figures, sql: str) -> pd.DataFrame:
    frame: pd.DataFrame = lake.arrow(sql).to_pandas()
    return frame

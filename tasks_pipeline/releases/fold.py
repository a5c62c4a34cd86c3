"""The fold: what all updates of a session come to, as SQL over rows of `lake.sessions`.

One text for the tables of a day and for alert rules, so that both say the same. Whatever is counted of sessions later
(states, users, adoption) begins here; what is stored of them does not belong here (`health.py`).
"""

from __future__ import annotations

from tasks_pipeline.protocol.bounds import MAX_AHEAD, MAX_DRIFT

HEALTHY, ERRORED, UNHANDLED, ABNORMAL, CRASHED = RANKS = (1, 2, 3, 4, 5)
STATES = ("healthy", "errored", "unhandled", "abnormal", "crashed")
"""Names of the ranks, in their order: how sessions end, and how users fare, from good to bad. They do not overlap."""
AHEAD = MAX_AHEAD + MAX_DRIFT
"""No row is received earlier than so long before the begin that it claims."""

_RANK = (
    f"CASE status WHEN 'crashed' THEN {CRASHED} WHEN 'abnormal' THEN {ABNORMAL} WHEN 'unhandled' THEN {UNHANDLED} "
    f"WHEN 'errored' THEN {ERRORED} ELSE CASE WHEN errors > 0 THEN {ERRORED} ELSE {HEALTHY} END END"
)


def folded(rows: str) -> str:
    """SQL with a row for each session among `rows` (SQL that gives rows of `lake.sessions`), and for each count of a bucket:
    project_id, release, environment (never null), started, rank, user_hash, duration_s and quantity.

    A maximum, the first and the last by a key: so the order of rows, and rows that came twice, change nothing. Filter by
    `started` what this gives, never `rows`: updates of one session may claim different begins, and the first decides.
    """
    # arg_min skips rows whose value is null: an environment that may be missing is wrapped, or a later one would be taken.
    return (
        f"WITH ranked AS (SELECT *, (seq, received_at, part, position, item) AS place, {_RANK} AS rank FROM ({rows})) "
        "SELECT project_id, arg_min(release, place) AS release, "
        "coalesce(arg_min({'e': environment}, place).e, '') AS environment, arg_min(started, place) AS started, "
        "max(rank) AS rank, arg_max(user_hash, place) FILTER (user_hash IS NOT NULL) AS user_hash, "
        f"CASE WHEN max(rank) <= {ERRORED} THEN max(duration_s) FILTER (status = 'exited') END AS duration_s, "
        "1::BIGINT AS quantity "
        "FROM ranked WHERE session_id IS NOT NULL GROUP BY project_id, session_id "
        "UNION ALL SELECT project_id, release, coalesce(environment, ''), started, rank, user_hash, "
        f"CASE WHEN rank <= {ERRORED} AND status = 'exited' THEN duration_s END, quantity "
        "FROM ranked WHERE session_id IS NULL"
    )

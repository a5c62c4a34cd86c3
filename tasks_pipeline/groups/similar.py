"""Signatures of groups, and the pairs of groups that look alike: proposed, merged, or rejected by somebody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, LargeBinary, func, or_, select

from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.groups.similarity import VERSION, Pair, features, is_comparable, is_current, sign
from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.storage.lake.events import payloads_of, place_of
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_signatures, groups, similar_groups

if TYPE_CHECKING:
    from tasks_pipeline.storage.lake.lake import Lake

PROPOSED, REJECTED = "proposed", "rejected"
CHUNK_GROUPS = 200  # groups whose newest event is in memory at once
_LIVING = groups.c.merged_into.is_(None) & (groups.c.status != Status.DISCARDED) & (groups.c.times_seen > 0)


def sign_groups(state: StateDatabase, lake: Lake) -> int:
    """Give every group that has none the signature of its newest event; gives how many.

    Groups of a fingerprint that a client or a rule chose alone (variant `custom`) get an empty one: somebody decided
    already what belongs together there. So do groups without stored events, such as those of monitors: else they would be
    looked for in the lake each time.
    """
    version = func.substr(group_signatures.c.signature, 1, 1, type_=LargeBinary())
    current = select(group_signatures.c.group_id).where(version == bytes([VERSION]))
    with state.read() as connection:
        rows = connection.execute(
            select(groups.c.id, groups.c.project_id)
            .where(_LIVING, groups.c.id.not_in(current))
            .order_by(groups.c.id)
        )
        unsigned = [(group_id, project_id) for group_id, project_id in rows]
    return sum(
        _sign_chunk(state, lake, dict(unsigned[start : start + CHUNK_GROUPS]))
        for start in range(0, len(unsigned), CHUNK_GROUPS)
    )


def _sign_chunk(state: StateDatabase, lake: Lake, project_of: Mapping[int, int]) -> int:
    rows = []
    newest = _newest_events(lake, project_of)
    payloads = payloads_of(state, lake, newest)
    for event in newest:
        payload = payloads.get(place_of(event))
        if payload is None:
            continue
        found = set() if event["variant"] == "custom" else features(decode_json(payload))
        rows.append(
            {
                "group_id": event["group_id"],
                "project_id": project_of[event["group_id"]],
                "signature": sign(found),
                "features": len(found),
            }
        )
    eventless = sorted(project_of.keys() - {row["group_id"] for row in rows})
    rows += [
        {"group_id": group_id, "project_id": project_of[group_id], "signature": sign(set()), "features": 0}
        for group_id in eventless
    ]
    insert = state.insert(group_signatures)
    signed = insert.on_conflict_do_update(
        index_elements=[group_signatures.c.group_id],
        set_={"signature": insert.excluded.signature, "features": insert.excluded.features},
    )
    with state.write() as connection:
        for part in chunks(rows):
            connection.execute(signed, list(part))
    return len(rows)


def _newest_events(lake: Lake, group_ids: Collection[int]) -> list[dict[str, Any]]:
    """Of each group the variant and the place of its newest event."""
    numbers = ", ".join(str(group_id) for group_id in sorted(group_ids))
    return lake.query(
        "SELECT group_id, unnest(arg_max("
        "{'day': day, 'part': part, 'position': position, 'item': item, 'variant': variant}, "
        "(timestamp, day, part, position, item))) "
        f"FROM lake.events WHERE group_id IN ({numbers}) GROUP BY group_id ORDER BY group_id"
    )


def signatures_by_platform(state: StateDatabase) -> dict[tuple[int, str], dict[int, bytes]]:
    """Comparable signatures of the groups that people see, by project and platform."""
    found: dict[tuple[int, str], dict[int, bytes]] = defaultdict(dict)
    with state.read() as connection:
        rows = connection.execute(
            select(groups.c.id, groups.c.project_id, groups.c.platform, group_signatures.c.signature)
            .join_from(groups, group_signatures)
            .where(_LIVING)
            .order_by(groups.c.id)
        )
        for group_id, project_id, platform, signature in rows:
            if is_current(signature) and is_comparable(signature):
                found[project_id, platform][group_id] = bytes(signature)
    return dict(found)


def propose(state: StateDatabase, project_id: int, pairs: Sequence[Pair]) -> int:
    """Note pairs that look alike, but for those that are known in whatever state; gives how many are new."""
    now = datetime.now(UTC)
    with state.write() as connection:
        known = _known_pairs(connection, project_id)
        rows = [
            {
                "group_id": older,
                "other_id": newer,
                "project_id": project_id,
                "score": score,
                "status": PROPOSED,
                "found_at": now,
            }
            for older, newer, score in pairs
            if (older, newer) not in known
        ]
        for part in chunks(rows):
            connection.execute(state.insert(similar_groups).on_conflict_do_nothing(), list(part))
    return len(rows)


def _known_pairs(connection: Connection, project_id: int) -> set[tuple[int, int]]:
    rows = connection.execute(
        select(similar_groups.c.group_id, similar_groups.c.other_id).where(
            similar_groups.c.project_id == project_id
        )
    )
    return {(older, newer) for older, newer in rows}


def proposed_pairs(
    state: StateDatabase, *, project_id: int | None = None, group_id: int | None = None, least: float = 0.0
) -> list[Pair]:
    """Proposals between groups that people see, the most similar first."""
    pair, other = similar_groups.c, groups.alias("other")
    query = (
        select(pair.group_id, pair.other_id, pair.score)
        .join(groups, groups.c.id == pair.group_id)
        .join(other, other.c.id == pair.other_id)
        .where(pair.status == PROPOSED, pair.score >= least, _LIVING)
        .where(other.c.merged_into.is_(None), other.c.status != Status.DISCARDED, other.c.times_seen > 0)
        .order_by(pair.score.desc(), pair.group_id, pair.other_id)
    )
    if project_id is not None:
        query = query.where(pair.project_id == project_id)
    if group_id is not None:
        query = query.where(or_(pair.group_id == group_id, pair.other_id == group_id))
    with state.read() as connection:
        return [(older, newer, score) for older, newer, score in connection.execute(query)]


def rejected_between(connection: Connection, some: Collection[int], others: Collection[int]) -> bool:
    """Whether somebody took a group of the one kind and a group of the other apart."""
    pair = similar_groups.c
    either = or_(
        pair.group_id.in_(some) & pair.other_id.in_(others),
        pair.group_id.in_(others) & pair.other_id.in_(some),
    )
    query = select(pair.group_id).where(pair.status == REJECTED, either).limit(1)
    return connection.execute(query).first() is not None

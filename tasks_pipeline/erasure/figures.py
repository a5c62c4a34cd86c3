"""Figures that name users, as hashes: what they say of some users goes, and all else of them stays."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.retention.lake import write_again
from tasks_pipeline.storage.lake.lake import Lake


def forget_users(lake: Lake, hashes: Mapping[int, Collection[int]]) -> list[Erased]:
    """Remove users from `event_users`, `session_users` and `group_stats`; few hashes, by project. Raises DayChanging."""
    if not any(hashes.values()):
        return []
    theirs = _theirs(hashes)
    # How many users a group had stays, as all that was counted.
    without = (
        f"map_from_entries(list_filter(map_entries(users), lambda e: NOT list_contains({theirs}, e.key)))"
    )
    gone: list[Erased] = []
    for name, condition in _naming(theirs).items():
        days = _days(lake, name, condition)
        for day in days:
            if name == "group_stats":
                write_again(
                    lake, day, {name: "true"}, {"users": f"CASE WHEN users IS NOT NULL THEN {without} END"}
                )
            else:
                write_again(lake, day, {name: f"({condition}) IS NOT TRUE"})
        gone.append(_erased(name, days))
    return [each for each in gone if each.rows]


def rename_users(lake: Lake, hashes: Mapping[int, Mapping[int, int]]) -> list[Erased]:
    """Have users be others in `event_users`, `session_users` and `group_stats`; few hashes, by project the former and the new one. As many
    are counted as before. Raises DayChanging."""
    if not any(hashes.values()):
        return []
    theirs = _theirs(hashes)
    renamed = _renamed(hashes, "user_hash")
    in_map = f"map_from_entries(list_transform(map_entries(users), lambda e: struct_pack(key := {_renamed(hashes, 'e.key')}, value := e.value)))"  # fmt: skip
    gone = []
    for name, condition in _naming(theirs).items():
        days = _days(lake, name, condition)
        for day in days:
            if name == "group_stats":
                write_again(
                    lake, day, {name: "true"}, {"users": f"CASE WHEN users IS NOT NULL THEN {in_map} END"}
                )
            else:
                write_again(lake, day, {name: "true"}, {"user_hash": renamed})
        gone.append(Erased(f"lake.{name}", sum(days.values()), "pseudonymised"))
    return [each for each in gone if each.rows]


def _renamed(hashes: Mapping[int, Mapping[int, int]], column: str) -> str:
    """SQL of what a hash is called from then on."""
    whens = " ".join(
        f"WHEN project_id = {int(project)} AND {column} = ({int(old)}) THEN ({int(new)})::BIGINT"
        for project, found in sorted(hashes.items())
        for old, new in sorted(found.items())
    )
    return f"CASE {whens} ELSE {column} END"


def count_users(lake: Lake, hashes: Mapping[int, Collection[int]]) -> list[Erased]:
    """Rows of figures that name one of the users; nothing is changed."""
    if not any(hashes.values()):
        return []
    found = [
        _erased(name, _days(lake, name, condition)) for name, condition in _naming(_theirs(hashes)).items()
    ]
    return [each for each in found if each.rows]


def _naming(theirs: str) -> dict[str, str]:
    """By table the condition of rows that name one of the users."""
    return {
        "event_users": f"list_contains({theirs}, user_hash)",
        "session_users": f"list_contains({theirs}, user_hash)",
        "group_stats": f"users IS NOT NULL AND list_has_any(map_keys(users), {theirs})",
    }


def _erased(name: str, days: Mapping[date, int]) -> Erased:
    how = "overwritten" if name == "group_stats" else "deleted"
    return Erased(f"lake.{name}", sum(days.values()), how)


def _theirs(hashes: Mapping[int, Collection[int]]) -> str:
    """SQL of the hashes that go of the project of a row."""
    whens = " ".join(
        f"WHEN {int(project)} THEN [{', '.join(f'({int(each)})' for each in sorted(found))}]::BIGINT[]"
        for project, found in sorted(hashes.items())
        if found
    )
    return f"(CASE project_id {whens} ELSE []::BIGINT[] END)"


def _days(lake: Lake, name: str, condition: str) -> dict[date, int]:
    rows = lake.query(
        f"SELECT day, count(*) AS rows FROM lake.{name} WHERE {condition} GROUP BY day ORDER BY day"
    )
    return {row["day"]: row["rows"] for row in rows}

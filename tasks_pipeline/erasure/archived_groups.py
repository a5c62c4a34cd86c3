"""Groups in archives: what they say is of events that stay, as in the state database (shown_groups.py)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.archive.rewrite import Changed
from tasks_pipeline.erasure.shown_groups import founders_of, said_of, shown_instead
from tasks_pipeline.erasure.state_texts import is_told_in
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.groups.derived import lake_newest
from tasks_pipeline.storage.lake.lake import Lake

GROUPS = 500
"""Groups that are looked at together."""


def changes_of_groups(
    lake: Lake, day: OpenedDay, gone: str | None, within: Texts, exact: Collection[str]
) -> dict[str, Changed]:
    """What becomes of rows of groups of an archived day when events that meet a condition go (None: none do): they show their newest event
    of the day that stays, and no explanation of one that goes. `within`: texts that are overwritten in what they say otherwise; `exact`:
    what events said that went before."""

    def of_groups(piece: pa.Table) -> tuple[pa.Table, int]:
        rows = piece.to_pylist()
        changed = 0
        for start in range(0, len(rows), GROUPS):
            some = rows[start : start + GROUPS]
            among = _among([row["id"] for row in some])
            said = {} if gone is None else said_of(lake, among)
            staying = {} if gone is None else lake_newest(day, f"({gone}) IS NOT TRUE AND {among}")
            for row in some:
                told = {*said.get(row["id"], ()), *exact}
                new = _shown(row, told, staying.get(row["id"]), within)
                changed += new != {name: row[name] for name in new}
                row.update(new)
        return (pa.Table.from_pylist(rows, schema=piece.schema), changed) if changed else (piece, 0)

    def of_explanations(piece: pa.Table) -> tuple[pa.Table, int]:
        ids = piece["group_id"].to_pylist()
        theirs = set() if gone is None else _founded(lake, day, ids)
        goes = [
            group_id in theirs or is_told_in(explanation, within)
            for group_id, explanation in zip(ids, piece["explanation"].to_pylist(), strict=True)
        ]
        return piece.filter(pa.array([not each for each in goes], pa.bool_())), sum(goes)

    return {"groups": of_groups, "group_explanations": of_explanations}


def _shown(
    row: Mapping[str, Any], gone: Collection[str], newest: Mapping[str, Any] | None, within: Texts
) -> dict[str, Any]:
    """Title, culprit and metadata of an archived row as they are to be."""
    title, culprit, metadata = row["title"], row["culprit"], json.loads(row["metadata"] or "{}")
    shown = shown_instead(title, culprit, metadata, gone, newest)
    if shown is not None:
        title, culprit, metadata = shown
    if within:
        title, culprit = within.removed_from(title or ""), within.removed_from(culprit or "")
        metadata = within.removed_within(metadata)
    is_same = metadata == json.loads(row["metadata"] or "{}")
    text = row["metadata"] if is_same else json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))
    return {"title": title, "culprit": culprit, "metadata": text}


def _founded(lake: Lake, day: OpenedDay, group_ids: Collection[int]) -> set[int]:
    """Groups whose first event goes, which their explanation is of."""
    found: set[int] = set()
    ids = sorted(set(group_ids))
    for start in range(0, len(ids), GROUPS):
        among = _among(ids[start : start + GROUPS])
        times = founders_of(lake, among)
        made = day.query(
            f"SELECT id, created_at FROM archived.groups WHERE {among.replace('group_id', 'id', 1)}"
        )
        found.update(row["id"] for row in made if row["created_at"] in times.get(row["id"], ()))
    return found


def _among(group_ids: Collection[int]) -> str:
    return f"group_id IN ({', '.join(str(int(each)) for each in group_ids) or 'NULL'})"

"""Texts in rows of the state database that stay: overwritten wherever the policy says that one may stand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import zstandard
from sqlalchemy import (
    ColumnElement,
    Row,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    or_,
    select,
    true,
    tuple_,
    update,
)

from tasks_pipeline.erasure.policy import STATE
from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_explanations, groups, metadata

ROWS = 1_000
"""Read at once."""
_LARGEST = 16 * 2**20  # of an explanation, unpacked


def overwrite_texts(state: StateDatabase, texts: Texts, project_id: int | None = None) -> list[Erased]:
    """Overwrite texts in the columns of the policy, and remove explanations that hold one; gives what changed by table."""
    found = [
        Erased(f"state.{table.name}", rows, "overwritten")
        for table, rows in _each(state, texts, project_id, _overwrite)
    ]
    gone = _explained(state, texts, project_id)
    for some in chunks(gone):
        with state.write() as connection:
            connection.execute(delete(group_explanations).where(group_explanations.c.group_id.in_(some)))
    if gone:
        found.append(Erased("state.group_explanations", len(gone), "deleted"))
    return found


def count_texts(state: StateDatabase, texts: Texts, project_id: int | None = None) -> list[Erased]:
    """Rows that hold one of the texts, by table; nothing is changed."""
    found = [
        Erased(f"state.{table.name}", rows, "overwritten")
        for table, rows in _each(state, texts, project_id, lambda _state, _table, rows: len(rows))
    ]
    explained = _explained(state, texts, project_id)
    return [*found, Erased("state.group_explanations", len(explained), "deleted")] if explained else found


Changed = Sequence[dict[str, Any]]
"""New values of columns by name, and `old_…` for those of the key."""


def _each(
    state: StateDatabase,
    texts: Texts,
    project_id: int | None,
    act: Callable[[StateDatabase, Table, Changed], int],
) -> Iterator[tuple[Table, int]]:
    for place in STATE if texts else ():
        if place.columns:
            table = metadata.tables[place.name]
            among = _of_project(table, project_id)
            rows = sum(
                act(state, table, some) for some in _changed(state, table, place.columns, texts, among)
            )
            if rows:
                yield table, rows


def _of_project(table: Table, project_id: int | None) -> ColumnElement[bool]:
    """Rows of a project; of tables that know of none, all."""
    if project_id is None or "project_id" not in table.c:
        return true()
    return table.c.project_id == project_id


def _changed(
    state: StateDatabase, table: Table, columns: Sequence[str], texts: Texts, among: ColumnElement[bool]
) -> Iterator[Changed]:
    for rows in _pieces(state, table, columns, among):
        changed = []
        for row in rows:
            new = {name: _without(row._mapping[name], texts) for name in columns}
            if any(new[name] != row._mapping[name] for name in columns):
                keys = {f"old_{c.name}": row._mapping[c.name] for c in table.primary_key.columns}
                changed.append({**{f"new_{name}": value for name, value in new.items()}, **keys})
        if changed:
            yield changed


def _without(value: Any, texts: Texts) -> Any:
    if isinstance(value, str):
        return texts.removed_from(value)
    return (
        texts.removed_within(value)
        if value and texts.are_in(json.dumps(value, ensure_ascii=False))
        else value
    )


def _overwrite(state: StateDatabase, table: Table, rows: Changed) -> int:
    named = and_(*(c == bindparam(f"old_{c.name}") for c in table.primary_key.columns))
    names = [name.removeprefix("new_") for name in rows[0] if name.startswith("new_")]
    values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
    with state.write() as connection:
        connection.execute(update(table).where(named).values(values), list(rows))
    return len(rows)


def _pieces(
    state: StateDatabase, table: Table, columns: Sequence[str], among: ColumnElement[bool]
) -> Iterator[Sequence[Row[Any]]]:
    """Rows in the order of their key, a transaction for each piece."""
    keys = list(table.primary_key.columns)
    chosen = list(dict.fromkeys((*keys, *(table.c[name] for name in columns))))
    query = (
        select(*chosen)
        .where(or_(*(table.c[name].is_not(None) for name in columns)))
        .where(among)
        .order_by(*keys)
        .limit(ROWS)
    )
    behind = query
    while True:
        with state.read() as connection:
            rows = connection.execute(behind).all()
        if rows:
            yield rows
        if len(rows) < ROWS:
            return
        last = [rows[-1]._mapping[key.name] for key in keys]
        after: ColumnElement[bool] = keys[0] > last[0] if len(keys) == 1 else tuple_(*keys) > tuple_(*last)
        behind = query.where(after)


def _explained(state: StateDatabase, texts: Texts, project_id: int | None) -> list[int]:
    """Groups whose explanation holds a text."""
    if not texts:
        return []
    of_project = exists().where(
        groups.c.id == group_explanations.c.group_id, groups.c.project_id == project_id
    )
    among = true() if project_id is None else of_project
    pieces = _pieces(state, group_explanations, ("explanation",), among)
    return [row.group_id for rows in pieces for row in rows if is_told_in(row.explanation, texts)]


def is_told_in(packed: bytes, texts: Texts) -> bool:
    """Whether the explanation of a group, as it is stored, holds a text."""
    if not texts:
        return False
    unpacked = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST)
    return texts.are_in(unpacked.decode("utf-8", "replace"))

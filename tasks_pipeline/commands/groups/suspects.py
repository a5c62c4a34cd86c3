"""Suspect commits of a group, for `groups show`: who may have caused it, or why nobody is suspected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tasks_pipeline.commands.common.output import cell
from tasks_pipeline.words import short_commit

if TYPE_CHECKING:
    from tasks_pipeline.storage.state.database import StateDatabase

_MESSAGE, _AUTHOR = 100, 60  # characters that are shown


def suspects_to_show(state: StateDatabase, group_id: int) -> tuple[list[dict[str, Any]], str]:
    """The suspect commits of a group, as JSON has them; or none, and why."""
    from tasks_pipeline.groups.suspects import suspects_of, why_none

    with state.read() as connection:
        found = suspects_of(connection, [group_id]).get(group_id, [])
        return found, "" if found else why_none(connection, group_id)


def suspect_facts(suspects: Sequence[Mapping[str, Any]], why_none: str) -> Iterator[tuple[str, str]]:
    """Lines for the head of a group, by name."""
    from tasks_pipeline.groups.suspects import author_of

    if not suspects:
        yield "suspects", f"none: {cell(why_none)}"
    for number, suspect in enumerate(suspects):
        by = f" by {cell(author_of(suspect)[:_AUTHOR])}" if author_of(suspect) else ""
        said = f": {cell(suspect['message'][:_MESSAGE])}" if suspect["message"] else ""
        where = f"({cell(suspect['path'])}, {cell(suspect['release'])})"
        yield (
            "or from" if number else "likely from",
            f"{short_commit(cell(suspect['sha']))}{by}{said} {where}",
        )

"""Ids that are words of others too: of this program, of Dagster, and names that the installation's own people gave. What equals one is
no sign of anybody, wherever it stands as a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Column, func, select

import tasks_pipeline
from tasks_pipeline.privacy.identity import Identity, is_short
from tasks_pipeline.storage.state.tables import (
    monitor_environments,
    monitors,
    release_environments,
    releases,
)
from tasks_pipeline.stores import Stores

_WORD = re.compile(r"""["']([A-Za-z_][\w.:/+-]*)["']""")
_OF_DAGSTER = frozenset(
    """not_started managed queued starting started success failure canceling canceled skipped completed requested failed
    asset assets asset_key asset_materialization asset_observation asset_check_evaluation materialization materializations observation
    observations engine_event logs_captured handled_output loaded_input resource_init_started pipeline_enqueued step_success
    step_failure step_start step_output partition partitions partition_key backfill daemon daemons sensor sensors schedule schedules
    dagster instance metadata message description pipeline""".split()
)
"""Of the states and kinds that it keeps as texts; those of our own that it keeps stand in our source."""
_GIVEN: tuple[Column[Any], ...] = (
    releases.c.version, release_environments.c.environment, monitor_environments.c.environment, monitors.c.slug,
)  # fmt: skip


def told_apart(stores: Stores, person: Identity) -> Identity:
    """The person, with the ids that are words of others known: these are looked for only where an event, transaction, session or raw
    envelope says who its user is."""
    long_ids = [each for each in person.user_ids if not is_short(each)]
    known = frozenset(_known(stores, {each.casefold() for each in long_ids})) if long_ids else frozenset()
    return replace(person, names=tuple(each for each in long_ids if each.casefold() in known))


def _known(stores: Stores, ids: Set[str]) -> Iterator[str]:
    given = {each.casefold() for each in (*stores.slugs.values(), *_texts(stores.config.model_dump()))}
    yield from ids & (words_of_programs() | given)
    with stores.state.read() as connection:
        for column in _GIVEN:
            found = connection.execute(select(column).where(func.lower(column).in_(sorted(ids))).distinct())
            yield from (each.casefold() for each in found.scalars())


def _texts(value: Any) -> Iterator[str]:
    """Texts of the configuration that are names: not the addresses in it, nor what is a sentence."""
    match value:
        case str():
            if "@" not in value:
                yield value
        case dict():
            for key, each in value.items():
                yield from _texts(key)
                yield from _texts(each)
        case list() | tuple() | set() | frozenset():
            for each in value:
                yield from _texts(each)


@cache
def words_of_programs() -> frozenset[str]:
    """What this program writes or compares as a word, folded: read from its source (50 ms), for a list of them would miss the next one.
    Made-up people of the demonstration are none."""
    root = Path(tasks_pipeline.__file__).parent
    found = set(_OF_DAGSTER)
    for path in root.rglob("*.py"):
        if "demo" not in path.relative_to(root).parts:
            found.update(word.casefold() for word in _WORD.findall(path.read_text(encoding="utf-8")))
    return frozenset(found)

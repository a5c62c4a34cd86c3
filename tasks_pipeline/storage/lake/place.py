"""Where the files of a lake lie: that it is where the catalog knows them, can be used, and is nobody else's.

Asked of the catalog with plain SQL, so that a process which never opens a lake can refuse to start."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy import NullPool, create_engine, inspect, text

from tasks_pipeline.home import DATA_VARIABLE, Home
from tasks_pipeline.storage import s3
from tasks_pipeline.storage.remote import Pace
from tasks_pipeline.storage.targets import Tree

REACH_SECONDS = 30.0
"""How long object storage may take to show that it can be used."""
CURE = (
    f"catalog and files belong together and have to be moved together; hosts that share a catalog set {DATA_VARIABLE} to one place that "
    "all reach (s3://bucket/prefix)"
)
ANEW = (
    "nothing lies there yet: if that place was a mistake, DROP SCHEMA lake CASCADE has the catalog made anew"
)


class LakeElsewhere(OSError):
    """The files that the catalog names are not where the home has them, or others are; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a catalog says: where its files are, and the name of the newest one below that; None when it has none."""

    path: str
    newest: str | None


def trouble_with(home: Home) -> str:
    """Why a lake must not be opened, in a line; empty when it may. Nothing is written for it but a probe in object storage, which is
    removed. Raises SQLAlchemyError when the catalog cannot be asked."""
    try:
        reach(home, REACH_SECONDS)
    except OSError as error:
        return f"object storage ({DATA_VARIABLE}={home.data_url}) cannot be used: {error}"
    try:
        _check(home)
    except OSError as error:
        return f"the lake's catalog ({home.lake_catalog if home.embedded else 'in PostgreSQL'}) cannot be used: {error}"
    return ""


def _check(home: Home) -> None:
    known = _known_by_catalog(home)
    if known is None:
        ensure_nobodys(home)
        return
    ensure_here(home, known)
    if known.newest is not None and not Tree(home.lake_files).names("main"):
        raise LakeElsewhere(f"{home.lake_files} holds none of the files that it names: {CURE}")


def known_by(ask: Callable[[str], Sequence[Sequence[Any]]], schema: str) -> Known:
    """What a catalog says, whose tables lie in a schema (with its dot), by whoever can ask it."""
    ((path,),) = ask(f"SELECT value FROM {schema}ducklake_metadata WHERE key = 'data_path' AND scope IS NULL")
    newest = ask(
        f"SELECT t.table_name, f.path FROM {schema}ducklake_data_file f JOIN {schema}ducklake_table t ON t.table_id = f.table_id "
        "WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL AND f.path_is_relative ORDER BY f.data_file_id DESC LIMIT 1"
    )
    return Known(path.rstrip("/"), f"main/{newest[0][0]}/{newest[0][1]}" if newest else None)


def ensure_here(home: Home, known: Known) -> bool:
    """Whether the catalog has to be told of another place: its home was moved, copied or restored. Raises LakeElsewhere when the files
    did not come along. Of a catalog of several hosts that has no file yet nobody can tell: it stays where the first saw it."""
    here = home.lake_files.rstrip("/")
    if known.path == here:
        return False
    is_here = home.embedded if known.newest is None else Tree(here).exists(known.newest)
    if is_here:
        return True
    cure = CURE if known.newest is not None else f"{CURE}; {ANEW}"
    raise LakeElsewhere(
        f"the files of the lake are not in {here}: the catalog knew them in {known.path}; {cure}"
    )


def ensure_nobodys(home: Home) -> None:
    """Raise LakeElsewhere where files of another lake are: a new catalog would take them for orphans, and remove them."""
    if found := Tree(home.lake_files).names("main"):
        raise LakeElsewhere(
            f"{home.lake_files} holds files of a lake ({', '.join(found[:3])}) and there is no catalog that knows them: "
            f"restore the catalog with its database, or name an empty place ({DATA_VARIABLE})"
        )


def reach(home: Home, seconds: float, kept: str = "") -> None:
    """Write and read something in object storage within so many seconds, and remove it. Raises OSError. Whoever asks again and again has one
    object `kept` of that name: what is written while answers are lost is removed by nobody."""
    if not home.far:
        return
    if not home.data_url.startswith(s3.PREFIXES):
        raise OSError("allowed are s3://bucket/prefix and the path of a folder")
    try:
        tree, name = Tree(home.data_url, Pace(seconds)), f"probe-{kept or uuid.uuid4().hex}"
    except ImportError as error:
        raise OSError("its driver is missing: pip install 'tasks-pipeline[s3]'") from error
    tree.publish(name, b"tasks-pipeline")
    tree.read(name)
    if not kept:
        tree.remove(name)


def _known_by_catalog(home: Home) -> Known | None:
    """What the catalog says; None when there is none."""
    if home.embedded and not home.lake_catalog.exists():
        return None
    file = f"sqlite:///file:{quote(str(home.lake_catalog))}?mode=ro&uri=true"
    schema = None if home.embedded else "lake"
    engine = create_engine(file if home.embedded else home.postgres_url, poolclass=NullPool)
    with closing(engine.connect()) as connection:
        if not inspect(connection).has_table("ducklake_metadata", schema=schema):
            return None
        prefix = f"{schema}." if schema else ""
        return known_by(lambda sql: [tuple(row) for row in connection.execute(text(sql))], prefix)

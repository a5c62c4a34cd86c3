"""Mails of reports, which are kept beside their message until nobody needs it any more: whether they tell of what goes, and what they say
instead."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Row, select, update

from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.erasure.stored_reports import sweep_unnamed
from tasks_pipeline.erasure.texts import REMOVED, Texts
from tasks_pipeline.reports.store import FORMER
from tasks_pipeline.storage.blobs import BlobMissing, BlobStore
from tasks_pipeline.storage.state.database import CHUNK, StateDatabase
from tasks_pipeline.storage.state.tables import notifications
from tasks_pipeline.stores import Stores

PAGE = "html"
_n = notifications.c


class Told:
    """Whether letters say something: what many of them share is read once."""

    def __init__(self, blobs: BlobStore, says: Callable[[str], bool]) -> None:
        self._blobs, self._says = blobs, says
        self._known: dict[str, bool] = {}

    def is_in(self, data: Mapping[str, Any]) -> bool:
        """Whether the letter of a message says it."""
        return any(self._of(digest) for _, digest in texts_of(data.get("letter")))

    def _of(self, digest: str) -> bool:
        if digest not in self._known:
            text = read_text(self._blobs, digest)
            self._known[digest] = self._says(text) or self._says(html.unescape(text))
        return self._known[digest]


def texts_of(letter: Any) -> Iterator[tuple[str, str]]:
    """Where texts of a letter stand (html, text, names of files), with the digest of each; pictures hold none."""
    if isinstance(letter, Mapping) and letter:
        yield PAGE, letter[PAGE]
        yield "text", letter["text"]
        yield from ((name, digest) for name, digest in letter["files"])


def read_text(blobs: BlobStore, digest: str) -> str:
    """A text of a letter; empty where it is gone."""
    try:
        return blobs.get(digest).decode("utf-8", "replace")
    except BlobMissing:
        return ""


def overwrite_letters(stores: Stores, texts: Texts) -> list[Erased]:
    """Have no letter hold one of the texts; gives how many did."""
    made, new = 0, dict[str, str]()
    for row in _telling(stores, texts):
        letter = row.data["letter"]
        for where, old in texts_of(letter):
            if old not in new:
                new[old] = stores.blobs.put(_without(where, read_text(stores.blobs, old), texts).encode())
        files = [[name, new[digest]] for name, digest in letter["files"]]
        now = {**letter, PAGE: new[letter[PAGE]], "text": new[letter["text"]], "files": files}
        former = [*letter.get(FORMER, ()), *(old for _, old in texts_of(letter) if new[old] != old)]
        _set_letter(stores.state, row, now | {FORMER: former})
        made += 1
    _drop_former(stores)
    return [Erased("mails", made, "overwritten")] if made else []


def count_letters(stores: Stores, texts: Texts) -> list[Erased]:
    """Messages whose letter holds one of the texts; nothing is changed."""
    found = sum(1 for _ in _telling(stores, texts))
    return [Erased("mails", found, "overwritten")] if found else []


def _without(where: str, text: str, texts: Texts) -> str:
    found = texts.removed_from(text)
    if where == PAGE and texts.are_in(html.unescape(found)):  # written as a page has to write it
        escaped = Texts.of((html.escape(each) for each in texts.wanted), texts.instead)
        found = escaped.removed_from(found)
        return REMOVED if texts.are_in(html.unescape(found)) else found
    return found


def _telling(stores: Stores, texts: Texts) -> Iterator[Row[Any]]:
    told = Told(stores.blobs, texts.are_in)
    return (row for row in _letters(stores.state) if told.is_in(row.data)) if texts else iter(())


def _letters(state: StateDatabase) -> Iterator[Row[Any]]:
    """Messages of reports that have a letter."""
    after = 0
    while True:
        query = select(_n.id, _n.data).where(_n.type == "report", _n.id > after)
        with state.read() as connection:
            rows = connection.execute(query.order_by(_n.id).limit(CHUNK)).all()
        if not rows:
            return
        after = rows[-1].id
        yield from (row for row in rows if row.data and row.data.get("letter"))


def _drop_former(stores: Stores) -> None:
    rows = [row for row in _letters(stores.state) if row.data["letter"].get(FORMER)]
    sweep_unnamed(stores, {digest for row in rows for digest in row.data["letter"][FORMER]})
    for row in rows:
        letter = {name: value for name, value in row.data["letter"].items() if name != FORMER}
        _set_letter(stores.state, row, letter)


def _set_letter(state: StateDatabase, row: Row[Any], letter: Mapping[str, Any]) -> None:
    with state.write() as connection:
        connection.execute(
            update(notifications).where(_n.id == row.id).values(data={**row.data, "letter": dict(letter)})
        )

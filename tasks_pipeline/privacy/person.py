"""A person as the subject of an erasure: what of the lake, the spool and the state database is theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar

import pyarrow as pa

from tasks_pipeline.erasure.erase import count_left
from tasks_pipeline.erasure.figures import count_users
from tasks_pipeline.erasure.lake_rows import count_going, doomed_rows
from tasks_pipeline.erasure.selection import Erased, Reason, Selection
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.groups.forgetting import count_user_values
from tasks_pipeline.privacy import conditions as sql
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.raw import envelopes_of
from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.releases.authors import count_author, forget_author
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.state.facts import user_key
from tasks_pipeline.stores import Stores

FILE_BYTES = 4 * 2**20
"""Of an attachment so much is looked at."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a person: rows by where, and what is done to them. `events` of `of_events` are theirs; `also` are other keys of
    users in these, which whoever asks may want to name too."""

    places: list[Erased]
    events: int
    of_events: int
    also: list[str]

    @property
    def is_many(self) -> bool:
        """Whether it is half of all events: nobody is everybody."""
        return self.of_events >= 20 and self.events * 2 >= self.of_events


class Person:
    """A person by what identifies them. `texts` are further ones that went with their events, `digests` of attachments that told of
    them, whose bytes may be gone. `before`: only what was received before that moment."""

    kind: ClassVar[str] = "privacy"
    reason: ClassVar[Reason] = "privacy"

    def __init__(
        self,
        identity: Identity,
        texts: Texts | None = None,
        digests: Sequence[str] = (),
        before: datetime | None = None,
    ) -> None:
        self._before = before
        self.identity = identity
        self._texts = texts or Texts()
        self._digests = digests

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Person:
        """As it was stored with a request."""
        known = data.get("found") or {}
        return cls(Identity.from_data(data), Texts.of(known.get("texts", ())), known.get("digests", ()))

    @contextmanager
    def selected(self, stores: Stores) -> Iterator[Selection]:
        """What is the person's now."""
        person = self.identity
        envelopes: dict[date, list[tuple[str, int]]] = {}
        for day, part, position, spooled, _ in envelopes_of(stores, person):
            if self._before is None or spooled.receipt.received_at < self._before:
                envelopes.setdefault(day, []).append((part, position))
        digests = self._files(stores)
        files = pa.table({"digest": pa.array(digests, pa.string())})
        with (
            stores.lake.kept(sql.PAYLOADS, sql.of_payloads(person), [{}], payloads=True),
            stores.lake.given(sql.FILES, [files]),
        ):
            keys = self._user_keys(stores)
            yield Selection(
                "privacy",
                rows=sql.conditions(person, self._hashes(stores, keys), self._before),
                envelopes=envelopes,
                user_keys=keys,
                user_hashes=self._hashes(stores, keys),
                texts=person.texts,
                project_id=person.project_id,
                further={"digests": digests},
            )

    def forget(self, stores: Stores) -> Sequence[Erased]:
        """The author of commits, who is of no project."""
        if self.identity.project_id is not None:
            return []
        gone = sum(forget_author(stores.state, email) for email in self.identity.emails)
        return [Erased("state.commit_authors", gone, "deleted")] if gone else []

    def left(self, stores: Stores) -> Sequence[Erased]:
        """What there is of the person, by where; nothing is changed."""
        return self.look(stores).places

    def look(self, stores: Stores) -> Found:
        """Look for the person in every store; nothing is changed."""
        with self.selected(stores) as selection, doomed_rows(stores.lake, selection) as conditions:
            rows: Counter[str] = Counter()
            for each in count_going(stores.lake, conditions):
                rows[each.table] += each.rows
            found = [Erased(f"lake.{name}", count, "deleted") for name, count in sorted(rows.items())]
            raw = sum(len(set(places)) for places in selection.envelopes.values())
            also = self._also(stores, selection)
        found += [Erased("spool", raw, "erased")] if raw else []
        found += count_users(stores.lake, selection.user_hashes)
        values = sum(count_user_values(stores.state, *each) for each in selection.user_keys.items())
        found += [Erased("state.group_values", values, "deleted")] if values else []
        found += self._authors(stores)
        found += count_left(stores, selection.texts | self._texts, self.identity.project_id)
        (total,) = stores.lake.query("SELECT count(*) AS events FROM lake.events")
        return Found(found, rows["events"], total["events"], also)

    def _authors(self, stores: Stores) -> list[Erased]:
        emails = self.identity.emails if self.identity.project_id is None else ()
        count = sum(count_author(stores.state, email) for email in emails)
        return [Erased("state.commit_authors", count, "deleted")] if count else []

    def _also(self, stores: Stores, selection: Selection) -> list[str]:
        rows = stores.lake.query(
            f"SELECT DISTINCT user_key FROM lake.events WHERE {selection.rows['events']} AND user_key IS NOT NULL "
            f"AND ({sql.is_theirs(self.identity)}) IS NOT TRUE AND {sql.names_them(self.identity)} ORDER BY user_key LIMIT 20"
        )
        return [row["user_key"] for row in rows]

    def _projects(self, stores: Stores) -> list[int]:
        if self.identity.project_id is not None:
            return [self.identity.project_id]
        tables = ("events", "transactions", "sessions", "event_users", "session_users")
        union = " UNION ".join(f"SELECT project_id FROM lake.{name}" for name in tables)
        rows = stores.lake.query(f"SELECT DISTINCT project_id FROM ({union}) ORDER BY project_id")
        return sorted({row["project_id"] for row in rows} | set(stores.slugs))

    def _user_keys(self, stores: Stores) -> dict[int, set[str]]:
        """Keys of the person by project, in all spellings that are stored; and others under which only events that go are."""
        person = self.identity
        found = {project: set(sql.user_keys(person)) for project in self._projects(stores)}
        for table in ("events", "transactions"):
            theirs = f"SELECT DISTINCT project_id, user_key FROM lake.{table} WHERE {sql.is_theirs(person)}"
            for row in stores.lake.query(theirs):
                found.get(row["project_id"], set()).add(row["user_key"])
        alone = stores.lake.query(
            "SELECT project_id, user_key FROM lake.events WHERE user_key IS NOT NULL GROUP BY ALL "
            f"HAVING bool_and(coalesce({sql.names_them(person)}, false))"
        )
        for row in alone:
            found.get(row["project_id"], set()).add(row["user_key"])
        return found

    def _hashes(self, stores: Stores, keys: Mapping[int, set[str]]) -> dict[int, set[int]]:
        """Hashes of the person by project: of what sessions call them, and of what events do."""
        key, person = user_key(stores.state), self.identity
        named = {*person.user_ids, *person.emails, *person.ips}
        found = {}
        for project in self._projects(stores):
            of_keys = keys.get(project, set())
            called = named | of_keys | {each.partition(":")[2] for each in of_keys}
            found[project] = {user_hash(key, project, each) for each in called}
        return found

    def _files(self, stores: Stores) -> list[str]:
        """Digests of attachments whose bytes tell of the person, or did."""
        texts, digests = self.identity.texts, list[str]()
        if texts:
            project = self.identity.project_id
            where = "" if project is None else f" WHERE project_id = {int(project)}"
            rows = stores.lake.query(f"SELECT DISTINCT digest FROM lake.attachments{where} ORDER BY digest")
            digests = [
                row["digest"] for row in rows if row["digest"] and _tells(stores, row["digest"], texts)
            ]
        return sorted({*digests, *self._digests})


def _tells(stores: Stores, digest: str, texts: Texts) -> bool:
    try:
        with stores.blobs.open(digest) as file:
            return bool(texts.spans_in(file.read(FILE_BYTES)))
    except BlobMissing:
        return False

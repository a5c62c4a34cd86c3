"""A person as the subject of an erasure: what of the lake, the spool and the state database is theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import IO, Any, ClassVar, Protocol

import pyarrow as pa

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.erasure.archives import Archives
from tasks_pipeline.erasure.erase import count_left, refuse_unseen
from tasks_pipeline.erasure.figures import count_users
from tasks_pipeline.erasure.lake_rows import count_going
from tasks_pipeline.erasure.raw import count_envelopes
from tasks_pipeline.erasure.selection import Certified, Erased, Reason, Selection
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.groups.forgetting import count_user_values
from tasks_pipeline.privacy import conditions as sql
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.names import told_apart
from tasks_pipeline.privacy.raw import envelopes_of
from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.releases.authors import count_author, forget_author
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.lake.asked import Asked
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.erasures import Request
from tasks_pipeline.storage.state.facts import user_key
from tasks_pipeline.stores import Stores

FILE_BYTES = 4 * 2**20
"""Of an attachment so much is looked at."""
_RECEIVED = frozenset(f"lake.{name}" for name in RECEIVED_TABLES)


class Files(Protocol):
    """Files of attachments by their digest: blobs of the installation, or of an archived day."""

    def open(self, digest: str) -> AbstractContextManager[IO[bytes]]:
        """The bytes of one. Raises BlobMissing."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a person: rows by where, and what is done to them. `events` of `of_events` are theirs; `also` are other keys of
    users in these, which whoever asks may want to name too. `unseen` are
    archives, or days in them, that could not be looked at, and why."""

    places: list[Erased]
    events: int
    of_events: int
    also: list[str]
    unseen: list[str]

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
        person = self.identity = told_apart(stores, self.identity)
        envelopes: dict[date, list[tuple[str, int]]] = {}
        for day, part, position, spooled, _ in envelopes_of(stores, person):
            if self._before is None or spooled.receipt.received_at < self._before:
                envelopes.setdefault(day, []).append((part, position))
        with self._rows(stores, stores.lake, stores.blobs) as (rows, keys, digests):
            yield Selection(
                "privacy",
                rows=rows,
                envelopes=envelopes,
                user_keys=keys,
                user_hashes=self._hashes(stores, keys),
                texts=person.texts,
                project_id=person.project_id,
                further={"digests": digests},
            )

    @property
    def projects(self) -> Collection[int] | None:
        """The project that was named, or all."""
        return None if self.identity.project_id is None else (self.identity.project_id,)

    @property
    def is_whole(self) -> bool:
        """Others have their rows beside."""
        return False

    @contextmanager
    def archived(self, stores: Stores, day: OpenedDay) -> Iterator[Mapping[str, str]]:
        """What of an archived day is the person's: the same conditions, on its rows and its files."""
        with self._rows(stores, day, day) as (rows, _, _):
            yield rows

    @contextmanager
    def _rows(
        self, stores: Stores, among: Asked, files: Files
    ) -> Iterator[tuple[Mapping[str, str], dict[int, set[str]], list[str]]]:
        """Conditions of rows, keys of the person by project, and digests of files that tell of them."""
        person = self.identity
        digests = self._files(among, files)
        told = pa.table({"digest": pa.array(digests, pa.string())})
        with (
            among.kept(sql.PAYLOADS, sql.of_payloads(person), [{}], payloads=True),
            among.given(sql.FILES, [told]),
        ):
            keys = self._user_keys(stores, among)
            yield (
                sql.conditions(person, self._hashes(stores, keys), self._before),
                keys,
                digests,
            )

    def forget(self, stores: Stores) -> Sequence[Erased]:
        """The author of commits, who is of no project."""
        if self.identity.project_id is not None:
            return []
        gone = sum(forget_author(stores.state, email) for email in self.identity.emails)
        return [Erased("state.commit_authors", gone, "deleted")] if gone else []

    def begin(self, stores: Stores) -> None:
        """Nothing: their programs go on sending, and no deletion ends that."""

    def left(self, stores: Stores, request: Request) -> Sequence[Erased]:
        """What there is of the person, by where; nothing is changed. Raises Waits where an archive cannot be looked at."""
        found = self.look(stores)
        refuse_unseen(found.unseen)
        return found.places

    def came_since(self, stores: Stores, left: Sequence[Erased], began: datetime) -> bool:
        """Whether all that is left came since a moment."""

        def received(found: Sequence[Erased]) -> bool:
            return any(each.where == "spool" or each.where in _RECEIVED for each in found)

        if not received(left) or any(each.where.startswith("archive.") for each in left):
            return False  # nothing goes to an archive within days
        before = Person(self.identity, before=began).look(stores)
        refuse_unseen(before.unseen)
        return not received(before.places)

    def certified(self, stores: Stores, erased: Sequence[Erased], since: Sequence[Erased]) -> Certified:
        """How many identifiers there were, and of which project; nothing of whom."""
        number = self.identity.project_id
        check = {
            "what": "the person was looked for again in the lake, the archive, the spool, attachments, the state database, reports, "
            "Dagster's store and logs",
            "found_received_before": [],
            "received_since": [each.as_dict() for each in since],
        }
        project = None if number is None else stores.slugs.get(number, str(number))
        return Certified(
            "deletion of a person's data", self.identity.kinds, {"project": project}, erased, check
        )

    def look(self, stores: Stores) -> Found:
        """Look for the person in every store; nothing is changed."""
        archives = Archives(stores, self, texts=self._texts)
        with self.selected(stores) as selection, archives.doomed(selection) as conditions:
            rows: Counter[str] = Counter()
            for each in count_going(stores.lake, conditions):
                rows[each.table] += each.rows
            found = [Erased(f"lake.{name}", count, "deleted") for name, count in sorted(rows.items())]
            raw = count_envelopes(stores, selection)
            also = self._also(stores, selection)
            archived = archives.count()
        found += [Erased("spool", raw, "erased")] if raw else []
        found += count_users(stores.lake, selection.user_hashes)
        values = sum(count_user_values(stores.state, *each) for each in selection.user_keys.items())
        found += [Erased("state.group_values", values, "deleted")] if values else []
        found += self._authors(stores)
        found += count_left(stores, selection.texts | self._texts, self.identity.project_id)
        found += archived
        (total,) = stores.lake.query("SELECT count(*) AS events FROM lake.events")
        return Found(found, rows["events"], total["events"], also, archives.problems)

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

    def _projects(self, stores: Stores, among: Asked) -> list[int]:
        if self.identity.project_id is not None:
            return [self.identity.project_id]
        tables = ("events", "transactions", "sessions", "event_users", "session_users")
        union = " UNION ".join(f"SELECT project_id FROM lake.{name}" for name in tables)
        rows = among.query(f"SELECT DISTINCT project_id FROM ({union}) ORDER BY project_id")
        return sorted({row["project_id"] for row in rows} | set(stores.slugs))

    def _user_keys(self, stores: Stores, among: Asked) -> dict[int, set[str]]:
        """Keys of the person by project, in all spellings that are stored; and others under which only events that go are."""
        person = self.identity
        found = {project: set(sql.user_keys(person)) for project in self._projects(stores, among)}
        for table in ("events", "transactions"):
            theirs = f"SELECT DISTINCT project_id, user_key FROM lake.{table} WHERE {sql.is_theirs(person)}"
            for row in among.query(theirs):
                found.get(row["project_id"], set()).add(row["user_key"])
        alone = among.query(
            "SELECT project_id, user_key FROM lake.events WHERE user_key IS NOT NULL GROUP BY ALL "
            f"HAVING bool_and(coalesce({sql.names_them(person)}, false))"
        )
        for row in alone:
            found.get(row["project_id"], set()).add(row["user_key"])
        return found

    def _hashes(self, stores: Stores, keys: Mapping[int, set[str]]) -> dict[int, set[int]]:
        """Hashes of the person by project: of what sessions call them, and of what events do."""
        key, person = user_key(stores.state), self.identity
        named = {*person.user_ids, *person.emails, *person.spelt_ips}
        found = {}
        for project, of_keys in keys.items():
            called = named | of_keys | {each.partition(":")[2] for each in of_keys}
            found[project] = {user_hash(key, project, each) for each in called}
        return found

    def _files(self, among: Asked, files: Files) -> list[str]:
        """Digests of attachments whose bytes tell of the person, or did."""
        texts, digests = self.identity.texts, list[str]()
        if texts:
            project = self.identity.project_id
            where = "" if project is None else f" WHERE project_id = {int(project)}"
            rows = among.query(f"SELECT DISTINCT digest FROM lake.attachments{where} ORDER BY digest")
            digests = [row["digest"] for row in rows if row["digest"] and _tells(files, row["digest"], texts)]
        return sorted({*digests, *self._digests})


def _tells(files: Files, digest: str, texts: Texts) -> bool:
    try:
        with files.open(digest) as file:
            return bool(texts.spans_in(file.read(FILE_BYTES)))
    except BlobMissing:
        return False

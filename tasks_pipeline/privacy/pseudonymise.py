"""Pseudonymising a person: their events stay and can be read, and nothing says any more whose they are. What identifies them is replaced in
every place from which a deletion would remove it; files cannot be renamed within, and go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, ClassVar

import msgspec
import pyarrow as pa

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.archive.rewrite import Changed
from tasks_pipeline.erasure.archived_days import places_in
from tasks_pipeline.erasure.archives import Archives
from tasks_pipeline.erasure.blobs import sweep_blobs
from tasks_pipeline.erasure.erase import (
    joined,
    make_physical,
    note_received,
    overwrite,
    refuse_unseen,
    remember_owners,
)
from tasks_pipeline.erasure.figures import rename_users
from tasks_pipeline.erasure.lake_rows import DOOMED, count_going, doomed_envelopes, remove_rows
from tasks_pipeline.erasure.physical import refuse_backup
from tasks_pipeline.erasure.progress import Progress, Report, Superseded, archives_of, told_of_archives
from tasks_pipeline.erasure.raw import await_waiting
from tasks_pipeline.erasure.selection import Certified, Erased, Selection
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.groups.forgetting import rename_users as rename_in_groups
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.privacy.pseudonyms import Pseudonyms, new_key
from tasks_pipeline.privacy.renaming import IDENTIFYING, Place, Renaming, names_among
from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.protocol.users import user_key
from tasks_pipeline.retention.lake import write_again
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, RECEIVED_TABLES
from tasks_pipeline.storage.ledger.cursors import Cursor, cursors_of
from tasks_pipeline.storage.ledger.places import spool_positions
from tasks_pipeline.storage.spool.interface import Rewritten
from tasks_pipeline.storage.state.erasures import Request, begin_generation, remember
from tasks_pipeline.storage.state.facts import user_key as key_of_users
from tasks_pipeline.stores import Stores

HOW = "pseudonymised"
WRITTEN_BYTES = 8 * 2**20
"""Of raw envelopes that are written together."""
_USERS = "SELECT DISTINCT project_id, json_extract(payload, '$.user')::VARCHAR AS user FROM lake.event_payloads WHERE"
_PLACE = "day, part, position, item"


class Pseudonymised(Person):
    """A person of whom pseudonyms stay. The key of these is remembered with the request until it ends."""

    kind: ClassVar[str] = "pseudonyms"

    def __init__(
        self,
        identity: Identity,
        texts: Texts | None = None,
        digests: Sequence[str] = (),
        before: datetime | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(identity, texts, digests, before)
        self.pseudonyms = Pseudonyms(key or new_key())

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Pseudonymised:
        """As it was stored with a request."""
        known = data.get("found") or {}
        texts = Texts.of(known.get("texts", ()))
        return cls(Identity.from_data(data), texts, known.get("digests", ()), key=data["pseudonym_key"])

    @contextmanager
    def selected(self, stores: Stores) -> Iterator[Selection]:
        """What is the person's now; texts have pseudonyms in their place."""
        with super().selected(stores) as selection:
            yield replace(selection, texts=Texts.of(selection.texts.wanted, self.pseudonyms.of))

    def certified(self, stores: Stores, erased: Sequence[Erased], since: Sequence[Erased]) -> Certified:
        """What became of what; nothing of whom."""
        return replace(super().certified(stores, erased, since), about="pseudonymisation of a person's data")

    def erase(
        self,
        stores: Stores,
        request: Request,
        on_erased: Report = lambda _erased: None,
        *,
        patience: float = 0,
    ) -> tuple[list[Erased], Request]:
        """Do all of a request but its end; see `erasure.erase.erase`. Doing it again finds what is left to do."""
        before = request.data.get("done") or ()
        done = Progress(on_erased, [each for each in before if not each["where"].startswith("archive.")])
        began = datetime.now(UTC)
        await_waiting(stores, began, patience)
        refuse_backup(stores)
        flush(stores.state, stores.lake)
        archives = archives_of(stores, request, self)
        with self.selected(stores) as selection, archives.doomed(selection) as conditions:
            renaming, request = self._renaming(stores, request, selection, archives)
            if archives.problems:
                request = remember_owners(stores, request, archives)
            over = Superseded(stores, request)
            done.add(_raw(stores, renaming, selection))  # first: some are found only by rows that go
            done.add(_files(stores, over, conditions, began))
            archives.change(_OfArchive(stores, renaming).of_day, renaming.texts, over.note)
            done.add(_received(stores, renaming))
        request = remember(stores.state, over.request, done=done.told, going={})
        with stores.lake.lock():  # who computes figures has read former names
            begin_generation(stores.state)
        done.add(rename_users(stores.lake, renaming.hashes))
        done.add(_groups(stores, renaming))
        done.add(self.forget(stores))
        named = replace(selection, texts=renaming.texts)
        done.add(replace(each, how=_how(each)) for each in overwrite(stores, named))
        request = remember(stores.state, request, done=done.told)
        done.add(replace(each, how=_how(each)) for each in told_of_archives(request))
        make_physical(stores)
        refuse_unseen(archives.problems)
        return done.all, request

    def _renaming(
        self, stores: Stores, request: Request, selection: Selection, archives: Archives
    ) -> tuple[Renaming, Request]:
        """How all of it is called from then on; the request remembers what it follows from."""
        known = request.data.get("found") or {}
        keys = joined(selection.user_keys, known.get("user_keys", {}))
        hash_key = key_of_users(stores.state)
        renaming = Renaming(
            self.pseudonyms, self.identity.user_ids, keys, self._renamed(hash_key, keys), hash_key, selection.texts, selection.texts
        )  # fmt: skip
        everywhere, own = _names(stores, archives, keys)
        everywhere |= set(known.get("texts", ()))
        own |= set(known.get("own", ()))
        told = {
            **selection.further,
            "texts": sorted(everywhere),
            "own": sorted(own),
            "user_keys": {str(project): sorted(each) for project, each in keys.items()},
        }
        return renaming.with_names(everywhere, own), remember(stores.state, request, found=told)

    def _renamed(self, hash_key: bytes, keys: Mapping[int, Collection[str]]) -> dict[int, dict[int, int]]:
        """By project the new hash of each that figures and sessions know the person by."""
        person, new = self.identity, self.pseudonyms.of
        found: dict[int, dict[int, int]] = {}
        for project, of_project in keys.items():
            split = [each.partition(":") for each in of_project]
            named = {*person.user_ids, *person.emails, *person.spelt_ips, *(value for _, _, value in split)}
            called = {each: new(each) for each in named}
            called |= {f"{kind}:{value}": f"{kind}:{new(value)}" for kind, _, value in split}
            found[project] = {
                user_hash(hash_key, project, old): user_hash(hash_key, project, each)
                for old, each in called.items()
            }
        return found


def planned(places: Sequence[Erased]) -> list[Erased]:
    """What would become of what was found of a person: files go, all else stays under a pseudonym."""
    goes = ("attachments", "analytics_events", "group_explanations", "commit_authors")
    return [
        each if each.where.partition(".")[2] in goes else replace(each, how=HOW)
        for each in places
    ]  # fmt: skip


def _how(each: Erased) -> str:
    return HOW if each.how == "overwritten" else each.how


def _names(
    stores: Stores, archives: Archives, keys: Mapping[int, Collection[str]]
) -> tuple[set[str], set[str]]:
    """What else the users of the person's events are called in these, in the lake and in archives."""
    users: list[Mapping[str, Any]] = []

    def heard(rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            user = msgspec.json.decode(row["user"]) if row["user"] else None
            if isinstance(user, dict):
                said = {name: user[name] for name in IDENTIFYING if name in user}
                if user_key(said) in keys.get(row["project_id"], ()):
                    users.append(said)

    of_events = f"({_PLACE}) IN (SELECT ({_PLACE}) FROM {DOOMED} WHERE name = 'event_payloads')"
    heard(stores.lake.query(f"{_USERS} {of_events}", payloads=True))
    archives.each_day(
        lambda day, wanted: heard(day.query(f"{_USERS} {wanted.get('event_payloads', 'false')}"))
    )
    return names_among(users)


def _files(
    stores: Stores, over: Superseded, conditions: Mapping[str, str], began: datetime
) -> Iterator[Erased]:
    """Attachments go with their bytes, and facts of one's own that tell of the person."""
    gone = {
        name: each
        for name, each in conditions.items()
        if name == "attachments" or name not in RECEIVED_TABLES
    }
    going = [each for each in count_going(stores.lake, conditions) if each.table in gone]
    rows = Counter[str]()
    for each in going:
        rows[each.table] += each.rows
    noted: Mapping[str, int] = over.request.data.get("going") or {}
    note_received(stores, going, "privacy")
    rows |= Counter(noted)
    over.request = remember(stores.state, over.request, going=dict(rows))
    if "attachments" in gone:
        yield Erased("blobs", sweep_blobs(stores, gone["attachments"], began), "deleted")
    remove_rows(stores.lake, gone, going)
    yield from (Erased(f"lake.{name}", count, "deleted") for name, count in sorted(rows.items()))


def _raw(stores: Stores, renaming: Renaming, selection: Selection) -> Iterator[Erased]:
    """Rename raw envelopes: those that rows came in, and those that tell of the person by themselves."""
    raw = 0
    places = dict(doomed_envelopes(stores.lake))
    for day in sorted({*places, *selection.envelopes}):
        envelopes = {*places.get(day, ()), *selection.envelopes.get(day, ())}
        raw += rename_envelopes(stores, day, envelopes, renaming)[0]
    yield Erased("spool", raw, HOW)


def _received(stores: Stores, renaming: Renaming) -> Iterator[Erased]:
    """Rename the rows of what was received, a day at a time."""
    rows = Counter[str]()
    for day, envelopes in list(doomed_envelopes(stores.lake)):
        _, sizes = rename_envelopes(stores, day, envelopes, renaming, write=False)
        own: dict[str, set[Place]] = {}
        for row in stores.lake.query(f"SELECT name, part, position, item FROM {DOOMED} WHERE day = ?", [day]):
            own.setdefault(row["name"], set()).add((row["part"], row["position"], row["item"]))
        own.pop("attachments", None)
        if own:
            rows += _rename_day(stores, day, renaming, own, sizes)
    yield from (Erased(f"lake.{name}", count, HOW) for name, count in sorted(rows.items()))


def _rename_day(
    stores: Stores, day: date, renaming: Renaming, own: Mapping[str, Collection[Place]], sizes: Mapping[Place, int]
) -> Counter[str]:  # fmt: skip
    renamed = Counter[str]()

    def change(name: str, piece: pa.Table) -> pa.Table:
        new, count = renaming.rows(name, piece, own[name], sizes)
        renamed[name] += count
        return new.cast(LAKE_TABLES[name].arrow)

    write_again(stores.lake, day, dict.fromkeys(own, "true"), change=change)
    return renamed


def rename_envelopes(
    stores: Stores, day: date, places: Collection[tuple[str, int]], renaming: Renaming, *, write: bool = True
) -> tuple[int, dict[Place, int]]:
    """Rename raw envelopes at places (part, position) of the ledger that are still there; gives how many, and how many bytes each of their
    items has then. Without `write` nothing is changed. Raises SpoolError."""
    with stores.state.read() as connection:
        found, cursors = spool_positions(connection, day, places), cursors_of(connection, day)
    limit, count, sizes = stores.config.receiver.max_envelope_bytes, 0, dict[Place, int]()
    for part, positions in found.items():
        base = cursors.get(part, Cursor()).base
        new: dict[int, Rewritten] = {}
        for position in positions:
            for spooled in stores.spool.read(day, part, position - 1, through=position):
                rewritten, items = renaming.receipt(spooled.receipt, limit)
                sizes |= {(part, position + base, item): size for item, size in items.items()}
                count += 1
                if write:
                    new[position] = rewritten
            if sum(len(each.body) for each in new.values()) > WRITTEN_BYTES:
                stores.spool.rewrite(day, part, new)
                new = {}
        if new:
            stores.spool.rewrite(day, part, new)
    return count, sizes


def _groups(stores: Stores, renaming: Renaming) -> Iterator[Erased]:
    rows = 0
    for project, keys in sorted(renaming.keys.items()):
        renamed = {key: new for key in keys if (new := renaming.key(project, key)) is not None}
        rows += rename_in_groups(stores.state, project, renamed)
    yield Erased("state.group_values", rows, HOW)


class _OfArchive:
    """The same of archived days, with the raw envelopes of these."""

    def __init__(self, stores: Stores, renaming: Renaming) -> None:
        self._stores, self._renaming = stores, renaming
        self._raw_days = set(stores.spool.days())

    def of_day(
        self, day: OpenedDay, wanted: Mapping[str, str]
    ) -> tuple[Mapping[str, str], Mapping[str, Changed]]:
        """What goes of a day, and what becomes of the rest."""
        sizes: dict[Place, int] = {}
        if day.day in self._raw_days:
            _, sizes = rename_envelopes(self._stores, day.day, places_in(day, wanted), self._renaming)
        gone = {name: each for name, each in wanted.items() if name == "attachments"}
        changed = {
            name: self._changed(day, name, each, sizes) for name, each in wanted.items() if name not in gone
        }
        return gone, changed

    def _changed(self, day: OpenedDay, name: str, condition: str, sizes: Mapping[Place, int]) -> Changed:
        rows = day.query(f"SELECT DISTINCT part, position, item FROM lake.{name} WHERE {condition}")
        own = {(row["part"], row["position"], row["item"]) for row in rows}
        return lambda piece: self._renaming.rows(name, piece, own, sizes)

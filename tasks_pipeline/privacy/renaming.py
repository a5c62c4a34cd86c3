"""What is a person's, with pseudonyms in the place of what identifies them: users of events by their structure, all else as texts."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.privacy.identity import is_short
from tasks_pipeline.privacy.names import words_of_programs
from tasks_pipeline.privacy.pseudonyms import Pseudonyms
from tasks_pipeline.protocol.decode import PayloadError, decode_json, encode_json
from tasks_pipeline.protocol.encoding import EncodingError, decompress
from tasks_pipeline.protocol.envelope import Envelope, EnvelopeError, Item, parse_envelope, write_envelope
from tasks_pipeline.protocol.sessions import user_hash
from tasks_pipeline.protocol.users import user_key
from tasks_pipeline.storage.spool.interface import Receipt, Rewritten

IDENTIFYING = ("id", "username", "email", "ip_address", "name")
"""Fields of a user that say who it is."""
_OF_FEEDBACK = ("name", "contact_email", "email")
_COLUMNS: dict[str, tuple[str, ...]] = {
    "events": (
        "title", "culprit", "logger", "transaction", "server_name", "release", "dist", "environment", "exception_type", "exception_value",
        "tags", "fingerprint",
    ),
    "transactions": ("name", "release", "environment", "tags"),
    "user_reports": ("message", "url", "release", "environment"),
    "dead_letters": ("detail",),
}  # fmt: skip
"""Columns of each table of the lake in which texts may stand."""
_NAMES_OF_REPORT = ("name", "email")
_USER_COLUMNS = ("user_id", "user_email", "user_ip")
GONE = b"(removed)"
"""What stands in the place of a file in a raw envelope: what is in a file nobody can rename."""
MOST_ITEMS = 10_000
_ENDING = re.compile(r"\.[0-9A-Za-z]{1,8}$")
Place = tuple[str, int, int]
"""(part, position, item)."""


@dataclass(frozen=True)
class Renaming:
    """How a person is called otherwise.

    `keys` are keys of users that are the person, by project; `hashes` what is counted of them in figures. `texts` are replaced wherever
    they stand, `own` only in what is the person's: addresses and names that their events tell of them, which others may have too.
    """

    pseudonyms: Pseudonyms
    user_ids: Collection[str]
    keys: Mapping[int, Collection[str]]
    hashes: Mapping[int, Mapping[int, int]]
    hash_key: bytes
    texts: Texts
    own: Texts

    def with_names(self, everywhere: Collection[str], own: Collection[str]) -> Renaming:
        """The same with more names of the person."""
        instead = self.pseudonyms.of
        texts = self.texts | Texts.of(everywhere)
        return replace(self, texts=texts, own=texts | Texts.of(own, instead))

    # ── values

    def key(self, project_id: int, key: str | None) -> str | None:
        """The key of a user, as it is to be."""
        if key is None or key not in self.keys.get(project_id, ()):
            return key
        kind, _, value = key.partition(":")
        return f"{kind}:{self.pseudonyms.of(value)}"

    def text(self, value: str) -> str:
        """A text of what is the person's."""
        return self.own.removed_from(value)

    def value(self, value: Any) -> Any:
        """JSON of what is the person's: texts, and whole numbers that are an id."""
        match value:
            case str():
                return self.own.removed_from(value)
            case dict():
                return {self.own.key_without(str(key)): self.value(each) for key, each in value.items()}
            case list() | tuple():
                return [self.value(each) for each in value]
            case int() if not isinstance(value, bool) and self.own.are_in(str(value)):
                new = self.pseudonyms.of(str(value))
                return int(new) if new.isdecimal() else new
        return value

    def payload(self, project_id: int, payload: Any) -> Any:
        """An event, a session or a report as a client sent it, or as it is stored."""
        if not isinstance(payload, dict):
            return self.value(payload)
        new = dict(payload)
        if isinstance(user := new.get("user"), dict):
            new["user"] = self.user(project_id, user)
        if "did" in new:
            new["did"] = self._did(project_id, new["did"])
        if isinstance(rows := new.get("aggregates"), list):
            new["aggregates"] = [
                {**row, "did": self._did(project_id, row["did"])} if isinstance(row, dict) and "did" in row else row
                for row in rows
            ]  # fmt: skip
        contexts = new.get("contexts")
        if isinstance(contexts, dict) and isinstance(told := contexts.get("feedback"), dict):
            new["contexts"] = {**contexts, "feedback": self._named(told, _OF_FEEDBACK)}
        if "comments" in new:  # a user report
            new = self._named(new, _NAMES_OF_REPORT)
        return self.value(new)

    def user(self, project_id: int, user: Mapping[str, Any]) -> dict[str, Any]:
        """A user: all that says who it is, where it is the person; else texts follow."""
        known = self.keys.get(project_id, ())
        if str(user_key({name: _said(each) for name, each in user.items()})) not in known:
            return dict(user)
        return {name: self._renamed(each) if name in IDENTIFYING else each for name, each in user.items()}

    def _named(self, told: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        """What somebody wrote, who gave a name or an address that is the person's."""
        if not any(isinstance(told.get(name), str) and self.own.are_in(told[name]) for name in names):
            return dict(told)
        return {name: self._renamed(each) if name in names else each for name, each in told.items()}

    def _renamed(self, value: Any) -> Any:
        said = _said(value)
        if said in (None, "", "{{auto}}") or not isinstance(said, str):
            return value
        return self.pseudonyms.of(said)

    def _did(self, project_id: int, did: Any) -> Any:
        said = _said(did)
        theirs = isinstance(said, str) and user_hash(self.hash_key, project_id, said) in self.hashes.get(
            project_id, {}
        )
        return self.pseudonyms.of(said) if theirs and isinstance(said, str) else did

    # ── rows of the lake

    def rows(
        self, table: str, piece: pa.Table, own: Collection[Place], sizes: Mapping[Place, int] | None = None
    ) -> tuple[pa.Table, int]:
        """Rows of a table with those renamed whose place is among `own`; gives how many. `sizes`: bytes of events as they are in the spool
        now."""
        places = list(zip(*(piece[name].to_pylist() for name in ("part", "position", "item")), strict=True))
        theirs = [n for n, place in enumerate(places) if place in own]
        if not theirs:
            return piece, 0
        projects = piece["project_id"].to_pylist()
        new: dict[str, list[Any]] = {}
        if table == "event_payloads":
            new["payload"] = piece["payload"].to_pylist()
            for n in theirs:
                new["payload"][n] = self.stored_payload(projects[n], new["payload"][n])
        if table == "sessions":
            new["user_hash"] = piece["user_hash"].to_pylist()
            for n in theirs:
                called = self.hashes.get(projects[n], {})
                new["user_hash"][n] = called.get(new["user_hash"][n], new["user_hash"][n])
        known = set(piece.column_names)  # an archive may be of before a column was there
        for name in (each for each in _COLUMNS.get(table, ()) if each in known):
            new[name] = piece[name].to_pylist()
            for n in theirs:
                new[name][n] = self._column(new[name][n])
        if table in ("events", "transactions"):
            self._users(piece, table, projects, theirs, new)
        if table == "user_reports":
            self._reporters(piece, theirs, new)
        if table == "events" and sizes:
            new["payload_bytes"] = piece["payload_bytes"].to_pylist()
            for n in theirs:
                new["payload_bytes"][n] = sizes.get(places[n], new["payload_bytes"][n])
        for name, values in new.items():
            index = piece.schema.get_field_index(name)
            piece = piece.set_column(
                index, piece.schema.field(index), pa.array(values, piece.schema.field(index).type)
            )
        return piece, len(theirs)

    def stored_payload(self, project_id: int, payload: str) -> str:
        """The JSON of an event."""
        try:
            return encode_json(self.payload(project_id, decode_json(payload.encode()))).decode()
        except PayloadError:
            return self.text(payload)

    def _column(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case list():
                return [
                    tuple(map(self.text, each)) if isinstance(each, tuple) else each and self.text(each) for each in value
                ]  # fmt: skip
        return value

    def _users(
        self, piece: pa.Table, table: str, projects: Sequence[int], theirs: Sequence[int], new: dict[str, list[Any]]
    ) -> None:  # fmt: skip
        keys = piece["user_key"].to_pylist()
        new["user_key"] = list(keys)
        others = _USER_COLUMNS if table == "events" else ()
        new.update({name: piece[name].to_pylist() for name in others})
        for n in theirs:
            is_person = keys[n] is not None and keys[n] in self.keys.get(projects[n], ())
            new["user_key"][n] = self.key(projects[n], keys[n]) if is_person else self._column(keys[n])
            for name in others:
                new[name][n] = self._renamed(new[name][n]) if is_person else self._column(new[name][n])

    def _reporters(self, piece: pa.Table, theirs: Sequence[int], new: dict[str, list[Any]]) -> None:
        columns = {name: piece[name].to_pylist() for name in _NAMES_OF_REPORT}
        for n in theirs:
            told = self._named({name: columns[name][n] for name in _NAMES_OF_REPORT}, _NAMES_OF_REPORT)
            for name in _NAMES_OF_REPORT:
                columns[name][n] = self._column(told[name])
        new.update(columns)

    # ── raw envelopes

    def receipt(self, receipt: Receipt, limit: int) -> tuple[Rewritten, Mapping[int, int]]:
        """A raw envelope, and how many bytes each of its items has then. What cannot be unpacked or is no envelope is renamed as text, and
        stays what it was: of no use."""
        try:
            body = decompress(receipt.body, receipt.encoding, limit)
        except EncodingError:
            return Rewritten(receipt.encoding, self._bytes(receipt.body), self.value(dict(receipt.meta))), {}
        meta = self.value(dict(receipt.meta))
        try:
            envelope = parse_envelope(body, MOST_ITEMS)
        except EnvelopeError:
            return Rewritten("", self._bytes(body), meta), {}
        items = [self._item(receipt.project_id, each) for each in envelope.items]
        sizes = {n: len(each.payload) for n, each in enumerate(items)}
        return Rewritten("", write_envelope(Envelope(self._headers(envelope.headers), items)), meta), sizes

    def _headers(self, headers: Mapping[str, Any]) -> dict[str, Any]:
        new = dict(headers)
        trace = new.get("trace")
        if isinstance(trace, dict) and str(trace.get("user_id")) in self.user_ids:
            new["trace"] = {**trace, "user_id": self.pseudonyms.of(str(trace["user_id"]))}
        found: dict[str, Any] = self.value(new)
        return found

    def _item(self, project_id: int, item: Item) -> Item:
        headers: dict[str, Any] = self.value(dict(item.headers))
        if item.type == "attachment":
            name = headers.get("filename")
            named = {"filename": self._file_name(name)} if isinstance(name, str) else {}
            return Item(headers | named, GONE)
        try:
            return Item(headers, encode_json(self.payload(project_id, decode_json(bytes(item.payload)))))
        except PayloadError:
            return Item(headers, self._bytes(bytes(item.payload)))

    def _file_name(self, name: str) -> str:
        """Of `ann@example.org.txt` the address is no word of its own, but for the ending."""
        ending = _ENDING.search(name)
        return self.text(name) if ending is None else f"{self.text(name[: ending.start()])}{ending[0]}"

    def _bytes(self, content: bytes) -> bytes:
        if not self.own.spans_in(content):
            return content
        return self.own.removed_from(content.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )


def _said(value: Any) -> Any:
    """What clients send as a number or a text is a text."""
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else value


def names_among(users: Sequence[Mapping[str, Any]]) -> tuple[set[str], set[str]]:
    """What users that are the person tell of them: names that are looked for everywhere, and those that only what is the person's is
    rid of. Addresses others have too; a word or a short name stands in too much."""
    everywhere, own = set[str](), set[str]()
    for user in users:
        for name in IDENTIFYING:
            said = _said(user.get(name))
            if not isinstance(said, str) or is_short(said) or said.casefold() in words_of_programs():
                continue
            own.add(said)
            if name != "ip_address" and not said.isalpha():
                everywhere.add(said)
    return everywhere, own

"""Conditions in DuckDB's SQL on rows of the lake that are a person's; all values are literals, quoted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import lru_cache

from tasks_pipeline.erasure.spelling import as_words_in_re2, runs_of, spelt
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.privacy.identity import NAMES_OF_USER, Identity

PAYLOADS, FILES = "privacy_payloads", "privacy_files"
"""Temporary tables: places of events whose payload tells of the person, digests of attachments whose bytes do."""
LONGEST_PATTERN = 16_000
"""Letters of a pattern: RE2 refuses what becomes too large a program."""
_TEXTS = {
    "transactions": ("name", "tags::VARCHAR"),
    "user_reports": ("name", "email", "message", "url"),
    "attachments": ("name", r"regexp_replace(name, '\.[0-9A-Za-z]{1,8}$', '')"),  # ann@example.org.txt
    "dead_letters": ("detail",),
    "analytics_events": ("data",),  # facts of one's own
}
"""Columns in which any text may stand."""


def literal(value: str) -> str:
    """A text as a literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def conditions(
    person: Identity, hashes: Mapping[int, Collection[int]], before: datetime | None = None
) -> dict[str, str]:
    """The condition of each table. `hashes`: those of the person's sessions, by project. `before`: only what was received, or was so,
    before that moment."""
    event = _any(
        [
            *_users(person, ("user_key", "user_id", "user_email", "user_ip")),
            f"(day, part, position, item) IN (SELECT (day, part, position, item) FROM {PAYLOADS})",
        ]
    )
    found = {"events": event, "sessions": _of_sessions(hashes)}
    for name, columns in _TEXTS.items():
        parts = [mentions(column, person) for column in columns]
        parts += _users(person, ("user_key",)) if name == "transactions" else []
        parts += [f"digest IN (SELECT digest FROM {FILES})"] if name == "attachments" else []
        found[name] = _any(parts)
    return {
        name: f"{_of_project(person)}{_until(name, before)}{condition}" for name, condition in found.items()
    }


def _until(name: str, before: datetime | None) -> str:
    column = '"at"' if name == "analytics_events" else "received_at"
    return "" if before is None else f"{column} < TIMESTAMPTZ '{before.isoformat()}' AND "


def of_payloads(person: Identity) -> str:
    """A query of the places of events whose payload tells of the person."""
    parts = [mentions("payload", person)]
    if person.short_ids:
        ids = _listed(person.short_ids)
        parts += [f"json_extract_string(payload, '$.user.{name}') IN ({ids})" for name in NAMES_OF_USER]
    return (
        f"SELECT day, part, position, item FROM lake.event_payloads WHERE {_of_project(person)}{_any(parts)}"
    )


def user_keys(person: Identity) -> list[str]:
    """Keys of users that are the person, folded: mail addresses are stored in any case."""
    return [
        *(f"{kind}:{each}" for each in person.user_ids for kind in ("id", "username")),
        *(f"{kind}:{each}" for each in person.emails for kind in ("email", "id", "username")),
        *(f"{kind}:{each}" for each in person.spelt_ips for kind in ("ip", "id")),
    ]


def is_theirs(person: Identity, column: str = "user_key") -> str:
    """A condition: the key of a user is the person's."""
    ids = [f"{kind}:{each}" for each in person.user_ids for kind in ("id", "username")]
    others = [key for key in user_keys(person) if key not in ids]
    parts = [f"{column} IN ({_listed(ids)})"] if ids else []
    parts += [f"lower({column}) IN ({_folded(others)})"] if others else []
    return _any(parts)


def names_them(person: Identity) -> str:
    """A condition on events: their user is the person by id or an address, whatever the key says."""
    return _any(_users(person, ("user_id", "user_email", "user_ip")))


def _users(person: Identity, columns: Iterable[str]) -> list[str]:
    parts = []
    for column in columns:
        if column == "user_key":
            parts.append(is_theirs(person))
        elif column == "user_id" and person.user_ids:
            parts.append(f"user_id IN ({_listed(person.user_ids)})")
        elif column == "user_email" and person.emails:
            parts.append(f"lower(trim(user_email)) IN ({_folded(person.emails)})")
        elif column == "user_ip" and person.ips:
            parts.append(f"lower(user_ip) IN ({_folded(person.spelt_ips)})")
    return parts


def _of_sessions(hashes: Mapping[int, Collection[int]]) -> str:
    parts = [
        f"(project_id = {int(project)} AND user_hash IN ({', '.join(str(int(each)) for each in sorted(some))}))"
        for project, some in sorted(hashes.items())
        if some
    ]
    return _any(parts)


def mentions(column: str, person: Identity) -> str:
    """A condition: a column holds one of the texts as a word. The plain search first: it is ten times as fast."""
    return _any(_mention(column, plain, words) for plain, words in _patterns(person.texts))


@lru_cache(8)
def _patterns(texts: Texts) -> list[tuple[list[list[tuple[str, ...]]], str]]:
    """Runs of some texts each and the literal of their pattern: asked for of each column of each archived day."""
    some, found, letters = list[str](), list[list[str]](), 0
    for text in sorted(texts.wanted):
        if letters > LONGEST_PATTERN:
            found.append(some)
            some, letters = [], 0
        some.append(text)
        letters += len(as_words_in_re2([text])) if letters == 0 else len(spelt(text))
    found += [some] if some else []
    return [([runs_of(text) for text in each], literal(as_words_in_re2(each))) for each in found]


def _mention(column: str, runs: Iterable[Iterable[Iterable[str]]], words: str) -> str:
    plain = _any(" AND ".join(_holds(column, ways) for ways in each) or "true" for each in runs)
    return f"({plain} AND regexp_matches({column}, {words}, 'i'))"


def _holds(column: str, ways: Iterable[str]) -> str:
    return _any(f"contains(lower({column}), lower({literal(way)}))" for way in ways)


def _of_project(person: Identity) -> str:
    return "" if person.project_id is None else f"project_id = {int(person.project_id)} AND "


def _any(parts: Iterable[str]) -> str:
    found = [part for part in parts if part != "false"]
    return f"({' OR '.join(found)})" if found else "false"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(literal(value) for value in values)


def _folded(values: Iterable[str]) -> str:
    """In small letters as DuckDB makes them; of one letter Python makes two."""
    spelt = {way for value in values for way in (value, value.replace("i\u0307", "\u0130"))}
    return ", ".join(f"lower({literal(each)})" for each in sorted(spelt))

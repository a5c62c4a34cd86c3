"""Conditions in DuckDB's SQL on rows of the lake that are a person's; all values are literals, quoted."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from tasks_pipeline.erasure.texts import is_address, spelt_in_pages
from tasks_pipeline.privacy.identity import Identity

PAYLOADS, FILES = "privacy_payloads", "privacy_files"
"""Temporary tables: places of events whose payload tells of the person, digests of attachments whose bytes do."""
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
        parts = [_mentions(column, person) for column in columns]
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
    parts = [_mentions("payload", person)]
    if person.short_ids:
        user = "coalesce(json_extract(payload, '$.user')::VARCHAR, '')"
        spelt = [json.dumps(each, ensure_ascii=False) for each in person.short_ids]
        # A value of `user`, whichever; as a text or as a number.
        either = "|".join(f"{re.escape(each)}|{re.escape(each[1:-1])}" for each in spelt)
        parts.append(f"regexp_matches({user}, {literal(f':({either})[,}}]')})")
    return (
        f"SELECT day, part, position, item FROM lake.event_payloads WHERE {_of_project(person)}{_any(parts)}"
    )


def user_keys(person: Identity) -> list[str]:
    """Keys of users that are the person, folded: mail addresses are stored in any case."""
    return [
        *(f"{kind}:{each}" for each in person.user_ids for kind in ("id", "username")),
        *(f"{kind}:{each}" for each in person.emails for kind in ("email", "id", "username")),
        *(f"{kind}:{each}" for each in person.ips for kind in ("ip", "id")),
    ]


def is_theirs(person: Identity, column: str = "user_key") -> str:
    """A condition: the key of a user is the person's."""
    ids = [f"{kind}:{each}" for each in person.user_ids for kind in ("id", "username")]
    others = [key for key in user_keys(person) if key not in ids]
    parts = [f"{column} IN ({_listed(ids)})"] if ids else []
    parts += [f"lower({column}) IN ({_listed(map(str.lower, others))})"] if others else []
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
            parts.append(f"lower(trim(user_email)) IN ({_listed(person.emails)})")
        elif column == "user_ip" and person.ips:
            parts.append(f"lower(user_ip) IN ({_listed(person.ips)})")
    return parts


def _of_sessions(hashes: Mapping[int, Collection[int]]) -> str:
    parts = [
        f"(project_id = {int(project)} AND user_hash IN ({', '.join(str(int(each)) for each in sorted(some))}))"
        for project, some in sorted(hashes.items())
        if some
    ]
    return _any(parts)


def _mentions(column: str, person: Identity) -> str:
    """A condition: a column holds one of the texts as a word. The plain search first: it is ten times as fast."""
    wanted = sorted(person.texts.wanted)
    if not wanted:
        return "false"
    wanted += [spelt_in_pages(each) for each in wanted if is_address(each)]
    spelt = {spelling for each in wanted for spelling in (each, json.dumps(each, ensure_ascii=False)[1:-1])}
    plain = " OR ".join(f"contains(lower({column}), {literal(each.lower())})" for each in sorted(spelt))
    words = "|".join(_as_word(each) for each in sorted(spelt))
    return f"(({plain}) AND regexp_matches({column}, {literal(words)}, 'i'))"


def _as_word(text: str) -> str:
    """As erasure/texts.py has it, in the syntax of RE2, which looks neither ahead nor behind."""
    before = after = ""
    if text[:1].isalnum():
        none = r"[^0-9A-Za-z.]|(?:^|[^0-9])\." if text[0].isdigit() else "[^0-9A-Za-z]"
        none = "[^0-9A-Za-z._+-]" if is_address(text) else none
        before = rf"(?:^|{none}|\\[nrtbf]|\\u[0-9a-fA-F]{{4}}|%[0-9a-fA-F]{{2}})"
    if text[-1:].isalnum():
        after = r"(?:$|[^0-9A-Za-z.]|\.(?:$|[^0-9]))" if text[-1].isdigit() else "(?:$|[^0-9A-Za-z])"
        after = "(?:$|[^0-9A-Za-z.-]|[.-](?:$|[^0-9A-Za-z]))" if is_address(text) else after
    return before + re.escape(text) + after


def _of_project(person: Identity) -> str:
    return "" if person.project_id is None else f"project_id = {int(person.project_id)} AND "


def _any(parts: Iterable[str]) -> str:
    found = [part for part in parts if part != "false"]
    return f"({' OR '.join(found)})" if found else "false"


def _listed(values: Iterable[str]) -> str:
    return ", ".join(literal(value) for value in values)

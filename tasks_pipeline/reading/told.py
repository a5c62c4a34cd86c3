"""How entries of a group's log are told to people, in words and with the names of groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.groups.regressions import told_regression
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.words import counted, short_commit

LOGGED = ("id", "at", "actor", "action", "data")
"""What JSON says of an entry."""


def told(
    state: StateDatabase, slugs: Mapping[int, str], entries: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Entries of a log with the short ids of groups in the place of their numbers, keys counted, and a `text`."""
    found = list(entries)
    names = short_ids(state, slugs, (n for entry in found for n in _groups_in(entry["data"])))
    rows = []
    for entry in found:
        data = {name: _shown(name, value, names) for name, value in entry["data"].items()}
        rows.append({**entry, "data": data, "text": _text(str(entry["action"]), data)})
    return rows


def _groups_in(data: Mapping[str, Any]) -> list[int]:
    into, came_from = data.get("into"), data.get("from", [])
    found = came_from if isinstance(came_from, list) else [came_from]
    return found if into is None else [*found, into]


def _shown(name: str, value: Any, names: Mapping[int, str]) -> Any:
    match name, value:
        case "keys", list():
            return len(value)
        case (("into" | "from"), list()):
            return [names.get(n, str(n)) for n in value]
        case (("into" | "from"), int()):
            return names.get(value, str(value))
    return value


def _text(action: str, data: Mapping[str, Any]) -> str:
    """An entry as a phrase about the group, with the issue of a tracker that it comes from."""
    key = data.get("issue_key")
    if action == "issue":
        return f"{key}: {data.get('what')}"
    return _said(action, data) + (f" ({key})" if key else "")


def _said(action: str, data: Mapping[str, Any]) -> str:
    match action, data:
        case "resolve", {"in_release_after": release}:
            return f"resolved in the release after {release}"
        case "resolve", {"release": release}:
            return f"resolved in {release}{_by_commit(data)}"
        case "resolve", {"commit": commit}:
            return f"resolved by commit {short_commit(commit)}{_of_repository(data)}"
        case "regress", {"resolution": _}:
            return f"regressed: {told_regression(data)}"
        case "ignore", {"until": until}:
            return f"ignored until {datetime.fromisoformat(until).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        case "ignore", {"more_events": more}:
            return f"ignored until it is seen {counted(more, 'time')} more"
        case "ignore", {"more_users": more}:
            return f"ignored until {counted(more, 'user')} more {'sees' if more == 1 else 'see'} it"
        case "assign", {"assignee": assignee, "commit": sha}:
            return f"assigned to {assignee}, whose commit {short_commit(sha)} is suspected"
        case "assign", {"assignee": assignee}:
            return f"assigned to {assignee}"
        case "merge", {"into": target}:
            return f"merged into {target}{_alike(data)}"
        case "merge", {"from": others}:
            return f"{', '.join(others)} merged into it{_alike(data)}"
        case "unmerge", {"from": target}:
            return f"taken out of {target}"
        case "unmerge", {"into": other}:
            return f"{other} taken out"
        case "move", {"into": target, "events": events}:
            return f"{counted(events, 'event')} moved to {target}: symbols came, or rules changed"
        case "move", {"from": former, "events": events}:
            return f"{counted(events, 'event')} came from {former}"
        case "inherit", {"from": others, "what": what}:
            return f"{' and '.join(what)} of {', '.join(others)} taken over"
        case "link", {"made": True, "key": key, "tracker": tracker}:
            return f"{key} was made for it in {tracker}{_by_rule(data)}"
        case "link", {"key": key}:
            return f"linked to {key}{_by_rule(data)}"
        case "unlink", {"key": key, "tracker": tracker}:
            return f"not linked to {key or f'an issue of {tracker}'} any more"
        case "apart", {"into": other}:
            return f"said to be something else than {other}"
        case "discard", {"events": events}:
            return f"discarded, {counted(events, 'event')} removed"
    return _PLAIN.get(action, action)


def _by_commit(data: Mapping[str, Any]) -> str:
    return f" by commit {short_commit(data['commit'])}" if isinstance(data.get("commit"), str) else ""


def _of_repository(data: Mapping[str, Any]) -> str:
    return f" of {data['repository']}" if data.get("repository") else ""


def _by_rule(data: Mapping[str, Any]) -> str:
    return f' by the alert rule "{data["rule"]}"' if data.get("rule") else ""


def _alike(data: Mapping[str, Any]) -> str:
    return f", similarity {data['similarity']:.2f}" if "similarity" in data else ""


_PLAIN = {
    "resolve": "resolved",
    "unresolve": "unresolved",
    "ignore": "ignored",
    "unassign": "assigned to nobody",
    "keep": "not discarded any more",
    "regress": "regressed: an event came after it was resolved",
    "comment": "commented",
    "edit_comment": "a comment changed",
    "delete_comment": "a comment deleted",
    "undo": "what was decided last is undone",
    "unignore": "unresolved: what it was ignored until has come",
}

"""What a refusal says: its words, the fields it names, and whether one more try without them is worth it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

MOST_FIELDS = 20
LONGEST = 2000
"""Characters of a text that are looked at: an answer may hold millions, and rules look at them again and again."""
_SILENT = {"documentation_url", "url", "status", "resource", "code", "value", "scope"}
_OPTIONAL = {
    "github": {"assignees", "assignee", "labels", "milestone", "type"},
    "gitlab": {
        "labels",
        "assignee_ids",
        "assignee_id",
        "milestone_id",
        "due_date",
        "weight",
        "assignees",
        "milestone",
    },
    "redmine": {"assignee", "category", "target version", "estimated time", "due date", "start date"},
    "jira_cloud": {"assignee"},
    "jira_dc": {"assignee"},
}
"""Fields without which an issue is still worth making."""
_OF_THE_PLACE = {"project", "project_id", "pid", "issuetype", "tracker", "tracker_id"}
"""Fields that say where an issue is made: a refused one is a mistake of the settings."""
_OURS = {"title", "summary", "subject", "description", "body"}
_REQUIRED = re.compile(
    r"is required|cannot be blank|can't be blank|is missing|not supplied|must provide the", re.I
)
_UNSETTABLE = re.compile(r"cannot be set|not on the appropriate screen", re.I)
_OF_A_SENTENCE = re.compile(
    r"^(.{1,100}?) (?:cannot be|can't be|can not be|could not be|is (?:invalid|not|too|missing|required|already|empty)|are |must |has |does|doesn't |contains )"
)
_QUOTED = re.compile(
    r"(?:property|field|attribute)s? ['\"]?([A-Za-z0-9_-]{1,100})|['\"]([A-Za-z0-9_-]{1,100})['\"] (?:property|field|attribute)",
    re.I,
)


def words_of(value: Any, depth: int = 0) -> str:
    """The texts within an error's JSON, as one line."""
    if depth > 3:
        return ""
    if isinstance(value, str):
        return value[:LONGEST].strip()
    if isinstance(value, list):
        return "; ".join(filter(None, (words_of(one, depth + 1) for one in value[:MOST_FIELDS])))
    if not isinstance(value, dict):
        return ""
    found = []
    for name, one in list(value.items())[:MOST_FIELDS]:
        text = "" if name in _SILENT else words_of(one, depth + 1)
        if not text:
            continue
        plain = name in {
            "message",
            "error",
            "errors",
            "errorMessages",
            "error_description",
            "msg",
            "field",
            "title",
            "detail",
        }
        found.append(text if plain else f"{name}: {text}")
    return "; ".join(found)


def refused_fields(provider: str, value: Any) -> tuple[str, ...]:
    """The fields that a refusal names, as it calls them."""
    if not isinstance(value, dict):
        return ()
    rule = {
        "github": _github,
        "gitlab": _gitlab,
        "jira_cloud": _jira,
        "jira_dc": _jira,
        "redmine": _redmine,
    }.get(provider, _other)
    return tuple(dict.fromkeys(str(field)[:100] for field in rule(value)))[:MOST_FIELDS]


def worth_without(provider: str, fields: Sequence[str], words: str) -> bool:
    """Whether the rest is worth making without the fields that were refused."""
    if not fields or any(field.lower() in _OURS for field in fields):
        return False
    if provider.startswith("jira") and _UNSETTABLE.search(words):
        return not _REQUIRED.search(words)
    return all(field.lower() in _OPTIONAL.get(provider, ()) for field in fields) and not _REQUIRED.search(
        words
    )


def is_required(fields: Sequence[str], words: str) -> bool:
    """Whether a field is missing or wrong that the settings have to give."""
    if any(field.lower() in _OF_THE_PLACE for field in fields):
        return True
    return bool(_REQUIRED.search(words)) and not all(field.lower() in _OURS for field in fields or ("",))


def _github(value: dict[str, Any]) -> list[str]:
    errors = value.get("errors")
    errors = errors if isinstance(errors, list) else [errors] if isinstance(errors, dict) else []
    return [
        error["field"]
        for error in errors[:100]
        if isinstance(error, dict) and isinstance(error.get("field"), str)
    ]


def _gitlab(value: dict[str, Any]) -> list[str]:
    message = value.get("message")
    if isinstance(message, dict):
        return [name for name in message if isinstance(name, str) and name not in ("error", "base")]
    error = value.get("error")
    return [part for text in str(error or "")[:LONGEST].split(",") for part in _field_of(text)]


def _jira(value: dict[str, Any]) -> list[str]:
    errors = value.get("errors")
    return [name for name in errors if isinstance(name, str)] if isinstance(errors, dict) else []


def _redmine(value: dict[str, Any]) -> list[str]:
    errors = value.get("errors")
    return (
        [part for text in errors[:100] if isinstance(text, str) for part in _field_of(text)]
        if isinstance(errors, list)
        else []
    )


def _other(value: dict[str, Any]) -> list[str]:
    return [before or after for after, before in _QUOTED.findall(words_of(value)[:2000])]


def _field_of(text: str) -> list[str]:
    found = _OF_A_SENTENCE.match(text[:LONGEST].strip())
    return [found[1]] if found else []

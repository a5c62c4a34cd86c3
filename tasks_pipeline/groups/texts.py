"""Texts of groups: what their first event says in its exceptions and frames, kept for those who look for words in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.storage.state.tables import group_texts

LONGEST = 4_000
"""Characters of each column: what comes behind is not looked in. A thousand are usual."""
_LONGEST_LINE = 500


@dataclass(frozen=True, slots=True)
class GroupTexts:
    """Lines to look in: what was `said`, and names of the `stack`."""

    said: str
    stack: str


def texts_of(event: Mapping[str, Any]) -> GroupTexts:
    """What an event says: each text once, those of the newest exception and of the frames nearest to the crash first."""
    exceptions = list(reversed((event.get("exception") or {}).get("values") or ()))
    said = [each.get(name) for each in exceptions for name in ("type", "value")]
    message = event.get("logentry") or {}
    said += [message.get(name) for name in ("formatted", "message")]
    return GroupTexts(_lines(said), _lines(_names(event, exceptions)))


def _names(event: Mapping[str, Any], exceptions: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
    threads = (event.get("threads") or {}).get("values") or ()
    stacks = [each.get("stacktrace") for each in (*exceptions, event, *threads)]
    for stack in stacks:
        for frame in reversed((stack or {}).get("frames") or ()):
            yield from (frame.get(name) for name in ("filename", "module", "function"))


def _lines(texts: Iterable[Any]) -> str:
    """Texts as lines, each once, as many as there is room for."""
    found, room = dict[str, None](), LONGEST
    for text in texts:
        line = str(text)[:_LONGEST_LINE].replace("\0", "") if text else ""
        if not line or line in found:
            continue
        room -= len(line) + 1
        if room < 0:
            break
        found[line] = None
    return "\n".join(found)


def keep_texts(connection: Connection, group_id: int, texts: GroupTexts) -> None:
    """Keep what the first event of a new group says, in the caller's transaction."""
    row = {"group_id": group_id, "said": texts.said, "stack": texts.stack}
    connection.execute(group_texts.insert(), [row])

"""Turns: when a link changed direction, and when people were told that robots fight over it. A link keeps them in one list of texts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.links.rows import Link

STATE, ASSIGNEE, TOLD = "", "assignee ", "told "
"""What an entry is about; its time (ISO 8601) follows. TOLD: that the link was held for a fight."""
LASTS = 3
"""So many flap windows after it was held last a fight is over: one for the hold, one in which it is counted anew, and one to spare."""
MOST = 1000


def recent(link: Link, tracker: Tracker, now: datetime, what: str = STATE) -> int:
    """How often a link changed direction within the flap window, in its state or its assignee."""
    return sum(
        each.startswith(what) and each[len(what)].isdigit() for each in _kept(link.turns, tracker, now)
    )


def with_turns(link: Link, tracker: Tracker, now: datetime, *what: str) -> list[str]:
    """The turns of a link that still count, and further ones of this moment."""
    return [*_kept(link.turns, tracker, now), *(f"{each}{now.isoformat()}" for each in what)][-MOST:]


def forgiven(link: Link) -> list[str]:
    """The turns of a link that goes on after a fight: none but that it was told."""
    return [each for each in link.turns if each.startswith(TOLD)]


def was_told(link: Link, tracker: Tracker, now: datetime) -> bool:
    """Whether people know of the fight over a link: it was held for it a while ago, and it was not over since."""
    return any(each.startswith(TOLD) for each in _kept(link.turns, tracker, now))


def _kept(turns: Sequence[str], tracker: Tracker, now: datetime) -> list[str]:
    window = timedelta(minutes=tracker.flap_minutes)
    kept = []
    for each in turns:
        of_fight = each.startswith(TOLD)
        at = datetime.fromisoformat(each.rpartition(" ")[2])
        if at > now - (LASTS * window if of_fight else window):
            kept.append(each)
    return kept

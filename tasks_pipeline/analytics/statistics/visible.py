"""Which groups figures tell of: all that people see, or saw until somebody merged or discarded them."""

from __future__ import annotations

from sqlalchemy import or_

from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.storage.state.tables import groups

VISIBLE = or_(
    groups.c.times_seen > 0, groups.c.merged_into.is_not(None), groups.c.status == str(Status.DISCARDED)
)
"""Not those that lost all their events to others when the past was computed again: they would never have been there. What
makes one of them appear or vanish notes the days that tell of it (`groups/days.py:shown_since`)."""
VISIBLE_SQL = f"(times_seen > 0 OR merged_into IS NOT NULL OR status = '{Status.DISCARDED}')"

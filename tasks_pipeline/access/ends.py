"""How long what lets people in is good for."""

from __future__ import annotations

from datetime import timedelta

IDLE_FOR = timedelta(days=14)
"""A session that nobody used for so long is over."""
INVITED_FOR = timedelta(days=3)
"""A link that invites is good for so long."""
FAILURES_FOR = timedelta(minutes=15)
"""A login that failed counts for so long."""

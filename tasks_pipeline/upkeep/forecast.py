"""When the disk will be full, from how much was free over the last weeks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from statistics import median

from tasks_pipeline.upkeep.findings import FreeDisk

LEAST_SPAN = timedelta(days=2)
"""Of less it cannot be told what is growth and what comes and goes in a day."""
MOST_DAYS = 3_650


def days_until_full(readings: Sequence[FreeDisk]) -> float | None:
    """Days until nothing is free, if it goes on as it did: the median of what was lost between any two readings, which one cleanup
    or one large file does not move. MOST_DAYS when the disk does not fill; None while too little is known."""
    if len(readings) < 3 or readings[-1].at - readings[0].at < LEAST_SPAN:
        return None
    losses = [
        (one.free - other.free) / ((other.at - one.at).total_seconds() / 86_400)
        for number, one in enumerate(readings)
        for other in readings[number + 1 :]
        if other.at > one.at
    ]
    loss = median(losses) if losses else 0.0
    return min(MOST_DAYS, readings[-1].free / loss) if loss > 0 else MOST_DAYS

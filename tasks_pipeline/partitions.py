"""Partitions: one per UTC day of receipt, the same for all assets, so that a day can be inspected and recomputed as one."""

from datetime import date

import dagster as dg


def days_since(first: date) -> dg.DailyPartitionsDefinition:
    """The days from the first on. Today is one of them from its first second.

    Days, not hours: an asset should stay well below 100,000 partitions.
    """
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), timezone="UTC", end_offset=1)

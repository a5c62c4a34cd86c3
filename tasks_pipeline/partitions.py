"""Partitions: one per UTC day of receipt, the same for all assets, so that a day can be inspected and recomputed as one.

Of release health the day is that on which sessions began: its partitions begin some days earlier.
"""

from datetime import date

import dagster as dg

PARTITION_TAG = "dagster/partition"


def days_since(first: date) -> dg.DailyPartitionsDefinition:
    """The days from the first on. Today is one of them from its first second.

    Days, not hours: an asset should stay well below 100,000 partitions.
    """
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), timezone="UTC", end_offset=1)


def tags_of_day(day: date) -> dict[str, str]:
    """Tags of a run of a day. A sensor requests runs by them and not by `partition_key`: a day before the first one (a clock
    was set back) is no partition until the code is loaded again, and asking for it by key fails the tick for all days."""
    return {PARTITION_TAG: day.isoformat()}


RANGE_TAGS = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def tags_of_days(first: date, last: date) -> dict[str, str]:
    """Tags of one run of all days from the first to the last."""
    if first == last:
        return tags_of_day(first)
    return dict(zip(RANGE_TAGS, (first.isoformat(), last.isoformat()), strict=True))

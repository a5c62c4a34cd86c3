"""Partitions: one per UTC day of receipt, the same for all assets, so that a day can be inspected and recomputed as one.

Of release health the day is that on which sessions began: its partitions begin some days earlier.
"""

from datetime import date, timedelta

import dagster as dg

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def days_since(first: date) -> dg.DailyPartitionsDefinition:
    """The days from the first on. Today is one of them from its first second.

    Days, not hours: an asset should stay well below 100,000 partitions.
    """
    return dg.DailyPartitionsDefinition(start_date=first.isoformat(), timezone="UTC", end_offset=1)


def periods_since(first: date, week_starts: str) -> dict[str, dg.PartitionsDefinition]:
    """Days, weeks and months by kind, from those that hold a day on; those of now are among them. Keys are names of local periods,
    which may end before those of UTC do."""
    earlier = first - timedelta(days=1)  # where it was still the day before, locally
    offset = {"sunday": 0, "monday": 1, "saturday": 6}[week_starts]
    week = earlier - timedelta(days=(earlier.weekday() + 1 - offset) % 7)
    month = earlier.replace(day=1)
    return {
        "day": dg.DailyPartitionsDefinition(earlier.isoformat(), timezone="UTC", end_offset=1),
        "week": dg.WeeklyPartitionsDefinition(
            week.isoformat(), day_offset=offset, timezone="UTC", end_offset=1
        ),
        "month": dg.MonthlyPartitionsDefinition(month.isoformat(), timezone="UTC", end_offset=1),
    }


def tags_of_range(first: date, last: date) -> dict[str, str]:
    """Tags of a run of all partitions from one to another."""
    if first == last:
        return tags_of_day(first)
    return {RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()}


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

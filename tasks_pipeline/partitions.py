"""Partitions: one per UTC day of receipt, the same for all assets, so that a day can be inspected and recomputed as one."""

import dagster as dg

# Days, not hours: an asset should stay well below 100,000 partitions. Today is a partition from its first second.
daily = dg.DailyPartitionsDefinition(start_date="2026-11-01", timezone="UTC", end_offset=1)

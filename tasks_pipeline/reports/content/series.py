"""Series of a report: errors by local hour of a day, by local day of weeks and months. pandas makes the full axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.spans import Bounds, bounds_of, in_slots
from tasks_pipeline.reports.periods import Period
from tasks_pipeline.reports.report import Series
from tasks_pipeline.reports.scopes import Scope

if TYPE_CHECKING:
    import pandas as pd


EVERY = "15min"


class Slots:
    """Errors by project and slot of spans; what was read once is kept for all scopes."""

    def __init__(self, lake: Figures) -> None:
        self._lake = lake
        self._known: dict[Bounds, pd.DataFrame] = {}

    def series(self, period: Period, before: Period | None, scope: Scope) -> Series:
        """The series of a scope; `before` is put beside it part by part, as far as both are long."""
        import pandas as pd

        now = self._parts(period, scope)
        earlier = [] if before is None else self._parts(before, scope)["events"].tolist()
        return Series(
            starts=[at.to_pydatetime() for at in pd.DatetimeIndex(now.index).tz_convert("UTC")],
            errors=now["events"].tolist(),
            before=earlier,
            new_groups=now["new_groups"].tolist(),
        )

    def _parts(self, period: Period, scope: Scope) -> pd.DataFrame:
        """Counts by part of a period, also of those in which nothing happened."""
        import pandas as pd

        frame = self._frame(bounds_of(period))
        if scope.project_ids is not None:
            frame = frame[frame["project_id"].isin(scope.project_ids)]
        axis = pd.date_range(period.start, period.end, freq=EVERY, inclusive="left", tz="UTC")
        by_slot = frame.groupby("slot")[["events", "new_groups"]].sum().reindex(axis, fill_value=0)
        local = by_slot.tz_convert(period.zone)
        return local.resample("h" if period.kind == "day" else "D").sum().astype("int64")

    def _frame(self, span: Bounds) -> pd.DataFrame:
        if span not in self._known:
            while len(self._known) > 1:  # a period and the one before it
                del self._known[next(iter(self._known))]
            self._known[span] = _read(self._lake, span)
        return self._known[span]


def _read(lake: Figures, span: Bounds) -> pd.DataFrame:
    import pandas as pd

    # HUGEINT would become floats.
    rows = lake.arrow(
        "SELECT project_id, slot, sum(events)::BIGINT AS events, sum(new_groups)::BIGINT AS new_groups "
        f"FROM lake.event_stats WHERE {in_slots(span)} "
        "GROUP BY project_id, slot"
    )
    frame: pd.DataFrame = rows.to_pandas()
    frame["slot"] = pd.to_datetime(frame["slot"], utc=True).astype("datetime64[us, UTC]")
    return frame

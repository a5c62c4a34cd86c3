"""What pandas does with frames of figures: full axes in local time, and one period against another. No query here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from tasks_pipeline.analytics.figures import ADDITIVE

SLOT = "15min"


def full_axis(
    frame: pd.DataFrame,
    start: datetime,
    end: datetime,
    freq: str = SLOT,
    zone: str = "UTC",
    *,
    values: Sequence[str] | None = None,
    by: Sequence[str] = (),
    time: str = "slot",
) -> pd.DataFrame:
    """The sums of `values` for each part of the span from `start` up to `end`, also where nothing happened: there they are 0.

    The index holds the begin of each part in `zone`; `freq` is `15min`, `h` (hours from the local begin), `D` (local days, of
    23, 23.5, 24 or 25 hours) or `MS` (local months). `values` are the columns that add up when none are named; with `by` there is
    a column for each of its combinations: `full_axis(…, values=["events"], by=["project"])["events", "shop"]`.
    Raises ValueError when nothing can be added up.
    """
    chosen = list(values) if values is not None else [name for name in frame.columns if name in ADDITIVE]
    if not chosen:
        raise ValueError("the frame has no column that adds up; name some in `values`")
    first, last = (pd.Timestamp(moment).tz_convert("UTC") for moment in (start, end))
    axis = pd.date_range(first, last, freq=SLOT, inclusive="left", unit="us", name=time)
    slots = frame[time].dt.floor(SLOT)
    sums = frame.groupby([slots, *by], dropna=False, observed=True)[chosen].sum()
    apart = pd.DataFrame(sums.unstack(list(by), fill_value=0)) if by else sums
    full = apart.reindex(axis, fill_value=0).tz_convert(zone)
    return full if freq == SLOT else full.resample(freq).sum()


def compare(
    frame: pd.DataFrame,
    before: pd.DataFrame,
    *,
    by: Sequence[str],
    values: Sequence[str] | None = None,
    hours: float = 1,
    hours_before: float = 1,
) -> pd.DataFrame:
    """Two periods side by side: the columns in `by`, and for each of `values` itself, `…_before` and `…_change`.

    What one of the two has not is 0 in it. The change is relative, of rates per hour where the lengths of the periods (`hours`)
    differ: 0.5 is half more; missing (NaN) where before there was nothing and now there is something, 0 where there is nothing
    in both. Raises ValueError when the same `by` stands in a frame twice.
    """
    chosen = list(values) if values is not None else [name for name in frame.columns if name in ADDITIVE]
    keys = list(by)
    joined = frame[keys + chosen].merge(
        before[keys + chosen], on=keys, how="outer", suffixes=("", "_before"), validate="one_to_one"
    )
    columns = list(keys)
    for name in chosen:
        for column in (name, f"{name}_before"):
            whole = pd.api.types.is_integer_dtype(frame[name].dtype)
            filled = joined[column].fillna(0)
            joined[column] = filled.astype("int64") if whole else filled
        joined[f"{name}_change"] = _change(joined[name] / hours, joined[f"{name}_before"] / hours_before)
        columns += [name, f"{name}_before", f"{name}_change"]
    return joined[columns]


def _change(rate: pd.Series[float], before: pd.Series[float]) -> pd.Series[float]:
    change = (rate / before.where(before != 0) - 1).astype("float64")
    return change.mask((before == 0) & (rate == 0), 0.0).replace([np.inf, -np.inf], np.nan)

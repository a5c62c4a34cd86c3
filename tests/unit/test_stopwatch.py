"""Where the time of a batch goes."""

from __future__ import annotations

import time

import pytest

from tasks_pipeline.processing.stopwatch import STAGES, Stopwatch


def test_time_goes_to_the_stage_that_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 3.0, 4.0, 8.0, 16.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    watch = Stopwatch()
    for stage in ("decode", "group", "decode", "", "write"):
        watch.at(stage)
    assert watch.seconds == {"decode": 2.0 + 4.0, "group": 1.0}
    assert watch.seconds.keys() <= set(STAGES)

"""Trouble that lasts is a line when it begins, a count, and a line when it is over."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from tasks_pipeline import outages
from tasks_pipeline.outages import Outage, one_line
from tasks_pipeline.receiver.commit import GroupCommit, SpoolFailed
from tasks_pipeline.receiver.prometheus import Metrics
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.spool.interface import Receipt, SpoolError

log = logging.getLogger("test")
RECEIPT = Receipt(datetime(2026, 11, 22, tzinfo=UTC), 1, "key", None, "", 1, b"body")


class Spool:
    """One whose database is away for so many appends."""

    part = "r0"

    def __init__(self, away: int) -> None:
        self.away = away

    def writer(self) -> Spool:
        return self

    def append(self, receipts: Sequence[Receipt]) -> list[tuple[date, int]]:
        self.away -= 1
        if self.away >= 0:
            raise SpoolError("nothing stored: OperationalError: connection refused") from OSError("refused")
        return [(each.day, 1) for each in receipts]

    def close(self) -> None:
        pass


def test_failing_appends_are_two_lines_however_many(caplog: pytest.LogCaptureFixture) -> None:
    async def outage(commit: GroupCommit) -> None:
        await commit.start(5)
        for _ in range(500):
            with pytest.raises(SpoolFailed):
                await commit.submit(RECEIPT)
        await commit.submit(RECEIPT)
        await commit.close()

    spool: Any = Spool(500)
    with caplog.at_level(logging.INFO):
        asyncio.run(outage(GroupCommit(lambda: spool, Metrics())))
    began, over = [
        record.getMessage() for record in caplog.records if record.name.endswith("receiver.commit")
    ]
    assert (
        began
        == "envelopes cannot be written: SpoolError: nothing stored: OperationalError: connection refused"
    )
    assert over.startswith("envelopes cannot be written: over after ")
    assert over.endswith(" s, 500 failures")
    assert "Traceback" not in caplog.text


def test_what_goes_on_is_told_again_and_what_is_new_at_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("tasks_pipeline.outages.time.monotonic", lambda: now[0])
    outage = Outage(log, "no nudge")
    for _ in range(3):
        outage.failed(OSError("away"))
    outage.failed(KeyError("of ours"), expected=False)
    now[0] += outages.REMIND_SECONDS
    outage.failed(OSError("away"))
    outage.over()
    outage.over()
    outage.failed(OSError("again"))
    assert [record.getMessage() for record in caplog.records] == [
        "no nudge: OSError: away",
        "no nudge (4 times in 0 s): KeyError: 'of ours'",
        "no nudge (5 times in 60 s): OSError: away",
        "no nudge: over after 60.0 s, 5 failures",
        "no nudge: OSError: again",
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True, False, False, False]


def test_a_line_holds_no_statement_and_no_end() -> None:
    error = OperationalError("SELECT secret", {"x": "y"}, OSError("the server\nis away " + "x" * 1000))
    assert one_line(error).startswith("OperationalError: the server is away")
    assert "secret" not in one_line(error)
    assert len(one_line(error)) == outages.MAX_LINE


def test_a_run_that_meets_no_database_fails_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKS_PIPELINE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(dg.Failure) as failure, StoresResource(home=str(tmp_path)).open():
        pytest.fail("it opened")
    said = "".join(traceback.format_exception(failure.value))
    assert "a database is away, and this is tried again" in said
    assert "sqlalchemy" not in said
    assert len(said) < 2_000

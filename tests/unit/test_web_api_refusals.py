"""What goes wrong below the Web API is told in its words."""

from __future__ import annotations

import duckdb
import pytest

from tasks_pipeline.acting.together import NotAllowed
from tasks_pipeline.groups.decisions import DecisionError
from tasks_pipeline.reading.lake_reader import LakeBusy, LakeTooSlow
from tasks_pipeline.reading.parse import QueryError
from tasks_pipeline.web_api import refusals


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (
            QueryError("this quote is never closed", 4),
            400,
            "query: this quote is never closed (at character 5)",
        ),
        (DecisionError("they belong to different projects"), 400, "they belong to different projects"),
        (NotAllowed("it takes the role admin"), 403, "it takes the role admin"),
        (LakeBusy("4 questions are asked already"), 503, "4 questions are asked already"),
        (LakeTooSlow("it took longer than 10 s"), 504, "it took longer than 10 s; ask for a shorter time"),
        (duckdb.IOException("/home/x/lake.parquet is gone"), 503, "the lake cannot be read; try again"),
    ],
)
def test_each_is_a_refusal(error: Exception, status: int, said: str) -> None:
    assert isinstance(error, refusals.EXPECTED)
    found = refusals.of(error)
    assert (found.status, str(found)) == (status, said)

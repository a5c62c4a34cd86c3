"""What goes wrong below the Web API as refusals of it: which status, and what the caller is told."""

from __future__ import annotations

import duckdb

from tasks_pipeline.acting.together import NotAllowed
from tasks_pipeline.groups.decisions import DecisionError
from tasks_pipeline.links.comments import CommentError
from tasks_pipeline.reading.cursors import CursorError
from tasks_pipeline.reading.fields import NoSuchField
from tasks_pipeline.reading.lake_reader import LakeBusy, LakeTooSlow
from tasks_pipeline.reading.parse import QueryError
from tasks_pipeline.web_api.calls import ApiError

EXPECTED = (
    QueryError,
    NoSuchField,
    CursorError,
    DecisionError,
    CommentError,
    LakeBusy,
    LakeTooSlow,
    duckdb.Error,
)


def of(error: Exception) -> ApiError:
    """The refusal for one of EXPECTED."""
    match error:
        case QueryError():
            return ApiError(400, f"query: {error} (at character {error.at + 1})")
        case CursorError():
            return ApiError(400, f"cursor: {error}")
        case NotAllowed():
            return ApiError(403, str(error))
        case LakeTooSlow():
            return ApiError(504, f"{error}; ask for a shorter time")
        case LakeBusy():
            return ApiError(503, str(error), {"retry-after": "5"})
        case duckdb.Error():
            return ApiError(503, "the lake cannot be read; try again", {"retry-after": "5"})
    return ApiError(400, str(error))

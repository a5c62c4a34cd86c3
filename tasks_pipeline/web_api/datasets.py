"""What questions about events may be asked of: errors. What is not kept is empty, not a mistake: clients ask for it in passing."""

from __future__ import annotations

from tasks_pipeline.web_api.calls import ApiError, Call

ERRORS = ("errors", "error", "discover", "issuePlatform", "")
NOT_KEPT = (
    "spans", "spansIndexed", "spansEAPRpc", "spansMetrics", "transactions", "logs", "ourlogs", "replays", "tracemetrics", "metrics",
    "metricsEnhanced", "profiles", "profile_functions", "profileFunctions", "uptimeResults", "preprodSize", "sessions",
)  # fmt: skip


def is_kept(call: Call) -> bool:
    """Whether the data set that a call asks for is kept. Raises ApiError (400) for one that there is nowhere."""
    name = call.query.get("dataset", "errors")
    if name in NOT_KEPT:
        return False
    if name not in ERRORS:
        raise ApiError(
            400,
            f"dataset: {name[:40]!r} is none; allowed are errors, and those that are not kept: {', '.join(NOT_KEPT)}",
        )
    return True

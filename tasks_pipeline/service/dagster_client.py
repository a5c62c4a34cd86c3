"""What commands and the nudge ask of the running webserver over GraphQL: runs, their start, backfills. Plain data in and out, no Dagster import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

TIMEOUT_SECONDS = 15
# A run of one partition carries the first; a run that a backfill with a policy made carries the second.
PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")
LAST_TAGS = ("dagster/partition", "dagster/asset_partition_range_end")
BACKFILL_TAG = "dagster/backfill"
UNDER_WAY = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED")
REPOSITORY = "__repository__"  # Dagster's name for the one of a code location made of Definitions
ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})


class DagsterError(Exception):
    """The webserver does not answer, or refuses; the message says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of Dagster; `status` is Dagster's word, `partition` a day or empty, `last` the last day of a run of many."""

    run_id: str
    job: str
    status: str
    partition: str
    started_at: datetime | None
    ended_at: datetime | None
    last: str = ""

    def is_of(self, day: date) -> bool:
        """Whether it is about a day."""
        return self.partition <= day.isoformat() <= (self.last or self.partition)


@dataclass(frozen=True, slots=True)
class Backfill:
    """How far a backfill is: Dagster's status of it, its error if it has one, and its newest run of each partition."""

    status: str
    error: str
    runs: Mapping[str, Run]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")

    def run_of(self, day: date) -> Run | None:
        """The newest run that is about a day."""
        return next((run for run in self.runs.values() if run.is_of(day)), None)


_RUN = "runId jobName status startTime endTime tags { key value }"
_ERROR = "... on Error { message }"


def recent_runs(ui_url: str, limit: int) -> list[Run]:
    """The newest runs, newest first. Raises DagsterError."""
    answer = _ask(
        ui_url,
        f"query($limit: Int!) {{ runsOrError(limit: $limit) {{ ... on Runs {{ results {{ {_RUN} }} }} {_ERROR} }} }}",
        {"limit": limit},
    )
    return [_run(found) for found in _checked(answer["runsOrError"])["results"]]


def runs_under_way(ui_url: str, job: str) -> list[Run]:
    """The runs of a job that wait, start or work. Raises DagsterError."""
    answer = _ask(
        ui_url,
        f"query($filter: RunsFilter!) {{ runsOrError(filter: $filter) {{ ... on Runs {{ results {{ {_RUN} }} }} {_ERROR} }} }}",
        {"filter": {"pipelineName": job, "statuses": list(UNDER_WAY)}},
    )
    return [_run(found) for found in _checked(answer["runsOrError"])["results"]]


def run_status(ui_url: str, run_id: str) -> str:
    """Dagster's word for what became of a run; empty when it is gone. Raises DagsterError."""
    answer = _ask(
        ui_url, "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", {"id": run_id}
    )
    return str(answer["runOrError"].get("status", ""))


def launch_run(
    ui_url: str, location: str, job: str, tags: Mapping[str, str], run_config: Mapping[str, Any]
) -> str:
    """Put a run of a job into Dagster's queue; gives its id. A partition is a tag. Raises DagsterError."""
    answer = _ask(
        ui_url,
        "mutation($params: ExecutionParams!) { launchRun(executionParams: $params) "
        f"{{ ... on LaunchRunSuccess {{ run {{ runId }} }} {_ERROR} "
        "... on RunConfigValidationInvalid { errors { message } } } }",
        {
            "params": {
                "selector": {
                    "repositoryLocationName": location,
                    "repositoryName": REPOSITORY,
                    "jobName": job,
                },
                "runConfigData": dict(run_config),
                "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
            }
        },
    )
    result = _checked(answer["launchRun"])
    if "run" not in result:
        raise DagsterError(f"Dagster refused: {[e['message'] for e in result.get('errors', ())]}")
    return str(result["run"]["runId"])


def launch_backfill(
    ui_url: str,
    op: str,
    days: Sequence[date],
    tags: Mapping[str, str],
    title: str,
    run_config: Mapping[str, Any],
) -> str:
    """Start a backfill of all assets that an op makes for some days; gives its id. Raises DagsterError."""
    found = _ask(ui_url, "{ assetNodes { opNames isMaterializable assetKey { path } } }", {})
    assets = [
        {"path": node["assetKey"]["path"]}
        for node in found["assetNodes"]
        if op in node["opNames"] and node["isMaterializable"]
    ]
    if not assets:
        raise DagsterError(f"Dagster knows no assets that {op} makes; are the definitions loaded?")
    answer = _ask(
        ui_url,
        "mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) "
        f"{{ ... on LaunchBackfillSuccess {{ backfillId }} {_ERROR} }} }}",
        {
            "params": {
                "assetSelection": assets,
                "partitionNames": [day.isoformat() for day in days],
                "tags": [{"key": key, "value": value} for key, value in tags.items()],
                "title": title,
                "runConfigData": dict(run_config),
            }
        },
    )
    return str(_checked(answer["launchPartitionBackfill"])["backfillId"])


def backfill_progress(ui_url: str, backfill_id: str) -> Backfill:
    """How far a backfill is. Raises DagsterError."""
    answer = _ask(
        ui_url,
        "query($id: String!, $filter: RunsFilter!) { "
        f"partitionBackfillOrError(backfillId: $id) {{ ... on PartitionBackfill {{ status error {{ message }} }} {_ERROR} }} "
        f"runsOrError(filter: $filter) {{ ... on Runs {{ results {{ {_RUN} }} }} {_ERROR} }} }}",
        {"id": backfill_id, "filter": {"tags": [{"key": BACKFILL_TAG, "value": backfill_id}]}},
    )
    state = _checked(answer["partitionBackfillOrError"])
    newest_first = [_run(found) for found in _checked(answer["runsOrError"])["results"]]
    return Backfill(
        status=state["status"],
        error=(state.get("error") or {}).get("message", "").strip(),
        runs={run.partition: run for run in reversed(newest_first)},
    )


def run_error(ui_url: str, run_id: str) -> str:
    """Why a run failed, in a line; empty when Dagster does not say. Raises DagsterError."""
    answer = _ask(
        ui_url,
        "query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events { __typename "
        "... on ErrorEvent { error { message causes { message } } } } } } }",
        {"id": run_id},
    )
    errors = [e["error"] for e in answer["logsForRun"].get("events", ()) if e.get("error")]
    messages = [cause["message"] for error in errors for cause in (error, *error["causes"])]
    return messages[-1].strip().splitlines()[0] if messages else ""


def _ask(ui_url: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    import httpx  # 8 MB, of a process that seldom asks

    try:
        response = httpx.post(
            f"{ui_url}/graphql", json={"query": query, "variables": variables}, timeout=TIMEOUT_SECONDS
        )
        response.raise_for_status()
        answer = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise DagsterError(f"Dagster's webserver at {ui_url} does not answer: {error}") from error
    if answer.get("errors"):
        raise DagsterError(f"Dagster refused: {answer['errors'][0].get('message', '')}")
    data: dict[str, Any] = answer["data"]
    return data


def _checked(result: dict[str, Any]) -> dict[str, Any]:
    """A result that may be an error of GraphQL's error interface."""
    if "message" in result:
        raise DagsterError(f"Dagster refused: {result['message'].strip()}")
    return result


def _run(found: dict[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    return Run(
        run_id=found["runId"],
        job=found["jobName"],
        status=found["status"],
        partition=next((tags[key] for key in PARTITION_TAGS if key in tags), ""),
        started_at=_moment(found["startTime"]),
        ended_at=_moment(found["endTime"]),
        last=next((tags[key] for key in LAST_TAGS if key in tags), ""),
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

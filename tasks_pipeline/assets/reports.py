"""Assets of reports: a partition for each day, week and month. Its key is the name of the period: what it holds is as long as the
clocks of each report's own zone say, and reaches into the UTC days beside it."""

import warnings
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.lanes import LANE_TAG, RECOMPUTE
from tasks_pipeline.reports.compute import Result
from tasks_pipeline.reports.many import OfKey, compute_reports
from tasks_pipeline.reports.periods import ADVERBS, KINDS, Kind, Period
from tasks_pipeline.reports.rendering.words import figure_words, headlines, small_svg, title_of
from tasks_pipeline.reports.report import Report
from tasks_pipeline.reports.scopes import ORGANISATION
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.words import counted

GROUP = "reports"
READ = ("statistics", "release_health")
"""Assets that reports are computed from, by the UTC days of their period."""
_TAGS = {LANE_TAG: RECOMPUTE.name}  # of what is started by hand; the sensor names its own lane
MOST_NAMED = 50
"""Reports that could not be computed and that the failure of a run names; the log has them all."""
_PLOTTED = ("errors", "users", "open_groups", "crash_free_sessions")


class ReportsConfig(dg.Config):
    """Which reports of the keys are computed."""

    only_due: bool = Field(
        False,
        description="Leave out first reports of periods that still wait for something, as those of another time zone may; what "
        "the sensor asks for.",
    )


def _asset(kind: Kind) -> dg.AssetsDefinition:
    with warnings.catch_warnings(category=dg.BetaWarning, action="ignore"):
        return _made(kind)


def _made(kind: Kind) -> dg.AssetsDefinition:
    adverb = ADVERBS[kind]
    # The first period begins before the first day of which something is known, and the last ends after today.
    mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    deps = [dg.AssetDep(name, partition_mapping=mapping) for name in READ]

    @dg.asset(
        name=f"{adverb}_report",
        deps=deps,
        group_name=GROUP,
        kinds={"json"},
        tags=_TAGS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,  # a run of which not every key has its reports marks those that have them, one by one
        description=f"Reports of each {kind}: of the organisation, its teams and projects. The same figures change nothing; other "
        "ones make a revision that says what changed and why. Nothing is sent here.",
    )
    def compute(
        context: dg.AssetExecutionContext, config: ReportsConfig, stores: StoresResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        """Compute the reports of all keys of the run, oldest first: each is stored by itself, so a run that fails or is ended
        leaves whole ones, and their keys are marked. Keys of which there can be none are left out, and stay as they were."""
        keys = [date.fromisoformat(key) for key in sorted(context.partition_keys)]
        marks: list[_Mark] = []
        try:
            with stores.open() as opened:
                now = datetime.now(UTC)
                for each in compute_reports(opened, kind, keys, now, only_due=config.only_due):
                    mark = _Mark(each.key, report_metadata(each), each.why_not, each.failed)
                    marks.append(mark)
        except BaseException:
            _tell(context, adverb, marks)
            raise
        if not any(mark.why_not for mark in marks):
            for mark in marks:
                context.add_asset_metadata(mark.metadata, partition_key=mark.key.isoformat())
            yield dg.MaterializeResult()
            return
        _tell(context, adverb, marks)
        failed = [why for mark in marks for why in mark.failed]
        if failed:
            raise dg.Failure(_listed(failed), allow_retries=False)

    return compute


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a key of a run shows: `metadata` of its reports, or `why_not` all could be had; `failed` are those that should."""

    key: date
    metadata: dict[str, Any]
    why_not: str
    failed: Sequence[str]


def _tell(context: dg.AssetExecutionContext, adverb: str, marks: Sequence[_Mark]) -> None:
    """Mark the keys of a run, not all of which have their reports: those that do as materialised, of the others only the reason."""
    asset = f"{adverb}_report"
    for mark in marks:
        partition, why = mark.key.isoformat(), mark.why_not
        if not why:
            context.log_event(dg.AssetMaterialization(asset, metadata=mark.metadata, partition=partition))
            continue
        context.log_event(
            dg.AssetObservation(asset, description=why, metadata={"left_out": why}, partition=partition)
        )
        context.log.warning(f"{partition} is left out: {why}")


def _listed(failed: Sequence[str]) -> str:
    shown = "; ".join(failed[:MOST_NAMED])
    return f"{shown}; and {len(failed) - MOST_NAMED:,} more" if len(failed) > MOST_NAMED else shown


def report_metadata(each: OfKey) -> dict[str, Any]:
    """What the partition of a key shows: the organisation's report, and how many scopes were computed. No stranger's text."""
    found: dict[str, Any] = {"reports": len(each.results), "seconds": round(each.seconds, 3)}
    found["new_revisions"] = each.new_revisions
    if each.left_out:
        found["left_out"] = "; ".join(each.left_out[:5])
    if each.early:
        found["computed_early"] = "; ".join(each.early[:5])
    for period, result in each.results:
        if result.report.scope == ORGANISATION:
            found |= _shown(period, result)
    return found


def _shown(period: Period, result: Result) -> dict[str, Any]:
    report = result.report
    shown: dict[str, Any] = {
        "label": report.label,
        "zone": report.zone,
        "from": f"{report.start:%Y-%m-%d %H:%M} UTC",
        "until": f"{report.end:%Y-%m-%d %H:%M} UTC",
        "hours": report.hours,
        "state": _state(report),
        "revision": result.revision,
        "headline": dg.MetadataValue.md(headline_table(report)),
    }
    if any(report.series.errors):
        shown[f"errors_by_{'hour' if report.kind == 'day' else 'day'}"] = dg.MetadataValue.md(
            small_picture(report)
        )
    if period.hours != period.usual_hours:
        shown["clocks"] = f"{period.hours:g} hours instead of {period.usual_hours:g}"
    if result.changes:
        causes = sorted({change["cause"] for change in result.changes})
        shown["revised"] = f"{counted(len(result.changes), 'change')}: {', '.join(causes)}"
    for name in _PLOTTED:
        value = report.figures.get(name)
        if value is not None:
            shown[name] = value
    return shown


def _state(report: Report) -> str:
    if report.incomplete:
        return f"incomplete: {counted(report.incomplete, 'envelope')} waited"
    if report.final:
        return "final"
    return f"open: {counted(len(report.pipeline.open_days), 'day')} of it may still change"


def headline_table(report: Report) -> str:
    """The headline as a table in Markdown; figures and our own words alone."""
    previous = report.previous or {}
    rows = [
        f"| {title_of(name)} | {figure_words(name, report.figures[name])} | {figure_words(name, previous.get(name))} | "
        f"{report.changes[name].text if name in report.changes else ''} |"
        for name in headlines(report)
    ]
    return "\n".join(["| | now | before | change |", "|---|--:|--:|--:|", *rows])


def small_picture(report: Report) -> str:
    """Errors over the period as a picture in Markdown. The UI shows images with a `data:` address, in texts below 1,000 characters
    inline; SVG that stands in a text itself it drops."""
    svg = b64encode(small_svg(report.series.errors).encode()).decode()
    return f"![up to {max(report.series.errors):,}](data:image/svg+xml;base64,{svg})"


daily_report, weekly_report, monthly_report = report_assets = [_asset(kind) for kind in KINDS]

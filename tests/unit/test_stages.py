"""Stages of releases as a fold over hours: every case with its right answer, any cut of the hours, and plain words for the rule."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.releases.stages import HOUR, WINDOW, Key, Share, Stage, StageFold
from tests.support.release_cases import cases

MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
Hours = Sequence[Mapping[Key, int]]


def shares_at(hours: Hours, n: int) -> dict[Key, Share]:
    """After the first n hours: what the lake gives, without leaving anything out."""
    window, everyone = Counter[Key](), Counter[tuple[int, str]]()
    for sessions in hours[max(0, n - WINDOW // HOUR) : n]:
        for key, count in sessions.items():
            window[key] += count
            everyone[key[:2]] += count
    return {key: (count, everyone[key[:2]]) for key, count in window.items()}


def folded(fold: StageFold, hours: Hours, first: int = 0, until: int | None = None) -> list[Stage]:
    return [
        stage
        for n in range(first + 1, (len(hours) if until is None else until) + 1)
        for stage in fold.hour(MIDNIGHT + n * HOUR, shares_at(hours, n))
    ]


def by_the_rule(hours: Hours) -> dict[tuple[Key, datetime], tuple[str, datetime | None]]:
    """The same, said once more without any state but what was adopted: every hour looks at its whole window."""
    found: dict[tuple[Key, datetime], tuple[str, datetime | None]] = {}
    standing: dict[Key, str] = {}
    adopted_at: dict[Key, datetime] = {}
    for n in range(1, len(hours) + 1):
        at, window = MIDNIGHT + n * HOUR, defaultdict[Key, int](int)
        for sessions in hours[max(0, n - WINDOW // HOUR) : n]:
            for key, count in sessions.items():
                window[key] += count
        for key in {*window, *standing}:
            everyone = sum(count for (*place, _), count in window.items() if tuple(place) == key[:2])
            if not everyone:
                continue
            if 10 * window[key] >= everyone:
                stage = "adopted"
                adopted_at.setdefault(key, at)
            else:
                stage = "replaced" if key in adopted_at else "low_adoption"
            if standing.get(key) != stage:
                standing[key] = stage
                found[key, at] = stage, adopted_at.get(key)
    return found


def as_found(stages: Sequence[Stage]) -> dict[tuple[Key, datetime], tuple[str, datetime | None]]:
    return {(stage.key, stage.since): (stage.stage, stage.adopted_at) for stage in stages}


@cases("adoption", "cases")
def test_stages(case: dict[str, Any]) -> None:
    """What has no environment has no stage: those who read the hours leave it out."""
    hours: defaultdict[datetime, dict[Key, int]] = defaultdict(dict)
    for hour in case["hours"]:
        if hour["environment"]:
            for version, count in hour["sessions"].items():
                hours[datetime.fromisoformat(hour["hour"])][1, hour["environment"], version] = count
    fold, wanted = StageFold(), {datetime.fromisoformat(asked["at"]): asked for asked in case["stages"]}
    first = min((*hours, *(at - HOUR for at in wanted)))
    by_hour = [hours.get(first + n * HOUR, {}) for n in range((max(wanted) - first) // HOUR)]
    for n in range(1, len(by_hour) + 1):
        fold.hour(first + n * HOUR, shares_at(by_hour, n))
        if asked := wanted.get(first + n * HOUR):
            stages = {
                stage.version: stage.stage
                for stage in fold.standing.values()
                if stage.environment == asked["environment"]
            }
            assert stages == asked["stages"]


keys = st.tuples(st.integers(1, 2), st.sampled_from(["production", "staging"]), st.sampled_from("abcd"))
some_hours = st.lists(
    st.dictionaries(keys, st.sampled_from([1, 1, 9, 10, 90, 10**18]), max_size=4), max_size=40
)


@given(some_hours)
def test_the_fold_is_the_rule(hours: Hours) -> None:
    assert as_found(folded(StageFold(), hours)) == by_the_rule(hours)


@given(some_hours, st.data())
def test_any_cut_gives_the_same(hours: Hours, data: st.DataObject) -> None:
    """A fold that begins anew knows the stages of that moment."""
    whole, parts = as_found(folded(StageFold(), hours)), list[Stage]()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(hours)))) | {0, len(hours)})
    standing: dict[Key, Stage] = {}
    for start, end in pairwise(cuts):
        fold = StageFold()
        fold.expect(standing.values())
        parts += folded(fold, hours, start, end)
        standing |= fold.standing
    assert as_found(parts) == whole


@given(some_hours)
def test_a_stage_lasts_until_another_begins(hours: Hours) -> None:
    last: dict[Key, Stage] = {}
    for stage in folded(StageFold(), hours):
        before = last.get(stage.key)
        assert before is None or (before.stage != stage.stage and before.since < stage.since)
        assert stage.since - MIDNIGHT >= timedelta(hours=1)
        assert (stage.adopted_at is None) == (stage.stage == "low_adoption")
        assert stage.unadopted_at == (stage.since if stage.stage == "replaced" else None)
        last[stage.key] = stage

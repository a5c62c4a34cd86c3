"""Quotas in fixed windows, per key and per project, in memory. What a refusal is answered with belongs here too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tasks_pipeline.config import Key, Project, Quota
from tasks_pipeline.protocol.items import UNLIMITED


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota that is used up: the categories it refused now, and for how many whole seconds it goes on."""

    category: str
    scope: str
    retry_after: int
    refused: frozenset[str]

    @property
    def reason(self) -> str:
        """The code in outcomes and headers."""
        return f"{self.scope}_quota"


@dataclass(slots=True)
class _Window:
    number: int = -1
    used: int = 0


_Rule = tuple[Quota, str, _Window]


class Quotas:
    """Counts items in windows that start at multiples of their length. Not thread-safe: one event loop uses it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str, str, int], _Window] = {}

    def admit(self, project: Project, key: Key, quantities: Mapping[str, int]) -> Sequence[Limit]:
        """Count what fits and say what does not: a category passes whole or not at all.

        `quantities` are items by category. Items of the categories in the limits' `refused` are not counted.
        """
        if not (project.quotas or key.quotas):
            return ()
        now = self._clock()
        left = {category: n for category, n in quantities.items() if n and category not in UNLIMITED}
        limits = []
        rules = self._rules(project, key, now)
        for quota, scope, window in rules:
            wanted = _counted(quota, left)
            if wanted and window.used + wanted > quota.limit:
                refused = frozenset(left) if quota.category == "all" else frozenset({quota.category})
                seconds = math.ceil((window.number + 1) * quota.window_seconds - now)
                limits.append(Limit(quota.category, scope, max(1, seconds), refused))
                left = {category: n for category, n in left.items() if category not in refused}
        for quota, _, window in rules:
            window.used += _counted(quota, left)
        return limits

    def _rules(self, project: Project, key: Key, now: float) -> list[_Rule]:
        """Every quota that holds, with its window of now; quotas of all categories last, they see what is left."""
        found: list[_Rule] = []
        for scope, ident, quotas in (
            ("key", key.public_key, key.quotas),
            ("project", str(project.id), project.quotas),
        ):
            for quota in quotas:
                name = (scope, ident, quota.category, quota.window_seconds)
                window = self._windows.setdefault(name, _Window())
                number = int(now // quota.window_seconds)
                if window.number != number:
                    window.number, window.used = number, 0
                found.append((quota, scope, window))
        return sorted(found, key=lambda rule: rule[0].category == "all")


def rate_limit_headers(limits: Collection[Limit], refused_all: bool) -> dict[str, str]:
    """X-Sentry-Rate-Limits, and Retry-After when everything was refused; empty without limits."""
    if not limits:
        return {}
    values = (
        f"{limit.retry_after}:{'' if limit.category == 'all' else limit.category}:{limit.scope}:{limit.reason}"
        for limit in limits
    )
    headers = {"x-sentry-rate-limits": ", ".join(values)}
    if refused_all:
        headers["retry-after"] = str(max(limit.retry_after for limit in limits))
    return headers


def _counted(quota: Quota, quantities: Mapping[str, int]) -> int:
    return sum(quantities.values()) if quota.category == "all" else quantities.get(quota.category, 0)

"""Stand-ins of trackers that cannot run here, and bad weather before them, each in a process of its own; where their folder is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

VARIABLE = "TASKS_PIPELINE_TEST_TRACKERS"
_PLACES = (
    Path(__file__).parents[1] / "data" / "trackers",
    Path(__file__).parents[3] / "shared" / "tools" / "trackers",
)


class StandInMissing(Exception):
    """There is no folder of stand-ins."""


class FarSide:
    """One that runs: its address, and what it said of itself. `ask` steers it, or plays somebody."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts, self.url = facts, str(facts["url"])
        self.process: subprocess.Popen[str] | None = None
        self._client = httpx.Client(base_url=self.url, timeout=60)

    def ask(self, method: str, path: str, body: Any = None, *, token: str = "") -> Any:
        """What it answers, as JSON; raises for a refusal."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self._client.request(method, path, json=body, headers=headers)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._client.close()


def folder() -> Path:
    """Where the stand-ins are. Raises StandInMissing."""
    named = os.environ.get(VARIABLE)
    for place in [Path(named)] if named else _PLACES:
        if (place / "standin.py").is_file():
            return place
    raise StandInMissing(f"no stand-ins of trackers beside the checkout; {VARIABLE} may name their folder")


@contextmanager
def stand_in(kind: str = "github") -> Iterator[FarSide]:
    """A tracker of a kind: github, github-enterprise, gitlab, jira-cloud, jira-dc."""
    with _running([str(folder() / "standin.py"), kind, "--stdin"]) as facts:
        side = FarSide(facts)
        try:
            yield side
        finally:
            side.close()


@contextmanager
def weather(upstream: str) -> Iterator[FarSide]:
    """Bad weather before a tracker: `ask("POST", "/_weather/rules", [...])` says which."""
    with _running([str(folder() / "weather.py"), upstream]) as facts:
        side = FarSide(facts)
        try:
            yield side
        finally:
            side.close()


@contextmanager
def _running(command: Sequence[str]) -> Iterator[dict[str, Any]]:
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # who hangs up in the middle of an answer makes it write a page
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            process.wait()

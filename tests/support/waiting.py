"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T | None], seconds: float = 180, *, every: float = 0.05) -> T:
    """The first true answer of a condition that another process makes true; fails the test when it never is. `every`: seconds between two
    looks, of which those that cost others CPU are to be few."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(every)
    raise AssertionError(f"after {seconds} s: {what}")

"""The environment of tests: none of what its caller set for an installation, a server or a client of their own."""

from __future__ import annotations

from collections.abc import MutableMapping

FOREIGN = ("TASKS_PIPELINE_", "PG", "DAGSTER_", "SENTRY_")
"""What these processes, libpq, Dagster and SDKs read: homes, addresses, passwords, levels of logs."""
OURS = ("TASKS_PIPELINE_TEST_", "TASKS_PIPELINE_CASES_")
"""What says how tests are run, and on which cases."""


def forget_the_caller(environment: MutableMapping[str, str]) -> None:
    """Remove what would lead a test, or a process that it starts, to data of the person who runs it."""
    for name in list(environment):
        if name.startswith(FOREIGN) and not name.startswith(OURS):
            del environment[name]

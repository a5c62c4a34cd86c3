"""What tests see of the environment of who runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.postgres import REQUIRE_VARIABLE

PROJECT = Path(__file__).parents[2]
PRINT = "import json, os, tests.conftest; print(json.dumps(dict(os.environ)))"


def test_no_test_sees_an_installation_of_its_caller() -> None:
    """With these, tests would read, and clear away, what belongs to a person."""
    given = {
        "TASKS_PIPELINE_HOME": "/nowhere",
        "TASKS_PIPELINE_DATABASE_URL": "postgresql://nowhere",
        "PGHOST": "nowhere",
        "PGPASSWORD": "s3cret",
        "DAGSTER_HOME": "/nowhere",
        "SENTRY_DSN": "http://nowhere",
    }
    kept = {REQUIRE_VARIABLE: "1", "TASKS_PIPELINE_CASES_RELEASES": "/cases", "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-c", PRINT],
        capture_output=True,
        check=True,
        cwd=PROJECT,
        env={**os.environ, **given, **kept},
    )
    seen = json.loads(done.stdout)
    assert given.keys() & seen.keys() == set()
    assert {name: seen[name] for name in kept} == kept

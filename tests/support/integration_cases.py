"""Cases with right answers about issue trackers: one a line, in files of the folder that a variable names or of tests/data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "TASKS_PIPELINE_CASES_INTEGRATIONS"
FOLDER = Path(os.environ.get(VARIABLE) or Path(__file__).parents[1] / "data" / "integrations")
KNOWN = {"decisions", "answers", "texts"}
"""Files that tests take their cases from."""
LATER = {"webhooks", "documents", "references", "code_links"}
"""Files that wait for what they are about: hooks, Atlassian's documents, commits that name groups, addresses of code."""


def cases_of(file: str) -> list[dict[str, Any]]:
    """The cases of a file, in its order."""
    text = (FOLDER / f"{file}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def cases(file: str) -> pytest.MarkDecorator:
    """A parameter `case` that is each case of a file in turn."""
    assert file in KNOWN
    return pytest.mark.parametrize("case", cases_of(file), ids=lambda case: str(case["id"]))

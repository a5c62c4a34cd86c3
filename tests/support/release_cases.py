"""Cases with right answers about releases: lists in JSON files, of the folder that a variable names or of tests/data."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from tasks_pipeline.groups.lifecycle import (
    Lifecycle,
    fixed_in_commit,
    fixed_in_next_release,
    fixed_in_release,
    resolve,
)

VARIABLE = "TASKS_PIPELINE_CASES_RELEASES"
FOLDER = Path(os.environ.get(VARIABLE) or Path(__file__).parents[1] / "data" / "releases")
LISTS = {
    "parsing": {"cases"},
    "ordering": {"chains", "undecided", "latest"},
    "fixes": {"projects", "cases"},
    "resolutions": {"cases"},
    "sessions": {"cases"},
    "aggregates": {"cases"},
    "users": {"cases"},
    "adoption": {"cases"},
    "crash_free": {"cases"},
    "figures": {"comparisons", "groups", "transactions"},
}
"""By file: the lists that tests take their cases from."""
LATER = frozenset({"periods"})
"""Files about what is not built yet. Whoever builds it takes the file from here to LISTS."""


def lists_of(file: str) -> dict[str, list[dict[str, Any]]]:
    """The lists of a file, by name."""
    found: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))
    return found


def cases(file: str, name: str) -> pytest.MarkDecorator:
    """A parameter `case` that is each case of a list in turn."""
    assert name in LISTS[file]
    return pytest.mark.parametrize("case", lists_of(file)[name], ids=lambda case: str(case["id"]))


_WORDS = st.text("019ab-", min_size=1, max_size=3)
_IDS = st.lists(_WORDS, min_size=1, max_size=3).map(".".join)
_NUMBERS = st.lists(st.sampled_from("0 1 01 2 9 10 999999999999999999".split()), min_size=1, max_size=4)
release_names = st.builds(
    "".join,
    st.tuples(
        _NUMBERS.map(".".join),
        st.just("") | _IDS.map("-{}".format) | st.sampled_from(["a", "rc1", "rc10", "b.2"]),
        st.just("") | _IDS.map("+{}".format) | st.sampled_from(["+9", "+10", "+1.9", "+1.10"]),
    ),
)
"""Names behind a package, most of them versions that are close to each other."""


def life_of(resolution: dict[str, Any]) -> Lifecycle:
    """The lifecycle of a group that is resolved as a case says."""
    at = datetime.fromisoformat(resolution["at"])
    date = resolution.get("release_date") and datetime.fromisoformat(resolution["release_date"])
    match resolution["kind"]:
        case "now":
            return resolve(at)
        case "in_release":
            return fixed_in_release(at, resolution["release"], date)
        case "next_release":
            return fixed_in_next_release(at, resolution["release"], date)
        case kind:
            assert kind == "in_commit"
            return fixed_in_commit(at, resolution.get("commit", "c" * 40))

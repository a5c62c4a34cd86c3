"""The folder of cases about issue trackers: each file is known to a test, or waits for what it is about."""

from __future__ import annotations

import pytest

from tests.support.integration_cases import FOLDER, KNOWN, LATER


def test_no_file_of_cases_is_unknown() -> None:
    found = {path.name for path in FOLDER.iterdir() if path.suffix != ".md"}
    assert found <= {f"{name}.jsonl" for name in KNOWN | LATER}
    assert found >= {f"{name}.jsonl" for name in KNOWN}


@pytest.mark.parametrize("name", sorted(LATER))
def test_what_waits_is_reported(name: str) -> None:
    if (FOLDER / f"{name}.jsonl").exists():
        pytest.skip("part II: what these cases are about is not there yet")

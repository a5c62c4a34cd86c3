"""Files beside the package that must agree with each other: dependencies, their reasons, their lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
DEPENDENCIES = [*PYPROJECT["dependencies"], *PYPROJECT["optional-dependencies"]["dev"]]
NAMES = sorted({re.split(r"[=<>!~\[ ]", dependency)[0] for dependency in DEPENDENCIES})


def test_every_dependency_has_a_reason_and_a_licence() -> None:
    document = (PROJECT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (\S[^|]*) \| (\S[^|]*) \|$", document, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_dependency_is_locked(name: str) -> None:
    assert re.search(rf"^{re.escape(name)}==\S+.*\\\n    --hash=sha256:", LOCK, re.MULTILINE)


def test_the_pins_are_those_of_the_lock() -> None:
    for name, version in re.findall(r"([\w-]+)==([\w.]+)", " ".join(DEPENDENCIES)):
        assert f"\n{name}=={version} " in LOCK


def test_the_lock_names_no_machine_and_no_index() -> None:
    assert not re.search(
        r"^\s*(-i|-f|--(index-url|extra-index-url|find-links|trusted-host))\b", LOCK, re.MULTILINE
    )
    assert not re.search(r"://| @ |(?<=[\s=])/\w", LOCK)

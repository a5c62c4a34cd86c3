"""Files beside the package that must agree with each other: dependencies, their reasons, their lock."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from benchmarks.__main__ import main as benchmarks

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


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\nb\n", ""),
        (b"", ""),
        (b"a \nb\n", "file:1: white space"),
        (b"a\r\n", "file:1: white space"),
        (b"a", "one newline"),
        (b"a\n\n", "one newline"),
        (b"\0 \n", ""),
        (b"a" * 500_001, "500,001 bytes"),
    ],
)
def test_a_glance_at_a_file(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)
    command = [sys.executable, str(PROJECT / ".ci" / "check_files.py"), "file", "gone"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == bool(said), done.stderr
    assert said in done.stdout


def test_hooks_need_no_network() -> None:
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repository["repo"] for repository in hooks["repos"]} == {"local"}
    assert {hook["language"] for repository in hooks["repos"] for hook in repository["hooks"]} == {"system"}


DOCUMENTED = re.findall(
    r"python -m benchmarks (\w+)", (PROJECT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("word", sorted(set(DOCUMENTED)))
def test_every_benchmark_of_the_document_answers(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["python -m benchmarks", word, "--help"])
    with pytest.raises(SystemExit) as ended:
        benchmarks()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m benchmarks {word} ")

"""The package as a wheel: complete, and usable without a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tasks_pipeline.cli import main
from tasks_pipeline.config import parse_config
from tasks_pipeline.service.dagster_home import module_workspace_yaml

PROJECT = Path(__file__).parents[2]
LOADING = """
import importlib, yaml
from dagster import DagsterInstance
(location,) = yaml.safe_load(open("home/workspace.yaml"))["load_from"]
module = importlib.import_module(location["python_module"]["module_name"])
assert module.defs().resolve_job_def("process_events")
with DagsterInstance.get() as instance:  # of the dagster.yaml
    assert instance.run_coordinator
print(module.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip installed the wheel into; what it depends on is that of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(wheel)], check=True, timeout=120)
    return folder / "site"


def run(installed: Path, *words: str, cwd: Path, **variables: str) -> str:
    environment = {**os.environ, **variables, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=180
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "tasks_pipeline"], cwd=PROJECT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    kept = {path for path in tracked if (PROJECT / path).exists()}
    assert kept <= {str(path.relative_to(installed)) for path in installed.rglob("*")}
    names = {path.name for path in installed.iterdir()} - {"bin", "tasks_pipeline"}
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert names == {f"tasks_pipeline-{version}.dist-info"}, "nothing but the package"


def test_a_wheel_is_usable_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    cli = ["-m", "tasks_pipeline.cli"]
    said = run(installed, *cli, "init", str(home), cwd=tmp_path)
    files = [home / name for name in ("tasks_pipeline.yaml", "dagster.yaml", "workspace.yaml")]
    assert said == "".join(f"wrote {file}\n" for file in files) + f"next: tasks-pipeline --home {home} run\n"

    assert "nothing waits" in run(
        installed, *cli, "--home", str(home), "status", cwd=tmp_path
    )  # makes the tables
    variables = {"DAGSTER_HOME": str(home), "TASKS_PIPELINE_HOME": str(home)}
    assert run(installed, "-c", LOADING, cwd=tmp_path, **variables).startswith(str(installed))


def test_what_is_there_already_is_kept(tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text("projects: []\n")
    said = CliRunner().invoke(main, ["init", str(tmp_path)]).output
    assert [line.split()[0] for line in said.splitlines()] == ["kept", "wrote", "wrote", "next:"]
    assert (tmp_path / "tasks_pipeline.yaml").read_text() == "projects: []\n"


def test_the_examples_of_the_configuration_are_right() -> None:
    """As they stand, and with every example in force."""
    text = (PROJECT / "tasks_pipeline" / "config" / "example.yaml").read_text(encoding="utf-8")
    text = text.replace("@KEY@", "0123456789abcdef0123456789abcdef")
    assert [p.slug for p in parse_config(text).projects] == ["shop"]
    config = parse_config(text.replace("#:", ""), environ={"SMTP_PASSWORD": "abcd1234"})
    (project,) = config.projects
    assert project.keys[0].quotas
    assert project.alert_rules
    assert config.channels
    assert config.backup.keep == 7


def test_the_workspace_is_that_of_the_checkout() -> None:
    assert yaml.safe_load(module_workspace_yaml()) == yaml.safe_load((PROJECT / "workspace.yaml").read_text())

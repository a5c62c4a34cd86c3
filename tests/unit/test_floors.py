"""Packages lie on floors and import from lower ones only, so that nothing depends on what depends on it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

import tasks_pipeline
from tests.support.imports import Import, circles, imports_of, modules_of

FLOORS: tuple[frozenset[str], ...] = tuple(
    frozenset(floor.split())
    for floor in (
        "recurring",
        "protocol grouping lanes files documents partitions words texts zones asgi outbound outages dagster_process stopping",
        "filtering scrubbing run_coordinator serving",
        "config",
        "home symbolication trackers",
        "storage tools",
        "facts service signs",
        "uploads releases access code_server run_launcher celery_launcher executor",
        "stores warming",
        "groups backup resources warm_run old_runs upkeep",
        "notifications celery_app",
        "links",
        "alerts shipping",
        "monitors watch integrations",
        "reading",
        "acting",
        "analytics",
        "reports",
        "archive",
        "retention",
        "erasure",
        "privacy",
        "deletion",
        "pages web_api",
        "web processing receiver nudging",
        "assets demo",
        "jobs commands",
        "sensors",
        "schedules",
        "checks",
        "definitions cli lost_runs",
    )
)
"""Lower ones first. A package imports from itself and from floors below its own, never from its neighbours."""
ROOMS: tuple[frozenset[str], ...] = tuple(
    frozenset(floor.split())
    for floor in (
        "s3 sqlite_space",
        "decoding disk state remote scratch",
        "targets",
        "sizes blobs spool lake",
        "ledger",
    )
)
"""The floors within `storage`: engines, and above them the ledger that says what was done with what they hold."""
SETTINGS = "tasks_pipeline.config"
"""What lies below `config` may name its settings in annotations: config checks them with the parsers that lie there."""
DEAR = {
    "tasks_pipeline.access.oidc": "brings authlib and cryptography; where nobody logs in at a provider they need not be loaded",
    "tasks_pipeline.storage.lake.lake": "brings DuckDB and Arrow; who is handed a lake need not load them",
    "tasks_pipeline.stores": "brings every engine; who is handed stores need not load them",
    "tasks_pipeline.watch.prometheus": "a receiver that shows no metrics need not load prometheus_client",
}
"""What else may be imported for type checking alone, and why. `commands` may all of it: `--help` loads next to nothing."""

ROOT = Path(tasks_pipeline.__file__).parent
MODULES = modules_of(ROOT)


@cache
def imports() -> list[Import]:
    """All of them; for the one worker that needs them."""
    return imports_of(MODULES)


def package_of(module: str) -> str:
    """`storage` of `tasks_pipeline.storage.lake.lake`; empty for the root, which holds the version and lies below all."""
    return ".".join(module.split(".")[1:2])


def room_of(module: str) -> str:
    return ".".join(module.split(".")[2:3])


def floor_of(name: str, floors: tuple[frozenset[str], ...]) -> int:
    (number,) = [number for number, floor in enumerate(floors, 1) if name in floor] or [0]
    return number


def goes_up(one: Import) -> bool:
    importer, imported = package_of(one.importer), package_of(one.module)
    if importer == imported == "storage" and room_of(one.importer) != room_of(one.module):
        return floor_of(room_of(one.importer), ROOMS) <= floor_of(room_of(one.module), ROOMS)
    return importer != imported and floor_of(importer, FLOORS) <= floor_of(imported, FLOORS)


def names_a_setting(one: Import) -> bool:
    return one.for_types and f"{one.module}.".startswith(f"{SETTINGS}.")


def test_every_package_has_its_floor() -> None:
    below = {package_of(module) for module in MODULES} - {""}
    assert below == frozenset().union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(below), "a package lies on two floors"
    rooms = {room_of(module) for module in MODULES if package_of(module) == "storage"} - {""}
    assert rooms == frozenset().union(*ROOMS)


def test_imports_go_down() -> None:
    """Also those inside functions: what waits to be imported still depends."""
    assert [str(one) for one in imports() if goes_up(one) and not names_a_setting(one)] == []


def test_no_file_reaches_itself() -> None:
    real = [one for one in imports() if not one.for_types and one.importer != one.module]
    assert circles(real, lambda module: module) == []


def test_what_is_imported_for_types_alone() -> None:
    """An import for type checking hides who depends on whom: each kind of it has a reason."""
    others = [
        one
        for one in imports()
        if one.for_types and package_of(one.importer) not in {package_of(one.module), "commands"}
    ]
    assert [str(one) for one in others if not names_a_setting(one) and one.module not in DEAR] == []
    assert sorted(DEAR) == sorted({one.module for one in others} & set(DEAR)), "a reason that nobody needs"


def test_every_relation_of_two_packages_has_one_direction() -> None:
    real = [one for one in imports() if not names_a_setting(one) and package_of(one.module)]
    assert circles(real, package_of) == []


def test_the_layout_names_every_package() -> None:
    text = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    layout = text.split("## Layout\n")[1].split("```")[1]
    named = set(re.findall(r"\b(\w+)(?:/|\.py)", layout))
    assert frozenset().union(*FLOORS, *ROOMS) <= named


@pytest.mark.parametrize(
    "line",
    [
        "from tasks_pipeline.alerts.fire import fire",
        "from tasks_pipeline import alerts",
        "import tasks_pipeline.alerts.fire",
        "from ..alerts import fire",
        "def later():\n    from tasks_pipeline.alerts.fire import fire",
        "try:\n    import tasks_pipeline.alerts\nexcept ImportError:\n    pass",
    ],
)
def test_each_way_to_write_an_import_is_seen(line: str, tmp_path: Path) -> None:
    """From `groups`, which lies below `alerts`, and in a circle of two files."""
    folder = tmp_path / "tasks_pipeline"
    for name, text in {
        "groups/lists": line,
        "alerts/fire": "import tasks_pipeline.groups.lists",
        "alerts/__init__": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(text)
    found = imports_of(modules_of(folder))
    assert [package_of(one.importer) for one in found if goes_up(one)] == ["groups"]
    assert circles(found, package_of) == [["alerts", "groups"]]

"""Fixtures shared by all tests: homes on SQLite and on a real PostgreSQL server."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tasks_pipeline.facts import record
from tasks_pipeline.home import Home
from tasks_pipeline.stores import open_stores
from tests.support.databases import left_out
from tests.support.environment import forget_the_caller
from tests.support.far_sides import FarSide, RedmineSide, RoundupSide
from tests.support.lakes import had_rows
from tests.support.locks import LockRecorder, recorded_locks
from tests.support.postgres import REQUIRE_VARIABLE, PostgresMissing, PostgresServer, running_server
from tests.support.trackers import TrackerMissing, real_redmine, real_roundup

# How long an example takes says how busy the machine is; `timeout` of pytest is for what never ends.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
forget_the_caller(os.environ)  # here, before fixtures of the session and processes of any test take it over


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--databases=all`: see `support/databases.py`."""
    parser.addoption(
        "--databases",
        choices=("chosen", "all"),
        default="chosen",
        help="tests that run on SQLite and on PostgreSQL: those on PostgreSQL that were chosen, or all",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Tests in a browser are run apart (`make browser`): others need not import what they need."""
    apart = collection_path.name == "browser" and config.getoption("markexpr") == "not browser"
    return True if apart else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests on PostgreSQL that were not chosen, unless somebody asks for all or names a test."""
    if config.getoption("databases") == "all" or any("::" in argument for argument in config.args):
        return
    if unwanted := left_out(items):
        config.hook.pytest_deselected(items=unwanted)
        gone = set(unwanted)
        items[:] = [item for item in items if item not in gone]


def pytest_collection_finish() -> None:
    """What was imported until here stays: the collector need not walk through it again and again, a tenth of the time of tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole session; skips (or fails, when the environment requires it) where none is installed."""
    try:
        with running_server() as server:
            yield server
    except PostgresMissing as error:
        if os.environ.get(REQUIRE_VARIABLE) == "1":
            pytest.fail(f"{REQUIRE_VARIABLE}=1, but {error}")
        pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database, as `postgresql://…`."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def _new_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home as the first process and a first row of each table leave it: to make the schema and the tables of the lake anew takes a second of each test."""
    home = Home(root=tmp_path_factory.mktemp("new") / "home")
    home.root.mkdir(mode=0o700)
    _open(home)
    for name in ("config-in-force.yaml", "default-key"):  # each home has its own
        (home.root / name).unlink(missing_ok=True)
    return home


@pytest.fixture(scope="session")
def _new_database(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same for PostgreSQL: the name of a database that others are copies of."""
    with postgres_server.database() as url:
        _open(Home(root=tmp_path_factory.mktemp("new-postgres"), database_url=url))
        yield url.rpartition("/")[2]


def _open(home: Home) -> None:
    with open_stores(home) as stores:
        stores.lake.flushed_through()
        had_rows(stores.lake)


@pytest.fixture(scope="session")
def new_home(_new_home: Home) -> Callable[[Path], Home]:
    """Makes a folder an embedded home, SQLite and folders, in which nothing happened yet."""

    def make(root: Path) -> Home:
        left_out = shutil.ignore_patterns("run")
        shutil.copytree(_new_home.root, root, symlinks=True, ignore=left_out, dirs_exist_ok=True)
        return Home(root=root)

    return make


@pytest.fixture
def home(tmp_path: Path, new_home: Callable[[Path], Home]) -> Home:
    """An embedded home in which nothing happened yet."""
    return new_home(tmp_path / "home")


@pytest.fixture
def postgres_home(tmp_path: Path, postgres_server: PostgresServer, _new_database: str) -> Iterator[Home]:
    """A home whose databases are on PostgreSQL, in which nothing happened yet."""
    root = tmp_path / "postgres-home"
    root.mkdir(mode=0o700)
    with postgres_server.home(root, _new_database) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres"])
def any_home(request: pytest.FixtureRequest) -> Home:
    """Each kind of home in turn."""
    chosen: Home = request.getfixturevalue("home" if request.param == "sqlite" else "postgres_home")
    return chosen


@pytest.fixture(scope="session")
def _lock_recorder() -> Iterator[LockRecorder]:
    with recorded_locks() as recorder:
        yield recorder


@pytest.fixture(autouse=True)
def _order_of_locks(_lock_recorder: LockRecorder) -> Iterator[None]:
    """Fails a test in which a transaction of this process took locks of the state database against their order."""
    _lock_recorder.against_order.clear()
    yield
    assert _lock_recorder.against_order == []


@pytest.fixture(autouse=True)
def _no_fact_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact that cannot be recorded raises: in production it would be a dead letter that somebody finds some day."""
    monkeypatch.setattr(record, "raise_broken", True)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, signed by itself, that is good for five days."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
         "-days", "5", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


@pytest.fixture(scope="session")
def roundup() -> Iterator[RoundupSide]:
    """A real Roundup; an issue is a test's own."""
    with real_roundup() as real:
        side = RoundupSide(real)
        yield side
        side.hang_up()


@pytest.fixture(scope="session")
def redmine() -> Iterator[RedmineSide]:
    """A real Redmine; an issue is a test's own. Skips, with what is missing, where none can be started."""
    try:
        with real_redmine() as real:
            side = RedmineSide(real)
            yield side
            side.hang_up()
    except TrackerMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=["roundup", "redmine"])
def far(request: pytest.FixtureRequest) -> FarSide:
    """Each real tracker in turn."""
    side: FarSide = request.getfixturevalue(request.param)
    return side

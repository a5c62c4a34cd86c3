"""Stores that tests share, one set for each kind of database: opening them is dear, a day of one's own is cheap."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tasks_pipeline.home import Home
from tasks_pipeline.reports.rendering import charts
from tasks_pipeline.stores import Stores, open_stores
from tests.support.api import MEMBERS, Api, Caller, api_of
from tests.support.day import Day
from tests.support.pages_home import fill
from tests.support.postgres import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]
) -> Iterator[Stores]:
    """Open stores of each kind in turn; a test must use a day and a project of its own."""
    root = tmp_path_factory.mktemp("home")
    with ExitStack() as stack:
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            home = stack.enter_context(server.home(root, request.getfixturevalue("_new_database")))
        else:
            home = new_home(root)
        yield stack.enter_context(open_stores(home))


@pytest.fixture
def day(stores: Stores) -> Day:
    """A day and a project that no other test uses; the next two days are free too."""
    number = next(_numbers)
    return Day(stores, date(2020, 1, 1) + timedelta(days=3 * number), 1000 + number)


@pytest.fixture
def own(any_home: Home) -> Iterator[Stores]:
    """Stores of one test alone, of each kind in turn: for what looks at everything that waits or is due."""
    with open_stores(any_home) as opened:
        yield opened


@pytest.fixture
def own_day(own: Stores) -> Day:
    """A day in stores of one test alone."""
    return Day(own, date(2020, 1, 1), 1000)


@pytest.fixture
def alone(home: Home) -> Iterator[Day]:
    """A day in embedded stores of one test: for what both databases do alike."""
    with open_stores(home) as stores:
        yield Day(stores, date(2020, 1, 1), 1000)


@pytest.fixture(scope="session")
def api(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The Web API over the home whose pages are looked at, with members who see some projects. A test that changes a group changes it
    back, or takes one that no other looks at."""
    home = new_home(tmp_path_factory.mktemp("api"))
    home.config_path.write_text(MEMBERS)
    with open_stores(home) as opened:
        fill(opened, datetime.now(UTC))
    with api_of(home) as found:
        yield found


@pytest.fixture
def anna(api: Api) -> Caller:
    """A member who calls."""
    return api.caller(member="anna@acme.example")


@pytest.fixture
def admin(api: Api) -> Caller:
    """A token that may do everything."""
    return api.caller()


@pytest.fixture
def drawn() -> None:
    """Pictures of reports as they are."""


@pytest.fixture(autouse=True)
def _pictures_are_the_same(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture of a report takes a quarter of a second of CPU. tests/unit/test_report_rendering.py looks at them; here they stand
    for themselves unless a test asks for `drawn`."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(charts, "svg", lambda chart: f'<svg id="{chart.name}"></svg>')
        monkeypatch.setattr(charts, "png", lambda chart: b"\x89PNG\r\n\x1a\n" + chart.name.encode())

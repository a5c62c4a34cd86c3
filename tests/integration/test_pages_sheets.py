"""Pages that are tables: releases, monitors, alerts, reports, messages, the pipeline, settings; as CSV and as SQL, and for whom."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import set_probe
from tests.support.pages_home import Reader, Served, pages_of
from tests.support.shop_home import shop_home

ADMIN = Viewer("anna@acme.example", "admin")
SHEETS = {
    "/releases/": ("releases", "shop@2.0.0"),
    "/releases/shop/shop@2.0.0/": ("release", "Deploys"),
    "/monitors/": ("monitors", "nightly"),
    "/monitors/shop/nightly/": ("runs", "Incidents"),
    "/alerts/": ("alerts", "new errors"),
    "/reports/": ("reports", "Reports"),
    "/notifications/": ("messages", "channel:dead"),
    "/pipeline/": ("days", "Probes"),
    "/settings/": ("tokens", "anna@acme.example"),
}
"""Their names as CSV, and something that they show."""


@pytest.fixture(scope="module")
def shop(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with shop_home(new_home(tmp_path_factory.mktemp("sheets"))) as home:
        yield home


@pytest.fixture(scope="module")
def served(shop: Home) -> Iterator[Served]:
    with pages_of(shop) as served:
        yield served


@pytest.fixture
def browser(served: Served) -> Reader:
    served.viewer = ADMIN
    return Reader(served)


@pytest.mark.parametrize("path", SHEETS)
def test_a_sheet_is_a_page_a_table_for_programs_and_a_statement(
    browser: Reader, shop: Home, path: str
) -> None:
    name, shown = SHEETS[path]
    page = browser.get(path)
    assert page.status_code == 200
    assert shown in html.unescape(page.text)
    assert len(page.content) < 120_000
    table = browser.get(f"{path}{name}.csv")
    assert table.headers["content-type"].startswith("text/csv")
    rows = len([*csv.DictReader(io.StringIO(table.text))])
    statement = re.search(r'<pre class="code"[^>]*>(.*?)</pre>', browser.get(f"{path}sql/").text, re.DOTALL)
    assert statement
    words = ["--home", str(shop.root), "sql", html.unescape(statement[1]), "--json"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.output)) == rows


def test_the_pipeline_shows_probes_and_no_notes_that_are_kept_beside_them(
    browser: Reader, shop: Home
) -> None:
    with closing(StateDatabase(shop)) as state, state.write() as connection:
        now = datetime.now(UTC)
        set_probe(state, connection, "disk", now, status="ok", value=76_559_925_248.0)
        set_probe(state, connection, "monitors_configured", now, status="ok", detail="[[1], []]")
    text = browser.get("/pipeline/").text
    assert "76,559,925,248<" in text
    assert "monitors_configured" not in text


def test_who_sees_one_project_sees_nothing_of_others(browser: Reader, served: Served) -> None:
    served.viewer = Viewer("ben@acme.example", "admin", projects=frozenset({2}))
    for path in ("/notifications/", "/pipeline/", "/settings/"):
        assert browser.get(path).status_code == 403, path
    for path in ("/releases/shop/shop@2.0.0/", "/monitors/shop/nightly/", "/releases/?project=shop"):
        assert browser.get(path).status_code == 404, path
    for path in ("/releases/", "/monitors/", "/alerts/", "/reports/"):
        text = browser.get(path).text
        assert not re.search(r"shop@2\.0|nightly|<td><bdi>shop</bdi>", text), path
    served.viewer = Viewer("ben@acme.example", "member")
    assert browser.get("/settings/").status_code == 403
    assert "/settings/" not in browser.get("/groups/").text


def test_what_addresses_say_is_looked_at(browser: Reader) -> None:
    assert browser.get("/releases/?before=yesterday").status_code == 404
    assert browser.get("/releases/shop/nope/").status_code == 404
    assert browser.get("/releases/nope/shop@2.0.0/").status_code == 404
    assert browser.get("/monitors/shop/nope'--/").status_code == 404

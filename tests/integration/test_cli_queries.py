"""`groups`, `events`, `status`, `sql` and `backfill` on real stores, SQLite and Postgres."""

from __future__ import annotations

import json
import shlex
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.home import DATABASE_VARIABLE, Home
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.spool.interface import Receipt
from tasks_pipeline.storage.state.tables import metadata
from tasks_pipeline.stores import open_stores
from tests.support.day import Day, damage
from tests.support.events import item

CONFIG = """\
projects:
  - {id: 1, slug: shop, keys: [{public_key: abcd}]}
  - {id: 2, slug: office, keys: [{public_key: efgh}]}
"""
ATTACK = "\x1b]0;owned\x07 [red]x[/red] \u202egnp.exe"
TABLES_OF_BOOKS = ("accepted", "stored", "duplicate", "filtered", "discarded", "invalid", "waiting")


@dataclass(frozen=True)
class Filled:
    """A home with two groups in `shop`, one in `office`, a duplicate, an invalid item, and one that waits."""

    home: Home
    today: date
    yesterday: date
    event_id: str

    def call(self, *arguments: str) -> Result:
        """Run a command on this home."""
        return CliRunner(env={DATABASE_VARIABLE: self.home.database_url}).invoke(
            main, ["--home", str(self.home.root), *arguments]
        )

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        result = self.call(*arguments, "--json")
        assert result.exit_code == 0, result.output
        assert all(line.isprintable() for line in result.stdout.splitlines())
        return json.loads(result.stdout)


@contextmanager
def homes(request: pytest.FixtureRequest, root: Path) -> Iterator[Home]:
    if request.param == "sqlite":
        yield request.getfixturevalue("new_home")(root)
        return
    root.mkdir(mode=0o700, exist_ok=True)
    template = request.getfixturevalue("_new_database")
    with request.getfixturevalue("postgres_server").home(root, template) as home:
        yield home


def receipt(
    at: datetime, event_type: str, value: str, *, project: int = 1, event_id: str = "", user: int = 1
) -> Receipt:
    event_id = event_id or uuid.uuid4().hex
    event = {
        "event_id": event_id,
        "timestamp": at.isoformat(),
        "platform": "python",
        "release": "shop@1.0",
        "environment": "production",
        "user": {"id": str(user)},
        "exception": {
            "values": [
                {
                    "type": event_type,
                    "value": value,
                    "stacktrace": {
                        "frames": [
                            {
                                "filename": "pay.py",
                                "module": "pay",
                                "function": event_type,
                                "lineno": 17,
                                "context_line": "raise it",
                                "in_app": True,
                            }
                        ]
                    },
                }
            ]
        },
    }
    body = json.dumps({"event_id": event_id}) + '\n{"type":"event"}\n' + json.dumps(event)
    return Receipt(at, project, "abcd", event_id, "", 1, body.encode(), {})


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with homes(request, tmp_path_factory.mktemp("home")) as home:
        home.config_path.write_text(CONFIG)
        now = datetime.now(UTC)
        before = now - timedelta(days=1)
        today = now - now.replace(
            hour=0, minute=0, second=0, microsecond=0
        )  # what there is of it, however little
        first = receipt(now, "PaymentError", "declined", user=1)
        assert first.event_id is not None
        with open_stores(home) as stores:
            writer = stores.spool.writer()
            writer.append([receipt(before, "PaymentError", "declined", user=2)])
            writer.append(
                [
                    first,
                    receipt(now, "PaymentError", "declined", user=2),
                    receipt(now - today / 3, "Hostile", ATTACK),
                    receipt(now, "PaymentError", "declined", event_id=first.event_id),
                    receipt(now - today / 2, "OfficeError", "x", project=2),
                    Receipt(now, 1, "abcd", None, "", 1, b'{}\n{"type":"event"}\n{broken', {}),
                ]
            )
            for at in (before, now):
                drain(stores, at.date(), linger_seconds=0)
            writer.append([receipt(now, "Waiting", "x")])
            writer.close()
        yield Filled(home, now.date(), before.date(), first.event_id)


def test_a_query_finds_groups_and_events(filled: Filled) -> None:
    """Without events as they are; with events by the numbers of those, the totals beside."""

    def titles(*arguments: str) -> list[str]:
        return [row["title"].partition(":")[0] for row in filled.json("groups", "list", *arguments)]

    assert titles("--query", "paymenterror OR project:office", "--sort", "events") == [
        "PaymentError",
        "OfficeError",
    ]
    assert titles("--query", "is:unresolved", "--project", "office") == ["OfficeError"]
    assert titles("--query", "", "--since", "2999-01-01") == []
    (group,) = filled.json("groups", "list", "--query", "user.id:1 error.type:PaymentError")
    assert (group["times_seen"], group["of_query"]["times_seen"], group["of_query"]["users"]) == (3, 1, 1)
    (event,) = filled.json("events", "list", "--query", "user.id:1 title:Payment*")
    assert (event["event_id"], event["user"]) == (filled.event_id, "id:1")
    assert len(filled.json("events", "list", "--query", "!user.id:1", "--group", "SHOP-1")) == 2


def test_mistakes_in_queries_are_told_with_their_place(filled: Filled) -> None:
    for command in ("groups", "events"):
        result = filled.call(command, "list", "--query", "level:error is:solved")
        assert result.exit_code == 2
        assert "at character 16: solved" in result.output
        assert "unresolved" in result.output
        result = filled.call(command, "list", "--query", "x", "--search", "y")
        assert (result.exit_code, "--search" in result.output) == (2, True)
        result = filled.call(command, "list", "--query", "shopp:x")
        assert (result.exit_code, "shopp is no key" in result.output) == (0, True)


def test_groups_are_listed_last_seen_first(filled: Filled) -> None:
    found = filled.json("groups", "list")
    assert [g["short_id"] for g in found] == ["SHOP-1", "SHOP-2", "OFFICE-1"]
    first = found[0]
    assert set(first) == {
        "id", "short_id", "project", "title", "culprit", "level", "status", "times_seen", "users", "first_seen", "last_seen",
    }  # fmt: skip
    assert (first["title"], first["project"], first["level"]) == ("PaymentError: declined", "shop", "error")
    assert (first["times_seen"], first["users"], first["status"]) == (3, 2, "unresolved")
    assert first["first_seen"] < first["last_seen"]
    assert first["first_seen"].endswith("Z")
    assert first["last_seen"].endswith("Z")


def test_groups_can_be_narrowed(filled: Filled) -> None:
    assert [g["short_id"] for g in filled.json("groups", "list", "--project", "office")] == ["OFFICE-1"]
    assert len(filled.json("groups", "list", "--limit", "1")) == 1
    assert filled.json("groups", "list", "--status", "regressed") == []
    result = filled.call("groups", "list", "--project", "nobody")
    assert (result.exit_code, result.stderr) == (1, "Error: no project 'nobody'; there are: shop, office\n")


def test_groups_are_found_by_what_is_known_of_them(filled: Filled) -> None:
    def listed(*options: str) -> list[str]:
        return [g["short_id"] for g in filled.json("groups", "list", *options)]

    assert listed("--search", "paymenterror: DECL") == ["SHOP-1"]
    assert listed("--search", "100%") == []  # no wildcard
    assert listed("--search", "_") == []
    assert listed("--release", "shop@1.0", "--project", "2") == ["OFFICE-1"]
    assert listed("--environment", "staging") == []
    assert listed("--assignee", "nobody", "--limit", "2") == ["SHOP-1", "SHOP-2"]
    assert listed("--assignee", "ann@acme.example") == []
    assert listed("--since", "2099-01-01") == []
    assert listed("--sort", "events")[0] == "SHOP-1"
    assert listed("--sort", "users")[0] == "SHOP-1"
    assert listed("--sort", "first_seen") == ["SHOP-2", "OFFICE-1", "SHOP-1"]
    said = filled.call("groups", "list", "--search", "nothing like it").stderr
    assert said.startswith("no such groups seen since ")
    assert "1 envelope waits" in said


def test_a_list_shows_what_needs_somebody(filled: Filled) -> None:
    def listed(*options: str) -> list[str]:
        return [g["short_id"] for g in filled.json("groups", "list", *options)]

    filled.call("groups", "resolve", "OFFICE-1")
    try:
        assert listed() == ["SHOP-1", "SHOP-2"]
        assert listed("--status", "resolved") == ["OFFICE-1"]
        assert listed("--status", "resolved", "--status", "open") == ["SHOP-1", "SHOP-2", "OFFICE-1"]
        assert listed("--status", "all") == ["SHOP-1", "SHOP-2", "OFFICE-1"]
    finally:
        filled.call("groups", "unresolve", "OFFICE-1")


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--project", "office"], 1),
        (["--search", "DECLINED"], 3),
        (["--user", "id:2"], 2),
        (["--user", "2"], 2),
        (["--level", "warning"], 0),
        (["--environment", "production", "--release", "shop@1.0"], 5),
        (["--release", "shop@2"], 0),
        (["--since", "2099-01-01"], 0),
        (["--user", "2", "--limit", "1"], 1),
        (["--group", "SHOP-1", "--user", "1"], 1),
    ],
)
def test_events_are_found_by_what_is_known_of_them(filled: Filled, options: list[str], count: int) -> None:
    assert len(filled.json("events", "list", *options)) == count


def test_a_table_of_groups_shows_what_strangers_sent_escaped(filled: Filled) -> None:
    result = filled.call("groups", "list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "group",
        "title",
        "level",
        "status",
        "events",
        "users",
        "first",
        "seen",
        "last",
        "seen",
    ]
    assert lines[1].split()[-6:] == ["3", "2", "1", "d", lines[1].split()[-2], lines[1].split()[-1]]
    assert "\\x1b]0;owned\\x07 [red]x[/red] \\u202egnp.exe" in lines[2]
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", ["SHOP-1", "shop-1", "1"])
def test_a_group_by_any_of_its_names(filled: Filled, name: str) -> None:
    found = filled.json("groups", "show", name)
    assert (found["short_id"], found["times_seen"], found["users"]) == ("SHOP-1", 3, 2)
    assert len(found["events"]) == 3
    assert filled.event_id in [e["event_id"] for e in found["events"]]
    assert found["values"] == {
        "users": [{"value": "id:2", "times_seen": 2}, {"value": "id:1", "times_seen": 1}],
        "releases": [{"value": "shop@1.0", "times_seen": 3}],
        "environments": [{"value": "production", "times_seen": 3}],
    }
    assert found["days"] == [
        {"day": filled.yesterday.isoformat(), "times_seen": 1},
        {"day": filled.today.isoformat(), "times_seen": 2},
    ]


def test_a_group_for_people(filled: Filled) -> None:
    out = filled.call("groups", "show", "SHOP-1").stdout
    assert out.startswith("SHOP-1  PaymentError: declined\n")
    assert "seen          3 times by 2 users" in out
    assert "\n2026-" not in out.replace(f"\n{filled.today}", "").replace(f"\n{filled.yesterday}", "")
    assert f"{filled.yesterday}  1 event\n" in out
    assert "\nPaymentError: declined\n  pay.py:17 in PaymentError\n    > raise it\n" in out
    assert "grouped so" not in out
    assert "why its first event is grouped so" in filled.call("groups", "show", "SHOP-1", "--why").stdout
    assert "id:2 (2), id:1 (1)" in out
    assert filled.event_id in out
    assert filled.call("groups", "show", "SHOP-2").stdout.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "name", ["SHOP-99", "999", "9" * 30, "SHOP-ZZZZZZZZZZZZZZZZZZZZ", "nonsense", "other-1", "é-1"]
)
@pytest.mark.parametrize("command", [["show"], ["resolve"], ["ignore", "--times", "3"]])
def test_a_group_that_there_is_not(filled: Filled, command: list[str], name: str) -> None:
    result = filled.call("groups", *command, name)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def status_of(filled: Filled, name: str) -> str:
    return str(filled.json("groups", "show", name)["status"])


def test_decisions_about_a_group(filled: Filled) -> None:
    assert "OFFICE-1 is resolved" in filled.call("groups", "resolve", "office-1").stdout
    assert status_of(filled, "OFFICE-1") == "resolved"
    assert [g["short_id"] for g in filled.json("groups", "list", "--status", "resolved")] == ["OFFICE-1"]
    filled.call("groups", "ignore", "OFFICE-1", "--until", "2099-01-31")
    assert status_of(filled, "OFFICE-1") == "ignored"
    rows = filled.json("sql", "SELECT ignored_until FROM groups WHERE project_id = 2")
    assert rows == [{"ignored_until": "2099-01-31T00:00:00Z"}]
    filled.call("groups", "ignore", "OFFICE-1", "--times", "5")
    rows = filled.json(
        "sql", "SELECT ignored_until, ignored_until_times_seen AS times FROM groups WHERE project_id = 2"
    )
    assert rows == [{"ignored_until": None, "times": 6}]
    filled.call("groups", "unresolve", "OFFICE-1")
    assert status_of(filled, "OFFICE-1") == "unresolved"


@pytest.mark.parametrize(
    "options",
    [
        ["--until", "2020-01-01"],
        ["--until", "someday"],
        ["--times", "0"],
        ["--times", "1", "--until", "2099-01-01"],
    ],
)
def test_ways_of_ignoring_that_make_no_sense(filled: Filled, options: list[str]) -> None:
    assert filled.call("groups", "ignore", "SHOP-2", *options).exit_code == 2
    assert status_of(filled, "SHOP-2") == "unresolved"


def test_an_event_is_found_however_its_id_is_written(filled: Filled) -> None:
    dashed = str(uuid.UUID(filled.event_id))
    for written in (filled.event_id, filled.event_id.upper(), dashed, dashed.upper()):
        event = filled.json("events", "show", written)
        assert event["event_id"] == filled.event_id
    assert event["exception"]["values"][0]["value"] == "declined"
    facts = event["_tasks_pipeline"]
    assert (facts["short_id"], facts["project"], facts["user_key"]) == ("SHOP-1", "shop", "id:1")
    assert facts["day"] == filled.today.isoformat()
    assert facts["received_at"].endswith("Z")


def test_an_event_by_its_group_or_by_the_beginning_of_its_id(filled: Filled) -> None:
    assert filled.json("events", "show", filled.event_id[:8].upper())["event_id"] == filled.event_id
    newest = filled.json("events", "list", "--group", "SHOP-1", "--limit", "1")[0]["event_id"]
    assert filled.json("events", "show", "shop-1")["event_id"] == newest
    assert filled.call("events", "show", filled.event_id[:5]).exit_code == 2
    assert "is no event and no group" in filled.call("events", "show", "SHOP-99").stderr
    unknown = filled.call("events", "show", "f" * 31)
    assert (unknown.exit_code, f"there is no event {'f' * 31}" in unknown.stderr) == (1, True)


@pytest.mark.parametrize(
    "command",
    [
        "groups list --project",
        "events list --project",
        "alerts list --project",
        "alerts test default --project",
        "dsn",
    ],
)
def test_a_project_is_named_in_any_case_or_refused(filled: Filled, command: str) -> None:
    assert filled.call(*command.split(), "SHOP").exit_code == 0
    assert "no project 'nobody'; there are: shop" in filled.call(*command.split(), "nobody").stderr


def test_an_event_for_people(filled: Filled) -> None:
    out = filled.call("events", "show", filled.event_id).stdout
    assert out.startswith("SHOP-1  PaymentError: declined\n")
    assert "  pay.py:17 in PaymentError\n    > raise it\n" in out


def test_an_event_that_there_is_not(filled: Filled) -> None:
    result = filled.call("events", "show", "0" * 32)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: there is no event {'0' * 32}")
    assert filled.call("events", "show", "nonsense").exit_code == 2


def test_the_newest_events(filled: Filled) -> None:
    found = filled.json("events", "list")
    assert [e["short_id"] for e in found] == ["SHOP-1", "SHOP-1", "SHOP-2", "OFFICE-1", "SHOP-1"]
    assert [e["timestamp"] for e in found] == sorted((e["timestamp"] for e in found), reverse=True)
    assert {e["project"] for e in found} == {"shop", "office"}
    of_group = filled.json("events", "list", "--group", "shop-1", "--limit", "2")
    assert [e["short_id"] for e in of_group] == ["SHOP-1", "SHOP-1"]
    lines = filled.call("events", "list").stdout.splitlines()
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)


def test_status_says_what_became_of_everything(filled: Filled) -> None:
    found = filled.json("status")
    assert {name: found[name] for name in TABLES_OF_BOOKS} == {
        "accepted": 8, "stored": 5, "duplicate": 1, "filtered": 0, "discarded": 0, "invalid": 1, "waiting": 1,
    }  # fmt: skip
    yesterday, today = found["days"]
    assert (yesterday["day"], yesterday["stored"], yesterday["difference"]) == (
        filled.yesterday.isoformat(),
        1,
        0,
    )
    assert (today["day"], today["waiting"], today["difference"]) == (filled.today.isoformat(), 1, 0)
    assert found["oldest_waiting_seconds"] >= 0
    assert (found["drains"], found["runs"], found["service"]["running"]) == ([], [], False)
    assert (found["failed_attempts"], found["broken"]) == (0, {})
    assert set(found["files"]) == set(LAKE_TABLES)
    assert found["files"]["events"] == live_files(filled.home, "events", filled.today)
    assert found["files"]["user_reports"] == {"today": 0, "all": 0}
    assert {name for name, size in found["disk"].items() if size["bytes"] > 0} == {"spool", "lake", "state"}


def live_files(home: Home, table: str, today: date) -> dict[str, int]:
    """What DuckLake itself lists."""
    with open_stores(home) as stores:
        rows = stores.lake.query("SELECT data_file FROM ducklake_list_files('stored', ?)", [table])
    of_today = [row for row in rows if f"day={today}" in row["data_file"]]
    return {"today": len(of_today), "all": len(rows)}


def test_status_for_people(filled: Filled) -> None:
    out = filled.call("status").stdout
    assert "the service does not run" in out
    assert "1 item waits, the oldest for" in out
    [line] = [line for line in out.splitlines() if line.startswith(filled.today.isoformat())]
    assert line.split() == [filled.today.isoformat(), "7", "4", "1", "0", "0", "1", "1", "✓"]


def test_status_says_what_is_not_stored_and_why(any_home: Home) -> None:
    today = datetime.now(UTC).date()
    with open_stores(any_home) as stores:
        day = Day(stores, today, 1)
        report = {"discarded_events": [{"reason": "sample_rate", "category": "error", "quantity": 40}]}
        day.spool(
            day.receipt(item("log", {"items": []}), item("log", {"items": []}), item("span", {})),
            day.receipt(item("client_report", report)),
            day.receipt(item("my \x1b[31mown", b"")),
        )
        day.drain()
    home = Filled(any_home, today, today, "")
    lost = {(one["category"], one["outcome"], one["reason"]): one["quantity"] for one in home.json("status")["not_stored"]}  # fmt: skip
    assert lost["log_item", "unsupported", "log"] == 2
    assert lost["error", "client_discard", "sample_rate"] == 40
    assert any(key[1:] == ("unsupported", "span") for key in lost)
    (line,) = (row for row in home.call("status").stdout.splitlines() if row.startswith("not stored: "))
    assert line.startswith(
        "not stored: 40 error (client_discard: sample_rate), 2 log_item (unsupported: log)"
    )
    assert line.isprintable()


def test_sql_over_the_lake_and_the_state(filled: Filled) -> None:
    rows = filled.json(
        "sql",
        "SELECT g.short_id AS number, count(*) AS events, max(e.timestamp) AS newest FROM events e "
        "JOIN groups g ON g.id = e.group_id WHERE e.project_id = 1 GROUP BY ALL ORDER BY ALL",
    )
    assert [(r["number"], r["events"]) for r in rows] == [(1, 3), (2, 1)]
    assert rows[0]["newest"].endswith("Z")


def test_sql_in_its_three_forms(filled: Filled) -> None:
    statement = "SELECT range AS n, 'a,b' AS t, NULL AS nothing FROM range(1200)"
    table = filled.call("sql", statement)
    assert len(table.stdout.splitlines()) == 1 + 1000
    assert "the first 1000 rows; --limit N shows more" in table.stderr
    assert len(filled.call("sql", statement, "--limit", "1100").stdout.splitlines()) == 1 + 1100
    as_csv = filled.call("sql", "--csv", statement).stdout.splitlines()
    assert (len(as_csv), as_csv[:2]) == (1201, ["n,t,nothing", '0,"a,b",'])
    as_json = filled.json("sql", statement)
    assert (len(as_json), as_json[-1]) == (1200, {"n": 1199, "t": "a,b", "nothing": None})
    assert filled.json("sql", "SELECT 1 AS a WHERE false") == []


def test_rows_of_every_table_of_the_state_database_can_be_counted(filled: Filled) -> None:
    from tasks_pipeline.storage.lake.reader import open_reader

    with open_reader(filled.home) as connection:
        for table in metadata.tables.keys() - {"installation_keys"}:
            counted = connection.execute(f"SELECT count(*) FROM state.{table}").fetchall()
            assert counted == [(len(connection.execute(f"SELECT 1 FROM {table}").fetchall()),)], table


def test_the_key_of_the_installation_is_not_shown(filled: Filled) -> None:
    from tasks_pipeline.storage.lake.reader import open_reader

    with open_reader(filled.home) as connection, pytest.raises(duckdb.CatalogException):
        connection.execute("SELECT * FROM state.installation_keys")


def test_sql_from_stdin(filled: Filled) -> None:
    runner = CliRunner(env={DATABASE_VARIABLE: filled.home.database_url})
    result = runner.invoke(
        main, ["--home", str(filled.home.root), "sql", "--json", "-"], input="SELECT 1 AS one\n"
    )
    assert json.loads(result.stdout) == [{"one": 1}]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM state.groups",
        "DELETE FROM lake.events",
        "COPY events TO 'here.csv'",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "SELECT no_such FROM events",
    ],
)
def test_sql_that_is_refused(
    filled: Filled, statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = filled.call("sql", statement)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert len(filled.json("groups", "list")) == 3


def test_a_slip_in_the_configuration_keeps_nobody_from_looking(filled: Filled) -> None:
    good = filled.home.config_path.read_text()
    before = filled.json("groups", "list")
    filled.home.config_path.write_text(good + "channles: []\n")
    try:
        for command in (["groups", "list", "--json"], ["events", "list", "--json"], ["dsn"]):
            result = filled.call(*command)
            assert result.exit_code == 0, (command, result.stderr)
        assert json.loads(filled.call("groups", "list", "--json").stdout) == before
    finally:
        filled.home.config_path.write_text(good)


def test_duckdbs_own_words_on_a_mistake(filled: Filled) -> None:
    stderr = filled.call("sql", "SELECT tittle FROM events").stderr
    assert 'Binder Error: Referenced column "tittle" not found' in stderr
    assert "LINE 1: SELECT tittle FROM events" in stderr


def test_sql_without_a_statement_explains_the_tables(filled: Filled) -> None:
    out = filled.call("sql").stdout
    assert "lake.events  Error events" in out
    assert "state.groups" in out
    described = {(row["table"], row["column"]): row["description"] for row in filled.json("sql")}
    assert described["lake.events", "received_at"] == "when the receiver took it"
    assert described["state.groups", "short_id"].startswith("number within the project")
    listed = filled.json(
        "sql", "SELECT table_name AS t, column_name AS c FROM duckdb_columns() WHERE database_name = 'lake'"
    )
    assert {(f"lake.{row['t']}", row["c"]) for row in listed} <= set(described)


def test_sql_cannot_write_even_where_the_check_is_passed(filled: Filled) -> None:
    import duckdb

    from tasks_pipeline.storage.lake.reader import open_reader

    with open_reader(filled.home) as connection:
        for statement in (
            "DELETE FROM state.groups",
            "DELETE FROM lake.events",
            "DELETE FROM stored.events",
            "CREATE TABLE stored.x (a INTEGER)",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--day", "2099-01-01"], "2099-01-01 is still to come"),
        (["--day", "2026-01-05"], "nothing was received on 2026-01-05"),
    ],
)
def test_days_that_cannot_be_recomputed(filled: Filled, options: list[str], message: str) -> None:
    result = filled.call("backfill", *options)
    assert result.exit_code == 1
    assert message in result.stderr
    assert filled.call("backfill").exit_code == 2


def test_an_empty_home_has_nothing_to_show(any_home: Home) -> None:
    empty = Filled(any_home, date.min, date.min, "")
    assert empty.json("groups", "list") == []
    assert empty.json("events", "list") == []
    assert empty.json("sql", "SELECT * FROM events JOIN groups ON true") == []
    status = empty.json("status")
    assert (status["accepted"], status["waiting"], status["days"], status["oldest_waiting_seconds"]) == (
        0,
        0,
        [],
        None,
    )
    assert not any(counts["all"] for counts in status["files"].values())
    assert "no groups" in empty.call("groups", "list").stderr


def test_looking_makes_no_home(tmp_path: Path) -> None:
    for words in (["groups", "list"], ["status"], ["watch"], ["sql", "SELECT 1"], ["events", "list"]):
        result = CliRunner().invoke(main, ["--home", str(tmp_path / "typo"), *words])
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert f"no installation in {tmp_path / 'typo'}" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    ["groups list", "groups show 1", "groups merge 1 2", "events list", "status", "watch", "sql 'SELECT 1'", "alerts list",
     "alerts test default", "notifications log", "notifications send", "monitors list", "monitors check", "token list",
     "debug-files list", "backfill --from 2026-11-01 --stored", "groups preview-rules"],
)  # fmt: skip
def test_a_state_database_that_is_broken_is_one_line(home: Home, command: str) -> None:
    home.config_path.write_text(
        CONFIG + "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"
    )
    (home.root / "state.sqlite").write_bytes(b"no database " * 1000)
    result = CliRunner().invoke(main, ["--home", str(home.root), *shlex.split(command)])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
    assert result.stderr.startswith("Error: ")
    assert isinstance(result.exception, SystemExit)


def test_a_database_that_is_away_is_one_line(home: Home) -> None:
    away = Filled(
        Home(home.root, database_url="postgresql://nobody@127.0.0.1:1/none"), date.min, date.min, ""
    )
    for command in (
        ["groups", "list"],
        ["status"],
        ["sql", "SELECT 1"],
        ["events", "list"],
        ["backfill", "--day", "2026-01-05"],
    ):
        result = away.call(*command)
        assert result.exit_code == 1, command
        assert result.stderr.startswith("Error: "), command
        assert result.stderr.count("\n") == 1, command


# The last ones, for they process what waits and remove the raw envelopes.


def titles(home: Home) -> list[Any]:
    with open_stores(home) as stores:
        return stores.lake.query("SELECT day, event_id, title FROM lake.events ORDER BY ALL")


def test_backfill_recomputes_days_in_this_process(filled: Filled) -> None:
    before = titles(filled.home)
    with open_stores(filled.home) as stores:
        damage(stores, "DELETE FROM stored.events WHERE day = ?", [filled.yesterday])
    first = filled.yesterday - timedelta(days=1)
    result = filled.call("backfill", "--from", first.isoformat(), "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == f"nothing was received on {first}\n"
    rows = json.loads(result.stdout)
    assert [(r["day"], r["result"], r["events"], r["waiting"], r["difference"]) for r in rows] == [
        (filled.yesterday.isoformat(), "done", 1, 0, 0),
        (filled.today.isoformat(), "done", 5, 0, 0),
    ]
    after = titles(filled.home)
    assert [row for row in after if not row["title"].startswith("Waiting")] == before


def test_a_day_whose_raw_envelopes_are_gone_is_refused_before_anything_starts(filled: Filled) -> None:
    with open_stores(filled.home) as stores:
        stores.spool.drop_day(filled.yesterday)
    before = titles(filled.home)
    result = filled.call("backfill", "--from", filled.yesterday.isoformat())
    assert result.exit_code == 1
    assert f"the raw envelopes of {filled.yesterday} are gone (retention.raw_days is 7)" in result.stderr
    assert titles(filled.home) == before

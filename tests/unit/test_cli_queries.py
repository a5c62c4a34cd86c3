"""The commands that look things up, as far as they need no stores: what is printed safely, what SQL is let through, what Dagster is asked."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import duckdb
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tasks_pipeline.cli import COMMANDS, main
from tasks_pipeline.commands import backfill
from tasks_pipeline.commands.common import backfills
from tasks_pipeline.commands.common.event_text import described, stack_lines
from tasks_pipeline.commands.common.json_output import encoded, print_json
from tasks_pipeline.commands.common.progress import days_progress
from tasks_pipeline.commands.common.queries import age, size_text
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.sql import unique
from tasks_pipeline.notifications.story import story_of
from tasks_pipeline.service.dagster_client import (
    DagsterError,
    backfill_progress,
    launch_backfill,
    recent_runs,
    run_error,
)
from tasks_pipeline.storage.lake.read_only import NotReadOnly, check_reads
from tasks_pipeline.storage.sizes import folder_size
from tasks_pipeline.texts import safe_json

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ATTACK = "\x1b]0;owned\x07 [red]x[/red] \x9b31m \u202egnp.exe \U000e0041"


def imported_by(arguments: list[str]) -> list[str]:
    """Which of the heavy libraries a command imports."""
    heavy = ["dagster", "duckdb", "sqlalchemy", "pyarrow"]
    code = (
        "import sys; from tasks_pipeline.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        f"sys.stderr.write(' '.join(name for name in {heavy!r} if name in sys.modules))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return process.stderr.split()


def test_listing_groups_imports_only_what_it_needs(tmp_path: Path) -> None:
    assert imported_by(["--help"]) == []
    assert imported_by(["--home", str(tmp_path), "groups", "list", "--json"]) == ["sqlalchemy"]


def test_every_command_is_documented() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"\n## {name}\n" not in documented] == []
    assert [name for name in COMMANDS if documented.count(f"\n| [`{name}`](#{name}) |") != 1] == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 11, 22, 10, 0, 0, 5, tzinfo=UTC), '"2026-11-22T10:00:00.000005Z"'),
        (datetime(2026, 11, 22, 10, 0, tzinfo=timezone(timedelta(hours=2))), '"2026-11-22T08:00:00Z"'),
        (datetime(2026, 11, 22, 10, 0), '"2026-11-22T10:00:00Z"'),  # noqa: DTZ001 - as SQLite's reader gives it
        (date(2026, 11, 22), '"2026-11-22"'),
        (Decimal("1.50"), "1.5"),
        (2**63 - 1, "9223372036854775807"),
        (2**100, '"1267650600228229401496703205376"'),
        (float("nan"), "null"),
        (b"\x00\xff", '"00ff"'),
        (timedelta(minutes=1), "60.0"),
        ({"a": [datetime(2026, 1, 1, tzinfo=UTC)], 1: None}, '{"a":["2026-01-01T00:00:00Z"],"1":null}'),
    ],
)
def test_values_of_databases_as_json(value: object, expected: str) -> None:
    assert encoded(value).decode() == expected


@given(
    st.recursive(
        st.text() | st.integers(-9, 9), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
    )
)
def test_json_keeps_its_meaning_and_cannot_command_a_terminal(value: object) -> None:
    text = safe_json(encoded(value))
    assert msgspec.json.decode(text) == value
    assert text.isprintable()


def test_print_json_escapes_in_the_indented_form_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"title": ATTACK})
    out = capsys.readouterr().out
    assert msgspec.json.decode(out) == {"title": ATTACK}
    assert all(line.isprintable() for line in out.splitlines())
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize(
    ("ago", "expected"),
    [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (7_199, "1 h"), (86_400 * 3 + 5, "3 d")],
)
def test_ages(ago: int, expected: str) -> None:
    assert age(NOW - timedelta(seconds=ago), NOW) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, ""), (0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (2_340_000_000, "2.3 GB")],
)
def test_sizes(size: int | None, expected: str) -> None:
    assert size_text(size) == expected


def test_the_size_of_a_folder(tmp_path: Path) -> None:
    assert folder_size(tmp_path / "nowhere") == 0
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"12345")
    (folder / "deep" / "b").write_bytes(b"123")
    assert folder_size(folder) == 8


def test_what_a_link_leads_to_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "package").write_bytes(b"x" * 100_000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "package")
    assert folder_size(tmp_path / "folder") < 4_096


@pytest.mark.parametrize("width", [60, 100, 300])
def test_on_a_terminal_a_row_is_one_line(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    rows = [
        {"id": f"SHOP-{n}", "title": "日本語 and more " * 10, "seen": "39 min", "times_seen": n}
        for n in (1, 22)
    ]
    table(rows, {"id": "group", "title": "title", "times_seen": "events", "seen": "last seen"}, cut=["title"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(rows)  # a header and its rule
    for line, row in zip(lines[2:], ("SHOP-1", "SHOP-22"), strict=True):
        assert line.startswith(row)
        assert line.rstrip().endswith("39 min")
        assert cell_len(line.rstrip()) <= width
        assert ("…" in line) == (width < 300)


def test_columns_of_one_name_stay_apart() -> None:
    assert unique(["a", "b", "a", "a_2", "a"]) == ["a", "b", "a_2", "a_2_2", "a_3"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1;",
        "-- a comment\nFROM events SELECT level, count(*) GROUP BY ALL",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "DESCRIBE events",
        "SHOW TABLES",
        "SUMMARIZE events",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT * FROM range(3), unnest([1, 2])",
        "SELECT * FROM ducklake_snapshots('lake')",
        "SELECT 'DROP TABLE events; COPY'",
    ],
)
def test_sql_that_reads_is_let_through(statement: str) -> None:
    check_reads(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "DELETE FROM events",
        "CREATE TABLE a AS SELECT 1",
        "COPY events TO 'x.csv'",
        "EXPORT DATABASE 'x'",
        "ATTACH 'x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET memory_limit = '100GB'",
        "USE state",
        "CHECKPOINT",
        "PRAGMA database_size",
        "CALL ducklake_expire_snapshots('lake')",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'",
        "EXPLAIN /* */ ANALYZE DELETE FROM events",
        "FROM ducklake_delete_orphaned_files('lake', cleanup_all => true)",
        "WITH a AS (SELECT * FROM \"CheckPoint\"('lake')) SELECT * FROM a",
        "SELECT (SELECT count(*) FROM query('SELECT 1'))",
        "SELECT * FROM postgres_execute('state', 'DELETE FROM groups')",
        "SELECT * FROM sqlite_query('state', 'DELETE FROM groups')",
        "DESCRIBE SELECT * FROM enable_logging()",
        "SELECT write_log('x')",
    ],
)
def test_sql_that_may_write_is_refused(statement: str) -> None:
    with pytest.raises((NotReadOnly, duckdb.Error)):
        check_reads(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM stored_state.main.installation_keys",
        'SELECT key FROM stored_state."INSTALLATION_keys"',
        "WITH x AS (FROM installation_keys) SELECT * FROM x",
        "SUMMARIZE stored_state.main.installation_keys",
        "FROM query_table('stored_state.main.installation_keys')",
        "SELECT content FROM read_blob('state.sqlite')",
        "SELECT content FROM read_text('config-in-force.yaml')",
    ],
)
def test_keys_are_shown_to_nobody(statement: str) -> None:
    with pytest.raises(NotReadOnly):
        check_reads(statement)


EVENT: dict[str, Any] = {
    "event_id": "a" * 32,
    "timestamp": "2026-11-22T11:58:00.000000Z",
    "level": "error",
    "platform": "python",
    "environment": "production",
    "user": {"id": "7", "email": "u@example.com"},
    "tags": {"area": "cart"},
    "request": {"method": "POST", "url": "https://shop.example/pay"},
    "exception": {
        "values": [
            {"type": "KeyError", "value": "'card'"},
            {
                "type": "PaymentError",
                "value": "declined",
                "stacktrace": {
                    "frames": [
                        {"filename": "web.py", "function": "dispatch", "lineno": 8, "in_app": False},
                        {
                            "filename": "pay.py",
                            "function": "charge",
                            "lineno": 17,
                            "in_app": True,
                            "pre_context": ["def charge():"],
                            "context_line": "    raise PaymentError()",
                            "post_context": ["", "x = 1"],
                        },
                    ]
                },
            },
        ]
    },
    "breadcrumbs": {
        "values": [
            {"timestamp": f"2026-11-22T11:57:{n:02}Z", "category": "nav", "message": f"step {n}"}
            for n in range(30)
        ]
    },
}
FACTS: dict[str, Any] = {
    "short_id": "SHOP-1",
    "title": "PaymentError: declined",
    "culprit": "/pay",
    "received_at": NOW,
    "project": "shop",
}


def test_an_event_reads_from_the_crash_outwards() -> None:
    lines = described(EVENT, FACTS, NOW)
    text = "\n".join(lines)
    assert lines[:2] == ["SHOP-1  PaymentError: declined", "/pay"]
    assert "2026-11-22 11:58:00 UTC, 2 min ago" in text
    assert "environment production" in text
    assert "id 7, email u@example.com" in text
    assert "area=cart" in text
    crash, context, caller = (
        text.index(part) for part in ("pay.py:17 in charge", "    >     raise PaymentError()", "web.py:8")
    )
    assert (
        text.index("PaymentError: declined", 30) < crash < context < caller < text.index("KeyError: 'card'")
    )
    assert "dispatch  (library)" in text
    assert [line.split()[-1] for line in lines if " step " in line] == [str(n) for n in range(29, 19, -1)]


def test_the_stack_of_a_group_is_that_of_its_mail() -> None:
    frames = {"frames": [{"filename": "db.py", "lineno": 88, "function": "connect"}]}
    values = [{"type": "Refused", "value": "", "stacktrace": frames}, {"type": "Failed", "value": "all"}]
    event = {"exception": {"values": values}}
    assert stack_lines(event, brief=True) == ["", "Refused: ", "  db.py:88 in connect"]
    assert [frame.place for frame in story_of(event).frames] == ["db.py:88"]
    assert stack_lines({"exception": {"values": values[1:]}}, brief=True) == ["", "Failed: all"]


def test_an_event_shows_what_answers_the_question() -> None:
    frame = {
        "filename": "server.js",
        "function": "d",
        "lineno": 3,
        "colno": 812,
        "vars": {"cart": [], "total": "0"},
    }
    library = {"filename": "lib.js", "function": "l", "in_app": False, "vars": {"secret": "of the library"}}
    event = EVENT | {
        "exception": {"values": [{"type": "E", "value": "v", "stacktrace": {"frames": [library, frame]}}]},
        "errors": [{"type": "js_no_source", "name": "https://x.example/server.js"}, {"type": "clock_drift"}],
        "request": {"method": "GET", "url": "https://x.example/", "query_string": [["u", "77"]], "headers": [["X-A", "1"]]},
        "contexts": {"runtime": {"name": "node", "version": "22"}, "trace": {"trace_id": "c" * 32}},
        "extra": {"attempt": 3, "long": "x" * 1000},
    }  # fmt: skip
    text = "\n".join(described(event, FACTS, NOW))
    for line in (
        "  server.js:3:812 in d", "      cart = []", "      total = 0", "  X-A = 1", "  runtime = name node, version 22",
        "  attempt = 3", f"trace     {'c' * 32}", "request   GET https://x.example/?u=77",
        "  https://x.example/server.js: source map missing: upload it with `sentry-cli sourcemaps upload`",
    ):  # fmt: skip
        assert f"\n{line}\n" in text
    assert "of the library" not in text
    assert "clock_drift" not in text
    assert "x" * 400 not in text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PARTS = (
    "exception",
    "threads",
    "stacktrace",
    "breadcrumbs",
    "request",
    "user",
    "tags",
    "logentry",
    "environment",
    "contexts",
    "extra",
    "errors",
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(PARTS, JSON_VALUES)))
def test_no_event_can_stop_its_description_or_command_the_terminal(parts: dict[str, Any]) -> None:
    lines = described({"event_id": "a" * 32, "timestamp": EVENT["timestamp"], **parts}, FACTS, NOW)
    assert all(line.isprintable() for line in lines)


def test_what_strangers_sent_is_shown_escaped() -> None:
    attacked = EVENT | {
        "user": {"id": ATTACK},
        "tags": {ATTACK: ATTACK},
        "exception": {"values": [{"type": ATTACK}]},
    }
    text = "\n".join(described(attacked, FACTS | {"title": ATTACK, "culprit": ATTACK}, NOW))
    assert text.replace("\n", "").isprintable()
    assert "\\x1b]0;owned\\x07 [red]x[/red]" in text


def day(number: int) -> datetime:
    return datetime(2026, 11, number, tzinfo=UTC)


def test_days_asked_for() -> None:
    today = date(2026, 11, 22)
    assert backfill.asked_days([day(3), day(1), day(3)], None, None, today) == [
        date(2026, 11, 1),
        date(2026, 11, 3),
    ]
    assert backfill.asked_days([], day(20), None, today) == [date(2026, 11, n) for n in (20, 21, 22)]
    assert backfill.asked_days([], day(20), day(20), today) == [date(2026, 11, 20)]


@pytest.mark.parametrize(
    ("days", "first", "last", "message"),
    [
        ([], None, None, "either --day"),
        ([day(1)], day(1), None, "either --day"),
        ([day(1)], None, day(2), "--to belongs to --from"),
        ([], day(3), day(2), "--to is before --from"),
        ([], datetime(2020, 1, 1, tzinfo=UTC), day(2), "too many"),
        ([day(23)], None, None, "2026-11-23 is still to come"),
        ([], day(20), day(24), "2026-11-24 is still to come"),
        ([], day(24), None, "2026-11-24 is still to come"),
    ],
)
def test_days_that_cannot_be_asked_for(
    days: list[datetime], first: datetime | None, last: datetime | None, message: str
) -> None:
    with pytest.raises(click.ClickException, match=message):
        backfill.asked_days(days, first, last, date(2026, 11, 22))


@pytest.mark.parametrize(
    "words",
    [
        "backfill --from 9999-12-31",
        "backfill --day 0001-01-01",
        "groups preview-rules --from 0001-01-01",
        "analytics stats --until 0001-01-03",
        "analytics stats 9999-12-31",
        "analytics events --since 999999w",
        "analytics events --since 0001-01-01T00:00:00+23:00",
    ],
)
def test_days_that_no_calendar_has_are_refused(words: str) -> None:
    result = CliRunner().invoke(main, ["--home", "/nowhere", *words.split()])
    assert result.exit_code == 2
    assert "out of range" in result.output or "is no time" in result.output


def test_progress_says_what_is_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with days_progress([date(2026, 11, 16)], "weeks") as advance:
        advance(date(2026, 11, 16), 1.0)
    drawn = capsys.readouterr().err
    assert "weeks: 2026-11-16" in drawn
    assert "days" not in drawn


class Webserver(HTTPServer):
    """Answers GraphQL by whichever of its answers is named in the question; keeps the variables it was asked with."""

    def __init__(self, answers: dict[str, Callable[[], Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.variables: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Webserver

    def do_POST(self) -> None:
        asked = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.variables.append(asked["variables"])
        data = {
            name: answer()
            for name, answer in self.server.answers.items()
            if f"{name}(" in asked["query"] or f"{name} " in asked["query"]
        }
        body = msgspec.json.encode({"data": data} if data else {"errors": [{"message": "no such field"}]})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def webserver() -> Iterator[Webserver]:
    with Webserver({}) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(
    run_id: str, status: str, partition: str, tag: str = "dagster/asset_partition_range_start"
) -> dict[str, Any]:
    tags = [{"key": tag, "value": partition}]
    return {
        "runId": run_id,
        "jobName": "j",
        "status": status,
        "startTime": 1.0,
        "endTime": None,
        "tags": tags,
    }


def test_recent_runs(webserver: Webserver) -> None:
    webserver.answers["runsOrError"] = lambda: {
        "results": [run("r1", "STARTED", "2026-11-22", "dagster/partition")]
    }
    [found] = recent_runs(webserver.url, 5)
    assert (found.run_id, found.status, found.partition) == ("r1", "STARTED", "2026-11-22")
    assert found.started_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert webserver.variables == [{"limit": 5}]


def test_a_backfill_is_of_the_assets_that_the_op_makes(webserver: Webserver) -> None:
    webserver.answers["assetNodes"] = lambda: [
        {"opNames": ["op"], "isMaterializable": True, "assetKey": {"path": ["events"]}},
        {"opNames": [], "isMaterializable": False, "assetKey": {"path": ["envelopes"]}},
        {"opNames": ["other"], "isMaterializable": True, "assetKey": {"path": ["reports"]}},
    ]
    webserver.answers["launchPartitionBackfill"] = lambda: {"backfillId": "abc"}
    assert (
        launch_backfill(webserver.url, "op", [date(2026, 11, 1)], {"lane": "recompute"}, "title", {"ops": {}})
        == "abc"
    )
    assert webserver.variables[-1]["params"] == {
        "assetSelection": [{"path": ["events"]}],
        "partitionNames": ["2026-11-01"],
        "tags": [{"key": "lane", "value": "recompute"}],
        "title": "title",
        "runConfigData": {"ops": {}},
    }
    with pytest.raises(DagsterError, match="knows no assets that nothing makes"):
        launch_backfill(webserver.url, "nothing", [date(2026, 11, 1)], {}, "title", {})


def test_refusals_of_dagster_are_told(webserver: Webserver) -> None:
    webserver.answers["runsOrError"] = lambda: {"message": "bad filter"}
    with pytest.raises(DagsterError, match="bad filter"):
        recent_runs(webserver.url, 5)
    webserver.answers.clear()
    with pytest.raises(DagsterError, match="no such field"):
        recent_runs(webserver.url, 5)
    webserver.server_close()
    with pytest.raises(DagsterError, match="does not answer"):
        recent_runs(webserver.url, 5)


def test_following_a_backfill_until_it_ends(webserver: Webserver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfills, "POLL_SECONDS", 0.0)
    states = iter(["REQUESTED", "COMPLETED_FAILED"])
    webserver.answers |= {
        "partitionBackfillOrError": lambda: {"status": next(states), "error": None},
        # newest first: the second attempt of the first day counts
        "runsOrError": lambda: {
            "results": [
                run("r3", "SUCCESS", "2026-11-01"),
                run("r2", "FAILURE", "2026-11-02"),
                run("r1", "FAILURE", "2026-11-01"),
            ]
        },
        "logsForRun": lambda: {
            "events": [
                {},
                {"error": {"message": "step failed", "causes": [{"message": "raw is gone\nmore"}]}},
            ]
        },
    }
    days = [date(2026, 11, n) for n in (1, 2, 3)]
    results = backfill._follow(webserver.url, "abc", days)
    assert [r.result for r in results] == [
        "done",
        "failure: raw is gone",
        "not started: completed_failed",
    ]
    assert [r.good for r in results] == [True, False, False]
    assert run_error(webserver.url, "r2") == "raw is gone"


def test_a_webserver_that_stays_away_ends_the_waiting(
    webserver: Webserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(backfills, "PATIENCE_SECONDS", 0.0)
    webserver.server_close()
    with pytest.raises(DagsterError, match="does not answer"):
        backfill._follow(webserver.url, "abc", [date(2026, 11, 1)])


def test_progress_names_an_error_of_the_backfill_itself(webserver: Webserver) -> None:
    webserver.answers |= {
        "partitionBackfillOrError": lambda: {"status": "FAILED", "error": {"message": "asset is gone\n"}},
        "runsOrError": lambda: {"results": []},
    }
    found = backfill_progress(webserver.url, "abc")
    assert (found.ended, found.error, found.runs) == (True, "asset is gone", {})

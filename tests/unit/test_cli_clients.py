"""`tasks-pipeline dsn` and `send-test-event`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.protocol.envelope import parse_envelope
from tasks_pipeline.service.running import RunningService, announced, service_lock

FILE = """\
projects:
  - {id: 1, slug: shop, keys: [{public_key: off1, enabled: false}, {public_key: abcd}]}
  - {id: 7, slug: office, keys: [{public_key: efgh}]}
  - {id: 8, slug: closed, keys: [{public_key: off2, enabled: false}]}
"""


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *arguments])


def running(url: str) -> RunningService:
    return msgspec.convert(
        {
            "pid": 1,
            "started_at": "2026-11-22T12:00:00Z",
            "receiver_url": url,
            "receiver_port": 1,
            "ui_url": "http://127.0.0.1:2",
            "ui_port": 2,
            "code_server_port": 3,
        },
        RunningService,
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "http://abcd@127.0.0.1:9000/1"),
        (["shop"], "http://abcd@127.0.0.1:9000/1"),
        (["office"], "http://efgh@127.0.0.1:9000/7"),
        (["7"], "http://efgh@127.0.0.1:9000/7"),
    ],
)
def test_dsn_alone_on_stdout(tmp_path: Path, arguments: list[str], expected: str) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(FILE)
    result = call(tmp_path, "dsn", *arguments)
    assert (result.exit_code, result.stdout) == (0, expected + "\n")


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        ("nobody", "Error: no project 'nobody'; there are: shop, office, closed\n"),
        ("closed", "Error: project closed has no enabled key\n"),
    ],
)
def test_dsn_that_there_is_none_of(tmp_path: Path, project: str, expected: str) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(FILE)
    result = call(tmp_path, "dsn", project)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", expected)


def test_dsn_of_the_running_service(home: Home) -> None:
    (home.root / "tasks_pipeline.yaml").write_text(FILE)
    with service_lock(home), announced(home, running("http://127.0.0.1:4711")):
        assert call(home.root, "dsn").stdout == "http://abcd@127.0.0.1:4711/1\n"
    assert call(home.root, "dsn").stdout == "http://abcd@127.0.0.1:9000/1\n"


def test_dsn_with_a_public_url(tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(FILE + "receiver: {public_url: 'https://errors.example'}\n")
    assert call(tmp_path, "dsn").stdout == "https://abcd@errors.example/1\n"


class Receiver(HTTPServer):
    """Answers every POST with `status` and keeps what it got."""

    status = 200
    body = b"{}"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers["X-Sentry-Auth"], body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.01,))
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


def test_a_test_event_is_an_envelope_with_an_error(tmp_path: Path, receiver: Receiver) -> None:
    dsn = receiver.url.replace("//", "//abcd@") + "/7"
    result = call(tmp_path, "send-test-event", "--dsn", dsn, "--message", "card declined")
    assert result.exit_code == 0
    [(path, auth, body)] = receiver.requests
    assert path == "/api/7/envelope/"
    assert "sentry_key=abcd" in auth
    envelope = parse_envelope(body)
    [item] = envelope.items
    event = msgspec.json.decode(item.payload)
    assert item.type == "event"
    assert result.stdout.strip() == envelope.headers["event_id"] == event["event_id"]
    [exception] = event["exception"]["values"]
    assert exception["value"] == "card declined"
    assert exception["stacktrace"]["frames"][-1]["function"] == "charge"


def test_a_refusal_is_told_with_its_reason(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status, receiver.body = 403, b'{"detail":"unknown \x1b key"}'
    result = call(tmp_path, "send-test-event", "--dsn", receiver.url.replace("//", "//abcd@") + "/1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == 'Error: not accepted: HTTP 403: {"detail":"unknown \\x1b key"}\n'


def test_nobody_there(tmp_path: Path, receiver: Receiver) -> None:
    receiver.server_close()
    result = call(tmp_path, "send-test-event", "--dsn", receiver.url.replace("//", "//abcd@") + "/1")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert "Does `tasks-pipeline run` run?" in result.stderr


def test_a_dsn_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    result = call(tmp_path, "send-test-event", "--dsn", "nonsense")
    assert result.exit_code == 2
    assert "--dsn" in result.stderr

"""The files of deploy/ for nginx and Caddy, each with the real program: pages and ingestion at one port, Dagster's UI behind the same logins at another."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from tasks_pipeline.access import sessions
from tasks_pipeline.home import Home
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web.app import create_web
from tests.support.receiver import KEY, serving

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = "errors.acme.example"
ANNA, EVE = "anna@acme.example", "eve@acme.example"


@dataclass
class Front:
    """A proxy at work: the port of pages, and that of Dagster's UI."""

    pages: int
    dagster: int
    cookies: dict[str, str]
    """Of the sessions of members, by address."""

    def ask(self, port: int, path: str, member: str | None = None, **headers: str) -> httpx.Response:
        sent = {"host": f"{NAME}:{port}", "accept": "text/html", **headers}
        if member is not None:
            sent["cookie"] = self.cookies[member]
        return httpx.get(f"http://127.0.0.1:{port}{path}", headers=sent)

    def socket(self, member: str, **headers: str) -> str:
        """What Dagster's WebSocket answers."""
        with connect(
            f"ws://{NAME}:{self.dagster}/graphql", sock=socket.create_connection(("127.0.0.1", self.dagster)),
            additional_headers={"Cookie": self.cookies[member], **headers},
        ) as opened:  # fmt: skip
            opened.send("ping")
            return str(opened.recv())


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]
) -> Iterator[Front]:
    program = shutil.which(request.param, path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip(f"{request.param} is not installed: Debian's packages nginx-light and caddy")
    home, folder = new_home(tmp_path_factory.mktemp("home")), tmp_path_factory.mktemp(request.param)
    home.config_path.write_text(
        f"projects: [{{id: 1, slug: shop, keys: [{{public_key: {KEY}}}]}}]\n"
        f"members: [{{email: {ANNA}, role: admin}}, {{email: {EVE}}}]\n"
        f"web: {{login: password, public_url: 'https://{NAME}'}}\nreceiver: {{trust_forwarded_for: true}}\n"
    )
    with ExitStack() as stack:
        state = stack.enter_context(closing(StateDatabase(home)))
        web = stack.enter_context(serving(create_web(home)))
        receiver = stack.enter_context(serving(create_app(home, web_url=web)))
        dagster = stack.enter_context(_dagster())
        ports = {"9000": httpx.URL(receiver).port or 0, "3000": dagster, "443": _free(), "3443": _free()}
        stack.enter_context(_running(request.param, program, folder, ports))
        cookies = {
            member: f"__Host-tasks_pipeline={sessions.begin(state, member, 'password', datetime.now(UTC))}"
            for member in (ANNA, EVE)
        }
        yield Front(ports["443"], ports["3443"], cookies)


@contextmanager
def _dagster() -> Iterator[int]:
    """A stand-in for Dagster's webserver: a page, and a WebSocket that says what it hears."""

    def echo(opened: ServerConnection) -> None:
        for message in opened:
            opened.send(f"dagster heard {message!s}")

    def page(opened: ServerConnection, request: object) -> object:
        upgrade = getattr(request, "headers", {}).get("Upgrade")
        return None if upgrade else opened.respond(200, "Dagster's UI")

    server: Server
    with serve(echo, "127.0.0.1", 0, process_request=page) as server:  # type: ignore[arg-type]
        import threading

        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _running(name: str, program: str, folder: Path, ports: dict[str, int]) -> Iterator[None]:
    """The program with our file of it, without TLS, and at other ports."""
    if name == "nginx":
        text = (DEPLOY / "nginx.conf").read_text()
        text = re.sub(r"listen (\d+) ssl;", lambda found: f"listen 127.0.0.1:{ports[found[1]]};", text)
        text = re.sub(r"\n    ssl_certificate.*", "", text)
        temporary = "".join(
            f"{each}_temp_path {folder}/{each};\n"
            for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = f"daemon off; user root; pid {folder}/pid; error_log {folder}/log; events {{}} http {{ access_log off;\n{temporary}{text}}}"
        command = [program, "-c", f"{folder}/conf"]
    else:
        text = (DEPLOY / "Caddyfile").read_text()
        text = text.replace(f"{NAME}:3443 {{", f"http://{NAME}:{ports['3443']} {{")
        text = text.replace(f"\n{NAME} {{", f"\nhttp://{NAME}:{ports['443']} {{")
        text = f"{{\nadmin off\nauto_https off\n}}\n{text}"
        command = [program, "run", "--config", f"{folder}/conf", "--adapter", "caddyfile"]
    for near in ("9000", "3000"):
        text = text.replace(f"127.0.0.1:{near}", f"127.0.0.1:{ports[near]}")
    (folder / "conf").write_text(text)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
        try:
            _await_port(process, ports["443"], folder / "out")
            yield
        finally:
            process.terminate()
            process.wait(30)


def _await_port(process: subprocess.Popen[bytes], port: int, out: Path) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(out.read_text())


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_pages_and_ingestion_are_at_one_port(front: Front) -> None:
    away = front.ask(front.pages, "/groups/")
    assert (away.status_code, away.headers["location"]) == (303, "/login/?return=%2Fgroups%2F")
    assert front.ask(front.pages, "/groups/", EVE).status_code == 200
    envelope = b'{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc"}\n{"type":"event"}\n{}\n'
    url = f"http://127.0.0.1:{front.pages}/api/1/envelope/?sentry_key={KEY}"
    assert httpx.post(url, content=envelope, headers={"host": NAME}).status_code == 200


def test_dagster_is_behind_the_same_logins(front: Front) -> None:
    away = front.ask(front.dagster, "/runs")
    assert (away.status_code, away.headers["location"]) == (302, f"https://{NAME}/login/")
    assert front.ask(front.dagster, "/runs", EVE).status_code == 403, "for admins"
    shown = front.ask(front.dagster, "/runs", ANNA)
    assert (shown.status_code, shown.text) == (200, "Dagster's UI")


def test_its_websocket_too_and_from_its_own_pages_only(front: Front) -> None:
    own = {"Origin": f"http://{NAME}:{front.dagster}", "Sec-Fetch-Mode": "websocket"}
    assert front.socket(ANNA, **own) == "dagster heard ping"
    for member, headers in ((EVE, own), (ANNA, {**own, "Origin": "https://evil.example"})):
        with pytest.raises(InvalidStatus) as refused:
            front.socket(member, **headers)
        assert refused.value.response.status_code == 403

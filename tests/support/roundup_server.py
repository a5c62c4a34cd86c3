"""A real Roundup tracker for tests, made in a folder and served on a loopback port: `python -m tests.support.roundup_server FOLDER LIMIT`.

Prints its port when it answers, and ends when its standard input does. `LIMIT`: calls of a user in a minute; 0 is without.
"""

from __future__ import annotations

import contextlib
import io
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import roundup.instance
from roundup.admin import AdminTool
from roundup.cgi.wsgi_handler import RequestDispatcher

from tests.support.trackers import ROUNDUP_USERS

MOUNT = "/tracker"


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: a pipe that nobody reads fills up."""


def main(folder: Path, limit: str) -> None:
    """Make the tracker and serve it."""
    home = folder / "home"
    # Roundup reads the body of a DELETE from standard input.
    caller, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO())
    served: list[Any] = []

    def application(environ: Any, start_response: Any) -> Any:
        # roundup-server would be enough, but refuses to run as root, which those who run tests often are.
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = MOUNT, environ["PATH_INFO"].removeprefix(MOUNT)
        return served[0](environ, start_response)

    with make_server("127.0.0.1", 0, application, _Server, _Handler) as server:
        _make(home, f"http://127.0.0.1:{server.server_port}{MOUNT}/", limit)
        served.append(RequestDispatcher(str(home)))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        print(server.server_port, flush=True)
        caller.read()
        server.shutdown()


def _make(home: Path, url: str, limit: str) -> None:
    tool = AdminTool()
    tool.tracker_home = str(home)
    tool.settings["display_header"] = False
    settings = f"tracker_web={url},mail_domain=acme.example,mail_host=127.0.0.1"
    with contextlib.redirect_stdout(sys.stderr):
        answered = tool.do_install(str(home), ["install", "classic", "sqlite", settings])
    if answered:
        raise SystemExit(f"Roundup was not installed: {answered}")
    (home / "detectors/nosyreaction.py").unlink()  # it would send mail
    # Each request logs in: by default that costs half a second.
    _configure(
        home / "config.ini",
        {
            "api_calls_per_interval": limit,
            "api_interval_in_sec": "60",
            "password_pbkdf2_default_rounds": "1000",
        },
    )
    tracker = roundup.instance.open(str(home))
    if not tracker.exists():
        tracker.init(
            roundup.password.Password(ROUNDUP_USERS["admin"], config=tracker.config), tx_Source="cli"
        )
    database = tracker.open("admin")
    try:
        for name, password in ROUNDUP_USERS.items():
            if name != "admin":
                secret = roundup.password.Password(password, config=tracker.config)
                database.user.create(
                    username=name, password=secret, address=f"{name}@acme.example", roles="User"
                )
        database.commit()
    finally:
        database.close()


def _configure(path: Path, wanted: dict[str, str]) -> None:
    lines = []
    for line in path.read_text().splitlines():
        name = line.partition("=")[0].strip().lstrip("#").strip()
        lines.append(f"{name} = {wanted[name]}" if "=" in line and name in wanted else line)
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

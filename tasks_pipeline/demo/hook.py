"""A webhook receiver of the demonstration and the benchmarks: it keeps what is posted to it, and when."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Posted:
    """One request: `at` is on the clock of `time.perf_counter`."""

    at: float
    headers: dict[str, str]
    document: dict[str, Any]


@dataclass(slots=True)
class Hook:
    """What arrived so far, and where to post to."""

    url: str
    posted: list[Posted] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def await_text(self, text: str, seconds: float) -> Posted | None:
        """The first message that holds a text, or None when none came in so many seconds."""
        with self.arrived:
            self.arrived.wait_for(lambda: self._with(text) is not None, seconds)
            return self._with(text)

    def await_count(self, count: int, seconds: float) -> None:
        """Wait until so many messages arrived, but not longer than so many seconds."""
        with self.arrived:
            self.arrived.wait_for(lambda: len(self.posted) >= count, seconds)

    def _with(self, text: str) -> Posted | None:
        return next((p for p in self.posted if text in json.dumps(p.document, ensure_ascii=False)), None)


@contextmanager
def listening_hook() -> Iterator[Hook]:
    """A hook on a free port of the loopback address, for the time of a `with` block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length", 0)), MAX_BODY_BYTES)
            posted = Posted(time.perf_counter(), dict(self.headers), json.loads(self.rfile.read(length)))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()
            with hook.arrived:
                hook.posted.append(posted)
                hook.arrived.notify_all()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: standard error belongs to the demonstration."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Hook(f"http://127.0.0.1:{server.server_port}/")
    thread = threading.Thread(target=server.serve_forever, name="demo-hook", daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

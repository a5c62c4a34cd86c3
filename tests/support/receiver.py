"""A receiver, or a web process, on a free loopback port, in a thread of the test, and what it wrote to the spool."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import tasks_pipeline.demo
from tasks_pipeline.home import Home
from tasks_pipeline.serving import Application, make_server
from tasks_pipeline.storage.spool.interface import Receipt
from tasks_pipeline.storage.spool.open import open_spool

WIRE = Path(tasks_pipeline.demo.__file__).parent / "recordings" / "wire"
KEY = "0123456789abcdef0123456789abcdef"
"""The key in all recordings; their project is 1."""


class MemorySpool:
    """A spool that keeps receipts in a list, and fails with `failure` while that is set."""

    part = "r0"

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.failure: Exception | None = None

    def writer(self) -> MemorySpool:
        return self

    def append(self, receipts: Sequence[Receipt]) -> list[tuple[date, int]]:
        if self.failure is not None:
            raise self.failure
        self.receipts += receipts
        return [(receipt.day, 1) for receipt in receipts]

    def close(self) -> None:
        """Nothing is open."""


def configure(home: Home, projects: str = "", receiver: str = "") -> None:
    """Write a configuration with project 1 and KEY; `projects` is YAML added to the project, `receiver` its section."""
    extra = "\n    ".join(projects.splitlines())
    home.config_path.write_text(
        f"projects:\n  - id: 1\n    slug: shop\n    keys: [{{public_key: '{KEY}'}}]\n    {extra}\n"
        "  - {id: 2, slug: other, keys: [{public_key: other-key}, {public_key: old-key, enabled: false}]}\n"
        + (f"receiver: {{{receiver}}}\n" if receiver else "")
    )


@contextmanager
def serving(app: Application) -> Iterator[str]:
    """The base URL of a running server; it is stopped, and what it counted written, at the end."""
    urls: list[str] = []
    ready = threading.Event()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    server, listener = make_server(app, "127.0.0.1", 0, on_ready)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(120)
        yield urls[0]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def stored(home: Home) -> list[Receipt]:
    """Every receipt in the home's spool, in order."""
    spool = open_spool(home)
    try:
        return [
            spooled.receipt
            for day in spool.days()
            for part in spool.totals(day)
            for spooled in spool.read(day, part, 0, max_envelopes=10_000)
        ]
    finally:
        spool.close()

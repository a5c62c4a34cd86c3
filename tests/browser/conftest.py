"""One service with pages, and one Chromium, for all tests that look at them as people do."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tasks_pipeline.home import Home
from tasks_pipeline.web.app import create_web
from tests.support.pages_home import pages_home

REQUIRE = "TASKS_PIPELINE_TEST_REQUIRE_BROWSER"
SECONDS = 10
"""Whatever is waited for on a page is there by then."""


def _program() -> str:
    """Chromium as the distribution has it. Without it these tests say so, and are skipped, or fail where they are required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        why = "no chromium is installed (on Debian: chromium fonts-dejavu-core)"
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{REQUIRE}=1, but {why}")
        pytest.skip(why)
    return found


@pytest.fixture(scope="session")
def address(new_home: Callable[[Path], Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the pages are."""
    _program()
    with pages_home(new_home(tmp_path_factory.mktemp("browser"))) as home:
        server = uvicorn.Server(
            uvicorn.Config(create_web(home), host="127.0.0.1", port=0, log_level="warning")
        )
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            started = threading.Event()
            while not server.started and thread.is_alive():
                started.wait(0.02)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser."""
    program = _program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Looks:
    """A window on the pages that notes what nobody should see: violations of the policy, errors of scripts, dialogs."""

    def __init__(self, context: Any, address: str) -> None:
        self.context, self.address = context, address
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.page.on(
            "console",
            lambda said: self.wrong.append(said.text) if said.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on(
            "dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss())
        )
        self.page.on("request", lambda request: self.requests.append(request.url))

    def go(self, path: str) -> Any:
        """Open a page."""
        self.page.goto(self.address + path)
        return self.page


@pytest.fixture
def window(request: pytest.FixtureRequest, chromium: Any, address: str) -> Iterator[Looks]:
    """A window; parameters are those of the browser's context."""
    settings = {
        "viewport": {"width": 1280, "height": 900},
        "timezone_id": "Europe/Berlin",
        **getattr(request, "param", {}),
    }
    context = chromium.new_context(**settings)
    looks = Looks(context, address)
    yield looks
    context.close()
    assert looks.wrong == []

"""The Web API over a home, and whoever calls it with a token."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import httpx

from tasks_pipeline.access import tokens
from tasks_pipeline.home import Home
from tasks_pipeline.reading.lake_reader import LakeReader
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web_api.app import App
from tests.support.pages_home import CONFIG

MEMBERS = CONFIG.replace(
    "  - {email: ben@acme.example}",
    "  - {email: ben@acme.example, sees: [billing], role: admin}\n  - {email: vic@acme.example, role: viewer}",
)
"""The configuration of the home of pages, with one who sees another project alone, and one who only looks."""


class Api:
    """The Web API of a home."""

    def __init__(self, app: App, state: StateDatabase) -> None:
        self.app, self.state = app, state

    def caller(self, *scopes: str, member: str | None = None) -> Caller:
        """Somebody with a new token; of these scopes, else all."""
        made: Sequence[str] = scopes or tokens.SCOPES
        _, token = tokens.create_token(self.state, "http://test", "acme", "test", made, member)
        return Caller(self.app, {"authorization": f"Bearer {token}"})


class Caller:
    """Somebody who calls; `headers` go with each call."""

    def __init__(self, app: App, headers: dict[str, str]) -> None:
        self._app, self.headers = app, headers

    def __call__(
        self, method: str, path: str, *, query: Any = None, json: Any = None, **headers: str
    ) -> httpx.Response:
        """Make a call."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test/api/0", headers=self.headers | headers
            ) as client:
                return await client.request(method, path, params=query, json=json)

        return asyncio.run(ask())

    def get(self, path: str, code: int = 200, /, **query: Any) -> Any:
        """The JSON of an answer with this status."""
        answer = self("GET", path, query=query or None)
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def put(self, path: str, code: int = 200, /, *, query: Any = None, **json: Any) -> Any:
        """The JSON of the answer to a change."""
        answer = self("PUT", path, query=query, json=json)
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()


@contextmanager
def api_of(home: Home) -> Iterator[Api]:
    """The Web API over a home."""
    config = home.read_config(home.config_path)
    with closing(StateDatabase(home)) as state, closing(LakeReader(home, state)) as lake:
        app = App(Reading(home, state, lake, lambda: config))
        try:
            yield Api(app, state)
        finally:
            app.close()

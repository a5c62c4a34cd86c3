"""Where the Web API meets the receiver: an ASGI application that opens its stores when it is first asked.

The receiver must start without the state database, and needs neither its code nor its memory before that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import Response

from tasks_pipeline.asgi import Receive, Scope, Send
from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.web_api import PREFIX

if TYPE_CHECKING:
    from tasks_pipeline.web_api.app import App

log = logging.getLogger(__name__)


def is_web_api(path: str) -> bool:
    """Whether a path is the Web API's: no project has the number 0."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


class WebApi:
    """The ASGI callable. `config` gives the configuration in force; `close` ends its work and its stores."""

    def __init__(self, home: Home, config: Callable[[], Config]) -> None:
        self._home = home
        self._config = config
        self._opening = asyncio.Lock()
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        app = self._app or await self._opened()
        if app is None:
            body = b'{"detail":"the database does not answer"}'
            await Response(body, 503, media_type="application/json")(scope, receive, send)
            return
        await app(scope, receive, send)

    async def _opened(self) -> App | None:
        async with self._opening:
            if self._app is None:
                try:
                    self._app = await asyncio.to_thread(self._open)
                except Exception:
                    log.exception("the stores of the Web API cannot be opened")
            return self._app

    def _open(self) -> App:
        from tasks_pipeline.web_api.app import App

        return App(self._home, self._config)

    async def close(self) -> None:
        """End what is at work, and close the stores. Call it when no request is served any more."""
        if self._app is not None:
            await asyncio.to_thread(self._app.close)

"""The page behind the links in mails that end a subscription: GET shows it and changes nothing, POST acts, nobody logs in.

Programs that look at mail follow links, so only a POST may act (RFC 8058). Whoever has no valid link learns nothing, and costs a
look into memory; whoever has one may act a few times a minute.
"""

from __future__ import annotations

import asyncio
import html
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.receiver.answers import Answer, Refused
from tasks_pipeline.receiver.request import Request

if TYPE_CHECKING:
    from tasks_pipeline.notifications.subscriptions import Kind
    from tasks_pipeline.storage.state.database import StateDatabase

log = logging.getLogger(__name__)

MAX_BODY = 1024
ACTS, WINDOW_SECONDS = 6, 60.0
"""So often a link may act, and be looked at, in so many seconds."""
_TOKEN_LENGTH = 32
_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Reports by mail</title>
<style>:root {{ color-scheme: light dark; }} body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 30rem; margin: 12vh auto 0; padding: 0 1rem; }} button {{ font: inherit; padding: .5rem 1rem; }}</style>
</head><body><h1>Reports by mail</h1><p>{said}</p>
<form method="post"><input type="hidden" name="{name}" value="{value}"><button>{button}</button></form></body></html>
"""


class Unsubscribing:
    """The endpoint. Its database is opened by the first request: the receiver must start without one."""

    def __init__(self, home: Home, config: Callable[[], Config]) -> None:
        self._home, self._config = home, config
        self._opening = asyncio.Lock()
        self._state: StateDatabase | None = None
        self._key = b""
        self._known: tuple[Config | None, dict[str, tuple[str, Kind]]] = (None, {})
        self._acts: dict[str, list[float]] = {}

    async def serve(self, request: Request, token: str) -> Answer:
        """Answer a request for a link. Raises Refused: 404 for one that is not ours, 429 for one that acts too often, 503 while
        the database does not answer."""
        from sqlalchemy.exc import SQLAlchemyError

        body = await request.body(MAX_BODY)
        try:
            return await self._answer(request.method == "POST", body, token)
        except (SQLAlchemyError, OSError) as error:
            log.exception("a link to unsubscribe cannot be looked up")
            raise Refused(503, "storage", "the database does not answer; try again") from error

    async def _answer(self, acts: bool, body: bytes, token: str) -> Answer:
        async with self._opening:
            found = (await asyncio.to_thread(self._find, token)) if len(token) == _TOKEN_LENGTH else None
        if found is None:
            raise Refused(404, "not_found", "there is nothing at this path")
        self._limit(token)
        member, kind = found
        if not acts:
            return _page(member, kind, await asyncio.to_thread(self._wanted, member, kind))
        again = parse_qs(body.decode("latin-1"), max_num_fields=10).get("subscribe") == ["1"]
        await asyncio.to_thread(self._decide, member, kind, again)
        return _page(member, kind, again, acted=True)

    def close(self) -> None:
        """Close the database."""
        if self._state is not None:
            self._state.close()

    def _find(self, token: str) -> tuple[str, Kind] | None:
        from tasks_pipeline.notifications.subscriptions import tokens_of

        self._open()
        config = self._config()
        if self._known[0] is not config:
            self._known = config, tokens_of(self._key, config)
        return self._known[1].get(token)

    def _open(self) -> StateDatabase:
        if self._state is None:
            from tasks_pipeline.storage.state.database import StateDatabase
            from tasks_pipeline.storage.state.facts import unsubscribe_key

            state = StateDatabase(self._home)
            self._key, self._state = unsubscribe_key(state), state
        return self._state

    def _limit(self, token: str) -> None:
        """Only valid links get here, so there are at most three for each member to remember."""
        now = time.monotonic()
        lately = [at for at in self._acts.get(token, ()) if at > now - WINDOW_SECONDS]
        if len(lately) >= ACTS:
            raise Refused(429, "unsubscribe_rate", "too often; try again in a minute", {"retry-after": "60"})
        self._acts[token] = [*lately, now]

    def _wanted(self, member: str, kind: Kind) -> bool:
        from tasks_pipeline.notifications.subscriptions import decisions, subscription_of

        configured = self._config().member(member)
        with self._open().read() as connection:
            decided = decisions(connection, member)
        return configured is not None and subscription_of(configured, kind, decided).wanted

    def _decide(self, member: str, kind: Kind, wanted: bool) -> None:
        from tasks_pipeline.notifications.subscriptions import decide

        state = self._open()
        with state.write() as connection:
            decide(state, connection, member, kind, wanted, "link", datetime.now(UTC))


def _page(member: str, kind: Kind, wanted: bool, *, acted: bool = False) -> Answer:
    """What is so, and a button for the opposite. The address is shown in part: a mail may be passed on."""
    from tasks_pipeline.notifications.subscriptions import ADVERBS

    name, _, domain = member.partition("@")
    who, what = html.escape(f"{name[:1]}…@{domain}"), f"the {ADVERBS[kind]} report"
    so = f"gets {what}" if wanted else f"{'no longer gets' if acted else 'does not get'} {what}"
    said = f"{who} {'now ' if acted and wanted else ''}{so}."
    button = (
        ("List-Unsubscribe", "One-Click", "Unsubscribe") if wanted else ("subscribe", "1", "Subscribe again")
    )
    page = _PAGE.format(said=said, name=button[0], value=button[1], button=button[2])
    return Answer(200, page.encode(), "text/html; charset=utf-8", _HEADERS)

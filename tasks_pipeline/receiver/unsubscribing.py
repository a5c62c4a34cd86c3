"""The page behind the links in mails that end a subscription: GET shows it and changes nothing, POST acts, nobody logs in.

Programs that look at mail follow links, so only a POST may act (RFC 8058). Whoever has no valid link learns nothing, and costs a
look into memory; whoever has one may act a few times a minute.
"""

from __future__ import annotations

import asyncio
import html
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.receiver.answers import Answer, Refused
from tasks_pipeline.receiver.request import Request

if TYPE_CHECKING:
    from tasks_pipeline.receiver.links import LinkOf, Links

log = logging.getLogger(__name__)

MAX_BODY = 1024
ACTS, WINDOW_SECONDS = 6, 60.0
"""So often a link may act in so many seconds."""
_SUBSCRIBES = re.compile(rb"(?:^|&)subscribe=1(?:&|$)")
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
        self._at_work = asyncio.Lock()
        self._links: Links | None = None
        self._acts: dict[str, list[float]] = {}

    async def serve(self, request: Request, token: str) -> Answer:
        """Answer a request for a link. Raises Refused: 404 for one that is not ours, 429 for one that acts too often, 503 while
        the database does not answer."""
        body = await request.body(MAX_BODY)
        try:
            return await self._answer(request.method == "POST", body, token)
        except Refused:
            raise
        except Exception as error:
            log.exception("a link to unsubscribe cannot be served")
            raise Refused(503, "storage", "the database does not answer; try again") from error

    def close(self) -> None:
        """Close the database."""
        if self._links is not None:
            self._links.close()

    async def _answer(self, acts: bool, body: bytes, token: str) -> Answer:
        async with self._at_work:
            found = (await asyncio.to_thread(self._find, token)) if len(token) == _TOKEN_LENGTH else None
        if found is None:
            raise Refused(404, "not_found", "there is nothing at this path")
        links, subscription = found
        if not acts:  # scanners of mails look at links, and must not use up what a person may do
            return _page(subscription, await asyncio.to_thread(links.wanted, subscription))
        self._limit(token)
        again = _SUBSCRIBES.search(body) is not None
        await asyncio.to_thread(links.decide, subscription, again)
        return _page(subscription, again, acted=True)

    def _find(self, token: str) -> tuple[Links, LinkOf] | None:
        if self._links is None:
            from tasks_pipeline.receiver.links import Links

            self._links = Links(self._home)
        found = self._links.find(self._config(), token)
        return None if found is None else (self._links, found)

    def _limit(self, token: str) -> None:
        """Only valid links get here, so there are at most three for each member to remember."""
        now = time.monotonic()
        lately = [at for at in self._acts.get(token, ()) if at > now - WINDOW_SECONDS]
        if len(lately) >= ACTS:
            raise Refused(429, "unsubscribe_rate", "too often; try again in a minute", {"retry-after": "60"})
        self._acts[token] = [*lately, now]


def _page(link: LinkOf, wanted: bool, *, acted: bool = False) -> Answer:
    """What is so, and a button for the opposite. The address is shown in part: a mail may be passed on."""
    name, _, domain = link.member.email.partition("@")
    who, what = html.escape(f"{name[:1]}…@{domain}"), f"the {link.adverb} report"
    so = f"gets {what}" if wanted else f"{'no longer gets' if acted else 'does not get'} {what}"
    said = f"{who} {'now ' if acted and wanted else ''}{so}."
    button = (
        ("List-Unsubscribe", "One-Click", "Unsubscribe") if wanted else ("subscribe", "1", "Subscribe again")
    )
    page = _PAGE.format(said=said, name=button[0], value=button[1], button=button[2])
    return Answer(200, page.encode(), "text/html; charset=utf-8", _HEADERS)

"""The page behind the links in mails that end a subscription: GET shows it and changes nothing, POST acts, nobody logs in.

Programs that look at mail follow links, so only a POST may act (RFC 8058). Whoever has no valid link learns nothing, and costs a
look into memory: what they send along is not read. Whoever has one may act a few times a minute.
"""

from __future__ import annotations

import asyncio
import html
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.receiver.answers import Answer, Refused
from tasks_pipeline.receiver.request import Request

if TYPE_CHECKING:
    from tasks_pipeline.receiver.links import LinkOf, Links

log = logging.getLogger(__name__)

MAX_BODY, BODY_SECONDS = 1024, 10.0
"""So much may be sent along, and take so long: forms of one field."""
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
</head><body><h1>Reports by mail</h1><p>{said}</p>{form}</body></html>
"""
_FORM = (
    '<form method="post"><input type="hidden" name="{name}" value="{value}"><button>{button}</button></form>'
)
_NO_LINK = "This link is of nothing, or not any more. The newest mail has one that is; whoever runs this service can help too."


class Unsubscribing:
    """The endpoint. Its database is opened by the first request: the receiver must start without one."""

    def __init__(self, home: Home, config: Callable[[], Config]) -> None:
        self._home, self._config = home, config
        self._at_work = asyncio.Lock()
        self._links: Links | None = None
        self._acts: dict[str, list[float]] = {}

    async def serve(self, request: Request, token: str) -> Answer:
        """Answer a request for a link: with 404 for one that is not ours. Raises Refused: 408 and 413 for what is sent along, 429
        for a link that acts too often, 503 while the database does not answer; and ClientGone."""
        with _answering():
            async with self._at_work:
                known = await asyncio.to_thread(self._find, token) if len(token) == _TOKEN_LENGTH else None
        if known is None:
            return _page(404, _NO_LINK)
        links, link = known
        if request.method != "POST":
            # Scanners of mails look at links, and must not use up what a person may do.
            with _answering():
                return _shown(link, await asyncio.to_thread(links.wanted, link))
        again = _SUBSCRIBES.search(await _body(request)) is not None
        self._limit(token)
        with _answering():
            await asyncio.to_thread(links.decide, link, again)
        return _shown(link, again, acted=True)

    def close(self) -> None:
        """Close the database."""
        if self._links is not None:
            self._links.close()

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


@contextmanager
def _answering() -> Iterator[None]:
    """The database at work. Raises Refused for whatever it raises."""
    try:
        yield
    except Exception as error:
        log.exception("a link to unsubscribe cannot be served")
        raise Refused(503, "storage", "the database does not answer; try again") from error


async def _body(request: Request) -> bytes:
    """What was sent along. Raises Refused and ClientGone."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.body(MAX_BODY)
    except TimeoutError as error:
        raise Refused(408, "slow_body", f"the body takes more than {BODY_SECONDS:g} s") from error


def _shown(link: LinkOf, wanted: bool, *, acted: bool = False) -> Answer:
    """What is so, and a button for the opposite. The address is shown in part: a mail may be passed on."""
    name, _, domain = link.member.email.partition("@")
    who, what = html.escape(f"{name[:1]}…@{domain}"), f"the {link.adverb} report"
    so = f"gets {what}" if wanted else f"{'no longer gets' if acted else 'does not get'} {what}"
    said = f"{who} {'now ' if acted and wanted else ''}{so}."
    button = (
        ("List-Unsubscribe", "One-Click", "Unsubscribe") if wanted else ("subscribe", "1", "Subscribe again")
    )
    return _page(200, said, _FORM.format(name=button[0], value=button[1], button=button[2]))


def _page(status: int, said: str, form: str = "") -> Answer:
    return Answer(status, _PAGE.format(said=said, form=form).encode(), "text/html; charset=utf-8", _HEADERS)

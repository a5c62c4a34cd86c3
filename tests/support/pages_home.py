"""A home whose pages are looked at: groups of two projects, rich events, a hostile one; and the pages over it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import select

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.asgi import Receive, Scope, Send
from tasks_pipeline.home import Home
from tasks_pipeline.pages.app import Pages
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.reading.lake_reader import LakeReader
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import groups, issue_links
from tasks_pipeline.stores import Stores, open_stores
from tests.support.events import event, item, receipt

CONFIG = """\
projects:
  - {id: 1, slug: shop, keys: [{public_key: abcdef}]}
  - {id: 2, slug: billing, keys: [{public_key: efghij}]}
members:
  - {email: anna@acme.example, name: Anna}
  - {email: ben@acme.example}
teams: [{slug: payments, members: [anna@acme.example]}]
web: {searches: [{name: of payments, query: "assigned:team:payments"}]}
"""
RICH = "3f0e9c1f5ee54be1a4dfae3b2c9a1f07"
HOSTILE = "0badc0de0badc0de0badc0de0badc0de"
SHOWN = "</script><img src=x onerror=alert(1)>\"'{{7*7}}${7*7}<svg onload=alert(2)>javascript:alert(3)"
"""What a stranger would have people's browsers do."""
POLYGLOT = f"{SHOWN}\x00\u202e\u2028\ud800<style>*{{display:none}}</style>"
TIMEOUTS = 60
"""Groups of one kind: more than a page of the list."""


@contextmanager
def pages_home(home: Home) -> Iterator[Home]:
    """Fill a home."""
    home.config_path.write_text(CONFIG)
    with open_stores(home) as stores:
        fill(stores, datetime.now(UTC))
    yield home


@contextmanager
def pages_of(home: Home, viewer: Viewer | None = None) -> Iterator[Served]:
    """The pages over a home, for a viewer."""
    config = home.read_config(home.config_path)
    with closing(StateDatabase(home)) as state, closing(LakeReader(home, state)) as lake:
        yield Served(Pages(Reading(home, state, lake, lambda: config)), viewer)


class Served:
    """Pages asked by somebody; `viewer` may be changed."""

    def __init__(self, pages: Pages, viewer: Viewer | None) -> None:
        self._pages, self.viewer = pages, viewer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request as the process does, once it is known who asks."""
        await self._pages({**scope, **({"viewer": self.viewer} if self.viewer else {})}, receive, send)


def fill(stores: Stores, now: datetime) -> None:
    """Events of today and of the days before."""
    with closing(stores.spool.writer()) as writer:
        for day in (3, 1):
            at = now - timedelta(days=day)
            writer.append([receipt(at, 1, rich_event(at, n)) for n in range(4)])
            drained(stores, at)
        at = now - timedelta(minutes=30)
        writer.append([receipt(at, 1, rich_event(at, 9, event_id=RICH), *_around(RICH))])
        writer.append(
            [receipt(at, 1, item("event", json.dumps(hostile_event(at)).encode()), event_id=HOSTILE)]
        )
        writer.append(
            [receipt(at, 2, event("Overdrawn", timestamp=at.isoformat(), environment="production"))]
        )
        many = [event(f"Timeout{n}", level="warning", timestamp=at.isoformat()) for n in range(TIMEOUTS)]
        writer.append([receipt(at, 1, each) for each in many])
    for at in {now - timedelta(minutes=30), now}:
        drained(stores, at)
    linked(stores, now)


def linked(stores: Stores, at: datetime) -> None:
    """An issue of the group of rich events in a tracker."""
    with stores.state.write() as connection:
        query = select(groups.c.id).where(groups.c.title.startswith("ValueError"))
        group_id = connection.execute(query).scalar_one()
        link = {
            "project_id": 1, "group_id": group_id, "integration": "hub", "tracker": "shop-issues", "external_id": "1#12",
            "shown_key": "acme/shop#12", "url": "https://github.example/acme/shop/issues/12", "title": "Prices are wrong", "state": "linked",
            "origin": "linked", "marker": "12", "agreed_state": "open", "theirs": {"state": "open"}, "turns": [], "created_at": at,
        }  # fmt: skip
        connection.execute(issue_links.insert().values(**link))


def drained(stores: Stores, at: datetime) -> None:
    drain(stores, at.date(), linger_seconds=0)


def rich_event(at: datetime, number: int, **fields: Any) -> dict[str, Any]:
    """An event with all that pages show."""
    library = {
        "in_app": False,
        "module": "httpkit.core",
        "filename": "httpkit/core.py",
        "abs_path": "/lib/httpkit/core.py",
    }
    frames = [
        *(
            {**library, "function": f"call_{n}", "lineno": n, "context_line": f"return call_{n}(request)"}
            for n in range(1, 7)
        ),
        _frame(
            "shop/cart.py",
            "total",
            26,
            "    return sum(line.price for line in lines)",
            {"lines": "[<Line 1>, <Line 2>]"},
        ),
        {**library, "function": "reduce", "lineno": 3},
        _frame(
            "shop/price.py",
            "price_of",
            70,
            "    return int('abc-%s' % ref)",
            {"ref": "'ref-84'", "qty": "2", "password": "[Filtered]"},
        ),
    ]
    cause = [_frame("shop/refs.py", "find", 12, "    return refs[ref]", {"ref": "'ref-84'"})]
    return {
        "event_id": uuid.uuid4().hex, "platform": "python", "level": "error", "timestamp": at.isoformat(),
        "environment": ("production", "staging")[number % 2], "release": f"shop@1.4.{number % 3}", "server_name": "web-1",
        "transaction": "/checkout", "tags": {"browser": f"Firefox {number % 3}", "tier": "gold"},
        "exception": {"values": [
            {"type": "KeyError", "value": "'ref'", "module": "builtins", "stacktrace": {"frames": cause},
             "mechanism": {"type": "chained", "handled": False, "exception_id": 1, "parent_id": 0, "source": "__cause__"}},
            {"type": "ValueError", "value": "invalid literal for int(): 'abc'", "stacktrace": {"frames": frames},
             "mechanism": {"type": "wsgi", "handled": False, "exception_id": 0}},
        ]},
        "breadcrumbs": {"values": [
            {"timestamp": (at - timedelta(seconds=3)).isoformat(), "category": "query", "message": "SELECT * FROM carts", "type": "default"},
            {"timestamp": (at - timedelta(seconds=1)).isoformat(), "category": "http", "type": "http", "level": "warning",
             "data": {"method": "GET", "url": "https://partner.example/refs", "status_code": 404}},
        ]},
        "request": {"url": "https://shop.example/checkout", "method": "POST", "query_string": "step=2", "headers": {"X-Cart": "12"},
                    "data": {"amount": 3}},
        "user": {"id": str(number), "email": f"user{number}@example.org"},
        "contexts": {"runtime": {"name": "CPython", "version": "3.12.1"}, "trace": {"trace_id": "c" * 32, "span_id": "d" * 16}},
        "extra": {"attempt": 3, "note": "x" * 300}, "modules": {"httpkit": "2.1.0"},
        "_meta": {"extra": {"note": {"": {"len": 10_000}}}},
        **fields,
    }  # fmt: skip


def _frame(file: str, function: str, line: int, code: str, values: dict[str, str]) -> dict[str, Any]:
    return {
        "filename": file, "abs_path": f"/srv/{file}", "module": file.removesuffix(".py").replace("/", "."), "function": function,
        "lineno": line, "in_app": True, "pre_context": ["def before():", "    pass"], "context_line": code, "post_context": ["# after"],
        "vars": values,
    }  # fmt: skip


def _around(event_id: str) -> list[Any]:
    report = {
        "event_id": event_id,
        "name": "Jo",
        "email": "jo@example.org",
        "comments": "The pay button does nothing",
    }
    attached = {
        "filename": "order.json",
        "content_type": "application/json",
        "attachment_type": "event.attachment",
    }
    return [item("attachment", b'{"order": 17}', **attached), item("user_report", report)]


def hostile_event(at: datetime) -> dict[str, Any]:
    """An event whose every text would do something, if anything let it."""
    hostile = POLYGLOT
    frame = {
        "function": hostile, "module": hostile, "filename": hostile, "abs_path": hostile, "context_line": hostile, "pre_context": [hostile],
        "post_context": [hostile], "in_app": True, "lineno": 1, "vars": {hostile: hostile, "deep": {"a": [hostile, {hostile: hostile}]}},
    }  # fmt: skip
    return {
        "event_id": HOSTILE, "platform": "python", "level": "fatal", "timestamp": at.isoformat(), "transaction": hostile,
        "server_name": hostile, "logger": hostile, "release": "shop@6.6.6", "environment": "<b>x</b>", "tags": {"evil": hostile},
        "fingerprint": ["hostile"],
        "exception": {"values": [{"type": f"Evil{hostile}", "value": hostile, "module": hostile, "stacktrace": {"frames": [frame] * 60},
                                  "mechanism": {"type": hostile, "description": hostile, "help_link": "javascript:alert(1)"}}]},
        "breadcrumbs": {"values": [{"category": hostile, "message": hostile, "data": {hostile: hostile}, "type": hostile, "level": hostile}]},
        "request": {"url": "javascript:alert(document.domain)", "method": hostile, "headers": {hostile: hostile}, "data": hostile,
                    "query_string": hostile},
        "user": {"id": hostile, "email": hostile, "username": hostile},
        "contexts": {hostile: {hostile: hostile}, "runtime": {"name": hostile, "version": hostile}},
        "extra": {hostile: {"x": [hostile]}}, "modules": {hostile: hostile}, "sdk": {"name": hostile, "version": hostile},
    }  # fmt: skip


class Reader:
    """Somebody who looks at pages without a script."""

    def __init__(self, served: Served, *, follow: bool = True) -> None:
        self._served, self._follow = served, follow

    def get(self, path: str, params: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        """A page."""
        return self._ask("GET", path, params=params, headers=headers)

    def post(self, path: str, data: dict[str, Any], **headers: str) -> httpx.Response:
        """Where a form leads."""
        return self._ask("POST", path, data=data, headers=headers)

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._served)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9080") as client:
                return await client.request(method, path, follow_redirects=self._follow, **more)

        return asyncio.run(ask())

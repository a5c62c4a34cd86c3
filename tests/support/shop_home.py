"""A home like that of a small shop: groups of each kind, members, alerts, messages, monitors, uploads. For what people read of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from click.testing import CliRunner
from sqlalchemy import insert, select, update

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.links.comments import add_comment
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.releases.adoption import tell_stages
from tasks_pipeline.releases.commits import set_commits
from tasks_pipeline.releases.deploys import add_deploy
from tasks_pipeline.releases.known import save_release
from tasks_pipeline.releases.sent_commits import SentCommit
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.stores import Stores, open_stores
from tests.support.events import event, item, receipt
from tests.support.health_rows import Seen, write_health
from tests.support.outside import http_receiver

EVENT_ID = "3f0e9c1f5ee54be1a4dfae3b2c9a1f07"  # of SHOP-2
OTHER_ID = "866fadbb786d476b9861ca8f6925eb78"  # of SHOP-1
COMMIT = "8097195d3c2b4f7a9e1c5d6b8a0f2e4d6c8b0a1f"
LONG = (
    "a title that goes on and on, as those of database drivers do: connection to db-replica-2:5432 refused, "
    * 2
)
WIDE = "日本語のエラーメッセージ " * 12
NUMBERS = {"Timeout": 1, "PaymentError": 2, "Wide": 3, "Known": 7, "Refused": 43}
"""Short ids in base 32: the last one is SHOP-1B. SHOP-4 and SHOP-5 are alike, SHOP-1C is of a monitor."""
CONFIG = """\
projects:
  - {{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}
  - {{id: 2, slug: a-shop-with-quite-a-long-name, keys: [{{public_key: efghij}}]}}
channels:
  - {{name: slack, type: webhook, url: '{url}/good'}}
  - {{name: dead, type: webhook, url: '{url}/dead'}}
members:
  - {{email: anna@acme.example, name: Anna, timezone: Europe/Berlin, notifications: {{channel: slack}}}}
  - {{email: ben@acme.example, name: Ben, notifications: {{delivery: digest, channel: slack}}}}
  - {{email: you@acme.example, notifications: {{channel: slack, quiet_hours: {{start: "22:00", end: "06:00"}}}}}}
analytics: {{custom: true}}
retention: {{archive_url: '{archive}'}}
teams: [{{slug: payments, members: [anna@acme.example, ben@acme.example]}}]
integrations:
  - {{name: hub, type: github, url: '{url}', token: '${{env:PATH}}', allow_insecure: true, allow_private: true}}
trackers:
  - {{name: shop-issues, integration: hub, repository: acme/shop, projects: [shop]}}
  - {{name: everything-else, integration: hub, repository: acme/a-repository-with-quite-a-long-name}}
alert_rules:
  - {{name: new errors, when: [new_group, regression, monitor], notify: [assignee, members, 'channel:dead']}}
  - {{name: everything, when: [new_group, monitor], notify: ['channel:slack']}}
"""


@contextmanager
def shop_home(home: Home) -> Iterator[Home]:
    """Fill a home; the channels' far side answers while the block runs."""
    with http_receiver() as http:
        http.answer = lambda posted, _before: (403 if posted.path == "/dead" else 200, {}, b"no " * 100)
        home.config_path.write_text(CONFIG.format(url=http.url, archive=home.root.with_name("archive")))
        with open_stores(home) as stores:
            _fill(stores, datetime.now(UTC) - timedelta(days=1))
        for words in (
            ["notifications", "send"],
            ["groups", "merge-similar"],
            ["token", "create", "--name", "ci"],
        ):
            assert CliRunner().invoke(main, ["--home", str(home.root), *words]).exit_code == 0
        yield home


def _fill(stores: Stores, at: datetime) -> None:
    envelopes = [
        event("Timeout", event_id=OTHER_ID, exception=_exception("Timeout", LONG), timestamp=at.isoformat()),
        _payment(at),
        event("Wide", exception=_exception("Wide", WIDE), timestamp=at.isoformat()),
        _cart("total", at), _cart("grand_total", at),
        *(event("Known", timestamp=at.isoformat(), user={"email": "anna@acme.example"}) for _ in range(3)),
        event("Refused", timestamp=at.isoformat(), environment="staging"),
        item("log", {"items": []}),
        item("check_in", {"monitor_slug": "nightly", "status": "error", "environment": "production",
                          "monitor_config": {"schedule": {"type": "crontab", "value": "0 3 * * *"}}}),
    ]  # fmt: skip
    writer = stores.spool.writer()
    writer.append([receipt(at, 1, content) for content in envelopes])
    writer.append([receipt(at, 2, event("Other", timestamp=at.isoformat()))])
    writer.close()
    drain(stores, at.date(), linger_seconds=0)
    fill_health(stores, at)
    for version in ("shop@2.0.0", "shop@999.9.9", f"shop-with-a-long-name@1.0.0+{'0123456789' * 8}"):
        save_release(stores.state, [1], version, {})
    finished = {
        "environment": "production",
        "name": LONG[:64],
        "started_at": at,
        "finished_at": at + timedelta(minutes=3),
    }
    add_deploy(stores.state, [1], "shop@2.0.0", {**finished, "url": f"https://ci.example/{'x' * 200}"})
    sent = [
        SentCommit(
            f"{n}" * 40,
            "acme/shop",
            text,
            "Anna Example",
            "anna@acme.example",
            at,
            (("shop/orders.py", "M"),),
        )
        for n, text in enumerate((LONG, WIDE, "orders: wait longer\n\nFixes SHOP-1"))
    ]
    with stores.state.write() as connection:
        set_commits(stores.state, connection, "shop@2.0.0", sent)
    _link(stores, at)
    with stores.state.write() as connection:
        names = {row.title.partition(":")[0]: row.id for row in connection.execute(select(t.groups))}
        for offset in (1000, 0):  # over numbers that nobody has
            for title, number in NUMBERS.items():
                renamed = update(t.groups).where(t.groups.c.id == names[title])
                connection.execute(renamed.values(short_id=offset + number))
            others = update(t.groups).where(t.groups.c.title.startswith("Cron job"))
            connection.execute(others.values(short_id=offset + 44))
        connection.execute(insert(t.debug_files), [_debug_file(at)])
        connection.execute(
            insert(t.commits), [{"sha": COMMIT, "message": "Count the cart", "created_at": at}]
        )


def _link(stores: Stores, at: datetime) -> None:
    """Issues of two groups: one that is there, and one of a tracker that has another name by now; and a comment."""
    with stores.state.write() as connection:
        names = {row.title.partition(":")[0]: row.id for row in connection.execute(select(t.groups))}
        for number, (title, tracker) in enumerate(
            (("PaymentError", "shop-issues"), ("Known", "former-issues")), 12
        ):
            connection.execute(
                insert(t.issue_links).values(
                    project_id=1, group_id=names[title], integration="hub", tracker=tracker, external_id=f"1#{number}",
                    shown_key=f"acme/shop#{number}", url=f"https://github.com/acme/shop/issues/{number}", title=LONG,
                    state="linked", origin="linked", marker=str(number), agreed_state="open", theirs={"state": "open"},
                    turns=[], created_at=at, error=LONG,
                )
            )  # fmt: skip
    add_comment(stores.state, names["PaymentError"], "anna@acme.example", "The bank says it is their fault")


def fill_health(stores: Stores, at: datetime) -> None:
    """Sessions of releases on a day and half a day later, and the stages that they tell."""
    long_name = f"shop-with-a-long-name@1.0.0+{'0123456789' * 8}"
    write_health(
        stores.state,
        stores.lake,
        [
            Seen(at + later, version, environment, state=state, user=user, seconds=seconds, sessions=sessions)
            for later in (timedelta(), timedelta(hours=12))
            for version, environment, state, user, seconds, sessions in (
                ("shop@2.0.0", "production", "healthy", 1, 12.5, 1_234_567),
                ("shop@2.0.0", "production", "crashed", 2, None, 7),
                ("shop@2.0.0", "", "errored", 3, 0.25, 2),
                ("shop@1.4.2", "staging", "abnormal", 4, None, 11),
                (long_name, "production", "healthy", 1, 7200, 1),
            )
        ],
    )
    tell_stages(stores.state, stores.lake, datetime.now(UTC))


def _exception(kind: str, value: str) -> dict[str, Any]:
    frame = {"function": f"do_{kind}", "module": "shop.orders", "filename": "shop/orders.py", "in_app": True}
    return {"values": [{"type": kind, "value": value, "stacktrace": {"frames": [frame]}}]}


def _cart(last: str, at: datetime) -> dict[str, Any]:
    """An event of twelve frames in app, the last of which is named."""
    made = event("CartError", timestamp=at.isoformat())
    (frame,) = made["exception"]["values"][0]["stacktrace"]["frames"]
    frames = [frame | {"function": f"step_{n}"} for n in range(11)]
    made["exception"]["values"][0]["stacktrace"]["frames"] = [*frames, frame | {"function": last}]
    return made


def _payment(at: datetime) -> dict[str, Any]:
    """An event of a minified script without its source map, with everything around it."""
    frame = {
        "function": "d", "filename": "https://shop.example/server.js", "abs_path": "https://shop.example/server.js",
        "lineno": 3, "colno": 8123, "in_app": True, "vars": {"cart": [], "total": "0"},
    }  # fmt: skip
    made = event("PaymentError", event_id=EVENT_ID, platform="javascript", timestamp=at.isoformat())
    made["exception"]["values"][0] |= {"value": "card declined", "stacktrace": {"frames": [frame]}}
    trace = {"trace_id": "c" * 32, "span_id": "d" * 16}
    return made | {
        "release": "shop@1.4.2", "environment": "production", "user": {"id": "7", "email": "anna@acme.example"},
        "request": {"url": "https://shop.example/pay?u=77", "method": "POST", "headers": {"X-Cart": "12"}},
        "contexts": {"runtime": {"name": "node", "version": "22.1"}, "trace": trace},
        "extra": {"attempt": 3},
    }  # fmt: skip


def _debug_file(at: datetime) -> dict[str, Any]:
    return {
        "project_id": 1, "sha1": "0" * 40, "debug_id": str(uuid.UUID(int=7)), "kind": "elf", "object_kind": "dbg", "arch": "x86_64",
        "features": ["symtab", "debug", "unwind"], "name": "/srv/shop/native/a-library-with-quite-a-long-name.so.debug",
        "digest": "0" * 64, "size": 1_234_567, "created_at": at,
    }  # fmt: skip

"""`dsn` and `send-test-event`: what a person needs to connect a client and to see that it works."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import click

from tasks_pipeline import __version__
from tasks_pipeline.commands.common.output import current_home, user_errors
from tasks_pipeline.commands.common.queries import project_number
from tasks_pipeline.config.written import UNSET
from tasks_pipeline.home import Home
from tasks_pipeline.home import dsn as make_dsn
from tasks_pipeline.texts import printable

_CLIENT = f"tasks-pipeline/{__version__}"


@click.command()
@click.argument("project", required=False)
@click.pass_context
def dsn(ctx: click.Context, project: str | None) -> None:
    """Print the DSN of PROJECT (its slug or number; the first one without), and nothing else.

    The address is that of the running service; when none runs, the configured one.

    \b
    Example:
      export SENTRY_DSN=$(tasks-pipeline dsn)
    Prints:
      http://5f2c…@127.0.0.1:9000/1
    """
    with user_errors(OSError):
        click.echo(find_dsn(current_home(ctx, create=True), project))


@click.command()
@click.option("--dsn", "dsn_text", metavar="DSN", help="Where to send.  [default: the first project's DSN]")
@click.option("--message", default="This is a test event", show_default=True, help="The exception's message.")
@click.pass_context
def send_test_event(ctx: click.Context, dsn_text: str | None, message: str) -> None:
    """Send one realistic error event, as an SDK would, and print its id.

    Exits 1 with the reason when it is not accepted. Events with the same message come from the same place, so they
    end in the same group.

    \b
    Example:
      tasks-pipeline send-test-event --message "card declined"
    """
    import httpx

    from tasks_pipeline.protocol.auth import AuthError, parse_dsn

    with user_errors(OSError):
        text = dsn_text or find_dsn(current_home(ctx, create=True), None)
    try:
        target = parse_dsn(text)
    except AuthError as error:
        raise click.BadParameter(error.reason, param_hint="--dsn") from error
    event = example_event(message)
    try:
        answer = httpx.post(
            f"{target.base_url}/api/{target.project_id}/envelope/",
            content=envelope_of(event, text),
            headers={
                "Content-Type": "application/x-sentry-envelope",
                "X-Sentry-Auth": f"Sentry sentry_version=7, sentry_client={_CLIENT}, sentry_key={target.public_key}",
            },
            timeout=10,
        )
    except httpx.HTTPError as error:
        raise click.ClickException(
            f"{target.base_url} does not answer: {error}. Does `tasks-pipeline run` run?"
        ) from error
    if answer.status_code != 200:
        raise click.ClickException(f"not accepted: HTTP {answer.status_code}: {printable(answer.text[:300])}")
    click.echo(event["event_id"])
    click.echo(f"accepted; look at it with `tasks-pipeline events show {event['event_id']}`", err=True)


def find_dsn(home: Home, project: str | None) -> str:
    """The DSN of a project named by slug or number, or of the first one. Raises ClickException when there is none."""
    from tasks_pipeline.service.running import running_service

    config = home.config_to_look().config
    number = project_number({p.id: p.slug for p in config.projects}, project)
    found = next(p for p in config.projects if number in (None, p.id))
    key = next((k for k in found.keys if k.enabled), None)
    if key is None:
        raise click.ClickException(f"project {found.slug} has no enabled key")
    receiver, service = config.receiver, running_service(home)
    url = (
        service.receiver_url if service else receiver.public_url or f"http://{receiver.host}:{receiver.port}"
    )
    made = make_dsn(url, found, key)
    if UNSET in made:
        raise click.ClickException(
            f"the DSN of {found.slug} comes from variables that are not set in this environment: {made}"
        )
    return made


def example_event(message: str) -> dict[str, Any]:
    """An error event as an SDK sends it: an exception with its stack trace, breadcrumbs, tags, user and request."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "event_id": uuid4().hex,
        "timestamp": now,
        "platform": "python",
        "level": "error",
        "logger": "shop.checkout",
        "transaction": "/checkout/pay",
        "server_name": "test-event",
        "environment": "test",
        "release": f"tasks-pipeline-test@{__version__}",
        "sdk": {"name": "tasks-pipeline.test", "version": __version__},
        "tags": {"test": "yes", "payment.provider": "example"},
        "user": {"id": "42", "username": "test"},
        "request": {"url": "https://shop.example/checkout/pay", "method": "POST"},
        "contexts": {
            "runtime": {"name": platform.python_implementation(), "version": platform.python_version()}
        },
        "breadcrumbs": {
            "values": [
                {"timestamp": now, "category": "cart", "level": "info", "message": "3 articles in the cart"}
            ]
        },
        "exception": {
            "values": [
                {
                    "type": "PaymentError",
                    "value": message,
                    "module": "shop.payment",
                    "mechanism": {"type": "generic", "handled": False},
                    "stacktrace": {"frames": _FRAMES},
                }
            ]
        },
    }


_FRAMES = [
    {
        "filename": "shop/web.py",
        "module": "shop.web",
        "function": "dispatch",
        "lineno": 88,
        "in_app": True,
        "pre_context": ["def dispatch(request):", "    view = route(request.path)"],
        "context_line": "    return view(request)",
    },
    {
        "filename": "shop/checkout.py",
        "module": "shop.checkout",
        "function": "pay",
        "lineno": 41,
        "in_app": True,
        "context_line": "    receipt = charge(cart.total, card)",
    },
    {
        "filename": "shop/payment.py",
        "module": "shop.payment",
        "function": "charge",
        "lineno": 17,
        "in_app": True,
        "context_line": "        raise PaymentError(answer.reason)",
        "vars": {"amount": "4200", "currency": "'EUR'"},
    },
]


def envelope_of(event: dict[str, Any], dsn_text: str) -> bytes:
    """An envelope with one event item."""
    import msgspec

    payload = msgspec.json.encode(event)
    headers = {"event_id": event["event_id"], "sent_at": event["timestamp"], "dsn": dsn_text}
    item = {"type": "event", "content_type": "application/json", "length": len(payload)}
    return b"\n".join((msgspec.json.encode(headers), msgspec.json.encode(item), payload, b""))

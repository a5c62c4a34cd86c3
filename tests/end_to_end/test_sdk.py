"""The real Python SDK against a running service: what it sent is found as people look for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.end_to_end.conftest import Installation

CLIENT = Path(__file__).with_name("shop_client.py")


@pytest.fixture(scope="module")
def sent(installation: Installation) -> list[str]:
    """Ids of the error and the message of one run of the client."""
    environment = {**os.environ, "SENTRY_DSN": installation.cli("dsn").strip()}
    done = subprocess.run(
        [sys.executable, str(CLIENT), "marker-1"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    installation.wait_until_processed()
    return done.stdout.split()


def test_the_error_is_a_group_with_its_event(installation: Installation, sent: list[str]) -> None:
    event = installation.json("events", "show", sent[0])
    assert event["event_id"] == sent[0]
    assert event["exception"]["values"][-1]["type"] == "ZeroDivisionError"
    assert event["tags"]["marker"] == "marker-1"
    assert event["user"]["email"] == "jo@example.com"
    (group,) = [g for g in installation.json("groups", "list") if g["title"].startswith("ZeroDivisionError")]
    assert (group["level"], group["status"], group["project"]) == ("error", "unresolved", "shop")
    assert group["culprit"].endswith("in average_price")
    shown = installation.json("groups", "show", group["short_id"])
    assert sent[0] in [e["event_id"] for e in shown["events"]]


def test_the_message_is_a_group_of_its_own(installation: Installation, sent: list[str]) -> None:
    titles = [g["title"] for g in installation.json("groups", "list")]
    assert "nightly import marker-1 finished" in titles
    rows = installation.json(
        "sql", f"SELECT level, environment, release FROM events WHERE event_id = '{sent[1]}'"
    )
    assert rows == [{"level": "info", "environment": "staging", "release": "shop@1.2.3"}]


def test_one_address_serves_sdks_people_and_clients(installation: Installation, sent: list[str]) -> None:
    token = installation.cli("token", "create", "--scope", "all").strip()
    with httpx.Client(base_url=installation.service.receiver_url, timeout=60) as client:
        headers = {"authorization": f"Bearer {token}"}
        found = client.get(
            "/api/0/projects/acme/shop/issues/?query=ZeroDivisionError", headers=headers
        ).json()
        (issue,) = [each for each in found if each["title"].startswith("ZeroDivisionError")]
        event = client.get(f"/api/0/issues/{issue['id']}/events/{sent[0]}/", headers=headers).json()
        assert event["user"]["email"] == "jo@example.com"
        page = client.get(issue["permalink"], follow_redirects=True)
        assert page.status_code == 200
        assert "ZeroDivisionError" in page.text


def test_the_books_balance(installation: Installation, sent: list[str]) -> None:
    status = installation.wait_until_processed()
    kept = sum(
        status[name] for name in ("stored", "duplicate", "filtered", "discarded", "invalid", "waiting")
    )
    assert status["accepted"] == kept

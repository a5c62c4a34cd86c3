"""The Web API beside uploads: who may ask, what there is, releases and deploys, and what is not there."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from tasks_pipeline.access import tokens
from tasks_pipeline.home import Home
from tasks_pipeline.releases import known as releases
from tasks_pipeline.releases import pages
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web.app import create_web
from tests.support.receiver import configure, serving

API = "/api/0"
RELEASES = f"{API}/organizations/acme/releases/"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def state(any_home: Home) -> Iterator[StateDatabase]:
    state = StateDatabase(any_home)
    yield state
    state.close()


@pytest.fixture
def client(any_home: Home, state: StateDatabase) -> Iterator[httpx.Client]:
    """A client with a token that may do everything, of an installation with the projects shop and other."""
    configure(any_home)
    _, token = tokens.create_token(state, "http://test", "acme", "ci", tokens.SCOPES)
    headers = {"authorization": f"Bearer {token}"}
    with (
        serving(create_web(any_home)) as url,
        httpx.Client(base_url=url, timeout=120, headers=headers) as client,
    ):
        yield client


def test_a_token_tells_clients_where_to_go(state: StateDatabase) -> None:
    _, token = tokens.create_token(state, "https://errors.example.com", "acme", "ci", tokens.SCOPES)
    prefix, payload, secret = token.split("_")
    assert prefix == "sntrys"
    facts = json.loads(base64.b64decode(payload, validate=True))
    assert facts.pop("iat") == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
    url = "https://errors.example.com"
    assert facts == {"url": url, "region_url": url, "org": "acme"}
    assert len(base64.b64decode(secret + "=")) == 32
    assert token not in json.dumps(tokens.list_tokens(state), default=str)


def test_only_tokens_in_force_are_let_in(client: httpx.Client, state: StateDatabase) -> None:
    number, token = tokens.create_token(state, "http://test", "acme", "other", tokens.SCOPES)
    path = f"{API}/organizations/"
    bad = [
        "",
        "Bearer",
        f"Basic {token}",
        f"Bearer {token}x",
        f"Bearer {token[:-1]}",
        f"Bearer {'a' * 9999}",
    ]
    for header in bad:
        answer = client.get(path, headers={"authorization": header})
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/json"), header
        assert "the token is not valid" in answer.json()["detail"]
    assert client.get(path, headers={"authorization": f"bearer {token}"}).status_code == 200
    assert tokens.revoke_token(state, number)
    assert client.get(path, headers={"authorization": f"Bearer {token}"}).status_code == 401
    assert not tokens.revoke_token(state, 12345)


def test_the_use_of_a_token_is_noted(client: httpx.Client, state: StateDatabase) -> None:
    (before,) = tokens.list_tokens(state)
    client.get(f"{API}/")
    (after,) = tokens.list_tokens(state)
    assert before["last_used_at"] is None
    assert datetime.now(UTC) - after["last_used_at"] < timedelta(minutes=1)
    assert set(after) == {
        "id",
        "name",
        "hint",
        "scopes",
        "member",
        "created_at",
        "last_used_at",
        "revoked_at",
    }


def test_a_token_may_only_do_what_its_scopes_say(client: httpx.Client, state: StateDatabase) -> None:
    _, token = tokens.create_token(state, "http://test", "acme", "reader", ["project:read"])
    client.headers["authorization"] = f"Bearer {token}"
    assert client.get(f"{API}/").json()["auth"] == {"scopes": ["project:read"]}
    assert client.get(RELEASES).status_code == 200
    for method, path in (("POST", RELEASES), ("GET", f"{API}/organizations/acme/chunk-upload/")):
        answer = client.request(method, path)
        assert answer.status_code == 403
        assert answer.json() == {"detail": "the token lacks the scope project:releases"}
    assert client.get(f"{API}/organizations/").status_code == 403


def test_what_there_is(client: httpx.Client) -> None:
    (organization,) = client.get(f"{API}/organizations/?cursor=").json()
    assert (organization["id"], organization["slug"], organization["name"]) == ("1", "acme", "Acme")
    projects = client.get(f"{API}/organizations/acme/projects/?cursor=").json()
    assert [(p["id"], p["slug"], p["team"]["id"]) for p in projects] == [
        ("1", "shop", "1"),
        ("2", "other", "1"),
    ]
    assert client.get(f"{API}/organizations/acme/repos/?cursor=").json() == []
    options = client.get(f"{API}/organizations/acme/chunk-upload/").json()
    assert options["url"] == "/organizations/acme/chunk-upload/"
    assert options["maxRequestSize"] >= options["chunkSize"]
    assert options["hashAlgorithm"] == "sha1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/users/me/regions/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/organizations/other/projects/", 404),
        ("GET", "/organizations/%2e%2e/projects/", 404),
        ("GET", "/projects/acme/nope/releases/", 404),
        ("GET", "/organizations/acme/releases/nope/", 404),
        ("PUT", "/organizations/acme/releases/nope/", 400),
        ("DELETE", "/organizations/acme/releases/nope/", 404),
        ("GET", "/organizations/acme/releases/nope/previous-with-commits/", 404),
        ("DELETE", "/organizations/acme/releases/a%00b/", 404),
        ("GET", "/organizations/acme/releases/a%00b/previous-with-commits/", 404),
        ("POST", "/organizations/acme/releases/a%00b/deploys/", 404),
        ("POST", "/organizations/", 405),
        ("DELETE", "/", 405),
    ],
)
def test_what_is_not_there_says_so_in_json(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, f"{API}{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["detail"]


def test_a_slash_at_the_end_may_be_left_out(client: httpx.Client) -> None:
    assert client.get(f"{API}").json() == client.get(f"{API}/").json()
    assert client.get(f"{API}/organizations").status_code == 200


@pytest.mark.parametrize(
    "version", ["1.0", "shop-web@1.0+2", "feature/login", "a/deploys", "ü 1", "100%", "x?y#z", "v" * 200]
)
def test_a_release_from_creation_to_deletion(client: httpx.Client, version: str) -> None:
    started = {"version": version, "projects": ["shop", 2], "dateStarted": "2026-11-22T12:11:49.653065012Z"}
    created = client.post(RELEASES, json=started)
    assert created.status_code == 201
    assert [p["slug"] for p in created.json()["projects"]] == ["shop", "other"]
    assert client.post(RELEASES, json={"version": version, "projects": ["shop"]}).status_code == 208
    path = f"{RELEASES}{_quoted(version)}/"
    changed = client.put(
        path, json={"projects": ["shop"], "dateReleased": "2026-11-23T00:00:00", "url": "https://ci"}
    )
    assert changed.status_code == 200
    shown = client.get(path).json()
    assert (shown["version"], shown["url"]) == (version, "https://ci")
    assert shown["dateStarted"] == "2026-11-22T12:11:49.653065Z"
    assert shown["dateReleased"] == "2026-11-23T00:00:00Z"
    assert [r["version"] for r in client.get(RELEASES).json()] == [version]
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404


def _quoted(version: str) -> str:
    """Percent-encoded as sentry-cli does it: `/` and `+`, too."""
    return quote(version, safe="@")


def test_a_release_of_one_project_is_none_of_the_other(client: httpx.Client) -> None:
    shop, other = f"{API}/projects/acme/shop/releases/", f"{API}/projects/acme/other/releases/"
    assert client.post(shop, json={"version": "1.0"}).status_code == 201
    assert client.get(f"{other}1.0/").status_code == 404
    assert client.post(other, json={"version": "1.0", "projects": ["shop"]}).status_code == 201
    assert client.delete(f"{shop}1.0/").status_code == 204
    assert [p["slug"] for p in client.get(f"{RELEASES}1.0/").json()["projects"]] == ["other"]


def test_deploys(client: httpx.Client) -> None:
    client.post(RELEASES, json={"version": "1.0", "projects": ["shop", "other"]})
    path = f"{RELEASES}1.0/deploys/"
    blue = {
        "environment": "production",
        "name": "blue",
        "url": None,
        "dateStarted": None,
        "dateFinished": None,
    }
    assert client.post(path, json=blue).status_code == 201
    assert client.post(path, json={"environment": "staging", "projects": ["other"]}).status_code == 201
    assert [(d["environment"], d["name"]) for d in client.get(path).json()] == [
        ("staging", None),
        ("production", "blue"),
    ]
    one = client.get(f"{API}/projects/acme/shop/releases/1.0/deploys/").json()
    assert [d["environment"] for d in one] == ["production"]
    assert client.post(f"{RELEASES}2.0/deploys/", json=blue).status_code == 404
    assert client.post(path, json={"environment": ""}).status_code == 400
    assert client.post(path, json={"environment": "x" * 65}).status_code == 400


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"projects": ["shop"]}, "version"),
        ({"version": "", "projects": ["shop"]}, "version"),
        ({"version": "..", "projects": ["shop"]}, "version"),
        ({"version": "a\nb", "projects": ["shop"]}, "version"),
        ({"version": "LATEST", "projects": ["shop"]}, "newest release"),
        ({"version": "v" * 201, "projects": ["shop"]}, "longer than 200"),
        ({"version": 1, "projects": ["shop"]}, "version"),
        ({"version": "1.0", "projects": []}, "name at least one"),
        ({"version": "1.0", "projects": "shop"}, "projects"),
        ({"version": "1.0", "projects": ["shop"], "dateReleased": "yesterday"}, "dateReleased"),
        (
            {"version": "1.0", "projects": ["shop"], "commits": [{"message": "a"}]},
            "commits[0].id: missing",
        ),
        ({"version": "1.0", "projects": ["shop"], "status": "hidden"}, "allowed are open and archived"),
        ([], "not as expected"),
    ],
)
def test_releases_that_cannot_be_made(client: httpx.Client, body: Any, detail: str) -> None:
    answer = client.post(RELEASES, json=body)
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]
    assert client.get(RELEASES).json() == []


def test_an_archived_release_leaves_the_lists_and_comes_back(
    client: httpx.Client, state: StateDatabase
) -> None:
    for version in ("1.0", "1.1"):
        client.post(RELEASES, json={"version": version, "projects": ["shop", "other"]})

    def listed(**query: str) -> list[tuple[str, str]]:
        return [(r["version"], r["status"]) for r in client.get(RELEASES, params=query).json()]

    # as sentry-cli archives and restores
    assert (
        client.post(RELEASES, json={"version": "1.1", "projects": [], "status": "archived"}).status_code
        == 208
    )
    assert listed() == listed(status="open") == [("1.0", "open")]
    assert listed(status="archived") == [("1.1", "archived")]
    with state.write() as connection:
        releases.note_releases(state, connection, 1, {"1.1": releases.Heard(NOW, NOW, NOW)})
    assert client.get(f"{RELEASES}1.1/").json()["status"] == "archived"  # its events do not open it again
    assert client.put(f"{RELEASES}1.1/", json={"status": "open"}).json()["status"] == "open"
    assert listed(status="archived") == []
    assert client.get(RELEASES, params={"status": "hidden"}).status_code == 400


def test_the_list_is_in_the_order_of_dates(client: httpx.Client) -> None:
    for version in ("a", "b", "c"):
        client.post(RELEASES, json={"version": version, "projects": ["shop"]})
    client.put(f"{RELEASES}c/", json={"dateReleased": "2020-01-01T00:00:00Z"})
    assert [r["version"] for r in client.get(RELEASES).json()] == ["b", "a", "c"]
    sha = "085240e737828d8326719bf97730188e927e49ca"
    made = client.post(RELEASES, json={"version": f"shop@{sha}", "projects": ["shop"]}).json()
    assert made["shortVersion"] == sha[:12]


def test_a_long_list_has_pages(client: httpx.Client, state: StateDatabase) -> None:
    with state.write() as connection:
        seen = {f"1.{n}": releases.Heard(NOW, NOW, NOW) for n in range(250)}
        releases.note_releases(state, connection, 1, seen)
    found, path = [], f"{RELEASES}?cursor="
    for _ in range(3):
        answer = client.get(path)
        found += [release["version"] for release in answer.json()]
        assert set(answer.links) == {"previous", "next"}
        path = answer.links["next"]["url"]
    assert answer.links["next"]["results"] == "false"
    assert client.get(path).json() == [], "who goes on nevertheless comes to an end"
    assert len(found) == 250
    assert set(found) == set(seen)
    asked = client.get(RELEASES, params={"query": 'a b"&c', "cursor": "0:0:0"}).headers["link"]
    assert f"<{RELEASES}?query=a+b%22%26c&cursor=" in asked
    assert 'rel="next"; results="false"' in asked
    for nonsense in ("x", "0:-5:0", "0:99999999999999999999:0", "::"):
        assert client.get(RELEASES, params={"cursor": nonsense}).status_code == 200


def test_releases_of_events(state: StateDatabase) -> None:
    hour = timedelta(hours=1)

    def note(versions: dict[str, tuple[datetime, datetime]]) -> None:
        with state.write() as connection:
            heard = {version: releases.Heard(NOW, *times) for version, times in versions.items()}
            releases.note_releases(state, connection, 1, heard)

    releases.save_release(state, [1], "made", {"url": "https://ci"})
    note({"seen": (NOW, NOW + hour), "made": (NOW, NOW), "": (NOW, NOW), "v" * 201: (NOW, NOW)})
    note({"seen": (NOW + hour, NOW + 2 * hour)})
    note({"seen": (NOW - hour, NOW - hour)})
    note({})
    with state.read() as connection:
        (seen,) = releases.find_releases(connection, [1], "seen")
        (made,) = releases.find_releases(connection, [1], "made")
        found = releases.list_releases(connection, [1], limit=10)
        assert sorted(row["version"] for row in found) == ["made", "seen"]
    assert (seen["first_event_at"], seen["last_event_at"]) == (NOW - hour, NOW + 2 * hour)
    assert (made["first_event_at"], made["url"]) == (NOW, "https://ci")


def test_a_body_that_is_too_large_is_refused(client: httpx.Client) -> None:
    answer = client.post(RELEASES, content=b" " * (17 * 1024 * 1024))
    assert answer.status_code == 413
    assert client.get(f"{API}/").status_code == 200


def test_a_database_that_fails_is_no_fault_of_the_client(client: httpx.Client) -> None:
    with patch.object(pages, "by_date", side_effect=OperationalError("select", {}, Exception("gone"))):
        answer = client.get(RELEASES)
    assert (answer.status_code, answer.json()) == (503, {"detail": "storage failed; try again"})
    with patch.object(pages, "by_date", side_effect=ZeroDivisionError):
        assert client.get(RELEASES).json() == {"detail": "internal error"}


def test_without_its_database_it_goes_on(tmp_path: Path) -> None:
    home = Home(tmp_path)
    configure(home)
    (tmp_path / "state.sqlite").write_bytes(b"this is no database" * 100)
    with serving(create_web(home)) as url, httpx.Client(base_url=url, timeout=120) as client:
        answer = client.get(f"{API}/")
        assert (answer.status_code, answer.json()) == (503, {"detail": "the database does not answer"})
        assert client.get("/health/ready").status_code == 503
        (tmp_path / "state.sqlite").unlink()
        assert client.get(f"{API}/").status_code == 401, "and it is opened once it can be"


def test_answers_are_counted(client: httpx.Client) -> None:
    client.get(f"{API}/")
    client.get(f"{API}/nothing/")
    page = client.get("/metrics").text
    for status in (200, 404):
        assert f'requests_total{{part="api",status="{status}"}} 1.0' in page

"""Commits, refs, repositories and deploys through the Web API: what clients send, and what the release is made of then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import Table, func, select, update

from tasks_pipeline.access import tokens
from tasks_pipeline.config import Config, parse_config
from tasks_pipeline.home import Home
from tasks_pipeline.releases.commit_lists import contents_of, list_commits
from tasks_pipeline.releases.commits import set_commits
from tasks_pipeline.releases.known import delete_release, save_release
from tasks_pipeline.releases.repositories import list_repositories, sync_repositories
from tasks_pipeline.releases.sent_commits import SentCommit
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web.app import create_web
from tests.support.receiver import configure, serving

API = "/api/0"
RELEASES = f"{API}/organizations/acme/releases/"
REPOS = f"{API}/organizations/acme/repos/"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
AUTHOR = {"author_name": "Jo Dev", "author_email": "Jo@Example.com"}


@pytest.fixture
def state(any_home: Home) -> Iterator[StateDatabase]:
    state = StateDatabase(any_home)
    yield state
    state.close()


@pytest.fixture
def client(any_home: Home, state: StateDatabase) -> Iterator[httpx.Client]:
    configure(any_home)
    with talking(any_home, state) as client:
        yield client


@contextmanager
def talking(any_home: Home, state: StateDatabase) -> Iterator[httpx.Client]:
    _, token = tokens.create_token(state, "http://test", "acme", "ci", tokens.SCOPES)
    headers = {"authorization": f"Bearer {token}"}
    with (
        serving(create_web(any_home)) as url,
        httpx.Client(base_url=url, timeout=120, headers=headers) as client,
    ):
        yield client


def commit(sha: str, **fields: Any) -> dict[str, Any]:
    """A commit as sentry-cli sends one."""
    return {"id": sha, "repository": "origin", "message": f"change {sha}\n", **AUTHOR, **fields}


def made(client: httpx.Client, version: str = "shop@1.0.0", *projects: str, **body: Any) -> dict[str, Any]:
    answer = client.post(RELEASES, json={"version": version, "projects": projects or ["shop"], **body})
    assert answer.status_code in (201, 208), answer.text
    return dict(answer.json())


def put(client: httpx.Client, version: str = "shop@1.0.0", **body: Any) -> httpx.Response:
    return client.put(f"{RELEASES}{quote(version, safe='@')}/", json=body)


def shas(state: StateDatabase, version: str = "shop@1.0.0") -> list[str]:
    with state.read() as connection:
        return [row["sha"] for row in list_commits(connection, version, limit=5000)]


def rows(state: StateDatabase, table: Table) -> int:
    with state.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def release(state: StateDatabase, version: str = "shop@1.0.0") -> Any:
    with state.read() as connection:
        return connection.execute(select(t.releases).where(t.releases.c.version == version)).first()


def test_commits_as_sentry_cli_sends_them(client: httpx.Client, state: StateDatabase) -> None:
    made(client)
    files = [{"path": "shop/cart.py", "type": "M"}, {"path": "old.py", "type": "D"}]
    sent = [
        commit(
            "c" * 40, patch_set=[{"path": "README.md", "type": "A"}], timestamp="2026-11-20T12:00:00+02:00"
        ),
        commit("b" * 40, patch_set=files, timestamp="2026-11-20T10:00:00Z"),
        commit("a" * 40, author_name="Ann", author_email=None, timestamp="2026-11-20T09:00:00Z"),
    ]
    changed = put(client, commits=sent)
    assert changed.status_code == 200
    told = changed.json()
    assert told["commitCount"] == 3
    assert (told["lastCommit"]["id"], told["lastCommit"]["dateCreated"]) == ("c" * 40, "2026-11-20T10:00:00Z")
    assert told["authors"] == [{"name": "Jo Dev", "email": "Jo@Example.com"}, {"name": "Ann", "email": None}]
    assert told["data"] == {}
    assert shas(state) == ["c" * 40, "b" * 40, "a" * 40]
    with state.read() as connection:
        assert contents_of(connection, "shop@1.0.0").files == 3
    row = release(state)
    assert (row.commit_count, row.update_due_at is not None) == (3, True)


def test_the_same_list_again_changes_nothing(client: httpx.Client, state: StateDatabase) -> None:
    made(client)
    sent = [
        commit("b", patch_set=[{"path": "x", "type": "A"}]),
        commit("a", timestamp="2026-11-20T09:00:00Z"),
    ]
    put(client, commits=sent)
    with state.write() as connection:
        connection.execute(update(t.releases).values(update_due_at=None))
    assert put(client, commits=sent).json()["commitCount"] == 2
    assert release(state).update_due_at is None
    assert put(client, commits=[]).json()["commitCount"] == 2, "an empty list leaves it as it is"
    assert put(client, commits=None, refs=None).json()["commitCount"] == 2
    assert put(client, commits=sent[1:]).json()["commitCount"] == 1, "another one replaces it"
    assert shas(state) == ["a"]
    assert release(state).update_due_at is not None
    assert put(client, refs=[]).json()["commitCount"] == 0
    assert (
        shas(state),
        rows(state, t.commits),
        rows(state, t.commit_files),
        rows(state, t.commit_authors),
    ) == ([], 0, 0, 0)


def test_a_commit_that_is_sent_again_is_updated(client: httpx.Client, state: StateDatabase) -> None:
    made(client)
    made(client, "shop@2.0.0")
    put(client, commits=[commit("a", patch_set=[{"path": "x", "type": "A"}, {"path": "y"}])])
    put(
        client,
        "shop@2.0.0",
        commits=[commit("b"), {"id": "a", "message": "better said", "author_name": "Jo"}],
    )
    with state.read() as connection:
        (row,) = list_commits(connection, "shop@1.0.0", limit=5)
        assert (row["message"], row["files"], row["email"]) == ("better said", 2, None)
        assert contents_of(connection, "shop@1.0.0").files == 2, "what was not said stays"
    put(client, "shop@2.0.0", commits=[commit("b"), commit("a", patch_set=[{"path": "z", "type": "?"}])])
    with state.read() as connection:
        assert [tuple(row) for row in connection.execute(select(t.commit_files))] == [("a", "z", "M")]


def test_the_order_of_commits(client: httpx.Client, state: StateDatabase) -> None:
    made(client)
    hours = {"a": 1, "b": 3, "c": None, "d": 3, "e": 2}
    sent = [
        commit(sha, timestamp=None if hour is None else f"2026-11-20T0{hour}:00:00Z")
        for sha, hour in hours.items()
    ]
    put(client, commits=[*sent, commit("a")])
    assert shas(state) == ["b", "d", "c", "e", "a"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([commit("a"), {"message": "x"}], "commits[1].id: missing"),
        ([{"id": None}], "commits[0].id: missing"),
        ([{"id": " "}], "commits[0].id: missing"),
        ([{"id": 7}], "commits[0].id: not a text"),
        ([{"id": "a" * 65}], "commits[0].id: longer than 64"),
        ([{"id": "a\nb"}], "commits[0].id"),
        (["a"], "commits[0]: not an object"),
        ([commit("a", repository="r" * 65)], "commits[0].repository: longer than 64"),
        ([commit("a", author_name="n" * 129)], "commits[0].author_name: longer than 128"),
        ([commit("a", author_email="n" * 201)], "commits[0].author_email: longer than 200"),
        ([commit("a", message=["x"])], "commits[0].message: not a text"),
        ([commit("a", timestamp="yesterday")], "commits[0].timestamp: 'yesterday' is no time"),
        ([commit("a", timestamp="0001-01-01T00:00:00+05:00")], "commits[0].timestamp"),
        ([commit("a", patch_set=[{"path": "p" * 511}])], "commits[0].patch_set[0].path: longer than 510"),
        ([commit("a", patch_set=[{"type": "A"}])], "commits[0].patch_set[0].path: missing"),
        ([commit("a", patch_set=[{"path": "p", "type": "added"}])], "commits[0].patch_set[0].type"),
        ([commit("a", patch_set="p")], "commits[0].patch_set: not a list"),
    ],
)  # fmt: skip
def test_commits_that_cannot_be_taken(
    client: httpx.Client, state: StateDatabase, sent: Any, said: str
) -> None:
    made(client)
    answer = put(client, commits=sent, url="https://ci")
    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert said in answer.json()["commits"][0]
    assert (shas(state), release(state).url) == ([], None), "all of it or nothing"


def test_bounds_of_a_release(client: httpx.Client, state: StateDatabase) -> None:
    made(client)
    many = [{"id": f"{n:040x}"} for n in range(2001)]
    assert put(client, commits=many).status_code == 413
    assert put(client, commits=many[:2000]).json()["commitCount"] == 2000
    paths = [{"path": f"p{n}"} for n in range(25_001)]
    assert (
        put(client, commits=[commit("a", patch_set=paths), commit("b", patch_set=paths)]).status_code == 413
    )
    assert len(shas(state)) == 2000


def test_hostile_texts_are_kept_as_texts(client: httpx.Client, state: StateDatabase) -> None:
    made(client)
    body = '{"commits": [{"id": "a", "message": "x\\u0000\\ud800<b>", "author_name": "\\u0000", "patch_set": [{"path": "\\u0000"}]}]}'
    answer = client.put(f"{RELEASES}shop@1.0.0/", content=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["lastCommit"]["message"] == "x\ufffd\ufffd<b>"


# ── refs and repositories


def test_refs_link_what_is_known_and_say_what_is_awaited(client: httpx.Client, state: StateDatabase) -> None:
    made(client)
    made(client, "shop@2.0.0")
    put(client, commits=[commit("b"), commit("a")])
    ref = {"repository": "acme/shop", "commit": "b", "previousCommit": "a"}
    linked = put(client, "shop@2.0.0", refs=[ref]).json()
    assert (linked["commitCount"], linked["data"]) == (1, {})
    waiting = put(client, "shop@2.0.0", refs=[{"repository": "acme/shop", "commit": "HEAD"}]).json()
    assert (waiting["commitCount"], waiting["data"]) == (1, {"commits_pending": True})
    assert put(client, "shop@2.0.0", commits=[commit("c")]).json()["data"] == {}
    again = put(client, refs=[{"repository": "origin", "commit": "b"}]).json()
    assert again["commitCount"] == 2, "what it has includes the head"
    old = put(client, headCommits=[{"repository": "acme/shop", "currentId": "x", "previousId": None}]).json()
    assert (old["commitCount"], old["data"]) == (2, {"commits_pending": True})


@pytest.mark.parametrize(
    ("refs", "said"),
    [
        ([{"repository": "acme/nope", "commit": "b"}], "there is no repository 'acme/nope'"),
        ([{"repository": "acme/shop"}], "refs[0].commit: missing"),
        ([{"commit": "b"}], "refs[0].repository: missing"),
        ([{"repository": "acme/shop", "commit": "b" * 65}], "refs[0].commit: longer than 64"),
        ([{"repository": "r" * 201, "commit": "b"}], "refs[0].repository: longer than 200"),
        ([{"repository": "acme/shop", "commit": "b"}, {"repository": "acme/shop", "commit": "a"}], "refs[1].repository: 'acme/shop' stands twice"),
        ([{"repository": "acme/shop", "commit": "b"}, {"repository": "origin", "commit": "a"}], "are one repository"),
        (["b"], "refs[0]: not an object"),
    ],
)  # fmt: skip
def test_refs_that_cannot_be_taken(client: httpx.Client, refs: Any, said: str) -> None:
    made(client)
    put(client, commits=[commit("b"), commit("a")])
    answer = put(client, refs=refs)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert said in answer.json()["refs"][0]


def test_a_repository_that_is_configured_no_more_is_followed_by_nothing(state: StateDatabase) -> None:
    """Or clients would go on sending refs, which nobody resolves."""
    project = "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]"
    followed = parse_config(
        "organisation: {slug: acme, repositories: [{name: acme/shop, provider: github}]}\n" + project
    )

    def providers(config: Config) -> dict[str, str]:
        sync_repositories(state, config)
        with state.read() as connection:
            return {row["name"]: row["provider"] for row in list_repositories(connection, limit=9)}

    assert providers(followed) == {"acme/shop": "github"}
    assert providers(parse_config(project)) == {"acme/shop": "unknown"}
    assert providers(followed) == {"acme/shop": "github"}


def test_a_commit_that_is_sent_again_is_looked_at_in_all_its_releases(state: StateDatabase) -> None:
    """What is suspected in them changes with its files."""
    sent = SentCommit("a" * 40, "acme/shop", "Change it", "Jo", None, NOON, (("a.py", "M"),))

    def due() -> list[str]:
        with state.write() as connection:
            c = t.releases.c
            versions = list(
                connection.execute(
                    select(c.version).where(c.update_due_at.is_not(None)).order_by(c.version)
                ).scalars()
            )
            connection.execute(update(t.releases).values(update_due_at=None))
        return versions

    for version in ("v1", "v2"):
        save_release(state, [1], version, {})
        with state.write() as connection:
            set_commits(state, connection, version, [sent])
    assert due() == ["v1", "v2"]
    with state.write() as connection:
        set_commits(state, connection, "v2", [replace(sent, files=(("b.py", "M"),))])
    assert due() == ["v1", "v2"]
    with state.write() as connection:
        set_commits(state, connection, "v2", [replace(sent, files=(("b.py", "M"),))])
    assert due() == []


def test_repositories_are_known_as_soon_as_anything_is(client: httpx.Client, any_home: Home) -> None:
    assert client.get(REPOS).json() == []
    made(client, refs=[{"repository": "their/shop", "commit": "HEAD"}])
    made(client, "shop@2.0.0", commits=[commit("a"), commit("b", repository="their/lib")])
    found = client.get(REPOS, params={"cursor": ""})
    assert 'results="false"' in found.headers["link"]
    repositories = found.json()
    assert [r["name"] for r in repositories] == ["their/shop", "acme/shop", "their/lib"]
    assert {type(r["id"]) for r in repositories} == {str}
    assert {(r["provider"]["id"], r["status"]) for r in repositories} == {("unknown", "active")}
    assert all(r["dateCreated"] for r in repositories)


def test_configured_repositories(any_home: Home, state: StateDatabase) -> None:
    configure(any_home, projects="repository: acme/web")
    text = "organisation: {repositories: [{name: acme/web, url: 'https://git.example/web'}, {name: acme/api, provider: gitea}]}\n"
    any_home.config_path.write_text(text + any_home.config_path.read_text())
    with talking(any_home, state) as client:
        found = client.get(REPOS).json()
        assert [(r["name"], r["url"], r["provider"]["id"]) for r in found] == [
            ("acme/api", None, "gitea"), ("acme/web", "https://git.example/web", "unknown"),
        ]  # fmt: skip
        made(client, commits=[commit("a")])
        with state.read() as connection:
            assert [row["repository"] for row in list_commits(connection, "shop@1.0.0", limit=5)] == [
                "acme/web"
            ]
        assert put(client, refs=[{"repository": "acme/other", "commit": "a"}]).status_code == 400


# ── the release before


def test_the_previous_release_with_commits_is_never_itself(
    client: httpx.Client, state: StateDatabase
) -> None:
    def previous(version: str) -> Any:
        return client.get(f"{RELEASES}{version}/previous-with-commits/").json().get("version")

    for number, version in enumerate(["shop@9.0.0", "shop@1.0.0", "shop@1.1.0", "shop@1.2.0"]):
        made(client, version, "other" if version == "shop@1.1.0" else "shop")
        put(client, version, dateReleased=(NOON + timedelta(hours=number)).isoformat())
    assert client.get(f"{RELEASES}shop@1.2.0/previous-with-commits/").json() == {}
    put(client, "shop@1.2.0", commits=[commit("c")])
    assert previous("shop@1.2.0") is None
    put(client, "shop@1.1.0", commits=[commit("b")])
    assert previous("shop@1.2.0") is None, "it is of another project"
    put(client, "shop@9.0.0", commits=[commit("a")])
    assert previous("shop@1.2.0") == "shop@9.0.0", "by date, not by version"
    whole = client.get(f"{RELEASES}shop@1.2.0/previous-with-commits/").json()
    assert (whole["lastCommit"]["id"], bool(whole["dateCreated"])) == ("a", True)
    assert previous("shop@9.0.0") is None
    assert client.get(f"{RELEASES}nope/previous-with-commits/").status_code == 404


# ── deletion


def test_commits_of_no_release_any_more_are_gone(client: httpx.Client, state: StateDatabase) -> None:
    made(client, "shop@1.0.0", "shop", "other", commits=[commit("b", patch_set=[{"path": "x"}]), commit("a")])
    made(client, "shop@2.0.0", commits=[commit("a", author_name="Ann", author_email=None)])
    assert client.delete(f"{API}/projects/acme/other/releases/shop@1.0.0/").status_code == 204
    assert len(shas(state)) == 2
    assert delete_release(state, [1], "shop@1.0.0")
    assert (rows(state, t.commits), rows(state, t.commit_files), rows(state, t.release_heads)) == (1, 0, 1)
    assert shas(state, "shop@2.0.0") == ["a"]
    client.delete(f"{RELEASES}shop@2.0.0/")
    assert {
        rows(state, table) for table in (t.commits, t.commit_authors, t.release_commits, t.release_heads)
    } == {0}


# ── deploys

DEPLOY = {
    "environment": "production", "name": "blue", "url": "https://ci/7",
    "dateStarted": "2026-11-22T12:11:08.475522577Z", "dateFinished": "2026-11-22T12:11:50.475522577Z",
}  # fmt: skip


def test_exactly_the_same_deploy_is_one(client: httpx.Client) -> None:
    made(client, "shop@1.0.0", "shop", "other")
    path = f"{RELEASES}shop@1.0.0/deploys/"
    made_one, again = client.post(path, json=DEPLOY), client.post(path, json=DEPLOY)
    assert (made_one.status_code, again.status_code) == (201, 208)
    assert made_one.json() == again.json() == client.get(path).json()[0]
    assert client.post(path, json=DEPLOY | {"projects": ["shop"]}).status_code == 208
    in_vienna = "2026-11-22T13:11:50.475523+01:00"
    assert client.post(path, json=DEPLOY | {"dateFinished": in_vienna}).status_code == 208
    for other in ({"name": "green"}, {"environment": "staging"}, {"dateFinished": "2026-11-22T12:00:00Z"}):
        assert client.post(path, json=DEPLOY | other).status_code == 201
    listed = client.get(path).json()
    assert len(listed) == 4
    finished = [deploy["dateFinished"] for deploy in listed]
    assert finished == sorted(finished, reverse=True)
    assert finished[-1] == "2026-11-22T12:00:00Z"
    assert {type(deploy["id"]) for deploy in listed} == {str}


def test_a_long_list_of_deploys_has_pages(client: httpx.Client) -> None:
    made(client)
    path = f"{RELEASES}shop@1.0.0/deploys/"
    for number in range(105):
        assert client.post(path, json={"environment": "qa", "name": str(number)}).status_code == 201
    first = client.get(path, params={"cursor": ""})
    assert len(first.json()) == 100
    rest = client.get(first.links["next"]["url"])
    names = {deploy["name"] for deploy in [*first.json(), *rest.json()]}
    assert (len(names), rest.links["next"]["results"]) == (105, "false")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "environment"), ({"environment": None}, "environment"), ({"environment": ""}, "environment"),
        ({"environment": "x" * 65}, "environment"), ({"environment": "None"}, "environment"),
        ({"environment": "a/b"}, "environment"), ({"environment": "a\\b"}, "environment"), ({"environment": "a\nb"}, "environment"),
        ({"environment": "qa", "projects": ["other"]}, "projects"), ({"environment": "qa", "projects": ["shop", "other"]}, "projects"),
        ({"environment": "qa", "projects": ["nope"]}, "projects"),
    ],
)  # fmt: skip
def test_deploys_that_cannot_be(client: httpx.Client, body: Any, field: str) -> None:
    made(client)
    answer = client.post(f"{RELEASES}shop@1.0.0/deploys/", json=body)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"{field}: ")
    assert answer.json()[field]
    assert client.get(f"{RELEASES}shop@1.0.0/deploys/").json() == []
    assert client.post(f"{RELEASES}nope/deploys/", json=DEPLOY).status_code == 404


@pytest.mark.parametrize(
    "beyond", ["0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
)
def test_dates_beyond_all_years(client: httpx.Client, beyond: str) -> None:
    """Also those that are so in some zone only: people are shown them in theirs."""
    answer = client.post(RELEASES, json={"version": "1", "projects": ["shop"], "dateReleased": beyond})
    assert (answer.status_code, client.get(RELEASES).json()) == (400, [])
    made(client)
    deploy = {"environment": "production", "dateFinished": beyond}
    assert client.post(f"{RELEASES}shop@1.0.0/deploys/", json=deploy).status_code == 400


def test_fields_of_a_release(client: httpx.Client, state: StateDatabase) -> None:
    body = {"version": "1.0", "projects": ["shop"], "ref": "main", "owner": "jo", "status": "archived"}
    assert client.post(RELEASES, json=body).status_code == 201
    assert (release(state, "1.0").ref, release(state, "1.0").status) == ("main", "archived")
    assert client.post(RELEASES, json={"version": "1.0", "projects": [], "status": "open"}).status_code == 208
    assert client.post(RELEASES, json=body | {"ref": "r" * 201}).status_code == 400
    unknown = client.post(RELEASES, json=body | {"projects": ["nope"]})
    assert (unknown.status_code, "nope" in unknown.json()["projects"][0]) == (400, True)

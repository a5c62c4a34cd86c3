"""Reading releases through the Web API: the object, lists and their pages, commits, files, deploys, mistakes, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import insert, update

from tasks_pipeline.access import tokens
from tasks_pipeline.home import Home
from tasks_pipeline.releases.deploys import add_deploy
from tasks_pipeline.releases.known import Heard, note_releases, save_release
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web.app import create_web
from tasks_pipeline.web_api import release_health, release_reading
from tests.support.commits import commit, ship
from tests.support.plans import recorded, scans
from tests.support.receiver import configure, serving

API = "/api/0"
RELEASES = f"{API}/organizations/acme/releases/"
OF_SHOP = f"{API}/projects/acme/shop/releases/"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHA = "8097195d3f8f4f0c9c1f0f1e2d3c4b5a69788796"
SHOP, OTHER = 1, 2


@pytest.fixture
def state(any_home: Home) -> Iterator[StateDatabase]:
    state = StateDatabase(any_home)
    yield state
    state.close()


@pytest.fixture
def client(any_home: Home, state: StateDatabase) -> Iterator[httpx.Client]:
    """A client with a token that may read projects, of an installation with the projects shop and other."""
    configure(any_home)
    _, token = tokens.create_token(state, "http://test", "acme", "reader", ["project:read"])
    headers = {"authorization": f"Bearer {token}"}
    with (
        serving(create_web(any_home)) as url,
        httpx.Client(base_url=url, timeout=120, headers=headers) as client,
    ):
        yield client


def made(state: StateDatabase, *versions: str, projects: tuple[int, ...] = (SHOP,), step: int = 1) -> None:
    """Releases, each so many minutes after the one before; none with the step 0."""
    for n, version in enumerate(versions):
        save_release(state, projects, version, {"released_at": NOW + timedelta(minutes=n * step)})


def get(client: httpx.Client, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def versions(client: httpx.Client, path: str = RELEASES, **query: Any) -> list[str]:
    return [release["version"] for release in get(client, path, **query)]


def turned(client: httpx.Client, path: str) -> Iterator[list[Any]]:
    """Page after page, as clients go on."""
    while True:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        yield answer.json()
        assert answer.links["previous"]["results"] == "false"
        if answer.links["next"]["results"] == "false":
            return
        path = answer.links["next"]["url"]


def of_group(number: int, version: str, **facts: Any) -> dict[str, Any]:
    return {
        "project_id": SHOP, "short_id": number, "title": "E", "culprit": "", "level": "error", "platform": "python", "type": "error",
        "metadata": {}, "algorithm": "a", "times_seen": 1, "status": "unresolved", "created_at": NOW, "first_release": version,
    } | facts  # fmt: skip


def test_the_object_of_a_release(client: httpx.Client, state: StateDatabase) -> None:
    facts = {"url": "https://ci", "started_at": NOW}
    ship(state, [SHOP, OTHER], "shop@1.2.3-rc.1+7",
         commit(SHA, "a.py", by="jo", at=NOW, message="Fix\n\nit", repository="acme/shop"), commit("b", "b.py", by="ann"), commit("c", by="jo"), at=NOW)  # fmt: skip
    save_release(state, [SHOP, OTHER], "shop@1.2.3-rc.1+7", facts)
    with state.write() as connection:
        note_releases(
            state, connection, SHOP, {"shop@1.2.3-rc.1+7": Heard(NOW, NOW, NOW + timedelta(hours=1))}
        )
        connection.execute(
            update(t.releases).where(t.releases.c.project_id == SHOP).values(ref="main", first_session_at=NOW)
        )
        version = "shop@1.2.3-rc.1+7"
        connection.execute(
            insert(t.groups),
            [
                of_group(1, version),
                of_group(2, version),
                of_group(3, version, times_seen=0),
                of_group(4, version, status="discarded"),
            ],
        )
    for minutes in (0, 5):
        add_deploy(
            state,
            [SHOP, OTHER],
            version,
            {"environment": f"e{minutes}", "finished_at": NOW + timedelta(minutes=minutes)},
        )
    shown = get(client, f"{RELEASES}{quote(version, safe='@')}/")
    assert shown | {"dateCreated": None} == get(client, RELEASES)[0] | {"dateCreated": None}
    assert isinstance(shown.pop("id"), int)
    assert isinstance(shown.pop("dateCreated"), str)
    assert [deploy := shown.pop("lastDeploy"), deploy["environment"]][1] == "e5"
    last = shown.pop("lastCommit")
    assert last["repository"]["name"] == "acme/shop"
    assert {n: last[n] for n in ("id", "message", "dateCreated", "author", "pullRequest", "suspectCommitType", "releases")} == {
        "id": SHA, "message": "Fix\n\nit", "dateCreated": "2026-11-22T12:00:00Z", "author": {"name": "Jo", "email": "jo@acme.example"},
        "pullRequest": None, "suspectCommitType": "", "releases": [],
    }  # fmt: skip
    assert shown == {
        "version": version, "shortVersion": "1.2.3-rc.1 (7)", "status": "open", "ref": "main", "url": "https://ci", "owner": None,
        "versionInfo": {
            "package": "shop", "description": "1.2.3-rc.1 (7)", "buildHash": None,
            "version": {"raw": "1.2.3-rc.1+7", "major": 1, "minor": 2, "patch": 3, "revision": 0, "pre": "rc.1", "buildCode": "7", "components": 3},
        },
        "dateStarted": "2026-11-22T12:00:00Z", "dateReleased": "2026-11-22T12:00:00Z",
        "firstEvent": "2026-11-22T12:00:00Z", "lastEvent": "2026-11-22T13:00:00Z",
        "newGroups": 2, "commitCount": 3, "deployCount": 2, "data": {},
        "authors": [{"name": "Jo", "email": "jo@acme.example"}, {"name": "Ann", "email": "ann@acme.example"}],
        "projects": [
            {"id": 1, "slug": "shop", "name": "shop", "platform": "other", "platforms": ["other"], "newGroups": 2, "hasHealthData": True},
            {"id": 2, "slug": "other", "name": "other", "platform": "other", "platforms": ["other"], "newGroups": 0, "hasHealthData": False},
        ],
    }  # fmt: skip
    (of_other,) = get(client, f"{API}/projects/acme/other/releases/")
    assert [p["slug"] for p in of_other["projects"]] == ["other"]
    assert [
        p["slug"] for p in get(client, f"{RELEASES}{quote(version, safe='@')}/", project="shop")["projects"]
    ] == ["shop"]


@pytest.mark.parametrize(
    ("version", "info"),
    [
        (SHA, {"package": None, "version": {"raw": SHA}, "description": SHA[:12], "buildHash": SHA}),
        ("nightly", {"package": None, "version": {"raw": "nightly"}, "description": "nightly", "buildHash": None}),
        (f"@acme/web@v2.0+{SHA}", {
            "package": "@acme/web", "description": f"v2.0 ({SHA[:12]})", "buildHash": SHA,
            "version": {"raw": f"v2.0+{SHA}", "major": 2, "minor": 0, "patch": 0, "revision": 0, "pre": None, "buildCode": SHA, "components": 2},
        }),
    ],
)  # fmt: skip
def test_what_a_name_tells(
    client: httpx.Client, state: StateDatabase, version: str, info: Mapping[str, Any]
) -> None:
    made(state, version)
    assert get(client, RELEASES)[0]["versionInfo"] == info


@pytest.mark.parametrize("sort", ["date", "semver"])
def test_pages_hide_no_release(client: httpx.Client, state: StateDatabase, sort: str) -> None:
    """Those that come between two pages stand before them; some share a date."""
    names = [f"shop@1.{n}.0" for n in range(23)]
    made(state, *names, step=0)
    made(state, *names[::3], projects=(OTHER,))
    found: list[str] = []
    for number, page in enumerate(turned(client, f"{RELEASES}?sort={sort}&per_page=5&cursor=")):
        found += [release["version"] for release in page]
        save_release(state, [SHOP, OTHER], f"shop@9.{number}.0", {})
    assert len(found) == len(set(found)) == 23
    assert set(found) == set(names)
    if sort == "semver":
        assert found == sorted(names, key=lambda name: int(name.split(".")[1]), reverse=True)


def test_a_release_of_several_projects_stands_once_where_it_is_newest(
    client: httpx.Client, state: StateDatabase
) -> None:
    made(state, "a", "b", "c")
    save_release(state, [OTHER], "a", {"released_at": NOW + timedelta(days=1)})
    save_release(state, [OTHER], "b", {"released_at": NOW - timedelta(days=1)})
    assert versions(client) == ["a", "c", "b"]
    assert [[r["version"] for r in page] for page in turned(client, f"{RELEASES}?per_page=1")] == [
        ["a"],
        ["c"],
        ["b"],
    ]
    assert versions(client, project="shop") == versions(client, OF_SHOP) == ["c", "b", "a"]
    assert versions(client, project="2") == ["a", "b"]
    assert versions(client, project="-1") == versions(client, project=["shop", "other"]) == ["a", "c", "b"]
    save_release(state, [OTHER], "a", {"status": "archived"})
    assert versions(client) == ["c", "b", "a"]
    assert versions(client, status="archived") == ["a"]


def test_versions_in_their_order(client: httpx.Client, state: StateDatabase) -> None:
    made(state, "shop@2.0.0", "nightly", "shop@1.10.0", "shop@1.9.0", "shop@2.0.0-rc.1", "web@1.9.5", SHA)
    assert versions(client, sort="semver") == [
        "shop@2.0.0", "shop@2.0.0-rc.1", "shop@1.10.0", "web@1.9.5", "shop@1.9.0", SHA, "nightly",
    ]  # fmt: skip


NAMED = ("shop@1.2.3", "shop@1.2.3+42", "shop@1.10.0-rc.1", "web@1.2.9+42", "nightly_%", "Feature/Login")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("SHOP", "shop@1.2.3 shop@1.2.3+42 shop@1.10.0-rc.1"),
        ("login feature", "Feature/Login"),
        ("_%", "nightly_%"),
        ("release:shop@1.2.3", "shop@1.2.3"),
        ("release:shop@1.2.*", "shop@1.2.3 shop@1.2.3+42"),
        ("release:SHOP@1.2.*", "shop@1.2.3 shop@1.2.3+42"),
        ("release:latest", "Feature/Login"),
        ("!shop", "web@1.2.9+42 nightly_% Feature/Login"),
        ("release.package:shop", "shop@1.2.3 shop@1.2.3+42 shop@1.10.0-rc.1"),
        ("!release.package:shop release.package:*", "web@1.2.9+42"),
        ("release.version:1.2.3", "shop@1.2.3 shop@1.2.3+42"),
        ("release.version:1.2.*", "shop@1.2.3 shop@1.2.3+42 web@1.2.9+42"),
        ("!release.version:1.2.*", "shop@1.10.0-rc.1 nightly_% Feature/Login"),
        ("!release.version:1.2.3", "shop@1.10.0-rc.1 web@1.2.9+42 nightly_% Feature/Login"),
        ("release.version:1.10-rc.*", "shop@1.10.0-rc.1"),
        ("release.version:1.2-rc.*", ""),
        ("release.version:1.*", "shop@1.2.3 shop@1.2.3+42 shop@1.10.0-rc.1 web@1.2.9+42"),
        ("release.version:>1.2.3", "shop@1.10.0-rc.1 web@1.2.9+42"),
        ("release.version:>=1.2.9", "shop@1.10.0-rc.1 web@1.2.9+42"),
        ("release.version:<1.2.9", "shop@1.2.3 shop@1.2.3+42"),
        ("release.version:<=1.2.9 release.build:42", "shop@1.2.3+42 web@1.2.9+42"),
        ("release.build:4*", "shop@1.2.3+42 web@1.2.9+42"),
        ('"shop@1.2.3"', "shop@1.2.3 shop@1.2.3+42"),
        ("nothing", ""),
    ],
)  # fmt: skip
def test_what_is_asked_for(client: httpx.Client, state: StateDatabase, query: str, found: str) -> None:
    made(state, *NAMED)
    assert sorted(versions(client, query=query)) == sorted(found.split())
    assert sorted(versions(client, query=query, sort="semver")) == sorted(found.split())


def test_environments_and_stages(client: httpx.Client, state: StateDatabase) -> None:
    made(state, "a", "b", "c", "d")
    add_deploy(state, [SHOP], "a", {"environment": "production"})
    stages = [
        ("b", "production", 0, 1, "low_adoption"), ("b", "production", 1, None, "adopted"),
        ("b", "staging", 2, None, "low_adoption"),
        ("c", "production", 0, 2, "adopted"), ("c", "production", 2, None, "replaced"),
    ]  # fmt: skip
    with state.write() as connection:
        connection.execute(
            insert(t.release_stages),
            [
                {
                    "project_id": SHOP,
                    "version": v,
                    "environment": e,
                    "since": NOW + timedelta(hours=since),
                    "until": None if until is None else NOW + timedelta(hours=until),
                    "stage": s,
                }
                for v, e, since, until, s in stages
            ],
        )
    assert versions(client, environment="production") == ["c", "b", "a"]
    assert versions(client, environment="staging") == ["b"]
    assert versions(client, environment=["staging", "nowhere"]) == ["b"]
    assert versions(client, query="release.stage:adopted") == ["b"]
    assert versions(client, query="release.stage:replaced") == ["c"]
    assert versions(client, query="release.stage:low_adoption", environment="production") == []
    assert versions(client, query="!release.stage:adopted") == ["d", "c", "a"]


def test_environments_that_events_named(client: httpx.Client, state: StateDatabase) -> None:
    made(state, "by@api")
    with state.write() as connection:
        note_releases(
            state,
            connection,
            SHOP,
            {"a": Heard(NOW), "b": Heard(NOW)},
            environments={("a", "production"): NOW, ("b", ""): NOW, ("b", "staging"): NOW},
        )
    assert versions(client, environment="production") == ["a"]
    assert versions(client, environment="") == ["b"]
    assert versions(client, environment=["production", "staging"]) == ["b", "a"]
    assert versions(client, environment="elsewhere") == []


def test_health_is_asked_for_in_one_place(
    client: httpx.Client, state: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(state, *(f"{n}" for n in range(6)))
    with state.write() as connection:
        connection.execute(
            update(t.releases).where(t.releases.c.version != "5").values(last_session_at=datetime.now(UTC))
        )
    asked: list[timedelta] = []

    def health(_call: Any, rows: Any, since: datetime, until: datetime, **_more: object) -> dict[Any, Any]:
        asked.append(until - since)
        return {
            (r["project_id"], r["version"]): {"totalSessions": int(r["version"]) % 3, "crashFreeUsers": None}
            for r in rows
        }

    def stages(_call: Any, rows: Any) -> dict[Any, Any]:
        return {
            (r["project_id"], r["version"]): {"stage": "adopted", "adopted": NOW, "unadopted": None}
            for r in rows
        }

    monkeypatch.setattr(release_reading, "health_data", health)
    monkeypatch.setattr(release_reading, "adoption_stages", stages)
    assert versions(client, sort="sessions") == ["2", "4", "1", "3", "0"]
    assert [
        [r["version"] for r in page] for page in turned(client, f"{RELEASES}?sort=sessions&per_page=2")
    ] == [["2", "4"], ["1", "3"], ["0"]]
    assert versions(client, sort="crash_free_users") == []
    (shown,) = get(client, f"{RELEASES}4/", health=1, adoptionStages=1, summaryStatsPeriod="24h")["projects"]
    assert shown["healthData"] == {"totalSessions": 1, "crashFreeUsers": None}
    assert asked[-1] == timedelta(hours=24)
    release = get(client, f"{RELEASES}4/", adoptionStages=1)
    assert release["adoptionStages"] == {
        "shop": {"stage": "adopted", "adopted": "2026-11-22T12:00:00Z", "unadopted": None}
    }
    assert "healthData" not in release["projects"][0]
    assert "adoptionStages" not in get(client, f"{RELEASES}4/")


def test_commits_of_a_release(client: httpx.Client, state: StateDatabase) -> None:
    shipped = [commit(f"c{n:03}", f"dir/{n}.py", "dir/all.py", by="jo") for n in range(130)]
    ship(state, [SHOP], "shop@1", *shipped, at=NOW)
    ship(state, [OTHER], "other@1", shipped[3], at=NOW)
    pages = [*turned(client, f"{RELEASES}shop@1/commits/?cursor=")]
    assert [len(page) for page in pages] == [100, 30]
    assert [c["id"] for page in pages for c in page] == [c["sha"] for c in shipped]
    assert [r["version"] for r in pages[0][3]["releases"]] == ["other@1", "shop@1"]
    assert pages[0][0]["releases"] == [
        {"version": "shop@1", "shortVersion": "1", "ref": None, "url": None, "dateReleased": "2026-11-22T12:00:00Z",
         "dateCreated": pages[0][0]["releases"][0]["dateCreated"]}
    ]  # fmt: skip
    assert pages[0][0]["repository"] is None
    files = [file for page in turned(client, f"{RELEASES}shop@1/commitfiles/") for file in page]
    assert [f["filename"] for f in files] == [path for c in shipped for path in sorted(c["paths"])]
    assert files[0] == {
        "id": "c000:dir/0.py", "orgId": "1", "author": {"name": "Jo", "email": "jo@acme.example"}, "commitMessage": "Change it",
        "filename": "dir/0.py", "type": "M",
    }  # fmt: skip
    assert get(client, f"{API}/projects/acme/other/releases/other@1/commits/")[0]["id"] == "c003"
    made(state, "none")
    assert get(client, f"{RELEASES}none/commits/") == get(client, f"{RELEASES}none/commitfiles/") == []


def test_a_commit_of_which_little_is_known(client: httpx.Client, state: StateDatabase) -> None:
    made(state, "v", "pending")
    with state.write() as connection:
        connection.execute(insert(t.commits).values(sha="a", repository="gone/repo", created_at=NOW))
        connection.execute(insert(t.release_commits).values(version="v", position=0, sha="a"))
        connection.execute(insert(t.release_heads).values(version="pending", repository="r", sha="HEAD"))
    (shown,) = get(client, f"{RELEASES}v/commits/")
    assert (shown["author"], shown["message"], shown["dateCreated"]) == ({}, None, "2026-11-22T12:00:00Z")
    assert shown["repository"]["provider"] == {"id": "unknown", "name": "Unknown"}
    assert shown["repository"]["id"].isdecimal()
    assert {r["version"]: r["data"] for r in get(client, RELEASES)} == {
        "v": {},
        "pending": {"commits_pending": True},
    }


def test_deploys_of_a_release(client: httpx.Client, state: StateDatabase) -> None:
    made(state, "v", projects=(SHOP, OTHER))
    for n in range(7):
        finished = {"finished_at": NOW + timedelta(minutes=n % 4)}
        add_deploy(state, [SHOP, OTHER], "v", {"environment": "production", "name": f"d{n}", **finished})
    found = [d for page in turned(client, f"{RELEASES}v/deploys/?per_page=3") for d in page]
    assert [d["name"] for d in found] == ["d3", "d6", "d2", "d5", "d1", "d4", "d0"]
    assert all(isinstance(d["id"], str) for d in found)
    assert found[0]["dateFinished"] == "2026-11-22T12:03:00Z"
    assert get(client, RELEASES)[0]["deployCount"] == 7
    assert get(client, RELEASES)[0]["lastDeploy"] == found[0]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (f"{RELEASES}?sort=name", 400, "allowed are date, semver, sessions"),
        (f"{RELEASES}?status=hidden", 400, "open and archived"),
        (f"{RELEASES}?per_page=0", 400, "1 to 100"),
        (f"{RELEASES}?per_page=x", 400, "1 to 100"),
        (f"{RELEASES}?per_page={'9' * 5000}", 400, "1 to 100"),
        (f"{RELEASES}?project=nope", 404, "no project"),
        (f"{RELEASES}?health=1&summaryStatsPeriod=1y", 400, "1h, 24h"),
        (f"{RELEASES}?healthStatsPeriod=x", 400, "90d"),
        (f"{RELEASES}?query=release.foo:1", 400, "release.package"),
        (f"{RELEASES}?query=project:shop", 400, "project: allowed are release"),
        (f"{RELEASES}?query=release.version:1.2%2B7.*", 400, "no version"),
        (f"{RELEASES}?query=!", 400, "nothing is asked for"),
        (f"{RELEASES}?query=release.stage:new", 400, "low_adoption"),
        (f"{RELEASES}?query=release.version:abc", 400, "no version"),
        (f"{RELEASES}?query=release:", 400, "nothing is asked for"),
        (f"{RELEASES}?query=a%00b", 400, "printable"),
        (f"{RELEASES}?query={'a' * 1001}", 400, "longer"),
        (f"{RELEASES}?query={'a%20' * 21}", 400, "more than"),
        (f"{RELEASES}?environment=a%00b", 400, "environment"),
        (f"{RELEASES}nope/", 404, "no release"),
        (f"{RELEASES}a%00b/", 404, "no release"),
        (f"{RELEASES}nope/commits/", 404, "no release"),
        (f"{RELEASES}nope/commitfiles/", 404, "no release"),
        (f"{RELEASES}nope/deploys/", 404, "no release"),
        (f"{RELEASES}v/?project=other", 404, "no release"),
        (f"{API}/projects/acme/other/releases/v/commits/", 404, "no release"),
        (f"{API}/organizations/nope/releases/v/commits/", 404, "no organization"),
    ],
)
def test_mistakes_are_named(
    client: httpx.Client, state: StateDatabase, path: str, status: int, said: str
) -> None:
    made(state, "v")
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]


def test_a_cursor_of_nobody_means_the_first_page(client: httpx.Client, state: StateDatabase) -> None:
    made(state, "v")
    for cursor in (
        "0:100:0",
        "x",
        "W10",
        "WzEsMl0",
        "WzFlOTksInYiXQ",
        "WyJcdTAwMDAiXQ",
        "WzkyMjMzNzIwMzY4NTQ3NzU4MDgsInYiXQ",
        "é",
        "a" * 9000,
    ):
        for path in (
            RELEASES,
            f"{RELEASES}?sort=semver",
            f"{RELEASES}v/commits/",
            f"{RELEASES}v/commitfiles/",
            f"{RELEASES}v/deploys/",
        ):
            answer = client.get(path, params={**httpx.URL(path).params, "cursor": cursor})
            assert answer.status_code == 200, (path, cursor)
            assert answer.links["next"]["results"] == "false"
    assert versions(client, cursor="0:100:0") == ["v"]


@pytest.mark.parametrize("rest", ["", "v/", "v/commits/", "v/commitfiles/", "v/deploys/"])
def test_reading_needs_its_scope(client: httpx.Client, state: StateDatabase, rest: str) -> None:
    made(state, "v")
    _, token = tokens.create_token(state, "http://test", "acme", "other", ["org:read", "project:releases"])
    answer = client.get(f"{RELEASES}{rest}", headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["detail"]) == (403, "the token lacks the scope project:read")
    assert client.get(f"{RELEASES}{rest}", headers={"authorization": "Bearer x"}).status_code == 401


def filled(state: StateDatabase, count: int) -> None:
    """So many releases of both projects, each with commits, deploys, groups and a stage."""
    numbers = range(count)
    with state.write() as connection:
        row = {"created_at": NOW, "package": "shop", "commit_count": 2}
        connection.execute(insert(t.releases), [
            {**row, "project_id": p, "version": f"shop@1.{n}.0", "order_date": NOW + timedelta(seconds=n), "version_key": f"{n:06}",
             "last_session_at": datetime.now(UTC), "first_session_at": NOW}
            for p in (SHOP, OTHER) for n in numbers
        ])  # fmt: skip
        connection.execute(
            insert(t.commit_authors), [{"author_key": f"a{n}", "name": f"A{n}"} for n in numbers]
        )
        connection.execute(insert(t.commits), [
            {"sha": f"s{n}-{i}", "author_key": f"a{n}", "files": 1, "created_at": NOW, "repository": "r"} for n in numbers for i in (0, 1)
        ])  # fmt: skip
        connection.execute(insert(t.release_commits), [
            {"version": f"shop@1.{n}.0", "position": i, "sha": f"s{n}-{i}"} for n in numbers for i in (0, 1)
        ])  # fmt: skip
        connection.execute(
            insert(t.commit_files), [{"sha": f"s{n}-0", "path": "a", "type": "M"} for n in numbers]
        )
        connection.execute(
            insert(t.repositories),
            [{"name": f"r{n}" if n else "r", "provider": "git", "created_at": NOW} for n in numbers],
        )
        connection.execute(insert(t.deploys), [
            {"project_id": SHOP, "version": f"shop@1.{n}.0", "environment": "production", "finished_at": NOW, "created_at": NOW} for n in numbers
        ])  # fmt: skip
        connection.execute(insert(t.release_environments), [
            {"project_id": SHOP, "version": f"shop@1.{n}.0", "environment": "production", "first_at": NOW} for n in numbers
        ])  # fmt: skip
        connection.execute(insert(t.release_stages), [
            {"project_id": SHOP, "version": f"shop@1.{n}.0", "environment": "production", "since": NOW, "stage": "low"} for n in numbers
        ])  # fmt: skip
        connection.execute(insert(t.groups), [of_group(n, f"shop@1.{n}.0") for n in numbers])


READ = (
    RELEASES, f"{RELEASES}?sort=semver", f"{RELEASES}?sort=sessions", f"{RELEASES}?query=release.stage:low_adoption&environment=production",
    f"{RELEASES}?environment=production&environment=", f"{RELEASES}?query=9&per_page=10", f"{OF_SHOP}?query=release.version:1.7.*", f"{RELEASES}shop@1.7.0/", f"{RELEASES}shop@1.7.0/commits/",
    f"{RELEASES}shop@1.7.0/commitfiles/", f"{RELEASES}shop@1.7.0/deploys/",
)  # fmt: skip


@pytest.fixture
def app_state(client: httpx.Client, any_home: Home, monkeypatch: pytest.MonkeyPatch) -> StateDatabase:
    """The state database that the receiver itself asks."""
    seen: list[StateDatabase] = []
    listed = release_reading._period

    def noting(call: Any) -> Any:
        seen.append(call.services.state)
        return listed(call)

    monkeypatch.setattr(release_reading, "_period", noting)
    client.get(RELEASES)
    return seen[0]


def test_a_page_costs_the_same_number_of_queries_whatever_is_on_it(
    client: httpx.Client, state: StateDatabase, app_state: StateDatabase
) -> None:
    filled(state, 3)
    counts = []
    for more in (0, 200):
        if more:
            with state.write() as connection:
                for table in (
                    t.releases,
                    t.commit_authors,
                    t.commit_files,
                    t.commits,
                    t.release_commits,
                    t.deploys,
                    t.release_environments,
                    t.release_stages,
                    t.groups,
                    t.repositories,
                ):
                    connection.execute(table.delete())
            filled(state, more)
        with Counted(app_state) as sent:
            assert len(get(client, RELEASES)) == min(100, more or 3)
        counts.append(len(sent))
    assert counts[0] == counts[1] <= 12


class Counted:
    """The statements that a database is sent, each time."""

    def __init__(self, state: StateDatabase) -> None:
        self.state, self.sent = state, list[str]()

    def note(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.sent.append(statement)

    def __enter__(self) -> list[str]:
        from sqlalchemy import event

        event.listen(self.state.engine, "before_cursor_execute", self.note)
        return self.sent

    def __exit__(self, *_: object) -> None:
        from sqlalchemy import event

        event.remove(self.state.engine, "before_cursor_execute", self.note)


def test_every_list_finds_its_rows_by_an_index(
    client: httpx.Client, state: StateDatabase, app_state: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(state, 3000)
    monkeypatch.setattr(
        release_reading,
        "health_data",
        lambda _call, rows, *_, **_more: {
            (r["project_id"], r["version"]): {"totalSessions": 1} for r in rows
        },
    )
    with recorded(app_state) as statements:
        for path in READ:
            assert get(client, path), path
            [*zip(turned(client, path), range(2), strict=False)] if "?" in path else None
    assert scans(app_state, {sql: given for sql, given in statements.items() if "tokens" not in sql}) == []


def test_health_without_any_is_none(client: httpx.Client, state: StateDatabase) -> None:
    made(state, "v")
    assert release_health.sorted_by_health("sessions", [], {}) == {}
    assert get(client, RELEASES, health=1)[0]["projects"][0]["healthData"] is None

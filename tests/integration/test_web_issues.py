"""Issues and events in the Web API: as clients want them, what they may change, and who may not."""

from __future__ import annotations

import asyncio
import base64
import re
import time
from threading import Lock
from typing import Any

import httpx
import pytest

from tasks_pipeline.web_api import issue_change
from tasks_pipeline.web_api.app import LARGE_AT_ONCE, LARGE_BYTES
from tasks_pipeline.web_api.calls import ApiError
from tasks_pipeline.web_api.endpoints import ENDPOINTS
from tasks_pipeline.web_api.limits import A_SECOND, AT_ONCE, Limits
from tests.support.api import Api, Caller
from tests.support.pages_home import RICH, TIMEOUTS

ISSUES, SHOP = "/organizations/acme/issues/", "/projects/acme/shop/issues/"
OPEN = TIMEOUTS + 3
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def named(caller: Caller, title: str, **query: Any) -> dict[str, Any]:
    """The issue whose title begins so."""
    found: list[dict[str, Any]] = caller.get(ISSUES, query=title, limit=100, **query)
    return next(each for each in found if each["title"].startswith(title))


def test_an_issue_has_what_typed_clients_want(anna: Caller) -> None:
    found = named(anna, "ValueError")
    assert isinstance(found["id"], str)
    assert (found["count"], found["userCount"]) == ("9", 5)
    assert found["shortId"].startswith("SHOP-")
    assert (found["status"], found["substatus"], found["statusDetails"]) == ("unresolved", "ongoing", {})
    assert found["project"] == {"id": "1", "slug": "shop", "name": "shop", "platform": "other"}
    assert found["permalink"] == f"http://127.0.0.1:9000/groups/{found['shortId']}/"
    assert TIME.fullmatch(found["lastSeen"])
    assert TIME.fullmatch(found["firstSeen"])
    assert sum(n for _, n in found["stats"]["24h"]) == 1
    assert len(found["stats"]["24h"]) == 24
    assert found["metadata"]["type"] == "ValueError"
    assert (found["assignedTo"], found["level"], found["issueCategory"]) == (None, "error", "error")
    whole = anna.get(f"{ISSUES}{found['shortId'].lower()}/")
    assert whole["id"] == found["id"]
    assert whole["isUnhandled"] is True
    assert whole["lastRelease"]["version"] == "shop@1.4.0"
    assert (whole["userReportCount"], whole["activity"]) == (1, [])
    assert anna.get(f"/issues/{found['id']}/")["shortId"] == found["shortId"]
    assert anna.get(f"/organizations/acme/shortids/{found['shortId']}/")["groupId"] == found["id"]


def test_without_a_query_what_is_open_is_listed_and_with_an_empty_one_all(anna: Caller) -> None:
    (one,) = anna.get(ISSUES, query="Timeout59")
    anna.put(f"{ISSUES}{one['id']}/", status="resolved")
    assert len(anna.get(ISSUES)) == OPEN - 1
    assert len(anna.get(ISSUES, query="")) == OPEN
    assert len(anna.get(SHOP)) == OPEN - 2
    anna.put(f"{ISSUES}{one['id']}/", status="unresolved")


def test_pages_follow_each_other_with_the_whole_query(anna: Caller) -> None:
    query = [
        ("query", "Timeout"),
        ("project", "1"),
        ("project", "2"),
        ("per_page", "25"),
        ("collapse", "stats"),
    ]
    found, answer = list[str](), anna("GET", ISSUES, query=query)
    for _ in range(10):
        found += [each["id"] for each in answer.json()]
        assert set(answer.links) == {"previous", "next"}
        url = answer.links["next"]["url"]
        assert url.startswith(
            "/api/0/organizations/acme/issues/?query=Timeout&project=1&project=2&per_page=25&collapse=stats&cursor="
        )
        answer = anna("GET", url.removeprefix("/api/0"))
        if not answer.json():
            break
    assert answer.json() == [], "a place behind the last is an empty page"
    assert len(found) == len(set(found)) == TIMEOUTS
    assert len(anna.get(ISSUES, limit=10_000)) == OPEN
    assert len(anna.get(ISSUES, per_page=1000)) == OPEN, "100 would be more"
    back = anna("GET", ISSUES, query=[*query, ("cursor", answer.links["next"]["cursor"])])
    assert back.status_code == 200


def test_figures_are_those_of_the_filter(anna: Caller) -> None:
    found = named(anna, "ValueError", environment="staging", statsPeriod="14d")
    assert (found["count"], found["lifetime"]["count"]) == ("5", "9")
    assert named(anna, "ValueError", statsPeriod="14d")["count"] == "9"
    assert anna.get(ISSUES, query="ValueError", start="2020-01-01T00:00:00", end="2020-01-02T00:00:00") == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"query": "is:nothing"}, "at character 4"),
        ({"query": "(a"}, "never closed"),
        ({"sort": "size"}, "sort"),
        ({"statsPeriod": "14 days"}, "14d"),
        ({"start": "yesterday"}, "start"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"shortId": "nonsense"}, "shortId"),
        ({"id": "1"}, "no such filter"),
        ({"group": "1"}, "no such filter"),
        ({"query": "a" * 2001}, "2,000"),
    ],
)
def test_what_is_not_understood_is_refused(anna: Caller, query: dict[str, str], said: str) -> None:
    assert said in anna.get(ISSUES, 400, **query)["detail"]


def test_a_short_id_as_filter_finds_nothing_else(anna: Caller) -> None:
    wanted = named(anna, "Overdrawn")
    assert [each["id"] for each in anna.get(ISSUES, shortId=wanted["shortId"], limit=1)] == [wanted["id"]]
    assert anna.get(ISSUES, shortId="SHOP-ZZZZ", limit=1) == []
    assert [each["id"] for each in anna.get(ISSUES, query=wanted["shortId"], shortIdLookup="1")] == [
        wanted["id"]
    ]


def test_an_event_has_what_was_sent(anna: Caller) -> None:
    issue = named(anna, "ValueError")
    event = anna.get(f"{ISSUES}{issue['id']}/events/latest/")
    assert (event["id"], event["eventID"], event["groupID"]) == (RICH, RICH, issue["id"])
    entries = {each["type"]: each["data"] for each in event["entries"]}
    assert list(entries) == ["exception", "request", "breadcrumbs"]
    error = entries["exception"]["values"][-1]
    assert (error["type"], error["mechanism"]["handled"]) == ("ValueError", False)
    frame = error["stacktrace"]["frames"][-1]
    assert (frame["filename"], frame["lineNo"], frame["inApp"], frame["vars"]["qty"]) == (
        "shop/price.py",
        70,
        True,
        "2",
    )
    assert frame["context"] == [
        [68, "def before():"],
        [69, "    pass"],
        [70, "    return int('abc-%s' % ref)"],
        [71, "# after"],
    ]
    assert entries["request"]["query"] == [["step", "2"]]
    assert {"key": "environment", "value": "staging"} in event["tags"]
    assert (event["message"], event["type"]) == ("", "error")
    assert event["release"] == {"version": "shop@1.4.0"}
    assert event["_meta"]["extra"]["note"][""] == {"len": 10_000}
    assert event["nextEventID"] is None
    before = anna.get(f"{ISSUES}{issue['id']}/events/{event['previousEventID']}/")
    assert before["nextEventID"] == RICH
    dashed = f"{RICH[:8]}-{RICH[8:12]}-{RICH[12:16]}-{RICH[16:20]}-{RICH[20:]}"
    for path in (
        f"/projects/acme/shop/events/{dashed}/",
        f"/projects/acme/1/events/{RICH}/",
        f"/issues/{issue['id']}/events/recommended/",
    ):
        assert anna.get(path)["id"] == RICH
    assert anna.get(f"/organizations/acme/eventids/{RICH}/")["groupId"] == issue["id"]
    oldest = anna.get(f"{ISSUES}{issue['id']}/events/oldest/")
    assert oldest["previousEventID"] is None
    assert "entries" not in anna.get(f"{ISSUES}{issue['id']}/events/")[0]
    assert len(anna.get(f"{ISSUES}{issue['id']}/events/", full="true", query="environment:staging")) == 5
    (report,) = anna.get(f"{ISSUES}{issue['id']}/user-reports/")
    assert (report["name"], report["eventID"]) == ("Jo", RICH)


def test_attachments_are_bytes_that_nothing_runs(anna: Caller) -> None:
    path = f"/projects/acme/shop/events/{RICH}/attachments/"
    (file,) = anna.get(path)
    assert (file["name"], file["size"], file["mimetype"]) == ("order.json", 13, "application/json")
    answer = anna("GET", f"{path}{file['id']}/", query={"download": "1"})
    assert answer.content == b'{"order": 17}'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert anna.get(f"{path}2/", 404)


@pytest.mark.parametrize(
    ("sent", "status", "substatus", "details"),
    [
        ({"status": "resolved"}, "resolved", None, {}),
        ({"status": "resolved", "statusDetails": {"inRelease": "shop@1.4.2"}}, "resolved", None, {"inRelease": "shop@1.4.2"}),
        ({"status": "resolvedInNextRelease"}, "resolved", None, {"inNextRelease": True}),
        ({"status": "resolved", "statusDetails": {"inNextRelease": True}}, "resolved", None, {"inNextRelease": True}),
        ({"status": "muted", "snoozeDuration": None}, "ignored", "archived_forever", {}),
        ({"status": "ignored", "substatus": "archived_forever"}, "ignored", "archived_forever", {}),
        ({"status": "ignored", "statusDetails": {"ignoreCount": 100}}, "ignored", "archived_until_condition_met", {"ignoreCount": 100}),
        ({"status": "ignored", "ignoreCount": 7}, "ignored", "archived_until_condition_met", {"ignoreCount": 7}),
        ({"status": "ignored", "statusDetails": {"ignoreUserCount": 3}}, "ignored", "archived_until_condition_met", {"ignoreUserCount": 3}),
        ({"status": "unresolved", "hasSeen": True}, "unresolved", "ongoing", {}),
    ],
)  # fmt: skip
def test_an_issue_is_changed_and_answered_whole(
    anna: Caller, sent: dict[str, Any], status: str, substatus: str | None, details: dict[str, Any]
) -> None:
    path = (
        f"{ISSUES}{named(anna, 'ValueError', sort='freq')['id']}/" if sent["status"] == "resolved" else None
    )
    path = path or f"{ISSUES}{anna.get(ISSUES, query='ValueError')[0]['id']}/"
    found = anna.put(path, **sent)
    assert (found["status"], found["substatus"], found["statusDetails"]) == (status, substatus, details)
    assert anna.put(path, status="unresolved")["status"] == "unresolved"


def test_who_does_it_stands_in_the_log(api: Api, anna: Caller) -> None:
    path = f"{ISSUES}{named(anna, 'Timeout1')['id']}/"
    assert anna.put(path, assignedTo="me")["assignedTo"]["email"] == "anna@acme.example"
    team = next(each for each in anna.get("/organizations/acme/teams/") if each["slug"] == "payments")
    assert anna.put(path, assignedTo=f"team:{team['id']}")["assignedTo"]["id"] == team["id"]
    assert anna.put(path, assignedTo="")["assignedTo"] is None
    assert "nobody here" in anna.put(path, 400, assignedTo="eve@evil.example")["detail"]
    api.caller().put(path, status="resolved")
    api.caller().put(path, status="unresolved")
    entries = anna.get(path)["activity"]
    assert [each["type"] for each in entries] == [
        "set_unresolved",
        "set_resolved",
        "unassigned",
        "assigned",
        "assigned",
    ]
    assert entries[-1]["user"]["email"] == "anna@acme.example"
    assert entries[0]["user"]["name"] == "token:test"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"status": "done"}, "allowed are resolved"),
        (
            {"status": "resolved", "statusDetails": {"inCommit": {"commit": "a"}}},
            "inCommit cannot be done here",
        ),
        (
            {"status": "ignored", "statusDetails": {"ignoreCount": 1, "ignoreWindow": 60}},
            "ignoreWindow cannot be done here",
        ),
        ({"status": "ignored", "substatus": "archived_until_escalating"}, "escalate"),
        ({"status": "ignored", "statusDetails": {"ignoreCount": "many"}}, "whole numbers"),
        ({"title": "x"}, "cannot be changed here"),
        ({"merge": 1}, "two issues"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(anna: Caller, sent: dict[str, Any], said: str) -> None:
    path = f"{ISSUES}{named(anna, 'Timeout2')['id']}/"
    assert said in anna.put(path, 400, **sent)["detail"]
    assert anna.get(path)["status"] == "unresolved"


def test_many_are_changed_and_no_others(anna: Caller) -> None:
    ids = [each["id"] for each in anna.get(ISSUES, query="Timeout4")]
    assert len(ids) == 11
    assert anna.put(ISSUES, query=[("id", ids[0]), ("id", ids[1])], status="resolved") == {
        "status": "resolved"
    }
    assert {each["id"] for each in anna.get(ISSUES, query="is:resolved")} == set(ids[:2])
    anna.put(SHOP, query={"query": "is:resolved Timeout4"}, status="unresolved")
    assert anna.get(ISSUES, query="is:resolved") == []
    assert "name the issues" in anna.put(ISSUES, 400, status="resolved")["detail"]
    strange = named(anna, "Overdrawn")["id"]
    assert anna.put(SHOP, 404, query={"id": strange}, status="resolved")


def test_merged_issues_are_one_at_once(anna: Caller) -> None:
    ids = [anna.get(ISSUES, query=f"Timeout{n}")[0]["id"] for n in (31, 32)]
    told = anna.put(ISSUES, query=[("id", each) for each in ids], merge=1)["merge"]
    assert (told["parent"], told["children"]) == (min(ids, key=int), [max(ids, key=int)])
    for each in ids:
        found = anna.get(f"{ISSUES}{each}/")
        assert (found["id"], found["count"]) == (told["parent"], "2")


def test_comments_are_written_in_the_callers_name(anna: Caller) -> None:
    path = f"{ISSUES}{named(anna, 'Timeout3')['id']}/"
    answer = anna("POST", f"{path}notes/", json={"text": "seen before"})
    assert (answer.status_code, answer.json()["user"]["email"]) == (201, "anna@acme.example")
    assert [each["data"]["text"] for each in anna.get(f"{path}comments/")] == ["seen before"]
    assert anna.get(f"{path}activities/")["activity"][0]["type"] == "note"
    assert anna.get(path)["numComments"] == 1


def test_scopes_are_asked_for_by_name(api: Api) -> None:
    reads = api.caller("event:read")
    issue = named(reads, "Timeout5")
    assert "event:write" in reads.put(f"{ISSUES}{issue['id']}/", 403, status="resolved")["detail"]
    assert "event:read" in api.caller("org:read").get(ISSUES, 403)["detail"]
    writes = api.caller("event:write")
    assert writes.put(f"{ISSUES}{issue['id']}/", status="unresolved")["id"] == issue["id"]
    assert writes("DELETE", f"{ISSUES}{issue['id']}/").status_code == 403
    viewer = api.caller(member="vic@acme.example")
    assert viewer.get(ISSUES)
    assert viewer.put(f"{ISSUES}{issue['id']}/", 403, status="resolved")
    assert viewer("POST", f"{ISSUES}{issue['id']}/notes/", json={"text": "x"}).status_code == 403


def test_discarded_issues_are_gone_and_kept_again(admin: Caller) -> None:
    issue = named(admin, "Timeout6")
    assert admin("DELETE", f"{ISSUES}{issue['id']}/").status_code == 202
    assert [each for each in admin.get(ISSUES, query="") if each["id"] == issue["id"]] == []
    admin.put(f"{ISSUES}{issue['id']}/", status="unresolved")


def test_who_may_not_see_a_project_gets_nothing_of_it(api: Api, admin: Caller) -> None:
    """Every endpoint, asked by a member of another project with the ids of this one."""
    issue = named(admin, "ValueError")
    params = {
        "org": "acme", "project": "shop", "issue": issue["id"], "event": RICH, "version": "shop@1.4.0", "team": "payments", "number": "1",
        "key": "browser", "slug": "nightly", "check_in": "a" * 32,
    }  # fmt: skip
    secrets = (issue["title"][:20], "SHOP-", "shop@1.4", "order.json", "Timeout", "abcdef")
    for endpoint in ENDPOINTS:
        ben = api.caller(member="ben@acme.example")  # of his own: a token may not ask so much
        path = re.sub(r"{(\w+)}", lambda match: params[match[1]], endpoint.path)
        body = {
            "status": "resolved",
            "version": "shop@9",
            "projects": ["shop"],
            "text": "x",
            "environment": "x",
        }
        for query in (
            {},
            {"project": "1", "id": issue["id"]},
            {"query": "", "full": "true", "field": "title"},
        ):
            answer = ben(endpoint.method, path, query=query, json=body if endpoint.method != "GET" else None)
            shown = answer.text if answer.status_code < 400 else answer.text.replace(params["version"], "")
            assert not [each for each in secrets if each in shown], (
                f"{endpoint.method} {path} {query}: {shown[:300]}"
            )
            if "{project}" in endpoint.path or "{issue}" in endpoint.path:
                assert answer.status_code in (400, 404, 409), (
                    f"{endpoint.method} {path} {query}: {answer.status_code}"
                )
    after = admin.get(f"{ISSUES}{issue['id']}/")
    assert (after["status"], after["numComments"]) == ("unresolved", 0)
    assert [each["title"][:9] for each in ben.get(ISSUES, query="")] == ["Overdrawn"]


def test_pollers_are_told_that_nothing_changed(anna: Caller) -> None:
    first = anna("GET", ISSUES)
    etag = first.headers["etag"]
    assert etag.startswith('W/"')
    again = anna("GET", ISSUES, **{"if-none-match": etag})
    assert again.status_code in (200, 304), "another minute may have begun"
    assert again.status_code == 200 or again.content == b""
    other = anna("GET", ISSUES, query={"query": "x"}, **{"if-none-match": etag})
    assert other.status_code == 200
    anna.put(f"{ISSUES}{named(anna, 'Timeout7')['id']}/", assignedTo="me")
    assert anna("GET", ISSUES, **{"if-none-match": etag}).status_code == 200


def test_a_token_may_be_the_user_of_basic(api: Api, anna: Caller) -> None:
    token = anna.headers["authorization"].removeprefix("Bearer ")
    basic = base64.b64encode(f"{token}:".encode()).decode()
    assert anna("GET", "/auth/", authorization=f"Basic {basic}").json()["email"] == "anna@acme.example"
    for wrong in ("Basic x", f"Basic {base64.b64encode(b':').decode()}", f"Digest {token}"):
        assert anna("GET", "/auth/", authorization=wrong).status_code == 401


def test_large_bodies_are_looked_into_two_at_a_time(
    api: Api, anna: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few together would be all the memory there is."""
    at_work, most, lock = [0], [0], Lock()

    def slow(body: bytes) -> object:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        time.sleep(0.2)
        with lock:
            at_work[0] -= 1
        return []

    monkeypatch.setattr(issue_change, "decode_json", slow)
    path = f"http://test/api/0/issues/{named(anna, 'Timeout7')['id']}/"

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(api.app), headers=anna.headers) as client:
            body = b" " * (LARGE_BYTES + 1)
            return await asyncio.gather(*(client.put(path, content=body) for _ in range(6)))

    answers = [answer.status_code for answer in asyncio.run(ask())]
    assert (most[0], set(answers)) == (LARGE_AT_ONCE, {400})


def test_data_that_is_not_kept_is_empty(anna: Caller) -> None:
    for dataset in ("logs", "spans", "replays"):
        assert anna.get("/organizations/acme/events/", dataset=dataset, field="id")["data"] == []
    assert anna.get("/organizations/acme/events/", 400, dataset="nonsense")


def test_what_there_is_to_know_of_projects(anna: Caller) -> None:
    project = anna.get("/projects/acme/shop/")
    assert (project["id"], project["organization"]["slug"]) == ("1", "acme")
    assert set(project["environments"]) == {"production", "staging", "<b>x</b>"}
    (key,) = anna.get("/projects/acme/1/keys/")
    assert key["dsn"]["public"] == "http://abcdef@127.0.0.1:9000/1"
    assert "secret" not in str(key)
    assert [p["slug"] for p in anna.get("/projects/", query="dsn:efghij")] == ["billing"]
    assert anna.get("/projects/acme/acme/", 404)
    assert anna.get("/organizations/acme/")["orgRole"] == "member"
    names = {each["name"] for each in anna.get("/organizations/acme/environments/")}
    assert {"production", "staging"} <= names
    assert [p["slug"] for p in anna.get("/teams/acme/payments/projects/")] == ["shop", "billing"]


def test_what_stands_in_the_configuration_is_changed_there(admin: Caller) -> None:
    for method, path in (
        ("PUT", "/projects/acme/shop/"),
        ("POST", "/organizations/acme/teams/"),
        ("POST", "/projects/acme/shop/keys/"),
    ):
        answer = admin(method, path, json={"name": "x"})
        assert (answer.status_code, "configuration file" in answer.json()["detail"]) == (409, True)


def test_a_token_that_asks_too_much_is_told_to_wait() -> None:
    now = [0.0]
    limits = Limits(lambda: now[0])
    for _ in range(A_SECOND):
        with limits.one_of(1):
            pass
    with pytest.raises(ApiError, match="calls a second") as refused, limits.one_of(1):
        pass
    assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "1"})
    with limits.one_of(2):
        pass
    now[0] = 1.0
    opened = [limits.one_of(1) for _ in range(AT_ONCE)]
    for each in opened:
        each.__enter__()
    with pytest.raises(ApiError, match="at once"), limits.one_of(1):
        pass
    for each in opened:
        each.__exit__(None, None, None)
    with limits.one_of(1):
        pass


def test_no_answer_is_kept_by_others_or_taken_for_something_else(anna: Caller) -> None:
    for answer in (
        anna("GET", "/organizations/acme/projects/"),
        anna("GET", "/organizations/nobody/issues/"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"].startswith("private")

"""Answers of trackers: what each asks for, by its kind and not by its words alone."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.trackers.answers import CREATING, READING, Do, Verdict, judge
from tasks_pipeline.trackers.waits import CAP, FLOOR, pause
from tests.support.integration_cases import cases

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
ADDRESSES = {
    "github": ("https://api.github.com", "https://github.corp.example/api/v3"),
    "gitlab": ("https://gitlab.com/api/v4",),
    "jira_cloud": ("https://acme.atlassian.net/rest/api",),
    "jira_dc": ("https://jira.corp.example/rest/api",),
    "redmine": ("https://redmine.corp.example",),
    "roundup": ("https://roundup.corp.example/tracker/rest",),
}
"""Where the APIs of the specification's examples begin."""
SCOPES = ("endpoint", "issue", "comments", "writes", "integration")
PROVIDERS = sorted(ADDRESSES)
CALLS = (
    "read",
    "list",
    "create",
    "comment",
    "close",
    "reopen",
    "assign",
    "edit",
    "delete",
    "search",
    "app token",
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "errors", "error", "errorMessages", "field", "msg", "id"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def base_of(case: dict[str, Any]) -> str:
    """The one that a redirect of a case leads to, else the first."""
    location = {name.lower(): value for name, value in case["headers"].items()}.get("location", "")
    bases = ADDRESSES[case["provider"]]
    return next((base for base in bases if location.startswith(base)), bases[0])


def scope_of(text: str) -> str:
    return next((scope for scope in SCOPES if scope in text), "")


def judged(provider: str, call: str, status: int, body: object = "", **headers: str) -> Verdict:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(provider, call, status, named, body, AT, base=ADDRESSES[provider][0])


@cases("answers")
def test_a_case_of_an_answer(case: dict[str, Any]) -> None:
    known = "id provider call status headers body at do wait scope tracker fields then to after note"
    assert set(case) <= set(known.split())
    at = datetime.fromisoformat(case["at"])
    arguments = (case["provider"], case["call"], case["status"], case["headers"], case["body"], at)
    for _ in range(20):  # a part of each wait is left to chance
        found = judge(*arguments, base=base_of(case))
        assert found.do is Do(case["do"])
        least, most = case.get("wait", (0, CAP))
        assert least <= found.wait <= most
    if "scope" in case:
        assert scope_of(found.scope) == scope_of(case["scope"])
    assert found.tracker == case.get("tracker", "")
    assert list(found.fields) == case.get("fields", [])
    assert found.to == case.get("to", "")
    assert bool(found.then) == bool(case.get("then"))
    assert case.get("then", "").startswith(found.then)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 520])
def test_what_may_have_been_made_is_looked_for(provider: str, status: int) -> None:
    assert judged(provider, "create", status).do is Do.UNKNOWN
    assert judged(provider, "comment", status).do is Do.UNKNOWN
    assert judged(provider, "close", status).do is Do.LOOK_AGAIN
    assert judged(provider, "read", status).do is Do.RETRY


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "body",
    [
        "",
        "ok",
        "[1, 2",
        '{"id": 1',
        "<html>",
        "<!doctype html><title>Sign in</title>",
        '"text"',
        "[]",
        "null",
    ],
)
def test_a_created_one_that_cannot_be_read_is_looked_for(provider: str, body: str) -> None:
    assert judged(provider, "create", 201, body).do is Do.UNKNOWN


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "body",
    [
        "",
        "ok",
        "<html>",
        '"text"',
        "12",
        "null",
        {"message": "Server Error"},
        {"errorMessages": ["x"], "errors": {}},
    ],
)
def test_a_list_without_json_is_never_an_empty_list(provider: str, body: object) -> None:
    assert judged(provider, "list", 200, body).do is Do.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "to", "do"),
    [
        (301, "https://api.github.com/repositories/7/issues/9", Do.FOLLOW),
        (308, "/repositories/7/issues/9", Do.FOLLOW),
        (301, "http://api.github.com/repositories/7", Do.MISCONFIGURED),
        (301, "https://api.github.com:8443/repositories/7", Do.MISCONFIGURED),
        (301, "https://api.github.com.evil.example/repositories/7", Do.MISCONFIGURED),
        (301, "https://api.github.com@evil.example/repositories/7", Do.MISCONFIGURED),
        (307, "http://169.254.169.254/latest/meta-data", Do.MISCONFIGURED),
        (307, "//evil.example/", Do.MISCONFIGURED),
        (302, "https://github.com/login?return_to=x", Do.AUTH_FAILED),
        (303, "https://idp.acme.example/saml2/start", Do.AUTH_FAILED),
        (302, "https://sso.acme.example/", Do.AUTH_FAILED),
        (301, "", Do.UNREACHABLE),
        (301, "http://[::1/", Do.MISCONFIGURED),
    ],
)
def test_a_redirect_is_followed_within_the_api_alone(status: int, to: str, do: Do) -> None:
    assert judged("github", "read", status, "", Location=to).do is do


def test_a_login_on_the_same_server_is_no_place_to_go_on() -> None:
    assert judged("redmine", "read", 302, "", Location="/login?back_url=%2Fissues.json").do is Do.AUTH_FAILED
    assert judged("redmine", "read", 301, "", Location="/projects/auth.json").do is Do.FOLLOW


@pytest.mark.parametrize("to", ["/api/v4/../../admin", "/api/v4/%2e%2e/%2e%2e/admin", "/api/v40/x", "/other"])
def test_a_redirect_does_not_leave_the_path_of_the_api(to: str) -> None:
    assert judged("gitlab", "read", 307, "", Location=to).do is Do.MISCONFIGURED


@pytest.mark.parametrize(
    ("provider", "call", "status", "body", "do"),
    [
        ("github", "read", 410, {"message": "This issue was deleted"}, Do.GONE),
        ("github", "close", 410, {"message": "Issues has been disabled in this repository."}, Do.HELD),
        ("github", "read", 404, {"message": "Not Found"}, Do.MAYBE_GONE),
        ("github", "create", 404, {"message": "Not Found"}, Do.HELD),
        ("github", "read", 404, "<html>nginx</html>", Do.UNREACHABLE),
        ("github", "read", 451, {"message": "Repository access blocked"}, Do.GONE),
        ("github", "comment", 403, {"message": "Unable to create comment because issue is locked."}, Do.HELD),
        ("github", "create", 403, {"message": "Repository was archived so is read-only."}, Do.HELD),
        ("github", "read", 403, {"message": "This installation has been suspended"}, Do.AUTH_FAILED),
        ("github", "app token", 404, {"message": "Not Found"}, Do.AUTH_FAILED),
        ("github", "create", 400, {"message": "Problems parsing JSON"}, Do.BUG),
        ("github", "list", 422, {"message": "Validation Failed", "errors": [{"field": "since"}]}, Do.BUG),
        ("gitlab", "read", 404, {"message": "404 Project Not Found"}, Do.HELD),
        ("gitlab", "read", 404, {"message": "404 Issue Not Found"}, Do.MAYBE_GONE),
        ("jira_dc", "read", 403, "", Do.HELD),
        ("jira_cloud", "search", 400, {"errorMessages": ["The value 'X' does not exist for the field 'project'."]}, Do.MISCONFIGURED),
        ("jira_cloud", "close", 204, "", Do.READ_IT),
        ("redmine", "comment", 204, "", Do.READ_IT),
        ("github", "delete", 204, "", Do.GOOD),
        ("github", "close", 425, "", Do.RETRY),
        ("github", "read", 200, {"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}, Do.RATE_LIMITED),
        ("roundup", "comment", 409, {"error": {"status": 409, "msg": "Must provide the 'author' property."}}, Do.DEAD),
        ("roundup", "close", 409, {"error": {"status": 409, "msg": "x"}}, Do.LOOK_AGAIN),
        ("jira_dc", "create", 403, "XSRF check failed", Do.BUG),
        ("github", "create", 413, "", Do.DEAD),
        ("github", "read", 700, "", Do.UNREACHABLE),
        ("github", "create", 999, "", Do.UNKNOWN),
    ],
)  # fmt: skip
def test_one_status_means_different_things(
    provider: str, call: str, status: int, body: object, do: Do
) -> None:
    assert judged(provider, call, status, body).do is do


def test_a_captcha_is_no_matter_of_rights() -> None:
    found = judged(
        "jira_dc", "read", 403, "", X_Authentication_Denied_Reason="CAPTCHA_CHALLENGE; login-url=x"
    )
    assert found.do is Do.AUTH_FAILED


@pytest.mark.parametrize(
    ("reason", "scope"),
    [
        ("jira-burst-based", "endpoint"),
        ("jira-per-issue-on-write", "issue"),
        ("jira-quota-global-based", "integration"),
    ],
)
def test_a_limit_of_jira_has_a_scope(reason: str, scope: str) -> None:
    found = judged("jira_cloud", "close", 429, "", RateLimit_Reason=reason, Retry_After="5")
    assert (found.do, found.scope) == (Do.RATE_LIMITED, scope)


@pytest.mark.parametrize(
    ("provider", "body", "fields", "then", "tracker"),
    [
        ("github", {"errors": [{"field": "labels", "code": "invalid"}, {"field": "assignees"}]}, ["labels", "assignees"], True, ""),
        ("github", {"errors": [{"field": "body", "message": "body is too long"}]}, ["body"], False, ""),
        ("github", {"errors": "strange"}, [], False, ""),
        ("gitlab", {"error": "title is missing, labels is invalid"}, ["title", "labels"], False, "misconfigured"),
        ("gitlab", {"message": {"assignee_ids": ["is invalid"]}}, ["assignee_ids"], True, ""),
        ("jira_cloud", {"errors": {"priority": "Field 'priority' cannot be set."}}, ["priority"], True, ""),
        ("jira_dc", {"errors": {"summary": "You must specify a summary of the issue."}}, ["summary"], False, ""),
        ("jira_dc", {"errors": {"issuetype": "The issue type selected is invalid."}}, ["issuetype"], False, "misconfigured"),
        ("roundup", {"error": {"msg": "Must provide the 'title' property."}}, ["title"], False, ""),
        ("redmine", {"errors": ["Project is invalid"]}, ["Project"], False, "misconfigured"),
        ("redmine", {"errors": ["Assignee is invalid"]}, ["Assignee"], True, ""),
        ("redmine", {"errors": ["Subject is too long (maximum is 255 characters)"]}, ["Subject"], False, ""),
        ("redmine", {"errors": ["Team cannot be blank", "Area is not included in the list"]}, ["Team", "Area"], False, "misconfigured"),
    ],
)  # fmt: skip
def test_fields_that_were_refused(
    provider: str, body: object, fields: list[str], then: bool, tracker: str
) -> None:
    found = judged(provider, "create", 422 if provider in ("github", "redmine") else 400, body)
    assert (found.do, list(found.fields), bool(found.then), found.tracker) == (Do.DEAD, fields, then, tracker)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("30", 30, 33), ("0", 1, 1.1), ("-5", 1, 1.1), ("1.5", 1.5, 1.65), ("86400", CAP, CAP), ("9" * 30, 60, 66), ("", 60, 66),
        ("soon", 60, 66), ("nan", 60, 66), ("inf", 60, 66), ("1e9", 60, 66), ("٣", 60, 66),
        (format_datetime(AT + timedelta(seconds=90), usegmt=True), 90, 99),
        (format_datetime(AT - timedelta(hours=1), usegmt=True), 1, 1.1),
        (format_datetime(AT + timedelta(days=3000), usegmt=True), CAP, CAP),
    ],
)  # fmt: skip
def test_how_long_a_limit_lasts(text: str, least: float, most: float) -> None:
    waits = [judged("roundup", "read", 429, "", Retry_After=text).wait for _ in range(50)]
    assert least <= min(waits) <= max(waits) <= most


@pytest.mark.parametrize(
    ("reset", "least", "most"),
    [
        (str(int(AT.timestamp()) + 900), 901, 905), (str((int(AT.timestamp()) + 900) * 1000), 901, 905), ("59.6", 60, 65),
        ("2026-11-22T10:15:00Z", 901, 905), ("2026-11-22T11:15+01:00", 901, 905), (str(int(AT.timestamp()) - 900), 1, 5),
        ("9" * 19, CAP, CAP), ("x", 60, 66), ("", 60, 66),
    ],
)  # fmt: skip
def test_when_a_used_up_limit_is_there_again(reset: str, least: float, most: float) -> None:
    waits = [
        judged("jira_cloud", "read", 429, "", X_RateLimit_Remaining="0", X_RateLimit_Reset=reset).wait
        for _ in range(50)
    ]
    assert least <= min(waits) <= max(waits) <= most


def test_their_clock_counts_and_not_ours() -> None:
    theirs = AT + timedelta(minutes=10)
    headers = {
        "date": format_datetime(theirs, usegmt=True),
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int(theirs.timestamp()) + 60),
    }
    found = pause(headers, AT)
    assert found is not None
    assert 61 <= found.seconds <= 65


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=5), st.text(max_size=30))
def test_any_headers_give_a_bounded_wait_or_none(after: str, reset: str, left: str, date: str) -> None:
    found = pause(
        {"retry-after": after, "x-ratelimit-reset": reset, "x-ratelimit-remaining": left, "date": date}, AT
    )
    assert found is None or FLOOR <= found.seconds <= CAP


@given(
    st.sampled_from(PROVIDERS),
    st.sampled_from(CALLS),
    st.integers(0, 1000),
    st.dictionaries(
        st.sampled_from(["Location", "Retry-After", "Content-Type", "X-RateLimit-Remaining", "Date"]),
        st.text(max_size=20),
    ),
    VALUES | st.text(max_size=30) | st.binary(max_size=30),
)
def test_every_answer_has_a_verdict(
    provider: str, call: str, status: int, headers: dict[str, str], body: object
) -> None:
    found = judge(provider, call, status, headers, body, AT)
    assert 0 <= found.wait <= CAP
    assert len(found.said) <= 700
    assert found.do is not Do.UNKNOWN or call in CREATING
    assert found.do is not Do.LOOK_AGAIN or call not in READING or status in (405, 409, 412, 428)
    if call in CREATING and (status in (408, 500, 502, 503, 504) or status > 599):
        assert found.do is Do.UNKNOWN, "it may be there"


def test_a_refusal_of_millions_of_letters_costs_no_seconds() -> None:
    """And the same for a list of as many."""
    for value in (
        {"message": "property 'a" * 800_000},
        {"errors": ["x cannot be "] * 800_000},
        "rate " * 2_000_000,
    ):
        began = time.process_time()
        judge("redmine", "create", 422, {}, value, AT)
        assert time.process_time() - began < 0.5

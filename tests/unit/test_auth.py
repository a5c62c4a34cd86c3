"""DSNs and the forms of authentication that real clients use."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.protocol.auth import (
    AuthError,
    Credentials,
    Dsn,
    parse_auth_header,
    parse_dsn,
    request_credentials,
    with_dsn,
)

KEY = "0123456789abcdef0123456789abcdef"
HEADER = f"Sentry sentry_key={KEY}, sentry_version=7, sentry_client=sentry.python/2.75.0"


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        (f"http://{KEY}@127.0.0.1:9000/1", "http://127.0.0.1:9000"),
        (f"https://{KEY}:secret@errors.example.com/1", "https://errors.example.com"),
        (f"https://{KEY}@example.com/some/prefix/1", "https://example.com/some/prefix"),
        (f"http://{KEY}@[::1]:9000/1/", "http://[::1]:9000"),
    ],
)
def test_dsn(text: str, base_url: str) -> None:
    assert parse_dsn(text) == Dsn(KEY, 1, base_url)


@pytest.mark.parametrize(
    "text",
    ["", None, 7, "http://127.0.0.1/1", f"http://{KEY}@127.0.0.1/shop", f"http://{KEY}@127.0.0.1", f"ftp://{KEY}@h/1",
     f"http://{KEY}@:80/1", f"http://{KEY}@h:port/1", f"http://{KEY}@[::1/1", "http://a b@h/1", f"http://{KEY}@h/{'9' * 30}",
     f"http://{KEY}@h/٣"],
)  # fmt: skip
def test_what_is_no_dsn(text: object) -> None:
    with pytest.raises(AuthError):
        parse_dsn(text)


@given(st.text())
def test_any_text_is_a_dsn_or_an_auth_error(text: str) -> None:
    for candidate in (text, f"http://{text}/1", f"http://{KEY}@{text}"):
        with suppress(AuthError):
            parse_dsn(candidate)


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        f"sentry sentry_client=x,sentry_key={KEY}",
        f"Sentry sentry_version=7, sentry_timestamp=1795348000.1, sentry_key={KEY}, sentry_secret=0",
    ],
)
def test_auth_header_in_any_order(header: str) -> None:
    pairs = parse_auth_header(header)
    assert pairs is not None
    assert pairs["sentry_key"] == KEY


@pytest.mark.parametrize(
    "form",
    [
        {"x_sentry_auth": HEADER},
        {"authorization": HEADER},
        {"query": {"sentry_key": KEY, "sentry_client": "sentry.python/2.75.0"}},
        {"x_sentry_auth": HEADER, "query": {"sentry_key": KEY}},
        {"x_sentry_auth": HEADER, "authorization": "Basic dXNlcjpwYXNz"},
        {"x_sentry_auth": HEADER, "path_key": KEY},
    ],
)
def test_each_form_and_forms_that_agree(form: dict[str, object]) -> None:
    assert request_credentials(**form) == Credentials(KEY, None, "sentry.python/2.75.0")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "form",
    [
        {"x_sentry_auth": HEADER, "query": {"sentry_key": "other"}},
        {"authorization": HEADER, "path_key": "other"},
        {"query": {"sentry_key": ""}},
        {"x_sentry_auth": "Sentry sentry_version=7"},
        {"path_key": "../../etc"},
    ],
)
def test_forms_that_disagree_or_are_broken(form: dict[str, object]) -> None:
    with pytest.raises(AuthError):
        request_credentials(**form)  # type: ignore[arg-type]


def test_no_form_at_all() -> None:
    assert request_credentials(authorization="Bearer abc", query={"sentry_version": "7"}) is None


def test_the_dsn_of_the_envelope_stands_alone_or_agrees() -> None:
    dsn = f"https://{KEY}@example.com/4"
    assert with_dsn(None, dsn) == Credentials(KEY, 4)
    assert with_dsn(Credentials(KEY, None, "c"), dsn) == Credentials(KEY, 4, "c")
    assert with_dsn(Credentials(KEY), None) == Credentials(KEY)
    for credentials, other in ((Credentials("other"), dsn), (None, None), (Credentials(KEY), "nonsense")):
        with pytest.raises(AuthError):
            with_dsn(credentials, other)


def test_a_client_cannot_make_its_name_long() -> None:
    credentials = request_credentials(query={"sentry_key": KEY, "sentry_client": "x" * 10_000})
    assert credentials is not None
    assert credentials.client == "x" * 200

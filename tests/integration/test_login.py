"""Logging in to the pages: by password, provider and proxy; and all that must not get in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Semaphore
from urllib.parse import urlencode

import httpx
import pytest
from click.testing import CliRunner
from joserfc.jwk import RSAKey

from tasks_pipeline.access import failures, passwords, sessions
from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.pages.app import PAGES
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import login_failures
from tasks_pipeline.web.app import create_web
from tasks_pipeline.web.login.routes import AT_ONCE
from tests.support.oidc_provider import CLIENT, SECRET, Provider
from tests.support.receiver import serving

ANNA, BEN, EVE = "anna@acme.example", "ben@acme.example", "eve@acme.example"
PASSWORD = "correct horse battery staple"
PROJECTS = f"""\
projects:
  - {{id: 1, slug: shop, keys: [{{public_key: abcd}}]}}
  - {{id: 2, slug: web, keys: [{{public_key: efgh}}]}}
members: [{{email: {ANNA}, role: admin}}, {{email: {BEN}}}, {{email: {EVE}, role: viewer, sees: [web]}}]
"""


class Service:
    """A web process, and a browser's way to it."""

    def __init__(self, home: Home, url: str, state: StateDatabase) -> None:
        self.home, self.url, self.state = home, url, state

    def configure(self, web: str) -> None:
        self.home.config_path.write_text(f"{PROJECTS}web: {web}\n")

    def browser(self) -> httpx.Client:
        """Nobody yet; keeps its cookies, and says of forms that they are of our own pages."""
        return httpx.Client(base_url=self.url, timeout=60, headers={"accept": "text/html"})

    def logged_in(self, member: str) -> httpx.Client:
        browser = self.browser()
        text = sessions.begin(self.state, member, "password", datetime.now(UTC))
        browser.cookies.set("tasks_pipeline", text, domain="127.0.0.1")
        return browser


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Service]:
    home = new_home(tmp_path_factory.mktemp("login"))
    home.config_path.write_text(f"{PROJECTS}web: {{login: [password]}}\n")
    with ExitStack() as stack:
        state = stack.enter_context(closing(StateDatabase(home)))
        passwords.accept(state, passwords.invite(state, ANNA, datetime.now(UTC)), PASSWORD, datetime.now(UTC))
        yield Service(home, stack.enter_context(serving(create_web(home))), state)


@pytest.fixture(autouse=True)
def _by_password(service: Service) -> None:
    service.configure("{login: [password]}")
    with service.state.write() as connection:
        connection.execute(login_failures.delete())


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{32})"', page)
    assert found
    return found[1]


def log_in(
    browser: httpx.Client, password: str = PASSWORD, email: str = ANNA, back: str = ""
) -> httpx.Response:
    return browser.post("/login/", data={"email": email, "password": password, "return": back})


def test_a_person_logs_in_and_out(service: Service) -> None:
    with service.browser() as browser:
        away = browser.get("/groups/?query=is%3Aresolved&x=1")
        assert (away.status_code, away.headers["location"]) == (
            303, "/login/?return=%2Fgroups%2F%3Fquery%3Dis%253Aresolved%26x%3D1"
        )  # fmt: skip
        form = browser.get(away.headers["location"])
        assert form.status_code == 200
        assert "script-src 'self'" in form.headers["content-security-policy"]
        assert 'value="/groups/?query=is%3Aresolved&amp;x=1"' in form.text
        answer = log_in(browser, back="/groups/?query=is%3Aresolved&x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/groups/?query=is%3Aresolved&x=1")
        kept = answer.headers["set-cookie"].lower()
        assert {"httponly", "samesite=lax", "path=/"} <= {part.strip() for part in kept.split(";")}
        assert "secure" not in kept, "by http a browser would not keep it"
        page = browser.get("/account/")
        assert ANNA in page.text
        assert browser.post("/logout/", data={"csrf": csrf(page.text)}).status_code == 303
        assert browser.get("/account/").status_code == 303
        with service.state.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM web_sessions").scalar() == 0


def test_by_https_the_cookie_is_of_this_host_alone(service: Service) -> None:
    service.configure("{login: password, public_url: 'https://errors.acme.example'}")
    with service.browser() as browser:
        browser.headers["host"] = "errors.acme.example"
        kept = log_in(browser).headers["set-cookie"]
        assert kept.startswith("__Host-tasks_pipeline=")
        assert "; Secure" in kept
        assert "Domain" not in kept


def test_wrong_passwords_say_nothing_of_who_is_a_member(service: Service) -> None:
    with service.browser() as browser:
        said = [log_in(browser, "wrong " * 3, email) for email in (ANNA, BEN, "nobody@acme.example")]
        texts = {re.sub(r'value="[^"]*@[^"]*"', "", each.text) for each in said}
        assert {each.status_code for each in said} == {403}
        assert len(texts) == 1
        assert "Address or password is wrong." in texts.pop()


def test_who_guesses_waits_and_others_do_not(service: Service) -> None:
    with service.browser() as browser:
        for n in range(failures.TOGETHER):
            assert log_in(browser, f"wrong password {n}").status_code == 403, n
        refused = log_in(browser)
        assert (refused.status_code, int(refused.headers["retry-after"]) > 800) == (429, True)
        assert log_in(browser, email=BEN).status_code == 403, "another member is asked"


def test_strangers_take_neither_all_threads_nor_memory(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, goes_on, statuses = Semaphore(0), Event(), list[int]()

    def slow(*_: object) -> bool:
        at_work.release()
        return goes_on.wait(60) and False

    monkeypatch.setattr(passwords, "is_right", slow)
    with service.browser() as browser, ThreadPoolExecutor(AT_ONCE) as many:

        def guess(name: int) -> None:
            statuses.append(log_in(browser, email=f"{name}@acme.example").status_code)

        asked = [many.submit(guess, n) for n in range(AT_ONCE)]
        assert all(at_work.acquire(timeout=60) for _ in asked)
        refused = log_in(browser)
        goes_on.set()
        for each in asked:
            each.result()
        assert (refused.status_code, set(statuses)) == (503, {403})
        assert log_in(browser).status_code == 403, "there is place again"
        assert browser.post("/login/", data={"password": "a" * 40_000}).status_code == 413
    with service.logged_in(EVE) as browser:
        form = {"data": {"a": [""] * 20_001}, "headers": {"x-csrf": csrf(browser.get("/account/").text)}}
        assert browser.post("/groups/undo/", **form).status_code == 413  # type: ignore[arg-type]
        assert browser.get("/pipeline/backfills/abcdef/").status_code == 403


def test_a_session_that_was_planted_is_worth_nothing(service: Service) -> None:
    with service.logged_in(EVE) as browser:
        planted = browser.cookies["tasks_pipeline"]
        log_in(browser, back="/account/")
        assert browser.cookies["tasks_pipeline"] != planted
    with service.browser() as thief:
        thief.cookies.set("tasks_pipeline", planted)
        assert thief.get("/account/").status_code == 303
        thief.cookies.set("tasks_pipeline", "guessed")
        assert thief.get("/account/").status_code == 303


@pytest.mark.parametrize(
    "back", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example", "", "/groups/\r\nx: y"]
)  # fmt: skip
def test_a_login_leads_nowhere_else(service: Service, back: str) -> None:
    with service.browser() as browser:
        form = browser.get(f"/login/?{urlencode({'return': back})}")
        assert 'name="return" value="/groups/"' in form.text
        assert log_in(browser, back=back).headers["location"] == "/groups/"


def test_a_form_needs_the_token_of_its_session(service: Service) -> None:
    with service.logged_in(ANNA) as browser, service.logged_in(BEN) as other:
        token, foreign = (csrf(each.get("/account/").text) for each in (browser, other))
        data = {"name": "x", "scope": "event:read"}
        for sent in ({}, {"csrf": ""}, {"csrf": foreign}, {"csrf": "é"}):
            answer = browser.post("/account/tokens/", data=data | sent)
            assert (answer.status_code, "older" in answer.text or "another login" in answer.text) == (
                403,
                True,
            )
        for headers in (
            {"sec-fetch-site": "cross-site"},
            {"origin": "https://evil.example"},
            {"sec-fetch-site": "same-site"},
        ):
            assert (
                browser.post("/account/tokens/", data=data | {"csrf": token}, headers=headers).status_code
                == 403
            )
        plain = {"content-type": "text/plain"}
        assert browser.post("/account/tokens/", content=f"csrf={token}", headers=plain).status_code == 403
        made = browser.post(
            "/account/tokens/", data=data | {"csrf": token}, headers={"sec-fetch-site": "same-origin"}
        )
        assert re.search(r"<code>sntryu_[0-9a-f]{64}</code>", made.text)


def test_a_token_of_the_account_page_does_what_its_person_may(service: Service) -> None:
    with service.logged_in(EVE) as browser, service.logged_in(ANNA) as anna:
        scopes = ["event:read", "org:read", "event:admin", "project:releases"]
        form = {"csrf": csrf(browser.get("/account/").text), "name": "mine", "scope": scopes}
        page = browser.post("/account/tokens/", data=form).text
        (token,) = re.findall(r"sntryu_[0-9a-f]{64}", page)
        said = browser.get("/api/0/", headers={"authorization": f"Bearer {token}"}).json()
        assert set(said["auth"]["scopes"]) == {"event:read", "org:read"}
        (number,) = re.findall(r'name="id" value="(\d+)"', page)
        theirs = {"csrf": csrf(anna.get("/account/").text), "id": number}
        assert anna.post("/account/tokens/revoke/", data=theirs).status_code == 404, "not hers to end"
        form = {"csrf": csrf(page), "id": number}
        assert browser.post("/account/tokens/revoke/", data=form).status_code == 303
        assert browser.get("/api/0/", headers={"authorization": f"Bearer {token}"}).status_code == 401


def test_a_session_is_no_token_of_the_web_api(service: Service) -> None:
    with service.logged_in(ANNA) as browser:
        assert browser.get("/api/0/organizations/").status_code == 401


def test_nobody_sees_any_page(service: Service) -> None:
    for ways in ("[password]", "[proxy], trusted_user_header: x-user, trusted_proxies: [10.0.0.0/8]"):
        service.configure(f"{{login: {ways}}}")
        with service.browser() as browser:
            for page in PAGES:
                answer = browser.request(
                    page.method, re.sub(r"\{\w+\}", "1", page.path), headers={"x-user": ANNA}
                )
                away = answer.status_code == 303 and answer.headers["location"].startswith("/login/?return=")
                assert away or answer.status_code == 401, page


def test_an_invitation_lets_in_once(service: Service) -> None:
    link = f"/invitations/{passwords.invite(service.state, BEN, datetime.now(UTC))}/"
    with service.browser() as browser:
        for _ in range(2):
            assert BEN in browser.get(link).text, "to look uses nothing up"
        short = browser.post(link, data={"password": "short", "again": "short"})
        assert (short.status_code, "has 5 characters" in short.text) == (400, True)
        differ = browser.post(link, data={"password": PASSWORD, "again": f"{PASSWORD}!"})
        assert (differ.status_code, "not the same" in differ.text) == (400, True)
        assert (
            browser.post(link, data={"password": PASSWORD, "again": PASSWORD}).headers["location"]
            == "/groups/"
        )
        assert BEN in browser.get("/account/").text
        assert browser.get(link).status_code == 404
    with service.browser() as browser:
        assert browser.post(link, data={"password": PASSWORD, "again": PASSWORD}).status_code == 404
        assert browser.get("/invitations/nothing/").status_code == 404


def test_another_password_ends_sessions_elsewhere(service: Service) -> None:
    with service.logged_in(ANNA) as here, service.logged_in(ANNA) as elsewhere:
        form = {
            "csrf": csrf(here.get("/account/").text),
            "old": "wrong",
            "password": PASSWORD,
            "again": PASSWORD,
        }
        assert here.post("/account/password/", data=form).status_code == 403
        assert here.post("/account/password/", data=form | {"old": PASSWORD}).status_code == 303
        assert here.get("/account/").status_code == 200
        assert elsewhere.get("/account/").status_code == 303


def test_who_is_no_member_any_more_is_out(service: Service) -> None:
    with service.logged_in(BEN) as browser:
        assert browser.get("/account/").status_code == 200
        text = service.home.config_path.read_text()
        service.home.config_path.write_text(text.replace(f"{{email: {BEN}}}, ", ""))
        assert browser.get("/account/").status_code == 303


def test_a_proxy_names_the_member(service: Service) -> None:
    service.configure("{login: [proxy], trusted_user_header: X-User, trusted_proxies: [127.0.0.1/32]}")
    with service.browser() as browser:
        assert EVE in browser.get("/account/", headers={"x-user": EVE.upper()}).text
        for sent in ({}, {"x-user": "nobody@acme.example"}, {"x-user": ""}):
            assert browser.get("/account/", headers=sent).status_code == 401, sent
        twice = [("x-user", EVE), ("x-user", ANNA)]
        assert browser.get("/account/", headers=twice).status_code == 401


@pytest.mark.parametrize(
    "web", ["{}", "{login: [proxy], trusted_user_header: X-User, trusted_proxies: [127.0.0.1/32]}"]
)
def test_what_a_browser_sends_by_itself_excuses_no_other_site(service: Service, web: str) -> None:
    service.configure(web)
    with service.browser() as browser:
        headers = {"x-user": ANNA, "authorization": "Basic YW5uYTpwdw=="}
        sent = {"data": {"token": "none"}, "headers": headers | {"sec-fetch-site": "cross-site"}}
        assert browser.post("/groups/undo/", **sent).status_code == 403  # type: ignore[arg-type]
        assert browser.post("/groups/undo/", data={"token": "none"}, headers=headers).status_code == 409


def test_without_a_login_pages_are_for_this_machine(service: Service) -> None:
    service.configure("{}")
    with service.browser() as browser:
        assert "This machine" in browser.get("/account/").text
        assert browser.get("/login/").headers["location"] == "/groups/"
        for sent in ({"x-forwarded-for": "10.0.0.9"}, {"x-forwarded-for": "unknown"}, {"x-forwarded-for": "127.0.0.1, 10.0.0.9"}, {"x-real-ip": "10.0.0.9"}, {"forwarded": "for=10.0.0.9"}):  # fmt: skip
            answer = browser.get("/groups/", headers=sent)
            assert (answer.status_code, "web.login" in answer.text) == (403, True), sent
        assert browser.get("/groups/", headers={"x-forwarded-for": "127.0.0.1"}).status_code == 200, (
            "as the receiver says"
        )


@pytest.mark.parametrize(
    "headers",
    [
        {"cookie": "tasks_pipeline=" + "a" * 5000}, {"cookie": "tasks_pipeline=\"; tasks_pipeline=a"}, {"cookie": "=; ;;=;\x01"},
        {"x-forwarded-for": ", ,,"}, {"x-forwarded-for": "a" * 9999}, {"x-forwarded-port": "9" * 5000}, {"authorization": "Basic é"},
        {"accept-encoding": "br;q=x,,;"}, {"sec-fetch-site": "same-origin, none"}, {"x-csrf": "é"}, {"x-original-method": "\x7f"},
    ],
    ids=str,
)  # fmt: skip
def test_headers_of_strangers_break_nothing(service: Service, headers: dict[str, str]) -> None:
    with service.browser() as browser:
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        for method, path in (
            ("GET", "/groups/"),
            ("GET", "/login/"),
            ("POST", "/login/"),
            ("GET", "/auth/check/"),
            ("GET", "/api/0/"),
        ):
            answer = browser.request(method, path, headers=raw)
            assert answer.status_code in (200, 303, 400, 401, 403), (path, answer.text)


def test_nothing_is_open_to_everybody(service: Service) -> None:
    service.configure("{}")
    result = CliRunner().invoke(
        main, ["--home", str(service.home.root), "web", "--host", "0.0.0.0", "--port", "0"]
    )
    assert result.exit_code == 1
    assert "everybody who reaches 0.0.0.0 could read and change all: web.login" in result.output


def test_another_process_is_told_who_asks(service: Service) -> None:
    path = "/auth/check/?role=admin"
    with service.browser() as nobody, service.logged_in(EVE) as viewer, service.logged_in(ANNA) as admin:
        assert nobody.get(path).status_code == 401
        assert viewer.get(path).status_code == 403
        assert viewer.get("/auth/check").headers["x-role"] == "viewer"
        known = admin.get(path)
        assert (known.status_code, known.headers["x-user"]) == (204, ANNA)
        for sent in ({"x-original-method": "POST"}, {"sec-fetch-mode": "websocket"}):
            foreign = sent | {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
            assert admin.get(path, headers=foreign).status_code == 403
            assert admin.get(path, headers=sent | {"sec-fetch-site": "same-origin"}).status_code == 204


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    with serving(provider) as url:  # type: ignore[arg-type]
        provider.url = url
        yield provider


@pytest.fixture
def by_provider(
    service: Service, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    """A browser where the provider lets in."""
    monkeypatch.setenv("OIDC_SECRET", SECRET)
    provider.email, provider.claims, provider.key = ANNA, {}, provider.announced
    oidc = f"{{issuer: '{provider.url}', client_id: {CLIENT}, client_secret: '${{env:OIDC_SECRET}}'}}"
    service.configure(f"{{login: [oidc], public_url: '{service.url}', oidc: {oidc}}}")
    with service.browser() as browser:
        yield browser


def to_and_back(browser: httpx.Client, back: str = "/account/") -> httpx.Response:
    """To the provider and back, as a browser goes."""
    to = browser.get("/login/oidc/", params={"return": back})
    assert to.status_code == 303
    return browser.get(httpx.get(to.headers["location"]).headers["location"])


def test_a_member_logs_in_at_the_provider(by_provider: httpx.Client) -> None:
    form = by_provider.get("/login/")
    assert "Log in with single sign-on" in form.text
    assert 'type="password"' not in form.text
    answer = to_and_back(by_provider)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account/")
    assert ANNA in by_provider.get("/account/").text
    assert "tasks_pipeline_login" not in by_provider.cookies


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"email": "mallory@evil.example"}, "mallory@evil.example is no member here"),
        ({"email_verified": False}, "does not say that it verified"),
        ({"email_verified": None}, "does not say that it verified"),
        ({"email": None}, "names no e-mail address"),
        ({"nonce": "of another login"}, "is not to be believed"),
        ({"aud": "another client"}, "is not to be believed"),
        ({"iss": "https://evil.example"}, "is not to be believed"),
        ({"exp": 1_700_000_000}, "is not to be believed"),
    ],
)
def test_what_a_provider_says_is_looked_at(
    by_provider: httpx.Client, provider: Provider, claims: dict[str, object], said: str
) -> None:
    provider.claims = claims
    answer = to_and_back(by_provider)
    assert (answer.status_code, said in answer.text) == (403, True)
    assert by_provider.get("/account/").status_code == 303


def test_a_token_that_another_signed_is_none(by_provider: httpx.Client, provider: Provider) -> None:
    provider.key = RSAKey.generate_key(2048, {"kid": "1"}, auto_kid=False)
    assert "is not to be believed" in to_and_back(by_provider).text


def test_a_login_is_finished_by_the_browser_that_began_it(
    by_provider: httpx.Client, service: Service
) -> None:
    """Nobody is logged in as somebody else by a link (login CSRF), and a code is worth nothing elsewhere."""
    to = by_provider.get("/login/oidc/")
    back = httpx.get(to.headers["location"]).headers["location"]
    with service.browser() as victim:
        assert "began no login" in victim.get(back).text
        victim.get("/login/oidc/")
        assert "not the login that this browser began" in victim.get(back).text
        victim.cookies.set("tasks_pipeline_login", "forged.0000")
        assert "began no login" in victim.get(back).text
    assert by_provider.get(back).status_code == 303
    assert "began no login" in by_provider.get(back).text, "once"


def test_a_provider_that_is_away_is_said(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_SECRET", SECRET)
    oidc = f"{{issuer: 'http://127.0.0.1:9', client_id: {CLIENT}, client_secret: '${{env:OIDC_SECRET}}'}}"
    service.configure(f"{{login: [oidc], public_url: '{service.url}', oidc: {oidc}}}")
    with service.browser() as browser:
        answer = browser.get("/login/oidc/")
        assert (answer.status_code, "does not answer" in answer.text) == (503, True)

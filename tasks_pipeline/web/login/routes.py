"""The pages of logins: in by password or provider, out again, invitations, one's account with its tokens, and who asks, for proxies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from starlette.responses import Response

from tasks_pipeline.access import failures, passwords, sessions, tokens
from tasks_pipeline.access.viewer import ANONYMOUS, Role
from tasks_pipeline.config.people import folded
from tasks_pipeline.config.web import Oidc
from tasks_pipeline.pages.answers import HEADERS, Refused, go, own_address
from tasks_pipeline.pages.view import Page, View
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.storage.state.facts import login_key
from tasks_pipeline.web.clients import cookie, header, is_secure
from tasks_pipeline.web.guard import SAFE, is_same_origin
from tasks_pipeline.web.identity import cookie_name, session_cookie

if TYPE_CHECKING:
    from tasks_pipeline.access import oidc

log = logging.getLogger(__name__)

START = "/groups/"
WRONG = "Address or password is wrong."
_KEPT_FOR = timedelta(days=365)
"""By the browser; when a session ends is decided here."""
_ROLES: dict[str, Role] = {"viewer": "viewer", "member": "member", "admin": "admin"}
_MOST_NAME = 100
AT_ONCE = 8
"""Logins that are looked at by password, and at the provider: each takes a thread, and the others are for those who are in."""


class Login:
    """The handlers, and what is known of the provider."""

    def __init__(self, reading: Reading) -> None:
        self._state = reading.state
        self._key = b""
        self._lock = Lock()
        self._client: oidc.Client | None = None

    def pages(self) -> Sequence[Page]:
        """All of them, with their addresses."""
        by_password, at_provider = BoundedSemaphore(AT_ONCE), BoundedSemaphore(AT_ONCE)
        return (
            Page("GET", "/login/", self.show),
            Page("POST", "/login/", _bounded(self.enter, by_password)),
            Page("GET", "/login/oidc/", _bounded(self.to_provider, at_provider)),
            Page("GET", "/login/oidc/callback/", _bounded(self.from_provider, at_provider)),
            Page("POST", "/logout/", self.leave),
            Page("GET", "/invitations/{text}/", self.invitation),
            Page("POST", "/invitations/{text}/", self.accept),
            Page("GET", "/account/", self.account),
            Page("POST", "/account/password/", self.change),
            Page("POST", "/account/sign-out/", self.leave_everywhere),
            Page("POST", "/account/tokens/", self.make_token),
            Page("POST", "/account/tokens/revoke/", self.revoke_token),
            Page("GET", "/auth/check/", self.check),
        )

    def show(self, view: View) -> Response:
        """The form, unless somebody is known already."""
        back = own_address(view.arg("return"), START)
        if view.viewer is not ANONYMOUS:
            return go(back)
        if not {"password", "oidc"} & set(view.config.web.login):
            raise Refused(403, "Nobody logs in here: web.login of the configuration says how.")
        return self._form(view, back)

    def enter(self, view: View) -> Response:
        """In by password."""
        if "password" not in view.config.web.login:
            raise Refused(404, "Nobody logs in with a password here.")
        back, now = own_address(view.posted("return"), START), datetime.now(UTC)
        address, name = _address(view), folded(view.posted("email")[:200])
        if wait := failures.admit(self._state, address, name, now):
            said = f"Too many tries. Wait {-(-wait // 60)} min, then try again."
            answer = self._form(view, back, said, 429)
            answer.headers["retry-after"] = str(wait)
            return answer
        right = passwords.is_right(self._state, name, view.posted("password"))
        if not right or view.config.member(name) is None:
            return self._form(view, back, WRONG, 403)
        failures.forgive(self._state, address, name)
        return self._begun(view, name, "password", back)

    def to_provider(self, view: View) -> Response:
        """Off to the provider; the browser keeps what it has to come back with."""
        from tasks_pipeline.access import oidc

        client = self._provider(view)
        try:
            url, started = client.start(own_address(view.arg("return"), START))
        except oidc.OidcError as error:
            log.warning("login at %s: %s", client.settings.issuer, error)
            return self._form(view, START, _sentence(error), 503)
        answer = Response(status_code=303, headers=dict(HEADERS) | {"location": url})
        sealed = oidc.sealed(started, self._signing_key())
        _keep(view, answer, _started_name(view), sealed, timedelta(seconds=oidc.STARTED_FOR))
        return answer

    def from_provider(self, view: View) -> Response:
        """Back from the provider, as a member or not."""
        from tasks_pipeline.access import oidc

        client, name = self._provider(view), _started_name(view)
        started = oidc.unsealed(cookie(view.request.scope, name), self._signing_key())
        try:
            if started is None:
                raise oidc.OidcError("this browser began no login here; begin again")
            email = client.finish(started, dict(view.request.query_params))
        except oidc.OidcError as error:
            log.warning("login at %s: %s", client.settings.issuer, error)
            answer = self._form(view, START, _sentence(error), 403)
        else:
            if view.config.member(email) is not None:
                answer = self._begun(view, email, "oidc", own_address(started.back, START))
            else:
                answer = self._form(view, START, f"{email[:200]} is no member here.", 403)
        _drop(view, answer, name)
        return answer

    def leave(self, view: View) -> Response:
        """Out."""
        if text := session_cookie(view.request.scope, view.config):
            sessions.end(self._state, text)
        return self._left(view)

    def leave_everywhere(self, view: View) -> Response:
        """Out, on all devices."""
        sessions.end_all(self._state, _member(view))
        return self._left(view)

    def invitation(self, view: View) -> Response:
        """Whom a link invites, and a form for the password. Changes nothing: programs that look at mail follow links."""
        return self._invited(view)

    def accept(self, view: View) -> Response:
        """Set the password, and in."""
        try:
            member = passwords.accept(self._state, view.param("text"), _chosen(view), datetime.now(UTC))
        except passwords.BadPassword as error:
            return self._invited(view, _sentence(error), 400)
        if member is None or view.config.member(member) is None:
            return self._invited(view)
        if "password" not in view.config.web.login:
            return go("/login/")
        return self._begun(view, member, "password", START)

    def account(self, view: View) -> Response:
        """Who one is, and one's tokens."""
        return self._account(view)

    def change(self, view: View) -> Response:
        """Another password: all sessions end but a new one here."""
        member, now, address = _member(view), datetime.now(UTC), _address(view)
        if failures.admit(self._state, address, member, now):
            return self._account(view, "Too many tries. Wait a quarter of an hour.", status=429)
        if not passwords.is_right(self._state, member, view.posted("old")):
            return self._account(view, "The present password is wrong.", status=403)
        failures.forgive(self._state, address, member)
        try:
            passwords.change(self._state, member, _chosen(view), now)
        except passwords.BadPassword as error:
            return self._account(view, _sentence(error), status=400)
        return self._begun(view, member, "password", "/account/")

    def make_token(self, view: View) -> Response:
        """A token in one's own name, shown once."""
        member, allowed = _member(view), tokens.SCOPES_OF[view.viewer.role]
        scopes = [s for s in tokens.SCOPES if s in allowed and s in view.form.get("scope", [])]
        if not scopes:
            return self._account(view, "Choose what the token may do.", status=400)
        organisation, name = view.config.organisation.slug, view.posted("name")[:_MOST_NAME]
        _, text = tokens.create_token(self._state, "", organisation, name, scopes, member)
        return self._account(view, made=text)

    def revoke_token(self, view: View) -> Response:
        """End one of one's own tokens."""
        member, number = _member(view), view.posted("id")
        own = {str(row["id"]) for row in tokens.list_tokens(self._state) if row["member"] == member}
        if number not in own:
            raise Refused(404, "There is no such token of yours.")
        tokens.revoke_token(self._state, int(number))
        return go("/account/")

    def check(self, view: View) -> Response:
        """Who asks, for a proxy that has something of its own behind the same logins: 204 with X-User, 401, or 403 for a lesser role."""
        scope, headers = view.request.scope, dict(HEADERS)
        if view.viewer is ANONYMOUS:
            return Response(status_code=401, headers=headers)
        wanted = _ROLES.get(view.arg("role", "viewer"))
        if wanted is None:
            return Response("allowed roles are viewer, member and admin", 400, headers, "text/plain")
        changing = header(scope, b"x-original-method") not in ("", *SAFE)
        opens = header(scope, b"sec-fetch-mode") == "websocket" or header(scope, b"sec-websocket-key") != ""
        site, origin, host = (header(scope, name) for name in (b"sec-fetch-site", b"origin", b"host"))
        foreign = (changing or opens) and not is_same_origin(site, origin, host)
        if foreign or not view.viewer.may(wanted):
            return Response(status_code=403, headers=headers)
        return Response(
            status_code=204, headers=headers | {"x-user": view.viewer.actor, "x-role": view.viewer.role}
        )

    def _form(self, view: View, back: str, mistake: str = "", status: int = 200) -> Response:
        ways = view.config.web.login
        settings = view.config.web.oidc if "oidc" in ways else None
        return view.page(
            "login.html", status, back=back, mistake=mistake, by_password="password" in ways,
            provider=settings.name if settings else None, email=view.posted("email")[:200],
        )  # fmt: skip

    def _invited(self, view: View, mistake: str = "", status: int = 200) -> Response:
        member = passwords.invited(self._state, view.param("text"), datetime.now(UTC))
        if member is None or view.config.member(member) is None:
            raise Refused(
                404,
                "This link was used, or is not valid any more. Whoever runs this service can make another.",
            )
        return view.page(
            "invitation.html", status, email=member, mistake=mistake, shortest=passwords.SHORTEST
        )

    def _account(self, view: View, mistake: str = "", made: str = "", status: int = 200) -> Response:
        member = view.viewer.member
        rows = tokens.list_tokens(self._state) if member else []
        own = [row for row in rows if member and row["member"] == member.email and not row["revoked_at"]]
        allowed = tokens.SCOPES_OF[view.viewer.role]
        return view.page(
            "account.html", status, member=member, mistake=mistake, made=made, tokens=own,
            scopes=[scope for scope in tokens.SCOPES if scope in allowed], reads=tokens.READS,
            by_password="password" in view.config.web.login, shortest=passwords.SHORTEST,
            projects=[p.slug for p in view.config.projects if view.viewer.may_see(p.id)],
            sessions=sessions.count_of(self._state, member.email, view.now) if member else 0,
        )  # fmt: skip

    def _begun(self, view: View, member: str, way: sessions.Way, back: str) -> Response:
        before = session_cookie(view.request.scope, view.config)
        text = sessions.begin(self._state, member, way, datetime.now(UTC), before)
        log.info("%s logged in by %s", member, way)
        answer = go(back)
        _keep(view, answer, cookie_name(view.request.scope, view.config), text, _KEPT_FOR)
        return answer

    def _left(self, view: View) -> Response:
        answer = go("/login/")
        _drop(view, answer, cookie_name(view.request.scope, view.config))
        return answer

    def _provider(self, view: View) -> oidc.Client:
        settings, base = view.config.web.oidc, view.config.web.public_url
        if "oidc" not in view.config.web.login or settings is None or base is None:
            raise Refused(404, "Nobody logs in at a provider here.")
        return self._client_of(settings, f"{base.rstrip('/')}/login/oidc/callback/")

    def _client_of(self, settings: Oidc, redirect_uri: str) -> oidc.Client:
        from tasks_pipeline.access import oidc  # with its libraries, which nobody needs who logs in otherwise

        with self._lock:
            known = self._client
            if known is None or (known.settings, known.redirect_uri) != (settings, redirect_uri):
                known = self._client = oidc.Client(settings, redirect_uri)
            return known

    def _signing_key(self) -> bytes:
        self._key = self._key or login_key(self._state)
        return self._key


def _bounded(handler: Callable[[View], Response], places: BoundedSemaphore) -> Callable[[View], Response]:
    """The same, for as many strangers at once as there are places: others are told to come again instead of waiting in a thread."""

    def handle(view: View) -> Response:
        if not places.acquire(blocking=False):
            raise Refused(503, "Too many log in just now. Try again in a moment.")
        try:
            return handler(view)
        finally:
            places.release()

    return handle


def _member(view: View) -> str:
    """The member who asks. Raises Refused for who is none."""
    if view.viewer.member is None:
        raise Refused(403, "This is for members who logged in.")
    return view.viewer.member.email


def _address(view: View) -> str:
    return str(view.request.scope["client_address"])


def _chosen(view: View) -> str:
    """The new password. Raises BadPassword when the two fields differ."""
    if view.posted("password") != view.posted("again"):
        raise passwords.BadPassword("the two passwords are not the same")
    return view.posted("password")


def _keep(view: View, answer: Response, name: str, text: str, kept_for: timedelta) -> None:
    secure, seconds = is_secure(view.request.scope, view.config), round(kept_for.total_seconds())
    answer.set_cookie(name, text, seconds, path="/", secure=secure, httponly=True, samesite="lax")


def _drop(view: View, answer: Response, name: str) -> None:
    secure = is_secure(view.request.scope, view.config)
    answer.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="lax")


def _started_name(view: View) -> str:
    return f"{cookie_name(view.request.scope, view.config)}_login"


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."

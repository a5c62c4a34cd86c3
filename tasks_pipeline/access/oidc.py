"""OpenID Connect: a login at the organisation's own provider, by code flow with PKCE (RFC 7636), and whom it names.

What a browser keeps meanwhile is signed and good for ten minutes; nothing is stored. Nothing that a provider says is believed before its
signature, issuer, audience, nonce and time are.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tasks_pipeline.config.web import Oidc
from tasks_pipeline.outbound import EVERYWHERE, OutboundError, Request, ask

WELL_KNOWN = "/.well-known/openid-configuration"
STARTED_FOR = 600
"""Seconds that a person may take at the provider."""
SECONDS, MAX_BODY = 10, 256 * 1024
_KNOWN_FOR = 600.0
_AWAY_FOR = 5.0
"""A provider that did not answer is asked again so much later: whoever wants to log in meanwhile is told at once, and no thread waits."""
_LEEWAY = 60
"""Seconds by which the two clocks may differ."""
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Of signatures with a public key: with `none` or a shared key anybody could sign."""


class OidcError(Exception):
    """The login at the provider cannot go on; the message says why, to whoever runs the installation and to the person."""


class Started(msgspec.Struct, frozen=True):
    """A login that began: what the browser keeps until the provider sends it back."""

    state: str
    nonce: str
    verifier: str
    back: str
    """Where the person wanted to go."""
    ends: int
    """Seconds since 1970."""


class _Provider(msgspec.Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What a provider says of itself, and when it said so."""

    provider: _Provider
    keys: KeySet
    at: float


class Client:
    """Us, at one provider. What that says of itself is remembered for ten minutes; unknown keys are looked up at once, once a minute at most."""

    def __init__(self, settings: Oidc, redirect_uri: str) -> None:
        self.settings, self.redirect_uri = settings, redirect_uri
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._failed: tuple[float, str] = (-_AWAY_FOR, "")

    def start(self, back: str) -> tuple[str, Started]:
        """Where to send the browser, and what it has to keep. Raises OidcError."""
        provider = self._about().provider
        started = Started(
            secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), back, int(time.time()) + STARTED_FOR
        )  # fmt: skip
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid email",
            "state": started.state,
            "nonce": started.nonce,
            "code_challenge": create_s256_code_challenge(started.verifier),
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
        return f"{provider.authorization_endpoint}{joint}{urlencode(query)}", started

    def finish(self, started: Started, said: Mapping[str, str]) -> str:
        """The address of the person who comes back with this query, in small letters. Raises OidcError."""
        if not hmac.compare_digest(started.state.encode(), said.get("state", "").encode("utf-8", "replace")):
            raise OidcError("this is not the login that this browser began; begin again")
        if started.ends < time.time():
            raise OidcError("the login took more than ten minutes; begin again")
        if "error" in said:
            raise OidcError(f"the provider says {said['error'][:100]!r}")
        if not said.get("code"):
            raise OidcError("the provider sent no code")
        known = self._about()
        claims = self._claims(known, self._id_token(known.provider, started, said["code"]), started)
        address = claims.get("email")
        if not isinstance(address, str) or not address:
            raise OidcError("the provider names no e-mail address; it needs the scope `email`")
        if self.settings.require_verified and claims.get("email_verified") not in (True, "true"):
            raise OidcError(
                "the provider does not say that it verified the address; web.oidc.require_verified: false takes it so"
            )
        return address.strip().lower()

    def _id_token(self, provider: _Provider, started: Started, code: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.settings.client_id,
            "client_secret": self.settings.client_secret.get_secret_value(),
            "code_verifier": started.verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        answer = _asked(
            Request(provider.token_endpoint, "POST", headers, urlencode(form).encode(), SECONDS, 0, MAX_BODY)
        )
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise OidcError("the provider sent no id_token")
        return token

    def _claims(self, known: _Known, token: str, started: Started) -> Mapping[str, Any]:
        try:
            try:
                decoded = jwt.decode(token, known.keys, algorithms=_ALGORITHMS)
            except (JoseError, ValueError):
                if time.monotonic() - known.at < _LEEWAY:
                    raise
                decoded = jwt.decode(token, self._about(again=True).keys, algorithms=_ALGORITHMS)
            options = {
                "iss": {"essential": True, "value": known.provider.issuer},
                "aud": {"essential": True, "value": self.settings.client_id},
                "exp": {"essential": True},
                "iat": {"essential": True},
            }
            expected = {"nonce": started.nonce, "client_id": self.settings.client_id}
            claims = CodeIDToken(decoded.claims, decoded.header, options, expected)
            claims.validate(leeway=_LEEWAY)
        except Exception as error:  # both libraries raise whatever a token makes them raise
            raise OidcError(
                f"the provider's id_token is not to be believed: {type(error).__name__}"
            ) from error
        return dict(decoded.claims)

    def _about(self, *, again: bool = False) -> _Known:
        with self._lock:
            known, now = self._known, time.monotonic()
            if known is not None and not again and now - known.at < _KNOWN_FOR:
                return known
            if now - self._failed[0] < _AWAY_FOR:
                raise OidcError(self._failed[1])
            try:
                self._known = known = self._asked()
            except OidcError as error:
                self._failed = (time.monotonic(), str(error))
                raise
            return known

    def _asked(self) -> _Known:
        issuer = self.settings.issuer.rstrip("/")
        try:
            provider = msgspec.convert(_asked(Request(issuer + WELL_KNOWN, seconds=SECONDS)), _Provider)
        except msgspec.ValidationError as error:
            raise OidcError(
                f"what {issuer} says of itself is not as OpenID Connect has it: {error}"
            ) from error
        if provider.issuer.rstrip("/") != issuer:
            raise OidcError(
                f"the provider calls itself {provider.issuer[:200]!r}, and web.oidc.issuer {issuer!r}"
            )
        for url in (provider.authorization_endpoint, provider.token_endpoint, provider.jwks_uri):
            if urlsplit(url).scheme != "https" and urlsplit(issuer).scheme == "https":
                raise OidcError(f"the provider names an address without TLS: {url[:200]!r}")
        keys: Any = _asked(Request(provider.jwks_uri, seconds=SECONDS, max_body=MAX_BODY))
        try:
            return _Known(provider, KeySet.import_key_set(keys), time.monotonic())
        except Exception as error:
            raise OidcError(f"the provider's keys cannot be read: {type(error).__name__}") from error


def sealed(started: Started, key: bytes) -> str:
    """What a browser keeps, as the value of a cookie: nobody but us can make one."""
    body = base64.urlsafe_b64encode(msgspec.json.encode(started)).decode()
    return f"{body}.{hmac.new(key, body.encode(), 'sha256').hexdigest()}"


def unsealed(text: str, key: bytes) -> Started | None:
    """The same from a cookie; None for what is not ours."""
    body, _, signature = text.partition(".")
    if not hmac.compare_digest(
        hmac.new(key, body.encode(), "sha256").hexdigest().encode(), signature.encode()
    ):
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(body), type=Started)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return None


def _asked(request: Request) -> dict[str, Any]:
    try:
        answer = ask(request, EVERYWHERE)
    except OutboundError as error:
        raise OidcError(f"the provider does not answer: {error}") from error
    try:
        found = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    if answer.status != 200 or not isinstance(found, dict):
        said = f", {found['error']!s:.100}" if isinstance(found, dict) and "error" in found else ""
        raise OidcError(f"the provider answers {answer.status}{said} at {urlsplit(request.url).path[:100]}")
    return found

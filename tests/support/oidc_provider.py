"""A provider of OpenID Connect on loopback that speaks the protocol: discovery, keys, codes that are bound to a client and a PKCE challenge, and
tokens that it signs. A test says who logs in, and what the provider does wrong."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlencode

from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "tasks-pipeline", "of the client"


class Provider:
    """The ASGI application. `claims` change what a token says, `url` is its own address; `keys` signs, `announced` is shown."""

    is_stopping = False

    def __init__(self) -> None:
        self.url = ""
        self.email = "anna@acme.example"
        self.claims: dict[str, Any] = {}
        self.key = self.announced = RSAKey.generate_key(2048, {"kid": "1"}, auto_kid=False)
        self._codes: dict[str, dict[str, str]] = {}
        self._app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._about),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        await self._app(scope, receive, send)

    async def _about(self, _request: Request) -> Response:
        paths = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return JSONResponse(
            {"issuer": self.url} | {name: f"{self.url}/{path}" for name, path in paths.items()}
        )

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.announced.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return RedirectResponse(
            f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302
        )

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        right = asked is not None and (
            form.get("client_id"), form.get("client_secret"), form.get("redirect_uri"), challenge
        ) == (CLIENT, SECRET, asked["redirect_uri"], asked["code_challenge"])  # fmt: skip
        if asked is None or not right:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "7", "iat": now, "exp": now + 300, "nonce": asked["nonce"], "email": self.email,
            "email_verified": True,
        } | self.claims  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.key)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})

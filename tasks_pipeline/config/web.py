"""Section `web`: pages and the Web API, and how people log in to them."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from tasks_pipeline.config.model import About, Model, Wrong, refuse
from tasks_pipeline.config.uptime import Network
from tasks_pipeline.config.written import UNSET

Secret = Annotated[SecretStr, Field(min_length=1), About(referred=True)]
Base = Annotated[
    str,
    Field(pattern=r"^https?://[^\s/?#@]+$"),
    About("http(s)://host[:port], without a path", private=True),
]


def _issuer(value: str) -> str:
    if not re.match(r"https?://[^\s?#@]+$", value) and not value.startswith(UNSET):
        raise ValueError("no address of a provider; allowed is http(s)://host[:port][/path]")
    return value


Issuer = Annotated[str, AfterValidator(_issuer), About(private=True)]


def _listed(value: object) -> object:
    """One of several may stand alone."""
    return [value] if isinstance(value, str) else value


class Oidc(Model):
    """A provider of OpenID Connect at which members log in. Its redirect address is `web.public_url`/login/oidc/callback/."""

    issuer: Issuer = Field(description="Address of the provider, as it calls itself.")
    client_id: str = Field(min_length=1, max_length=500, description="What it calls this installation.")
    client_secret: Secret = Field(description="The secret of that; write it as ${env:NAME}.")
    name: str = Field("single sign-on", max_length=60, description="What the button says.")
    require_verified: bool = Field(
        True, description="Take only addresses that the provider says it verified (`email_verified`)."
    )


class SavedSearch(Model):
    """A search of groups that everybody finds below the field of the list."""

    name: str = Field(min_length=1, max_length=40, description="What the link says.")
    query: str = Field(
        max_length=2_000,
        description="The search (docs/queries.md); what is wrong with it is shown on the page.",
    )


class Web(Model):
    """The process that serves people and clients of the Web API."""

    public_url: Base | None = Field(
        None,
        description="Address of the pages for people, without a path: links in messages lead there. That of the receiver when absent.",
    )
    host: str = Field(
        "127.0.0.1",
        description="Address that `tasks-pipeline web` listens on; one that others reach only with a `login`.",
    )
    port: int = Field(
        9080, ge=1, le=65_535, description="Port that it listens on, and that `receive` forwards to."
    )
    login: Annotated[tuple[Literal["password", "oidc", "proxy"], ...], BeforeValidator(_listed)] = Field(
        (),
        description="Ways in which members log in. Without one, pages are for this machine alone, and for whoever uses it.",
    )
    oidc: Oidc | None = Field(None, description="The provider of `login: [oidc]`.")
    trusted_user_header: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="Header in which a proxy names the member by address, for `login: [proxy]`.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Networks of proxies that are believed: that header, and X-Forwarded-For."
    )

    searches: tuple[SavedSearch, ...] = Field(
        (), max_length=20, description="Searches that the list of groups offers besides those that it has."
    )

    @property
    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Networks of `trusted_proxies`."""
        return tuple(ip_network(text) for text in self.trusted_proxies)

    @model_validator(mode="after")
    def _complete(self) -> Web:
        wrong = []
        if "oidc" in self.login and self.oidc is None:
            wrong.append(
                Wrong(("login",), "oidc needs the section web.oidc; allowed without it: password, proxy")
            )
        if self.oidc is not None and self.public_url is None:
            wrong.append(
                Wrong(("oidc",), "the provider sends people back to web.public_url, which is not set")
            )
        if "proxy" in self.login and not (self.trusted_user_header and self.trusted_proxies):
            wrong.append(Wrong(("login",), "proxy needs web.trusted_user_header and web.trusted_proxies"))
        refuse(wrong)
        return self

"""Who asks for a page: a member by session or by the header of a proxy, this machine's user where nobody logs in, or nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tasks_pipeline.access import sessions
from tasks_pipeline.access.roles import viewer_of
from tasks_pipeline.access.viewer import ANONYMOUS, LOCAL, Viewer
from tasks_pipeline.asgi import Scope
from tasks_pipeline.config import Config
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web.clients import Client, cookie, header, headers_of, is_secure
from tasks_pipeline.web.guard import is_of_this_machine, is_public


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks; `cookie` of a session that is in force, empty without one."""

    viewer: Viewer
    cookie: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything may be shown."""
        return self.viewer is not ANONYMOUS

    @property
    def csrf(self) -> str:
        """What forms have to send back."""
        return sessions.csrf_of(self.cookie) if self.cookie else ""


def identify(scope: Scope, client: Client, config: Config, state: StateDatabase, now: datetime) -> Identity:
    """Find out who asks."""
    ways = config.web.login
    if not ways:
        return Identity(LOCAL if client.is_local else ANONYMOUS)
    if "proxy" in ways and (named := _named_by_proxy(scope, client, config)) is not None:
        return Identity(named)
    if "password" not in ways and "oidc" not in ways:
        return Identity(ANONYMOUS)
    text = session_cookie(scope, config)
    session = sessions.find(state, text, now)
    member = config.member(session.member) if session is not None and session.way in ways else None
    return Identity(viewer_of(config, member), text) if member is not None else Identity(ANONYMOUS)


def cookie_name(scope: Scope, config: Config) -> str:
    """Of a session. By https it is one that only this host can have set (`__Host-`), and that goes nowhere else."""
    return "__Host-tasks_pipeline" if is_secure(scope, config) else "tasks_pipeline"


def session_cookie(scope: Scope, config: Config) -> str:
    """The cookie that was sent, whatever it is worth."""
    return cookie(scope, cookie_name(scope, config))


def _named_by_proxy(scope: Scope, client: Client, config: Config) -> Viewer | None:
    """The member whom a proxy names; nobody for one that is no member, and None where no proxy that is believed says anything."""
    name = (config.web.trusted_user_header or "").lower().encode()
    said, host = headers_of(scope, name), header(scope, b"host")
    if not said or not client.peer_is_trusted or not (is_public(host, config) or is_of_this_machine(host)):
        return None
    member = config.member(said[0]) if len(said) == 1 else None
    return ANONYMOUS if member is None else viewer_of(config, member)

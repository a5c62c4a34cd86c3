"""Links that end or renew a subscription, as the state database knows them. Loaded by the first request for one: see `unsubscribing`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from tasks_pipeline.config import Config
from tasks_pipeline.config.people import Member
from tasks_pipeline.facts.origin import recorded_by
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.subscriptions import (
    ADVERBS,
    Kind,
    decide,
    decisions,
    subscription_of,
    tokens_of,
)
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import unsubscribe_key


@dataclass(frozen=True, slots=True)
class LinkOf:
    """What a link is of: a member, and a kind of report."""

    member: Member
    kind: Kind

    @property
    def adverb(self) -> str:
        """`weekly`."""
        return ADVERBS[self.kind]


class Links:
    """The links of all members. Raises what a database raises that does not answer."""

    def __init__(self, home: Home) -> None:
        self._state = StateDatabase(home)
        self._key = unsubscribe_key(self._state)
        self._known: tuple[Config | None, dict[str, tuple[str, Kind]]] = (None, {})

    def find(self, config: Config, token: str) -> LinkOf | None:
        """What a token is of; None for one that is not ours. Made anew when the configuration changed."""
        if self._known[0] is not config:
            self._known = config, tokens_of(self._key, config)
        email, kind = self._known[1].get(token, ("", None))
        member = config.member(email)
        return None if member is None or kind is None else LinkOf(member, kind)

    def wanted(self, link: LinkOf) -> bool:
        """Whether the member gets it now."""
        with self._state.read() as connection:
            return subscription_of(link.member, link.kind, decisions(connection, link.member.email)).wanted

    def decide(self, link: LinkOf, wanted: bool) -> None:
        """Note what the member decided."""
        with recorded_by("receiver"), self._state.write() as connection:
            decide(self._state, connection, link.member.email, link.kind, wanted, "link", datetime.now(UTC))

    def close(self) -> None:
        """Close the database."""
        self._state.close()

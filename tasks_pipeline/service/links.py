"""Links to pages, for whoever shows or sends what they are about: messages, clients, commands, Dagster."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.service.address import Address
from tasks_pipeline.service.running import RunningService, running_service


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses below the one that people reach the pages at. Short ids are those of now: SHOP-3F."""

    base: str

    def groups(self, query: str | None = None) -> str:
        """The list of groups, of a query."""
        return f"{self.base}/groups/" + (f"?{urlencode({'query': query})}" if query is not None else "")

    def group(self, short_id: str) -> str:
        """A group with its newest event."""
        return f"{self.base}/groups/{_part(short_id)}/"

    def event(self, short_id: str, event_id: str) -> str:
        """An event in its group."""
        return f"{self.group(short_id)}events/{_part(event_id)}/"

    def release(self, project: str, version: str) -> str:
        """A release of a project (its slug)."""
        return f"{self.base}/releases/{_part(project)}/{_part(version)}/"

    def monitor(self, project: str, slug: str) -> str:
        """A monitor of a project (its slug)."""
        return f"{self.base}/monitors/{_part(project)}/{_part(slug)}/"


def links(home: Home, config: Config, service: RunningService | None = None) -> Links:
    """Links as people can follow them: below `web.public_url`, else where the `service` is that is given or runs, else where it would."""
    base = config.web.public_url
    if base is None and (running := service or running_service(home)):
        base = running.pages_url
    base = base or config.receiver.public_url
    return Links((base or Address(config.receiver.host, config.receiver.port).url).rstrip("/"))


def _part(text: str) -> str:
    return quote(text, safe="@:+~")

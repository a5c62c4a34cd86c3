"""View: a request and what its answer is made of: who asks, what of, the configuration in force, and the templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tasks_pipeline import words
from tasks_pipeline.access.viewer import LOCAL, Viewer
from tasks_pipeline.config import Config
from tasks_pipeline.pages import shown
from tasks_pipeline.pages.answers import HEADERS, Refused
from tasks_pipeline.pages.assets import asset_url
from tasks_pipeline.reading.asked import Asked, asked_by
from tasks_pipeline.reading.stores import Reading

MOST_CHARACTERS = 2_000
"""Of what stands in an address, of each name."""
MOST_BYTES = 2 * 1024 * 1024
"""Of a page; what is larger was not bounded where it was made."""
TOLD = frozenset({"done", "did", "n", "left"})
"""What an address says of what was just done; no link goes on saying it."""
NAVIGATION = (
    ("/groups/", "Groups"),
    ("/releases/", "Releases"),
    ("/monitors/", "Monitors"),
    ("/alerts/", "Alerts"),
    ("/reports/", "Reports"),
)
"""Where the head of each page leads."""
OF_ALL = (("/notifications/", "Messages"), ("/pipeline/", "Pipeline"), ("/settings/", "Settings"))
"""What is of the whole installation: for admins who see all projects."""


@dataclass(frozen=True, slots=True)
class View:
    """A request. `form` holds what was posted."""

    request: Request
    reading: Reading
    config: Config
    viewer: Viewer
    asked: Asked
    form: Mapping[str, list[str]]

    @property
    def now(self) -> datetime:
        """When it was asked."""
        return self.asked.now

    @property
    def path(self) -> str:
        """The path of the page, as it was asked for."""
        return str(self.request.scope["path"])

    @property
    def csrf(self) -> str:
        """What a form has to send back where people log in; empty where they do not."""
        return str(self.request.scope.get("csrf") or "")

    @property
    def navigation(self) -> tuple[tuple[str, str], ...]:
        """Where the head leads, for the one who asks."""
        if not self.viewer.actor:
            return ()
        return NAVIGATION + (OF_ALL if self.viewer.may("admin") and self.viewer.projects is None else ())

    @property
    def theme(self) -> str:
        """Light or dark where somebody chose; empty for what the browser prefers."""
        chosen = self.request.cookies.get("theme", "")
        return chosen if chosen in ("light", "dark") else ""

    def param(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def arg(self, name: str, default: str = "") -> str:
        """What the address says of a name, the last one; bounded."""
        return self.request.query_params.get(name, default)[:MOST_CHARACTERS]

    def args(self, name: str) -> list[str]:
        """All that the address says of a name."""
        return [value[:MOST_CHARACTERS] for value in self.request.query_params.getlist(name) if value][:50]

    def posted(self, name: str, default: str = "") -> str:
        """What a form says of a name, the last one."""
        return (self.form.get(name) or [default])[-1]

    def address(self, path: str | None = None, /, **changed: str | None) -> str:
        """This page's address, or that of another path with the same arguments, with some changed; None leaves one out."""
        kept = [
            (k, v[:MOST_CHARACTERS])
            for k, v in self.request.query_params.multi_items()
            if k not in changed and k not in TOLD
        ]
        kept += [(k, v) for k, v in changed.items() if v is not None]
        query = urlencode([(k, v.encode("utf-8", "replace")) for k, v in kept if v or k == "query"])
        return f"{self.path if path is None else path}{'?' if query else ''}{query}"

    def link(self, path: str, /, **arguments: str) -> str:
        """An address of ours; arguments that are empty are left out."""
        query = urlencode([(k, v.encode("utf-8", "replace")) for k, v in arguments.items() if v])
        return f"{path}{'?' if query else ''}{query}"

    def page(self, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """A page of a template."""
        text = templates().get_template(template).render(view=self, **values)
        body = text.encode("utf-8", "replace")
        if len(body) > MOST_BYTES:
            raise Refused(
                500, "This page would be larger than 2 MB, so it is not shown. The raw event has everything."
            )
        return HTMLResponse(body, status, dict(HEADERS))


def view_of(request: Request, reading: Reading, form: Mapping[str, list[str]]) -> View:
    """The view of a request; who asks was found out before."""
    viewer = request.scope.get("viewer", LOCAL)
    config = reading.config()
    asked = asked_by(reading.state, config, viewer, datetime.now(UTC))
    return View(request, reading, config, viewer, asked, form)


@dataclass(frozen=True, slots=True)
class Page:
    """What answers an address: a plain function, which runs in a thread."""

    method: str
    path: str
    handler: Callable[[View], Response]


@cache
def templates() -> Environment:
    """The templates: all that comes into them is escaped, and cleaned of what nobody sees."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown.harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= {
        "number": shown.number,
        "age": shown.age,
        "iso": shown.iso,
        "utc": shown.utc,
        "cut": shown.cut,
        "size": shown.size,
        "counted": words.counted,
    }
    found.globals |= {"asset": asset_url}
    return found

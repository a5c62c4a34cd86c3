"""The inbound filters of a project: whether an event or another item is to be kept out, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks_pipeline.filtering.extensions import is_from_extension
from tasks_pipeline.filtering.user_agents import browser, is_crawler, matches_rule
from tasks_pipeline.grouping.globs import text_glob
from tasks_pipeline.protocol.context import ItemContext

if TYPE_CHECKING:
    from tasks_pipeline.config.filters import Filters

_BROWSER_PLATFORM = "javascript"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is kept out: `reason` is counted, `detail` is for people."""

    reason: str
    detail: str


class InboundFilters:
    """The filters of one project at work; they look at normalised data and never raise."""

    def __init__(self, settings: Filters) -> None:
        self._settings = settings
        self._releases = _globs(settings.releases)
        self._environments = _globs(settings.environments)
        self._messages = _globs(settings.error_messages)
        self._types = _globs(settings.error_types)
        self._networks = [ip_network(given, strict=False) for given in settings.ip_addresses]
        self._active = settings != type(settings)()

    def refuses_event(self, event: dict[str, Any], context: ItemContext) -> Refusal | None:
        """Why an error event is kept out; None when it is not."""
        if not self._active:
            return None
        return self.refuses(event, context) or self._refuses_error(event)

    def refuses(self, item: dict[str, Any], context: ItemContext) -> Refusal | None:
        """Why anything that may have `release`, `environment`, `user` and `request` is kept out; None when it is not."""
        if not self._active:
            return None
        return next(self._findings(item, context), None)

    def _findings(self, item: dict[str, Any], context: ItemContext) -> Iterator[Refusal]:
        user, request = _mapping(item.get("user")), _mapping(item.get("request"))
        for address in (user.get("ip_address"), context.remote_addr):
            if isinstance(address, str) and (network := self._network(address)):
                yield Refusal("ip_address", f"{address} is in {network}")
        for reason, globs in (("release", self._releases), ("environment", self._environments)):
            if glob := _matching(globs, (item.get(reason),)):
                yield Refusal(reason, f"{item[reason]} matches {glob}")
        if self._settings.localhost and _is_local(request.get("url"), user.get("ip_address")):
            yield Refusal("localhost", str(request.get("url") or user.get("ip_address")))
        user_agent = _user_agent(request) or context.user_agent or ""
        if self._settings.web_crawlers and is_crawler(user_agent):
            yield Refusal("web_crawler", user_agent)
        if self._settings.legacy_browsers and (found := browser(user_agent)):
            for rule in self._settings.legacy_browsers:
                if matches_rule(rule, found):
                    yield Refusal("legacy_browser", f"{found[0]} {found[1]} is {rule}")

    def _refuses_error(self, event: dict[str, Any]) -> Refusal | None:
        exception = _outermost(event)
        kind, value = exception.get("type"), exception.get("value")
        in_browser = event.get("platform") == _BROWSER_PLATFORM
        if self._settings.browser_extensions and in_browser and is_from_extension(exception):
            return Refusal("browser_extension", str(value))
        if glob := _matching(self._types, (kind,)):
            return Refusal("error_type", f"{kind} matches {glob}")
        if self._messages:
            entry = _mapping(event.get("logentry"))
            whole = f"{kind}: {value}" if kind and value else kind
            if glob := _matching(
                self._messages, (entry.get("formatted"), entry.get("message"), value, whole)
            ):
                return Refusal("error_message", f"matches {glob}")
        return None

    def _network(self, address: str) -> IPv4Network | IPv6Network | None:
        parsed = _parsed(address) if self._networks else None
        return next((n for n in self._networks if parsed is not None and parsed in n), None)


_Glob = tuple[str, Callable[[str], bool]]


def _globs(patterns: Iterable[str]) -> list[_Glob]:
    return [(pattern, text_glob(pattern, folded=True).matches) for pattern in patterns]


def _matching(globs: Iterable[_Glob], texts: Iterable[object]) -> str | None:
    """The first glob that matches one of the texts as a whole, whatever its case."""
    known = [text for text in texts if isinstance(text, str) and text]
    return next((pattern for pattern, matches in globs if any(map(matches, known))), None)


def _outermost(event: dict[str, Any]) -> dict[str, Any]:
    """The exception that gives an event its name."""
    values = _mapping(event.get("exception")).get("values")
    return _mapping(values[-1]) if isinstance(values, list) and values else {}


def _user_agent(request: dict[str, Any]) -> str | None:
    """The browser's header, in normalised headers: a list of pairs."""
    for pair in request.get("headers") or ():
        if pair[0] == "User-Agent" and isinstance(pair[1], str):
            return pair[1]
    return None


def _is_local(url: object, address: object) -> bool:
    """Whether the page or the user is on the machine itself."""
    if isinstance(address, str) and (parsed := _parsed(address)) is not None and parsed.is_loopback:
        return True
    host = _host(url) if isinstance(url, str) else ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    parsed = _parsed(host)
    return parsed is not None and parsed.is_loopback


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


@lru_cache(4096)
def _parsed(address: str) -> Any:
    """An IP address, one of IPv4 in the clothes of IPv6 as what it is; None for anything else."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

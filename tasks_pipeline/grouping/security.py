"""Reports of browsers about violated policies (CSP, HPKP, Expect-CT, Expect-Staple): what they contribute, their title."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tasks_pipeline.grouping.components import Component, leaf, node
from tasks_pipeline.grouping.values import mapping, text

HOSTNAME_REPORTS = {
    "hpkp": "Public key pinning validation failed for",
    "expectstaple": "Expect-Staple failed for",
    "expectct": "Expect-CT failed for",
}
"""Kinds of report that are grouped by host name, in the order they are looked for, with the words of their title."""

_PORT = re.compile(r":\d*\Z")
_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}):(?://([^/?#]{0,300}))?")


def csp_component(event: Mapping[str, Any]) -> Component:
    """The directive and what it blocked."""
    report = mapping(event, "csp")
    directive = text(report, "effective_directive")
    return node("csp", (leaf("directive", directive), leaf("blocked", _blocked(report) if directive else "")))


def hostname_component(event: Mapping[str, Any], kind: str) -> Component:
    """The kind of the report and the host."""
    return node(kind, (leaf("hostname", text(mapping(event, kind), "hostname")),))


def csp_title(report: Mapping[str, Any]) -> str:
    """`Blocked 'script' from 'cdn.example.com'`; empty when the report names no directive."""
    directive = re.sub(r"-src(?=-|\Z)", "", text(report, "effective_directive"))
    if not directive:
        return ""
    if violation := _local_violation(report):
        return f"Blocked {violation.strip(chr(39))} '{directive}'"
    return f"Blocked '{directive}' from '{_blocked(report)}'"


def csp_metadata(report: Mapping[str, Any]) -> dict[str, str]:
    """Directive and blocked source, as Sentry's users know them."""
    return {"directive": text(report, "effective_directive"), "uri": _blocked(report)}


def _blocked(report: Mapping[str, Any]) -> str:
    return _local_violation(report) or _blocked_source(text(report, "blocked_uri"))


def _local_violation(report: Mapping[str, Any]) -> str:
    """`'unsafe-inline'` or `'unsafe-eval'` when the page's own script broke that rule, else empty."""
    if (
        text(report, "effective_directive") != "script-src"
        or _blocked_source(text(report, "blocked_uri")) != "self"
    ):
        return ""
    violated = text(report, "violated_directive")
    return next((word for word in ("'unsafe-inline'", "'unsafe-eval'") if word in violated), "")


def _blocked_source(uri: str) -> str:
    """http(s) URLs as their host, others as `scheme:` or `scheme://host`, words (`self`, `inline`) as they are."""
    uri = uri.strip()
    match = _URI.match(uri)
    if match is None:
        return uri[:200].strip("'") or "self"
    scheme, authority = match[1].lower(), match[2] or ""
    host = _PORT.sub("", authority.rsplit("@", 1)[-1].lower())
    if scheme in ("http", "https"):
        return host
    return f"{scheme}://{host}" if host else f"{scheme}:"

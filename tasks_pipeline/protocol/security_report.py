"""Browsers' security reports (CSP, Expect-CT, Expect-Staple, HPKP) turned into event payloads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError
from tasks_pipeline.protocol.fields import AUTO_ADDRESS

_WRAPPED = {"csp-report": "csp", "expect-ct-report": "expectct", "expect-staple-report": "expectstaple"}
_FAILURES = {
    "hpkp": "Public key pinning validation failed for {}",
    "expectct": "Expect-CT failed for {}",
    "expectstaple": "Expect-Staple failed for {}",
}
_UPPER = re.compile("(?<=[a-z])(?=[A-Z])")
_REPORTING_API = {
    "document_url": "document_uri",
    "blocked_url": "blocked_uri",
    "effective_directive": "effective_directive",
    "sample": "script_sample",
}
"""Fields of the newer Reporting API that have another name in the older reports."""


def security_event(payload: object, headers: Mapping[str, Any], context: ItemContext) -> dict[str, Any]:
    """An event payload, still to be normalised, from a raw report.

    It has the report under `csp`, `expectct`, `expectstaple` or `hpkp` with underscores in its names, a logentry, the
    request, the user's address, and tags people search for. Environment and release come from the item's headers.
    Raises PayloadError for what is no such report.
    """
    if not isinstance(payload, dict):
        raise PayloadError("not a JSON object")
    kind, report = _report(payload)
    event: dict[str, Any] = {"type": kind, "platform": "other", "logger": kind}
    event |= _csp(report) if kind == "csp" else _certificate_report(kind, report)
    event["user"] = {"ip_address": AUTO_ADDRESS}
    for name in ("environment", "release"):
        if value := headers.get(name, headers.get(f"sentry_{name}")):
            event[name] = value
    if context.user_agent:
        event["request"].setdefault("headers", []).append(["User-Agent", context.user_agent])
    return event


def _report(payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    for wrapper, kind in _WRAPPED.items():
        if wrapper in payload:
            return kind, _fields(payload[wrapper])
    if payload.get("type") == "csp-violation":
        return "csp", _fields(payload.get("body"))
    if "known-pins" in payload or "noted-hostname" in payload:
        return "hpkp", _fields(payload)
    raise PayloadError("no security report that is known")


def _fields(report: object) -> dict[str, Any]:
    """The report with underscores in its names, without what is empty."""
    if not isinstance(report, dict) or not report:
        raise PayloadError("the report is not an object with fields")
    named = {
        _UPPER.sub("_", k).lower().replace("-", "_"): v
        for k, v in report.items()
        if v is not None and v != ""
    }
    return {_REPORTING_API.get(name, name): value for name, value in named.items()}


def _csp(report: dict[str, Any]) -> dict[str, Any]:
    violated, effective = _text(report, "violated_directive"), _text(report, "effective_directive")
    effective = (effective or violated).split(" ")[0]
    if not effective:
        raise PayloadError("no effective-directive or violated-directive")
    report["effective_directive"] = effective
    document, blocked = _text(report, "document_uri"), _text(report, "blocked_uri")
    # a report without a blocked URI is about something in the page itself
    report["blocked_uri"] = blocked = blocked or "self"
    what = effective.removesuffix("-elem").removesuffix("-attr").removesuffix("-src")
    event: dict[str, Any] = {
        "csp": report,
        "logentry": {"formatted": f"Blocked '{what}' from '{_origin(blocked, document)}'"},
        "tags": {"effective-directive": effective, "blocked-uri": blocked},
        "request": {"url": document} if document else {},
    }
    if referrer := _text(report, "referrer"):
        event["request"]["headers"] = [["Referer", referrer]]
    return event


def _certificate_report(kind: str, report: dict[str, Any]) -> dict[str, Any]:
    hostname = _text(report, "hostname")
    if not hostname:
        raise PayloadError("no hostname")
    event: dict[str, Any] = {
        kind: report,
        "logentry": {"formatted": _FAILURES[kind].format(repr(hostname))},
        "tags": {"hostname": hostname},
        "request": {"url": hostname},
    }
    for name in ("port", "include_subdomains", "failure_mode", "response_status", "cert_status"):
        if isinstance(value := report.get(name), str | int):
            event["tags"][name.replace("_", "-")] = value
    return event


def _origin(blocked: str, document: str) -> str:
    """The host of what was blocked; `self` for the page's own; its scheme or word (inline, eval) without a host."""
    host = _host(blocked)
    if not host:
        return blocked.partition(":")[0]
    return "self" if host == _host(document) else host


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _text(report: dict[str, Any], name: str) -> str:
    value = report.get(name)
    return value[:4096] if isinstance(value, str) else ""

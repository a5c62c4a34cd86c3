"""Whether parts of a service are ready: what is asked of the receiver, the web process, the webserver and the daemon, over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from typing import TypeVar

import msgspec

_ANSWER_SECONDS = 3
_ANSWER_BYTES = 1024 * 1024
Answer = TypeVar("Answer")


def receiver_missing(receiver_url: str) -> str | None:
    """None when the receiver takes envelopes, else what is the matter."""
    try:
        _fetch(f"{receiver_url}/health/ready")
    except _NoAnswer as error:
        return str(error)
    return None


def web_missing(web_url: str) -> str | None:
    """None when pages and Web API are served, else what is the matter."""
    return receiver_missing(web_url)


class _Failure(msgspec.Struct):
    message: str = ""


class _LocationEntry(msgspec.Struct):
    loadStatus: str
    locationOrLoadError: _Failure | None = None


class _Workspace(msgspec.Struct):
    locationEntries: list[_LocationEntry] = []


class _WorkspaceData(msgspec.Struct):
    workspaceOrError: _Workspace


class _WorkspaceAnswer(msgspec.Struct):
    data: _WorkspaceData


def code_location_missing(ui_url: str) -> str | None:
    """None when the webserver answers and has loaded the code location, else what is the matter."""
    question = """{ workspaceOrError { ... on Workspace { locationEntries {
        loadStatus locationOrLoadError { ... on PythonError { message } } } } } }"""
    try:
        answer = _ask(ui_url, question, _WorkspaceAnswer)
    except _NoAnswer as error:
        return f"the webserver does not answer: {error}"
    for entry in answer.data.workspaceOrError.locationEntries:
        if entry.locationOrLoadError and entry.locationOrLoadError.message:
            return f"the definitions cannot be loaded: {entry.locationOrLoadError.message.strip()[:500]}"
        return None if entry.loadStatus == "LOADED" else "the definitions are being loaded"
    return "the webserver knows no code location"


class _DaemonStatus(msgspec.Struct):
    healthy: bool | None = None


class _DaemonHealth(msgspec.Struct):
    daemonStatus: _DaemonStatus


class _Instance(msgspec.Struct):
    daemonHealth: _DaemonHealth


class _InstanceData(msgspec.Struct):
    instance: _Instance


class _InstanceAnswer(msgspec.Struct):
    data: _InstanceData


def daemon_missing(ui_url: str) -> str | None:
    """None when the daemon that runs the sensors says it is well, else what is the matter."""
    question = """{ instance { daemonHealth { daemonStatus(daemonType: "SENSOR") { healthy } } } }"""
    try:
        answer = _ask(ui_url, question, _InstanceAnswer)
    except _NoAnswer as error:
        return f"the webserver does not answer: {error}"
    healthy = answer.data.instance.daemonHealth.daemonStatus.healthy
    return None if healthy else "no heartbeat of the sensor daemon yet"


class _NoAnswer(Exception):
    """Nobody answers at an address, or not in the way hoped for."""


def _ask(ui_url: str, question: str, answer_type: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(
            _fetch(f"{ui_url}/graphql", msgspec.json.encode({"query": question})), type=answer_type
        )
    except msgspec.DecodeError as error:
        raise _NoAnswer(f"unexpected answer: {error}") from error


def _fetch(url: str, body: bytes | None = None) -> bytes:
    """The body of a GET, or of a POST of JSON. urllib, for an HTTP client would double this process's memory."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:
            answer: bytes = response.read(_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        raise _NoAnswer(f"HTTP {error.code}: {error.read(300).decode('utf-8', 'replace')}") from error
    except (OSError, HTTPException) as error:
        raise _NoAnswer(str(error)) from error
    return answer

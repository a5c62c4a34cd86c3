"""Calls: how every provider is asked. One client with judged addresses, deadlines and bounds; each answer is judged by `answers`."""

from __future__ import annotations

import base64
import email.utils
import json as jsonlib
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec
from pydantic import SecretStr

from tasks_pipeline import outbound
from tasks_pipeline.config.integrations import IntegrationBase
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.answers import CREATING, READING, Do, TrackerError, Verdict, judge, within
from tasks_pipeline.trackers.heard import value_of
from tasks_pipeline.trackers.verdicts import LESS

SECONDS = 30.0
CONNECT_SECONDS = 5.0
BODY_BYTES = 10 * 1024 * 1024
FOLLOWED = 3
SAID_LENGTH = 500
ETAG_LENGTH = 75
"""Two of them and two times are kept in 200 characters."""
_SHORTEST_SECRET = 4
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_LINK = re.compile(r"<([^<>]{1,4000})>([^<]{0,1000})")
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""As JSON writes it; a backslash before it that is escaped itself belongs to the text."""
_HALF = re.compile("[\ud800-\udfff]")
_IS_NEXT = re.compile(r"(?:^|;)\s*rel\s*=\s*\"?(?:[^\";,]*\s)?next\b", re.IGNORECASE)

Kind = Literal["state", "create", "comment", "poll", "check", "enrich"]
"""What a call is for: who may go first when there is little left to spend."""
T = TypeVar("T")


class Gate(Protocol):
    """Who decides whether an integration may be asked now."""

    def enter(self, kind: Kind, *, writes: bool = False) -> None:
        """Before each request; `writes`: it changes something there. Raises TrackerError with RATE_LIMITED and `wait` when nothing may be asked now."""

    def note(self, kind: Kind, status: int, headers: Mapping[str, str], verdict: Verdict) -> None:
        """After each request: what came back, names of headers in lower case; status 0 when nothing did."""


class _OpenGate:
    def enter(self, kind: Kind, *, writes: bool = False) -> None:
        """Nobody waits."""

    def note(self, kind: Kind, status: int, headers: Mapping[str, str], verdict: Verdict) -> None:
        """Nobody counts."""


OPEN_GATE: Gate = _OpenGate()


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer. `json` is None where it has no body; `url` is where it came from in the end; `date` is their clock."""

    status: int
    headers: Mapping[str, str]
    json: Any
    date: datetime | None
    url: str
    verdict: Verdict
    call: str

    @property
    def etag(self) -> str:
        """Its entity tag (RFC 9110, 8.8.3), empty without one: what is none could not be sent back, nor kept when it is long."""
        found = self.headers.get("etag", "")
        return found if len(found) <= ETAG_LENGTH and _ETAG.fullmatch(found) else ""

    @property
    def unchanged(self) -> bool:
        """Whether it is as it was at the `If-None-Match` of the request."""
        return self.verdict.do is Do.UNCHANGED

    def shaped(self, shape: type[T], value: Any = ...) -> T:
        """The JSON, or a part of it, as a msgspec type. Raises TrackerError when it is of another shape."""
        try:
            return msgspec.convert(self.json if value is ... else value, shape)
        except msgspec.ValidationError as error:
            # Something was made, when this was to make something: only a look tells what.
            do = Do.UNKNOWN if self.call in CREATING else Do.UNREACHABLE
            said = f"an answer of another shape than documented: {clean(error, 200)}"
            raise TrackerError(Verdict(do, scope=_scope(self.call), said=said)) from error


class Calls:
    """The calls of one integration. Not for several threads at once.

    `at` says where its API begins and what each request carries; requests go there and nowhere else. What they carry, and
    every secret of the integration, is in no message.
    """

    def __init__(self, integration: IntegrationBase, gate: Gate = OPEN_GATE) -> None:
        """Raises TrackerError (MISCONFIGURED) when its certificates cannot be read."""
        self.provider = str(getattr(integration, "type", ""))
        self._gate, self._insecure = gate, integration.allow_insecure
        self._base = ""
        self._headers: dict[str, str] = {}
        self._secrets = [value.get_secret_value() for _, value in integration if isinstance(value, SecretStr)]
        self._masked = _variants(self._secrets)
        self._client = outbound.Client(integration.networks, _context(integration.ca_file), keep=True)

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def base(self) -> str:
        """Where the API begins, without a slash at its end."""
        return self._base

    def at(self, base: str, headers: Mapping[str, str]) -> None:
        """Where the API begins, and the headers of each request, credentials among them."""
        self._base, self._headers = base.rstrip("/"), dict(headers)
        carried = [
            value.split()[-1]
            for name, value in headers.items()
            if name.lower() == "authorization" and value.strip()
        ]
        self._masked = _variants([*self._secrets, *carried])

    def rebase(self, base: str) -> None:
        """Let the API begin elsewhere; what each request carries stays."""
        self._base = base.rstrip("/")

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def mask(self, text: str) -> str:
        """A text without the secrets of this integration, in any of the forms in which they travel."""
        for secret in self._masked:
            text = text.replace(secret, "***")
        return text

    def ask(
        self,
        method: str,
        path: str,
        *,
        kind: Kind,
        call: str,
        json: Any = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make a request and judge its answer. Good, unchanged and read_it come back; all else raises TrackerError.

        `path`: below the API's beginning, or a whole address there. `call` is what `answers.judge` takes: "read", "list", "create",
        "comment", "close", "assign", "edit", "delete" and the like. Redirects are followed within the API alone, with the same
        method and body.
        """
        content = b"" if json is None else jsonlib.dumps(json).encode()
        url = self._within(path, params)
        for _ in range(FOLLOWED + 1):
            reply = self._once(method, url, content, kind, call, headers or {})
            if reply.verdict.do is not Do.FOLLOW:
                return reply
            url = self._within(reply.verdict.to, None)
        raise TrackerError(
            Verdict(Do.MISCONFIGURED, scope=_scope(call), said=f"more than {FOLLOWED} redirects")
        )

    def next_page(self, reply: Reply) -> str | None:
        """The address of the page behind a reply, by its header Link (RFC 8288); None at the end. Raises TrackerError when it
        leads out of the API."""
        links = _LINK.findall(reply.headers.get("link", ""))
        found = next((url for url, params in links if _IS_NEXT.search(params)), None)
        return None if found is None else self._within(urljoin(reply.url, found), None)

    def pages(
        self, path: str, *, kind: Kind, call: str, params: Mapping[str, str | int], most: int
    ) -> Iterator[Reply]:
        """The pages of a list, `most` of them."""
        reply = self.ask("GET", path, kind=kind, call=call, params=params)
        for number in range(1, most + 1):
            yield reply
            following = self.next_page(reply)
            if following is None or number == most:
                return
            reply = self.ask("GET", following, kind=kind, call=call)

    # ── one request

    def _within(self, path: str, params: Mapping[str, str | int] | None) -> str:
        """A whole address within the API. Raises TrackerError for every other one."""
        url = f"{self._base}{path}" if path.startswith("/") else path
        if params:
            url += f"{'&' if '?' in url else '?'}{urlencode(params)}"
        if not within(url, self._base):
            raise self._error(Verdict(Do.MISCONFIGURED, said="it leads out of the API: not followed"))
        if urlsplit(url).scheme != "https" and not self._insecure:
            said = "its address is plain http, where its secret could be read on the way; use https, or set allow_insecure"
            raise self._error(Verdict(Do.MISCONFIGURED, said=said))
        return url

    def _once(
        self, method: str, url: str, content: bytes, kind: Kind, call: str, headers: Mapping[str, str]
    ) -> Reply:
        self._gate.enter(kind, writes=call not in READING)
        request = outbound.Request(
            url,
            method,
            {"Accept": "application/json", **self._headers, **headers}
            | ({"Content-Type": "application/json"} if content else {}),
            content,
            SECONDS,
            max_body=BODY_BYTES,
            connect_seconds=CONNECT_SECONDS,
        )
        try:
            answer = self._client.ask(request)
        except outbound.OutboundError as error:
            raise self._noted(kind, 0, {}, _without_answer(error, call)) from error
        verdict, value = self._judged(answer, call, url)
        if verdict.do not in (Do.GOOD, Do.UNCHANGED, Do.READ_IT, Do.FOLLOW):
            raise self._noted(kind, answer.status, answer.headers, verdict)
        self._gate.note(kind, answer.status, answer.headers, verdict)
        return Reply(answer.status, answer.headers, value, date_of(answer.headers), url, verdict, call)

    def _judged(self, answer: outbound.Answer, call: str, url: str) -> tuple[Verdict, Any]:
        if answer.truncated:
            body = answer.body[: 64 * 1024].decode("utf-8", "replace")
            if answer.status < 300:
                return _too_long(call), None
        else:
            body = answer.body.decode("utf-8", "replace")
        value = _json(body)
        verdict = judge(
            self.provider,
            call,
            answer.status,
            answer.headers,
            body if value is ... else value,
            datetime.now(UTC),
            base=self._base,
            asked=url,
        )
        return verdict, None if value is ... else value

    def _noted(self, kind: Kind, status: int, headers: Mapping[str, str], verdict: Verdict) -> TrackerError:
        error = self._error(verdict)
        self._gate.note(kind, status, headers, error.verdict)
        return error

    def _error(self, verdict: Verdict) -> TrackerError:
        masked = replace(
            verdict,
            said=clean(self.mask(verdict.said), SAID_LENGTH),
            to=self.mask(verdict.to),
            fields=tuple(self.mask(field) for field in verdict.fields),
        )
        return TrackerError(masked)


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Their clock, by the header Date."""
    try:
        found = email.utils.parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _json(text: str) -> Any:
    """The value of a text; `...` for what is no JSON. It holds nothing that a database refuses: of NUL and of half a surrogate pair the
    sign of replacement is left."""
    if "\\u0000" in text:
        text = _NUL.sub(r"\1\\ufffd", text)
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        pass
    value = value_of(text)
    if value is ...:
        return ...
    # Half of a surrogate pair in one title is no reason to read none of the others; a number beyond all bounds is.
    again = _HALF.sub("\ufffd", jsonlib.dumps(value, ensure_ascii=False)).encode()
    try:
        return msgspec.json.decode(again)
    except msgspec.DecodeError:
        return ...


def _without_answer(error: outbound.OutboundError, call: str) -> Verdict:
    said = f"no answer: {error}"
    if isinstance(error, outbound.Refused):
        said = f"{error}; set allow_private for the networks that may be asked"
        return Verdict(Do.MISCONFIGURED, said=said)
    if isinstance(error, outbound.NotUsable):
        return Verdict(Do.MISCONFIGURED, said=str(error))
    if isinstance(error, outbound.Unreachable) or call in READING:
        return Verdict(Do.RETRY, said=said if call in READING else f"not reached: {error}")
    return Verdict(Do.UNKNOWN if call in CREATING else Do.LOOK_AGAIN, said=said)


def _scope(call: str) -> str:
    """What an answer is about that nobody can use: one issue, when that alone was asked for."""
    return "issue" if call == "read" else ""


def _too_long(call: str) -> Verdict:
    said = f"an answer of more than {BODY_BYTES // 2**20} MiB"
    if call in CREATING:
        return Verdict(Do.UNKNOWN, said=said)
    if call in READING:
        return Verdict(Do.UNREACHABLE, scope=_scope(call), then=LESS, said=said)
    return Verdict(Do.LOOK_AGAIN, said=said)


def _variants(secrets: list[str]) -> list[str]:
    """Each secret as it is written in a URL, in JSON and in base64; longer ones first."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) < _SHORTEST_SECRET:
            continue
        raw = secret.encode()
        found |= {secret, quote(secret, safe=""), jsonlib.dumps(secret)[1:-1], repr(secret)[1:-1]}
        found |= {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
        found |= {text.rstrip("=") for text in (base64.b64encode(raw).decode(),)}
    return sorted(found, key=len, reverse=True)


def _context(ca_file: str | None) -> ssl.SSLContext | None:
    """What is trusted: the usual certificates and those of the file. Raises TrackerError when it cannot be read."""
    if ca_file is None:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ValueError) as error:
        said = f"ca_file {ca_file}: {error.__class__.__name__}: {error}"
        raise TrackerError(Verdict(Do.MISCONFIGURED, said=clean(said, 300))) from error
    return context

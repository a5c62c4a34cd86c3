"""From a request's body to a receipt on disk: authenticate, open, check, limit, write. Paths and answers are `app`'s."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from tasks_pipeline.config import Receiver as Settings
from tasks_pipeline.protocol.auth import AuthError, Credentials, request_credentials, with_dsn
from tasks_pipeline.protocol.bounds import MAX_CHECK_IN_BYTES, MAX_CLIENT_REPORT_BYTES
from tasks_pipeline.protocol.encoding import ENCODINGS, EncodingError, TooLarge, decompress
from tasks_pipeline.protocol.envelope import EVENT_TYPES, Envelope, EnvelopeError, Item, write_envelope
from tasks_pipeline.protocol.forms import FormError
from tasks_pipeline.protocol.ids import new_event_id, parse_event_id, payload_event_id
from tasks_pipeline.protocol.items import SUPPORTED, accounted, category
from tasks_pipeline.receiver.accounts import Account, Accounts
from tasks_pipeline.receiver.answers import Refused
from tasks_pipeline.receiver.commit import GroupCommit, QueueFull, SpoolFailed
from tasks_pipeline.receiver.prometheus import Metrics
from tasks_pipeline.receiver.quotas import Limit, Quotas, rate_limit_headers
from tasks_pipeline.receiver.refusals import Refusals, Source, Sums, refusals_receipt
from tasks_pipeline.receiver.request import Request
from tasks_pipeline.storage.spool.interface import Receipt

SMALL_BODY = 256 * 1024
"""Bodies up to this size are opened in the event loop when they are small inside too."""
SMALL_PLAIN = 2 * 1024 * 1024
MAX_META_TEXT = 500

_SMALL_ITEMS = {"check_in": MAX_CHECK_IN_BYTES, "client_report": MAX_CLIENT_REPORT_BYTES}

_INVALID = frozenset({400, 413, 415})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an envelope: its event id, if it has one, and headers that tell of used-up quotas."""

    event_id: str | None
    headers: Mapping[str, str]


class Intake:
    """Everything between a routed request and its answer. One per application, used by its event loop alone."""

    def __init__(self, accounts: Accounts, quotas: Quotas, commit: GroupCommit, metrics: Metrics) -> None:
        self.accounts = accounts
        self.refusals = Refusals()
        self.disk_full = False
        self._quotas = quotas
        self._commit = commit
        self._metrics = metrics
        self._large = ThreadPoolExecutor(1, "large-bodies")  # one at a time, so that their memory is bounded

    @property
    def settings(self) -> Settings:
        """The receiver's section of the configuration."""
        return self.accounts.config.receiver

    def credentials(self, request: Request, path_key: str | None = None) -> Credentials | None:
        """What the request's head says of its sender; None when nothing. Raises Refused."""
        try:
            return request_credentials(
                x_sentry_auth=request.header(b"x-sentry-auth"),
                authorization=request.header(b"authorization"),
                query=request.query,
                path_key=path_key,
            )
        except AuthError as error:
            raise Refused(403, "bad_auth", error.reason) from error

    def account(
        self, request: Request, credentials: Credentials | None, dsn: object, project_id: int | None
    ) -> Account:
        """The account that a request belongs to, noted in it; `dsn` is another form of authentication. Raises Refused."""
        try:
            request.account = self.accounts.find(with_dsn(credentials, dsn), project_id)
        except AuthError as error:
            raise Refused(403, "bad_auth", error.reason) from error
        return request.account

    async def body(self, request: Request) -> bytes:
        """The request's body as sent. Raises Refused, also when there is no room for it on disk."""
        if self.disk_full:
            raise Refused(503, "disk_full", "not enough free disk")
        return await request.body(self.settings.max_body_bytes)

    async def open(self, body: bytes, encoding: str, make: Callable[[bytes], T]) -> T:
        """`make` of the plain body; what is large is made in a thread, one at a time.

        Raises Refused for what decompress and `make` raise (EncodingError, EnvelopeError, FormError).
        """
        limit = self.settings.max_envelope_bytes
        try:
            if len(body) <= SMALL_BODY:
                try:
                    return make(decompress(body, encoding, min(limit, SMALL_PLAIN)))
                except TooLarge:
                    if limit <= SMALL_PLAIN:
                        raise
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._large, lambda: make(decompress(body, encoding, limit)))
        except TooLarge as error:
            raise Refused(413, "too_large", str(error)) from error
        except EncodingError as error:
            reason = "invalid_encoding" if encoding in ENCODINGS else "unknown_encoding"
            raise Refused(400, reason, str(error)) from error
        except EnvelopeError as error:
            raise Refused(400, "invalid_envelope", error.reason) from error
        except FormError as error:
            raise Refused(400, "invalid_payload", error.reason) from error

    async def accept_form(
        self, request: Request, account: Account, client: str | None, form: Envelope
    ) -> Accepted:
        """As `accept`, for an envelope made here of something else."""
        return await self.accept(request, account, client, form, write_envelope(form), "")

    async def accept(
        self,
        request: Request,
        account: Account,
        client: str | None,
        envelope: Envelope,
        body: bytes,
        encoding: str,
    ) -> Accepted:
        """Write an envelope; on return it is on disk. `body` are its bytes in `encoding`.

        `envelope` is emptied, so that a large one is not in memory twice while it waits for the disk.

        Raises Refused: 400 when an item is too large, 429 when quotas refuse all there is, 503 when it cannot be
        written.
        """
        if not envelope.items:
            return Accepted(None, {})
        self._check_sizes(envelope)
        limits, refused = self._admit(account, envelope)
        kept = accounted(envelope, refused)
        headers = rate_limit_headers(limits, refused_all=not kept)
        if refused and not kept:
            raise Refused(429, "rate_limited", "the quota is used up", headers)
        event_id, received_id = _event_id(envelope)
        categories = [category(item.type) for _, item in kept]
        kept.clear()
        envelope.items.clear()
        meta: dict[str, object] = {
            "client": client,
            "user_agent": _short(request.header(b"user-agent")),
            "remote_addr": _short(request.remote_addr(self.settings.trust_forwarded_for)),
            "refused": sorted(refused),
            "received_id": received_id,
        }
        await self._write(
            Receipt(
                received_at=datetime.now(UTC),
                project_id=account.project.id,
                public_key=account.key.public_key,
                event_id=event_id,
                encoding=encoding,
                items=len(categories),
                body=body,
                meta={name: value for name, value in meta.items() if value},
            )
        )
        self._metrics.received_bytes.inc(len(body))
        for name in categories:
            self._metrics.accepted(name)
        return Accepted(event_id, headers)

    def count_refused(self, request: Request, refused: Refused, item_category: str) -> None:
        """Count a request of a known project that was malformed or too large."""
        if request.account is not None and refused.status in _INVALID:
            lost = refused.lost or {item_category: 1}
            self.refusals.add(_source(request.account), "refused", refused.reason, lost)

    async def flush_refusals(self) -> None:
        """Write what was counted. What cannot be written is counted again the next time."""
        await asyncio.gather(*(self._flush(*entry) for entry in self.refusals.take().items()))

    async def _flush(self, source: Source, sums: Sums) -> None:
        try:
            await self._commit.submit(refusals_receipt(source, sums))
        except (QueueFull, SpoolFailed):
            self.refusals.give_back(source, sums)

    def close(self) -> None:
        """End the thread for large bodies."""
        self._large.shutdown(wait=True)

    async def _write(self, receipt: Receipt) -> None:
        try:
            await self._commit.submit(receipt)
        except QueueFull as error:
            raise Refused(503, "overloaded", "too much waits for the disk") from error
        except SpoolFailed as error:
            raise Refused(503, "spool_failed", "the envelope could not be stored") from error

    def _check_sizes(self, envelope: Envelope) -> None:
        for item in envelope.items:
            if item.type in SUPPORTED and len(item.payload) > (limit := self._max_bytes(item)):
                lost = Counter(category(item.type) for _, item in accounted(envelope))
                raise Refused(400, "item_too_large", f"{item.type}: larger than {limit} bytes", lost=lost)

    def _max_bytes(self, item: Item) -> int:
        if item.type == "attachment":
            return self.settings.max_attachment_bytes
        return _SMALL_ITEMS.get(item.type, self.settings.max_event_bytes)

    def _admit(self, account: Account, envelope: Envelope) -> tuple[list[Limit], frozenset[str]]:
        """Quotas that are used up, and the categories of this envelope that are refused; both are counted.

        Attachments go with their event: when every event of the envelope is refused, so are they.
        """
        if not (account.project.quotas or account.key.quotas):
            return [], frozenset()
        quantities = Counter(category(item.type) for _, item in accounted(envelope))
        events = {category(item.type) for item in envelope.items if item.type in EVENT_TYPES}
        limits = list(self._quotas.admit(account.project, account.key, quantities))
        refused = frozenset().union(*(limit.refused for limit in limits))
        for limit in limits:
            lost = {name: quantities[name] for name in limit.refused}
            self.refusals.add(_source(account), "rate_limited", limit.reason, lost)
        if events and events <= refused and quantities["attachment"] and "attachment" not in refused:
            refused |= {"attachment"}
            lost = {"attachment": quantities["attachment"]}
            self.refusals.add(_source(account), "rate_limited", limits[0].reason, lost)
        return limits, refused


def _source(account: Account) -> Source:
    return account.project.id, account.key.public_key


def _event_id(envelope: Envelope) -> tuple[str | None, str | None]:
    """The id of an envelope (its headers' wins, then its event's), and the same again when it was made here."""
    event_id = parse_event_id(envelope.headers.get("event_id"))
    if event_id is not None:
        return event_id, None
    event = next((item for item in envelope.items if item.type in EVENT_TYPES), None)
    if event is None:
        return None, None
    event_id = payload_event_id(event.payload)
    if event_id is not None:
        return event_id, None
    event_id = new_event_id()
    return event_id, event_id


def _short(text: str | None) -> str | None:
    return text[:MAX_META_TEXT] if text else None

"""Calls of fsspec file systems elsewhere: each comes to an end, and trouble is OSError that says what, where and what to do."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.config import conf
from fsspec.core import url_to_fs

from tasks_pipeline.storage import s3

log = logging.getLogger(__name__)

ANSWER = 60.0
"""Seconds that a call may take, retries of the driver among them, and a second more for so many bytes:"""
SLOWEST = 128 * 1024
LISTING = 300.0
"""Seconds for one that goes through many names: a thousand take a tenth of a second."""
GRACE = 600.0
"""Seconds that a whole piece of work may wait in vain, and how many more it may wait for each call that went well:"""
EARNED = 1.0

_LISTINGS = frozenset({"find", "rm"})
_DOING = {
    "ls": "listing", "find": "listing", "info": "looking at", "cat_file": "reading", "pipe_file": "writing", "put_file": "writing",
    "rm_file": "removing", "rm": "removing",
}  # fmt: skip
_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|_KEY$|DATABASE_URL", re.IGNORECASE)
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role of the machine"
_RIGHTS = "the credentials need the right to list, read, write and delete there"
_SAID = {
    "NoSuchBucket": "there is no such bucket: make it, or name another one",
    "InvalidAccessKeyId": f"the credentials are refused; allowed are those of this storage ({_KEYS})",
    "SignatureDoesNotMatch": f"the credentials are refused; allowed are those of this storage ({_KEYS})",
    "ExpiredToken": f"the credentials are over; allowed are such as hold ({_KEYS})",
    "RequestTimeTooSkewed": "the clock of this machine is wrong; allowed are 15 minutes: set it (NTP)",
    "AccessDenied": f"not allowed: {_RIGHTS}",
    "403": f"refused: {_RIGHTS}, and the clock of this machine must be right",
    "NoCredentialsError": f"there are no credentials: set {_KEYS}",
    "PartialCredentialsError": f"the credentials are not whole: set {_KEYS}",
    "EndpointConnectionError": "it cannot be reached: look at the network, and at AWS_ENDPOINT_URL where it is not Amazon's",
}
"""What to do, by the code of an answer or the name of an error."""


class Trouble(OSError):
    """A far place cannot be used; the message says what was done, where, what is wrong and what is allowed, and holds no secret."""


class TooLarge(Trouble):
    """A file has more bytes than a file of its kind may have."""


class Pace:
    """How long all calls of one piece of work may take together: it ends when nothing comes forward, and only then."""

    def __init__(self, grace: float | None = None) -> None:
        self.grace = self.left = GRACE if grace is None else grace

    def spent(self, seconds: float, size: int = 0) -> None:
        """Count a call that went well, and the bytes that it moved."""
        self.left += EARNED + size / SLOWEST - seconds


def open_place(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a folder or URL, and the path in it. Raises ImportError and ValueError for what is neither."""
    options: dict[str, Any] = {"use_listings_cache": False}  # which would not show what other processes do
    if url.startswith(s3.PREFIXES):
        options |= s3.client_options(conf.get("s3", {}))
    fs, root = url_to_fs(url, **options)
    if url.startswith(s3.PREFIXES):
        from s3fs.core import set_custom_error_handler

        set_custom_error_handler(s3.may_pass)
    return fs, str(root).rstrip("/")


def call(
    fs: AbstractFileSystem,
    pace: Pace | None,
    name: str,
    path: str,
    *arguments: Any,
    size: int = 0,
    **named: Any,
) -> Any:
    """Call a method of a file system, which moves so many bytes. Drivers that are asynchronous (S3, Google's, Azure's) are ended after
    their time; others have limits of their own or none. Raises FileNotFoundError, and Trouble for all else."""
    where = arguments[0] if name == "put_file" else path
    allowed = (LISTING if name in _LISTINGS else ANSWER) + size / SLOWEST
    if pace is not None:
        allowed = min(allowed, max(pace.left, 1.0))
    began = time.monotonic()
    try:
        if isinstance(fs, AsyncFileSystem):
            found = sync(fs.loop, getattr(fs, f"_{name}"), path, *arguments, timeout=allowed, **named)
        else:
            found = getattr(fs, name)(path, *arguments, **named)
    except Exception as error:
        log.debug("%s %s failed", name, where, exc_info=True)
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in _codes(error):
            raise
        over = time.monotonic() - began >= allowed
        raise Trouble(f"{_DOING[name]} {where}: {_late(allowed, pace) if over else _why(error)}") from error
    if pace is not None:
        pace.spent(time.monotonic() - began, size)
        if pace.left < 0:
            raise Trouble(f"{_DOING[name]} {where}: {_late(allowed, pace)}")
    return found


def written_at(found: Mapping[str, Any]) -> datetime | None:
    """When an object was written, as stores name it."""
    moment = next(
        (found[k] for k in ("LastModified", "last_modified", "mtime", "updated", "created") if found.get(k)),
        None,
    )
    if isinstance(moment, int | float):
        return datetime.fromtimestamp(moment, UTC)
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if isinstance(moment, datetime):
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def _late(allowed: float, pace: Pace | None) -> str:
    if pace is not None and pace.left <= allowed:
        waited = f"{pace.grace / 60:.0f} minutes" if pace.grace > 120 else f"{pace.grace:.0f} s"
        return f"far too little came forward for {waited}: the storage is away or too slow"
    return f"it did not end within {allowed:.0f} s: the storage is away or too slow"


def _codes(error: BaseException | None) -> Iterator[str]:
    """What an error and those that it was made of are called, by the far side and here."""
    while error is not None:
        answer = getattr(error, "response", None)
        if isinstance(answer, Mapping):
            yield str(answer.get("Error", {}).get("Code", ""))
        yield type(error).__name__
        error = error.__cause__ or error.__context__


def _why(error: Exception) -> str:
    codes = list(_codes(error))
    said = next((_SAID[code] for code in codes if code in _SAID), "")
    if not said and isinstance(error, PermissionError):
        said = _SAID["403"]
    text = _without_secrets(" ".join(str(error).split()))[:200] or type(error).__name__
    return f"{said} ({text})" if said else text


def _without_secrets(text: str) -> str:
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET.search(name):
            text = text.replace(value, "***")
    return text

"""S3 by the variables that all its clients read (`AWS_…`): where it is, how it is addressed, and who asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PREFIXES = ("s3://", "s3a://")
TRIES = 4
"""Of the driver for each of the five of s3fs."""
HANDS = 2
"""Parts of a large file that are sent at once: each is held in memory, and has 50 MiB."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Who asks: an access key with its secret, and the token of those that are lent for a while."""

    name: str
    secret: str
    token: str = ""


class Credentials:
    """The keys of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else what boto finds: a profile, a process, a role of the machine.

    What boto finds may be lent: it is asked again for each use, and renews them in time.
    """

    def __init__(self) -> None:
        name, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        self._own = Keys(name, secret, os.environ.get("AWS_SESSION_TOKEN", "")) if name and secret else None
        self._lent = None if self._own else _boto_credentials()

    def now(self) -> Keys | None:
        """The keys to use now; None where there are none."""
        if self._lent is None:
            return self._own
        found = self._lent.get_frozen_credentials()
        return Keys(found.access_key, found.secret_key, found.token or "")


def _boto_credentials() -> Any:
    from botocore.session import Session

    return Session().get_credentials()


def endpoint() -> str:
    """`http(s)://host:port` of a storage that is not Amazon's; empty for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")


def region() -> str:
    """The region that requests are signed for."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def client_options(configured: Mapping[str, Any]) -> dict[str, Any]:
    """What `s3fs` has to be told, beside what fsspec's own configuration says of it."""
    config: dict[str, Any] = {
        # s3fs tries five times what its driver gave up: 25 tries in 40 s with what that does by itself, in which a drain waits. With too few a
        # drain fails so often within a minute that it is left alone for longer than the storage was away.
        "retries": {"mode": "standard", "total_max_attempts": TRIES},
        # Stores that answer for a part of a file with the sum of all of it are many; what has to be proven bears a sum of ours.
        "response_checksum_validation": "when_required",
    }
    if endpoint():
        config["s3"] = {"addressing_style": "path"}  # names of buckets are seldom names of hosts there
    return {
        "max_concurrency": HANDS,
        "client_kwargs": {"region_name": region()} | dict(configured.get("client_kwargs", {})),
        "config_kwargs": config | dict(configured.get("config_kwargs", {})),
    }


def may_pass(error: Exception) -> bool:
    """Whether s3fs should try again what it takes for final: the far side is in trouble, or not there."""
    answer = getattr(error, "response", None)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) if isinstance(answer, Mapping) else 0
    return int(status) >= 500 or type(error).__name__ == "EndpointConnectionError"


def duckdb_secret(name: str, scope: str, keys: Keys | None) -> tuple[str, dict[str, str]]:
    """The statement that tells DuckDB the same, and its parameters."""
    values = {"scope": scope, "region": region(), "url_style": "path" if endpoint() else "vhost"}
    if keys is not None:
        values |= {"key_id": keys.name, "secret": keys.secret, "session_token": keys.token}
    if endpoint():
        found = urlsplit(endpoint())
        values |= {"endpoint": f"{found.netloc}{found.path}".rstrip("/")}
        values |= {"use_ssl": "false" if found.scheme == "http" else "true"}
    given = ", ".join(f"{key.upper()} ${key}" for key in values)
    return f"CREATE OR REPLACE TEMPORARY SECRET {name} (TYPE s3, {given})", values

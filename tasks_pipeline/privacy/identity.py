"""Who is meant: ids, mail addresses and addresses of one person, checked, and the spellings in which they are looked for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tasks_pipeline.config.people import folded
from tasks_pipeline.erasure.texts import Texts

MOST = 50
"""Identifiers of one person."""
LONGEST = 200
SHORT_ID, SHORT_NUMBER = 6, 9
"""Characters from which an id, and a number, is looked for in any text: shorter ones stand in too much that is somebody else's."""
NAMES_OF_USER = ("id", "username")
"""Fields of a user that are an id of theirs: others are of their company, or count something."""
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,190}")
_NOBODY = frozenset(
    {
        "",
        "null",
        "none",
        "undefined",
        "nil",
        "nan",
        "unknown",
        "anonymous",
        "guest",
        "true",
        "false",
        "0",
        "-1",
    }
)
"""What programs send for no user."""


class IdentityError(ValueError):
    """An identifier cannot be used; the message says which, what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A person: who has one of these ids, addresses. `project_id` None: in all projects. Mail addresses and addresses are folded.
    `names`: those of the ids that are words of others too, in this installation (`names.told_apart`)."""

    user_ids: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    project_id: int | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        user_ids: Iterable[str] = (),
        emails: Iterable[str] = (),
        ips: Iterable[str] = (),
        project_id: int | None = None,
    ) -> Identity:
        """Checked. Raises IdentityError."""
        found = cls(
            _unique(map(_user_id, user_ids)), _unique(map(_email, emails)), _unique(map(_ip, ips)), project_id
        )
        if not (count := len(found.user_ids) + len(found.emails) + len(found.ips)):
            raise IdentityError("nobody is named: give --user-id, --email or --ip")
        if count > MOST:
            raise IdentityError(f"{count} identifiers: of one person {MOST} at most are taken at once")
        return found

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Identity:
        """As it was stored with a request."""
        return cls(tuple(data["user_ids"]), tuple(data["emails"]), tuple(data["ips"]), data["project_id"])

    @property
    def data(self) -> dict[str, Any]:
        """To be stored with a request."""
        return {
            "user_ids": list(self.user_ids), "emails": list(self.emails), "ips": list(self.ips), "project_id": self.project_id,
        }  # fmt: skip

    @property
    def kinds(self) -> dict[str, int]:
        """How many identifiers of each kind there are."""
        counts = {"user_id": len(self.user_ids), "email": len(self.emails), "ip": len(self.ips)}
        return {kind: n for kind, n in counts.items() if n}

    @property
    def short_ids(self) -> Sequence[str]:
        """Ids that are looked for only where an event or session says who its user is: too short, or words of others."""
        return [each for each in self.user_ids if is_short(each) or each in self.names]

    @property
    def texts(self) -> Texts:
        """What is looked for in any text."""
        return _texts(self)

    @property
    def spelt_ips(self) -> tuple[str, ...]:
        """Addresses as programs write them: with and without zeros."""
        return _unique(way for each in self.ips for way in _spellings(each))

    @property
    def nobody(self) -> list[str]:
        """Ids that programs send when they know no user."""
        return [each for each in self.user_ids if each.strip().lower() in _NOBODY]


@lru_cache(16)
def _texts(person: Identity) -> Texts:
    """Asked for with each envelope: what was compiled of them is kept."""
    short = person.short_ids
    return Texts.of(
        [*(each for each in person.user_ids if each not in short), *person.emails, *person.spelt_ips]
    )


def is_short(user_id: str) -> bool:
    """Whether an id is too short to be told from other words and numbers."""
    return len(user_id) < (SHORT_NUMBER if user_id.isdigit() else SHORT_ID)


def _user_id(value: str) -> str:
    if not value.strip() or len(value) > LONGEST or any(not letter.isprintable() for letter in value):
        raise IdentityError(
            f"--user-id: found {value[:40]!r}, allowed are 1 to {LONGEST} printable characters"
        )
    return value.strip()


def _email(value: str) -> str:
    if not _EMAIL.fullmatch(value.strip()):
        raise IdentityError(f"--email: found {value[:80]!r}, allowed is one address such as ann@example.org")
    return folded(value)


def _ip(value: str) -> str:
    try:
        found = ipaddress.ip_address(value.strip())
        return str(getattr(found, "ipv4_mapped", None) or found)
    except ValueError:
        raise IdentityError(
            f"--ip: found {value[:60]!r}, allowed is one IPv4 or IPv6 address such as 192.0.2.7"
        ) from None


def _spellings(ip: str) -> Iterator[str]:
    yield ip
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        high, low = divmod(
            int(address), 1 << 16
        )  # by hand: Python writes these with dots since 3.13, and without before
        yield from (f"::ffff:{ip}", f"::ffff:{high:x}:{low:x}")
        yield from (f"0:0:0:0:0:ffff:{ip}", f"{'0000:' * 5}ffff:{high:04x}:{low:04x}")
    else:
        groups = address.exploded.split(":")
        yield address.exploded
        yield ":".join(f"{int(each, 16):x}" for each in groups)
        yield ":".join(each.zfill(4) if each else "" for each in str(address).split(":"))


def _unique(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))

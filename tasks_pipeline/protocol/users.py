"""Who an event is about: the key by which distinct users are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def user_key(user: Mapping[str, Any]) -> str | None:
    """Who is meant, by the first that is known: id, email, username, ip address."""
    for name, prefix in (("id", "id"), ("email", "email"), ("username", "username"), ("ip_address", "ip")):
        value = user.get(name)
        if value not in (None, ""):
            return f"{prefix}:{value}"
    return None

"""What pages answer with besides a page: headers that keep strangers' text harmless, redirects, and why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import RedirectResponse

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing inline, nothing from elsewhere, no markup from scripts."""
HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Refused(Exception):
    """There is no such page for the one who asks; `status` and a message for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def no_such(what: str) -> Refused:
    """Nothing of this name, or nothing that may be seen: which of the two is nobody's business."""
    return Refused(404, f"There is no such {what}, or you may not see it.")


def go(address: str, status: int = 303) -> RedirectResponse:
    """A redirect to an address of ours; any other leads to the start."""
    return RedirectResponse(own_address(address), status, dict(HEADERS))


def own_address(address: str, otherwise: str = "/groups/") -> str:
    """An address that stays with us: a path and what follows it. What a browser might take for another host does not."""
    plain = address.startswith("/") and not address.startswith(("//", "/\\"))
    return (
        address
        if plain and address.isascii() and address.isprintable() and "\\" not in address
        else otherwise
    )

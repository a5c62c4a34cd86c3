"""How a call that leaves the machine can fail. The messages are for people and hold no secrets of the request.

OutboundError
 ├─ Refused        the address is not one that may be asked: nothing was sent
 ├─ NotUsable      what was to be asked is no request (a URL, a header): nothing was sent, trying again is of no use
 ├─ Unreachable    name, connection or TLS failed, or took too long: nothing was sent
 └─ NoAnswer       it was on its way when the connection broke or the time was over: nobody knows what became of it
"""

from __future__ import annotations


class OutboundError(Exception):
    """There is no usable answer."""


class Refused(OutboundError):
    """An address is not to be asked; the message says which and why."""


class NotUsable(OutboundError):
    """What was to be asked is no request that can be made."""


class Unreachable(OutboundError):
    """Nobody was reached; the message says at which step."""


class NoAnswer(OutboundError):
    """The request was on its way, but no whole answer came."""

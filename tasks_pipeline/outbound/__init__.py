"""Outbound: every call that leaves the machine goes through here, and is over at its deadline, whatever the far side does.

A time limit of a library holds for each operation: a far side that sends a byte a second is never too slow for it. Here
what is left of the whole is what each operation gets. `ask` and `Client` make HTTP requests; `connect` gives what another
protocol is spoken over.
"""

from tasks_pipeline.outbound.addresses import EVERYWHERE, Network, judge
from tasks_pipeline.outbound.client import HARMLESS, MAX_BODY, Answer, Client, Request, ask
from tasks_pipeline.outbound.deadline import Deadline
from tasks_pipeline.outbound.errors import NoAnswer, NotUsable, OutboundError, Refused, Unreachable
from tasks_pipeline.outbound.names import own_name
from tasks_pipeline.outbound.stream import Stream, connect

__all__ = [
    "EVERYWHERE",
    "HARMLESS",
    "MAX_BODY",
    "Answer",
    "Client",
    "Deadline",
    "Network",
    "NoAnswer",
    "NotUsable",
    "OutboundError",
    "Refused",
    "Request",
    "Stream",
    "Unreachable",
    "ask",
    "connect",
    "judge",
    "own_name",
]

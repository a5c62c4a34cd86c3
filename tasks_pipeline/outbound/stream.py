"""A connection to a judged address. Every operation ends at the deadline it is given, and what is read is bounded."""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Sequence

from tasks_pipeline.outbound.addresses import Network, judge
from tasks_pipeline.outbound.deadline import Deadline
from tasks_pipeline.outbound.errors import Unreachable
from tasks_pipeline.outbound.names import addresses_of

ADDRESSES_TRIED = 4
ANSWER_BYTES = 32 * 1024 * 1024
"""No more is read in answer to what was written, unless another bound is given: a flood of what is no answer yet must not go
on until the deadline."""
_PIECE = 64 * 1024


class Stream:
    """A TCP connection, with TLS or without. Operations raise OSError, of which TimeoutError says that the deadline passed."""

    def __init__(self, connected: socket.socket, answer_bytes: int = ANSWER_BYTES) -> None:
        self._socket, self._answer_bytes = connected, answer_bytes
        self._unanswered = 0

    def read(self, size: int, deadline: Deadline) -> bytes:
        """At least a byte and at most `size`; nothing when the far side is done."""
        self._socket.settimeout(deadline.left())
        found = self._socket.recv(size)
        self._unanswered += len(found)
        if self._unanswered > self._answer_bytes:
            raise OSError(f"more than {self._answer_bytes:,} bytes and no end")
        return found

    def write(self, content: bytes, deadline: Deadline) -> None:
        """All of it."""
        self._unanswered = 0
        rest = memoryview(content)
        while rest:
            self._socket.settimeout(deadline.left())
            rest = rest[self._socket.send(rest[:_PIECE]) :]

    def start_tls(self, context: ssl.SSLContext, host: str, deadline: Deadline) -> None:
        """From here on with TLS, with whoever holds a certificate for the host. Raises ssl.SSLError besides."""
        self._socket.settimeout(deadline.left())
        self._socket = context.wrap_socket(self._socket, server_hostname=host)

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The TLS of the connection; None without."""
        return self._socket if isinstance(self._socket, ssl.SSLSocket) else None

    @property
    def own_address(self) -> str:
        """This end's address."""
        return str(self._socket.getsockname()[0])

    @property
    def stirs(self) -> bool:
        """Whether something came, or the far side has hung up."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def connect(
    host: str,
    port: int,
    deadline: Deadline,
    allowed: Sequence[Network] = (),
    answer_bytes: int = ANSWER_BYTES,
) -> Stream:
    """Resolve a name, judge every address it has, and connect to the first that answers. Raises Refused and Unreachable.

    The connection goes to the judged address itself: a name that changes its address in between (DNS rebinding) changes
    nothing.
    """
    found = addresses_of(host, port, deadline)
    judged = [judge(address, allowed) for address in found][:ADDRESSES_TRIED]
    last: Exception | None = None
    for number, address in enumerate(judged):
        try:
            # The last one may take all that is left, those before it leave their part to the others.
            seconds = deadline.left() / (len(judged) - number)
            connected = socket.create_connection((str(address), port), timeout=seconds)
        except OSError as error:
            last = error
            continue
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Stream(connected, answer_bytes)
    raise Unreachable(f"connect: {host}:{port}: {last or 'the name has no address'}") from last

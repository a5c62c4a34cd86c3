"""smtplib's dialogue over a connection of `outbound`: all of a dialogue is over at its deadline, whatever the server does."""

from __future__ import annotations

import io
import smtplib
import socket
import ssl
from typing import Any, cast

from tasks_pipeline import outbound

REPLY_BYTES = 64 * 1024  # a reply has a few lines of at most 512 bytes (RFC 5321, 4.5.3.1.5)
NAME_SHARE = 0.2  # of the time, for asking what this machine is called


class Wire:
    """What smtplib takes for its socket. `deadline` is that of the dialogue in progress; the next one sets another."""

    def __init__(self, stream: outbound.Stream, host: str, deadline: outbound.Deadline) -> None:
        self.stream, self.deadline = stream, deadline
        self._host = host

    def sendall(self, content: bytes) -> None:
        """Write all of it."""
        self.stream.write(content, self.deadline)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What replies are read from."""
        return io.BufferedReader(_Replies(self))

    def start_tls(self, context: ssl.SSLContext) -> None:
        """From here on with TLS."""
        self.stream.start_tls(context, self._host, self.deadline)

    def close(self) -> None:
        """Hang up."""
        self.stream.close()


class _Replies(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._wire.stream.read(len(buffer), self._wire.deadline)
        buffer[: len(found)] = found
        return len(found)


class _Upgrade:
    """What smtplib takes for an SSL context: `starttls` wraps its socket with it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_socket(self, wire: Wire, server_hostname: str | None = None) -> Wire:
        wire.start_tls(self._context)
        return wire


def greeted(
    host: str, port: int, deadline: outbound.Deadline, tls: ssl.SSLContext | None
) -> tuple[smtplib.SMTP, Wire]:
    """A client that is connected (with `tls` from the first byte on) and was greeted, and its wire.

    Raises OutboundError and OSError, of which smtplib.SMTPException is one.
    """
    # Asked here, in bounded time: smtplib itself would wait for the resolver as long as that likes.
    name = outbound.own_name(deadline.share(NAME_SHARE))
    stream = outbound.connect(host, port, deadline, outbound.EVERYWHERE, REPLY_BYTES)
    wire = Wire(stream, host, deadline)
    try:
        client = smtplib.SMTP(local_hostname=name or _literal(wire.stream.own_address))
        if tls is not None:
            wire.start_tls(tls)
        client.sock = cast(socket.socket, wire)
        code, said = client.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
    except BaseException:
        wire.close()
        raise
    return client, wire


def start_tls(client: smtplib.SMTP, context: ssl.SSLContext) -> None:
    """STARTTLS. Raises as smtplib does."""
    client.starttls(context=cast(ssl.SSLContext, _Upgrade(context)))


def _literal(address: str) -> str:
    """An address as the name of a machine that has none (RFC 5321, 4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

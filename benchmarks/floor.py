"""The floor: what the bare work on an event costs in one process, without anything of ours: inflate, parse, compress."""

from __future__ import annotations

import time

import msgspec
import zstandard
from isal import isal_zlib

from tasks_pipeline.demo.traffic import shop_events


def floor_cpu_ms(count: int = 1000) -> dict[str, float]:
    """CPU milliseconds per event for inflate, parse and compress, and their sum."""
    bodies = [event.body for event in shop_events(count)]
    packer = zstandard.ZstdCompressor(level=3)
    costs: dict[str, float] = {}

    started = time.process_time()
    plain = [isal_zlib.decompress(body, 31) for body in bodies]
    costs["inflate"] = time.process_time() - started

    payloads = [envelope.split(b"\n", 2)[2] for envelope in plain]
    decode = msgspec.json.Decoder().decode
    started = time.process_time()
    for payload in payloads:
        decode(payload)
    costs["parse"] = time.process_time() - started

    started = time.process_time()
    for payload in payloads:
        packer.compress(payload)
    costs["compress"] = time.process_time() - started
    return {name: seconds / count * 1000 for name, seconds in costs.items()} | {
        "sum": sum(costs.values()) / count * 1000
    }

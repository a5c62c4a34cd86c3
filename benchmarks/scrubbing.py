"""What scrubbing costs: recorded events of 39 KB with nothing to scrub. `python -m benchmarks.scrubbing` prints it."""

from __future__ import annotations

import gzip
import json
import time
from datetime import UTC, datetime

from tasks_pipeline.config.scrubbing import Scrubbing
from tasks_pipeline.demo.traffic import shop_events
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.event import normalise_event
from tasks_pipeline.protocol.exact import decode_event
from tasks_pipeline.scrubbing.scrubber import Scrubber

EVENTS = 500
ROUNDS = 25
# The one thing in these events that has to go.
CARD = b'"card_number":"4111111111111111"'


def measure() -> dict[str, float]:
    """`scrubbing_us_per_clean_event` and `scrubbing_us_per_event_with_a_card`: microseconds, by the clock of the CPU.

    Each event is normalised just before it is scrubbed, as it is in a drain; of the rounds the fastest counts for each. What
    reading the clock costs is taken off.
    """
    sent = [gzip.decompress(event.body).split(b"\n")[2] for event in shop_events(EVENTS)]
    clean = [payload.replace(CARD, b'"article":"4111"') for payload in sent]
    return {
        "scrubbing_us_per_clean_event": _microseconds(clean),
        "scrubbing_us_per_event_with_a_card": _microseconds(sent),
    }


def _microseconds(payloads: list[bytes]) -> float:
    scrubber = Scrubber(Scrubbing())
    context = ItemContext(1, datetime.now(UTC))
    best = [float("inf")] * len(payloads)
    for _ in range(ROUNDS):
        for position, payload in enumerate(payloads):
            decoded = decode_event(payload, context)
            event = normalise_event(decoded.payload, context, decoded.exact)
            started = time.thread_time()
            scrubber.scrub(event, payload, decoded.variables)
            best[position] = min(best[position], time.thread_time() - started)
    return round((sum(best) / len(best) - _clock_seconds()) * 1e6, 1)


def _clock_seconds() -> float:
    """What reading the clock twice shows when nothing lies between."""
    spans = []
    for _ in range(1000):
        started = time.thread_time()
        spans.append(time.thread_time() - started)
    return min(spans)


if __name__ == "__main__":
    print(json.dumps(measure()))

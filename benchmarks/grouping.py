"""What grouping costs: recorded events of 26 frames, with our own rules. `python -m benchmarks.grouping` prints it."""

from __future__ import annotations

import gzip
import json
import time

from tasks_pipeline.demo.traffic import shop_events
from tasks_pipeline.grouping import group_event, grouping_rules
from tasks_pipeline.protocol.decode import decode_json

EVENTS = 500
ROUNDS = 10


def measure() -> dict[str, float]:
    """`grouping_us_per_event`: microseconds for an event of a problem that was seen before.

    Each event is decoded just before it is grouped, as it is in a drain; of the rounds the fastest counts for each event.
    """
    payloads = [gzip.decompress(event.body).split(b"\n")[2] for event in shop_events(EVENTS)]
    rules = grouping_rules()
    best = [float("inf")] * len(payloads)
    for _ in range(ROUNDS):
        for position, payload in enumerate(payloads):
            event = decode_json(payload)
            started = time.perf_counter()
            group_event(event, rules)
            best[position] = min(best[position], time.perf_counter() - started)
    return {"grouping_us_per_event": round(sum(best) / len(best) * 1e6, 1)}


if __name__ == "__main__":
    print(json.dumps(measure()))

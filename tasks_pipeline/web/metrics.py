"""The web process's Prometheus metrics: how many requests of which part were answered how, and how long that took."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from tasks_pipeline.asgi import Message, Send

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX = "tasks_pipeline_web"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """One registry per application, so that several can live in a process. Label values come from fixed sets."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            f"{_PREFIX}_requests", "Requests answered.", ("part", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}_seconds", "Time until an answer begins.", ("part",), buckets=_SECONDS, registry=self._registry
        )  # fmt: skip

    def timed(self, part: str, send: Send) -> Send:
        """The same, with its answer counted for a part (api, pages, own)."""
        began = time.monotonic()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(part, str(message["status"])).inc()
                self._seconds.labels(part).observe(time.monotonic() - began)
            await send(message)

        return counting

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

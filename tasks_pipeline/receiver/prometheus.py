"""The receiver's Prometheus metrics: their names and labels, and the text they are scraped as."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX = "tasks_pipeline_receiver"
_APPEND_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """One registry per application, so that several can live in a process. Label values come from fixed sets."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            f"{_PREFIX}_requests", "Requests answered.", ("endpoint", "status"), registry=registry
        )
        self._items = Counter(f"{_PREFIX}_items", "Items accepted.", ("category",), registry=registry)
        self._refused = Counter(f"{_PREFIX}_refused", "Requests refused.", ("reason",), registry=registry)
        self.received_bytes = Counter(
            f"{_PREFIX}_received_bytes", "Body bytes accepted, as sent.", registry=registry
        )
        self.append_seconds = Histogram(
            f"{_PREFIX}_append_seconds",
            "Time of one commit to the spool.",
            buckets=_APPEND_SECONDS,
            registry=registry,
        )
        self.queued_envelopes = Gauge(
            f"{_PREFIX}_queued_envelopes", "Envelopes waiting for disk.", registry=registry
        )
        self.queued_bytes = Gauge(f"{_PREFIX}_queued_bytes", "Bytes waiting for disk.", registry=registry)
        self.body_bytes = Gauge(
            f"{_PREFIX}_body_bytes", "Bytes of all bodies held in memory.", registry=registry
        )
        self.free_disk_bytes = Gauge(
            f"{_PREFIX}_free_disk_bytes", "Free disk below the home.", registry=registry
        )
        self._request = cache(lambda endpoint, status: self._requests.labels(endpoint, str(status)))
        self._item = cache(self._items.labels)

    def answered(self, endpoint: str, status: int) -> None:
        """Count an answer."""
        self._request(endpoint, status).inc()

    def accepted(self, category: str) -> None:
        """Count an accepted item."""
        self._item(category).inc()

    def refused(self, reason: str) -> None:
        """Count a refused request."""
        self._refused.labels(reason).inc()

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

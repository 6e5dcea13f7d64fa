"""Metrics by route template and status. No label ever holds what a caller sent."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Meters:
    """A registry of its own: nothing that a library registers globally appears in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route")
        self._requests = Counter(
            "twinport_http_requests",
            "Requests answered.",
            (*labels, "status"),
            registry=self.registry,
        )
        self._duration = Histogram(
            "twinport_http_request_seconds",
            "Time to answer.",
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._open = Gauge(
            "twinport_http_requests_open",
            "Requests being answered.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )

    def begun(self) -> None:
        self._open.inc()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._duration.labels(method, route).observe(seconds)

    def ended(self) -> None:
        self._open.dec()

    def text(self) -> bytes:
        """All workers' numbers where several share a folder, else this process's own."""
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            return generate_latest(self.registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)

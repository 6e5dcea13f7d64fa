"""Metrics by route template and status. No label ever holds what a caller sent."""

import os
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.pipeline.meters import RunMeters

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# Read from the database when somebody asks: the same for all processes.
LEVELS: Mapping[str, str] = {
    "twinport_runs_waiting": "Runs that wait for a worker.",
    "twinport_runs_in_hand": "Runs that are worked on.",
    "twinport_run_oldest_wait_seconds": "How long the oldest waiting run has waited.",
    "twinport_writes_unfinished": "Results not yet confirmed in a chart.",
    "twinport_results_to_review": "Accepted results in charts, marked as resting on what no longer "
    "stands.",
    "twinport_results_flagged_beside": "Results in charts that no longer hold and may not be "
    "changed, with a notice beside them.",
    "twinport_results_unmarked": "Results in charts that no longer hold, where the server refuses "
    "the mark and any notice.",
    "twinport_watches": "Watched patients that are looked at, not paused.",
    "twinport_watches_failing": "Of these, those whose last look failed.",
    "twinport_watch_longest_overdue_seconds": "For how long the one due first has been due.",
    "twinport_watch_notices_waiting": "Notices of changed results that nobody has taken yet.",
}
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
        self.runs = RunMeters(self.registry)

    def begun(self) -> None:
        self._open.inc()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._duration.labels(method, route).observe(seconds)

    def ended(self) -> None:
        self._open.dec()

    def text(self, levels: Mapping[str, float]) -> bytes:
        """All workers' numbers where several share a folder, else this process's own; and how
        things stand (a number for each of `LEVELS`)."""
        counted = self.registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            counted = CollectorRegistry()
            MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
        standing = CollectorRegistry()
        standing.register(_Levels(levels))
        return generate_latest(counted) + generate_latest(standing)


class _Levels(Collector):
    def __init__(self, levels: Mapping[str, float]) -> None:
        self._levels = levels

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, text in LEVELS.items():
            yield GaugeMetricFamily(name, text, value=self._levels[name])

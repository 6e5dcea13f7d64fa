"""What runs cost, stage by stage, and what was turned away. Labels are words of our own."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram

from service.stores.database import utc_now

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
STAGES = (
    "pull", "de-identify", "map", "build", "predict", "gate", "sign", "write-back",
)  # fmt: skip


class RunMeters:
    """Counters of the runs of this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, labels: tuple[str, ...] = ()) -> Histogram:
            return Histogram(name, text, labels, buckets=_SECONDS, registry=registry)

        self._ended = Counter(
            "twinport_runs",
            "Tries of runs that ended, by what came of them: done, or the reason they failed.",
            ("outcome",),
            registry=registry,
        )
        self._shed = Counter(
            "twinport_runs_shed",
            "Runs turned away at the door, by what was full.",
            ("full",),
            registry=registry,
        )
        self._written = Counter(
            "twinport_results",
            "Results on their way into a chart, by what came of them.",
            ("outcome",),
            registry=registry,
        )
        self._whole = histogram("twinport_run_seconds", "From the first step to the last.")
        self._queued = histogram("twinport_run_queue_seconds", "From acceptance to the first step.")
        self._server = histogram(
            "twinport_run_server_seconds",
            "Part of a run in which a request to the FHIR server was under way.",
        )
        self._stage = histogram("twinport_run_stage_seconds", "One stage of a run.", ("stage",))

    def shed(self, full: str) -> None:
        self._shed.labels(full).inc()

    def queued(self, created: datetime | None) -> None:
        if created is not None:
            self._queued.observe(max(0.0, (utc_now() - created).total_seconds()))

    def waited(self, server_seconds: float) -> None:
        self._server.observe(server_seconds)

    def ended(self, outcome: str) -> None:
        self._ended.labels(outcome).inc()

    def written(self, counts: Mapping[str, int]) -> None:
        for name, number in counts.items():
            self._written.labels(name).inc(number)

    @contextmanager
    def run(self) -> Iterator["Stages"]:
        """Times one run and its stages."""
        stages = Stages(lambda stage, seconds: self._stage.labels(stage).observe(seconds))
        with self._whole.time():
            try:
                yield stages
            finally:
                stages.end()


class Stages:
    """A stage lasts until the next one begins."""

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        self._tell = tell
        self._now: tuple[str, float] | None = None

    def begin(self, stage: str) -> None:
        self.end()
        self._now = (stage, time.perf_counter())

    def end(self) -> None:
        if self._now is not None:
            stage, began = self._now
            self._tell(stage, time.perf_counter() - began)
            self._now = None

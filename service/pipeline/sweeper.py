"""Finishes, again and again, what was left in the outbox: at the start, then once in a while."""

import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)


class Sweeper:
    def __init__(self, sweep: Callable[[], int], seconds: float, name: str = "outbox") -> None:
        self._sweep, self._seconds, self._name = sweep, seconds, name
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._end.clear()
        self._thread = threading.Thread(
            target=self._work, name=f"{self._name}-sweeper", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Daemonic: a write in the middle of an answer is not waited for; the outbox knows it."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(1)

    def _work(self) -> None:
        while True:
            self._once()
            if self._end.wait(self._seconds):
                return

    def _once(self) -> None:
        try:
            if done := self._sweep():
                _log.info(f"{self._name}.finished", done=done)
        except Exception as error:  # noqa: BLE001 - told by its type, and tried again
            _log.error(f"{self._name}.sweep-failed", error=type(error).__name__)

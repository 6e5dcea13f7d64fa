"""The outbox in the hands of a living process: short leases, renewed for as long as it lives.

Of a process that was killed, an item is free again after one short lease, and not only after the
longest time a write may take.
"""

import threading

from sqlalchemy.exc import SQLAlchemyError

from service.fhir.outbox import Note, OutboxItem, OutboxState
from service.stores.outbox import SqlOutboxStore


class HeldOutbox:
    """`service.fhir.outbox.OutboxStore`, for the length of a `with` block."""

    def __init__(self, store: SqlOutboxStore, lease_seconds: float) -> None:
        self._store, self._lease = store, lease_seconds
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="outbox-heartbeat", daemon=True)

    def __enter__(self) -> "HeldOutbox":
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._heart.join()

    def enqueue(self, key: str, payload: bytes) -> bool:
        return self._store.enqueue(key, payload)

    def get(self, key: str) -> OutboxItem | None:
        return self._store.get(key)

    def take(self, key: str, payload: bytes, *, lease_seconds: float = 0) -> list[OutboxItem]:
        return self._holding(self._store.take(key, payload, lease_seconds=self._lease))

    def claim(
        self, *, limit: int = 1, lease_seconds: float = 0, key: str | None = None
    ) -> list[OutboxItem]:
        """The lease asked for is not needed: the heartbeat lasts as long as the work."""
        return self._holding(self._store.claim(limit=limit, lease_seconds=self._lease, key=key))

    def _holding(self, items: list[OutboxItem]) -> list[OutboxItem]:
        with self._lock:
            self._held |= {item.key: item.attempt for item in items}
        return items

    def mark(
        self,
        key: str,
        attempt: int,
        state: OutboxState,
        detail: str = "",
        result: bytes | None = None,
        note: Note | None = None,
    ) -> bool:
        if state is not OutboxState.SENDING:
            with self._lock:
                self._held.pop(key, None)
        return self._store.mark(key, attempt, state, detail, result, note)

    def _beat(self) -> None:
        while not self._end.wait(self._lease / 3):
            with self._lock:
                held = dict(self._held)
            for key, attempt in held.items():
                try:
                    self._store.renew(key, attempt, lease_seconds=self._lease)
                except SQLAlchemyError:
                    break  # a database away for a moment: the next beat comes in time, or it ends

"""An outbox in memory, with the semantics that `OutboxStore` promises."""

import threading
from dataclasses import dataclass, replace

from service.fhir.outbox import FINAL_STATES, Note, OutboxItem, OutboxState


@dataclass
class _Row:
    item: OutboxItem
    lease_until: float = 0.0


class MemoryOutbox:
    """Time stands still until `pass_time` is called: leases run out only then."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._lock = threading.Lock()
        self._now = 0.0
        self.history: list[tuple[str, str]] = []
        self.notes: list[Note] = []

    def pass_time(self, seconds: float) -> None:
        self._now += seconds

    def enqueue(self, key: str, payload: bytes) -> bool:
        with self._lock:
            known = self._rows.get(key)
            if known is None:
                self._rows[key] = _Row(OutboxItem(key, OutboxState.PENDING, payload, 0))
                return True
            if known.item.state is not OutboxState.FAILED:
                return False
            known.item = replace(known.item, state=OutboxState.PENDING, payload=payload)
            return True

    def get(self, key: str) -> OutboxItem | None:
        with self._lock:
            row = self._rows.get(key)
            return row.item if row else None

    def take(self, key: str, payload: bytes, *, lease_seconds: int = 300) -> list[OutboxItem]:
        self.enqueue(key, payload)
        return self.claim(lease_seconds=lease_seconds, key=key)

    def claim(
        self, *, limit: int = 1, lease_seconds: int = 300, key: str | None = None
    ) -> list[OutboxItem]:
        with self._lock:
            free = [r for r in self._rows.values() if self._free(r) and key in (None, r.item.key)]
            for row in free[:limit]:
                item = row.item
                row.item = replace(item, state=OutboxState.SENDING, attempt=item.attempt + 1)
                row.lease_until = self._now + lease_seconds
            return [row.item for row in free[:limit]]

    def _free(self, row: _Row) -> bool:
        state = row.item.state
        return state is OutboxState.PENDING or (
            state in (OutboxState.SENDING, OutboxState.SENT) and self._now >= row.lease_until
        )

    def mark(
        self,
        key: str,
        attempt: int,
        state: OutboxState,
        detail: str = "",
        result: bytes | None = None,
        note: Note | None = None,
    ) -> bool:
        with self._lock:
            row = self._rows[key]
            if row.item.attempt != attempt or row.item.state in FINAL_STATES:
                return False
            kept = row.item.result if result is None else result
            row.item = replace(row.item, state=state, detail=detail, result=kept)
            self.history.append((state.value, detail))
            self.notes += [note] if note else []
            return True

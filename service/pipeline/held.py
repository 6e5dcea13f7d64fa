"""The outbox in the hands of a living process: short leases, renewed for as long as it lives.

Of a process that was killed, an item is free again after one short lease, and not only after the
longest time a write may take. That one was read back is written down with the taking of the next,
or at the end: who dies before that leaves an item that is found on the server by the next look.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from service.fhir.outbox import Note, OutboxItem, OutboxState
from service.stores.outbox import SqlOutboxStore


class HeldOutbox:
    """`service.fhir.outbox.OutboxStore`, for the length of a `with` block; for several threads."""

    def __init__(
        self,
        store: SqlOutboxStore,
        lease_seconds: float,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        """`meanwhile` is called once, when the first item is in hand and the server is about to be
        asked."""
        self._store, self._lease = store, lease_seconds
        self._meanwhile = meanwhile
        self._held: dict[str, int] = {}
        self._read_back: dict[str, Callable[[], object]] = {}
        self._lock = threading.Lock()
        self._end, self._beating = threading.Event(), threading.Lock()
        self._heart = threading.Thread(target=self._beat, name="outbox-heartbeat", daemon=True)

    def __enter__(self) -> "HeldOutbox":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.note()
        finally:
            with self._beating:  # a last beat may be under way; the thread goes by itself
                self._end.set()

    def note(self) -> None:
        """Write down what was read back."""
        with self._noting():
            pass

    def noted_elsewhere(self) -> Callable[[], None]:
        """The same for whoever has a transaction of their own to do it in, soon. Were they to die
        before that, the next look at the items would find what was read back on the server."""
        marks = self._to_note()
        self._let_go(marks)
        return lambda: _do_all(marks.values())

    def enqueue(self, key: str, payload: bytes) -> bool:
        return self._store.enqueue(key, payload)

    def get(self, key: str) -> OutboxItem | None:
        return self._store.get(key)

    def take(self, key: str, payload: bytes, *, lease_seconds: float = 0) -> list[OutboxItem]:
        with self._noting():
            taken = self._store.take(key, payload, lease_seconds=self._lease)
        return self._holding(taken)

    def take_all(self, payloads: Mapping[str, bytes]) -> dict[str, OutboxItem]:
        """Several in one transaction; those of them that nobody else has in hand. What is done
        meanwhile is left to the caller: work begun now would keep the first from being sent."""
        with self._store.together():
            taken = [
                item
                for key in sorted(payloads)
                for item in self._store.take(key, payloads[key], lease_seconds=self._lease)
            ]
        self._hold(taken)
        return {item.key: item for item in taken}

    def claim(
        self, *, limit: int = 1, lease_seconds: float = 0, key: str | None = None
    ) -> list[OutboxItem]:
        """The lease asked for is not needed: the heartbeat lasts as long as the work."""
        with self._noting():
            claimed = self._store.claim(limit=limit, lease_seconds=self._lease, key=key)
        return self._holding(claimed)

    def _holding(self, items: list[OutboxItem]) -> list[OutboxItem]:
        if self._hold(items) and self._meanwhile is not None:
            self._meanwhile()
        return items

    def _hold(self, items: list[OutboxItem]) -> bool:
        """Whether these are the first."""
        with self._lock:
            self._held |= {item.key: item.attempt for item in items}
            first = bool(items) and not self._heart.is_alive()
            if first:
                self._heart.start()
        return first

    def mark(
        self,
        key: str,
        attempt: int,
        state: OutboxState,
        detail: str = "",
        result: bytes | None = None,
        note: Note | None = None,
    ) -> bool:
        mark = partial(self._store.mark, key, attempt, state, detail, result, note)
        if state is OutboxState.CONFIRMED:
            with self._lock:
                self._read_back[key] = mark
            return True
        if state is not OutboxState.SENDING:
            self._let_go([key])
        with self._noting():
            return mark()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Together with what was read back. After a transaction that fails it is tried again with
        the next; until then it stays held."""
        marks = self._to_note()
        if not marks:
            yield
            return
        try:
            with self._store.together():
                _do_all(marks.values())
                yield
        except BaseException:
            with self._lock:
                self._read_back |= marks
            raise
        self._let_go(marks)

    def _to_note(self) -> dict[str, Callable[[], object]]:
        with self._lock:
            marks, self._read_back = self._read_back, {}
        return marks

    def _let_go(self, keys: Iterable[str]) -> None:
        with self._lock:
            for key in keys:
                self._held.pop(key, None)

    def _beat(self) -> None:
        while not self._end.wait(self._lease / 3):
            with self._beating:
                if not self._end.is_set():
                    self._renew_all()

    def _renew_all(self) -> None:
        with self._lock:
            held = dict(self._held)
        for key, attempt in held.items():
            try:
                self._store.renew(key, attempt, lease_seconds=self._lease)
            except SQLAlchemyError:
                break  # a database away for a moment: the next beat comes in time, or it ends


def _do_all(marks: Iterable[Callable[[], object]]) -> None:
    for mark in marks:
        mark()

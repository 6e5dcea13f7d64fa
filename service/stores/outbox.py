"""The durable outbox of write-back: implements ``service.fhir.outbox.OutboxStore``."""

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, or_, select, update

from service.fhir.outbox import FINAL_STATES, Note, OutboxItem, OutboxState
from service.stores.audit import AuditStore
from service.stores.database import Database, execute, utc_now
from service.stores.tables import OutboxRow

_CLAIMED = (OutboxState.SENDING, OutboxState.SENT)


class SqlOutboxStore:
    """Items are taken by a conditional UPDATE that raises ``attempt``; that number is the claim."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._audit = AuditStore(database)

    def together(self) -> AbstractContextManager[object]:
        """What is done within is one transaction."""
        return self._database.write()

    def enqueue(self, key: str, payload: bytes) -> bool:
        now = self._clock()
        values = {
            "key": key,
            "state": OutboxState.PENDING,
            "sealed_payload": payload,
            "attempt": 0,
            "detail": "",
            "created": now,
            "updated": now,
        }
        added = _enqueue(self._database.insert(OutboxRow))
        with self._database.write() as session:
            return execute(session, added, values).first() is not None

    def get(self, key: str) -> OutboxItem | None:
        with self._database.read() as session:
            row = session.get(OutboxRow, key)
            return None if row is None else _item(row)

    def known(self, keys: Collection[str]) -> set[str]:
        """Which of these there is an item of, whatever its state."""
        with self._database.ask() as connection:
            return set(connection.scalars(_KNOWN, {"keys": list(keys)}))

    def take(self, key: str, payload: bytes, *, lease_seconds: float = 300) -> list[OutboxItem]:
        now = self._clock()
        values = {
            "mine": key,
            "now": now,
            "state": OutboxState.SENDING,
            "lease_until": now + timedelta(seconds=lease_seconds),
            "updated": now,
        }
        with self._database.write() as session:
            self.enqueue(key, payload)
            return [_item(row) for row in execute(session, _TAKE, values)]

    def claim(
        self, *, limit: int = 1, lease_seconds: float = 300, key: str | None = None
    ) -> list[OutboxItem]:
        now = self._clock()
        free = _CLAIMABLE if key is None else and_(OutboxRow.key == key, _CLAIMABLE)
        oldest = select(OutboxRow).where(free).order_by(OutboxRow.created, OutboxRow.key)
        oldest = oldest.limit(limit).with_for_update(skip_locked=True)
        with self._database.write() as session:
            # PostgreSQL: rows another caller is just claiming are passed over, not waited for.
            rows = session.scalars(oldest, {"now": now}).all()
            for row in rows:
                row.state = OutboxState.SENDING
                row.attempt += 1
                row.lease_until = now + timedelta(seconds=lease_seconds)
                row.updated = now
            return [_item(row) for row in rows]

    def mark(
        self,
        key: str,
        attempt: int,
        state: OutboxState,
        detail: str = "",
        result: bytes | None = None,
        note: Note | None = None,
    ) -> bool:
        values: dict[str, object] = {
            "mine": key,
            "claim": attempt,
            "state": state,
            "detail": detail,
            "updated": self._clock(),
        }
        if result is not None:
            values["sealed_result"] = result
        if state not in _CLAIMED:
            values["lease_until"] = None
        with self._database.write() as session:
            done = execute(session, _MARK, values).first() is not None
            if done and note is not None:
                self._tell(note)
            return done

    def _tell(self, note: Note) -> None:
        self._audit.record(
            role="system",
            subject="twinport",
            action="write-back",
            outcome=note.outcome,
            object=note.twin,
        )

    def renew(self, key: str, attempt: int, *, lease_seconds: float) -> bool:
        """Say that the sender still lives. False: the item is no longer its own."""
        until = self._clock() + timedelta(seconds=lease_seconds)
        mine = and_(
            OutboxRow.key == key, OutboxRow.attempt == attempt, OutboxRow.state.in_(_CLAIMED)
        )
        renewed = update(OutboxRow).where(mine).values(lease_until=until).returning(OutboxRow.key)
        with self._database.write() as session:
            return session.execute(renewed).first() is not None

    def close(self, key: str, detail: str) -> bool:
        """What was written, or still waits, has lost its place: it is never sent again. An item
        that somebody has in hand is left alone."""
        return self._move(key, (OutboxState.PENDING, OutboxState.CONFIRMED, OutboxState.SUPERSEDED),
                          OutboxState.SUPERSEDED, detail)  # fmt: skip

    def closed_as(self, *details: str) -> dict[str, str]:
        """Key → detail of the closed items that have one of these."""
        query = select(OutboxRow.key, OutboxRow.detail).where(
            OutboxRow.state == OutboxState.SUPERSEDED, OutboxRow.detail.in_(details)
        )
        with self._database.read() as session:
            return {row.key: row.detail for row in session.execute(query)}

    def reopen(self, key: str) -> bool:
        """A closed item holds again: it is looked for, and written where it is missing."""
        return self._move(key, (OutboxState.SUPERSEDED,), OutboxState.PENDING, "")

    def forget(self, keys: Collection[str]) -> int:
        """Remove items, whatever their state, and the notices about them: they lead to a patient.
        How many there were."""
        with self._database.write() as session:
            notices = session.scalars(select(OutboxRow.key).where(_is_notice())).all()
            about = [row for row in notices if _is_about(row, keys)]
            gone = delete(OutboxRow).where(OutboxRow.key.in_([*keys, *about]))
            return len(session.execute(gone.returning(OutboxRow.key)).all())

    def _move(
        self, key: str, where: Iterable[OutboxState], state: OutboxState, detail: str
    ) -> bool:
        values = {"state": state, "detail": detail, "updated": self._clock(), "lease_until": None}
        mine = and_(OutboxRow.key == key, OutboxRow.state.in_(list(where)))
        moved = update(OutboxRow).where(mine).values(values).returning(OutboxRow.key)
        with self._database.write() as session:
            return session.execute(moved).first() is not None

    def waiting(self) -> int:
        """How many items have not ended yet."""
        with self._database.read() as session:
            unfinished = select(OutboxRow.key).where(OutboxRow.state.not_in(FINAL_STATES))
            return len(session.scalars(unfinished).all())


_NOTICES = (".stale-", ".void-")


def _is_notice() -> ColumnElement[bool]:
    """Their keys are made of those of the results they are about (`service/refresh/beside.py`)."""
    return or_(*(OutboxRow.key.contains(mark, autoescape=True) for mark in _NOTICES))


def _is_about(row: str, keys: Collection[str]) -> bool:
    return any(row.partition(mark)[0] in keys for mark in _NOTICES)


_COLUMNS = (
    OutboxRow.key,
    OutboxRow.state,
    OutboxRow.sealed_payload,
    OutboxRow.attempt,
    OutboxRow.detail,
    OutboxRow.sealed_result,
)


@cache
def _enqueue(insert: Any) -> Any:
    opened = {
        name: insert.excluded[name] for name in ("state", "sealed_payload", "detail", "updated")
    }
    return insert.on_conflict_do_update(
        index_elements=["key"], set_=opened, where=OutboxRow.state == OutboxState.FAILED
    ).returning(OutboxRow.key)


_KNOWN = select(OutboxRow.key).where(OutboxRow.key.in_(bindparam("keys", expanding=True)))
_MINE = OutboxRow.key == bindparam("mine")
_CLAIMABLE: ColumnElement[bool] = or_(
    OutboxRow.state == OutboxState.PENDING,
    and_(OutboxRow.state.in_(_CLAIMED), OutboxRow.lease_until < bindparam("now")),
)
_TAKE = (
    update(OutboxRow)
    .where(_MINE, _CLAIMABLE)
    .values(attempt=OutboxRow.attempt + 1)
    .returning(*_COLUMNS)
)
_MARK = (
    update(OutboxRow)
    .where(
        _MINE,
        OutboxRow.attempt == bindparam("claim"),
        OutboxRow.state.not_in(FINAL_STATES),
    )
    .returning(OutboxRow.key)
)


def _item(row: Any) -> OutboxItem:
    """Of a row, or of its columns."""
    return OutboxItem(
        key=row.key,
        state=OutboxState(row.state),
        payload=row.sealed_payload,
        attempt=row.attempt,
        detail=row.detail,
        result=row.sealed_result,
    )

"""Audit events: who (role, pseudonymous subject) did what to which pseudonym, and the outcome."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from service.stores.database import Database, utc_now
from service.stores.tables import AuditRow

# A pseudonym may start with any letter of base64url.
_WORD = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._:/=-]{0,63}")


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing somebody did or tried."""

    seq: int
    time: datetime
    role: str
    subject: str
    action: str
    object: str | None
    outcome: str
    request_id: str | None


class AuditStore:
    """Append and read. There is no method that changes or removes an event."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def record(
        self,
        *,
        role: str,
        subject: str,
        action: str,
        outcome: str,
        object: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Every part must be a word (code or pseudonym): free text could identify somebody."""
        parts = {
            "role": role,
            "subject": subject,
            "action": action,
            "outcome": outcome,
            "object": object,
            "request_id": request_id,
        }
        for name, value in parts.items():
            if value is not None and not _WORD.fullmatch(value):
                raise ValueError(f"audit: {name} must be a code or a pseudonym")
        with self._database.write() as session:
            session.add(AuditRow(time=self._clock(), **parts))

    def recent(self, limit: int = 100, *, before: int | None = None) -> list[AuditEvent]:
        """Latest first; ``before`` continues an earlier page."""
        query = select(AuditRow).order_by(AuditRow.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(AuditRow.seq < before)
        with self._database.read() as session:
            return [_event(row) for row in session.scalars(query)]

    def get(self, seq: int) -> AuditEvent | None:
        with self._database.read() as session:
            row = session.get(AuditRow, seq)
            return None if row is None else _event(row)

    def search(
        self, *, twin: str | None = None, limit: int = 100, before: int | None = None
    ) -> list[AuditEvent]:
        """Latest first, of one twin or of all; ``before`` continues an earlier page."""
        query = select(AuditRow).order_by(AuditRow.seq.desc()).limit(limit)
        if twin is not None:
            query = query.where(AuditRow.object == twin)
        if before is not None:
            query = query.where(AuditRow.seq < before)
        with self._database.read() as session:
            return [_event(row) for row in session.scalars(query)]

    def about(self, pseudonym: str, limit: int = 100) -> list[AuditEvent]:
        """What was done to one twin, latest first."""
        query = select(AuditRow).where(AuditRow.object == pseudonym)
        with self._database.read() as session:
            rows = session.scalars(query.order_by(AuditRow.seq.desc()).limit(limit))
            return [_event(row) for row in rows]


def _event(row: AuditRow) -> AuditEvent:
    return AuditEvent(
        row.seq,
        row.time,
        row.role,
        row.subject,
        row.action,
        row.object,
        row.outcome,
        row.request_id,
    )

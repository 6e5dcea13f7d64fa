"""Audit events: who (role, pseudonymous subject) did what to which pseudonym, and the outcome."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, select

from service.stores.database import Database, execute, utc_now
from service.stores.tables import AuditRow

# A pseudonym may start with any letter of base64url.
_WORD = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._:/=-]{0,63}")

# Outcomes of what somebody tried and was not allowed to do.
SAME_PERSON, NOT_ALLOWED = "same-person", "not-allowed"
DENIED = frozenset({SAME_PERSON, NOT_ALLOWED})


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
    request_id: str | None = None
    policy: str | None = None  # `id/version`, where identity was taken out or found out
    purpose: str | None = None  # a code of HL7's v3 ActReason


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """All given parts must hold. `start` belongs to the period, `end` does not."""

    object: str | None = None
    action: str | None = None
    role: str | None = None
    subject: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        wanted = (
            (AuditRow.object, self.object),
            (AuditRow.action, self.action),
            (AuditRow.role, self.role),
            (AuditRow.subject, self.subject),
        )
        found = [column == value for column, value in wanted if value is not None]
        if self.start is not None:
            found.append(AuditRow.time >= self.start)
        if self.end is not None:
            found.append(AuditRow.time < self.end)
        return found


EVERYTHING = AuditFilter()
_ADD = insert(AuditRow)
_BATCH = 1000


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
        policy: str | None = None,
        purpose: str | None = None,
    ) -> None:
        """Every part must be a word (code or pseudonym): free text could identify somebody."""
        parts = {
            "role": role,
            "subject": subject,
            "action": action,
            "outcome": outcome,
            "object": object,
            "request_id": request_id,
            "policy": policy,
            "purpose": purpose,
        }
        for name, value in parts.items():
            if value is not None and not _WORD.fullmatch(value):
                raise ValueError(f"audit: {name} must be a code or a pseudonym")
        with self._database.write() as session:
            execute(session, _ADD, {"time": self._clock(), **parts})

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
        self,
        where: AuditFilter = EVERYTHING,
        *,
        limit: int = 100,
        before: int | None = None,
        offset: int = 0,
    ) -> list[AuditEvent]:
        """Latest first; ``before`` continues an earlier page, ``offset`` jumps to one."""
        query = select(AuditRow).where(*where.clauses()).order_by(AuditRow.seq.desc())
        if before is not None:
            query = query.where(AuditRow.seq < before)
        with self._database.read() as session:
            return [_event(row) for row in session.scalars(query.limit(limit).offset(offset))]

    def count(self, where: AuditFilter = EVERYTHING) -> int:
        query = select(func.count()).select_from(AuditRow).where(*where.clauses())
        with self._database.read() as session:
            return session.scalar(query) or 0

    def counts(self, where: AuditFilter = EVERYTHING) -> dict[tuple[str, str], int]:
        """How many events there are, by role and action."""
        query = select(AuditRow.role, AuditRow.action, func.count()).where(*where.clauses())
        with self._database.read() as session:
            rows = session.execute(query.group_by(AuditRow.role, AuditRow.action))
            return {(role, action): number for role, action, number in rows}

    def actions(self) -> list[str]:
        """Every kind of event there is."""
        query = select(AuditRow.action).distinct().order_by(AuditRow.action)
        with self._database.read() as session:
            return list(session.scalars(query))

    def events(self, where: AuditFilter = EVERYTHING) -> Iterator[AuditEvent]:
        """All of them, oldest first, a batch at a time: a reader holds no transaction open."""
        seq = 0
        while batch := self._after(seq, where):
            yield from batch
            seq = batch[-1].seq

    def _after(self, seq: int, where: AuditFilter) -> list[AuditEvent]:
        query = select(AuditRow).where(AuditRow.seq > seq, *where.clauses())
        with self._database.read() as session:
            rows = session.scalars(query.order_by(AuditRow.seq).limit(_BATCH))
            return [_event(row) for row in rows]

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
        row.policy,
        row.purpose,
    )

"""The queue of runs. A run is held by whoever holds its ``owner`` token and an unexpired lease."""

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ColumnElement, Executable, and_, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from privacy.pseudonyms import new_pseudonym
from service.stores.database import Database, execute, utc_now
from service.stores.errors import NotFoundError, QueueFullError
from service.stores.tables import RunRow


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({RunState.DONE, RunState.FAILED, RunState.CANCELLED})
_CODE = re.compile(r"[a-z][a-z0-9.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Run:
    """A run as anybody allowed to see it may see it: codes, counts and pseudonyms."""

    id: str
    kind: str
    server: str | None
    requested_by: str | None
    state: RunState
    attempt: int
    cancel_asked: bool
    stage: str | None
    counts: Mapping[str, int]
    twin: str | None
    twin_version: int | None
    error: str | None
    created: datetime
    started: datetime | None
    finished: datetime | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run in hand: its sealed request, and the token without which nothing can be recorded."""

    run: Run
    owner: str
    sealed_request: bytes


@dataclass(frozen=True, slots=True)
class Entered:
    """A run that was written down; `claimed` where it was taken in hand in the same step."""

    id: str
    claimed: ClaimedRun | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """How many runs may wait: of everybody together, and of one caller."""

    together: int
    each: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits and what is in hand, and for how many seconds the oldest has waited."""

    waiting: int
    running: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class RunFilter:
    """All given parts must hold. `start` belongs to the period, `end` does not."""

    state: str | None = None
    server: str | None = None
    kind: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        wanted = (
            (RunRow.state, self.state),
            (RunRow.server, self.server),
            (RunRow.kind, self.kind),
        )
        found = [column == value for column, value in wanted if value is not None]
        if self.start is not None:
            found.append(RunRow.created >= self.start)
        if self.end is not None:
            found.append(RunRow.created < self.end)
        return found


class RunStore:
    """Every change of state is one conditional UPDATE: it happens to one caller or to none."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    # -- callers' side -------------------------------------------------------------------------

    def enqueue(
        self,
        sealed_request: bytes,
        *,
        kind: str,
        server: str | None = None,
        requested_by: str | None = None,
        run_id: str | None = None,
        room: Room | None = None,
    ) -> str:
        """Write a run down; from here on it is never lost. Returns its id.

        `QueueFullError` where there is no room for one more: then nothing was written.
        """
        return self.enter(
            sealed_request,
            kind=kind,
            server=server,
            requested_by=requested_by,
            run_id=run_id,
            room=room,
        ).id

    def enter(
        self,
        sealed_request: bytes,
        *,
        kind: str,
        server: str | None = None,
        requested_by: str | None = None,
        run_id: str | None = None,
        room: Room | None = None,
        beside: Callable[[str], None] | None = None,
        lease_seconds: float | None = None,
        stage: str | None = None,
    ) -> Entered:
        """The same for a caller with a worker that has nothing to do: with `lease_seconds` the run
        is taken in hand at once, unless another one waits, or the transaction is part of a larger
        one whose end only its owner knows. `beside` is called with the id inside the transaction,
        for what must be written with it or not at all."""
        row = SimpleNamespace(**_BLANK)
        row.id, row.kind = run_id or new_run_id(), code(kind)
        row.server, row.requested_by = server, requested_by
        row.sealed_request, row.created = sealed_request, self._clock()
        claimed = None
        alone = not self._database.is_writing
        with self._database.write() as session:
            if room is not None:
                self._database.lock(session, "runs")  # who counts must not be overtaken
            waiting, mine = _waiting(session, requested_by)
            if room is not None:
                _require_room(room, waiting, mine)
            if alone and lease_seconds is not None and not waiting:
                claimed = _taken(row, self._clock(), lease_seconds, stage)
            execute(session, _ADD, vars(row))
            if beside is not None:
                beside(row.id)
        return Entered(row.id, claimed)

    def note(
        self,
        *,
        kind: str,
        server: str,
        twin: str,
        twin_version: int,
        counts: Mapping[str, int],
        started: datetime,
    ) -> str:
        """Record a run that was carried out elsewhere (at the command line) and is done."""
        now = self._clock()
        row = RunRow(
            id=new_run_id(),
            kind=code(kind),
            server=server,
            state=RunState.DONE,
            attempt=1,
            counts=_counted(counts),
            twin=twin,
            twin_version=twin_version,
            created=started,
            started=started,
            finished=now,
        )
        with self._database.write() as session:
            session.add(row)
        return row.id

    def get(self, run_id: str) -> Run | None:
        with self._database.ask() as connection:
            row = connection.execute(_OF_ID, {"id": run_id}).first()
        return None if row is None else _run(row)

    def recent(self, limit: int = 50, *, requested_by: str | None = None) -> list[Run]:
        """Latest runs first."""
        query = select(RunRow).order_by(RunRow.created.desc(), RunRow.id).limit(limit)
        if requested_by is not None:
            query = query.where(RunRow.requested_by == requested_by)
        with self._database.read() as session:
            return [_run(row) for row in session.scalars(query)]

    def search(self, where: RunFilter, *, limit: int, offset: int = 0) -> tuple[list[Run], int]:
        """A page, latest first, and how many there are."""
        clauses = where.clauses()
        page = select(RunRow).where(*clauses).order_by(RunRow.created.desc(), RunRow.id)
        counted = select(func.count()).select_from(RunRow).where(*clauses)
        with self._database.read() as session:
            rows = session.scalars(page.limit(limit).offset(offset))
            return [_run(row) for row in rows], session.scalar(counted) or 0

    def counts(self, where: RunFilter) -> dict[str, int]:
        """How many runs there are in each state."""
        query = select(RunRow.state, func.count()).where(*where.clauses()).group_by(RunRow.state)
        with self._database.read() as session:
            return dict(session.execute(query).all())

    def problems(self, where: RunFilter) -> dict[str, int]:
        """Why runs failed, and how many for each reason."""
        failed = select(RunRow.error, func.count()).where(
            *where.clauses(), RunRow.error.is_not(None)
        )
        with self._database.read() as session:
            rows = session.execute(failed.group_by(RunRow.error))
            return {str(error): number for error, number in rows}

    def servers(self) -> list[str]:
        """Every server there was a run for."""
        query = select(RunRow.server).where(RunRow.server.is_not(None)).distinct()
        with self._database.read() as session:
            return sorted(name for name in session.scalars(query) if name)

    def of_twin(self, twin: str, limit: int = 50) -> list[Run]:
        query = select(RunRow).where(RunRow.twin == twin).order_by(RunRow.created.desc())
        with self._database.read() as session:
            return [_run(row) for row in session.scalars(query.limit(limit))]

    def last_done(self, twin: str, version: int) -> datetime | None:
        """When a run last ended well with this version: made, or found unchanged."""
        mine = and_(
            RunRow.twin == twin,
            RunRow.twin_version == version,
            RunRow.state == RunState.DONE,
            RunRow.finished.is_not(None),
        )
        newest = select(RunRow.finished).where(mine).order_by(RunRow.finished.desc()).limit(1)
        with self._database.read() as session:
            return session.scalar(newest)

    def days_since(self, twin: str, version: int, created: datetime) -> int:
        """Since the record was last looked at: a run that finds nothing new makes no version."""
        held = max(filter(None, (created, self.last_done(twin, version))))
        return max(0, (self._clock().date() - held.date()).days)

    def counts_by_state(self) -> dict[str, int]:
        query = select(RunRow.state, func.count().label("number")).group_by(RunRow.state)
        with self._database.read() as session:
            return {row.state: row.number for row in session.execute(query)}

    def backlog(self) -> Backlog:
        now = self._clock()
        states = self.counts_by_state()
        with self._database.read() as session:
            oldest = session.scalar(
                select(func.min(RunRow.created)).where(RunRow.state == RunState.QUEUED)
            )
        age = (now - oldest).total_seconds() if oldest is not None else 0.0
        return Backlog(states.get(RunState.QUEUED, 0), states.get(RunState.RUNNING, 0), max(0, age))

    def cancel(self, run_id: str) -> RunState:
        """Ask for an end: a waiting run ends now, a running one at its next check."""
        now = self._clock()
        with self._database.write() as session:
            waiting = and_(RunRow.id == run_id, RunRow.state == RunState.QUEUED)
            _move(session, waiting, RunState.CANCELLED, now, cancel_asked=True)
            running = and_(RunRow.id == run_id, RunRow.state == RunState.RUNNING)
            execute(session, update(RunRow).where(running).values(cancel_asked=True))
            state = session.scalar(select(RunRow.state).where(RunRow.id == run_id))
        if state is None:
            raise NotFoundError("runs: no such run")
        return RunState(state)

    # -- workers' side -------------------------------------------------------------------------

    def claim(self, *, lease_seconds: float, stage: str | None = None) -> ClaimedRun | None:
        """Take the oldest waiting run, or None. No other caller gets it while the lease lasts.

        `stage`: where its worker begins."""
        oldest = select(RunRow).where(RunRow.state == RunState.QUEUED)
        oldest = oldest.order_by(RunRow.created, RunRow.id).limit(1)
        with self._database.ask() as connection:
            waiting = connection.scalar(_ANY_QUEUED)
        if not waiting:  # most looks find nothing, and need not wait for writers
            return None
        with self._database.write() as session:
            row = session.scalars(oldest.with_for_update(skip_locked=True)).first()
            if row is None or row.sealed_request is None:
                return None
            return _taken(row, self._clock(), lease_seconds, stage)

    def renew(self, run_id: str, owner: str, *, lease_seconds: float) -> bool:
        """Say that the worker still lives. False: the run is no longer its own."""
        until = self._clock() + timedelta(seconds=lease_seconds)
        return self._change(run_id, owner, lease_until=until)

    def progress(self, run_id: str, owner: str, stage: str, counts: Mapping[str, int]) -> bool:
        """Record where a run is. False: the run is no longer the caller's."""
        return self._change(run_id, owner, stage=code(stage), counts=_counted(counts))

    def is_cancelled(self, run_id: str) -> bool:
        with self._database.ask() as connection:
            return bool(connection.scalar(_CANCEL_ASKED, {"id": run_id}))

    def complete(
        self,
        run_id: str,
        owner: str,
        *,
        twin: str | None,
        twin_version: int | None,
        counts: Mapping[str, int],
        beside: Callable[[], None] | None = None,
    ) -> Run | None:
        """Record the one completion of a run, which is given back as it stands now. None: somebody
        else holds or ended it. What `beside` writes is written with it, whoever holds the run."""
        done = {"twin": twin, "twin_version": twin_version, "counts": _counted(counts)}
        ending = _ending(RunState.DONE, self._clock()) | {"mine": run_id, "holder": owner}
        with self._database.write() as session:
            if beside is not None:
                beside()
            row = execute(session, _COMPLETE, ending | done).first()
        return None if row is None else _run(row)

    def fail(self, run_id: str, owner: str, error: str) -> bool:
        return self._end(run_id, owner, RunState.FAILED, error=code(error))

    def end_cancelled(self, run_id: str, owner: str) -> bool:
        return self._end(run_id, owner, RunState.CANCELLED)

    def hand_back(self, run_id: str, owner: str) -> bool:
        """Put an unfinished run back; the try does not count, since nothing went wrong with it."""
        return self._held(_HAND_BACK, run_id, owner, _AGAIN)

    def retry(self, run_id: str, owner: str) -> bool:
        """Put a run back after a failure that may pass; the try counts."""
        return self._change(run_id, owner, **_AGAIN)

    def recover(self, *, attempts: int) -> int:
        """Deal with runs whose worker fell silent: queue them again, or end them with a reason."""
        now = self._clock()
        silent = and_(RunRow.state == RunState.RUNNING, RunRow.lease_until < now)
        exhausted = RunRow.attempt >= attempts
        with self._database.write() as session:
            ended = _move(session, and_(silent, RunRow.cancel_asked), RunState.CANCELLED, now)
            lost = {"error": "worker-lost"}
            ended += _move(session, and_(silent, exhausted), RunState.FAILED, now, **lost)
            again = update(RunRow).where(silent).returning(RunRow.id)
            again = again.values(**_AGAIN)
            return ended + len(session.execute(again).all())

    def _end(self, run_id: str, owner: str, state: RunState, **values: Any) -> bool:
        return self._change(run_id, owner, **_ending(state, self._clock()), **values)

    def _change(self, run_id: str, holder: str, /, **values: Any) -> bool:
        return self._held(_CHANGE, run_id, holder, values)

    def _held(
        self, change: Executable, run_id: str, holder: str, values: Mapping[str, Any]
    ) -> bool:
        """Change a run that the holder has in hand; False: they have not."""
        mine = {"mine": run_id, "holder": holder}
        with self._database.write() as session:
            return execute(session, change, {**values, **mine}).first() is not None


_ADD = insert(RunRow)
_BLANK: Mapping[str, Any] = dict.fromkeys(RunRow.__table__.columns.keys()) | {
    "state": RunState.QUEUED,
    "attempt": 0,
    "cancel_asked": False,
    "counts": {},
}
_MINE = RunRow.id == bindparam("id")
_HELD = and_(
    RunRow.id == bindparam("mine"),
    RunRow.owner == bindparam("holder"),
    RunRow.state == RunState.RUNNING,
)
_CHANGE = update(RunRow).where(_HELD).returning(RunRow.id)
_COMPLETE = update(RunRow).where(_HELD).returning(RunRow)
_HAND_BACK = _CHANGE.values(attempt=RunRow.attempt - 1)
_AGAIN: Mapping[str, Any] = {"state": RunState.QUEUED, "owner": None, "lease_until": None}
_OF_ID = select(RunRow).where(_MINE)
_CANCEL_ASKED = select(RunRow.cancel_asked).where(_MINE)
_QUEUED = RunRow.state == RunState.QUEUED
_ANY_QUEUED = select(RunRow.id).where(_QUEUED).limit(1)
_WAITING = select(
    func.count(), func.count().filter(RunRow.requested_by == bindparam("caller"))
).where(_QUEUED)


def _taken(row: Any, now: datetime, lease_seconds: float, stage: str | None) -> ClaimedRun:
    """Put a waiting run into one worker's hands: a row, or what is to be one."""
    assert row.sealed_request is not None
    row.state = RunState.RUNNING
    row.owner = owner = secrets.token_hex(16)
    row.lease_until = now + timedelta(seconds=lease_seconds)
    row.attempt += 1
    row.started = row.started or now
    row.stage = code(stage) if stage else row.stage
    return ClaimedRun(_run(row), owner, row.sealed_request)


def _waiting(session: Session, caller: str | None) -> tuple[int, int]:
    """How many runs wait, and how many of them are the caller's."""
    row: Any = execute(session, _WAITING, {"caller": caller}).one()
    return row[0], row[1] if caller is not None else 0


def _require_room(room: Room, waiting: int, mine: int) -> None:
    if waiting >= room.together:
        raise QueueFullError("together")
    if mine >= room.each:
        raise QueueFullError("each")


def new_run_id() -> str:
    return new_pseudonym()


def code(text: str) -> str:
    """Kinds, stages and errors are codes: a sentence could carry somebody's name."""
    if not _CODE.fullmatch(text):
        raise ValueError("runs: kind, stage and error must be codes such as 'server-refused'")
    return text


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    for name, number in counts.items():
        if not _CODE.fullmatch(name) or type(number) is not int:
            raise ValueError("runs: counts must map codes to whole numbers")
    return dict(counts)


def _move(
    session: Session, where: ColumnElement[bool], state: RunState, now: datetime, **values: Any
) -> int:
    change = update(RunRow).where(where).values(**_ending(state, now), **values)
    return len(execute(session, change.returning(RunRow.id)).all())


def _ending(state: RunState, now: datetime) -> dict[str, Any]:
    """The sealed request has served its purpose and is destroyed with the run."""
    return {
        "state": state,
        "finished": now,
        "owner": None,
        "lease_until": None,
        "sealed_request": None,
    }


def _run(row: Any) -> Run:
    """Of a row, or of its columns."""
    return Run(
        id=row.id,
        kind=row.kind,
        server=row.server,
        requested_by=row.requested_by,
        state=RunState(row.state),
        attempt=row.attempt,
        cancel_asked=bool(row.cancel_asked),
        stage=row.stage,
        counts=dict(row.counts),
        twin=row.twin,
        twin_version=row.twin_version,
        error=row.error,
        created=row.created,
        started=row.started,
        finished=row.finished,
    )

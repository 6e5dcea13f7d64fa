"""Watched patients, the servers' subscriptions for them, and what is to be told. Whom a row is
about is sealed; an id is random and says nothing."""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import JSON, and_, case, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.tables import Base, Serial


class WatchRow(Base):
    """One watched patient. `index` is the vault's keyed name, so that nobody is watched twice."""

    __tablename__ = "watches"

    id: Mapped[str] = mapped_column(primary_key=True)
    index: Mapped[str] = mapped_column(unique=True)
    server: Mapped[str]
    sealed_request: Mapped[bytes]
    sealed_kept: Mapped[bytes | None]
    paused: Mapped[bool]
    whole: Mapped[bool]
    due: Mapped[datetime] = mapped_column(index=True)
    failures: Mapped[int]
    outcome: Mapped[str]
    checked: Mapped[datetime | None]
    twin: Mapped[str | None]
    created: Mapped[datetime]


class HookRow(Base):
    """One Subscription on a server. Its address and secret are kept as hashes alone."""

    __tablename__ = "hooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    watch: Mapped[str] = mapped_column(index=True)
    server: Mapped[str]
    kind: Mapped[str]
    dialect: Mapped[str]
    address: Mapped[bytes] = mapped_column("address_hash", unique=True)
    secret: Mapped[bytes] = mapped_column("secret_hash")
    sealed_place: Mapped[bytes | None]
    state: Mapped[str]
    error: Mapped[str]
    last: Mapped[int]
    ahead: Mapped[list[int]] = mapped_column(JSON())
    gap_since: Mapped[datetime | None]
    heartbeat: Mapped[int]
    seen: Mapped[datetime | None]
    ends: Mapped[datetime | None]
    look: Mapped[datetime] = mapped_column(index=True)
    failures: Mapped[int]


class NoticeRow(Base):
    """Something to be told to the configured address, until it was taken."""

    __tablename__ = "notices"

    seq: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    content: Mapped[dict[str, Any]] = mapped_column(JSON())
    tries: Mapped[int]
    due: Mapped[datetime] = mapped_column(index=True)
    created: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Watch:
    id: str
    server: str
    paused: bool
    whole: bool
    due: datetime
    failures: int
    outcome: str
    checked: datetime | None
    twin: str | None
    created: datetime
    request: bytes = field(repr=False)
    """Sealed."""


class HookState(StrEnum):
    REQUESTED = "requested"
    ACTIVE = "active"
    ERROR = "error"
    OFF = "off"


@dataclass(slots=True)
class Hook:
    """As in the row; `ahead`: numbers of events that came before one that is missing."""

    id: str
    watch: str
    server: str
    kind: str
    dialect: str
    state: HookState
    error: str
    last: int
    ahead: list[int]
    gap_since: datetime | None
    heartbeat: int
    seen: datetime | None
    ends: datetime | None
    look: datetime
    failures: int
    secret: bytes = field(repr=False)
    place: bytes | None = field(repr=False)
    """Sealed: the id of the Subscription on its server."""


_HOOK_FIELDS = (
    "state", "error", "last", "ahead", "gap_since", "heartbeat", "seen", "ends", "look",
    "failures", "secret",
)  # fmt: skip


class Levels(NamedTuple):
    """Of all watches that are not paused."""

    watched: int
    failing: int
    overdue_seconds: float


class WatchStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self.clock = database, clock

    # -- patients ------------------------------------------------------------------------------

    def add(self, index: str, server: str, seal: Callable[[str], bytes]) -> tuple[str, bool]:
        """The id, and whether it is new. `seal` gets the id that the request is bound to."""
        with self._database.write() as session:
            known = session.scalar(select(WatchRow.id).where(WatchRow.index == index))
            if known is not None:
                return known, False
            name, now = secrets.token_hex(8), self.clock()
            session.add(
                WatchRow(id=name, index=index, server=server, sealed_request=seal(name),
                         sealed_kept=None, paused=False, whole=False, due=now, failures=0,
                         outcome="", checked=None, twin=None, created=now)
            )  # fmt: skip
        return name, True

    def get(self, name: str) -> Watch | None:
        with self._database.read() as session:
            row = session.get(WatchRow, name)
            return None if row is None else _watch(row)

    def all(self) -> list[Watch]:
        with self._database.read() as session:
            rows = session.scalars(select(WatchRow).order_by(WatchRow.created, WatchRow.id))
            return [_watch(row) for row in rows]

    def remove(self, name: str) -> bool:
        """With what was kept for it. Its hooks are removed one by one, as their server lets go."""
        gone = delete(WatchRow).where(WatchRow.id == name).returning(WatchRow.id)
        with self._database.write() as session:
            return session.execute(gone).first() is not None

    def forget(self, twins: Collection[str]) -> list[str]:
        """Erasure: nobody is watched whose twins these are."""
        mine = select(WatchRow.id).where(WatchRow.twin.in_(twins))
        with self._database.read() as session:
            names = list(session.scalars(mine))
        return [name for name in names if self.remove(name)]

    def pause(self, name: str, paused: bool) -> bool:
        values = {"paused": paused, "due": self.clock(), "sealed_kept": None}
        if not paused:
            values.pop("sealed_kept")
        return self._change(name, values)

    def claim(self, limit: int, after: Callable[[Watch], datetime]) -> list[Watch]:
        """Those that are due, each for one caller alone: until `after` it is not due again."""
        now = self.clock()
        waiting = and_(WatchRow.due <= now, WatchRow.paused.is_(False))
        oldest = select(WatchRow).where(waiting).order_by(WatchRow.due, WatchRow.id)
        with self._database.write() as session:
            rows = session.scalars(oldest.limit(limit).with_for_update(skip_locked=True)).all()
            found = [_watch(row) for row in rows]
            for row, watch in zip(rows, found, strict=True):
                row.due, row.whole = after(watch), False
            return found

    def make_due(self, name: str, at: datetime, whole: bool = False) -> bool:
        """Not later than `at`; `whole`: all of it is pulled then, not only what has changed."""
        sooner = {"due": at}
        with self._database.write() as session:
            mine = and_(WatchRow.id == name, WatchRow.paused.is_(False))
            later = and_(mine, WatchRow.due > at)
            session.execute(update(WatchRow).where(later).values(sooner))
            values = {"whole": True} if whole else {"paused": False}
            changed = update(WatchRow).where(mine).values(values).returning(WatchRow.id)
            return session.execute(changed).first() is not None

    def levels(self) -> Levels:
        failing = func.sum(case((WatchRow.failures > 0, 1), else_=0))
        asked = select(func.count(), failing, func.min(WatchRow.due))
        with self._database.read() as session:
            row = session.execute(asked.where(WatchRow.paused.is_(False))).one()
        watched, failed, first = row
        overdue = (self.clock() - first).total_seconds() if first is not None else 0.0
        return Levels(watched, failed or 0, max(0.0, overdue))

    def kept(self, name: str) -> bytes | None:
        with self._database.read() as session:
            return session.scalar(select(WatchRow.sealed_kept).where(WatchRow.id == name))

    def done(self, name: str, kept: bytes | None, twin: str) -> bool:
        now = self.clock()
        return self._change(name, {"sealed_kept": kept, "twin": twin, "failures": 0,
                                   "outcome": "done", "checked": now})  # fmt: skip

    def failed(self, name: str, outcome: str, due: Callable[[int], datetime]) -> bool:
        """`due` gets how often in a row it has failed by now."""
        with self._database.write() as session:
            row = session.get(WatchRow, name, with_for_update=True)
            if row is None:
                return False
            row.failures, row.outcome = row.failures + 1, outcome[:64]
            row.due = due(row.failures)
            return True

    def _change(self, name: str, values: Mapping[str, Any]) -> bool:
        changed = update(WatchRow).where(WatchRow.id == name).values(values).returning(WatchRow.id)
        with self._database.write() as session:
            return session.execute(changed).first() is not None


class HookStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self.clock = database, clock

    def add(
        self, watch: str, server: str, kind: str, dialect: str, address: bytes, secret: bytes
    ) -> Hook:
        row = HookRow(
            id=secrets.token_hex(8), watch=watch, server=server, kind=kind, dialect=dialect,
            address=address, secret=secret, sealed_place=None, state=HookState.REQUESTED,
            error="", last=0, ahead=[], gap_since=None, heartbeat=0, seen=None, ends=None,
            look=self.clock(), failures=0,
        )  # fmt: skip
        with self._database.write() as session:
            session.add(row)
        return _hook(row)

    def at(self, address: bytes) -> Hook | None:
        with self._database.read() as session:
            row = session.scalar(select(HookRow).where(HookRow.address == address))
            return None if row is None else _hook(row)

    def of(self, watch: str) -> list[Hook]:
        with self._database.read() as session:
            rows = session.scalars(select(HookRow).where(HookRow.watch == watch))
            return sorted((_hook(row) for row in rows), key=lambda hook: hook.kind)

    def all(self) -> list[Hook]:
        with self._database.read() as session:
            return [_hook(row) for row in session.scalars(select(HookRow))]

    def change(self, name: str, edit: Callable[[Hook], Any]) -> Any:
        """Read, edit, write: one after the other for everybody. None: it is gone."""
        with self._database.write() as session:
            row = session.get(HookRow, name, with_for_update=True)
            if row is None:
                return None
            hook = _hook(row)
            answer = edit(hook)
            for column in _HOOK_FIELDS:
                setattr(row, column, getattr(hook, column))
            row.sealed_place = hook.place
            return answer

    def claim(self, limit: int, seconds: float) -> list[Hook]:
        """Those that are to be looked after, each for one caller alone for so long."""
        now = self.clock()
        waiting = HookRow.look <= now
        oldest = select(HookRow).where(waiting).order_by(HookRow.look, HookRow.id)
        with self._database.write() as session:
            rows = session.scalars(oldest.limit(limit).with_for_update(skip_locked=True)).all()
            found = [_hook(row) for row in rows]
            for row in rows:
                row.look = now + timedelta(seconds=seconds)
            return found

    def remove(self, name: str) -> bool:
        gone = delete(HookRow).where(HookRow.id == name).returning(HookRow.id)
        with self._database.write() as session:
            return session.execute(gone).first() is not None


@dataclass(frozen=True, slots=True)
class Notice:
    seq: int
    content: Mapping[str, Any]
    tries: int


class NoticeStore:
    """Written in the transaction of what is told of, sent afterwards, kept until it was taken."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self.clock = database, clock

    def add(self, content: Mapping[str, Any]) -> None:
        now = self.clock()
        row = NoticeRow(content=dict(content), tries=0, due=now, created=now)
        with self._database.write() as session:
            session.add(row)

    def claim(self, limit: int, seconds: Callable[[int], float]) -> list[Notice]:
        """`seconds` gets the number of tries so far: how long until the next one."""
        now = self.clock()
        oldest = select(NoticeRow).where(NoticeRow.due <= now).order_by(NoticeRow.seq)
        with self._database.write() as session:
            rows = session.scalars(oldest.limit(limit).with_for_update(skip_locked=True)).all()
            for row in rows:
                row.tries += 1
                row.due = now + timedelta(seconds=seconds(row.tries))
            return [Notice(row.seq, row.content, row.tries) for row in rows]

    def taken(self, seq: int) -> None:
        with self._database.write() as session:
            session.execute(delete(NoticeRow).where(NoticeRow.seq == seq))

    def waiting(self) -> int:
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(NoticeRow)) or 0


def _watch(row: WatchRow) -> Watch:
    return Watch(
        id=row.id, server=row.server, paused=row.paused, whole=row.whole, due=row.due,
        failures=row.failures, outcome=row.outcome, checked=row.checked, twin=row.twin,
        created=row.created, request=row.sealed_request,
    )  # fmt: skip


def _hook(row: HookRow) -> Hook:
    return Hook(
        id=row.id, watch=row.watch, server=row.server, kind=row.kind, dialect=row.dialect,
        state=HookState(row.state), error=row.error, last=row.last, ahead=list(row.ahead),
        gap_since=row.gap_since, heartbeat=row.heartbeat, seen=row.seen, ends=row.ends,
        look=row.look, failures=row.failures, secret=row.secret, place=row.sealed_place,
    )  # fmt: skip

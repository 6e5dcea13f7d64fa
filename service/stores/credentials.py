"""API keys, sign-in codes, browser sessions and attempt counters. Hashes only, never a secret."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, select, update

from service.stores.database import Database, utc_now
from service.stores.tables import ApiKeyRow, AttemptRow, SessionRow, SignInCodeRow

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """What is known of an API key: everything except the key."""

    id: str
    secret_hash: bytes
    label: str
    role: str
    scopes: frozenset[str]
    twin: str | None
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    last_used: date | None


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a code or a session stands for."""

    subject: str
    role: str
    twin: str | None


class ApiKeyStore:
    """Keys of programs."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(
        self,
        key_id: str,
        secret_hash: bytes,
        *,
        label: str,
        role: str,
        scopes: frozenset[str],
        twin: str | None,
        expires: datetime | None,
    ) -> None:
        row = ApiKeyRow(
            id=key_id,
            secret_hash=secret_hash,
            label=label,
            role=role,
            scopes=sorted(scopes),
            twin=twin,
            created=self._clock(),
            expires=expires,
        )
        with self._database.write() as session:
            session.add(row)

    def get(self, key_id: str) -> ApiKeyRecord | None:
        with self._database.ask() as connection:
            row = connection.execute(_API_KEY, {"id": key_id}).first()
        return None if row is None else _api_key(row)

    def all(self) -> list[ApiKeyRecord]:
        with self._database.read() as session:
            rows = session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created, ApiKeyRow.id))
            return [_api_key(row) for row in rows]

    def revoke(self, key_id: str) -> bool:
        """End a key for good. False: there is no such key, or it is revoked already."""
        mine = and_(ApiKeyRow.id == key_id, ApiKeyRow.revoked.is_(None))
        change = update(ApiKeyRow).where(mine).values(revoked=self._clock())
        with self._database.write() as session:
            return session.execute(change.returning(ApiKeyRow.id)).first() is not None

    def used(self, key_id: str, day: date) -> None:
        """Remember the day of use: enough to find dead keys, too little to trace a person."""
        with self._database.write() as session:
            session.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(last_used=day))


class SignInCodeStore:
    """One-time codes."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(self, code_hash: bytes, identity: Identity, *, life: timedelta) -> datetime:
        now = self._clock()
        row = SignInCodeRow(
            code_hash=code_hash,
            subject=identity.subject,
            role=identity.role,
            twin=identity.twin,
            created=now,
            expires=now + life,
        )
        with self._database.write() as session:
            # Past codes are of no use to anybody.
            session.execute(delete(SignInCodeRow).where(SignInCodeRow.expires < now))
            session.add(row)
        return row.expires

    def use(self, code_hash: bytes) -> Identity | None:
        """Spend a code. Of any number of simultaneous callers, one gets the identity."""
        now = self._clock()
        fresh = and_(
            SignInCodeRow.code_hash == code_hash,
            SignInCodeRow.used.is_(None),
            SignInCodeRow.expires > now,
        )
        spend = update(SignInCodeRow).where(fresh).values(used=now)
        spent = spend.returning(SignInCodeRow.subject, SignInCodeRow.role, SignInCodeRow.twin)
        with self._database.write() as session:
            row = session.execute(spent).first()
            return None if row is None else Identity(row.subject, row.role, row.twin)


class SessionStore:
    """Browser sessions, on the server."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def open(self, token_hash: bytes, identity: Identity, *, life: timedelta) -> None:
        now = self._clock()
        row = SessionRow(
            token_hash=token_hash,
            subject=identity.subject,
            role=identity.role,
            twin=identity.twin,
            created=now,
            last_seen=now,
            expires=now + life,
        )
        with self._database.write() as session:
            session.execute(delete(SessionRow).where(SessionRow.expires < now))
            session.add(row)

    def touch(self, token_hash: bytes, *, idle: timedelta) -> Identity | None:
        """The identity of a live session, which thereby counts as used now; else None."""
        now = self._clock()
        with self._database.read() as session:
            row = session.get(SessionRow, token_hash)
        if row is None or row.revoked or row.expires <= now or row.last_seen + idle <= now:
            return None
        # One write a minute is precise enough and spares the database one per request.
        if now - row.last_seen >= timedelta(minutes=1):
            self._seen(token_hash, now)
        return Identity(row.subject, row.role, row.twin)

    def revoke(self, token_hash: bytes) -> bool:
        mine = and_(SessionRow.token_hash == token_hash, SessionRow.revoked.is_(None))
        return self._revoke(mine) > 0

    def revoke_all(self, subject: str) -> int:
        """End every session of one subject."""
        return self._revoke(and_(SessionRow.subject == subject, SessionRow.revoked.is_(None)))

    def _revoke(self, where: ColumnElement[bool]) -> int:
        change = update(SessionRow).where(where).values(revoked=self._clock())
        with self._database.write() as session:
            return len(session.execute(change.returning(SessionRow.token_hash)).all())

    def _seen(self, token_hash: bytes, now: datetime) -> None:
        change = update(SessionRow).where(SessionRow.token_hash == token_hash)
        with self._database.write() as session:
            session.execute(change.values(last_seen=now))


class AttemptStore:
    """Counts attempts per bucket and window in one statement, so that no race loses one."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    def count(self, bucket: bytes, *, window: timedelta) -> int:
        """Add one attempt and return how many this window has now."""
        now = self._clock()
        seconds = int(window.total_seconds())
        values = {
            "bucket": bucket,
            "period": int(now.timestamp()) // seconds,
            "count": 1,
            "expires": now + window,
        }
        add = self._database.insert(AttemptRow).values(values)
        add = add.on_conflict_do_update(
            index_elements=["bucket", "period"], set_={"count": AttemptRow.count + 1}
        )
        with self._database.write() as session:
            number: int = session.execute(add.returning(AttemptRow.count)).scalar_one()
            if number == 1:
                session.execute(delete(AttemptRow).where(AttemptRow.expires < now))
            return number


_API_KEY = select(ApiKeyRow).where(ApiKeyRow.id == bindparam("id"))


def _api_key(row: Any) -> ApiKeyRecord:
    """Of a row, or of its columns."""
    return ApiKeyRecord(
        id=row.id,
        secret_hash=row.secret_hash,
        label=row.label,
        role=row.role,
        scopes=frozenset(row.scopes),
        twin=row.twin,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        last_used=row.last_used,
    )

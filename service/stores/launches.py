"""Launches from an EHR that are under way: kept for minutes, taken once."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.tables import Base


class LaunchRow(Base):
    """One sign-in on its way through an EHR. `state` is kept as a hash; the rest is sealed."""

    __tablename__ = "smart_launches"

    state_hash: Mapped[bytes] = mapped_column(primary_key=True)
    sealed: Mapped[bytes]
    expires: Mapped[datetime] = mapped_column(index=True)


class LaunchStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(self, state_hash: bytes, sealed: bytes, life: timedelta) -> None:
        now = self._clock()
        with self._database.write() as session:
            session.execute(delete(LaunchRow).where(LaunchRow.expires < now))
            session.add(LaunchRow(state_hash=state_hash, sealed=sealed, expires=now + life))

    def take(self, state_hash: bytes) -> bytes | None:
        """What was kept under it, the first time it is asked for and in time; else None."""
        taken = delete(LaunchRow).where(LaunchRow.state_hash == state_hash)
        with self._database.write() as session:
            row = session.execute(taken.returning(LaunchRow.sealed, LaunchRow.expires)).first()
        return None if row is None or row.expires < self._clock() else bytes(row.sealed)

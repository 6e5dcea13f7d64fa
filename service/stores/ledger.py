"""The ledger: implements ``privacy.ledger.LedgerStore``. There is no update and no delete."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from privacy.errors import LedgerError
from privacy.ledger import Head
from service.stores.database import Database, Disk, execute, utc_now
from service.stores.errors import ConflictError
from service.stores.ledger_index import index_line
from service.stores.tables import LedgerRow

_BATCH = 500
_ALONE = "ledger-alone"


class SqlLedgerStore:
    """Lines by number; a number is given once."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    @contextmanager
    def alone(self, disk: Disk = Disk.AT_ONCE) -> Iterator[None]:
        """Nobody else appends meanwhile, so ``privacy.ledger.append`` inside never conflicts.

        What else is written inside (the twin, the outbox) is one transaction with the entry, and
        begins here: who waits for the ledger holds no row that another could wait for.
        """
        with self._database.write(disk) as session:
            self._database.lock(session, "ledger")
            session.info[_ALONE] = True
            yield

    def head(self) -> Head:
        with self._database.ask() as connection:
            row = connection.execute(_HEAD).first()
        return Head() if row is None else Head(row.seq, row.digest)

    def append(self, seq: int, digest: str, line: bytes) -> None:
        """ConflictError where somebody was first, which only happens outside of any transaction."""
        part = self._database.is_writing
        try:
            with self._database.write() as session:
                if part:
                    _require_alone(session)
                # The number is ours, or somebody else's, from here on.
                execute(session, _ADD, {"seq": seq, "digest": digest, "line": line})
                index_line(self._database, session, seq, line, self._clock())
        except IntegrityError as error:
            raise ConflictError("ledger: this number is taken") from error

    def lines(self) -> Iterator[bytes]:
        """Every line, in order, a batch at a time: a reader holds no transaction open."""
        seq = 0
        while batch := self.page(after=seq, limit=_BATCH):
            for seq, line in batch:  # noqa: B007 - the last number is where the next batch starts
                yield line

    def page(self, *, after: int = 0, limit: int = 100) -> list[tuple[int, bytes]]:
        """Numbers and lines following ``after``."""
        query = select(LedgerRow.seq, LedgerRow.line).where(LedgerRow.seq > after)
        with self._database.read() as session:
            rows = session.execute(query.order_by(LedgerRow.seq).limit(limit))
            return [(row.seq, row.line) for row in rows]

    def entry(self, seq: int) -> bytes | None:
        with self._database.read() as session:
            row = session.get(LedgerRow, seq)
            return None if row is None else row.line

    def entries(self, numbers: Collection[int]) -> list[bytes]:
        """The lines of these numbers, in order."""
        query = select(LedgerRow.line).where(LedgerRow.seq.in_(numbers)).order_by(LedgerRow.seq)
        with self._database.read() as session:
            return list(session.scalars(query))

    def newest(self, limit: int) -> list[bytes]:
        """The last lines, latest first."""
        query = select(LedgerRow.line).order_by(LedgerRow.seq.desc()).limit(limit)
        with self._database.read() as session:
            return list(session.scalars(query))


_HEAD = select(LedgerRow.seq, LedgerRow.digest).order_by(LedgerRow.seq.desc()).limit(1)
_ADD = insert(LedgerRow)


def _require_alone(session: Session) -> None:
    """A number lost to another would undo all of a larger transaction: on PostgreSQL, under load,
    a run could lose it again and again."""
    if not session.info.get(_ALONE):
        raise LedgerError("a transaction that adds to the ledger begins with alone()")

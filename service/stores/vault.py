"""Sealed records and wrapped keys: implements ``privacy.vault.VaultStore``."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from service.stores.database import Database, execute
from service.stores.errors import ConflictError
from service.stores.tables import VaultKeyRow, VaultRow


class SqlVaultStore:
    """A record changes only for the writer who saw its newest version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, index: str) -> tuple[bytes, int] | None:
        with self._database.ask() as connection:
            row = connection.execute(_OF_INDEX, {"index": index}).first()
        return None if row is None else (row.sealed_record, row.version)

    def save(self, index: str, sealed: bytes, expected: int) -> int:
        values = {"sealed_record": sealed, "version": expected + 1}
        with self._database.write() as session:
            if expected:
                seen = {"seen_index": index, "seen_version": expected}
                saved = execute(session, _NEXT, values | seen).first()
            else:
                first = _first(self._database.insert_new(VaultRow))
                saved = execute(session, first, values | {"index": index}).first()
        if saved is None:  # nothing was changed: a larger transaction may go on
            raise ConflictError("vault: the record is another one than was read")
        return expected + 1

    def delete(self, index: str) -> bool:
        gone = delete(VaultRow).where(VaultRow.index == index).returning(VaultRow.index)
        with self._database.write() as session:
            return session.execute(gone).first() is not None

    def indexes(self) -> Iterable[str]:
        with self._database.read() as session:
            return list(session.scalars(select(VaultRow.index).order_by(VaultRow.index)))

    def count(self) -> int:
        """How many sealed records there are."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(VaultRow)) or 0

    def load_keys(self) -> Mapping[str, bytes]:
        with self._database.read() as session:
            return _ring(session)

    def replace_keys(self, keys: Mapping[str, bytes], expected: Mapping[str, bytes]) -> None:
        with self._database.write() as session:
            self._database.lock(session, "vault_keys")
            if _ring(session) != dict(expected):
                raise ConflictError("vault_keys: the ring changed since it was read")
            session.execute(delete(VaultKeyRow))
            for position, (name, wrapped) in enumerate(keys.items()):
                session.add(VaultKeyRow(name=name, position=position, sealed_key=wrapped))


_OF_INDEX = select(VaultRow.sealed_record, VaultRow.version).where(
    VaultRow.index == bindparam("index")
)
_NEXT = (
    update(VaultRow)
    .where(
        and_(
            VaultRow.index == bindparam("seen_index"), VaultRow.version == bindparam("seen_version")
        )
    )
    .returning(VaultRow.index)
)


@cache
def _first(insert: Any) -> Any:
    return insert.returning(VaultRow.index)


def _ring(session: Session) -> dict[str, bytes]:
    rows = session.scalars(select(VaultKeyRow).order_by(VaultKeyRow.position))
    return {row.name: row.sealed_key for row in rows}

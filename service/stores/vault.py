"""Sealed records and wrapped keys: implements ``privacy.vault.VaultStore``."""

from collections.abc import Iterable, Mapping

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.stores.database import Database
from service.stores.errors import ConflictError
from service.stores.tables import VaultKeyRow, VaultRow


class SqlVaultStore:
    """A record changes only for the writer who saw its newest version."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, index: str) -> tuple[bytes, int] | None:
        with self._database.read() as session:
            row = session.get(VaultRow, index)
            return None if row is None else (row.sealed_record, row.version)

    def save(self, index: str, sealed: bytes, expected: int) -> int:
        try:
            with self._database.write() as session:
                if expected == 0:
                    session.add(VaultRow(index=index, sealed_record=sealed, version=1))
                    session.flush()
                elif not _replaced(session, index, sealed, expected):
                    raise ConflictError("vault: the record changed since it was read")
        except IntegrityError as error:
            raise ConflictError("vault: the record exists already") from error
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


def _replaced(session: Session, index: str, sealed: bytes, expected: int) -> bool:
    seen = and_(VaultRow.index == index, VaultRow.version == expected)
    change = update(VaultRow).where(seen).values(sealed_record=sealed, version=expected + 1)
    return session.execute(change.returning(VaultRow.index)).first() is not None


def _ring(session: Session) -> dict[str, bytes]:
    rows = session.scalars(select(VaultKeyRow).order_by(VaultKeyRow.position))
    return {row.name: row.sealed_key for row in rows}

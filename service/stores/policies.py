"""Every policy that was in force here, by digest: what an old entry names stays readable."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.tables import Base


class PolicyRow(Base):
    """One version of a policy, complete: its table with what it inherits filled in."""

    __tablename__ = "policies"

    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    policy: Mapped[str]
    version: Mapped[int]
    first_seen: Mapped[datetime]
    content: Mapped[bytes]


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    digest: str
    policy: str
    version: int


class PolicyStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, digest: str, policy: str, version: int, table: Mapping[str, Any]) -> None:
        """Once; a digest says which content it is of."""
        values = {
            "digest": digest,
            "policy": policy,
            "version": version,
            "first_seen": utc_now(),
            "content": orjson.dumps(table, default=str, option=orjson.OPT_SORT_KEYS),
        }
        with self._database.write() as session:
            session.execute(
                self._database.insert(PolicyRow).values(values).on_conflict_do_nothing()
            )

    def all(self) -> list[KeptPolicy]:
        """By name, the newest version of each first."""
        row = PolicyRow
        query = select(row.digest, row.policy, row.version)
        query = query.order_by(row.policy, row.version.desc(), row.first_seen.desc())
        with self._database.read() as session:
            return [KeptPolicy(*found) for found in session.execute(query)]

    def table(self, digest: str) -> dict[str, Any] | None:
        with self._database.read() as session:
            row = session.get(PolicyRow, digest)
        return None if row is None else orjson.loads(row.content)

"""What an outsider may know of each held twin, and what the officer holds the risk against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import JSON, Index, Select, String, Text, bindparam, func, select
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import SQLCoreOperations

from service.stores.database import Database, execute, utc_now
from service.stores.tables import Base, Serial

Row = tuple[Any, ...]
SETTINGS_KEPT = 200  # of the history that is read at once


class TraitRow(Base):
    """The newest version of one twin as somebody outside may know the person. Twin content."""

    __tablename__ = "risk_traits"
    __table_args__ = (Index("ix_risk_traits_class", "policy", "sex", "age", "deceased"),)

    twin: Mapped[str] = mapped_column(primary_key=True)
    policy: Mapped[str]
    sex: Mapped[str | None]
    age: Mapped[int | None]
    deceased: Mapped[bool | None]
    conditions: Mapped[str] = mapped_column(Text())


class RiskSettingsRow(Base):
    """What an officer decided; the newest row holds. Nothing is overwritten."""

    __tablename__ = "risk_settings"

    seq: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    set_by: Mapped[str]
    set_at: Mapped[datetime]
    threshold: Mapped[str]
    k: Mapped[int]
    knows: Mapped[list[str]]
    population: Mapped[int | None]
    source: Mapped[str] = mapped_column(String(160))
    people: Mapped[list[list[Any]] | None] = mapped_column(JSON())


@dataclass(frozen=True, slots=True)
class Traits:
    """Of one twin. `conditions` are its groups, sorted."""

    sex: str | None
    age: int | None
    deceased: bool | None
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """What is taken to be known outside, and what risk is held against.

    `people`: of the population, how many share each combination of `knows`, where that is known.
    """

    threshold: str
    k: int
    knows: tuple[str, ...]
    population: int | None = None
    source: str = ""  # where the population's figures come from
    people: Mapping[Row, int] | None = field(default=None, repr=False)
    set_by: str = ""
    set_at: datetime | None = None


# What somebody outside may know of a person, by the name it is declared under.
QUASI: Mapping[str, SQLCoreOperations[Any]] = {
    "sex": TraitRow.sex,
    "age": TraitRow.age,
    "age-band": TraitRow.age - TraitRow.age % 10,
    "deceased": TraitRow.deceased,
    "conditions": TraitRow.conditions,
}


class RiskStore:
    """Classes of held twins, counted by the database; and the officer's settings."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database, self._clock = database, clock

    # -- twins ---------------------------------------------------------------------------------

    def keep(self, twin: str, policy: str, traits: Traits) -> None:
        """Instead of what was known of an earlier version."""
        values = {
            "twin": twin,
            "policy": policy,
            "sex": traits.sex,
            "age": traits.age,
            "deceased": traits.deceased,
            "conditions": " ".join(traits.conditions),
        }
        with self._database.write() as session:
            execute(session, _put(self._database.insert(TraitRow)), values)

    def classes(self, policy: str, names: Sequence[str]) -> dict[Row, int]:
        """How many twins share each combination of what is known."""
        with self._database.ask() as connection:
            rows = connection.execute(_classes(tuple(names)), {"policy": policy})
            return {tuple(row[1:]): row[0] for row in rows}

    def row(self, twin: str, names: Sequence[str]) -> Row | None:
        """What is known of one twin; None for a twin that is not held."""
        with self._database.ask() as connection:
            found = connection.execute(_known(tuple(names)), {"twin": twin}).first()
        return None if found is None else tuple(found)

    def policy(self, twin: str) -> str | None:
        """Under which policy a twin is held; None for a twin that is not."""
        with self._database.read() as session:
            return session.scalar(select(TraitRow.policy).where(TraitRow.twin == twin))

    def with_conditions(self, policy: str, names: Sequence[str]) -> list[tuple[Row, str]]:
        """What is known of each twin, and its diagnoses, which may not be."""
        known = [QUASI[name] for name in names]
        query = select(TraitRow.conditions, *known).where(TraitRow.policy == policy)
        with self._database.read() as session:
            return [(tuple(row[1:]), row[0]) for row in session.execute(query)]

    def sample(self, policy: str, most: int) -> list[str]:
        """Pseudonyms, which are random: the first ones are a sample, the same one every time."""
        query = select(TraitRow.twin).where(TraitRow.policy == policy).order_by(TraitRow.twin)
        with self._database.read() as session:
            return list(session.scalars(query.limit(most)))

    # -- settings ------------------------------------------------------------------------------

    def settings(self) -> RiskSettings | None:
        found = self.history(1)
        return found[0] if found else None

    def history(self, limit: int = SETTINGS_KEPT) -> list[RiskSettings]:
        """What was decided, latest first."""
        with self._database.ask() as connection:
            return [_made(row) for row in connection.execute(_SETTLED, {"most": limit})]

    def settle(self, who: str, chosen: RiskSettings) -> None:
        people = None
        if chosen.people is not None:
            people = [[*row, number] for row, number in chosen.people.items()]
        row = RiskSettingsRow(
            set_by=who,
            set_at=self._clock(),
            threshold=chosen.threshold,
            k=chosen.k,
            knows=list(chosen.knows),
            population=chosen.population,
            source=chosen.source,
            people=people,
        )
        with self._database.write() as session:
            session.add(row)


@cache
def _put(insert: Any) -> Any:
    names = ("policy", "sex", "age", "deceased", "conditions")
    new = {name: insert.excluded[name] for name in names}
    return insert.on_conflict_do_update(index_elements=["twin"], set_=new)


@cache
def _classes(names: tuple[str, ...]) -> Select[Any]:
    known = [QUASI[name] for name in names]
    mine = TraitRow.policy == bindparam("policy")
    return select(func.count(), *known).where(mine).group_by(*known)


@cache
def _known(names: tuple[str, ...]) -> Select[Any]:
    return select(*(QUASI[name] for name in names)).where(TraitRow.twin == bindparam("twin"))


_SETTLED = select(RiskSettingsRow).order_by(RiskSettingsRow.seq.desc()).limit(bindparam("most"))


def _made(row: Any) -> RiskSettings:
    people = None
    if row.people is not None:
        people = {tuple(known): number for *known, number in row.people}
    return RiskSettings(
        row.threshold,
        row.k,
        tuple(row.knows),
        row.population,
        row.source,
        people,
        row.set_by,
        row.set_at,
    )

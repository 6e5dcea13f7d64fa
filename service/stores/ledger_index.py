"""What the ledger says, sorted for reading: derived from its lines, and from nothing else.

The lines are the record; these tables only find them. They are written in the transaction of the
line, so a page never has to read the ledger through, and `disagreement` compares them with it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVarTuple

import orjson
from sqlalchemy import (
    Exists,
    Index,
    Select,
    String,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
)
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from privacy.explain import Amount, amounts_to
from privacy.ledger import split
from service.stores.database import Database, execute
from service.stores.tables import Base, LedgerRow, TwinRow

_BATCH = 200
PSEUDONYM = 22  # letters of a whole one
Json = Mapping[str, Any]
Parts = TypeVarTuple("Parts")
Leaf = tuple[str, str, str, str]  # policy, type, path, action


class EntryRow(Base):
    """One entry of the ledger in a few columns. `recorded` stays here: an exported ledger tells
    no more of the time than the policy allows."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        Index("ix_ledger_entries_event_seq", "event", "seq"),
        Index("ix_ledger_entries_passed_seq", "passed", "seq"),
        Index("ix_ledger_entries_policy_seq", "policy", "seq"),
        Index("ix_ledger_entries_policy_digest", "policy_digest"),
        Index("ix_ledger_entries_twin_seq", "twin", "seq"),
    )

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    event: Mapped[str]
    twin: Mapped[str | None]
    policy: Mapped[str | None]
    policy_version: Mapped[int | None]
    policy_digest: Mapped[str | None] = mapped_column(String(80))
    passed: Mapped[bool | None]
    recorded: Mapped[datetime | None] = mapped_column(index=True)
    kept: Mapped[int]
    changed: Mapped[int]
    removed: Mapped[int]
    refused: Mapped[int]


class MentionRow(Base):
    """An entry and a twin it is about: its own, or one of those a certificate names."""

    __tablename__ = "ledger_twins"
    __table_args__ = ({"sqlite_with_rowid": False},)

    twin: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class SumRow(Base):
    """What was done in one type under one policy, place by place, summed over all entries.

    `content`: path and action → the entries it stands in, its leaves, the last of the entries.
    One row for a type and not for a place: an entry counts at some two hundred places.
    """

    __tablename__ = "ledger_sums"

    policy: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a list. The rest is in the line."""

    seq: int
    event: str
    twin: str | None
    policy: str | None
    policy_version: int | None
    policy_digest: str | None
    passed: bool | None
    kept: int
    changed: int
    removed: int
    refused: int


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """All given parts must hold."""

    event: str | None = None
    policy: str | None = None
    twin: str | None = None  # a whole pseudonym, or its beginning
    passed: bool | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What was done at one place: how many leaves, in how many entries, in which one last."""

    policy: str
    type: str
    path: str
    action: str
    amount: Amount
    entries: int
    leaves: int
    last: int


# -- writing ---------------------------------------------------------------------------------------


def index_line(
    database: Database, session: Session, seq: int, line: bytes, recorded: datetime | None
) -> None:
    """Sort one new line in, inside the transaction that stores it."""
    entry = entry_of(line)
    leaves = leaves_of(entry)
    execute(session, _ADD_ENTRY, _row(seq, entry, leaves, recorded))
    if twins := mentioned(entry):
        execute(session, _ADD_MENTION, [{"twin": twin, "seq": seq} for twin in twins])
    if leaves:
        _add_leaves(database, session, seq, leaves)


def _add_leaves(database: Database, session: Session, seq: int, leaves: Counter[Leaf]) -> None:
    """Add to the sums. Entries follow each other, so nobody else is adding now."""
    by_type: dict[str, list[tuple[str, int]]] = {}
    for (_, kind, path, action), n in leaves.items():
        by_type.setdefault(kind, []).append((f"{path} {action}", n))
    policy = next(iter(leaves))[0]
    rows = execute(session, _SUMS, {"policy": policy, "types": list(by_type)})
    held = {row.type: row.content for row in rows}
    sums = [
        {"policy": policy, "type": kind, "content": _summed(held.get(kind, b"{}"), places, seq)}
        for kind, places in sorted(by_type.items())
    ]
    execute(session, _put_sum(database.insert(SumRow)), sums)


@cache
def _put_sum(insert: Any) -> Any:
    return insert.on_conflict_do_update(
        index_elements=["policy", "type"], set_={"content": insert.excluded.content}
    )


_ADD_ENTRY, _ADD_MENTION = insert(EntryRow), insert(MentionRow)
_SUMS = select(SumRow.type, SumRow.content).where(
    SumRow.policy == bindparam("policy"), SumRow.type.in_(bindparam("types", expanding=True))
)


def _summed(content: bytes, places: Iterable[tuple[str, int]], seq: int) -> bytes:
    sums = orjson.loads(content)
    for place, n in places:
        entries, before, _ = sums.get(place, (0, 0, 0))
        sums[place] = (entries + 1, before + n, seq)
    return orjson.dumps(sums)


def entry_of(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(split(line)[0])
    return found


def leaves_of(entry: Json) -> Counter[Leaf]:
    """Counts by policy, type, path and action."""
    policy = str(entry.get("policy", {}).get("id", ""))
    found: Counter[Leaf] = Counter()
    for item in entry.get("counts", ()):
        found[policy, item["type"], item["path"], item["action"]] += item["n"]
    return found


def mentioned(entry: Json) -> list[str]:
    return sorted({entry.get("twin"), *entry.get("twins", ())} - {None})


def _row(seq: int, entry: Json, leaves: Counter[Leaf], recorded: datetime | None) -> Json:
    sums: Counter[Amount] = Counter()
    for (*_, action), n in leaves.items():
        sums[amounts_to(action)] += n
    policy = entry.get("policy", {})
    return {
        "seq": seq,
        "event": str(entry.get("event", "")),
        "twin": entry.get("twin"),
        "policy": policy.get("id"),
        "policy_version": policy.get("version"),
        "policy_digest": policy.get("digest"),
        "passed": entry.get("gate", {}).get("passed"),
        "recorded": recorded,
        "kept": sums[Amount.KEPT],
        "changed": sums[Amount.CHANGED],
        "removed": sums[Amount.REMOVED],
        "refused": sum(item["n"] for item in entry.get("refusals", ())),
    }


# -- reading ---------------------------------------------------------------------------------------


class LedgerIndex:
    """Finds entries and sums without reading the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(
        self, where: EntryFilter, *, limit: int, offset: int = 0
    ) -> tuple[list[Entry], int]:
        """A page, latest first, and how many there are."""
        rows = _filtered(select(*_ENTRY), where)
        counted = _filtered(select(func.count()).select_from(EntryRow), where)
        page = rows.order_by(EntryRow.seq.desc()).limit(limit).offset(offset)
        with self._database.read() as session:
            found = [Entry(*row) for row in session.execute(page)]
            return found, session.scalar(counted) or 0

    def about(self, twin: str) -> list[int]:
        """The numbers of the entries that name a twin, oldest first."""
        query = select(MentionRow.seq).where(MentionRow.twin == twin).order_by(MentionRow.seq)
        with self._database.read() as session:
            return list(session.scalars(query))

    def blocked(self, *, limit: int, offset: int = 0) -> tuple[list[tuple[Entry, bool]], int]:
        """Blocked twins, latest first, and of each whether the twin passed later on."""
        query = select(*_ENTRY, _passed_later()).where(EntryRow.passed.is_(False))
        page = query.order_by(EntryRow.seq.desc()).limit(limit).offset(offset)
        counted = select(func.count()).select_from(EntryRow).where(EntryRow.passed.is_(False))
        with self._database.read() as session:
            rows = session.execute(page).all()
            found = [_with_more(row) for row in rows]
            return found, session.scalar(counted) or 0

    def still_blocked(self) -> int:
        """Twins whose last try was blocked."""
        query = select(func.count(EntryRow.twin.distinct())).where(
            EntryRow.passed.is_(False), ~_passed_later()
        )
        with self._database.read() as session:
            return session.scalar(query) or 0

    def events(self) -> dict[str, int]:
        """How many entries there are of each event."""
        query = select(EntryRow.event, func.count()).group_by(EntryRow.event)
        with self._database.read() as session:
            return dict(session.execute(query).all())

    def policies(self) -> dict[str, int]:
        """How many entries were made under exactly which policy, by digest."""
        query = select(EntryRow.policy_digest, func.count()).group_by(EntryRow.policy_digest)
        with self._database.read() as session:
            return {digest: number for digest, number in session.execute(query) if digest}

    def policies_used(self) -> list[str]:
        """The names of the policies that entries were made under."""
        query = select(EntryRow.policy).where(EntryRow.policy.is_not(None)).distinct()
        with self._database.read() as session:
            return sorted(name for name in session.scalars(query) if name)

    def places(self, kind: str | None = None, path: str | None = None) -> list[Place]:
        """What was done where, over the whole ledger; at one path and below it when named."""
        query = select(SumRow.policy, SumRow.type, SumRow.content)
        if kind is not None:
            query = query.where(SumRow.type == kind)
        with self._database.read() as session:
            rows = session.execute(query).all()
        found = [place for row in rows for place in _places(*row)]
        found.sort(key=lambda place: (-place.leaves, place.type, place.path, place.action))
        return [place for place in found if path is None or is_at(place.path, path)]

    def numbers(self, start: datetime, end: datetime) -> Iterator[list[int]]:
        """The numbers of the entries recorded in a time, in order, a batch at a time."""
        last = 0
        while batch := self._numbers(last, start, end):
            yield batch
            last = batch[-1]

    def _numbers(self, after: int, start: datetime, end: datetime) -> list[int]:
        query = select(EntryRow.seq).where(
            EntryRow.recorded >= start, EntryRow.recorded < end, EntryRow.seq > after
        )
        with self._database.read() as session:
            return list(session.scalars(query.order_by(EntryRow.seq).limit(_BATCH)))

    def undated(self) -> int:
        """Entries older than these tables, of which only the year is known."""
        query = select(func.count()).select_from(EntryRow).where(EntryRow.recorded.is_(None))
        with self._database.read() as session:
            return session.scalar(query) or 0

    # -- against the ledger ------------------------------------------------------------------------

    def last(self) -> int:
        with self._database.read() as session:
            return session.scalar(select(func.max(EntryRow.seq))) or 0

    def checked(self, lines: Iterable[bytes], wrong: list[str]) -> Iterator[bytes]:
        """Hands the ledger's lines on; afterwards `wrong` says where these tables differ."""
        sums: Counter[Leaf] = Counter()
        number = 0
        for line in lines:
            if line.startswith(b'{"entry"'):
                number += 1
                sums.update(leaves_of(entry_of(line)))
            yield line
        wrong += self._differences(sums, number)

    def _differences(self, sums: Counter[Leaf], number: int) -> list[str]:
        shown = Counter({(p.policy, p.type, p.path, p.action): p.leaves for p in self.places()})
        found = [] if number == self.last() else ["entries"]
        return found + (["counts"] if shown != sums else [])

    def rebuild(self) -> int:
        """Empty these tables and fill them from the ledger; how many entries were sorted in."""
        with self._database.write() as session:
            rows = session.execute(select(EntryRow.seq, EntryRow.recorded))
            times = dict(rows.all())
            for table in (SumRow, MentionRow, EntryRow):
                session.execute(delete(table))
        return self.catch_up(times)

    def catch_up(self, times: Mapping[int, datetime | None] | None = None) -> int:
        """Sort in what the ledger has and these tables lack."""
        done = 0
        while batch := self._missing():
            with self._database.write() as session:
                for seq, line in batch:
                    at = (times or {}).get(seq) or _kept_at(session, line)
                    index_line(self._database, session, seq, line, at)
            done += len(batch)
        return done

    def _missing(self) -> list[tuple[int, bytes]]:
        query = select(LedgerRow.seq, LedgerRow.line).where(LedgerRow.seq > self.last())
        with self._database.read() as session:
            rows = session.execute(query.order_by(LedgerRow.seq).limit(_BATCH))
            return [(row.seq, row.line) for row in rows]


_ENTRY = (
    EntryRow.seq,
    EntryRow.event,
    EntryRow.twin,
    EntryRow.policy,
    EntryRow.policy_version,
    EntryRow.policy_digest,
    EntryRow.passed,
    EntryRow.kept,
    EntryRow.changed,
    EntryRow.removed,
    EntryRow.refused,
)


def _places(policy: str, kind: str, content: bytes) -> Iterator[Place]:
    for place, (entries, leaves, last) in orjson.loads(content).items():
        path, _, action = place.partition(" ")
        yield Place(policy, kind, path, action, amounts_to(action), entries, leaves, last)


def _with_more(row: Any) -> tuple[Entry, bool]:
    *parts, more = row
    return Entry(*parts), bool(more)


def _passed_later() -> Exists:
    later = aliased(EntryRow)
    return exists().where(
        later.twin == EntryRow.twin, later.seq > EntryRow.seq, later.passed.is_(True)
    )


def _filtered(query: Select[*Parts], where: EntryFilter) -> Select[*Parts]:
    for column, value in (
        (EntryRow.event, where.event),
        (EntryRow.policy, where.policy),
        (EntryRow.passed, where.passed),
    ):
        if value is not None:
            query = query.where(column == value)
    if where.twin:
        query = query.where(EntryRow.seq.in_(_named(where.twin)))
    return query


def _named(beginning: str) -> Select[int]:
    """Entries about the twins whose pseudonym begins so; a whole one is found by its index."""
    twin = MentionRow.twin
    same = twin if len(beginning) == PSEUDONYM else func.substr(twin, 1, len(beginning))
    return select(MentionRow.seq).where(same == beginning)


def is_at(path: str, wanted: str) -> bool:
    """Whether something at `path` was done at the wanted place or below it."""
    parent, _, key = wanted.rpartition(".")
    beside = f"{parent}._{key}" if parent else f"_{key}"  # what was attached to a plain value
    return path in {wanted, beside} or path.startswith((f"{wanted}.", f"{beside}."))


def _kept_at(session: Session, line: bytes) -> datetime | None:
    """When the twin of an entry was kept, for entries older than these tables."""
    document = entry_of(line).get("document")
    if document is None:
        return None
    return session.scalar(select(TwinRow.created).where(TwinRow.digest == document))

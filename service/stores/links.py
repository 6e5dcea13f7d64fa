"""Health links: what they open (encrypted under keys that are not here), and who opened them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Select, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from service.stores.database import Database, utc_now
from service.stores.tables import Base, Serial

ATTEMPTS = 10  # wrong passcodes over a link's whole life


class LinkRow(Base):
    """One link. Its address is stored as a hash, its key not at all."""

    __tablename__ = "health_links"

    id: Mapped[str] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(unique=True)
    twin: Mapped[str] = mapped_column(index=True)
    version: Mapped[int]
    flag: Mapped[str]
    sealed_label: Mapped[bytes]
    passcode_hash: Mapped[bytes | None]
    attempts_left: Mapped[int]
    created: Mapped[datetime]
    expires: Mapped[datetime | None] = mapped_column(index=True)
    revoked: Mapped[datetime | None]


class LinkFileRow(Base):
    """An encrypted file of a link."""

    __tablename__ = "health_link_files"

    link: Mapped[str] = mapped_column(
        ForeignKey("health_links.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    content_type: Mapped[str]
    jwe: Mapped[bytes]
    updated: Mapped[datetime]


class LinkUseRow(Base):
    """Somebody asked for a link. What they call themselves is sealed: it is their own words."""

    __tablename__ = "health_link_uses"

    seq: Mapped[int] = mapped_column(Serial, primary_key=True, autoincrement=True)
    link: Mapped[str] = mapped_column(index=True)
    at: Mapped[datetime]
    outcome: Mapped[str]
    sealed_recipient: Mapped[bytes]


class Asked(StrEnum):
    OPENED = "opened"
    WRONG = "wrong-passcode"
    MISSING = "passcode-missing"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class StoredLink:
    id: str
    twin: str
    version: int
    flag: str
    sealed_label: bytes
    attempts_left: int
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    def ended(self, now: datetime) -> str:
        """Why it opens nothing any more; empty while it does."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and self.expires <= now:
            return "expired"
        return "" if self.attempts_left > 0 else "used-up"


@dataclass(frozen=True, slots=True)
class LinkFile:
    number: int
    content_type: str
    jwe: bytes
    updated: datetime


@dataclass(frozen=True, slots=True)
class LinkUse:
    at: datetime
    outcome: str
    sealed_recipient: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking: the link where it opened, tries left where a passcode is wanted."""

    asked: Asked
    link: StoredLink | None = None
    attempts_left: int = 0


class LinkStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def add(
        self,
        link: StoredLink,
        token_hash: bytes,
        passcode_hash: bytes | None,
        files: Sequence[tuple[str, bytes]],
    ) -> None:
        with self._database.write() as session:
            session.add(
                LinkRow(
                    id=link.id,
                    token_hash=token_hash,
                    twin=link.twin,
                    version=link.version,
                    flag=link.flag,
                    sealed_label=link.sealed_label,
                    passcode_hash=passcode_hash,
                    attempts_left=link.attempts_left,
                    created=link.created,
                    expires=link.expires,
                    revoked=None,
                )
            )
            session.flush()
            self._put(session, link.id, files)

    def replace(self, identity: str, version: int, files: Sequence[tuple[str, bytes]]) -> bool:
        """New content of a living link, under the key that its holder presented."""
        with self._database.write() as session:
            row = session.get(LinkRow, identity, with_for_update=True)
            if row is None or _stored(row).ended(self._clock()):
                return False
            row.version = version
            session.execute(delete(LinkFileRow).where(LinkFileRow.link == identity))
            self._put(session, identity, files)
            return True

    def _put(self, session: Session, identity: str, files: Sequence[tuple[str, bytes]]) -> None:
        now = self._clock()
        for number, (content_type, jwe) in enumerate(files):
            session.add(
                LinkFileRow(
                    link=identity, number=number, content_type=content_type, jwe=jwe, updated=now
                )
            )

    # -- asking --------------------------------------------------------------------------------

    def ask(
        self, token_hash: bytes, hash_of: Callable[[str], bytes] | None, sealed_recipient: bytes
    ) -> Answer:
        """One attempt, in one transaction that holds the row: however many ask at once, no more
        than the allowed number of wrong passcodes are ever judged.

        `hash_of` gives the hash of the passcode that was said, for this link; None: none was.
        """
        with self._database.write() as session:
            query = select(LinkRow).where(LinkRow.token_hash == token_hash).with_for_update()
            row = session.scalar(query)
            if row is None:
                return Answer(Asked.GONE)
            answer = self._judged(row, hash_of)
            use = LinkUseRow(
                link=row.id,
                at=self._clock(),
                outcome=answer.asked.value,
                sealed_recipient=sealed_recipient,
            )
            session.add(use)
            return answer

    def _judged(self, row: LinkRow, hash_of: Callable[[str], bytes] | None) -> Answer:
        if _stored(row).ended(self._clock()):
            return Answer(Asked.GONE)
        if row.passcode_hash is None:
            return Answer(Asked.OPENED, _stored(row))
        if hash_of is None:
            return Answer(Asked.MISSING, attempts_left=row.attempts_left)
        if hash_of(row.id) == row.passcode_hash:
            return Answer(Asked.OPENED, _stored(row))
        row.attempts_left -= 1
        return Answer(Asked.WRONG, attempts_left=row.attempts_left)

    def files(self, identity: str) -> list[LinkFile]:
        query = select(LinkFileRow).where(LinkFileRow.link == identity)
        with self._database.read() as session:
            rows = session.scalars(query.order_by(LinkFileRow.number))
            return [LinkFile(r.number, r.content_type, r.jwe, r.updated) for r in rows]

    def file(self, identity: str, number: int) -> LinkFile | None:
        """Only of a link that still opens: a ticket outlives nothing."""
        with self._database.read() as session:
            row = session.get(LinkRow, identity)
            if row is None or _stored(row).ended(self._clock()):
                return None
        return next((one for one in self.files(identity) if one.number == number), None)

    # -- the giver's side ------------------------------------------------------------------------

    def of_twin(self, twin: str) -> list[StoredLink]:
        """Latest first, those that ended included."""
        return self._found(select(LinkRow).where(LinkRow.twin == twin))

    def by_token(self, token_hash: bytes) -> StoredLink | None:
        found = self._found(select(LinkRow).where(LinkRow.token_hash == token_hash))
        return found[0] if found else None

    def _found(self, query: Select[LinkRow]) -> list[StoredLink]:
        with self._database.read() as session:
            return [_stored(row) for row in session.scalars(query.order_by(LinkRow.created.desc()))]

    def uses(self, identity: str, limit: int = 100) -> list[LinkUse]:
        query = select(LinkUseRow).where(LinkUseRow.link == identity)
        with self._database.read() as session:
            rows = session.scalars(query.order_by(LinkUseRow.seq.desc()).limit(limit))
            return [LinkUse(row.at, row.outcome, row.sealed_recipient) for row in rows]

    def openings(self, identity: str) -> int:
        query = select(func.count()).select_from(LinkUseRow)
        query = query.where(LinkUseRow.link == identity, LinkUseRow.outcome == Asked.OPENED.value)
        with self._database.read() as session:
            return session.scalar(query) or 0

    def revoke(self, twin: str, identity: str) -> bool:
        """At once, and with it everything it opened. False for a link that this twin has not."""
        with self._database.write() as session:
            row = session.get(LinkRow, identity, with_for_update=True)
            if row is None or row.twin != twin:
                return False
            row.revoked = row.revoked or self._clock()
            session.execute(delete(LinkFileRow).where(LinkFileRow.link == identity))
            return True

    def revoke_all(self, twin: str) -> int:
        """When a person is erased or takes their consent back; how many were alive."""
        with self._database.write() as session:
            ids = select(LinkRow.id).where(LinkRow.twin == twin)
            session.execute(delete(LinkFileRow).where(LinkFileRow.link.in_(ids)))
            alive = update(LinkRow).where(LinkRow.twin == twin, LinkRow.revoked.is_(None))
            ended = session.execute(alive.values(revoked=self._clock()).returning(LinkRow.id))
            return len(ended.all())

    def sweep(self) -> int:
        """Destroy what links that have run out would have opened; how many files."""
        now = self._clock()
        over = select(LinkRow.id).where(
            (LinkRow.expires <= now) | (LinkRow.attempts_left <= 0) | LinkRow.revoked.is_not(None)
        )
        gone = delete(LinkFileRow).where(LinkFileRow.link.in_(over)).returning(LinkFileRow.number)
        with self._database.write() as session:
            return len(session.execute(gone).all())


def _stored(row: LinkRow) -> StoredLink:
    return StoredLink(
        id=row.id,
        twin=row.twin,
        version=row.version,
        flag=row.flag,
        sealed_label=row.sealed_label,
        attempts_left=row.attempts_left,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
    )

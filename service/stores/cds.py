"""What CDS Hooks leaves behind: used tokens, cards shown, feedback. Codes and pseudonyms only."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Integer, UniqueConstraint, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, utc_now
from service.stores.tables import Base

_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


class CdsTokenRow(Base):
    """A token that was used, until it would have expired: a digest of client and `jti`."""

    __tablename__ = "cds_tokens"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    expires: Mapped[datetime] = mapped_column(index=True)


class CdsCardRow(Base):
    """A card that was handed out: which model's, about which twin, to which client."""

    __tablename__ = "cds_cards"

    id: Mapped[str] = mapped_column(primary_key=True)
    client: Mapped[str]
    twin: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    created: Mapped[datetime] = mapped_column(index=True)


class CdsFeedbackRow(Base):
    """What a person did with a card. Their own words are never kept."""

    __tablename__ = "cds_feedback"
    __table_args__ = (UniqueConstraint("card", "outcome", "at"),)

    id: Mapped[int] = mapped_column(_SERIAL, primary_key=True, autoincrement=True)
    card: Mapped[str] = mapped_column(index=True)
    model: Mapped[str]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    comment_dropped: Mapped[bool]
    at: Mapped[datetime]
    received: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class ShownCard:
    id: str
    client: str
    twin: str
    model: str


@dataclass(frozen=True, slots=True)
class Feedback:
    card: str
    outcome: str
    reason: str | None
    comment_dropped: bool
    at: datetime


class CdsStore:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def first_use(self, token_hash: bytes, expires: datetime) -> bool:
        """Whether this token was not used before, in any process; from now on it was."""
        added = self._database.insert(CdsTokenRow).values(token_hash=token_hash, expires=expires)
        added = added.on_conflict_do_nothing(index_elements=[CdsTokenRow.token_hash])
        with self._database.write() as session:
            session.execute(delete(CdsTokenRow).where(CdsTokenRow.expires < self._clock()))
            return session.execute(added.returning(CdsTokenRow.token_hash)).first() is not None

    def shown(self, cards: list[ShownCard]) -> None:
        now = self._clock()
        with self._database.write() as session:
            for card in cards:
                session.add(CdsCardRow(id=card.id, client=card.client, twin=card.twin,
                                       model=card.model, created=now))  # fmt: skip

    def give(self, client: str, feedback: Feedback) -> bool:
        """Keep it once. False for a card that this client was never handed."""
        with self._database.write() as session:
            card = session.get(CdsCardRow, feedback.card)
            if card is None or card.client != client:
                return False
            added = self._database.insert(CdsFeedbackRow).values(
                card=card.id,
                model=card.model,
                outcome=feedback.outcome,
                reason=feedback.reason,
                comment_dropped=feedback.comment_dropped,
                at=feedback.at,
                received=self._clock(),
            )
            session.execute(added.on_conflict_do_nothing())
            return True

    def outcomes(self) -> Counter[tuple[str, str, str]]:
        """(model, outcome, reason) → how often; for the committee, about no person."""
        query = select(
            CdsFeedbackRow.model,
            CdsFeedbackRow.outcome,
            CdsFeedbackRow.reason,
            func.count().label("number"),
        ).group_by(CdsFeedbackRow.model, CdsFeedbackRow.outcome, CdsFeedbackRow.reason)
        with self._database.read() as session:
            return Counter({(m, o, r or ""): number for m, o, r, number in session.execute(query)})

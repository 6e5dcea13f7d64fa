"""Reviews of results: who estimated what, saw what, decided what. Codes, numbers and pseudonyms.

A comment goes to the patient's own chart and nowhere else: it is kept sealed until it is written
there, and destroyed then.
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Index,
    String,
    UniqueConstraint,
    and_,
    bindparam,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.stores.database import Database, execute, utc_now
from service.stores.tables import Base


class Decision(StrEnum):
    ACCEPTED = "accepted"
    OVERRIDDEN = "overridden"


class Charted(StrEnum):
    """What became of a decision in the patient's own chart."""

    NONE = "none"  # nothing was written there, so there is nothing to change
    PENDING = "pending"  # decided, and not yet written: the server could not be reached
    REFUSED = "refused"  # the server does not take such a change
    WRITTEN = "written"


class ReviewRow(Base):
    """One person's review of one answer of one model about one twin."""

    __tablename__ = "reviews"
    __table_args__ = (
        UniqueConstraint("twin", "model", "snapshot", "reviewer"),
        Index("ix_reviews_model_decided", "model", "decided"),
        Index("ix_reviews_chart", "chart"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    twin: Mapped[str]
    model: Mapped[str]
    model_version: Mapped[str]
    snapshot: Mapped[str] = mapped_column(String(80))
    reviewer: Mapped[str]
    opened: Mapped[datetime]
    shown: Mapped[datetime | None]
    decided: Mapped[datetime | None]
    estimate: Mapped[float | None] = mapped_column(Float())
    value: Mapped[float | None] = mapped_column(Float())
    agreed: Mapped[str | None] = mapped_column(String(16))
    warned: Mapped[bool | None]
    decision: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None]
    own: Mapped[float | None] = mapped_column(Float())
    chart: Mapped[str | None] = mapped_column(String(16))
    sealed_comment: Mapped[bytes | None]


class ResultKeyRow(Base):
    """Under which key a result of a twin is, or would be, written to its patient's record."""

    __tablename__ = "result_keys"

    twin: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    snapshot: Mapped[str] = mapped_column(String(80), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), index=True)


@dataclass(frozen=True, slots=True)
class About:
    """Which answer: the inputs' digest changes with the inputs, and stays with them."""

    twin: str
    model: str
    snapshot: str


@dataclass(frozen=True, slots=True)
class Review:
    id: str
    about: About
    model_version: str
    reviewer: str
    opened: datetime
    shown: datetime | None = None
    decided: datetime | None = None
    estimate: float | None = None
    value: float | None = None
    agreed: str | None = None
    warned: bool | None = None
    decision: Decision | None = None
    reason: str | None = None
    own: float | None = None
    chart: Charted | None = None
    sealed_comment: bytes | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a person estimated, and what they were shown then."""

    estimate: float | None
    value: float
    agreed: str
    warned: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    decision: Decision
    reason: str | None
    own: float | None
    sealed_comment: bytes | None


class ReviewStore:
    """One answer is decided once, whoever is faster."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    # -- one review ----------------------------------------------------------------------------

    def open(self, about: About, model_version: str, reviewer: str) -> Review:
        """That of this person, begun now if there was none."""
        fresh = {
            "id": secrets.token_hex(8),
            "twin": about.twin,
            "model": about.model,
            "snapshot": about.snapshot,
            "model_version": model_version,
            "reviewer": reviewer,
            "opened": self._clock(),
        }
        added = self._database.insert(ReviewRow).values(fresh).on_conflict_do_nothing()
        with self._database.write() as session:
            session.execute(added)
            return _review(session.scalars(select(ReviewRow).where(_of(about, reviewer))).one())

    def show(self, review: str, shown: Shown) -> bool:
        """Keep the estimate, once: what was seen cannot be unseen. False: it stood already."""
        values = {
            "shown": self._clock(),
            "estimate": shown.estimate,
            "value": shown.value,
            "agreed": shown.agreed,
            "warned": shown.warned,
        }
        unseen = and_(ReviewRow.id == review, ReviewRow.shown.is_(None))
        return self._change(unseen, values)

    def decide(self, review: Review, verdict: Verdict) -> bool:
        """False: somebody has decided on this answer already."""
        about = review.about
        taken = select(ReviewRow.id).where(_of(about), ReviewRow.decided.is_not(None))
        values = {
            "decided": self._clock(),
            "decision": verdict.decision,
            "reason": verdict.reason,
            "own": verdict.own,
            "sealed_comment": verdict.sealed_comment,
            "chart": Charted.PENDING,
        }
        with self._database.write() as session:
            self._database.lock(session, f"review:{about.twin}:{about.model}")
            if session.scalars(taken).first() is not None:
                return False
            change = update(ReviewRow).where(ReviewRow.id == review.id).values(values)
            session.execute(change)
            return True

    def charted(self, review: str, chart: Charted) -> None:
        """The comment has reached its place, or there is none for it: it is destroyed here."""
        mine = and_(ReviewRow.id == review, ReviewRow.chart == Charted.PENDING)
        self._change(mine, {"chart": chart, "sealed_comment": None})

    def undo(self, review: str) -> None:
        """The chart would not take the decision: the person decides anew."""
        mine = and_(ReviewRow.id == review, ReviewRow.chart == Charted.PENDING)
        nothing = dict.fromkeys(
            ("decided", "decision", "reason", "own", "chart", "sealed_comment"), None
        )
        self._change(mine, nothing)

    # -- many ----------------------------------------------------------------------------------

    def of_twins(self, twins: Collection[str]) -> list[Review]:
        """Every review of these twins."""
        query = select(ReviewRow).where(ReviewRow.twin.in_(twins)).order_by(ReviewRow.opened)
        with self._database.read() as session:
            return [_review(row) for row in session.scalars(query)]

    def pending(self, limit: int, older: timedelta = timedelta(0)) -> list[Review]:
        """Decisions that are not yet in the chart, oldest first. Younger ones than `older` are in
        the hands of the page that took them."""
        since = self._clock() - older
        waiting = select(ReviewRow).where(
            ReviewRow.chart == Charted.PENDING, ReviewRow.decided <= since
        )
        with self._database.read() as session:
            rows = session.scalars(waiting.order_by(ReviewRow.decided).limit(limit))
            return [_review(row) for row in rows]

    def decided(self) -> list[Review]:
        """Every decided review, for counts."""
        query = select(ReviewRow).where(ReviewRow.decided.is_not(None))
        with self._database.read() as session:
            return [_review(row) for row in session.scalars(query)]

    def forget(self, twins: Collection[str]) -> int:
        """Destroy what is sealed: nobody can write it any more, and it may name the patient."""
        mine = and_(ReviewRow.twin.in_(twins), ReviewRow.chart == Charted.PENDING)
        values = {"sealed_comment": None, "chart": Charted.NONE}
        gone = update(ReviewRow).where(mine).values(values).returning(ReviewRow.id)
        with self._database.write() as session:
            return len(session.execute(gone).all())

    # -- keys of results -----------------------------------------------------------------------

    def note_keys(self, keys: Mapping[About, str]) -> None:
        rows = [
            {"twin": about.twin, "model": about.model, "snapshot": about.snapshot, "key": key}
            for about, key in keys.items()
        ]
        if rows:
            added = self._database.insert_new(ResultKeyRow)
            with self._database.write() as session:
                execute(session, added, rows)

    def key_of(self, about: About) -> str | None:
        with self._database.read() as session:
            row = session.get(ResultKeyRow, (about.twin, about.model, about.snapshot))
            return None if row is None else row.key

    def about(self, key: str) -> About | None:
        """Which answer this is the key of."""
        with self._database.read() as session:
            row = session.scalars(select(ResultKeyRow).where(ResultKeyRow.key == key)).first()
            return None if row is None else About(row.twin, row.model, row.snapshot)

    def keys_of(self, twins: Iterable[str], among: Iterable[str]) -> list[tuple[About, str]]:
        """Of these twins' results, those with one of these keys."""
        query = select(ResultKeyRow).where(
            ResultKeyRow.twin.in_(list(twins)), ResultKeyRow.key.in_(list(among))
        )
        with self._database.read() as session:
            rows = session.scalars(query).all()
            return [(About(row.twin, row.model, row.snapshot), row.key) for row in rows]

    def decisions(self, keys: Iterable[str]) -> dict[str, Review]:
        """The decisions on results, by the key of the result."""
        with self._database.ask() as connection:
            rows = connection.execute(_DECIDED, {"keys": list(keys)})
            return {row.key: _review(row) for row in rows}

    def _change(self, where: ColumnElement[bool], values: Mapping[str, object]) -> bool:
        change = update(ReviewRow).where(where).values(**values).returning(ReviewRow.id)
        with self._database.write() as session:
            return session.execute(change).first() is not None


def _of(about: About, reviewer: str | None = None) -> ColumnElement[bool]:
    parts = [
        ReviewRow.twin == about.twin,
        ReviewRow.model == about.model,
        ReviewRow.snapshot == about.snapshot,
    ]
    if reviewer is not None:
        parts.append(ReviewRow.reviewer == reviewer)
    return and_(*parts)


_JOINT = and_(
    ResultKeyRow.twin == ReviewRow.twin,
    ResultKeyRow.model == ReviewRow.model,
    ResultKeyRow.snapshot == ReviewRow.snapshot,
)
_DECIDED = (
    select(ResultKeyRow.key, ReviewRow)
    .join(ReviewRow, _JOINT)
    .where(ResultKeyRow.key.in_(bindparam("keys", expanding=True)), ReviewRow.decided.is_not(None))
)


def _review(row: Any) -> Review:
    """Of a row, or of its columns."""
    return Review(
        id=row.id,
        about=About(row.twin, row.model, row.snapshot),
        model_version=row.model_version,
        reviewer=row.reviewer,
        opened=row.opened,
        shown=row.shown,
        decided=row.decided,
        estimate=row.estimate,
        value=row.value,
        agreed=row.agreed,
        warned=row.warned,
        decision=None if row.decision is None else Decision(row.decision),
        reason=row.reason,
        own=row.own,
        chart=None if row.chart is None else Charted(row.chart),
        sealed_comment=row.sealed_comment,
    )

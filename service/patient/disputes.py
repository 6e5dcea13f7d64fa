"""Disputes: a patient says that an entry is wrong. It is marked everywhere at once, stays in the
twin, and is resolved when the source has corrected it and a run has read that.

Signed bytes do not change: what is disputed stands beside the twin, not in it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from service.auth import Principal
from service.stores import Database
from service.stores.audit import AuditStore
from service.stores.disputes import Dispute, DisputeStore, Place
from twin_engine.document.lineage import rows, source_ids

Json = Mapping[str, Any]
Reader = Callable[[str, int | None], Json]

COLUMNS = ("signals", "coded")
ENTRIES = (
    "conditions",
    "medications",
    "procedures",
    "allergies",
    "immunizations",
    "family",
    "encounters",
)
REASONS = ("not-me", "wrong-value", "wrong-time", "never-was", "no-longer", "other")


class DisputeError(Exception):
    """What cannot be disputed, as a sentence with the next step."""


class State(StrEnum):
    OPEN = "open"
    CORRECTED = "corrected"  # the source says something else now
    WITHDRAWN = "withdrawn"  # the source does not say it any more


@dataclass(frozen=True, slots=True)
class Standing:
    """A dispute, and what the entry says: in the version that was looked at, and now."""

    dispute: Dispute
    state: State
    seen: Json = field(repr=False)
    now: Json = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Without any value: those stand in the versions."""
        one = self.dispute
        return {
            "source": one.place.source,
            "part": one.place.part,
            "name": one.place.name,
            "reason": one.reason,
            "version": one.version,
            "state": self.state.value,
        }


class Disputes:
    """`document`: a twin's document by pseudonym and version."""

    def __init__(self, database: Database, document: Reader) -> None:
        self._store = DisputeStore(database)
        self._audit = AuditStore(database)
        self._document = document

    def raise_(self, who: Principal, twin: str, place: Place, reason: str) -> Dispute:
        document = self._document(twin, None)
        if reason not in REASONS:
            raise DisputeError("choose what is wrong with it")
        if not facts_at(document, place):
            raise DisputeError("this entry is not in your twin any more; look at it again")
        made = self._store.raise_(twin, document["twin"]["version"], place, reason)
        self._note(who, "dispute", reason, twin)
        return made

    def take_back(self, who: Principal, twin: str, identity: str) -> bool:
        done = self._store.take_back(twin, identity)
        if done:
            self._note(who, "dispute-taken-back", "done", twin)
        return done

    def of(self, twin: str, document: Json | None = None) -> list[Standing]:
        """Against the newest version, or the one that is looked at."""
        found = self._store.of_twin(twin)
        if not found:
            return []
        now = document or self._document(twin, None)
        return [self._standing(one, now) for one in found]

    def _standing(self, one: Dispute, now: Json) -> Standing:
        seen = self._document(one.twin, one.version)
        return Standing(one, _state(facts_at(seen, one.place), facts_at(now, one.place)), seen, now)

    def _note(self, who: Principal, action: str, outcome: str, twin: str) -> None:
        self._audit.record(
            role=who.role, subject=who.subject, action=action, outcome=outcome, object=twin
        )


def _state(before: tuple[Json, ...], after: tuple[Json, ...]) -> State:
    if not after:
        return State.WITHDRAWN
    return State.OPEN if before == after else State.CORRECTED


def facts_at(document: Json, place: Place) -> tuple[Json, ...]:
    """What a twin says at one place, without where it stands."""
    ids = source_ids(document)
    if place.source not in ids:
        return ()
    position = ids.index(place.source)
    if place.part in COLUMNS:
        column = document[place.part].get(place.name, {})
        return tuple(fact for src, fact in rows(column) if src == position) if column else ()
    if place.part not in ENTRIES:
        return ()
    return tuple(
        {key: value for key, value in entry.items() if key != "src"}
        for entry in document.get(place.part, ())
        if entry["src"] == position
    )


def rests_on(document: Json, standings: list[Standing]) -> dict[str, int]:
    """By model: how many of the entries its answer was computed from are disputed."""
    ids = source_ids(document)
    disputed = {s.dispute.place.source for s in standings if s.state is State.OPEN}
    found = {
        item["model"]["id"]: len(
            disputed & {ids[src] for used in item["inputs"] for src in used.get("src", ())}
        )
        for item in document["assessments"]
    }
    return {model: count for model, count in found.items() if count}

"""What the twins of a policy are still good for, to stand beside their risk."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from privacy.explain import Amount
from service.stores.ledger_index import Place

Document = Mapping[str, Any]
SAMPLE = 200  # twins looked into


@dataclass(frozen=True, slots=True)
class Utility:
    """Of one policy. `told`: of the elements of the records, how many were kept or changed, the
    rest being removed. `answered`: of the models' outcomes asked for, how many got a number."""

    policy: str
    told: float
    twins: int
    readings: float
    concepts: float
    asked: int
    answered: float


def utility(policy: str, places: Iterable[Place], documents: Iterable[Document]) -> Utility:
    amounts: Counter[Amount] = Counter()
    for place in places:
        if place.policy == policy:
            amounts[place.amount] += place.leaves
    found = list(documents)
    given, asked = answers(found)
    total = amounts.total()
    return Utility(
        policy=policy,
        told=(total - amounts[Amount.REMOVED]) / total if total else 0.0,
        twins=len(found),
        readings=median(map(_readings, found)) if found else 0,
        concepts=median(len(document["signals"]) for document in found) if found else 0,
        asked=asked,
        answered=given / asked if asked else 0.0,
    )


def answers(documents: Iterable[Document]) -> tuple[int, int]:
    """Outcomes that got a number, and all that were asked for."""
    given = refused = 0
    for document in documents:
        for item in document.get("assessments", ()):
            given += len(item["results"])
            refused += len(item["refusals"])
    return given, given + refused


def _readings(document: Document) -> int:
    return sum(len(signal["t"]) for signal in document["signals"].values())

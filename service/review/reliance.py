"""How people and a model agree: for the committee, by model, never by person.

Whether it was right to follow a model is known from outcomes alone (`twinport models validate`).
What is told here are signs: a disagreement given up although the answer came with a reason for
doubt, and one kept although it came with none. Nothing is told of fewer reviews, or fewer people,
than the configuration asks for; a count below the smallest cell is shown as no more than that.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from service.review.agreement import Agreement
from service.stores.reviews import Decision, Review

Json = dict[str, Any]

_DIFFERED = frozenset({Agreement.BELOW, Agreement.ABOVE})


def reliance(reviews: Iterable[Review], *, smallest: int, fewest_people: int) -> list[Json]:
    """One entry for each model that anybody decided on."""
    by_model: dict[str, list[Review]] = {}
    for review in reviews:
        by_model.setdefault(review.about.model, []).append(review)
    return [
        _of_model(model, found, smallest, fewest_people)
        for model, found in sorted(by_model.items())
    ]


def _of_model(model: str, found: Sequence[Review], smallest: int, fewest_people: int) -> Json:
    people = len({review.reviewer for review in found})
    if len(found) < smallest or people < fewest_people:
        return {"model": model, "enough": False, "needs": _needs(smallest, fewest_people)}
    counts = Counter(name for review in found for name in _names(review))
    named = {name: told(counts[name], smallest) for name in NAMES}
    reasons = Counter(review.reason for review in found if review.reason)
    return {
        "model": model,
        "enough": True,
        "reviews": len(found),
        **named,
        "reasons": {reason: told(n, smallest) for reason, n in sorted(reasons.items())},
        "secondsToEstimate": _median(r.opened and r.shown and (r.shown - r.opened) for r in found),
        "secondsToDecision": _median(
            r.shown and r.decided and (r.decided - r.shown) for r in found
        ),
    }


NAMES = (
    "withoutEstimate",
    "agreedBefore",
    "estimatedLower",
    "estimatedHigher",
    "accepted",
    "overridden",
    "agreedAfter",
    "gaveUpOwnEstimate",
    "keptOwnEstimate",
    "signsOfOverReliance",
    "signsOfUnderReliance",
)


def _names(review: Review) -> Iterable[str]:
    """What one decided review counts towards."""
    agreed, accepted = review.agreed, review.decision is Decision.ACCEPTED
    yield "accepted" if accepted else "overridden"
    if agreed in (None, Agreement.NONE):
        yield "withoutEstimate"
    if agreed == Agreement.AGREES:
        yield "agreedBefore"
        yield from () if accepted else ("signsOfUnderReliance",)
    if accepted:
        yield "agreedAfter"
    if agreed == Agreement.BELOW:
        yield "estimatedLower"
    if agreed == Agreement.ABOVE:
        yield "estimatedHigher"
    if agreed in _DIFFERED:
        yield "gaveUpOwnEstimate" if accepted else "keptOwnEstimate"
        if accepted and review.warned:
            yield "signsOfOverReliance"
        if not accepted and not review.warned:
            yield "signsOfUnderReliance"


def told(count: int, smallest: int) -> int | str:
    return count if count == 0 or count >= smallest else f"<{smallest}"


def _needs(smallest: int, people: int) -> str:
    return f"{smallest} reviews by {people} people"


def _median(spans: Iterable[Any]) -> float | None:
    found = [span.total_seconds() for span in spans if span]
    return round(median(found), 1) if found else None

"""A review on the page: the question, what was estimated, and how the two stand to each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from service.pages import assessed, record, words
from service.review.agreement import Agreement
from service.review.verdicts import REASONS, Reason
from service.stores.reviews import Charted, Decision, Review
from service.web.errors import Fault, WebError

Json = Mapping[str, Any]

_LONGEST = 20
AGREED = {
    Agreement.AGREES: "You and the model agree: the same category, or inside its range.",
    Agreement.BELOW: "You thought lower than the model.",
    Agreement.ABOVE: "You thought higher than the model.",
    Agreement.NONE: "",
}
CHARTED = {
    Charted.NONE: "It was not written to a chart, so nothing was changed there.",
    Charted.PENDING: "Not yet in the chart: its server could not be reached. It is tried again.",
    Charted.REFUSED: "The chart's server did not take the change.",
    Charted.WRITTEN: "Written into the chart.",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is estimated, in which unit, and how far the field goes."""

    text: str
    unit: str
    top: str


def question(result: Json, card: Json) -> Question:
    name = words.outcome(result["outcome"], card)
    if not assessed.is_share(result):
        return Question(f"{name}: your estimate", words.unit(result["unit"]) or "points", "")
    years = f"{result['horizonYears']:g} years"
    return Question(
        f"Of 100 people like this one, how many will have it within {years}: {name.lower()}?",
        "of 100",
        "100",
    )


def parsed(text: str, result: Json) -> float:
    """What was typed, as the result counts it; `8`, `7.5` and `7,5` of 100 are shares."""
    try:
        value = float(text.strip()[:_LONGEST].replace(",", "."))
    except ValueError:
        value = float("nan")
    highest = 100 if assessed.is_share(result) else 1e6
    if not isfinite(value) or not 0 <= value <= highest:
        step = f"Give a number from 0 to {highest:g}."
        raise WebError("invalid", faults=[Fault("/estimate", step)], next_step=step)
    return value / 100 if assessed.is_share(result) else value


def optional(text: str, result: Json) -> float | None:
    return parsed(text, result) if text.strip() else None


@dataclass(frozen=True, slots=True)
class State:
    """Where a result stands: one line for the board, more for its page."""

    decided: bool
    accepted: bool
    label: str
    detail: str


def state(decided: Review | None, now: Any) -> State:
    if decided is None or decided.decision is None or decided.decided is None:
        return State(False, False, "preliminary", "")
    accepted = decided.decision is Decision.ACCEPTED
    when = record.since(decided.decided, now)
    label = f"accepted {when}" if accepted else f"not accepted {when}"
    reason = REASONS.get(decided.reason or "")
    detail = f"{reason.label}. " if reason else ""
    chart = CHARTED[decided.chart] if decided.chart else ""
    return State(True, accepted, label, f"{detail}{chart}".strip())


def estimate(review: Review | None, result: Json) -> str:
    """What was estimated, as the result is shown."""
    if review is None or review.shown is None:
        return ""
    if review.estimate is None:
        return "none given"
    return assessed.figure(review.estimate, result)


def agreement(review: Review | None) -> str:
    return AGREED[Agreement(review.agreed)] if review and review.agreed else ""


def differs(review: Review | None) -> bool:
    return review is not None and review.agreed in (Agreement.BELOW, Agreement.ABOVE)


def reasons(decision: Decision) -> Sequence[Reason]:
    return [reason for reason in REASONS.values() if reason.decision is decision]

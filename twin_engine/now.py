"""What a person's value of one concept is now: latest, usual, what changed, trend, how sure.

The numbers come from the state, what a repeated measurement would give from the cited table of
variation. Where that has no row, no span and no limit is given, and the change is shown alone.
"""

import statistics
from typing import NamedTuple

from twin_engine import course
from twin_engine.state import Missing, Reading, State, Usual
from twin_engine.variation import Variation, applying

USUAL_DAYS = 365
CHANGE_DAYS = 730
TREND_DAYS = 1826
EGFR_DAYS = 730  # how old an eGFR may be that picks a row of the table
EGFR = "egfr-ckdepi-2021"
DIABETES = ("diabetes-any", "diabetes-type-1", "diabetes-type-2")
CHOICES = {"female": 0.0, "male": 1.0}


class Change(NamedTuple):
    """The latest value against the mean of the days before it; `share` is relative to that mean.

    `limits` is what repetition alone may give, None where no citable variation exists; `beyond`
    says whether the difference is larger.
    """

    before: float
    n: int  # days in that mean
    share: float
    limits: course.Limits | None
    beyond: bool | None


class Trend(NamedTuple):
    """A straight line through the daily means of the window; `share`: of their median, over the
    whole span of the readings."""

    slope: course.Slope
    direction: course.Direction
    share: float
    limits: course.Limits | None
    sources: tuple[int, ...]


class Span(NamedTuple):
    """Where a level lies, were it measured again."""

    low: float
    high: float


class Basis(NamedTuple):
    """What the spans and limits rest on: one reading's standard deviation on the logarithm."""

    log_sd: float
    citation: str


class Now(NamedTuple):
    """What a person's value of one concept is now, how sure, and from which facts."""

    concept: str
    latest: Reading | Missing
    latest_span: Span | None
    usual: Usual | Missing
    usual_span: Span | None
    change: Change | None
    trend: Trend | None
    basis: Basis | None  # None: no citable variation, so that no span and no limit is given


def value_now(state: State, concept: str) -> Now:
    """Everything at once. The latest day is compared with the two years before it; a trend is of
    the last five years."""
    latest, usual = state.latest(concept), state.usual(concept, USUAL_DAYS)
    basis = _basis(_variation(state, concept, latest))
    spread = basis and basis.log_sd
    return Now(
        concept,
        latest,
        _span(latest, 1, spread),
        usual,
        _span(usual, usual.n if isinstance(usual, Usual) else 1, spread),
        _change(state, concept, latest, spread),
        _trend(state, concept, spread),
        basis,
    )


def _variation(state: State, concept: str, latest: Reading | Missing) -> Variation | None:
    """The row of the table that holds for this person."""
    known: dict[str, float | bool | None] = {
        "sex": CHOICES.get(state.sex),
        "diabetes": state.condition(*DIABETES).value,
        "heart_failure": state.condition("heart-failure").value,
        EGFR.replace("-", "_"): _number(state.latest(EGFR, EGFR_DAYS)),
        concept.replace("-", "_"): _number(latest),
    }
    context = {name: float(value) for name, value in known.items() if value is not None}
    return applying(concept, context, CHOICES)


def _basis(variation: Variation | None) -> Basis | None:
    if variation is None or variation.fixed or not variation.routine:
        return None
    return Basis(variation.log_spread(), variation.citation)


def _number(reading: Reading | Missing) -> float | None:
    return None if isinstance(reading, Missing) else reading.value


def _span(level: Reading | Usual | Missing, n: int, spread: float | None) -> Span | None:
    if spread is None or isinstance(level, Missing) or level.value <= 0:
        return None
    return Span(*course.if_repeated(level.value, spread, n))


def _change(
    state: State, concept: str, latest: Reading | Missing, spread: float | None
) -> Change | None:
    if isinstance(latest, Missing):
        return None
    (day,) = state.by_day([latest])
    earlier = [
        value
        for other, value in state.by_day(state.dated(concept)).items()
        if day - CHANGE_DAYS <= other < day
    ]
    before = statistics.fmean(earlier) if earlier else 0.0
    if before <= 0:
        return None
    share = latest.value / before - 1
    limits = None if spread is None else course.reference_change(spread, before=len(earlier))
    beyond = None if limits is None else limits.beyond(share)
    return Change(before, len(earlier), share, limits, beyond)


def _trend(state: State, concept: str, spread: float | None) -> Trend | None:
    readings = state.dated(concept, TREND_DAYS)
    days = state.by_day(readings)
    found = course.slope(sorted(days.items()))
    if found is None:
        return None
    limits = None if spread is None else course.reference_change(spread)
    share = course.over_span(found, statistics.median(days.values()))
    sources = tuple(sorted({source for one in readings for source in one.sources}))
    return Trend(found, course.direction(found, share, limits), share, limits, sources)

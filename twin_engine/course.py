"""How one quantity moved in one person: a difference against what repetition alone would give, and
a robust slope with its interval. Pure arithmetic over days and values; nothing here knows a twin.

A difference within the reference change value cannot be told from within-person and measurement
variation, which does not make it none; one beyond it is real, which does not make it important.
"""

from collections.abc import Sequence
from math import exp, expm1, sqrt
from statistics import NormalDist
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

LEVEL = 0.95
DAYS_PER_YEAR = 365.25
# Five days are the fewest that can show a slope at this level: with four, one order in twelve
# would look like a trend.
FEWEST_DAYS = 5
SHORTEST_SPAN = 90  # days: what moves faster is an illness, and no straight line

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)

Direction: TypeAlias = Literal["rising", "falling", "no-clear-change"]
Days: TypeAlias = Sequence[tuple[float, float]]  # (day, value), each day once, oldest first


class Limits(NamedTuple):
    """The reference change value, as shares of the earlier value: -0.14 and 0.17."""

    down: float
    up: float

    def beyond(self, share: float) -> bool:
        return not self.down <= share <= self.up


class Slope(NamedTuple):
    """Units a year, after Theil and Sen, with the interval of Sen; and over which days."""

    value: float
    low: float
    high: float
    n: int
    span_days: float

    @property
    def clear(self) -> bool:
        return self.low > 0 or self.high < 0


def reference_change(log_sd: float, before: int = 1, after: int = 1) -> Limits:
    """What two means of so many readings may differ by, though nothing changed.

    Log-normal, and so not symmetric (Fokkema 2006; Fraser, Biological Variation, 2001).
    """
    width = _Z * log_sd * sqrt(1 / before + 1 / after)
    return Limits(expm1(-width), expm1(width))


def if_repeated(value: float, log_sd: float, n: int = 1) -> tuple[float, float]:
    """Where the level of a person lies of whom so many readings have this mean."""
    width = _Z * log_sd / sqrt(n)
    return value * exp(-width), value * exp(width)


def slope(days: Days) -> Slope | None:
    """None where there are too few days, or they lie too close together, to speak of a trend."""
    if len(days) < FEWEST_DAYS or days[-1][0] - days[0][0] < SHORTEST_SPAN:
        return None
    times, values = (np.array(column, dtype=np.float64) for column in zip(*days, strict=True))
    first, second = np.triu_indices(len(days), 1)
    pairs = np.sort((values[second] - values[first]) / (times[second] - times[first]))
    low, high = _interval(values, pairs)
    per_year = DAYS_PER_YEAR
    return Slope(
        float(np.median(pairs)) * per_year,
        low * per_year,
        high * per_year,
        len(days),
        float(times[-1] - times[0]),
    )


def _interval(
    values: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    pairs: "np.ndarray[tuple[int], np.dtype[np.float64]]",
) -> tuple[float, float]:
    """Sen 1968, equation 2.6: ranks of the slopes, the variance corrected for equal values."""
    n, slopes = len(values), len(pairs)
    _, equal = np.unique(values, return_counts=True)
    ties = float((equal * (equal - 1) * (2 * equal + 5)).sum())
    width = _Z * sqrt(max(n * (n - 1) * (2 * n + 5) - ties, 0.0) / 18)
    upper = min(round((slopes + width) / 2), slopes - 1)
    lower = max(round((slopes - width) / 2) - 1, 0)
    return float(pairs[lower]), float(pairs[upper])


def over_span(found: Slope, level: float) -> float:
    """The way a slope goes over all its days, as a share of the level; 0 where there is none."""
    return found.value / DAYS_PER_YEAR * found.span_days / level if level > 0 else 0.0


def direction(found: Slope, share: float, limits: Limits | None) -> Direction:
    """A trend is told where its interval holds no standstill and, where variation is known, the
    way over its whole span is more than repetition of one reading would give."""
    if not found.clear or (limits is not None and not limits.beyond(share)):
        return "no-clear-change"
    return "rising" if found.value > 0 else "falling"

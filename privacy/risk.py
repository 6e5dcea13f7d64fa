"""Disclosure risk, measured on plain rows: never asserted.

`measure` counts classes of records that share their quasi-identifiers, `diversity` what stays open
inside them. `population_uniques` estimates how many unique records of the sample are unique in a
population (Zayatz; Pitman; shifted negative binomial; chosen as Dankar et al. recommend, BMC Med
Inform Decis Mak 2012;12:66, doi 10.1186/1472-6947-12-66). In a `Crowd` an attacker who knows k
facts of each target looks for it, and few facts of a record may suffice to single it out.

A single twin has no k of its own: these are measures of a set of twins.
"""

import math
import random
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Z95 = 1.959963984540054
ATTACKS = (1, 2, 3, 4, 7, 10)  # facts an attacker may know
SMALL_FRACTION = 0.1  # up to this sampling fraction Pitman's estimator is the better one


# Classes ------------------------------------------------------------------------------------------

Classes = Mapping[Any, int]  # quasi-identifiers → how many records share them


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one set of records. A journalist's risk needs the population's class sizes."""

    records: int
    classes: int
    k: int
    unique: int
    prosecutor_worst: float
    prosecutor_mean: float
    below: float  # share of records in classes smaller than the wanted k
    journalist_worst: float | None = None
    journalist_mean: float | None = None
    marketer: float | None = None


def measure(classes: Classes, *, wanted_k: int = 11, population: Classes | None = None) -> Measures:
    """`population`: of each class, how many people it has outside as well as inside the set."""
    sizes = classes.values()
    n = sum(sizes)
    if n == 0:
        return Measures(0, 0, 0, 0, 0.0, 0.0, 0.0)
    smallest = min(sizes)
    found = Measures(
        records=n,
        classes=len(classes),
        k=smallest,
        unique=sum(size == 1 for size in sizes),
        prosecutor_worst=1 / smallest,
        prosecutor_mean=len(classes) / n,
        below=sum(size for size in sizes if size < wanted_k) / n,
    )
    return found if population is None else _outside(found, classes, population)


def _outside(found: Measures, classes: Classes, population: Classes) -> Measures:
    """A class cannot be smaller in the population than it is in the set."""
    known = {row: max(size, population.get(row, 0)) for row, size in classes.items()}
    mean = sum(size / known[row] for row, size in classes.items()) / found.records
    return replace(
        found,
        journalist_worst=1 / min(known.values()),
        journalist_mean=max(found.classes / sum(known.values()), mean),
        marketer=mean,
    )


@dataclass(frozen=True, slots=True)
class Diversity:
    """How much stays open about the members of a class: l-diversity, in its worst class."""

    distinct: int  # different sensitive values
    entropy: float  # exp of the entropy of the sensitive values
    disclosed: int  # records whose class, of two or more, shares one sensitive value


def diversity(rows: Sequence[Hashable], sensitive: Sequence[Hashable]) -> Diversity | None:
    """None of an empty set."""
    values: dict[Hashable, Counter[Hashable]] = {}
    for row, value in zip(rows, sensitive, strict=True):
        values.setdefault(row, Counter())[value] += 1
    if not values:
        return None
    alike = [found.total() for found in values.values() if len(found) == 1]
    return Diversity(
        distinct=min(len(found) for found in values.values()),
        entropy=min(math.exp(_entropy(found)) for found in values.values()),
        disclosed=sum(size for size in alike if size > 1),
    )


def _entropy(found: Counter[Hashable]) -> float:
    total = found.total()
    return -sum(n / total * math.log(n / total) for n in found.values())


# Uniqueness in the population ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many records of the population are unique. Good for one significant figure."""

    uniques: float
    estimator: str
    fraction: float

    @property
    def rounded(self) -> float:
        if self.uniques <= 0:
            return 0.0
        digits = -math.floor(math.log10(self.uniques))
        return round(self.uniques, digits)


def population_uniques(classes: Classes, population: int) -> Estimate:
    """The estimator that Dankar et al. found best for the sampling fraction."""
    histogram = Counter(classes.values())
    n = _records(histogram)
    if population < n:
        raise ValueError("the population is not smaller than the sample")
    fraction = n / population if population else 0.0
    if not histogram[1]:
        return Estimate(0.0, "none unique", fraction)
    first = zayatz(histogram, population)
    if fraction <= SMALL_FRACTION:
        found = pitman(histogram, population)
        return Estimate(first, "Zayatz", fraction) if found is None else Estimate(
            found, "Pitman", fraction
        )  # fmt: skip
    other = shifted_negative_binomial(histogram, population)
    if other is None or first <= other:
        return Estimate(first, "Zayatz", fraction)
    return Estimate(other, "SNB", fraction)


def zayatz(histogram: Counter[int], population: int) -> float:
    n, u = _records(histogram), sum(histogram.values())
    weights = {
        size: count / u * _one_of(size, population, n) for size, count in histogram.items() if count
    }
    share = weights.get(1, 0.0) / sum(weights.values())
    return histogram[1] * share * population / n


def _records(histogram: Counter[int]) -> int:
    return sum(size * count for size, count in histogram.items())


def _one_of(size: int, population: int, n: int) -> float:
    """The probability to draw exactly one of `size` in n draws (hypergeometric)."""
    if population - size < n - 1:
        return 0.0
    return size * math.exp(_choose(population - size, n - 1) - _choose(population, n))


def _choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def pitman(histogram: Counter[int], population: int) -> float | None:
    """Ewens-Pitman sampling formula, by maximum likelihood; None where there is no maximum."""
    fitted = fit_pitman(histogram)
    if fitted is None:
        return None
    theta, alpha = fitted
    log = math.lgamma(theta + 1) - math.lgamma(theta + alpha) + alpha * math.log(population)
    return math.exp(log)


def fit_pitman(histogram: Counter[int], steps: int = 100) -> tuple[float, float] | None:
    """Newton's method on the likelihood's two derivatives, from the usual moment estimate."""
    n, u, one, two = _records(histogram), sum(histogram.values()), histogram[1], histogram[2]
    if not two or one < 2 or u < 2:
        return None
    c = one * (one - 1) / two
    below = 2 * one * u + one * c - n * c
    if below == 0:
        return None
    theta = (n * u * c - one * (n - 1) * (2 * u + c)) / below
    alpha = (theta * (one - n) + (n - 1) * one) / (n * u)
    point = np.array([max(theta, 0.1), min(max(alpha, 0.01), 0.99)])
    for _ in range(steps):
        slope, curve = _pitman_slope(histogram, n, u, float(point[0]), float(point[1]))
        if abs(np.linalg.det(curve)) < 1e-300:
            return None
        move = np.linalg.solve(curve, slope)
        while not _allowed(point - move):
            move = move / 2
        point = point - move
        if float(np.abs(move).max()) < 1e-10:
            return float(point[0]), float(point[1])
    return None


def _allowed(point: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> bool:
    return bool(0 < point[1] < 1 and point[0] > -point[1])


def _pitman_slope(
    histogram: Counter[int], n: int, u: int, theta: float, alpha: float
) -> tuple[
    "np.ndarray[tuple[int], np.dtype[np.float64]]",
    "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
]:
    i = np.arange(1, u)
    step, flat = theta + i * alpha, theta + np.arange(1, n)
    slope_alpha, curve_alpha = float((i / step).sum()), -float((i**2 / step**2).sum())
    for size, count in histogram.items():
        j = np.arange(1, size) - alpha
        slope_alpha -= count * float((1 / j).sum())
        curve_alpha -= count * float((1 / j**2).sum())
    slope = np.array([float((1 / step).sum() - (1 / flat).sum()), slope_alpha])
    across = -float((i / step**2).sum())
    curve_theta = float((1 / flat**2).sum() - (1 / step**2).sum())
    return slope, np.array([[curve_theta, across], [across, curve_alpha]])


def shifted_negative_binomial(histogram: Counter[int], population: int) -> float | None:
    """Class sizes as one plus a negative binomial; None where the equations have no solution."""
    f = _records(histogram) / population
    classes = shlosser(histogram, f)
    wanted = np.array([histogram[1], histogram[2]], dtype=np.float64)
    solved = _solve_snb(classes, f, wanted)
    return None if solved is None else classes * solved[1] ** solved[0]


def shlosser(histogram: Counter[int], f: float) -> float:
    """Classes in the population (modified Shlosser), from the sample's."""
    u, one, q = sum(histogram.values()), histogram[1], 1 - f
    sizes = [(k, s) for k, s in histogram.items() if s]
    first = sum(k * f**2 * (1 - f**2) ** (k - 1) * s for k, s in sizes)
    second = sum(q**k * ((1 + f) ** k - 1) * s for k, s in sizes)
    third = sum(q**k * s for k, s in sizes)
    fourth = sum(k * f * q ** (k - 1) * s for k, s in sizes)
    return u + one * (first / second) * (third / fourth) ** 2


def _snb(classes: float, f: float, alpha: float, beta: float) -> tuple[float, float]:
    """Expected classes of one and of two in the sample."""
    d = (1 - f) * (1 - beta)
    one = classes * f * (beta / (1 - d)) ** alpha * (alpha * d / (1 - d) + 1)
    two = classes * alpha * beta**alpha * f**2 * (1 - beta) * (2 - (1 - alpha) * d)
    return one, two / (2 * (1 - d) ** (alpha + 2))


def _solve_snb(
    classes: float, f: float, wanted: "np.ndarray[tuple[int], np.dtype[np.float64]]"
) -> tuple[float, float] | None:
    """Newton's method in log alpha and logit beta, from the best point of a coarse grid."""

    def miss(x: float, y: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.array(_snb(classes, f, math.exp(x), 1 / (1 + math.exp(-y)))) / wanted - 1

    if not wanted.all():
        return None
    grid = [(x / 2, y / 2) for x in range(-14, 8) for y in range(-14, 8)]
    point = np.array(min(grid, key=lambda at: float(np.abs(miss(*at)).sum())))
    for _ in range(200):
        here = miss(*point)
        if float(np.abs(here).max()) < 1e-10:
            return math.exp(float(point[0])), 1 / (1 + math.exp(-float(point[1])))
        nudge = 1e-6
        slope = np.column_stack(
            [(miss(point[0] + nudge, point[1]) - here) / nudge,
             (miss(point[0], point[1] + nudge) - here) / nudge]
        )  # fmt: skip
        if abs(np.linalg.det(slope)) < 1e-14:
            return None
        move = np.linalg.solve(slope, here)
        point = point - move * min(1.0, 2.0 / float(np.abs(move).max()))
        if float(np.abs(point).max()) > 30:
            return None
    return None


# The attacker -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attack:
    """What an attacker reaches who knows `known` facts of a target that is in the set."""

    known: int
    targets: int
    success: float  # chance to name the right record
    unicity: float  # share of draws that fit one record alone
    low: float  # of success, with 95 % confidence over targets (Wilson)
    high: float
    worst_decile: float  # success against the tenth of targets that is easiest to find


class Crowd:
    """Records as the facts they hold, in which somebody who knows some facts looks for one."""

    def __init__(self, records: Sequence[Collection[Hashable]]) -> None:
        self._sets = [frozenset(facts) for facts in records]
        self._holders: dict[Hashable, set[int]] = {}
        for number, facts in enumerate(self._sets):
            for fact in facts:
                self._holders.setdefault(fact, set()).add(number)

    def attack(
        self,
        known: int,
        *,
        targets: Collection[int] | None = None,
        draws: int = 20,
        seed: int = 1,
    ) -> Attack | None:
        """Draw `known` facts from each target and look who fits; None where nobody has as many.

        `targets` are positions; without them everybody is looked for.
        """
        rng = random.Random(seed)  # noqa: S311 - a simulation that must give the same result again
        success, unicity = [], []
        for facts in self._chosen(targets):
            if len(facts) < known:
                continue
            ordered = sorted(facts, key=repr)
            fits = [self._fitting(rng.sample(ordered, known)) for _ in range(draws)]
            success.append(sum(1 / size for size in fits) / draws)
            unicity.append(sum(size == 1 for size in fits) / draws)
        return _attack(known, success, unicity) if success else None

    def needed(self, targets: Collection[int] | None = None) -> list[int | None]:
        """Of each record, how many facts single it out, rarest first; None: all of them do not."""
        return [self._needed(facts) for facts in self._chosen(targets)]

    def _chosen(self, targets: Collection[int] | None) -> Sequence[frozenset[Hashable]]:
        return self._sets if targets is None else [self._sets[number] for number in targets]

    def _fitting(self, facts: Sequence[Hashable]) -> int:
        smallest_first = sorted((self._holders[fact] for fact in facts), key=len)
        return len(set.intersection(*smallest_first))

    def _needed(self, facts: frozenset[Hashable]) -> int | None:
        """Greedy: the next fact is the one that leaves fewest. An attacker needs no more."""
        left: set[int] | None = None
        remaining = sorted(facts, key=repr)
        for count in range(1, len(facts) + 1):
            kept = [
                self._holders[f] if left is None else self._holders[f] & left for f in remaining
            ]
            best = min(range(len(remaining)), key=lambda i: len(kept[i]))
            left = kept[best]
            del remaining[best]
            if len(left) == 1:
                return count
        return None


def _attack(known: int, success: Sequence[float], unicity: Sequence[float]) -> Attack:
    mean = sum(success) / len(success)
    low, high = wilson(mean, len(success))
    worst = sorted(success, reverse=True)[: max(1, len(success) // 10)]
    unique = sum(unicity) / len(unicity)
    return Attack(known, len(success), mean, unique, low, high, sum(worst) / len(worst))


def wilson(share: float, n: int, z: float = Z95) -> tuple[float, float]:
    """The interval of a share of n."""
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)

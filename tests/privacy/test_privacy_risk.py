"""Risk measures against vectors computed apart from this code, and against exhaustive counting."""

import itertools
import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.risk import (
    Crowd,
    diversity,
    fit_pitman,
    measure,
    pitman,
    population_uniques,
    shifted_negative_binomial,
    shlosser,
    wilson,
    zayatz,
)
from privacy.thresholds import THRESHOLDS

# Ten records in four classes, with a diagnosis each.
CLASSES = ["c1"] * 4 + ["c2"] * 3 + ["c3"] * 2 + ["c4"]
SENSITIVE = ["flu", "flu", "hiv", "flu", "flu", "ca", "hiv", "ca", "ca", "flu"]
POPULATION = {"c1": 40, "c2": 6, "c3": 20, "c4": 5}

# Number of classes by size: 255 records in 153 classes.
HISTOGRAM = Counter({1: 100, 2: 30, 3: 15, 5: 6, 10: 2})

PERSONS = [{1, 2, 3}, {1, 2, 4}, {1, 2, 3}, {5, 6, 7}, {1, 5}, {2, 3}]


def classes_of(histogram: Counter[int]) -> dict[int, int]:
    return dict(enumerate(histogram.elements()))


def test_classes_and_attackers() -> None:
    found = measure(Counter(CLASSES), population=POPULATION)
    assert (found.records, found.classes, found.k, found.unique) == (10, 4, 1, 1)
    assert found.prosecutor_mean == 0.4
    assert found.journalist_worst == pytest.approx(0.2)
    assert found.journalist_mean == pytest.approx(0.09)
    assert found.marketer == pytest.approx(0.09)
    assert found.below == 1.0
    assert measure(Counter(CLASSES), wanted_k=3).below == pytest.approx(0.3)
    assert measure({}).k == 0
    assert measure(Counter(CLASSES)).journalist_mean is None  # unknown, and not the prosecutor's


def test_a_class_is_never_smaller_outside_than_it_is_inside() -> None:
    found = measure({"a": 3, "b": 2}, population={"a": 1})
    assert (found.journalist_worst, found.marketer) == (1 / 2, 2 / 5)


REFERENCE = json.loads((Path(__file__).parent / "pycanon_reference.json").read_text("utf-8"))


@pytest.mark.parametrize("table", REFERENCE["tables"], ids=range(len(REFERENCE["tables"])))
def test_classes_and_diversity_are_those_of_pycanon(table: dict[str, Any]) -> None:
    rows = [(sex, age) for sex, age, _ in table["rows"]]
    assert measure(Counter(rows)).k == table["k"]
    found = diversity(rows, [sensitive for _, _, sensitive in table["rows"]])
    assert found is not None
    assert (found.distinct, math.floor(found.entropy)) == (
        table["distinct"],
        table["entropyWhole"],
    )


def test_diversity_of_classes_worked_out_by_hand() -> None:
    parts = [
        diversity([row for row in CLASSES if row == name], [
            s for row, s in zip(CLASSES, SENSITIVE, strict=True) if row == name
        ])
        for name in ("c1", "c2", "c3", "c4")
    ]  # fmt: skip
    assert [part.distinct for part in parts if part] == [2, 3, 1, 1]
    assert [round(part.entropy, 4) for part in parts if part] == [1.7548, 3, 1, 1]
    whole = diversity(CLASSES, SENSITIVE)
    assert whole is not None
    assert (whole.distinct, whole.entropy, whole.disclosed) == (1, 1.0, 2)  # both of c3 have ca
    assert diversity([], []) is None


@pytest.mark.parametrize(
    ("population", "first", "second", "third", "classes"),
    [
        (1000, 217.34, 173.58, 159.87, 332.10),
        (2500, 451.04, 196.98, 303.35, 567.097),
        (10000, 1606.22, 238.50, 1241.25, 1636.505),
    ],
)
def test_estimators_of_uniques(
    population: int, first: float, second: float, third: float, classes: float
) -> None:
    assert zayatz(HISTOGRAM, population) == pytest.approx(first, abs=0.006)
    assert pitman(HISTOGRAM, population) == pytest.approx(second, abs=0.006)
    assert shlosser(HISTOGRAM, 255 / population) == pytest.approx(classes, abs=0.006)
    assert shifted_negative_binomial(HISTOGRAM, population) == pytest.approx(third, abs=0.006)


def test_the_fit_is_where_the_likelihood_is_highest() -> None:
    fitted = fit_pitman(HISTOGRAM)
    assert fitted == (pytest.approx(131.0865, abs=1e-3), pytest.approx(0.137973, abs=1e-6))


def test_the_estimator_is_chosen_by_the_sampling_fraction() -> None:
    classes = classes_of(HISTOGRAM)
    few, many = population_uniques(classes, 10_000), population_uniques(classes, 1_000)
    assert (few.estimator, few.rounded) == ("Pitman", 200)
    assert (many.estimator, many.rounded) == ("SNB", 200)
    assert population_uniques({1: 2, 2: 2}, 100).uniques == 0
    assert population_uniques({1: 1, 2: 1}, 1000).estimator == "Zayatz"  # no fit without pairs
    with pytest.raises(ValueError, match="not smaller than the sample"):
        population_uniques(classes, 100)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 200, 0.0, 0.019), (7, 200, 0.017, 0.070)]
)
def test_wilson(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits / n, n) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


@pytest.mark.parametrize(
    ("known", "persons", "success", "unicity"),
    [(1, 6, 23 / 54, 1 / 6), (2, 6, 35 / 54, 4 / 9), (3, 4, 3 / 4, 1 / 2)],
)
def test_the_attacker_reaches_what_exhaustive_counting_says(
    known: int, persons: int, success: float, unicity: float
) -> None:
    found = Crowd(PERSONS).attack(known, draws=6000)
    assert found is not None
    assert found.targets == persons
    assert found.success == pytest.approx(success, abs=0.01)
    assert found.unicity == pytest.approx(unicity, abs=0.01)
    assert found.low < found.success < found.high


def test_an_attack_can_be_repeated_and_needs_enough_facts() -> None:
    crowd = Crowd(PERSONS)
    assert crowd.attack(2, seed=7) == Crowd(PERSONS).attack(2, seed=7)
    assert crowd.attack(4) is None
    assert Crowd([]).attack(1) is None
    alone = crowd.attack(3, targets=[3])
    assert alone is not None
    assert (alone.targets, alone.unicity) == (1, 1.0)


def test_values_of_a_panel_that_single_it_out() -> None:
    panels: list[set[Any]] = [{("a", 1), ("b", 2)}, {("a", 1), ("b", 3)}, {("a", 9)}, {("a", 1)}]
    assert Crowd(panels).needed() == [1, 1, 1, None]
    assert Crowd([{1, 2}, {1, 3}, {2, 3}, {1, 2, 3}]).needed() == [None, None, None, 3]
    assert Crowd(panels).needed(targets=[3, 0]) == [None, 1]


@given(st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=1, max_size=8))
def test_as_many_values_as_are_said_to_single_out_do_so(panels: list[set[int]]) -> None:
    for panel, needed in zip(panels, Crowd(panels).needed(), strict=True):
        holding = [other for other in panels if panel <= other]
        assert (needed is None) == (len(holding) > 1)
        if needed is not None:
            combos = itertools.combinations(sorted(panel), needed)
            assert any(sum(set(c) <= other for other in panels) == 1 for c in combos)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_measures_are_consistent(rows: list[int]) -> None:
    found = measure(Counter(rows))
    assert found.unique == sum(count == 1 for count in Counter(rows).values())
    assert 1 / found.records <= found.prosecutor_mean <= found.prosecutor_worst <= 1
    estimate = population_uniques(Counter(rows), 10 * len(rows))
    assert estimate.uniques >= 0
    random.Random(0).shuffle(rows)
    assert measure(Counter(rows)) == found


def test_thresholds_pair_a_risk_with_a_class_size_and_a_source() -> None:
    assert {(t.risk, t.k) for t in THRESHOLDS if t.risk} == {(0.09, 11), (0.075, 15), (0.05, 20)}
    assert all(t.source for t in THRESHOLDS)

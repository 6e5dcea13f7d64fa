"""Whether an estimate and an answer say the same: in one category, or inside the range."""

from typing import Any

import pytest

from service.review.agreement import Agreement, compare, headline, warned
from twin_engine.models.registry import get

INPUTS = [
    {"input": "age", "value": 54.0, "unit": "a", "how": "subject"},
    {"input": "sex", "value": "female", "how": "subject"},
    {"input": "smoking-current", "value": False, "how": "coded"},
]


def result(value: float, outcome: str = "total-cvd", years: int = 10, **more: Any) -> Any:
    return {"outcome": outcome, "horizonYears": years, "value": value, "unit": "1", **more}


def answer(*results: Any, **more: Any) -> Any:
    return {"results": list(results), "inputs": INPUTS, "answer": "given", **more}


@pytest.mark.parametrize(
    ("estimate", "value", "interval", "agreement"),
    [
        # 7.5 % is the limit of the 2025 AHA/ACC hypertension guideline.
        (0.01, 0.074, None, "agrees"),
        (0.08, 0.074, None, "above"),
        (0.08, 0.074, (0.06, 0.09), "agrees"),  # inside the range, though in another category
        (0.08, 0.20, None, "agrees"),
        (0.07, 0.20, (0.15, 0.25), "below"),
        (None, 0.20, None, "none"),
        (0.0, 0.05, None, "agrees"),
        (1.0, 1.0, None, "agrees"),
    ],
)
def test_an_estimate_against_an_answer_with_categories(
    estimate: float | None, value: float, interval: Any, agreement: str
) -> None:
    spread = {"interval": dict(zip(("low", "high"), interval, strict=True))} if interval else {}
    one = result(value, **spread)
    assert compare(estimate, one, answer(one), get("prevent")) == Agreement(agreement)


def test_categories_that_depend_on_the_person_are_those_of_this_person() -> None:
    """SCORE2's limits rise with age (ESC 2021): 6 % is high at 45 and low to moderate at 72."""
    score2 = get("score2")
    one = result(0.06, "cvd")
    young = [{"input": "age", "value": 45.0, "how": "subject"}]
    old = [{"input": "age", "value": 72.0, "how": "subject"}]
    both = [compare(0.02, one, answer(one) | {"inputs": inputs}, score2) for inputs in (young, old)]
    assert both == [Agreement.BELOW, Agreement.AGREES]


def test_without_category_and_range_there_is_nothing_to_compare_by() -> None:
    one = result(0.3, "kidney-failure", 5)
    assert compare(0.2, one, answer(one), get("kfre")) is Agreement.NONE


def test_the_first_outcome_at_its_shortest_horizon_is_estimated() -> None:
    results = [result(0.3, years=30), result(0.1, "ascvd"), result(0.2)]
    found = headline(answer(*results), get("prevent"))
    assert (found["outcome"], found["horizonYears"]) == ("total-cvd", 10)


@pytest.mark.parametrize(
    ("more", "past", "doubt"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"answer": "partial"}, False, True),
        ({"inputs": [{"input": "age", "value": 1, "how": "imputed"}]}, False, True),
    ],
)
def test_an_answer_may_come_with_a_reason_for_doubt(more: Any, past: bool, doubt: bool) -> None:
    assert warned(answer(result(0.1), **more), past) is doubt

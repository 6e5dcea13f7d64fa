"""Statistics for the committee: by model, with smallest cells, never of a person."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.review.reliance import NAMES, reliance
from service.stores.reviews import About, Decision, Review

START = datetime(2031, 3, 9, 12, tzinfo=UTC)
OF = {"smallest": 3, "fewest_people": 2}


def review(number: int, person: str = "a", model: str = "prevent", **more: Any) -> Review:
    known: dict[str, Any] = {
        "shown": START + timedelta(seconds=10),
        "decided": START + timedelta(seconds=40),
        "agreed": "agrees",
        "warned": False,
        "decision": Decision.ACCEPTED,
    }
    about = About(f"twin-{number}", model, "sha256:0")
    return Review(str(number), about, "1.0.0", person, START, **{**known, **more})


def many(n: int, **more: Any) -> list[Review]:
    return [review(i, "abc"[i % 3], **more) for i in range(n)]


def told(*reviews: Review, **limits: int) -> dict[str, Any]:
    (found,) = reliance(reviews, **{**OF, **limits})
    return found


def test_fewer_reviews_than_the_smallest_cell_are_not_told_of() -> None:
    found = told(*many(4), smallest=5)
    assert found == {"model": "prevent", "enough": False, "needs": "5 reviews by 2 people"}


def test_reviews_of_one_person_are_not_told_of_however_many() -> None:
    found = told(*[review(i, "a") for i in range(50)])
    assert found["enough"] is False


def test_a_count_below_the_smallest_cell_is_not_told_and_none_is() -> None:
    found = told(*many(9), review(10, decision=Decision.OVERRIDDEN, reason="disagree"))
    assert (found["accepted"], found["overridden"], found["estimatedLower"]) == (9, "<3", 0)
    assert found["reasons"] == {"disagree": "<3"}


@pytest.mark.parametrize(
    ("more", "counted"),
    [
        ({"agreed": "agrees"}, {"agreedBefore", "accepted", "agreedAfter"}),
        ({"agreed": "none"}, {"withoutEstimate", "accepted", "agreedAfter"}),
        (
            {"agreed": "above"},
            {"estimatedHigher", "accepted", "agreedAfter", "gaveUpOwnEstimate"},
        ),
        (
            {"agreed": "below", "warned": True},
            {"estimatedLower", "accepted", "agreedAfter", "gaveUpOwnEstimate",
             "signsOfOverReliance"},
        ),
        (
            {"agreed": "below", "decision": Decision.OVERRIDDEN},
            {"estimatedLower", "overridden", "keptOwnEstimate", "signsOfUnderReliance"},
        ),
        (
            {"agreed": "below", "warned": True, "decision": Decision.OVERRIDDEN},
            {"estimatedLower", "overridden", "keptOwnEstimate"},
        ),
        (
            {"agreed": "agrees", "decision": Decision.OVERRIDDEN},
            {"agreedBefore", "overridden", "signsOfUnderReliance"},
        ),
    ],
)  # fmt: skip
def test_what_each_kind_of_review_counts_towards(more: dict[str, Any], counted: set[str]) -> None:
    found = told(*many(6, **more))
    assert {name for name in NAMES if found[name]} == counted


def test_time_is_the_median_from_opening_to_estimate_and_on_to_the_decision() -> None:
    found = told(*many(5), review(9, shown=START + timedelta(hours=2)))
    assert (found["secondsToEstimate"], found["secondsToDecision"]) == (10.0, 30.0)


def test_each_model_stands_for_itself() -> None:
    found = reliance([*many(4), *many(2, model="kfre")], **OF)
    assert [(one["model"], one["enough"]) for one in found] == [("kfre", False), ("prevent", True)]


def test_nobody_is_named() -> None:
    assert "person-x" not in str(told(*many(5), review(7, "person-x")))

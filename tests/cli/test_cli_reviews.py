"""`twinport reviews`."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import orjson
from support.shell import Shell

from service.cds.heard import heard
from service.cli.reviews import card_lines, lines
from service.review.reliance import reliance
from service.stores.reviews import About, Decision, Review

START = datetime(2031, 3, 9, 12, tzinfo=UTC)


def test_where_nothing_was_reviewed_it_says_so(twinport: Shell) -> None:
    assert twinport("reviews").out == "no result has been reviewed yet\n"
    assert twinport("reviews", "--json").out == ""


def test_the_lines_name_every_count_and_no_person() -> None:
    reviews = [
        Review(
            str(n), About("t", "prevent", "s"), "1", f"ehr:{n % 3}", START,
            START + timedelta(seconds=9), START + timedelta(seconds=30), 0.1, 0.2, "below", True,
            Decision.ACCEPTED, "overlooked",
        )
        for n in range(12)
    ]  # fmt: skip
    (one,) = reliance(reviews, smallest=11, fewest_people=3)
    told = "\n".join(lines(one))
    assert "prevent: 12 reviews" in told
    assert "    12  gave up an estimate that differed" in told
    assert "    12  because: I had overlooked something it counts" in told
    assert "   9.0 s  to the estimate (median)" in told
    assert "ehr:" not in told
    assert orjson.dumps(one)
    (few,) = reliance(reviews[:4], smallest=11, fewest_people=3)
    assert lines(few) == ["prevent: too few to tell of; it takes 11 reviews by 3 people"]


def test_what_came_back_on_cards_is_told_by_model_and_reason(twinport: Shell) -> None:
    assert twinport("reviews", "--cards").out == "nothing came back on any card yet\n"
    outcomes = Counter(
        {("prevent", "overridden", "data-wrong"): 12, ("prevent", "accepted", ""): 3}
    )
    (one,) = heard(outcomes, smallest=11)
    assert card_lines(one) == [
        "prevent: 15 cards answered",
        "      12  because: The data it rests on are wrong or out of date",
    ]
    (few,) = heard(Counter({("kfre", "accepted", ""): 2}), smallest=11)
    assert card_lines(few) == ["kfre: <11 cards answered"]

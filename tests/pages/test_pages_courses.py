"""How a value moved, in words: what was judged and by what, and no word of praise or alarm."""

import re

import pytest

from service.pages import courses
from twin_engine.course import Limits, Slope
from twin_engine.now import Basis, Change, Now, Span, Trend
from twin_engine.state import Missing, Reading

READING = Reading("systolic-bp", 150.0, "mm[Hg]", 0, 0, (1,))
LIMITS = Limits(-0.21, 0.27)
RISING = Slope(4.13, 0.9, 7.44, 8, 1400)


def now(**parts: object) -> Now:
    usual = Missing("systolic-bp", "never-recorded")
    made = Now("systolic-bp", READING, Span(126.4, 178.1), usual, None, None, None, None)
    return made._replace(basis=Basis(0.086, "somebody"), **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            Change(140, 1, 0.0714, LIMITS, False),
            "+7 % against the two years before (140, 1 day): cannot be told from within-person and "
            "measurement variation (−21 % to +27 %)",
        ),
        (
            Change(110, 3, 0.36, LIMITS, True),
            "+36 % against the two years before (110, mean of 3 days): more than within-person and "
            "measurement variation (−21 % to +27 %)",
        ),
        (
            Change(150, 1, 0.0, None, None),
            "±0 % against the two years before (150, 1 day): no citable variation to judge it by",
        ),
    ],
)
def test_a_change_is_judged_by_repetition_alone(change: Change, sentence: str) -> None:
    assert courses.change(now(change=change)) == sentence


@pytest.mark.parametrize(
    ("trend", "sentence"),
    [
        (
            Trend(RISING, "rising", 0.31, LIMITS, ()),
            "rising: +4.1 mmHg a year (+0.9 to +7.4), 8 days over 3.8 years; +31 % over that time, "
            "more than within-person and measurement variation (−21 % to +27 %)",
        ),
        (
            Trend(RISING, "no-clear-change", 0.11, LIMITS, ()),
            "no clear change: +4.1 mmHg a year (+0.9 to +7.4), 8 days over 3.8 years; +11 % over "
            "that time, no more than within-person and measurement variation (−21 % to +27 %)",
        ),
        (
            Trend(Slope(-0.5, -2, 1, 6, 500), "no-clear-change", 0.0, LIMITS, ()),
            "no clear change: −0.5 mmHg a year (−2 to +1), 6 days over 16 months; the range of the "
            "slope holds zero",
        ),
        (
            None,
            "none is told: it takes 5 days with readings over 90 days or more, within 5.0 years",
        ),
    ],
)
def test_a_trend_says_how_sure_and_over_what(trend: Trend | None, sentence: str) -> None:
    told = courses.trend(now(trend=trend))
    assert told == sentence
    assert not re.search(r"worse|better|alarm|good|bad|!", told)


def test_the_range_has_the_digits_of_the_concept() -> None:
    assert courses.again(now()) == "126 to 178 mmHg if measured again (95 %)"


def test_nothing_is_said_of_what_is_not_there() -> None:
    gone = now(latest=Missing("systolic-bp", "stale"))
    assert (courses.again(gone), courses.trend(gone), courses.change(gone)) == ("", "", "")

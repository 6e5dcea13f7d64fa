"""How a value moved: reference change values against published ones, slopes against scipy."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes
from support.twins import complete, facts, pseudonym, twin

from mappings.vocabulary.facts import ConditionFact, Measurement, SubjectFact
from twin_engine import course
from twin_engine.now import Now, value_now
from twin_engine.state import Missing, State, Usual
from twin_engine.variation import Variation, variations

NOW = 4000
BP = "systolic-bp"


def now(concept: str, *readings: tuple[int, float], sex: str = "female", **more: Any) -> Now:
    """Readings as (days ago, value)."""
    measurements = [
        Measurement(concept, NOW - ago, value, pseudonym(f"{concept}-{ago}"))
        for ago, value in readings
    ]
    kinds = {name: more.pop(name) for name in ("conditions",) if name in more}
    subject = SubjectFact(sex, pseudonym("patient"), 60)
    mapped = facts(subject, measurements=[*measurements, *more.pop("also", ())], **kinds)
    return value_now(State.from_document(twin(mapped, complete(**more), now=NOW)), concept)


# -- reference change values -----------------------------------------------------------------------


def row(cv_within: float, cv_analytical: float) -> float:
    within, analytical = cv_within / 100, cv_analytical / 100
    made = Variation("log", None, within, analytical, None, 0, "", 0, "", "", True)
    return made.log_spread()


@pytest.mark.parametrize(
    ("cv_within", "cv_analytical", "up", "down"),
    [
        # Computed from the formula of Fokkema (2006) with z = 1.96; EuBIVAS prints +13 and -12 for
        # creatinine (Carobene 2017).
        (4.4, 1.1, 13.4, -11.8),
        (19.8, 2.0, 72.7, -42.1),
        (29.4, 11.1, 135.1, -57.5),
        (1.2, 2.5, 8.0, -7.4),
        (4.2, 1.0, 12.7, -11.3),
        (0.5, 0.55, 2.1, -2.0),
    ],
)
def test_two_results_of_an_unchanged_person(cv_within, cv_analytical, up, down) -> None:
    found = course.reference_change(row(cv_within, cv_analytical))
    assert found.up * 100 == pytest.approx(up, abs=0.05)
    assert found.down * 100 == pytest.approx(down, abs=0.05)


def test_the_second_of_two_spot_urines_lies_where_the_cohort_found_it() -> None:
    """0.26 to 3.78 times the first (Rasaratnam, 826 adults)."""
    (uacr,) = variations()["urine-albumin-creatinine-ratio"]
    found = course.reference_change(uacr.log_spread())
    assert (1 + found.down, 1 + found.up) == pytest.approx((0.264, 3.78), abs=0.005)


def test_more_readings_narrow_the_limits_and_never_close_them() -> None:
    one, four = course.reference_change(0.08), course.reference_change(0.08, before=4)
    endless = course.reference_change(0.08, before=10**9)
    assert one.up > four.up > endless.up > 0


@given(st.floats(0.001, 1), st.floats(1, 1e6))
def test_what_is_repeated_lies_around_the_value(log_sd: float, value: float) -> None:
    low, high = course.if_repeated(value, log_sd)
    assert low < value < high
    assert low * high == pytest.approx(value**2)


# -- slopes ----------------------------------------------------------------------------------------

values = st.lists(st.integers(-50, 50).map(lambda n: n / 2), min_size=5, max_size=25)


@given(values, st.data())
def test_slope_and_interval_are_those_of_scipy(levels: list[float], data: st.DataObject) -> None:
    span = st.lists(
        st.integers(0, 1500), min_size=len(levels), max_size=len(levels), unique=True
    ).filter(lambda days: max(days) - min(days) >= course.SHORTEST_SPAN)
    days = sorted(data.draw(span))
    found = course.slope(list(zip(map(float, days), levels, strict=True)))
    peer = theilslopes(levels, days, alpha=0.95)
    assert found is not None
    per_year = np.array([peer.slope, peer.low_slope, peer.high_slope]) * 365.25
    assert [found.value, found.low, found.high] == pytest.approx(per_year.tolist(), abs=1e-9)


@pytest.mark.parametrize(
    ("days", "told"),
    [((0, 100, 200, 300), False), ((0, 20, 40, 60, 89), False), ((0, 20, 40, 60, 90), True)],
)
def test_a_trend_takes_five_days_over_ninety(days: tuple[int, ...], told: bool) -> None:
    found = course.slope([(float(day), float(day)) for day in days])
    assert (found is not None) is told


def test_one_wild_value_does_not_turn_a_slope() -> None:
    steady = [(float(day), 100 + day / 100) for day in range(0, 1000, 100)]
    wild = [*steady[:4], (400.0, 900.0), *steady[5:]]
    assert course.slope(wild).value == pytest.approx(course.slope(steady).value, rel=0.2)  # type: ignore[union-attr]


# -- of a twin -------------------------------------------------------------------------------------


def test_a_change_within_repetition_is_not_told_as_one() -> None:
    found = now(BP, (10, 150), (400, 140)).change
    assert found is not None
    assert (found.before, found.n, found.beyond) == (140, 1, False)


def test_a_change_beyond_repetition_is_told() -> None:
    found = now(BP, (10, 190), (400, 140)).change
    assert found is not None
    assert found.beyond is True


def test_a_change_is_against_the_days_of_two_years_before_the_latest() -> None:
    found = now(BP, (10, 150), (700, 120), (740, 130), (741, 300)).change
    assert found is not None
    assert (found.before, found.n) == (125, 2)


def test_a_first_reading_has_nothing_to_be_compared_with() -> None:
    assert now(BP, (10, 150)).change is None


def test_what_has_no_citable_variation_is_shown_unjudged() -> None:
    found = now("potassium", (10, 5.5), (300, 4.0))
    assert found.basis is None
    assert found.latest_span is None
    assert found.change is not None
    assert found.change.beyond is None


def test_a_steady_climb_is_a_trend_and_a_small_one_is_not() -> None:
    climb = [(200 * n, 180.0 - 12 * n) for n in range(8)]
    found = now(BP, *climb).trend
    assert found is not None
    assert (found.direction, found.slope.n) == ("rising", 8)
    small = now(BP, *[(200 * n, 140.0 - n) for n in range(8)]).trend
    assert small is not None
    assert small.slope.clear
    assert small.direction == "no-clear-change"


def test_the_usual_level_lies_closer_the_more_days_it_has() -> None:
    few, many = now(BP, (1, 140)), now(BP, *[(10 * n + 1, 140) for n in range(9)])
    width = [one.usual_span.high - one.usual_span.low for one in (few, many)]  # type: ignore[union-attr]
    assert isinstance(many.usual, Usual)
    assert width[1] == pytest.approx(width[0] / 3, rel=0.02)


def test_a_censored_latest_value_has_no_span_and_no_change() -> None:
    censored = Measurement("creatinine", NOW - 5, 0.1, pseudonym("low"), comparator="<")
    found = now("creatinine", (100, 0.9), also=[censored])
    assert isinstance(found.latest, Missing)
    assert (found.latest_span, found.change) == (None, None)


def test_a_time_known_to_the_month_takes_no_part() -> None:
    vague = Measurement(BP, NOW - 300, 90.0, pseudonym("vague"), precision="month")
    assert now(BP, (10, 150), also=[vague]).change is None


# -- which row holds -------------------------------------------------------------------------------


def test_in_diabetes_hba1c_varies_more() -> None:
    diabetes = ConditionFact(
        "diabetes-type-2", "snomed", "44054006", "active", "confirmed", pseudonym("d")
    )
    healthy = now("hba1c", (10, 6.0)).basis
    ill = now("hba1c", (10, 6.0), conditions=[diabetes]).basis
    assert healthy is not None
    assert ill is not None
    assert ill.log_sd > 1.5 * healthy.log_sd


def test_where_the_person_is_not_known_well_enough_the_widest_row_holds() -> None:
    """No eGFR: the creatinine may be that of impaired kidneys."""
    egfr = Measurement("egfr-ckdepi-2021", NOW - 10, 95.0, pseudonym("egfr"))
    known, unknown = now("creatinine", (10, 0.9), also=[egfr]).basis, now(
        "creatinine", (10, 0.9)
    ).basis  # fmt: skip
    assert known is not None
    assert unknown is not None
    assert unknown.log_sd > 1.5 * known.log_sd


def test_inflammation_has_no_row() -> None:
    assert now("crp-hs", (10, 3.0)).basis is not None
    assert now("crp-hs", (10, 30.0)).basis is None


def test_variation_that_routine_care_does_not_keep_to_judges_no_change() -> None:
    found = now("body-weight", (10, 90.0), (300, 80.0))
    assert found.basis is None
    assert found.change is not None
    assert found.change.beyond is None


def test_a_person_of_unknown_sex_has_no_row_made_for_one() -> None:
    assert now("platelets", (10, 250.0), sex="unknown").basis is None
    assert now("platelets", (10, 250.0)).basis is not None

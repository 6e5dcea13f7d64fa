"""Dates become offsets; imprecise dates tell nothing about where in its year the epoch lies."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.policy import load_policy
from privacy.subject import EPOCH_DAYS, Life, draw_epoch
from privacy.times import Clock, completed_years, parse, years_before

DAYS = load_policy("safe-harbor").time
MINUTES = load_policy("relative-minutes").time
epochs = st.datetimes(datetime(2000, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))


def clock(epoch: datetime, now: date = date(2021, 3, 1), rules=DAYS) -> Clock:
    return Clock(rules, epoch, now, now)


@pytest.mark.parametrize(
    ("text", "first", "precision"),
    [
        ("1998", "1998-01-01", "year"),
        ("1998-02", "1998-02-01", "month"),
        ("2020-02-29", "2020-02-29", "day"),
        ("2020-03-01T10:30:00Z", "2020-03-01", "minute"),
        ("2020-03-01T10:30:00.123456789+05:30", "2020-03-01", "minute"),
        ("2020-03-01T00:30:00-09:30", "2020-03-01", "minute"),  # the day as written
        ("2020-03-01T10:30:60Z", "2020-03-01", "minute"),  # a leap second
        ("2020-03-01T10:30:00", "2020-03-01", "minute"),  # without a zone
        ("2020-03-01T10:30", "2020-03-01", "minute"),  # without seconds
    ],
)
def test_every_form_of_a_fhir_date_is_read(text: str, first: str, precision: str) -> None:
    moment = parse(text)
    assert moment is not None
    assert (moment.first.isoformat(), moment.precision) == (first, precision)


@pytest.mark.parametrize(
    "text",
    ["", "20200301", "2020-3-1", "03/01/2020", "2020-W01-1", "2020-13", "2019-02-29", "0000",
     "2020-03-01T24:00:00Z", "2020-03-01T10:61:00Z", "2020-03-01 10:30:00",
     "2020-03-01T10:30:00EST",
     "2020-03-01T10:30:00+15:00", "２０２０-03-01", "2020-03-01\n", "1998-", "born 1931", "T10:30",
     "2020-03-01T10:30:00" + "0" * 100, None, 5, ["2020"], {"year": 2020}, True],
)  # fmt: skip
def test_anything_else_is_no_date(text: object) -> None:
    assert parse(text) is None


@given(epoch=epochs, day=st.dates(date(1945, 1, 1), date(2021, 3, 1)))
def test_a_full_date_is_the_exact_number_of_days_from_the_epoch(epoch: datetime, day: date) -> None:
    found = clock(epoch).offset(parse(day.isoformat()))
    if day not in DAYS.placeholders:
        assert found == ((day - epoch.date()).days, "day")


@given(
    year=st.integers(1990, 2030),
    days=st.tuples(st.integers(0, 364), st.integers(0, 364)),
    years=st.lists(st.integers(1940, 2020), min_size=1),
)
def test_epochs_of_one_year_cannot_be_told_apart_by_year_dates(
    year: int, days: tuple[int, int], years: list[int]
) -> None:
    """The property that hides the epoch's day of the year: nothing depends on it."""
    now = date(2040, 1, 1)  # far from the dates, so that nothing is cut off at now
    one, other = (
        clock(datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day), now) for day in days
    )
    texts = [str(value) for value in years if value > 1951]
    assert [one.offset(parse(t)) for t in texts] == [other.offset(parse(t)) for t in texts]


@given(one=epochs, other=epochs, months=st.lists(st.dates(date(1955, 1, 1), date(2020, 12, 31))))
def test_two_epochs_shift_month_dates_by_whole_cells(
    one: datetime, other: datetime, months: list[date]
) -> None:
    now = date(2040, 1, 1)
    cells = (other.year - one.year) * 12 + other.month - one.month
    for month in months:
        text = month.isoformat()[:7]
        first, second = (clock(epoch, now).offset(parse(text)) for epoch in (one, other))
        assert isinstance(first, tuple)
        assert isinstance(second, tuple)
        assert abs(first[0] - second[0] - cells * 30.436875) <= 1


@given(epoch=epochs, year=st.integers(1940, 2020))
def test_an_imprecise_offset_lies_within_a_cell_of_the_time_it_stands_for(
    epoch: datetime, year: int
) -> None:
    now = date(2030, 1, 1)
    found = clock(epoch, now).offset(parse(str(year)))
    first = (date(year, 1, 1) - epoch.date()).days
    assert isinstance(found, tuple)
    assert first - 1 <= found[0] <= first + 367
    assert found[1] == "year"


@given(epoch=epochs)
def test_an_imprecise_date_of_the_past_is_never_later_than_now(epoch: datetime) -> None:
    now = date(2021, 3, 1)
    for text in ("2021", "2021-03", "2020"):
        found = clock(epoch, now).offset(parse(text))
        assert isinstance(found, tuple)
        assert found[0] <= clock(epoch, now).now


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9999-12-31", "placeholder-date"), ("2099-01-01T00:00:00Z", "placeholder-date"),
        ("9999", "placeholder-date"), ("1970-01-01", "placeholder-date"),
        ("1970-01-01T00:00:00Z", "placeholder-date"), ("1900-01-01", "placeholder-date"),
        ("1931-02-28", "too-long-ago"), ("1931-02", "too-long-ago"), ("1929", "too-long-ago"),
        ("0001-01-01", "too-long-ago"), ("yesterday", "invalid-date"),
    ],
)  # fmt: skip
def test_dates_that_would_give_the_epoch_or_an_age_away_are_dropped(text: str, reason: str) -> None:
    epoch = datetime(2018, 3, 1, tzinfo=UTC)
    assert clock(epoch).offset(parse(text)) == reason


def test_minutes_are_counted_in_universal_time_from_the_minute_of_the_epoch() -> None:
    epoch = datetime(2020, 1, 1, 9, 41, tzinfo=UTC)
    minutes = clock(epoch, rules=MINUTES)
    assert minutes.offset(parse("2020-01-01T10:41:30Z")) == (60, "minute")
    assert minutes.offset(parse("2020-01-01T10:41:30+01:00")) == (0, "minute")
    assert minutes.offset(parse("2020-01-03")) == (2880, "day")  # whole days: the minute is hidden


@given(minute=st.integers(0, 1439), day=st.dates(date(2000, 1, 1), date(2021, 1, 1)))
def test_day_dates_do_not_tell_the_minute_of_the_epoch(minute: int, day: date) -> None:
    epoch = datetime(2015, 6, 7, tzinfo=UTC)
    shifted = epoch + timedelta(minutes=minute)
    text = parse(day.isoformat())
    assert clock(epoch, rules=MINUTES).offset(text) == clock(shifted, rules=MINUTES).offset(text)


def test_the_epoch_is_drawn_evenly_around_the_reference_day() -> None:
    rng, reference = Random(7), date(2020, 1, 1)
    drawn = [draw_epoch(reference, rng) for _ in range(20_000)]
    offsets = [(epoch.date() - reference).days for epoch in drawn]
    assert min(offsets) >= -EPOCH_DAYS // 2
    assert max(offsets) <= EPOCH_DAYS // 2
    assert abs(sum(offsets) / len(offsets)) < 30  # 4 standard errors of the mean
    assert len({epoch.month for epoch in drawn}) == 12
    assert len({epoch.hour for epoch in drawn}) == 24


def test_age_is_in_completed_years() -> None:
    assert completed_years(date(1960, 2, 29), date(2021, 2, 28)) == 60
    assert completed_years(date(1960, 2, 29), date(2021, 3, 1)) == 61
    assert years_before(date(2020, 2, 29), 90) == date(1930, 2, 28)


@pytest.mark.parametrize(
    ("patient", "age", "over"),
    [
        ({"birthDate": "1931-03-01"}, 90, True),
        ({"birthDate": "1931-03-02"}, 89, False),
        ({"birthDate": "1931"}, 89, True),  # may be 90: treated as if
        ({"birthDate": "1960"}, 60, False),
        ({"birthDate": "2021"}, 0, False),
        ({"birthDate": "2022-01-01"}, None, False),
        ({"birthDate": "1880-01-01"}, None, True),
        ({}, None, False),
        ({"birthDate": "1930-05-01", "deceasedDateTime": "1995-06-01"}, 65, False),
        ({"birthDate": "1930-05-01", "deceasedBoolean": True}, None, True),
        ({"birthDate": ["1930"]}, None, False),
    ],
)
def test_ages_at_now_or_at_death(patient: dict, age: int | None, over: bool) -> None:
    life, now = Life.of(patient), date(2021, 3, 1)
    assert life.age(now) == age
    assert life.may_be_over(90, now) is over


def test_who_dies_after_now_is_alive() -> None:
    life = Life.of({"birthDate": "1950-01-01", "deceasedDateTime": "2022-01-01"})
    assert not life.until(date(2021, 3, 1)).dead
    assert life.until(date(2021, 3, 1)).age(date(2021, 3, 1)) == 71

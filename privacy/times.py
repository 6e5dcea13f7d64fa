"""FHIR dates into offsets from the sealed epoch.

A date that is known to the month or year only is not placed at the first of that month or year:
its offset would then say on which day of the year the epoch lies, and with it the calendar of all
other offsets. Instead it is counted in whole calendar cells from the cell the epoch lies in:

    year:   k = year - epoch.year              offset = round(k * 365.2425 days)
    month:  k = months between the two months  offset = round(k * 30.436875 days)

The offset depends on the epoch through its cell alone: all epochs of one cell give the same
offsets, so nothing finer than the cell can be learned from them. The true first day of the cell is
`k * cell - p`, where p, the epoch's place in its own cell, is between 0 and one cell: the offset
lies within the cell it stands for, or at its end. It is never later than now.
"""

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from privacy.policy import TimeRules

YEAR_DAYS, MONTH_DAYS = 365.2425, 30.436875
MINUTES = {"d": 1 / 1440, "min": 1}  # one minute in each unit of time
DAYS = {"d": 1, "min": 1440}

_SHAPE = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})(?P<time>T.+)?)?)?"
)
_TIME = re.compile(
    r"T(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?::(?:[0-5][0-9]|60)(?:\.[0-9]+)?)?"
    r"(?P<zone>Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?"
)


class Moment(NamedTuple):
    """A FHIR date as far as it is known. `first` is the first day it may mean."""

    first: date
    precision: str
    minute: datetime | None = None  # in UTC, when the time of day is given

    @property
    def last(self) -> date:
        if self.precision == "year":
            return self.first.replace(month=12, day=31)
        if self.precision == "month":
            return self.first.replace(day=monthrange(self.first.year, self.first.month)[1])
        return self.first

    @property
    def middle(self) -> date:
        if self.precision == "year":
            return self.first.replace(month=7)
        return self.first.replace(day=15) if self.precision == "month" else self.first


def parse(text: object) -> Moment | None:
    """A date, dateTime or instant; None for whatever FHIR does not allow (24:00 included)."""
    shape = _SHAPE.fullmatch(text) if type(text) is str and len(text) <= 64 else None
    if shape is None:
        return None
    year, month, day, time = shape.group("year", "month", "day", "time")
    try:
        first = date(int(year), int(month or 1), int(day or 1))
        if time is not None:
            return _timed(first, time)
    except (ValueError, OverflowError):
        return None
    return Moment(first, "day" if day else "month" if month else "year")


def ends_well(text: str) -> bool:
    """Whether a day is followed by nothing, or by a time of day."""
    return len(text) == 10 or (len(text) <= 64 and _TIME.fullmatch(text, 10) is not None)


def day_of(text: str) -> date | None:
    """The day of a date, with or without a time; None where only `parse` can tell. Quicker."""
    day = text[:10]
    if not "19" <= day < "21":  # in other centuries a zone may move it out of the calendar
        return None
    if len(day) < 10 or day[4] != "-" or day[7] != "-":
        return None
    if not ends_well(text):
        return None
    try:
        return date.fromisoformat(day)
    except ValueError:
        return None


def _timed(first: date, text: str) -> Moment | None:
    time = _TIME.fullmatch(text)
    if time is None:
        return None
    hour, minute, zone = time.group("hour", "minute", "zone")
    written = datetime(first.year, first.month, first.day, int(hour), int(minute), tzinfo=UTC)
    return Moment(first, "minute", written - _zone(zone))


def _zone(text: str | None) -> timedelta:
    """A time without a zone is read as UTC: it moves by at most half a day."""
    if text is None or text == "Z":
        return timedelta()
    size = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return -size if text[0] == "-" else size


def as_moment(value: date) -> Moment:
    """A date or a datetime of Python (naive means UTC)."""
    if not isinstance(value, datetime):
        return Moment(value, "day")
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return Moment(value.date(), "minute", aware.astimezone(UTC))


def years_before(day: date, years: int) -> date:
    earlier = max(day.year - years, 1)
    last = monthrange(earlier, day.month)[1]
    return day.replace(year=earlier, day=min(day.day, last))


def completed_years(born: date, at: date) -> int:
    return at.year - born.year - ((at.month, at.day) < (born.month, born.day))


class Calendar:
    """Offsets of one twin back into dates. `now` is an offset, `today` the day it means."""

    __slots__ = ("_day", "_epoch", "_now", "_today")

    def __init__(self, unit: str, epoch: datetime, now: int, today: date) -> None:
        self._day, self._epoch, self._now, self._today = DAYS[unit], epoch, now, today

    def moment(self, offset: int, precision: str) -> Moment:
        if precision == "minute":
            at = self._epoch + timedelta(minutes=offset)
            return Moment(at.date(), "minute", at)
        if precision == "day":
            return Moment(self._epoch.date() + timedelta(days=offset // self._day), "day")
        if offset == self._now:  # imprecise and not after now: the cell that now lies in
            return Moment(first_of(self._today.year, self._today.month, precision), precision)
        if precision == "year":
            years = round(offset / (YEAR_DAYS * self._day))
            return Moment(date(self._epoch.year + years, 1, 1), precision)
        months = round(offset / (MONTH_DAYS * self._day)) + self._epoch.year * 12
        months += self._epoch.month - 1
        return Moment(date(months // 12, months % 12 + 1, 1), precision)


def first_of(year: int, month: int, precision: str) -> date:
    return date(year, month if precision == "month" else 1, 1)


def spelled(moment: Moment, kind: str) -> str:
    """As FHIR spells it, no finer than it is known. `kind`: `date`, `dateTime` or `instant`."""
    if moment.minute is not None and kind != "date":
        return f"{moment.minute.astimezone(UTC):%Y-%m-%dT%H:%M:00Z}"
    return moment.first.isoformat()[: {"year": 4, "month": 7}.get(moment.precision, 10)]


class Clock:
    """Time as one twin knows it: offsets from its epoch, within what the policy lets pass."""

    __slots__ = ("_day", "_epoch", "_future", "_oldest", "_rules", "now")

    def __init__(self, rules: TimeRules, epoch: datetime, now: date, reference: date) -> None:
        """`reference` is the day up to which an age may be told: now, or the day of death."""
        self._rules, self._day = rules, DAYS[rules.unit]
        self._epoch = as_moment(epoch)
        today = as_moment(now)
        self.now = self._exact(today)
        self._oldest = self._exact(Moment(years_before(reference, rules.past_years), "day"))
        self._future = self._exact(Moment(today.first, "day")) + rules.future_days * self._day

    def offset(self, moment: Moment | None) -> tuple[int, str] | str:
        """`(offset, precision)`, or the reason for which the time is dropped."""
        if moment is None:
            return "invalid-date"
        value = self._exact(moment)
        if moment.precision in {"day", "minute"}:
            return self._known(moment.first, value, self._precision(moment))
        return self._within(
            self.now if value > self.now >= self._first(moment) else value, moment.precision
        )

    def day(self, first: date) -> tuple[int, str] | str:
        """The same of a day."""
        return self._known(first, (first - self._epoch.first).days * self._day, "day")

    def _known(self, first: date, value: int, precision: str) -> tuple[int, str] | str:
        if first in self._rules.placeholders:
            return "placeholder-date"
        return self._within(value, precision)

    def _within(self, value: int, precision: str) -> tuple[int, str] | str:
        if value < self._oldest:
            return "too-long-ago"
        if value > self._future:
            return "placeholder-date"
        return value, precision

    def _precision(self, moment: Moment) -> str:
        day = moment.precision == "minute" and self._rules.unit == "d"
        return "day" if day else moment.precision

    def _exact(self, moment: Moment) -> int:
        epoch, first = self._epoch.first, moment.first
        if moment.precision == "year":
            return round((first.year - epoch.year) * YEAR_DAYS * self._day)
        if moment.precision == "month":
            months = (first.year - epoch.year) * 12 + first.month - epoch.month
            return round(months * MONTH_DAYS * self._day)
        if moment.minute is None or self._epoch.minute is None or self._rules.unit == "d":
            return (first - epoch).days * self._day
        return int((moment.minute - self._epoch.minute).total_seconds() // 60)

    def _first(self, moment: Moment) -> int:
        return (moment.first - self._epoch.first).days * self._day

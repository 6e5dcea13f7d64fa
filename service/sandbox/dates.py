"""FHIR dates as half-open intervals in UTC, as wide as the precision that was written."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

_PATTERN = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
FAR_PAST = datetime.min.replace(tzinfo=UTC)
FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


class Interval(NamedTuple):
    lo: datetime
    hi: datetime


def _offset(zone: str | None) -> timedelta:
    """A time without zone counts as UTC: the server's local time, as the standard permits."""
    if zone in (None, "Z"):
        return timedelta(0)
    assert zone is not None
    sign = -1 if zone[0] == "-" else 1
    return sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))


def _end(start: datetime, parts: tuple[str | None, ...]) -> datetime:
    _, month, day, hour, _, second, fraction, _ = parts
    if month is None:
        return start.replace(year=start.year + 1)
    if day is None:
        return (start + timedelta(days=32)).replace(day=1)
    if hour is None:
        return start + timedelta(days=1)
    if second is None:
        return start + timedelta(minutes=1)
    return start + (timedelta(seconds=1) if fraction is None else timedelta(milliseconds=1))


def parse_interval(text: str) -> Interval:
    """Raises ValueError when the text is no FHIR date, dateTime or instant."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError("not a FHIR date")
    parts = match.groups()
    year, month, day, hour, minute, second, fraction, zone = parts
    start = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
        min(int(second or 0), 59), int((fraction or "0").ljust(6, "0")[:6]), tzinfo=UTC,
    )  # fmt: skip
    return Interval(start - _offset(zone), _end(start, parts) - _offset(zone))


def interval_of(value: Any) -> Interval | None:
    """The interval of a date string or a Period in a resource; None if unreadable."""
    try:
        if isinstance(value, str):
            return parse_interval(value)
        if isinstance(value, dict):
            start, end = value.get("start"), value.get("end")
            return Interval(
                parse_interval(start).lo if start else FAR_PAST,
                parse_interval(end).hi if end else FAR_FUTURE,
            )
    except ValueError:
        return None
    return None


def matches(prefix: str, asked: Interval, found: Interval) -> bool:
    """The R4 comparison table (search page, section 3.1.1.4.5)."""
    within = asked.lo <= found.lo and found.hi <= asked.hi
    verdicts = {
        "eq": within,
        "ne": not within,
        "gt": found.hi > asked.hi,
        "ge": found.hi > asked.hi or within,
        "lt": found.lo < asked.lo,
        "le": found.lo < asked.lo or within,
        "sa": found.lo >= asked.hi,
        "eb": found.hi <= asked.lo,
        "ap": found.lo < asked.hi and found.hi > asked.lo,
    }
    return verdicts[prefix]


PREFIXES = ("eq", "ne", "gt", "ge", "lt", "le", "sa", "eb", "ap")

"""What a value is now and how it moved, in words for professionals. A change is never called good
or bad."""

from service.pages import words
from twin_engine.course import FEWEST_DAYS, SHORTEST_SPAN, Limits
from twin_engine.now import TREND_DAYS, Change, Now, Span, Trend
from twin_engine.state import Missing, Reading

NOT_USED = {
    "latest": "",
    "earlier": "",
    "censored": "not used as a number: below or above a limit",
    "not-final": "not used: preliminary",
    "after-now": "not used: dated after this twin's now",
    "after-death": "not used: dated after death",
}
MISSING = {
    "never-recorded": "never recorded, and the record is complete there",
    "stale": "too old",
    "censored": "the newest value is only known to lie below or above a limit",
    "set-aside": "the newest value can't be used",
    "slice-incomplete": "none seen, but not everything was seen",
}
PRESENCE = {
    "recorded": "recorded",
    "not-current": "only ended ones are recorded",
    "declared-absent": "the record is complete there and holds none",
    "unconfirmed": "suspected or of unknown status",
    "unreadable": "an item without a code we can read could be one",
    "slice-incomplete": "none current seen, but not everything was seen",
}
ANSWER = {True: "yes", False: "no", None: "not known"}

NO_BASIS = "no citable variation to judge it by"
VARIATION = "within-person and measurement variation"


def again(now: Now) -> str:
    """Where the level lies, were it measured again."""
    if isinstance(now.latest, Missing) or now.latest_span is None:
        return ""
    return f"{span(now.latest_span, now)} if measured again (95 %)"


def span(found: Span, now: Now) -> str:
    assert isinstance(now.latest, Reading)
    unit = words.unit(now.latest.unit)
    return f"{amount(found.low, now)} to {amount(found.high, now)} {unit}".rstrip()


def amount(value: float, now: Now) -> str:
    """As many decimals as the concept is kept with."""
    decimals = words.decimals(now.concept)
    return words.number(value) if decimals is None else f"{value:.{decimals}f}"


# -- change ----------------------------------------------------------------------------------------


def change(now: Now) -> str:
    found = now.change
    if found is None:
        return ""
    days = words.counted(found.n, "day")
    before = f"against the two years before ({amount(found.before, now)}, {_mean(days, found)})"
    return f"{percent(found.share)} {before}: {_judged(found)}"


def _mean(days: str, found: Change) -> str:
    return days if found.n == 1 else f"mean of {days}"


def _judged(found: Change) -> str:
    if found.limits is None:
        return NO_BASIS
    if found.beyond:
        return f"more than {VARIATION} ({limits(found.limits)})"
    return f"cannot be told from {VARIATION} ({limits(found.limits)})"


def limits(found: Limits) -> str:
    return f"{percent(found.down)} to {percent(found.up)}"


def percent(share: float) -> str:
    rounded = round(share * 100)
    sign = "+" if rounded > 0 else "−" if rounded < 0 else "±"
    return f"{sign}{abs(rounded)} %"


# -- trend -----------------------------------------------------------------------------------------


def trend(now: Now) -> str:
    found = now.trend
    if isinstance(now.latest, Missing):
        return ""
    if found is None:
        return (
            f"none is told: it takes {FEWEST_DAYS} days with readings over {SHORTEST_SPAN} days "
            f"or more, within {words.span(TREND_DAYS)}"
        )
    return f"{direction(found)}: {_slope(found, now)}{_over(found)}"


def direction(found: Trend) -> str:
    return words.plain(found.direction).lower()


def _slope(found: Trend, now: Now) -> str:
    line = found.slope
    assert isinstance(now.latest, Reading)
    unit = words.unit(now.latest.unit)
    return (
        f"{signed(line.value)} {unit} a year ({signed(line.low)} to {signed(line.high)}), "
        f"{line.n} days over {words.span(line.span_days)}"
    ).replace("  ", " ")


def signed(value: float) -> str:
    shown = words.number(float(f"{abs(value):.2g}"))
    return shown if value == 0 else f"{'+' if value > 0 else '−'}{shown}"


def _over(found: Trend) -> str:
    """Whether the way over the whole span is more than one reading repeated would give."""
    if found.limits is None:
        return f"; {NO_BASIS}"
    if not found.slope.clear:
        return "; the range of the slope holds zero"
    way = f"{percent(found.share)} over that time"
    verdict = "more than" if found.limits.beyond(found.share) else "no more than"
    return f"; {way}, {verdict} {VARIATION} ({limits(found.limits)})"

"""One signal over time, drawn as SVG on the server: large, or as a strip beside a number.

Each reading is a point at its own time; no line is drawn across a gap (a line claims what happened
in between). A censored value is an open triangle pointing where the true value lies; a value that
was set aside has a time and no number here, and is a cross on the axis. Colours come from the style
sheet's classes, and every mark differs in shape as well. The table beside carries the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from markupsafe import Markup

from service.pages.charts import Scale

YEAR, MONTH = 365.25, 30.44


@dataclass(frozen=True, slots=True)
class Point:
    """`days` before now (0 or negative), the value, and how it is known."""

    days: float
    value: float
    comparator: str = ""
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """Drawn behind the points; either end may be open."""

    low: float | None
    high: float | None


NO_BAND = Band(None, None)


@dataclass(frozen=True, slots=True)
class Frame:
    """Size and margins in pixels."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    mark: float  # radius


LARGE = Frame(760, 250, 52, 14, 12, 26, 3.6)
STRIP = Frame(132, 26, 3, 3, 4, 4, 1.6)


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn."""

    points: Sequence[Point]
    band: Band = NO_BAND
    aside: Sequence[float] = ()  # days before now of values that were set aside


def signal_chart(name: str, title: str, unit: str, series: Series) -> Markup:
    """One signal over time. `name` makes the ids of the page unique."""
    frame = LARGE
    x, y = _time_scale(series, frame), _value_scale(series, frame)
    parts = [
        _band(frame, y, series.band),
        *(_y_tick(frame, y, value) for value in _ticks(y.low, y.high)),
        *_x_ticks(frame, x),
        *(_mark(x, y, point, frame.mark) for point in series.points),
        *(_cross(frame, x, days) for days in series.aside),
    ]
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-t {n}-d">'
        '<title id="{n}-t">{title}</title><desc id="{n}-d">{text}</desc>{parts}</svg>'
    ).format(
        w=frame.width,
        h=frame.height,
        n=name,
        title=title,
        text=summary(unit, series),
        parts=Markup("").join(parts),
    )


def strip(series: Series) -> Markup:
    """The same without axes, beside a number that says it all to those who listen."""
    x, y = _time_scale(series, STRIP), _value_scale(series, STRIP)
    marks = [_mark(x, y, point, STRIP.mark) for point in series.points]
    marks += [_cross(STRIP, x, days) for days in series.aside]
    return Markup(
        '<svg class="strip" viewBox="0 0 {w} {h}" aria-hidden="true" focusable="false">'
        "{band}{marks}</svg>"
    ).format(
        w=STRIP.width,
        h=STRIP.height,
        band=_band(STRIP, y, series.band),
        marks=Markup("").join(marks),
    )


def summary(unit: str, series: Series) -> str:
    """What the chart says, in one sentence or two."""
    if not series.points:
        return f"No number; {_aside(len(series.aside))}."
    newest = max(series.points, key=lambda p: p.days)
    shown = unit if unit != "1" else ""
    values = [p.value for p in series.points]
    count = len(values)
    readings = "1 reading" if count == 1 else f"{count} readings"
    latest = f"latest {newest.comparator}{newest.value:g} {shown}".strip()
    aside = f" {_aside(len(series.aside)).capitalize()}." if series.aside else ""
    return (
        f"{readings}, {latest}; between {min(values):g} and {max(values):g}.{aside} "
        "The table below has each one."
    )


def _aside(count: int) -> str:
    return "1 value was set aside" if count == 1 else f"{count} values were set aside"


# -- scales ----------------------------------------------------------------------------------------


def _time_scale(series: Series, frame: Frame) -> Scale:
    """At least a month, so that one reading is not stretched over the width."""
    days = [*(p.days for p in series.points), *series.aside]
    room = frame.mark + 2
    return Scale(
        min([*days, -30]), max([*days, 0]), frame.left + room, frame.width - frame.right - room
    )


def _value_scale(series: Series, frame: Frame) -> Scale:
    ends = [v for v in (series.band.low, series.band.high) if v is not None]
    values = [p.value for p in series.points] + ends or [0.0]
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    bottom = low - room if low < 0 else max(low - room, 0.0)
    return Scale(bottom, high + room, frame.height - frame.bottom, frame.top)


def _ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers between the ends."""
    raw = (high - low) / 5
    power = 10 ** floor(log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    first = -(-low // step) * step
    return [round(first + i * step, 6) for i in range(6) if first + i * step <= high]


# -- parts -----------------------------------------------------------------------------------------


def _band(frame: Frame, y: Scale, band: Band) -> Markup:
    low = y.low if band.low is None else max(band.low, y.low)
    high = y.high if band.high is None else min(band.high, y.high)
    if (band.low is None and band.high is None) or high <= low:
        return Markup("")
    return Markup('<rect class="band" x="{x}" y="{y}" width="{w}" height="{h}"/>').format(
        x=frame.left,
        y=y.at(high),
        w=frame.width - frame.left - frame.right,
        h=round(y.at(low) - y.at(high), 1),
    )


def _y_tick(frame: Frame, y: Scale, value: float) -> Markup:
    return Markup(
        '<line class="grid" x1="{a}" x2="{b}" y1="{y}" y2="{y}"/>'
        '<text class="tick end" x="{t}" y="{ty}">{label}</text>'
    ).format(
        a=frame.left,
        b=frame.width - frame.right,
        y=y.at(value),
        t=frame.left - 6,
        ty=round(y.at(value) + 4, 1),
        label=f"{value:g}",
    )


def _x_ticks(frame: Frame, x: Scale) -> list[Markup]:
    """Now, and whole months or years before it."""
    return [
        Markup('<text class="tick {c}" x="{x}" y="{y}">{label}</text>').format(
            c="end" if days == 0 else "middle",
            x=x.at(days),
            y=frame.height - 7,
            label=label,
        )
        for days, label in _times(-x.low)
    ]


def _times(span: float) -> list[tuple[float, str]]:
    """Marks no closer than a sixth of the axis."""
    if span < 2 * YEAR:
        length, word = MONTH, "month"
    else:
        length, word = YEAR, "year"
    count = int(span / length)
    step = max(1, -(-count // 6))
    marks = [(-length * n, f"−{n} {word}{'s' if n > 1 else ''}") for n in range(step, count, step)]
    return [*marks, (0.0, "now")]


def _mark(x: Scale, y: Scale, point: Point, radius: float) -> Markup:
    cx, cy = x.at(point.days), y.at(point.value)
    kind = "mark uncertain" if point.uncertain else "mark"
    width = round(radius * 1.6, 1)
    if point.comparator:
        up = width * 1.5 if point.comparator.startswith(">") else -width * 1.5
        return Markup('<path class="{k} open" d="M{x} {y} l{w} {u} h-{d} z"/>').format(
            k=kind, x=cx, y=round(cy - up / 2, 1), w=width, u=round(up, 1), d=2 * width
        )
    return Markup('<circle class="{k}" cx="{x}" cy="{y}" r="{r}"/>').format(
        k=kind, x=cx, y=cy, r=radius
    )


def _cross(frame: Frame, x: Scale, days: float) -> Markup:
    """On the axis: when it was is known, what it was is not kept."""
    half = frame.mark + 0.6
    return Markup('<path class="aside" d="M{a} {t} l{w} {w} m0 -{w} l-{w} {w}"/>').format(
        a=round(x.at(days) - half, 1),
        t=round(frame.height - frame.bottom - 2 * half, 1),
        w=round(2 * half, 1),
    )

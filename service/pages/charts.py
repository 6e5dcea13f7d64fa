"""Small charts of a signal, drawn as SVG on the server.

Each reading is a point at its own time; no line is drawn across a gap (a line claims what happened
in between). A censored value is an open triangle pointing where the true value lies. Colours come
from the style sheet's classes, and every mark differs in shape as well. The table beside the chart
carries the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from markupsafe import Markup

WIDTH, HEIGHT = 260, 104
LEFT, RIGHT, TOP, BOTTOM = 36, 8, 8, 20


@dataclass(frozen=True, slots=True)
class Point:
    """`days` before now (0 or negative), the value, and how it is known."""

    days: float
    value: float
    comparator: str = ""
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """The reference band drawn behind the points; either end may be open."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Top:
    """The end of a scale that starts at zero, and how it is written."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float  # pixels
    end: float

    def at(self, value: float) -> float:
        span = self.high - self.low
        return round(self.start + (value - self.low) / span * (self.end - self.start), 1)


def signal_chart(name: str, title: str, unit: str, points: Sequence[Point], band: Band) -> Markup:
    """One signal over time. `name` makes the ids of the page unique."""
    x = _time_scale(points)
    y = _value_scale(points, band)
    parts = [
        _band(y, band),
        *(_y_tick(y, value) for value in _ticks(y.low, y.high)),
        *_x_ticks(x),
        *(_mark(x, y, point) for point in points),
    ]
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-t {n}-d">'
        '<title id="{n}-t">{title}</title><desc id="{n}-d">{text}</desc>{parts}</svg>'
    ).format(
        w=WIDTH,
        h=HEIGHT,
        n=name,
        title=title,
        text=_summary(unit, points),
        parts=Markup("").join(parts),
    )


def interval_bar(name: str, low: float, value: float, high: float, top: Top, text: str) -> Markup:
    """A number with its interval on a line from zero to `top`."""
    scale = _Scale(0, top.value, 12, 172)
    start, end = scale.at(max(low, 0)), scale.at(min(high, top.value))
    return Markup(
        '<svg class="interval" viewBox="0 0 210 24" preserveAspectRatio="xMinYMid" role="img" '
        'aria-labelledby="{n}-t"><title id="{n}-t">{text}</title>'
        '<text class="tick" x="2" y="16">0</text><text class="tick" x="177" y="16">{end}</text>'
        '<line class="axis" x1="12" x2="172" y1="12" y2="12"/>'
        '<rect class="range" x="{x}" y="7" width="{w}" height="10"/>'
        '<line class="value" x1="{v}" x2="{v}" y1="3" y2="21"/></svg>'
    ).format(
        n=name,
        text=text,
        end=top.label,
        x=start,
        w=max(round(end - start, 1), 1),
        v=scale.at(min(value, top.value)),
    )


def icon_array(name: str, share: "Share", text: str) -> Markup:
    """People in rows: filled up to the interval, hatched inside it, empty above.

    The rim of everybody up to the value is heavy. One path per state keeps a thousand people small.
    """
    columns = 10 if share.people == 100 else 40
    step = 15 if share.people == 100 else 8
    rows = share.people // columns
    marks = Markup("").join(
        Markup('<path class="{k}" d="{d}"{f}/>').format(
            k=kind,
            d=_people(members, columns, step),
            f=Markup(' fill="url(#{n}-h)"').format(n=name) if kind == "maybe" else "",
        )
        for kind, members in share.groups()
        if members
    )
    return Markup(
        '<svg class="people" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-t">'
        '<title id="{n}-t">{text}</title>'
        '<defs><pattern id="{n}-h" width="4" height="4" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)">'
        '<rect class="hatch" width="2" height="4"/></pattern></defs>{marks}</svg>'
    ).format(n=name, text=text, w=columns * step, h=rows * step, marks=marks)


@dataclass(frozen=True, slots=True)
class Share:
    """How many of so many people: the value, and the ends of its interval."""

    people: int
    value: float
    low: float
    high: float

    def groups(self) -> list[tuple[str, list[int]]]:
        """Whole people by state, from one corner on; `rim` repeats everybody up to the value."""
        low, value, high = (round(x) for x in (self.low, self.value, self.high))
        return [
            ("none", list(range(high, self.people))),
            ("sure", list(range(low))),
            ("maybe", list(range(low, high))),
            ("rim", list(range(low, value))),
        ]


def _people(members: Sequence[int], columns: int, step: int) -> str:
    radius = round(step * 0.37, 1)
    return "".join(
        f"M{i % columns * step + step / 2 - radius:g} {i // columns * step + step / 2:g}"
        f"a{radius:g} {radius:g} 0 1 0 {2 * radius:g} 0"
        f"a{radius:g} {radius:g} 0 1 0 -{2 * radius:g} 0"
        for i in members
    )


def contribution_bar(share: float, longest: float) -> Markup:
    """One bar from the middle: to the right raises, to the left lowers."""
    width = round(abs(share) / longest * 98, 1)
    kind = "more" if share >= 0 else "less"
    return Markup(
        '<svg class="bar" viewBox="0 0 200 12" preserveAspectRatio="none" aria-hidden="true" '
        'focusable="false"><line class="axis" x1="100" x2="100" y1="0" y2="12"/>'
        '<rect class="{k}" x="{x}" y="2" width="{w}" height="8"/></svg>'
    ).format(k=kind, x=100 if share >= 0 else round(100 - width, 1), w=width)


# -- parts -----------------------------------------------------------------------------------------


def _time_scale(points: Sequence[Point]) -> _Scale:
    oldest = min((p.days for p in points), default=0)
    return _Scale(min(oldest, -30), 0, LEFT + 6, WIDTH - RIGHT - 6)


def _value_scale(points: Sequence[Point], band: Band) -> _Scale:
    values = [p.value for p in points] + [v for v in (band.low, band.high) if v is not None]
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    bottom = low - room if low < 0 else max(low - room, 0.0)
    return _Scale(bottom, high + room, HEIGHT - BOTTOM, TOP)


def _ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers between the ends."""
    raw = (high - low) / 3
    power = 10 ** floor(log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    first = -(-low // step) * step
    return [round(first + i * step, 6) for i in range(6) if first + i * step <= high]


def _band(y: _Scale, band: Band) -> Markup:
    low = y.low if band.low is None else max(band.low, y.low)
    high = y.high if band.high is None else min(band.high, y.high)
    if (band.low is None and band.high is None) or high <= low:
        return Markup("")
    return Markup('<rect class="band" x="{x}" y="{y}" width="{w}" height="{h}"/>').format(
        x=LEFT, y=y.at(high), w=WIDTH - LEFT - RIGHT, h=round(y.at(low) - y.at(high), 1)
    )


def _y_tick(y: _Scale, value: float) -> Markup:
    return Markup(
        '<line class="grid" x1="{a}" x2="{b}" y1="{y}" y2="{y}"/>'
        '<text class="tick end" x="{t}" y="{ty}">{label}</text>'
    ).format(
        a=LEFT, b=WIDTH - RIGHT, y=y.at(value), t=LEFT - 5, ty=y.at(value) + 3.5, label=f"{value:g}"
    )


def _x_ticks(x: _Scale) -> list[Markup]:
    """The oldest reading and now; between them whole years where they fit."""
    years = -x.low / 365.25
    if years < 2:
        marks = [(x.low, f"{-x.low / 30.44:.0f} months ago"), (0.0, "now")]
    else:
        step = max(1, round(years / 3))
        marks = [(-365.25 * n, f"−{n} y") for n in range(step, int(years) + 1, step)]
        marks.append((0.0, "now"))
    return [
        Markup('<text class="tick {c}" x="{x}" y="{y}">{label}</text>').format(
            c="end" if days == 0 else ("start" if days == x.low else "middle"),
            x=x.at(days),
            y=HEIGHT - 5,
            label=label,
        )
        for days, label in marks
    ]


def _mark(x: _Scale, y: _Scale, point: Point) -> Markup:
    cx, cy = x.at(point.days), y.at(point.value)
    kind = "mark uncertain" if point.uncertain else "mark"
    if point.comparator.startswith("<"):
        return Markup('<path class="{k} open" d="M{x} {y} l4 -6 h-8 z"/>').format(
            k=kind, x=cx, y=cy + 3
        )
    if point.comparator.startswith(">"):
        return Markup('<path class="{k} open" d="M{x} {y} l4 6 h-8 z"/>').format(
            k=kind, x=cx, y=cy - 3
        )
    return Markup('<circle class="{k}" cx="{x}" cy="{y}" r="2.6"/>').format(k=kind, x=cx, y=cy)


def _summary(unit: str, points: Sequence[Point]) -> str:
    newest = max(points, key=lambda p: p.days)
    shown = unit if unit != "1" else ""
    lowest, highest = min(p.value for p in points), max(p.value for p in points)
    readings = "1 reading" if len(points) == 1 else f"{len(points)} readings"
    latest = f"latest {newest.comparator}{newest.value:g} {shown}".strip()
    return (
        f"{readings}, {latest}; between {lowest:g} and {highest:g}. The table below has each one."
    )

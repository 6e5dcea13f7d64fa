"""The officer's plots, drawn as SVG on the server. The table beside each carries the same numbers.

What must be told apart differs in shape or pattern as well as in colour.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 34, 46
FLOOR = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Bar:
    """`hatched`: of what should not be. `value` is written above it."""

    label: str
    value: float
    hatched: bool = False


@dataclass(frozen=True, slots=True)
class Spot:
    """A point of a row of points: `low` and `high` are the ends of its interval, if it has one."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Points of one kind, and the shape they are drawn in: `dot`, `square` or `peak`."""

    name: str
    shape: str
    spots: Sequence[Spot]


@dataclass(frozen=True, slots=True)
class Words:
    """What a plot is called, what it says in one sentence, and what its axes count."""

    title: str
    text: str
    across: str
    up: str


def bars(name: str, words: Words, found: Sequence[Bar]) -> Markup:
    """Whole numbers side by side."""
    top = _round_up(max((bar.value for bar in found), default=0) or 1)
    step = (WIDTH - LEFT - RIGHT) / max(len(found), 4)
    drawn = [
        _bar(name, bar, LEFT + step * i + step * 0.16, step * 0.68, top)
        for i, bar in enumerate(found)
    ]
    ticks = [_level(top * i / 4, top, f"{top * i / 4:g}") for i in range(5) if top * i / 4 % 1 == 0]
    return _svg(name, words, [*ticks, *drawn], pattern=True)


def rows(name: str, words: Words, found: Sequence[Row]) -> Markup:
    """Shares from 0 to 100 % over the same places, each row in a shape of its own."""
    labels = [spot.label for spot in found[0].spots] if found else []
    step = (WIDTH - LEFT - RIGHT) / max(len(labels), 1)
    at = {label: LEFT + step * (i + 0.5) for i, label in enumerate(labels)}
    parts = [_level(i / 4, 1, f"{i * 25} %") for i in range(5)]
    parts += [_under(x, label) for label, x in at.items()]
    for offset, row in zip((-7, 0, 7), found, strict=False):
        parts += [_spot(row.shape, at[s.label] + offset, s) for s in row.spots if s.label in at]
    return _svg(name, words, [*parts, *_legend(found)])


def course(name: str, words: Words, points: Sequence[tuple[int, int, int]], wanted: int) -> Markup:
    """Smallest and own class by number of the entry; a line for what is wanted."""
    top = _round_up(max([wanted, *(max(k, own) for _, k, own in points)], default=1))
    first, last = (points[0][0], points[-1][0]) if points else (0, 1)
    span = max(last - first, 1)
    parts = [_level(top * i / 4, top, f"{top * i / 4:g}") for i in range(5)]
    for number, k, own in points:
        x = LEFT + 10 + (number - first) / span * (WIDTH - LEFT - RIGHT - 20)
        parts += [_mark("square", x, _y(k, top)), _mark("dot", x, _y(own, top))]
    parts += [_line(wanted, top, f"wanted: {wanted}"), _under(LEFT + 10, f"entry {first:,}")]
    if last > first:
        parts.append(_under(WIDTH - RIGHT - 26, f"{last:,}"))
    shapes = [Row("its own class", "dot", ()), Row("smallest class", "square", ())]
    return _svg(name, words, [*parts, *_legend(shapes)])


def field(name: str, words: Words, points: Sequence[tuple[str, float, float]]) -> Markup:
    """Labelled points, both ways from 0 to 100 %."""
    parts = [_level(i / 4, 1, f"{i * 25} %") for i in range(5)]
    width = WIDTH - LEFT - RIGHT - 90  # room for the last label
    parts += [_under(LEFT + width * i / 4, f"{i * 25} %") for i in range(5)]
    for label, x, y in points:
        at = LEFT + width * x
        parts.append(_mark("dot", at, _y(y, 1)))
        parts.append(_text("start strong", at + 8, _y(y, 1) + 4, label))
    return _svg(name, words, parts)


# -- parts -----------------------------------------------------------------------------------------


def _svg(name: str, words: Words, parts: Iterable[Markup], *, pattern: bool = False) -> Markup:
    hatch = Markup(
        '<defs><pattern id="{n}-h" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="under" width="6" height="6"/>'
        '<rect class="hatch" width="2.4" height="6"/></pattern></defs>'
    ).format(n=name)
    return Markup(
        '<svg class="plot" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{n}-t {n}-d">'
        '<title id="{n}-t">{title}</title><desc id="{n}-d">{text}</desc>{hatch}{parts}{axes}</svg>'
    ).format(
        w=WIDTH,
        h=HEIGHT,
        n=name,
        title=words.title,
        text=words.text,
        hatch=hatch if pattern else "",
        parts=Markup("").join(parts),
        axes=_axes(words),
    )


def _axes(words: Words) -> Markup:
    return Markup('<line class="axis" x1="{a}" x2="{b}" y1="{y}" y2="{y}"/>{up}{across}').format(
        a=LEFT,
        b=WIDTH - RIGHT,
        y=FLOOR,
        up=_text("start soft", 4, 14, words.up),
        across=_text("middle soft", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, words.across),
    )


def _bar(name: str, bar: Bar, x: float, width: float, top: float) -> Markup:
    y = _y(bar.value, top)
    fill = Markup(' fill="url(#{n}-h)"').format(n=name) if bar.hatched else ""
    return (
        Markup(
            '<rect class="{k}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}"{f}/>'
        ).format(k="bar hatched" if bar.hatched else "bar", x=x, y=y, w=width, h=FLOOR - y, f=fill)
        + _text("middle", x + width / 2, y - 5, f"{bar.value:g}")
        + _under(x + width / 2, bar.label)
    )


def _spot(shape: str, x: float, spot: Spot) -> Markup:
    mark = _mark(shape, x, _y(spot.value, 1))
    if spot.low is None or spot.high is None:
        return mark
    return Markup(
        '<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{a:.1f}" y2="{b:.1f}"/>{m}'
    ).format(x=x, a=_y(spot.low, 1), b=_y(spot.high, 1), m=mark)


def _mark(shape: str, x: float, y: float) -> Markup:
    if shape == "square":
        return Markup(
            '<rect class="spot open" x="{x:.1f}" y="{y:.1f}" width="8" height="8"/>'
        ).format(x=x - 4, y=y - 4)
    if shape == "peak":
        return Markup('<path class="spot open" d="M{x:.1f} {y:.1f} l5 9 h-10 z"/>').format(
            x=x, y=y - 5
        )
    return Markup('<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="4.2"/>').format(x=x, y=y)


def _legend(found: Sequence[Row]) -> list[Markup]:
    parts, x = [], WIDTH - RIGHT
    for row in reversed(found):
        x -= 7 * len(row.name) + 26
        parts += [_mark(row.shape, x, 11), _text("start", x + 9, 15, row.name)]
    return parts


def _level(value: float, top: float, label: str) -> Markup:
    y = _y(value, top)
    return Markup('<line class="grid" x1="{a}" x2="{b}" y1="{y:.1f}" y2="{y:.1f}"/>{t}').format(
        a=LEFT, b=WIDTH - RIGHT, y=y, t=_text("end", LEFT - 6, y + 4, label)
    )


def _line(value: float, top: float, label: str) -> Markup:
    y = _y(value, top)
    return Markup('<line class="wanted" x1="{a}" x2="{b}" y1="{y:.1f}" y2="{y:.1f}"/>{t}').format(
        a=LEFT, b=WIDTH - RIGHT, y=y, t=_text("end strong", WIDTH - RIGHT, y - 5, label)
    )


def _under(x: float, label: str) -> Markup:
    return _text("middle", x, FLOOR + 16, label)


def _text(kind: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{k}" x="{x:.1f}" y="{y:.1f}">{t}</text>').format(
        k=kind, x=x, y=y, t=text
    )


def _y(value: float, top: float) -> float:
    return FLOOR - min(value / top, 1) * (FLOOR - TOP)


def _round_up(value: float) -> float:
    """The next of 4, 8, 20, 40, 80, 200, ...: four even steps."""
    step = 4.0
    while True:
        for factor in (1, 2, 5):
            if value <= step * factor:
                return step * factor
        step *= 10

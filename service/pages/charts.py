"""Pictures of one number, drawn as SVG on the server: a range on a line, people, contributions.

Colours come from the style sheet's classes, and what differs in colour differs in shape as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Top:
    """The end of a scale that starts at zero, and how it is written."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float  # pixels
    end: float

    def at(self, value: float) -> float:
        span = self.high - self.low
        return round(self.start + (value - self.low) / span * (self.end - self.start), 1)


def interval_bar(name: str, low: float, value: float, high: float, top: Top, text: str) -> Markup:
    """A number with its interval on a line from zero to `top`."""
    scale = Scale(0, top.value, 12, 172)
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

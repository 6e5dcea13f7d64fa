"""Figures of a validation report, drawn as SVG on the server: calibration and decision curve.

Each stands alone: its colours, a title and a description are in the file. Every mark differs in
shape as well as colour, and the numbers stand in the report beside it. Only what the report holds
is drawn, so no figure can show a person.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Json = Mapping[str, Any]

WIDTH, HEIGHT = 520, 440
LEFT, RIGHT, TOP, BOTTOM = 84, 20, 40, 104
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.small{font-size:12px}.title{font-size:15px;"
    "font-weight:600}.axis,.tick{stroke:#57606a;stroke-width:1}.grid{stroke:#d0d7de;stroke-width:1}"
    ".right{stroke:#57606a;stroke-width:1.5;stroke-dasharray:6 4}.range{stroke:#0b5cad;"
    "stroke-width:2}.point{fill:#0b5cad}.model{fill:none;stroke:#0b5cad;stroke-width:2.5}.all{"
    "fill:none;stroke:#9a3412;stroke-width:2;stroke-dasharray:2 3}.bar{fill:#8fb4da}.paper{"
    "fill:#fff}"
)


@dataclass(frozen=True)
class _Axis:
    """A linear scale: `low` at pixel `start`, `high` at pixel `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def calibration(report: Json) -> str:
    """Observed beside predicted in tenths, with Wilson intervals, over how many are predicted."""
    tenths = report["tenths"]
    top = _round_up(max(max(t["predicted"], t["high"]) for t in tenths))
    x, y = _axes(0.0, top)
    parts = [
        *_grid(x, y, percent=True),
        _line("right", x, y, [(0.0, 0.0), (top, top)]),
        *_bars(report["histogram"], x),
        *(_tenth(one, x, y) for one in tenths),
        *_labels("predicted probability", "observed share"),
    ]
    slope = report["calibration"]["slope"]["value"]
    described = (
        f"{len(tenths)} groups of predicted risk. Calibration slope {slope:.2f}; observed over "
        f"expected {report['observedOverExpected']['value']:.2f}. The dashed line is perfect."
    )
    return _svg("Calibration", described, parts)


def decision(report: Json) -> str:
    """Net benefit of the model, of treating all and of treating none, by threshold."""
    curve = report["decisionCurve"]
    x = _Axis(0.0, _round_up(curve[-1]["threshold"]), LEFT, WIDTH - RIGHT)
    highest = max(max(one["model"], one["treatAll"], 0.0) for one in curve)
    y = _Axis(-highest / 4 or -0.01, highest or 0.01, HEIGHT - BOTTOM, TOP)
    parts = [
        *_grid(x, y, percent=False),
        _line("right", x, y, [(x.low, 0.0), (x.high, 0.0)]),
        _line("all", x, y, list(_while_inside(curve, y))),
        _line("model", x, y, [(one["threshold"], one["model"]) for one in curve]),
        *_labels("threshold probability", "net benefit"),
        *_legend((("model", "the model"), ("all", "treating all"), ("right", "treating none"))),
    ]
    better = sum(one["model"] > max(one["treatAll"], 0.0) for one in curve)
    described = f"The model is above both others at {better} of {len(curve)} thresholds."
    return _svg("Decision curve", described, parts)


# -- pieces ------------------------------------------------------------------------------------


def _svg(title: str, described: str, parts: Sequence[str]) -> str:
    name = title.lower().replace(" ", "-")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(title)}</title>'
        f'<desc id="{name}-d">{escape(described)}</desc><style>{STYLE}</style>'
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>'
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


def _axes(low: float, high: float) -> tuple[_Axis, _Axis]:
    return (
        _Axis(low, high, LEFT, WIDTH - RIGHT),
        _Axis(low, high, HEIGHT - BOTTOM, TOP),
    )


def _grid(x: _Axis, y: _Axis, *, percent: bool) -> Iterator[str]:
    for value in _steps(x.low, x.high):
        at = x.at(value)
        yield f'<path class="grid" d="M{at} {y.start}V{y.end}"/>'
        yield _text(at, y.start + 18, _percent(value), "middle")
    for value in _steps(y.low, y.high):
        at = y.at(value)
        told = _percent(value) if percent else f"{value:.3f}"
        yield f'<path class="grid" d="M{x.start} {at}H{x.end}"/>'
        yield _text(x.start - 8, at + 4, told, "end")
    yield f'<path class="axis" fill="none" d="M{x.start} {y.end}V{y.start}H{x.end}"/>'


def _steps(low: float, high: float) -> list[float]:
    step = (high - low) / 5
    return [round(low + step * i, 10) for i in range(6)]


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text class="small" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(kind: str, x: _Axis, y: _Axis, points: Sequence[tuple[float, float]]) -> str:
    path = "L".join(f"{x.at(a)} {y.at(b)}" for a, b in points)
    return f'<path class="{kind}" fill="none" d="M{path}"/>'


def _while_inside(curve: Sequence[Json], y: _Axis) -> Iterator[tuple[float, float]]:
    """Treating all falls without end: it is drawn as far as the figure reaches."""
    yield 0.0, curve[0]["treatAll"]
    for one in curve:
        if one["treatAll"] < y.low:
            return
        yield one["threshold"], one["treatAll"]


def _tenth(one: Json, x: _Axis, y: _Axis) -> str:
    at = x.at(one["predicted"])
    return (
        f'<path class="range" d="M{at} {y.at(one["low"])}V{y.at(one["high"])}"/>'
        f'<circle class="point" cx="{at}" cy="{y.at(one["observed"])}" r="4"/>'
    )


def _bars(histogram: Sequence[Json], x: _Axis) -> Iterator[str]:
    """How many people are predicted where, under the axis; small cells are left out."""
    floor, most = HEIGHT - 34, max((one["people"] or 0) for one in histogram) or 1
    for one in histogram:
        if one["people"]:
            height = round(28 * one["people"] / most, 1)
            start, end = x.at(one["from"]), x.at(one["to"])
            yield (
                f'<rect class="bar" x="{start}" y="{floor - height}" '
                f'width="{max(end - start - 1, 1):.1f}" height="{height}"/>'
            )


def _labels(below: str, beside: str) -> Iterator[str]:
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, below, "middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield (
        f'<text class="small" transform="translate(16 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(beside)}</text>'
    )


def _legend(kinds: Sequence[tuple[str, str]]) -> Iterator[str]:
    for position, (kind, words) in enumerate(kinds):
        left = LEFT + 10 + 150 * position
        yield f'<path class="{kind}" fill="none" d="M{left} {HEIGHT - 52}h28"/>'
        yield _text(left + 36, HEIGHT - 48, words, "start")


def _round_up(value: float) -> float:
    return next((top for top in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75) if value <= top), 1.0)


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"

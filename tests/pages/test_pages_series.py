"""Signals over time: what a chart says without colour and without sight, and nothing invented."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from service.pages.series import LARGE, NO_BAND, Band, Point, Series, signal_chart, strip


def parse(svg: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def marks(svg: Markup) -> list[str]:
    return re.findall(r'class="(mark[^"]*|aside)"', svg)


def chart(*points: Point, band: Band = NO_BAND, aside: tuple[float, ...] = ()) -> Markup:
    return signal_chart("x", "Systolic blood pressure", "mmHg", Series(points, band, aside))


def test_every_reading_is_one_mark_and_no_line_joins_them() -> None:
    svg = chart(Point(-400, 140), Point(-200, 150), Point(-10, 135))
    assert marks(svg) == ["mark"] * 3
    assert "polyline" not in svg
    assert all(line.get("class") == "grid" for line in parse(svg).iter("line"))


def test_its_alternative_text_is_the_message() -> None:
    svg = chart(Point(-400, 140), Point(-10, 135), aside=(-30,))
    text = parse(svg).findtext("desc")
    assert text is not None
    assert text.startswith(
        "2 readings, latest 135 mmHg; between 135 and 140. 1 value was set aside."
    )


@pytest.mark.parametrize(("comparator", "up"), [("<", False), (">=", True)])
def test_a_censored_value_is_an_open_triangle_pointing_where_the_value_lies(
    comparator: str, up: bool
) -> None:
    svg = chart(Point(-10, 5, comparator))
    assert marks(svg) == ["mark open"]
    corner = re.search(r'class="mark open" d="M[\d.]+ [\d.]+ l[\d.]+ (-?[\d.]+)', svg)
    assert corner is not None
    assert (float(corner[1]) > 0) is up


def test_an_uncertain_reading_is_marked_by_shape_too() -> None:
    assert marks(chart(Point(-10, 5, "", True))) == ["mark uncertain"]


def test_a_value_set_aside_is_a_cross_on_the_axis_at_its_time() -> None:
    svg = chart(Point(-100, 140), Point(0, 140), aside=(-50,))
    assert marks(svg) == ["mark", "mark", "aside"]
    first, last = (float(c.get("cx", "0")) for c in parse(svg).iter("circle"))
    cross = next(p for p in parse(svg).iter("path") if p.get("class") == "aside")
    start = float(str(cross.get("d"))[1:].split()[0])
    assert start == pytest.approx((first + last) / 2, abs=6)


def test_what_was_only_set_aside_is_drawn_without_a_number() -> None:
    svg = chart(aside=(-50, -20))
    assert marks(svg) == ["aside", "aside"]
    assert parse(svg).findtext("desc") == "No number; 2 values were set aside."


def test_the_band_lies_behind_the_points() -> None:
    svg = chart(Point(-100, 140), Point(0, 150), band=Band(120, 160))
    assert svg.index('class="band"') < svg.index('class="mark"')


def test_a_title_cannot_become_markup() -> None:
    svg = signal_chart("x", "<script>1</script>", "<b>", Series([Point(0, 1)]))
    assert "<script>" not in svg
    assert parse(svg).findtext("title") == "<script>1</script>"


def test_a_strip_says_nothing_to_those_who_listen() -> None:
    """The number beside it does."""
    root = parse(strip(Series([Point(-100, 140), Point(0, 150)])))
    assert root.get("aria-hidden") == "true"
    assert len(list(root.iter("circle"))) == 2


values = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: round(v, 3))
points = st.builds(Point, st.integers(-20_000, 400), values)


@given(st.lists(points, min_size=1, max_size=20), st.lists(st.integers(-20_000, 0), max_size=3))
def test_any_series_stays_inside_its_frame(series: list[Point], aside: list[int]) -> None:
    root = parse(chart(*series, aside=tuple(map(float, aside))))
    for circle in root.iter("circle"):
        assert 0 <= float(circle.get("cx", "-1")) <= LARGE.width
        assert 0 <= float(circle.get("cy", "-1")) <= LARGE.height

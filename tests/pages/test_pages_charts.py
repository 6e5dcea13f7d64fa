"""Pictures: what they say without colour and without sight, and that nothing is invented."""

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from service.pages.charts import Share, Top, contribution_bar, icon_array, interval_bar


def parse(svg: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def test_an_interval_is_drawn_on_a_line_that_starts_at_zero() -> None:
    svg = interval_bar("i", 0.03, 0.04, 0.05, Top(0.05, "5 %"), "4 %, 3 to 5 %")
    root = parse(svg)
    assert root.findtext("title") == "4 %, 3 to 5 %"
    assert [t.text for t in root.iter("text")] == ["0", "5 %"]
    box = next(root.iter("rect"))
    assert float(box.get("x", "0")) == 108.0
    assert float(box.get("width", "0")) == 64.0


def people(svg: Markup) -> dict[str, int]:
    """Circles by state: a circle is a path of one move and two arcs."""
    return {
        str(path.get("class")): len(re.findall("M", path.get("d", "")))
        for path in parse(svg).iter("path")
    }


def test_people_are_filled_striped_and_empty_from_one_corner() -> None:
    svg = icon_array("p", Share(100, 8.1, 6.4, 10.6), "8 of 100")
    assert people(svg) == {"none": 89, "sure": 6, "maybe": 5, "rim": 2}
    assert 'fill="url(#p-h)"' in svg


def test_a_thousand_people_are_four_paths() -> None:
    svg = icon_array("p", Share(1000, 8.1, 6.4, 10.6), "8 of 1000")
    assert people(svg)["none"] == 989
    assert svg.count("<path") == 4


shares = st.tuples(*[st.floats(0, 1)] * 3).map(sorted)


@given(shares, st.sampled_from([100, 1000]))
def test_nobody_is_counted_twice_and_nobody_is_missing(ends: list[float], total: int) -> None:
    low, value, high = (end * total for end in ends)
    groups = dict(Share(total, value, low, high).groups())
    assert sorted(groups["sure"] + groups["maybe"] + groups["none"]) == list(range(total))
    assert len(groups["sure"]) + len(groups["rim"]) == round(value)


def test_contributions_go_right_when_they_raise_and_left_when_they_lower() -> None:
    raising, lowering = (
        next(parse(contribution_bar(share, 0.5)).iter("rect")) for share in (0.5, -0.25)
    )
    assert (raising.get("class"), raising.get("x")) == ("more", "100")
    assert (lowering.get("class"), lowering.get("x")) == ("less", "51.0")

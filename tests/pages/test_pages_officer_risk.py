"""The risk dashboard: numbers as measured, thresholds said correctly, settings with their trace."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from pages_site import FULL, HTML, Site, form_token
from test_pages_officer import text_of

from service.auth import Role
from service.office.utility import answers, utility
from service.pages import plots
from service.pages.officer import risk
from service.risk.settings import OWN

OFFICER = Role.PRIVACY_OFFICER


@pytest.fixture(scope="module")
def page(site: Site) -> str:
    return site.client(OFFICER).get("/privacy/risk").text


def test_the_page_says_what_was_measured(site: Site, page: str) -> None:
    found = site.app.extensions["twinport"][1].office.measured.held("safe-harbor")
    text = text_of(page)
    assert f"{len(site.twins)} twins under safe-harbor" in text
    assert f"Smallest class (k) {found['classes']['k']} wanted 11" in text
    for attack in found["attacks"]:
        assert f"Facts {attack['known']} " in text or f" {attack['known']} " in text
    assert page.count('<svg class="plot"') == 5


def test_the_trap_of_the_published_ratio_is_said(page: str) -> None:
    text = text_of(page)
    assert "Low invasion of privacy in use 11 0.09 0.0909" in text
    assert "one in 11 is 0.0909, more than 0.09" in text


def post(client: FlaskClient, **fields: Any) -> Any:
    token = form_token(client.get("/privacy/risk").text)
    return client.post("/privacy/risk/settings", data={"csrf_token": token, **fields}, headers=HTML)


def test_an_officer_decides_and_that_is_recorded(acting: Site) -> None:
    client = acting.client(OFFICER, person="ada")
    done = post(client, threshold=OWN, k="3", knows=["sex", "age-band"], population="50,000",
                source="census 2025")  # fmt: skip
    assert (done.status_code, done.location) == (303, "/privacy/risk#settings")
    text = text_of(client.get("/privacy/risk").text)
    assert "Set here in use 3" in text
    assert "at least 3 alike by sex, age in tens of years; 50,000 people (census 2025)" in text
    assert "privacy-officer:ada" in text
    assert acting.service.ledger_entries(1)[0]["event"] == "risk-settings"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"threshold": OWN, "knows": ["sex"]}, "give the smallest class you want"),
        ({"threshold": OWN, "k": "1", "knows": ["sex"]}, "a class size is between 2 and"),
        ({"threshold": OWN, "k": "many", "knows": ["sex"]}, "whole numbers in digits"),
        ({"threshold": "none", "knows": ["sex"]}, "thresholds: low-invasion"),
        ({"threshold": "low-invasion"}, "an outsider may know"),
        ({"threshold": "low-invasion", "knows": ["name"]}, "an outsider may know"),
        ({"threshold": "low-invasion", "knows": ["sex"], "population": "9"}, "come from"),
    ],
)
def test_what_cannot_be_decided_is_told_and_changes_nothing(
    acting: Site, fields: dict[str, Any], why: str
) -> None:
    client = acting.client(OFFICER)
    said = post(client, **fields)
    assert said.status_code == 409
    assert "Nothing was changed:" in said.text
    assert why in said.text
    assert "Nobody has decided yet" in client.get("/privacy/risk").text


def test_one_twin_among_those_held(site: Site) -> None:
    text = text_of(site.client(OFFICER).get(f"/privacy/twins/{site.twins[FULL]}/risk").text)
    assert "No other twin is alike." in text
    assert "Compared with 5 other twins" in text


def test_a_measure_is_kept_until_the_ledger_moves_on(acting: Site) -> None:
    measured = acting.app.extensions["twinport"][1].office.measured
    first = measured.held("safe-harbor")
    assert measured.held("safe-harbor") is first
    post(acting.client(OFFICER), threshold="high-invasion", knows=["sex"])
    assert measured.held("safe-harbor") is not first


def test_without_twins_the_page_says_the_next_step(acting: Site) -> None:
    page = acting.client(OFFICER).get("/privacy/risk?policy=relative-minutes").text
    assert "No twin is held under relative-minutes." in page


# -- plots ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "wanted", "expected"),
    [
        ([[1, 4]], 11, [("1", 4), ("2", 0), ("3–4", 0), ("5–10", 0)]),
        (
            [[1, 1], [3, 2], [12, 1]],
            11,
            [("1", 1), ("2", 0), ("3–4", 6), ("5–10", 0), ("11–21", 12)],
        ),
        ([[2, 5], [60, 1]], 2, [("1", 0), ("2–3", 10), ("4–9", 0), ("10+", 60)]),
    ],
)
def test_twins_by_the_size_of_their_class(
    sizes: list[list[int]], wanted: int, expected: list[tuple[str, int]]
) -> None:
    found = risk.buckets(sizes, wanted)
    assert [(label, n) for label, n, _ in found] == expected
    assert sum(n for _, n, _ in found) == sum(size * n for size, n in sizes)


def test_bars_reach_as_high_as_their_numbers() -> None:
    words = plots.Words("Title", "Text", "across", "up")
    drawn = plots.bars("x", words, [plots.Bar("1", 4), plots.Bar("2", 2, hatched=True)])
    heights = [float(h) for h in re.findall(r"<rect class=\"bar[^>]* height=\"([\d.]+)\"", drawn)]
    assert heights == [170.0, 85.0]
    assert '<title id="x-t">Title</title>' in drawn


def test_a_share_stands_at_its_height_with_its_interval() -> None:
    words = plots.Words("Title", "Text", "across", "up")
    spot = plots.Spot("1", 0.5, 0.25, 0.75)
    drawn = plots.rows("x", words, [plots.Row("name", "dot", [spot])])
    middle = (plots.FLOOR + plots.TOP) / 2
    assert f'cy="{middle:.1f}"' in drawn
    assert f'y1="{plots.FLOOR - 0.25 * (plots.FLOOR - plots.TOP):.1f}"' in drawn


@pytest.mark.parametrize(("value", "top"), [(0.5, 4), (4, 4), (5, 8), (26, 40), (130, 200)])
def test_a_scale_ends_at_a_round_number(value: float, top: float) -> None:
    assert plots._round_up(value) == top


# -- utility -------------------------------------------------------------------------------------


def test_answers_are_counted_against_what_was_asked() -> None:
    given = {"results": [1, 2], "refusals": [3]}
    assert answers([{"assessments": [given]}, {"assessments": []}]) == (2, 3)


def test_nothing_is_of_no_use() -> None:
    empty = utility("safe-harbor", [], [])
    assert (empty.told, empty.twins, empty.answered) == (0.0, 0, 0.0)

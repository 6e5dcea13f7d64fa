"""What of an address may be told: the population table, and the vectors of known wrong copies."""

import csv
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.geography import LARGE, STATES, area, zip3

ROWS = list(
    csv.DictReader(
        (files("privacy.geography") / "zip3.csv").read_text(encoding="utf-8").splitlines()
    )
)


def us(code: object, **more: object) -> dict[str, object]:
    return {"country": "US", "postalCode": code, **more}


def test_the_table_is_the_census() -> None:
    assert len(ROWS) == 894
    assert sum(int(row["residents_2020"]) for row in ROWS) == 334_726_586


def test_the_lists_of_three_censuses_are_withheld_together() -> None:
    by_census = {
        "2000": [row["zip3"] for row in ROWS if row["small_2000"] == "1"],
        "2010": [row["zip3"] for row in ROWS if row["small_2010"] == "1"],
        "2020": [row["zip3"] for row in ROWS if int(row["residents_2020"]) <= 20_000],
    }
    assert {census: len(found) for census, found in by_census.items()} == {
        "2000": 17,
        "2010": 14,
        "2020": 18,
    }
    withheld = set().union(*by_census.values())
    assert len(withheld) == 23
    assert len(LARGE) == 894 - 23
    assert all(zip3(f"{prefix}01") == "000" for prefix in withheld)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("03601", "000"), ("06301", "000"), ("10200", "000"), ("20250", "000"), ("75390", "000"),
        ("77201", "000"), ("00801", "000"), ("09012", "000"), ("96910", "000"), ("57601", "576"),
        ("00601", "006"), ("99901", "999"), ("02138-1234", "021"),
        ("K1A 0B1", None), ("SW1A 1AA", None), ("1234", None), ("021380", None), (2138, None),
        ("\N{FULLWIDTH DIGIT ZERO}2138", None), ("02138\n", None), (None, None),
    ],
)  # fmt: skip
def test_three_digits_or_nothing(code: object, told: str | None) -> None:
    found = area(us(code), whole_zip=False)
    assert found is not None
    assert found.get("postalCode") == told


@pytest.mark.parametrize("country", [None, "DE", "us of a", "", 840, ["US"]])
def test_elsewhere_or_nowhere_nothing_is_told(country: object) -> None:
    assert area({"country": country, "postalCode": "02138"}, whole_zip=True) is None
    assert area({"postalCode": "02138"}, whole_zip=True) is None
    assert area("02138", whole_zip=True) is None


def test_a_state_is_one_of_a_list_and_everything_else_is_left_out() -> None:
    full = us("02138-1234", state="MA", city="Somewhere", line=["1 Way"], text="all of it")
    assert area(full, whole_zip=False) == {"country": "US", "state": "MA", "postalCode": "021"}
    assert area(full, whole_zip=True) == {"country": "US", "state": "MA", "postalCode": "02138"}
    assert area(us(None, state="Massachusetts"), whole_zip=True) == {"country": "US"}
    assert len(STATES) == 52


@given(st.text(max_size=12))
def test_nothing_but_a_prefix_comes_out(code: str) -> None:
    found = area(us(code), whole_zip=False) or {}
    assert found.get("postalCode", "000") in {"000", *LARGE}

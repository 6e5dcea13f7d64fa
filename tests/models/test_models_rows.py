"""A table in, a long table out: one line per row, outcome and horizon, number or refusal."""

import itertools
from collections.abc import Iterator

import pytest

from twin_engine.models.rows import OUTPUT, run_rows

ROW = {
    "id": "a", "sex": "female", "age": "50", "total-cholesterol": "200", "hdl-cholesterol": "45",
    "systolic-bp": "160", "bmi": "35", "egfr": "90", "diabetes": "1", "smoking-current": "0",
    "bp-treatment": "1", "statin": "0",
}  # fmt: skip


def only(outcome: str, **change: str) -> dict[str, object]:
    found = run_rows("prevent", [ROW | change], horizon=10)
    return next(row for row in found if row["outcome"] == outcome)


def test_the_published_example() -> None:
    row = only("total-cvd")
    assert row["value"] == pytest.approx(0.1468393910, abs=1e-9)
    assert (row["id"], row["model"], row["variant"]) == ("a", "prevent", "base")
    assert (row["horizon_years"], row["unit"], row["refusal"]) == (10, "1", "")
    assert row["low"] < row["value"] < row["high"]  # type: ignore[operator]


def test_the_columns_are_these_and_others_pass_through() -> None:
    (row, *_) = run_rows("prevent", [ROW | {"ward": "7"}])
    assert list(row) == ["id", "ward", *OUTPUT]


def test_every_outcome_and_horizon_has_a_line() -> None:
    found = [(r["outcome"], r["horizon_years"]) for r in run_rows("prevent", [ROW], interval=False)]
    assert len(found) == len(set(found)) == 10


def test_the_interval_can_be_left_out() -> None:
    for row in run_rows("prevent", [ROW], interval=False):
        assert (row["low"], row["high"]) == ("", "")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"systolic-bp": ""}, "missing-input:systolic-bp"),
        ({"systolic-bp": "201"}, "out-of-range:systolic-bp"),
        ({"systolic-bp": ">200"}, "censored-input:systolic-bp"),
        ({"systolic-bp": "high"}, "unreadable-input:systolic-bp"),
        ({"systolic-bp": "nan"}, "unreadable-input:systolic-bp"),
        ({"sex": "other"}, "no-equation:sex"),
        ({"diabetes": "2"}, "out-of-range:diabetes"),
        ({"age": "80"}, "out-of-range:age"),
        ({"hba1c": "<4"}, "censored-input:hba1c"),
        ({"egfr": "", "creatinine": ""}, "missing-input:egfr"),
    ],
)
def test_a_refusal_has_a_reason_and_no_number(change: dict[str, str], refusal: str) -> None:
    row = only("total-cvd", **change)
    assert row["refusal"] == refusal
    assert (row["value"], row["low"], row["high"]) == ("", "", "")


def test_filtration_is_computed_from_creatinine_where_only_that_is_given() -> None:
    assert only("total-cvd", egfr="", creatinine="0.7")["refusal"] == ""
    (kidney,) = run_rows("ckd-epi-2021", [ROW | {"creatinine": "0.7"}])
    given = only("total-cvd", egfr=repr(kidney["value"]))
    assert only("total-cvd", egfr="", creatinine="0.7")["value"] == given["value"]


@pytest.mark.parametrize(
    ("change", "variant"),
    [
        ({}, "base"),
        ({"hba1c": "7.5"}, "hba1c"),
        ({"uacr": "40"}, "uacr"),
        ({"sdi-decile": "8"}, "sdi"),
        ({"hba1c": "7.5", "uacr": "40"}, "full"),
    ],
)
def test_the_variant_follows_the_published_rule(change: dict[str, str], variant: str) -> None:
    assert only("total-cvd", **change)["variant"] == variant


def test_the_variant_can_be_overridden() -> None:
    (row, *_) = run_rows("prevent", [ROW | {"hba1c": "7.5"}], variant="base", horizon=10)
    assert row["value"] == pytest.approx(0.1468393910, abs=1e-9)
    with pytest.raises(LookupError, match="no variant"):
        run_rows("prevent", [ROW], variant="none")
    with pytest.raises(LookupError, match="no outcome at 5 years"):
        run_rows("prevent", [ROW], horizon=5)


def test_rows_stream() -> None:
    """An endless table is answered line by line; nothing waits for its end."""

    def endless() -> Iterator[dict[str, str]]:
        while True:
            yield ROW

    assert len(list(itertools.islice(run_rows("prevent", endless()), 25))) == 25


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    rows = [ROW | {"systolic-bp": str(110 + i), "hba1c": "6.1" if i % 3 else ""} for i in range(40)]
    together = list(run_rows("prevent", rows, horizon=10))
    apart = [line for row in rows for line in run_rows("prevent", [row], horizon=10)]
    assert together == apart

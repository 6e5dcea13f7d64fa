"""Named bands: both sides of every published edge, on the unrounded value."""

import pytest

from twin_engine.equations.library import Target
from twin_engine.models.equation_model import equation_model
from twin_engine.models.rows import run_rows


@pytest.mark.parametrize(
    ("value", "stage"),
    [
        (120, "g1"), (90, "g1"), (89.999, "g2"), (60, "g2"), (59.999, "g3a"), (45, "g3a"),
        (44.999, "g3b"), (30, "g3b"), (29.999, "g4"), (15, "g4"), (14.999, "g5"), (3, "g5"),
    ],
)  # fmt: skip
def test_kdigo_stages(value: float, stage: str) -> None:
    found = equation_model("ckd-epi-2021").category(Target("egfr", None), value, {})
    assert found == ("kdigo-g", stage)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.0299, "low"), (0.03, "borderline"), (0.0499, "borderline"), (0.05, "intermediate"),
        (0.0999, "intermediate"), (0.10, "high"),
    ],
)  # fmt: skip
def test_ten_year_ascvd_of_2026(value: float, code: str) -> None:
    found = equation_model("prevent").category(Target("ascvd", 10), value, {})
    assert found == ("acc-aha-2026-dyslipidaemia", code)


@pytest.mark.parametrize(
    ("value", "code"), [(0.0749, "below-threshold"), (0.075, "at-or-above-threshold")]
)
def test_the_hypertension_threshold_of_2025(value: float, code: str) -> None:
    found = equation_model("prevent").category(Target("total-cvd", 10), value, {})
    assert found == ("aha-acc-2025-hypertension", code)


def test_no_band_is_invented_where_none_was_published() -> None:
    for target in (Target("heart-failure", 10), Target("ascvd", 30), Target("total-cvd", 30)):
        assert equation_model("prevent").category(target, 0.2, {}) is None


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.0499, "low"), (0.05, "borderline"), (0.0749, "borderline"), (0.075, "intermediate"),
        (0.1999, "intermediate"), (0.20, "high"),
    ],
)  # fmt: skip
def test_pooled_cohort_bands(value: float, code: str) -> None:
    found = equation_model("pce-2013").category(Target("ascvd", 10), value, {})
    assert found == ("acc-aha-2018-cholesterol", code)


@pytest.mark.parametrize(
    ("age", "value", "code"),
    [
        (49, 0.0249, "low-to-moderate"), (49, 0.025, "high"), (49, 0.075, "very-high"),
        (50, 0.0499, "low-to-moderate"), (50, 0.05, "high"), (50, 0.0999, "high"),
        (69, 0.10, "very-high"), (70, 0.0749, "low-to-moderate"), (70, 0.075, "high"),
        (70, 0.15, "very-high"),
    ],
)  # fmt: skip
def test_score2_bands_depend_on_age(age: float, value: float, code: str) -> None:
    found = equation_model("score2").category(Target("cvd", 10), value, {"age": age})
    assert found == ("esc-2021-prevention", code)


@pytest.mark.parametrize(
    ("age", "value", "code"),
    [
        (50, 1.29, "low"), (50, 1.30, "indeterminate"), (50, 2.67, "indeterminate"),
        (50, 2.68, "high"), (65, 1.99, "low"), (65, 2.0, "indeterminate"),
    ],
)  # fmt: skip
def test_fib4_bands_depend_on_age(age: float, value: float, code: str) -> None:
    found = equation_model("fib4").category(Target("score", None), value, {"age": age})
    assert found == ("fib4-masld", code)


def test_kfre_refuses_from_sixty_on() -> None:
    row = {"age": "60", "sex": "male", "region": "north-american", "uacr": "300"}
    below = next(run_rows("kfre", [row | {"egfr": "59.999"}], variant="4"))
    assert below["refusal"] == ""
    assert below["variant"] == "4"
    assert next(run_rows("kfre", [row | {"egfr": "60"}]))["refusal"] == "out-of-range:egfr"

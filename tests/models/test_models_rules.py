"""Lung cancer risk and screening criteria, asthma control, albuminuria: edges and bands."""

from typing import Any

import pytest
from models_twins import condition, signal, state

from twin_engine.models.assess import assess
from twin_engine.models.contract import Target
from twin_engine.models.registry import get
from twin_engine.models.rows import run_rows

SMOKER = {
    "age": "62",
    "education": "4",
    "bmi": "27",
    "copd": "0",
    "personal-cancer": "0",
    "family-lung-cancer": "0",
    "smoking-current": "0",
    "cigarettes-per-day": "20",
    "years-smoked": "27",
    "years-since-quit": "10",
}


def lung(variant: str | None = None, **cells: str) -> dict[str, Any]:
    changed = {name.replace("_", "-"): value for name, value in cells.items()}
    return next(run_rows("plcom2012", [SMOKER | changed], variant=variant))


# -- PLCOm2012 ---------------------------------------------------------------------------------


def test_the_version_without_race_is_the_default_even_where_race_is_stated() -> None:
    assert lung(race="black")["variant"] == "norace"
    assert lung(race="black")["value"] == lung()["value"]
    assert lung("race", race="black")["value"] > lung("race", race="white")["value"]
    assert lung("race")["refusal"] == "missing-input:race"


@pytest.mark.parametrize(
    ("cells", "refusal"),
    [
        ({"age": "54"}, "out-of-range:age"),
        ({"age": "55"}, ""),
        ({"age": "74"}, ""),
        ({"age": "75"}, "out-of-range:age"),
        ({"cigarettes_per_day": "0"}, "out-of-range:cigarettes-per-day"),
        ({"education": "7"}, "out-of-range:education"),
        ({"smoking_current": "1"}, "no-equation"),  # and quit ten years ago: a contradiction
        ({"smoking_current": "1", "years_since_quit": "0"}, ""),
    ],
)
def test_it_refuses_outside_its_population(cells: dict[str, str], refusal: str) -> None:
    assert lung(**cells)["refusal"] == refusal


@pytest.mark.parametrize(
    ("value", "band"), [(0.01509, "below-threshold"), (0.0151, "at-or-above-threshold")]
)
def test_the_threshold_of_selection(value: float, band: str) -> None:
    found = get("plcom2012").category(Target("lung-cancer", 6), value, {})
    assert found == ("tammemagi-2014", band)


# -- screening criteria ------------------------------------------------------------------------


def criteria(**cells: str) -> dict[str, Any]:
    row = {name.replace("_", "-"): value for name, value in cells.items()}
    return {one["outcome"]: one["value"] for one in run_rows("lung-screening", [row])}


@pytest.mark.parametrize(
    ("age", "packs", "quit_years", "met"),
    [
        ("49", "20", "0", 0), ("50", "20", "0", 1), ("80", "20", "0", 1), ("81", "20", "0", 0),
        ("60", "19.9", "0", 0), ("60", "20", "15", 1), ("60", "20", "15.1", 0),
    ],
)  # fmt: skip
def test_uspstf_on_both_sides_of_its_edges(age: str, packs: str, quit_years: str, met: int) -> None:
    found = criteria(age=age, pack_years=packs, years_since_quit=quit_years, smoking_current="0")
    assert found["uspstf-2021"] == met
    assert found["nelson-entry"] == "", "cigarettes and years were not stated"


@pytest.mark.parametrize(
    ("cigarettes", "years", "quit_years", "met"),
    [
        ("15", "25", "0", 0), ("15", "25.1", "0", 1), ("14", "26", "0", 0), ("10", "30", "0", 0),
        ("10", "31", "0", 1), ("9", "40", "0", 0), ("20", "30", "9.9", 1), ("20", "30", "10", 0),
    ],
)  # fmt: skip
def test_nelson_on_both_sides_of_its_edges(
    cigarettes: str, years: str, quit_years: str, met: int
) -> None:
    found = criteria(
        age="60", cigarettes_per_day=cigarettes, years_smoked=years, years_since_quit=quit_years,
        smoking_current="0",
    )  # fmt: skip
    assert found["nelson-entry"] == met
    assert found["uspstf-2021"] != "", "pack-years follow from cigarettes and years"


# -- asthma ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "value", "band"),
    [
        ("gina-symptom-control", 0, "well-controlled"),
        ("gina-symptom-control", 1, "partly-controlled"),
        ("gina-symptom-control", 2, "partly-controlled"),
        ("gina-symptom-control", 3, "uncontrolled"),
        ("peak-flow", 49.9, "red"),
        ("peak-flow", 50, "yellow"),
        ("peak-flow", 79.975, "yellow"),
        ("peak-flow", 80, "green"),
        ("act", 15, "very-poorly-controlled"),
        ("act", 16, "not-well-controlled"),
        ("act", 19, "not-well-controlled"),
        ("act", 20, "well-controlled"),
    ],
)
def test_asthma_bands(outcome: str, value: float, band: str) -> None:
    found = get("asthma-control").category(Target(outcome, None), value, {})
    assert found is not None
    assert found[1] == band


def test_a_twin_with_asthma_and_a_control_test_is_answered_for_that_alone() -> None:
    change = {"act": signal("{score}", (800, 18, 8))}
    asthmatic = state(change=change, conditions=[condition("asthma")])
    (found,) = assess(asthmatic, ["asthma-control"])
    (result,) = found["results"]
    assert (result["outcome"], result["value"]) == ("act", 18)
    assert result["category"] == {"scheme": "act", "code": "not-well-controlled"}
    (other,) = assess(state(change=change), ["asthma-control"])
    assert other["refusals"][0]["reason"] == "wrong-population"


# -- albuminuria -------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "stage"), [(29.9, "a1"), (30, "a2"), (300, "a2"), (300.1, "a3")])
def test_albuminuria_stages(value: float, stage: str) -> None:
    change = {"urine-albumin-creatinine-ratio": signal("mg/g", (700, value, 8))}
    (found,) = assess(state(change=change), ["kdigo-albuminuria"])
    (result,) = found["results"]
    assert result["category"] == {"scheme": "kdigo-a", "code": stage}
    assert result["interval"]["low"] < value < result["interval"]["high"]

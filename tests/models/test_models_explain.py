"""Contributions: they add up, they are fair, and they are nothing at the reference person."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_twins import signal, state

from twin_engine.equations.library import Target
from twin_engine.models.assess import assess
from twin_engine.models.equation_model import equation_model
from twin_engine.models.explain import contributions, reference_person

PREVENT = equation_model("prevent")
TARGETS = (Target("total-cvd", 10), Target("heart-failure", 30))
PATIENT = st.fixed_dictionaries(
    {
        "age": st.floats(30, 59),
        "sex": st.sampled_from([0.0, 1.0]),
        "total-cholesterol": st.floats(130, 320),
        "hdl-cholesterol": st.floats(20, 100),
        "systolic-bp": st.floats(90, 200),
        "body-mass-index": st.floats(18.5, 39.9),
        "egfr-ckdepi-2021": st.floats(15, 140),
        "diabetes": st.sampled_from([0.0, 1.0]),
        "smoking-current": st.sampled_from([0.0, 1.0]),
        "bp-treatment": st.sampled_from([0.0, 1.0]),
        "statin": st.sampled_from([0.0, 1.0]),
    }
)


def columns(patient: dict[str, float]) -> dict[str, Any]:
    return {name: np.array([value]) for name, value in patient.items()}


@settings(max_examples=25)
@given(PATIENT)
def test_they_add_up_to_the_whole_difference_in_log_odds(patient: dict[str, float]) -> None:
    own = columns(patient)
    reference = own | columns(dict(reference_person(PREVENT, PREVENT.prepare(own), "base")))
    found = contributions(PREVENT, PREVENT.prepare(own), "base", TARGETS)
    here = PREVENT.predict(own, variant="base", targets=TARGETS).values[:, 0]
    there = PREVENT.predict(reference, variant="base", targets=TARGETS).values[:, 0]
    for index, target in enumerate(TARGETS):
        expected = np.log(here / (1 - here)) - np.log(there / (1 - there))
        assert sum(found[target].values()) == pytest.approx(expected[index], abs=1e-9)


def test_the_reference_person_has_none() -> None:
    reference = {n: v.reference for n, v in PREVENT.inputs.items() if v.reference is not None}
    own = columns({**reference, "sex": 0.0})
    assert contributions(PREVENT, PREVENT.prepare(own), "full", TARGETS) == {
        target: {} for target in TARGETS
    }


def test_at_the_reference_person_only_the_constant_is_left() -> None:
    reference = {n: v.reference for n, v in PREVENT.inputs.items() if v.reference is not None}
    own = columns({**reference, "sex": 0.0})
    predictor = PREVENT.predictor(PREVENT.prepare(own), "base", TARGETS[:1])[0, 0]
    assert predictor == pytest.approx(-3.307728, abs=1e-12)


def test_an_input_the_outcome_does_not_read_contributes_nothing() -> None:
    found = assess(state(), ["prevent:base"])[0]["results"]
    failure = next(one for one in found if one["outcome"] == "heart-failure")
    names = {part["input"] for part in failure["contributions"]}
    assert names.isdisjoint({"total-cholesterol", "hdl-cholesterol", "statin"})


def test_shares_are_signed_and_of_the_whole_movement() -> None:
    change = {
        "systolic-bp": signal("mm[Hg]", (810, 180, 0)),
        "hdl-cholesterol": signal("mg/dL", (700, 90, 3)),
    }
    parts = assess(state(change=change), ["prevent:base"])[0]["results"][0]["contributions"]
    shares = {part["input"]: part["share"] for part in parts}
    assert shares["systolic-bp"] > 0 > shares["hdl-cholesterol"]
    assert sum(abs(share) for share in shares.values()) == pytest.approx(1, abs=1e-5)
    assert list(shares) == sorted(shares, key=lambda name: -abs(shares[name]))


def test_the_kidney_estimate_is_explained_by_age_too() -> None:
    found = assess(state(), ["ckd-epi-2021"])[0]["results"][0]["contributions"]
    assert {part["input"] for part in found} == {"age"}, "creatinine is at its reference here"

"""What if: another input is an association, a treatment is what trials measured; nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_twins import condition, document, medication, signal, state

from service.whatif import Question, answer, offer
from twin_engine.models.assess import Request, assess, request
from twin_engine.models.contract import REASONS
from twin_engine.models.effects import effects, treatments
from twin_engine.models.registry import all_models, get
from twin_engine.models.whatif import WhatIfError, exchangeable, treat, what_if

PREVENT = request("prevent:base")


def by_outcome(found: dict[str, Any]) -> dict[tuple[str, int | None], dict[str, Any]]:
    return {(one["outcome"], one.get("horizonYears")): one for one in found["results"]}


# -- other inputs ------------------------------------------------------------------------------


def test_both_sides_are_exactly_what_the_model_answers() -> None:
    found = what_if(state(), PREVENT, {"systolic-bp": "120"})
    (before,) = assess(state(), ["prevent:base"])
    change = {"systolic-bp": signal("mm[Hg]", (810, 120, 1))}
    (after,) = assess(state(change=change), ["prevent:base"])
    for one, was, now in zip(found["results"], before["results"], after["results"], strict=True):
        assert (one["before"], one["after"]) == (was["value"], now["value"])
        assert one["difference"] == now["value"] - was["value"] < 0


def test_it_is_graded_as_an_association_and_says_what_that_means() -> None:
    found = what_if(state(), PREVENT, {"systolic-bp": "120", "smoking-current": "1"})
    assert found["grade"] == "association-only"
    assert "not what would happen" in found["says"]
    assert found["changes"] == [
        {"input": "systolic-bp", "from": 142.0, "to": 120.0, "unit": "mm[Hg]"},
        {"input": "smoking-current", "from": False, "to": True},
    ]


def test_common_draws_make_the_range_of_the_difference_narrower_than_both_ranges() -> None:
    one = by_outcome(what_if(state(), PREVENT, {"smoking-current": "1"}))["total-cvd", 10]
    (plain,) = assess(state(), ["prevent:base"])
    interval = plain["results"][0]["interval"]
    width = one["interval"]["high"] - one["interval"]["low"]
    assert width < interval["high"] - interval["low"]
    assert one["interval"]["low"] <= one["difference"] <= one["interval"]["high"]


def test_no_change_is_no_difference() -> None:
    for one in what_if(state(), PREVENT, {"smoking-current": "0"})["results"]:
        assert one["difference"] == 0
        assert one["interval"]["low"] == one["interval"]["high"] == 0


def test_a_part_changes_what_is_computed_of_it() -> None:
    found = what_if(state(), PREVENT, {"creatinine": "1.6"})
    assert by_outcome(found)["heart-failure", 10]["difference"] > 0


def test_a_value_out_of_range_is_refused_with_the_reason() -> None:
    found = what_if(state(), PREVENT, {"systolic-bp": "201"})
    assert found["results"] == []
    assert {one["reason"] for one in found["refusals"]} == {"out-of-range"}


def test_what_refuses_the_record_refuses_the_question() -> None:
    found = what_if(state(conditions=[condition("chd")]), PREVENT, {"systolic-bp": "120"})
    assert found["results"] == []
    assert {one["reason"] for one in found["refusals"]} == {"known-disease"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"nothing": "1"}, "has no input"),
        ({"systolic-bp": "low"}, "give a number"),
        ({"systolic-bp": ""}, "give a number"),
        ({"sex": "x"}, "female, male"),
        ({"hba1c": "6"}, "not read by variant base"),
        ({"statin": "1"}, "is a treatment.*lower-ldl-1"),
        ({"bp-treatment": "1"}, "is a treatment"),
    ],
)
def test_a_question_that_cannot_be_asked_says_how_it_can(
    changes: dict[str, str], told: str
) -> None:
    with pytest.raises(WhatIfError, match=told):
        what_if(state(), PREVENT, changes)


def test_a_weight_that_nothing_is_computed_of_is_not_silently_ignored() -> None:
    with pytest.raises(WhatIfError, match="not read"):
        what_if(state(), PREVENT, {"body-weight": "70"})


# -- treatments --------------------------------------------------------------------------------


def test_a_ratio_of_trials_is_applied_to_the_risk_as_it_is() -> None:
    found = treat(state(), PREVENT, "lower-sbp-10")
    (plain,) = assess(state(), ["prevent:base"])
    risks = {(one["outcome"], one["horizonYears"]): one["value"] for one in plain["results"]}
    one = by_outcome(found)["total-cvd", 10]
    assert found["grade"] == "randomised"
    assert one["before"] == risks["total-cvd", 10]
    assert one["after"] == pytest.approx(0.80 * one["before"])
    assert one["interval"]["low"] < one["difference"] < one["interval"]["high"] < 0
    assert set(by_outcome(found)) == {
        ("total-cvd", 10), ("chd", 10), ("stroke", 10), ("heart-failure", 10),
    }  # fmt: skip


def test_thirty_years_have_no_number() -> None:
    assert {years for _, years in by_outcome(treat(state(), PREVENT, "lower-ldl-1"))} == {10}


@pytest.mark.parametrize(
    ("treatment", "taken"),
    [("lower-ldl-1", "statin"), ("lower-sbp-10", "antihypertensive-any")],
)
def test_what_is_taken_already_cannot_be_added(treatment: str, taken: str) -> None:
    found = treat(state(medications=[medication(taken)]), PREVENT, treatment)
    assert found["results"] == []
    assert {one["reason"] for one in found["refusals"]} == {"already-treated"}
    unknown = treat(state(incomplete=("MedicationRequest",)), PREVENT, treatment)
    assert {one["reason"] for one in unknown["refusals"]} == {"absence-not-proven"}


def test_harm_stands_beside_benefit() -> None:
    muscle, diabetes = treat(state(), PREVENT, "lower-ldl-1")["harms"]
    assert "11 (6 to 16) more per 1,000" in muscle
    assert "1.36 (1.25 to 1.48) times on a high dose" in diabetes
    pressure, kidney = treat(state(), PREVENT, "lower-sbp-10")["harms"]
    assert "1.97 (1.67 to 2.32)" in pressure
    assert "1.18 (1.01 to 1.39)" in kidney


def test_no_treatment_is_offered_without_its_harms() -> None:
    for effect in effects():
        assert effect.harms, f"{effect.id}: a benefit without a harm beside it"
        assert effect.population, effect.id


def test_an_odds_ratio_is_applied_to_odds_and_competing_death_is_named() -> None:
    change = {
        "creatinine": signal("mg/dL", (700, 1.9, 4)),
        "urine-albumin-creatinine-ratio": signal("mg/g", (700, 300, 8)),
    }
    asked = Request(get("kfre"), settings={"region-kfre": "north-american"})
    found = treat(state(change=change), asked, "ace-inhibitor")
    one = by_outcome(found)["kidney-failure", 5]
    odds = one["before"] / (1 - one["before"]) * 0.61
    assert one["after"] == pytest.approx(odds / (1 + odds))
    assert "death of other causes" in found["limits"][0]


def test_a_treatment_no_trial_of_which_meets_the_model_is_refused() -> None:
    with pytest.raises(WhatIfError, match="it meets: lower-ldl-1, lower-sbp-10"):
        treat(state(), PREVENT, "aspirin")
    with pytest.raises(WhatIfError, match="it meets: none"):
        treat(state(), request("fib4"), "lower-ldl-1")


# -- the table ---------------------------------------------------------------------------------


def test_every_effect_meets_an_outcome_of_a_model_of_ours() -> None:
    for effect in effects():
        assert effect.targets <= set(all_models()[effect.model].targets()), effect.id
        assert effect.grade in {"A", "B"}
        assert effect.source


def test_one_treatment_has_one_effect_on_an_outcome() -> None:
    met = [(e.model, e.treatment, target) for e in effects() for target in e.targets]
    assert len(met) == len(set(met))


@pytest.mark.parametrize("effect", effects(), ids=lambda effect: f"{effect.id}-{effect.model}")
def test_the_draws_of_a_ratio_have_its_published_interval(effect: Any) -> None:
    ends = effect.spread(np.array([-1.959964, 0.0, 1.959964]))
    assert ends[1] == pytest.approx(effect.estimate)
    assert ends[2] / ends[0] == pytest.approx(effect.high / effect.low, rel=1e-6)


@pytest.mark.parametrize(("measure", "expected"), [("RR", 0.0936), ("HR", 0.0949), ("OR", 0.0961)])
def test_each_kind_of_ratio_has_its_own_arithmetic(measure: str, expected: float) -> None:
    """A risk of 12 % and a ratio of 0.78: worked out by hand from the three formulas."""
    effect = replace(effects()[0], measure=measure)
    assert effect.treated(np.array([0.12]), 0.78)[0] == pytest.approx(expected, abs=5e-5)


def test_treatments_are_offered_by_model() -> None:
    assert list(treatments("kfre")) == [
        "ace-inhibitor", "angiotensin-receptor-blocker", "sglt2-inhibitor",
    ]  # fmt: skip
    assert "already-treated" in REASONS


# -- for a form --------------------------------------------------------------------------------


def test_what_may_be_exchanged_is_what_would_be_accepted() -> None:
    found, variant = exchangeable(state(), PREVENT)
    offered = {one["input"]: one for one in found}
    assert variant == "base"
    assert offered["systolic-bp"] == {
        "input": "systolic-bp", "kind": "number", "value": 142.0,
        "unit": "mm[Hg]", "low": 90.0, "high": 200.0,
    }  # fmt: skip
    assert offered["smoking-current"] == {
        "input": "smoking-current", "kind": "flag", "value": False,
    }  # fmt: skip
    assert offered["sex"]["choices"] == ["female", "male"]
    assert "bp-treatment" not in offered
    assert "hba1c" not in offered
    for one in found:
        value = one["value"]
        cell = str(int(value)) if isinstance(value, bool) else str(value)
        if value is not None:
            assert what_if(state(), PREVENT, {one["input"]: cell})["changes"][0]["to"] == value


def test_the_service_asks_one_question_at_a_time() -> None:
    asked = Question("prevent:base", {"systolic-bp": "120"})
    assert answer(document(), asked, {})["grade"] == "association-only"
    assert answer(document(), Question("prevent", treatment="lower-ldl-1"), {})["harms"]
    for question in (
        Question("prevent"),
        Question("prevent", {"systolic-bp": "120"}, "lower-ldl-1"),
        Question("nothing", {"systolic-bp": "120"}),
        Question("prevent:nothing", {"systolic-bp": "120"}),
    ):
        with pytest.raises(WhatIfError):
            answer(document(), question, {})


def test_a_form_is_offered_inputs_and_treatments_of_one_model() -> None:
    found = offer(document(), "prevent", {})
    assert found["model"]["variant"] == "base"
    assert [one["treatment"] for one in found["treatments"]] == ["lower-ldl-1", "lower-sbp-10"]
    region = offer(document(), "score2", {"region-score2": "low"})
    assert next(one for one in region["inputs"] if one["input"] == "region")["value"] == "low"

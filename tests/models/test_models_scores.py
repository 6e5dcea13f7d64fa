"""Scores for a person at a bedside or in a clinic: edges, bands, and whom they are meant for."""

from typing import Any

import pytest
from models_twins import condition, signal, state

from twin_engine.document.schema import check
from twin_engine.models.assess import Request, assess, recompute
from twin_engine.models.cards import card
from twin_engine.models.contract import REASONS
from twin_engine.models.registry import default_models, get, unknown_settings
from twin_engine.models.rows import run_rows

FIBRILLATION = condition("atrial-fibrillation", src=14)
WELL = {
    "respiratory-rate": "16",
    "oxygen-saturation": "97",
    "supplemental-oxygen": "0",
    "systolic-bp": "120",
    "heart-rate": "70",
    "body-temperature": "37.0",
    "consciousness": "alert",
}


def one(model: str, **cells: Any) -> dict[str, Any]:
    row = {name.replace("_", "-"): str(value) for name, value in cells.items()}
    return next(run_rows(model, [row]))


def news(**cells: Any) -> dict[str, Any]:
    changed = {name.replace("_", "-"): str(value) for name, value in cells.items()}
    return next(run_rows("news2", [WELL | changed]))


# -- whom a score is for -----------------------------------------------------------------------


def test_cha2ds2_vasc_answers_for_atrial_fibrillation_only() -> None:
    (found,) = assess(state(conditions=[FIBRILLATION]), ["cha2ds2-vasc"])
    assert [one["value"] for one in found["results"]] == [1], "a woman of 54 with nothing else"
    (refused,) = assess(state(), ["cha2ds2-vasc"])
    assert refused["refusals"][0] == {
        "outcome": "score", "reason": "wrong-population", "input": "atrial-fibrillation",
    }  # fmt: skip


def test_an_incomplete_record_does_not_say_that_there_is_no_fibrillation() -> None:
    (found,) = assess(state(incomplete=("Condition",)), ["cha2ds2-vasc"])
    assert found["refusals"][0]["reason"] == "absence-not-proven"


def test_past_fibrillation_and_past_stroke_count() -> None:
    past = [
        condition("atrial-fibrillation", src=14, clinical="resolved"),
        condition("tia", clinical="resolved"),
        condition("heart-failure-history", src=13, clinical="inactive"),
    ]
    (found,) = assess(state(conditions=past), ["cha2ds2-vasc"])
    assert found["results"][0]["value"] == 4


def test_ninety_or_older_is_old_enough_for_a_score() -> None:
    oldest = {"age": 90, "ageTopCoded": True}
    (found,) = assess(state(subject=oldest, conditions=[FIBRILLATION]), ["cha2ds2-vasc"])
    assert found["results"][0]["value"] == 3
    assert assess(state(subject=oldest), ["prevent"])[0]["refusals"][0]["reason"] == "out-of-range"


def test_a_score_of_answers_alone_has_no_range_and_says_why() -> None:
    (found,) = assess(state(conditions=[FIBRILLATION]), ["cha2ds2-vasc"])
    assert found["results"][0]["intervalRefused"] == "nothing-measured"
    check({**state(conditions=[FIBRILLATION]).document, "assessments": [found]})


def test_heart_failure_in_the_past_is_no_first_event() -> None:
    past = [condition("heart-failure-history", clinical="inactive")]
    for model in ("prevent", "pce-2013", "score2"):
        (found,) = assess(state(conditions=past), [model])
        assert {one["reason"] for one in found["refusals"]} == {"known-disease"}


@pytest.mark.parametrize("model", ["news2", "qsofa", "has-bled", "findrisc", "ada-diabetes-risk"])
def test_what_a_twin_cannot_hold_together_never_answers_on_one(model: str) -> None:
    (found,) = assess(state(), [model])
    assert found["answer"] == "refused"
    assert found["refusals"][0]["reason"] == "rows-only"
    assert get(model) not in default_models()


def test_every_new_reason_has_a_sentence() -> None:
    assert REASONS.keys() >= {"wrong-population", "not-configured", "rows-only"}


# -- settings ----------------------------------------------------------------------------------


def kidneys() -> dict[str, Any]:
    return {
        "creatinine": signal("mg/dL", (700, 1.9, 4)),
        "urine-albumin-creatinine-ratio": signal("mg/g", (700, 300, 8)),
    }


def test_a_stated_region_lets_the_model_answer_and_stands_among_its_inputs() -> None:
    asked = Request(get("kfre"), settings={"region-kfre": "north-american"})
    (found,) = assess(state(change=kidneys()), [asked])
    assert found["answer"] == "given"
    region = next(one for one in found["inputs"] if one["input"] == "region")
    assert region == {"input": "region", "value": "north-american", "how": "configured"}


def test_a_receiver_recomputes_without_the_sender_s_settings() -> None:
    twin = state(change=kidneys())
    asked = Request(get("kfre"), settings={"region-kfre": "non-north-american"})
    whole = {**twin.document, "assessments": assess(twin, [asked])}
    check(whole)
    assert [one.outcome for one in recompute(whole)] == ["same"]


def test_another_region_is_another_snapshot() -> None:
    snapshots = {
        assess(state(change=kidneys()), [Request(get("kfre"), settings={"region-kfre": word})])[0][
            "snapshot"
        ]
        for word in ("north-american", "non-north-american")
    }
    assert len(snapshots) == 2


def test_a_model_that_needs_a_setting_is_among_the_usual_ones_once_it_is_stated() -> None:
    assert get("score2") not in default_models()
    assert get("score2") in default_models({"region-score2": "low"})
    assert get("kfre") not in default_models({"region-score2": "low"})


def test_a_setting_no_model_reads_and_a_word_no_model_knows_are_refused() -> None:
    assert unknown_settings({"region-score2": "low"}) == ()
    told = unknown_settings({"region-score2": "north", "regoin": "low"})
    assert told == (
        "region-score2: use one of low, moderate, high, very-high",
        "regoin: no model reads it",
    )


# -- edges and bands ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "points", "band"),
    [
        ({}, 0, "low"),
        ({"respiratory_rate": 8}, 3, "low-medium"),
        ({"respiratory_rate": 12}, 0, "low"),
        ({"respiratory_rate": 20.4}, 0, "low"),
        ({"respiratory_rate": 20.5}, 2, "low"),
        ({"oxygen_saturation": 92}, 2, "low"),
        ({"systolic_bp": 219}, 0, "low"),
        ({"systolic_bp": 220}, 3, "low-medium"),
        ({"heart_rate": 40}, 3, "low-medium"),
        ({"heart_rate": 91}, 1, "low"),
        ({"heart_rate": 111}, 2, "low"),
        ({"body_temperature": 35.0}, 3, "low-medium"),
        ({"body_temperature": 36.0}, 1, "low"),
        ({"body_temperature": 36.1}, 0, "low"),
        ({"body_temperature": 38.0}, 0, "low"),
        ({"body_temperature": 38.1}, 1, "low"),
        ({"body_temperature": 39.0}, 1, "low"),
        ({"body_temperature": 39.1}, 2, "low"),
        ({"oxygen_saturation": 93, "spo2_scale_2": 1}, 0, "low"),
        ({"oxygen_saturation": 93, "spo2_scale_2": 1, "supplemental_oxygen": 1}, 3, "low"),
        ({"oxygen_saturation": 97, "spo2_scale_2": 1, "supplemental_oxygen": 1}, 5, "medium"),
        ({"consciousness": "P", "respiratory_rate": 25, "heart_rate": 91}, 7, "high"),
    ],
)
def test_news2_on_both_sides_of_its_edges(cells: dict[str, Any], points: int, band: str) -> None:
    found = news(**cells)
    assert found["value"] == points
    numbers = {
        "respiratory-rate": 16.0,
        "oxygen-saturation": 97.0,
        "supplemental-oxygen": 0.0,
        "systolic-bp": 120.0,
        "heart-rate": 70.0,
        "body-temperature": 37.0,
        "consciousness": 0.0,
    }
    for name, value in cells.items():
        numbers[name.replace("_", "-")] = 3.0 if value == "P" else float(value)
    model = get("news2")
    assert model.category(model.targets()[0], points, numbers) == ("rcp-2017-news2", band)


def test_news2_is_never_made_of_a_part_that_is_missing() -> None:
    for part in WELL:
        found = next(run_rows("news2", [WELL | {part: ""}]))
        assert found["value"] == ""
        assert found["refusal"] == f"missing-input:{part}"


def test_a_child_has_no_news2_and_no_qsofa() -> None:
    assert news(age=15)["refusal"] == "no-equation"
    assert news(age=16)["value"] == 0
    sick = {"respiratory-rate": "22", "systolic-bp": "100", "consciousness": "confusion"}
    assert next(run_rows("qsofa", [sick | {"age": "17"}]))["refusal"] == "no-equation"
    assert next(run_rows("qsofa", [sick | {"age": "18"}]))["value"] == 3


@pytest.mark.parametrize(("points", "band"), [(1, "negative"), (2, "positive")])
def test_qsofa_bands(points: float, band: str) -> None:
    model = get("qsofa")
    assert model.category(model.targets()[0], points, {}) == ("sepsis-3-qsofa", band)


@pytest.mark.parametrize(
    ("points", "band"),
    [
        (6, "low"), (7, "slightly-elevated"), (11, "slightly-elevated"), (12, "moderate"),
        (14, "moderate"), (15, "high"), (20, "high"), (21, "very-high"),
    ],
)  # fmt: skip
def test_findrisc_bands(points: float, band: str) -> None:
    model = get("findrisc")
    assert model.category(model.targets()[0], points, {}) == ("findrisc-2003", band)


@pytest.mark.parametrize(
    ("model", "points", "band"),
    [
        ("ada-diabetes-risk", 4, "below-threshold"), ("ada-diabetes-risk", 5, "high"),
        ("has-bled", 2, "below-caution"), ("has-bled", 3, "caution"),
    ],
)  # fmt: skip
def test_other_bands(model: str, points: float, band: str) -> None:
    found = get(model).category(get(model).targets()[0], points, {})
    assert found is not None
    assert found[1] == band


# -- cards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["prevent", "pce-2013", "score2"])
def test_a_cardiovascular_assessment_says_so_in_a_public_code(model: str) -> None:
    assert [one["code"] for one in card(get(model))["codings"]] == ["441829007"]


def test_a_published_equation_is_labelled_as_rules() -> None:
    assert card(get("fib4"))["ai_kinds"] == ["Rule-Based-Systems", "Deterministic-AI"]

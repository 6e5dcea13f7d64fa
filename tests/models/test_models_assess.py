"""From a twin's state to assessments: what is answered, what is refused, and why."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from models_twins import condition, document, medication, pseudonym, signal, signals, state

from twin_engine.document.schema import check
from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import library
from twin_engine.models.assess import (
    Request,
    assess,
    assess_since,
    open_case,
    recompute,
    request,
)
from twin_engine.models.contract import REASONS, Columns, Target
from twin_engine.models.equation_model import EquationModel
from twin_engine.models.registry import (
    DuplicateModelError,
    UnknownModelError,
    all_models,
    default_models,
    get,
    register,
)
from twin_engine.state import State


def prevent(variant: str = "base", **variations: Any) -> dict[str, Any]:
    (found,) = assess(state(**variations), [f"prevent:{variant}" if variant else "prevent"])
    return found


def values(assessment: dict[str, Any]) -> dict[tuple[str, int | None], float]:
    return {(r["outcome"], r.get("horizonYears")): r["value"] for r in assessment["results"]}


def reasons(assessment: dict[str, Any]) -> set[tuple[str, str]]:
    return {(r["reason"], r.get("input", "")) for r in assessment["refusals"]}


def used(assessment: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in assessment["inputs"] if one["input"] == name)


class Telling(EquationModel):
    """Says when it is asked why."""

    def __init__(self, told: list[Any]) -> None:
        super().__init__(library()["prevent"])
        self._told = told

    def predictor(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        self._told.append("why")
        return super().predictor(columns, variant, targets)


def test_who_answers_is_told_before_it_is_worked_out_why() -> None:
    """Without those that refuse, and those asked in silence."""
    told: list[Any] = []
    silent = Request(get("ckd-epi-2021"), silent=True)
    asked = [Request(Telling(told)), Request(get("fib4")), silent]
    found = assess_since(state(), asked, None, lambda model: told.append(model.id))
    assert [one["answer"] for one in found.assessments] == ["given", "refused", "given"]
    assert told == ["prevent", "why"]


# -- an answer ---------------------------------------------------------------------------------


def test_a_complete_record_is_answered() -> None:
    found = prevent()
    assert found["answer"] == "given"
    assert found["refusals"] == []
    assert set(values(found)) == {
        (outcome, years)
        for outcome in ("total-cvd", "ascvd", "heart-failure")
        for years in (10, 30)
    }
    assert "helps" not in found


def test_a_whole_number_in_a_twin_has_the_range_of_the_same_decimal() -> None:
    """JSON may hold 1 for 1.0; draws cut off to integers once gave a range of 93 to 254."""

    def interval(creatinine: float) -> dict[str, float]:
        one = state(change={"creatinine": signal("mg/dL", (690, creatinine, 4))})
        (found,) = assess(one, ["ckd-epi-2021"])
        return dict(found["results"][0]["interval"])

    assert interval(1) == interval(1.0)
    assert interval(1)["high"] < 1.2 * interval(1)["low"] + 10


def test_the_published_example_comes_out_of_a_twin() -> None:
    """Khan 2024: woman of 50, TC 200, HDL 45, SBP 160 treated, diabetes, BMI 35, eGFR 90."""
    found = prevent(
        subject={"age": 50},
        change=signals()
        | {
            "systolic-bp": signal("mm[Hg]", (810, 160, 0)),
            "total-cholesterol": signal("mg/dL", (700, 200, 2)),
            "hdl-cholesterol": signal("mg/dL", (700, 45, 3)),
            "body-mass-index": signal("kg/m2", (700, 35, 5)),
            "egfr-ckdepi-2021": signal("mL/min/{1.73_m2}", (700, 90, 4)),
        },
        without=("creatinine",),
        conditions=[condition("diabetes-type-2")],
        medications=[medication("antihypertensive-any")],
    )
    assert values(found)["total-cvd", 10] == pytest.approx(0.1468393910, abs=1e-9)
    assert values(found)["heart-failure", 10] == pytest.approx(0.0805609678, abs=1e-9)
    assert values(found)["ascvd", 30] == pytest.approx(0.3542551989, abs=1e-9)


def test_every_input_says_where_it_came_from() -> None:
    found = prevent()
    assert used(found, "age") == {"input": "age", "value": 54.0, "unit": "a", "how": "subject"}
    assert used(found, "sex") == {"input": "sex", "value": "female", "how": "subject"}
    assert used(found, "systolic-bp")["src"] == [1], "the newest reading is used"
    assert used(found, "smoking-current")["how"] == "coded"
    assert used(found, "statin") == {"input": "statin", "value": False, "how": "declared-absent"}


def test_filtration_is_recomputed_from_creatinine_and_says_so() -> None:
    reported = signal("mL/min/{1.73_m2}", (800, 40, 6))
    found = prevent(change={"egfr-ckdepi-2021": reported})
    entry = used(found, "egfr-ckdepi-2021")
    assert entry["how"] == "derived"
    assert entry["src"] == [4]
    (kidney,) = assess(state(), ["ckd-epi-2021"])
    assert entry["value"] == kidney["results"][0]["value"]
    assert used(found, "creatinine")["src"] == [4], "the fact it came from is kept"


def test_without_creatinine_a_reported_2021_filtration_is_used() -> None:
    reported = signal("mL/min/{1.73_m2}", (800, 40, 6))
    found = prevent(change={"egfr-ckdepi-2021": reported}, without=("creatinine",))
    assert used(found, "egfr-ckdepi-2021")["value"] == 40
    assert used(found, "egfr-ckdepi-2021")["how"] == "measured"


def test_an_older_equations_filtration_is_not_taken_for_it() -> None:
    found = prevent(
        change={"egfr-mdrd": signal("mL/min/{1.73_m2}", (800, 40, 6))}, without=("creatinine",)
    )
    assert reasons(found) == {("missing-input", "egfr-ckdepi-2021")}


def test_body_mass_index_is_computed_from_height_and_weight() -> None:
    change = {
        "body-weight": signal("kg", (700, 80, 8)),
        "body-height": signal("cm", (-300, 160, 9)),
    }
    found = prevent(change=change, without=("body-mass-index",))
    assert used(found, "body-mass-index")["value"] == pytest.approx(31.25)
    assert used(found, "body-mass-index")["src"] == [8, 9]


@pytest.mark.parametrize("smoking", ["current", "former", "never"])
def test_smoking_is_read_from_the_coded_status(smoking: str) -> None:
    assert used(prevent(smoking=smoking), "smoking-current")["value"] is (smoking == "current")


@pytest.mark.parametrize(
    ("variations", "how"),
    [
        ({"conditions": [condition("diabetes-type-1")]}, "coded"),
        ({"medications": [medication("insulin")]}, "coded"),
        ({"change": {"hba1c": signal("%", (800, 6.5, 8))}}, "derived"),
    ],
)
def test_diabetes_may_be_declared_by_diagnosis_insulin_or_laboratory(
    variations: dict[str, Any], how: str
) -> None:
    entry = used(prevent(**variations), "diabetes")
    assert entry["value"] is True
    assert entry["how"] == how


def test_a_normal_hba1c_alone_does_not_disprove_diabetes() -> None:
    found = prevent(change={"hba1c": signal("%", (800, 5.4, 8))}, incomplete=("Condition",))
    assert found["answer"] == "refused"


# -- variants ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "variant"),
    [
        ({}, "base"),
        ({"hba1c": signal("%", (800, 5.9, 8))}, "hba1c"),
        ({"urine-albumin-creatinine-ratio": signal("mg/g", (800, 40, 8))}, "uacr"),
        (
            {
                "hba1c": signal("%", (800, 5.9, 8)),
                "urine-albumin-creatinine-ratio": signal("mg/g", (800, 40, 9)),
            },
            "full",
        ),
        ({"hba1c": signal("%", (400, 5.9, 8))}, "base"),  # more than a year old
    ],
)
def test_the_variant_follows_from_what_is_known(change: dict[str, Any], variant: str) -> None:
    assert prevent("", change=change)["model"]["variant"] == variant


PRELIMINARY = signal("mm[Hg]", (810, 140, 0), status={"0": "preliminary"})
SYSTOLIC_201 = signal("mm[Hg]", (810, 201, 0))
CREATININE_9 = signal("mg/dL", (700, 9, 4))  # an eGFR below 15
CREATININE_99 = signal("mg/dL", (700, 99, 4))  # no creatinine at all

# -- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variations", "reason", "about"),
    [
        ({"without": ("systolic-bp",)}, "missing-input", "systolic-bp"),
        ({"change": {"systolic-bp": signal("mm[Hg]", (0, 140, 0))}}, "stale-input", "systolic-bp"),
        (
            {"change": {"systolic-bp": signal("mm[Hg]", (810, 140, 0), comparator={"0": ">"})}},
            "censored-input",
            "systolic-bp",
        ),
        (
            {"change": {"systolic-bp": PRELIMINARY}},
            "set-aside-input",
            "systolic-bp",
        ),
        (
            {"without": ("systolic-bp",), "incomplete": ("Observation",)},
            "record-incomplete",
            "systolic-bp",
        ),
        ({"incomplete": ("MedicationRequest",)}, "absence-not-proven", "diabetes"),
        (
            {"incomplete": ("MedicationRequest",), "conditions": [condition("diabetes-type-2")]},
            "absence-not-proven",
            "bp-treatment",
        ),
        ({"smoking": "unknown"}, "missing-input", "smoking-current"),
        ({"smoking": ""}, "missing-input", "smoking-current"),
        ({"subject": {"sex": "other"}}, "no-equation", "sex"),
        ({"subject": {"sex": "unknown"}}, "missing-input", "sex"),
        ({"subject": {"age": 90, "ageTopCoded": True}}, "out-of-range", "age"),
        ({"subject": {"age": 80}}, "out-of-range", "age"),
        ({"subject": {"age": 29}}, "out-of-range", "age"),
        ({"subject": {"deceased": True}}, "deceased", ""),
        ({"conditions": [condition("chd")]}, "known-disease", ""),
        ({"conditions": [condition("stroke-any", clinical="resolved")]}, "known-disease", ""),
        ({"conditions": [condition("heart-failure")]}, "known-disease", ""),
        ({"conditions": [condition("pregnancy")]}, "pregnancy", ""),
        ({"incomplete": ("Condition",)}, "absence-not-proven", "cvd-established"),
        (
            {"conditions": [condition("chd", verification="provisional")]},
            "absence-not-proven",
            "cvd-established",
        ),
        ({"change": {"systolic-bp": SYSTOLIC_201}}, "out-of-range", "systolic-bp"),
        ({"change": {"creatinine": CREATININE_9}}, "out-of-range", "egfr-ckdepi-2021"),
        ({"change": {"creatinine": CREATININE_99}}, "out-of-range", "egfr-ckdepi-2021"),
    ],
)  # fmt: skip
def test_it_refuses_everything_with_the_reason(
    variations: dict[str, Any], reason: str, about: str
) -> None:
    found = prevent(**variations)
    assert found["answer"] == "refused"
    assert found["results"] == []
    assert reasons(found) == {(reason, about)}
    assert reason in REASONS


def test_a_refuted_disease_does_not_refuse() -> None:
    assert prevent(conditions=[condition("chd", verification="refuted")])["answer"] == "given"


def test_a_past_pregnancy_does_not_refuse() -> None:
    assert prevent(conditions=[condition("pregnancy", clinical="resolved")])["answer"] == "given"


@pytest.mark.parametrize(
    ("age", "years"),
    [(29, set()), (30, {10, 30}), (59, {10, 30}), (60, {10}), (79, {10}), (80, set())],
)
def test_age_is_accepted_up_to_its_published_edges(age: int, years: set[int]) -> None:
    found = prevent(subject={"age": age})
    assert {horizon for _, horizon in values(found)} == years


def test_a_missing_body_mass_index_refuses_heart_failure_only() -> None:
    found = prevent(without=("body-mass-index",))
    assert found["answer"] == "partial"
    assert {outcome for outcome, _ in values(found)} == {"total-cvd", "ascvd"}
    assert reasons(found) == {("missing-input", "body-mass-index")}
    assert found["helps"] == "body-mass-index"
    assert "body-mass-index" in found["missing"]


def test_missing_lipids_leave_heart_failure() -> None:
    found = prevent(without=("total-cholesterol", "hdl-cholesterol"))
    assert {outcome for outcome, _ in values(found)} == {"heart-failure"}
    assert found["helps"] in {"total-cholesterol", "hdl-cholesterol"}


def test_several_gaps_name_the_one_that_would_narrow_most() -> None:
    found = prevent(without=("systolic-bp", "body-mass-index"), smoking="")
    assert found["helps"] == "systolic-bp"
    assert found == prevent(without=("systolic-bp", "body-mass-index"), smoking="")


TARGETS = get("prevent").reported()
GAPS = ("total-cholesterol", "systolic-bp", "body-mass-index", "creatinine")


@pytest.mark.parametrize("without", [GAPS[:2], GAPS[1:3], GAPS[2:], GAPS])
@pytest.mark.parametrize("age", [35, 79])
def test_gaps_compared_in_one_batch_are_as_when_each_is_moved_by_itself(
    without: tuple[str, ...], age: int
) -> None:
    """By hand: each of a gap's nine values in the equation, the other gaps at their reference."""
    case = open_case(state(subject={"age": age}, without=without), Request(get("prevent")))
    asked = ["egfr-ckdepi-2021" if name == "creatinine" else name for name in without]
    plain = {n: declared.reference or 0.0 for n, declared in case.model.inputs.items()}
    known = {n: v for n, v in case.prepared.items() if not np.isnan(v[0])}
    rows = known | {n: np.array([plain[n]], dtype=np.float64) for n in asked}
    saying = {index: case.prediction.reason(index, 0) for index in range(len(TARGETS))}
    mendable = [TARGETS[index] for index, reason in saying.items() if reason == "missing-input"]
    swings = {}
    for name in asked:
        found = [
            case.model.respond(rows | {name: np.array([value])}, "base", mendable)
            for value in np.linspace(*case.model.inputs[name].bounds or (0, 1), 9)
        ]
        swings[name] = float(np.ptp(np.hstack(found), axis=1).max())
    widest = max(asked, key=swings.__getitem__)
    (answer,) = assess(case.state, ["prevent:base"])
    assert answer["helps"] == ("creatinine" if widest == "egfr-ckdepi-2021" else widest)


class Counting(EquationModel):
    """Remembers how often it was made to compute."""

    computed = 0

    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        self.computed += 1
        return super().compute(columns, variant, targets)


@pytest.mark.parametrize(
    ("variations", "answer", "computed"),
    [
        ({}, "given", True),
        ({"conditions": [condition("chd")]}, "refused", False),
        ({"without": ("systolic-bp",)}, "refused", False),
        ({"without": ("body-mass-index",)}, "partial", True),
    ],
)
def test_nothing_is_computed_for_what_is_refused(
    variations: dict[str, Any], answer: str, computed: bool
) -> None:
    model = Counting(library()["prevent"])
    (found,) = assess(state(**variations), [model])
    assert found["answer"] == answer
    assert bool(model.computed) is computed
    assert found == assess(state(**variations), ["prevent"])[0]


@pytest.mark.parametrize(
    "variations",
    [{"subject": {"age": 25}}, {"conditions": [condition("chd")]}, {"incomplete": ("Condition",)}],
)
def test_no_measurement_is_asked_for_where_none_would_change_it(variations: dict[str, Any]) -> None:
    assert "helps" not in prevent(**variations, without=("systolic-bp",))


# -- kidney ------------------------------------------------------------------------------------


def test_the_kidney_estimate_carries_its_stage() -> None:
    (found,) = assess(
        state(change={"creatinine": signal("mg/dL", (700, 1.3, 4))}), ["ckd-epi-2021"]
    )
    (result,) = found["results"]
    assert result["unit"] == "mL/min/{1.73_m2}"
    assert result["category"] == {"scheme": "kdigo-g", "code": "g3a"}
    assert "horizonYears" not in result


@pytest.mark.parametrize("group", ["acute-kidney-injury", "dialysis"])
def test_the_kidney_estimate_needs_a_steady_state(group: str) -> None:
    (found,) = assess(state(conditions=[condition(group)]), ["ckd-epi-2021"])
    assert reasons(found) == {("not-steady-state", "")}


# -- the whole ---------------------------------------------------------------------------------


CASES: list[Callable[[], State]] = [
    state,
    lambda: state(without=("systolic-bp",)),
    lambda: state(subject={"age": 65}, change={"hba1c": signal("%", (800, 7.1, 8))}),
    lambda: state(conditions=[condition("chd")]),
]


@pytest.mark.parametrize("case", CASES)
def test_an_outcome_is_either_a_result_or_a_refusal(case: Callable[[], State]) -> None:
    for found in assess(case()):
        given = set(values(found))
        refused = {(r["outcome"], r.get("horizonYears")) for r in found["refusals"]}
        assert given.isdisjoint(refused)
        model = get(found["model"]["id"])
        assert given | refused == {(t.outcome, t.horizon) for t in model.reported()}
        assert all("value" not in refusal for refusal in found["refusals"])


@pytest.mark.parametrize("case", CASES)
def test_the_same_twin_gives_the_same_assessments(case: Callable[[], State]) -> None:
    assert assess(case()) == assess(case())


def test_when_none_is_named_the_models_a_twin_can_feed_answer() -> None:
    found = [one["model"]["id"] for one in assess(state())]
    assert found == [model.id for model in default_models() if model.id != "pgx"]
    assert {"prevent", "ckd-epi-2021"} <= set(found)
    assert {"kfre", "pce-2013", "score2"}.isdisjoint(found)


@pytest.mark.parametrize(
    ("model", "reason", "asks"),
    [
        ("kfre", "not-configured", "region"),
        ("score2", "not-configured", "region"),
        ("pce-2013", "missing-input", "race"),
    ],
)
def test_what_must_be_stated_is_never_guessed(model: str, reason: str, asks: str) -> None:
    change = {
        "creatinine": signal("mg/dL", (700, 1.9, 4)),
        "urine-albumin-creatinine-ratio": signal("mg/g", (700, 300, 8)),
    }
    (found,) = assess(state(change=change), [model])
    assert reasons(found) == {(reason, asks)}


def test_the_snapshot_does_not_depend_on_where_a_source_stands_in_the_twin() -> None:
    there = document()
    there["sources"] = [
        {"type": "Patient", "ids": [pseudonym(50)]},
        {"type": "Observation", "ids": [pseudonym(i) for i in range(20)]},
    ]
    for column in (*there["signals"].values(), *there["coded"].values()):
        column["src"] = [src + 1 for src in column["src"]]
    here = assess(state(), ["prevent"])[0]
    moved = assess(State.from_document(there), ["prevent"])[0]
    assert moved["snapshot"] == here["snapshot"]
    assert moved["inputs"] != here["inputs"]


@pytest.mark.parametrize(
    "variations",
    [
        {"change": {"systolic-bp": signal("mm[Hg]", (810, 143, 1))}},
        {"change": {"systolic-bp": signal("mm[Hg]", (810, 142, 2))}},
        {"smoking": "current"},
        {"subject": {"age": 55}},
    ],
)
def test_the_snapshot_changes_with_any_input_or_source(variations: dict[str, Any]) -> None:
    assert prevent(**variations)["snapshot"] != prevent()["snapshot"]


def test_the_snapshot_ignores_what_was_not_used() -> None:
    assert (
        prevent(change={"potassium": signal("mmol/L", (800, 4, 9))})["snapshot"]
        == prevent()["snapshot"]
    )


def test_the_snapshot_of_this_twin_is_this() -> None:
    """Pinned: another digest for the same inputs would write every result a second time."""
    assert prevent()["snapshot"] == (
        "sha256:5175e047526f096991ba72729e83fbe1db8866208052880d315a3a39313151fe"
    )


# -- recompute ---------------------------------------------------------------------------------


def recorded() -> dict[str, Any]:
    whole = document()
    whole["assessments"] = assess(State.from_document(whole), ["prevent:base", "ckd-epi-2021"])
    return whole


def test_a_recorded_document_recomputes_to_the_same_numbers() -> None:
    assert [(one.model, one.outcome, one.largest) for one in recompute(recorded())] == [
        ("prevent", "same", 0.0),
        ("ckd-epi-2021", "same", 0.0),
    ]


def test_a_changed_number_is_found() -> None:
    whole = recorded()
    whole["assessments"][0]["results"][0]["value"] += 0.001
    (first, second) = recompute(whole)
    assert first.outcome == "different"
    assert first.largest == pytest.approx(0.001)
    assert second.outcome == "same"


def test_a_changed_input_is_found() -> None:
    whole = recorded()
    whole["signals"]["systolic-bp"]["v"][1] += 1
    assert recompute(whole)[0].outcome == "different"


@pytest.mark.parametrize(
    ("key", "value", "outcome"),
    [("id", "no-such-model", "model-not-installed"), ("version", "0.9.0", "other-version")],
)
def test_what_cannot_be_run_again_is_said(key: str, value: str, outcome: str) -> None:
    whole = recorded()
    whole["assessments"][0]["model"][key] = value
    assert recompute(whole)[0].outcome == outcome


def test_another_version_is_shown_beside_and_not_in_place_of_what_is_recorded() -> None:
    whole = recorded()
    old = whole["assessments"][0]
    old["model"]["version"] = "0.9.0"
    old["results"][0]["value"] += 0.001
    found = recompute(whole)[0]
    assert (found.version, found.installed) == ("0.9.0", get(old["model"]["id"]).version)
    first = found.beside[0]
    assert first.recorded == old["results"][0]["value"]
    assert first.now == pytest.approx(first.recorded - 0.001)
    assert {one.outcome for one in found.beside} >= {one["outcome"] for one in old["results"]}


def test_an_assessment_of_another_moment_is_not_compared() -> None:
    whole = recorded()
    whole["assessments"][0]["at"] = 700
    assert recompute(whole)[0].outcome == "other-now"


# -- registry ----------------------------------------------------------------------------------


def test_a_request_names_a_model_and_a_variant() -> None:
    assert request("prevent").variant is None
    assert request("prevent:full").variant == "full"
    with pytest.raises(LookupError, match="it has: base, hba1c"):
        request("prevent:nothing")
    with pytest.raises(UnknownModelError, match=r"installed: .*prevent"):
        request("nothing")


def test_two_packages_may_not_offer_the_same_model() -> None:
    with pytest.raises(DuplicateModelError, match="prevent"):
        register([get("prevent")], dict(all_models()))


@pytest.mark.parametrize("case", CASES)
def test_an_assessed_twin_is_still_a_twin_document(case: Callable[[], State]) -> None:
    found = case()
    check({**found.document, "assessments": assess(found)})


def test_an_optional_value_out_of_range_is_not_used_and_is_not_hidden() -> None:
    found = prevent("", change={"hba1c": signal("%", (800, 3.9, 8))})
    assert found["model"]["variant"] == "base"
    assert "hba1c" in found["missing"]
    (asked,) = assess(state(change={"hba1c": signal("%", (800, 3.9, 8))}), ["prevent:hba1c"])
    assert reasons(asked) == {("out-of-range", "hba1c")}


def test_what_would_help_is_what_can_be_measured() -> None:
    assert prevent(without=("creatinine",))["helps"] == "creatinine"
    assert prevent(without=("body-mass-index",))["helps"] == "body-mass-index"

"""What may have been missed because a slice was refused is said, by input and slice; it is never
read as a no. One case for each way an input is read."""

from typing import Any

import pytest
from models_twins import ONE_SLICE, condition, document, medication, signal

from twin_engine.models.assess import assess
from twin_engine.models.inputs import slices_of
from twin_engine.models.registry import all_models
from twin_engine.state import State

MEDICINES = ("MedicationRequest",)


def asked(model: str, incomplete: tuple[str, ...] = (), **variations: Any) -> dict[str, Any]:
    twin = document(incomplete=incomplete, **variations)
    verdict = "partial" if "Procedure" in incomplete else "complete"
    own = {"type": "Procedure", "verdict": verdict, **ONE_SLICE}
    twin["completeness"]["slices"].append(own)
    (found,) = assess(State(twin), [model])
    return found


def unseen(found: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {row["input"]: tuple(row["slices"]) for row in found.get("unseen", ())}


KIDNEY = {"urine-albumin-creatinine-ratio": signal("mg/g", (805, 120.0, 8))}
GENE = {"gene": "CYP2C19", "diplotype": ["*2", "*2"], "t": 400, "src": 9}

# model, what the twin holds, the slice that is not complete, the input, the slices that are named
CASES = [
    ("prevent", {}, "Observation", "hba1c", ("Observation",)),  # optional number
    ("prevent", {"smoking": ""}, "Observation", "smoking-current", ("Observation",)),  # answer
    ("prevent", {}, "MedicationRequest", "statin", MEDICINES),  # treatment
    ("prevent", {}, "MedicationStatement", "bp-treatment", ("MedicationStatement",)),
    ("prevent", {"without": ("creatinine",)}, "Observation", "egfr-ckdepi-2021", ("Observation",)),
    ("prevent", {}, "Condition", "diabetes", ("Condition",)),
    ("prevent", {}, "Condition", "cvd-established", ("Condition",)),  # what would exclude
    ("kfre", {"change": KIDNEY}, "Condition", "hypertension", ("Condition",)),  # optional flag
    ("kfre", {"change": KIDNEY}, "MedicationRequest", "diabetes", MEDICINES),  # one of three ways
    ("kfre", {"change": KIDNEY}, "Observation", "diabetes", ("Observation",)),  # by a value alone
    ("cha2ds2-vasc", {}, "Condition", "heart-failure", ("Condition",)),
    ("pgx", {}, "Observation", "cyp2c19", ("Observation",)),
    ("pgx", {"genomics": [GENE]}, "Procedure", "bone-marrow-transplant", ("Procedure",)),
]


@pytest.mark.parametrize(("model", "twin", "incomplete", "name", "slices"), CASES)
def test_the_input_and_its_slice_are_named(
    model: str, twin: dict[str, Any], incomplete: str, name: str, slices: tuple[str, ...]
) -> None:
    found = asked(model, incomplete=(incomplete,), **twin)
    assert unseen(found)[name] == slices
    assert "unseen" not in asked(model, **twin)


def test_no_way_of_reading_an_input_is_without_its_slice() -> None:
    """A new kind of source has to say in which resources it may stand."""
    free = {"subject", "setting", "derived"}
    for model in all_models().values():
        for declared in model.inputs.values():
            bound = [source for source in declared.sources if free.isdisjoint(source)]
            assert slices_of(model, declared.id) or not bound, (model.id, declared.id)


def test_a_medicine_that_was_refused_leaves_a_diagnosis_open() -> None:
    """Insulin tells of diabetes; orders that were refused may hold it."""
    fibrillation = [condition("atrial-fibrillation")]
    found = asked("cha2ds2-vasc", incomplete=MEDICINES, conditions=fibrillation)
    assert ("absence-not-proven", "diabetes") in {
        (r["reason"], r.get("input")) for r in found["refusals"]
    }


def test_what_is_found_is_not_unseen() -> None:
    twin = {"conditions": [condition("diabetes-type-2")], "medications": [medication("statin")]}
    assert not unseen(asked("prevent", incomplete=("MedicationRequest",), **twin)).keys() & {
        "diabetes",
        "statin",
    }


def test_a_type_the_server_does_not_have_hides_nothing_beside_another() -> None:
    twin = document()
    for part in twin["completeness"]["slices"]:
        if part["type"] == "MedicationStatement":
            part |= {"verdict": "unknown", "reason": "not-supported"}
    (found,) = assess(State(twin), ["prevent"])
    assert "unseen" not in found

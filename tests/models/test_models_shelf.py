"""Until when a result may be shown as current: its model's shelf life, or an input too old."""

from typing import Any, ClassVar

import pytest

from twin_engine.models.contract import STAKES, Model
from twin_engine.models.registry import all_models, get
from twin_engine.models.shelf import expiry

READ = {"input": "systolic-bp", "value": 130, "unit": "mm[Hg]", "t": 900, "src": [1]}


def answer(*inputs: dict[str, Any], at: int = 1000) -> dict[str, Any]:
    return {"at": at, "inputs": list(inputs)}


@pytest.mark.parametrize(
    ("inputs", "days_since", "left", "cause"),
    [
        ((), 0, 365, "shelf-life"),
        ((), 365, 0, "shelf-life"),  # the last day still counts
        ((), 366, -1, "shelf-life"),
        ((READ | {"how": "measured"},), 0, 365, "shelf-life"),  # 100 days old, 730 accepted
        ((READ | {"how": "measured", "t": 300},), 0, 30, "input-too-old"),
        ((READ | {"how": "measured", "t": 300},), 31, -1, "input-too-old"),
    ],
)
def test_what_comes_first_ends_a_result(inputs, days_since, left, cause) -> None:
    found = expiry(answer(*inputs), get("prevent"), 1, days_since)
    assert found is not None
    assert (found.days_left, found.cause, found.past) == (left, cause, left < 0)


def test_the_input_that_grew_too_old_is_named() -> None:
    found = expiry(answer(READ | {"how": "measured", "t": 300}), get("prevent"), 1, 31)
    assert found is not None
    assert found.input == "systolic-bp"


def test_a_diagnosis_does_not_grow_old_and_an_answer_does() -> None:
    diabetes = {"input": "diabetes", "value": True, "t": -5000, "src": [2], "how": "coded"}
    smoking = {"input": "smoking-current", "value": False, "t": -800, "src": [3], "how": "coded"}
    prevent = get("prevent")
    assert expiry(answer(diabetes), prevent, 1, 0).cause == "shelf-life"  # type: ignore[union-attr]
    assert expiry(answer(smoking), prevent, 1, 0).days_left == 1826 - 1800  # type: ignore[union-attr]


def test_a_twin_that_counts_minutes_says_the_same() -> None:
    day = 1440
    read = READ | {"how": "measured", "t": 300 * day}
    found = expiry(answer(read, at=1000 * day), get("prevent"), day, 0)
    assert found is not None
    assert found.days_left == 30


def test_what_never_ends_has_no_end() -> None:
    class Lasting:
        inputs: ClassVar[dict[str, Any]] = {}
        shelf_life_days = None

    assert expiry(answer(), Lasting(), 1, 10_000) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("model", all_models().values(), ids=lambda model: model.id)
def test_every_model_states_both_and_why(model: Model) -> None:
    assert model.stake in STAKES
    assert model.shelf_life_days is None or model.shelf_life_days >= 1
    assert len(model.card["shelf_life"]) > 20
    assert len(model.card["stake"]) > 20

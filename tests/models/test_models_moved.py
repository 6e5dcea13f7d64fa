"""What moved an answer since last time: shares of the difference, input by input."""

from typing import Any

import numpy as np
import pytest
from models_twins import document, signal

from twin_engine.models.assess import assess, request
from twin_engine.models.moved import moved, moved_between
from twin_engine.models.registry import get
from twin_engine.state import State

PREVENT = get("prevent")


def answered(**variations: Any) -> dict[str, Any]:
    twin = document(**variations)
    return {**twin, "assessments": assess(State(twin), ["prevent:base"])}


def total_cvd(found: list[dict[str, Any]]) -> dict[str, Any]:
    return next(one for one in found if (one["outcome"], one["horizonYears"]) == ("total-cvd", 10))


NOW = answered()


def test_one_input_that_moved_made_all_of_the_difference() -> None:
    before = answered(change={"systolic-bp": signal("mm[Hg]", (810, 160, 1))})
    one = total_cvd(moved_between(before, NOW))
    assert one["model"] == "prevent"
    assert one["before"] > one["after"]
    (part,) = one["parts"]
    assert part == {
        "input": "systolic-bp", "from": 160.0, "to": 142.0, "unit": "mm[Hg]", "share": -1.0,
    }  # fmt: skip


def test_shares_add_up_to_the_whole_difference_on_the_model_s_scale() -> None:
    before = answered(
        subject={"age": 53},
        smoking="current",
        change={"systolic-bp": signal("mm[Hg]", (810, 160, 1))},
    )
    one = total_cvd(moved_between(before, NOW))
    shares = {part["input"]: part["share"] for part in one["parts"]}
    assert shares["age"] > 0 > shares["smoking-current"]
    assert sum(abs(share) for share in shares.values()) == pytest.approx(1, abs=1e-5)
    odds = [np.log(p / (1 - p)) for p in (one["before"], one["after"])]
    assert np.sign(sum(shares.values())) == np.sign(odds[1] - odds[0])


def test_a_filtration_that_moved_is_named_and_not_its_creatinine() -> None:
    before = answered(change={"creatinine": signal("mg/dL", (690, 1.4, 4))})
    (part,) = total_cvd(moved_between(before, NOW))["parts"]
    assert part["input"] == "egfr-ckdepi-2021"


def test_nothing_is_said_of_what_did_not_move_or_was_refused() -> None:
    assert moved_between(NOW, NOW) == []
    refused = answered(without=("systolic-bp",))
    assert moved_between(refused, NOW) == []
    assert moved_between({**NOW, "assessments": []}, NOW) == []


def test_another_version_or_variant_is_not_divided() -> None:
    twin = document(change={"hba1c": signal("%", (800, 6.1, 9))})
    other = assess(State(twin), [request("prevent:hba1c")])[0]
    assert {one["why"] for one in moved(PREVENT, NOW["assessments"][0], other)} == {"other-variant"}
    old = {**NOW["assessments"][0], "model": {**NOW["assessments"][0]["model"], "version": "0.9.0"}}
    assert {one["why"] for one in moved(PREVENT, old, NOW["assessments"][0])} == {"other-version"}

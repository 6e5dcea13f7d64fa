"""The range if measured again: where it comes from, what it must contain, when it is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models_twins import signal, signals, state

from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import library
from twin_engine.models.assess import assess
from twin_engine.models.equation_model import EquationModel, equation_model
from twin_engine.models.uncertainty import (
    DRAWS,
    LEVEL,
    OnePatient,
    draws,
    ends,
    ranges,
    respond,
    spreads,
    variations,
)

PREVENT = equation_model("prevent")
KIDNEY = equation_model("ckd-epi-2021")


FLAGS = ("sex", "diabetes", "smoking-current", "bp-treatment", "statin")


def result(**variations: Any) -> dict[str, Any]:
    (found,) = assess(state(**variations), ["prevent:base"])
    return dict(found["results"][0])


def width(one: dict[str, Any]) -> float:
    return float(one["interval"]["high"] - one["interval"]["low"])


def shares(one: dict[str, Any]) -> dict[str, float]:
    return {part["input"]: part["share"] for part in one["width"]}


def test_it_is_named_for_what_it_is_and_contains_the_point() -> None:
    one = result()
    assert one["interval"]["kind"] == "if-measured-again"
    assert one["interval"]["level"] == 0.95
    assert one["interval"]["low"] < one["value"] < one["interval"]["high"]


def test_the_shares_of_the_width_add_up_and_name_only_what_is_measured() -> None:
    found = shares(result())
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert found.keys() <= {"systolic-bp", "total-cholesterol", "hdl-cholesterol", "creatinine"}
    assert next(iter(found)) == "systolic-bp"


def test_the_draws_are_normal_the_same_for_ever_and_differ_between_inputs() -> None:
    one = draws("systolic-bp")
    assert len(one) == DRAWS
    assert one.mean() == pytest.approx(0, abs=1e-9)
    assert one.std() == pytest.approx(1, abs=0.01)
    assert abs(np.corrcoef(one, draws("creatinine"))[0, 1]) < 0.15


@pytest.mark.parametrize("name", ["total-cholesterol", "hdl-cholesterol", "systolic-bp"])
def test_an_older_reading_widens_only_where_that_is_cited(name: str) -> None:
    unit, value = signals()[name]["unit"], signals()[name]["v"][-1]
    fresh = result(change={name: signal(unit, (812, value, 3))})
    stale = result(change={name: signal(unit, (112, value, 3))})
    assert stale["value"] == fresh["value"]
    assert width(stale) > width(fresh)


def test_an_older_creatinine_does_not_widen() -> None:
    fresh = result(change={"creatinine": signal("mg/dL", (812, 0.8, 3))})
    stale = result(change={"creatinine": signal("mg/dL", (112, 0.8, 3))})
    assert stale["interval"] == fresh["interval"]


def test_without_a_citable_variation_there_is_no_interval() -> None:
    kidney = library()["ckd-epi-2021"]
    renamed = {
        ("bicarbonate" if name == "cystatin-c" else name): replace(
            one, id="bicarbonate" if name == "cystatin-c" else name
        )
        for name, one in kidney.inputs.items()
    }
    variants = {"creatinine": ("creatinine",), "cystatin-c": ("bicarbonate",)}
    model = EquationModel(replace(kidney, inputs=renamed, variants=variants, choices=()))
    columns = {"age": np.array([50.0]), "sex": np.array([1.0]), "bicarbonate": np.array([0.9])}
    answer = model.predict(columns, variant="cystatin-c")
    (found,) = spreads(model, columns, "cystatin-c", answer.targets, answer.values).values()
    assert np.isfinite(answer.values[0, 0])
    assert found.refused == "bicarbonate"
    assert len(found.low) == 0


def test_the_kidney_range_is_about_what_creatinine_alone_gives() -> None:
    """Above the knot the CV of eGFR is 1.2 times that of creatinine: 1.2 x 4.56 %."""
    columns = {"age": np.array([50.0]), "sex": np.array([1.0]), "creatinine": np.array([1.1])}
    answer = KIDNEY.predict(columns)
    found = spreads(KIDNEY, columns, "creatinine", answer.targets, answer.values)[answer.targets[0]]
    half = float(found.high[0] - found.low[0]) / 2 / answer.values[0, 0]
    assert half == pytest.approx(1.96 * 1.2 * 0.0456, rel=0.05)


def test_impaired_kidneys_and_diabetes_use_their_own_variation() -> None:
    def relative(creatinine: float) -> float:
        columns = {
            "age": np.array([50.0]),
            "sex": np.array([1.0]),
            "creatinine": np.array([creatinine]),
        }
        answer = KIDNEY.predict(columns)
        spread = spreads(KIDNEY, columns, "creatinine", answer.targets, answer.values)
        found = spread[answer.targets[0]]
        return float((found.high[0] - found.low[0]) / answer.values[0, 0])

    assert relative(2.5) > 1.8 * relative(1.1)


def test_every_variation_names_a_source_and_log_is_used_above_ten_percent() -> None:
    for name, rows in variations().items():
        for row in rows:
            assert row.source, name
            total = (row.cv_within**2 + row.cv_analytical**2) ** 0.5
            assert row.kind == ("log" if total > 0.1 or row.log_sd else row.kind)
            assert row.kind != "linear" or 0 < total <= 0.1, name


def test_one_row_has_the_same_range_alone_and_in_a_batch() -> None:
    columns = {
        name: np.array([value, value * 1.05])
        for name, value in {
            "age": 50.0, "total-cholesterol": 200.0, "hdl-cholesterol": 45.0, "systolic-bp": 140.0,
            "body-mass-index": 30.0, "egfr-ckdepi-2021": 80.0, "hba1c": 6.0,
        }.items()
    } | {name: np.array([0.0, 1.0]) for name in FLAGS}  # fmt: skip
    answer = PREVENT.predict(columns)
    whole = spreads(PREVENT, columns, "hba1c", answer.targets, answer.values)
    one = {name: values[1:] for name, values in columns.items()}
    alone = spreads(PREVENT, one, "hba1c", answer.targets, answer.values[:, 1:])
    for target in answer.targets:
        assert whole[target].low[1] == alone[target].low[0]
        assert whole[target].high[1] == alone[target].high[0]


@pytest.mark.parametrize("odd", [None, np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_the_ends_of_a_range_are_the_quantiles_of_its_draws(
    odd: float | None, scale: float
) -> None:
    rng = np.random.default_rng(7)
    drawn = rng.normal(size=(6, 3, DRAWS)) * scale
    drawn[1, 0] = drawn[1, 0, 0]  # nothing varies
    if odd is not None:
        drawn[0, 0, rng.integers(DRAWS, size=20)] = odd
    levels = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    with np.errstate(invalid="ignore"):
        assert np.array_equal(ends(drawn), np.quantile(drawn, levels, axis=2), equal_nan=True)


PARTS = {"body-weight": 92.0, "body-height": 171.0, "creatinine": 1.1}
GIVEN = {"body-mass-index": 31.5, "egfr-ckdepi-2021": 64.0}


class Untold(EquationModel):
    """Computes an input of two others, and does not say of which."""

    def __init__(self) -> None:
        super().__init__(PREVENT.equation)
        self.derivations = ()

    def derive(self, columns: dict[str, FloatArray]) -> dict[str, FloatArray]:
        if np.isnan(columns["egfr-ckdepi-2021"]).all():
            columns["egfr-ckdepi-2021"] = (
                columns["systolic-bp"] / 3 + columns["total-cholesterol"] / 20
            )
        return super().derive(columns)


@pytest.mark.parametrize("model", [PREVENT, Untold()])
@pytest.mark.parametrize("more", [PARTS, GIVEN, PARTS | GIVEN, PARTS | {"creatinine": 0.05}])
def test_each_input_alone_is_what_the_model_says_of_every_draw(
    model: EquationModel, more: dict[str, float]
) -> None:
    """However few rows are settled for it: as if each row had been made and asked by itself."""
    patient = {"age": 58.0, "sex": 1.0, "systolic-bp": 141.0, "total-cholesterol": 212.0,
               "hdl-cholesterol": 41.0, "diabetes": 1.0, "smoking-current": 0.0,
               "bp-treatment": 1.0, "statin": 0.0, **more}  # fmt: skip
    columns = {name: np.array([patient.get(name, np.nan)]) for name in model.inputs}
    prepared = model.prepare(columns)
    points = model.respond(columns, "base", model.targets())
    case = OnePatient(columns, prepared, {})
    spread, widths = ranges(model, case, "base", model.targets(), points)
    together = respond(model, columns, "base", model.targets(), list(patient), {})[:, 0]
    for index, target in enumerate(model.targets()):
        low, high = ends(together[index])
        assert spread[target].low == min(low, points[index, 0])
        assert spread[target].high == max(high, points[index, 0])
        alone = {
            name: respond(model, columns, "base", [target], [name], {})[0, 0].var()
            for name in widths[target]
        }
        total = sum(alone.values())
        assert widths[target] == pytest.approx({n: v / total for n, v in alone.items()}, rel=1e-12)

"""The public conformance check passes our models and finds what is wrong with others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models_twins import state

from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import Equation, Target
from twin_engine.models.assess import assess
from twin_engine.models.cards import (
    card,
    card_digest,
    card_fields,
    html_card,
    markdown,
    movements,
)
from twin_engine.models.check import ConformanceError, check_model
from twin_engine.models.contract import Columns, Model, Prediction, Vector
from twin_engine.models.docs import pages
from twin_engine.models.equation_model import EquationModel, equation_model
from twin_engine.models.registry import all_models, get

KIDNEY = equation_model("ckd-epi-2021").equation
DOCS = Path(__file__).parents[2] / "docs" / "models"


@pytest.mark.parametrize("model", all_models().values(), ids=list(all_models()))
def test_our_models_conform(model: Model) -> None:
    check_model(model)


class Random(EquationModel):
    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        return super().compute(columns, variant, targets) + np.random.default_rng().normal()


class AcrossRows(EquationModel):
    """Looks at its neighbours."""

    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        own = super().compute(columns, variant, targets)
        return own - own.mean() + 50


class Upside(EquationModel):
    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        return 200 - super().compute(columns, variant, targets)


class Greedy(EquationModel):
    """Says that it needs no creatinine, and reads it."""

    def needs(self, variant: str, target: Target) -> frozenset[str]:
        return super().needs(variant, target) - {"creatinine"}


class Boundless(EquationModel):
    """Answers whatever it is asked."""

    def predict(
        self,
        columns: Columns,
        *,
        variant: str | None = None,
        targets: Sequence[Target] | None = None,
    ) -> Prediction:
        found = super().predict(columns, variant=variant, targets=targets)
        found.reasons[:] = -1
        return found


class Vandal(EquationModel):
    def prepare(self, columns: Columns) -> dict[str, FloatArray]:
        columns["age"][:] = 50.0
        return super().prepare(columns)


class Curious(EquationModel):
    """Looks whether somebody has told it the race."""

    def prepare(self, columns: Columns) -> dict[str, FloatArray]:
        return super().prepare({k: v + ("race" in columns) for k, v in columns.items()})


class OtherUnit(EquationModel):
    def __init__(self, equation: Equation) -> None:
        other = replace(equation.inputs["creatinine"], unit="umol/L")
        super().__init__(replace(equation, inputs={**equation.inputs, "creatinine": other}))


class Unitless(EquationModel):
    def __init__(self, equation: Equation) -> None:
        egfr = replace(equation.outcomes["egfr"], unit="")
        super().__init__(replace(equation, outcomes={"egfr": egfr}))


class Unproven(EquationModel):
    """Has nothing from outside to be compared with."""

    def vectors(self) -> Sequence[Vector]:
        return super().vectors()[:2]


class OnePerson(EquationModel):
    """Was compared in one person only, by nobody who is named."""

    def vectors(self) -> Sequence[Vector]:
        return [replace(super().vectors()[0], source="")] * 3


class Sheltered(EquationModel):
    """Was compared in the middle of its range, and never at an end."""

    def vectors(self) -> Sequence[Vector]:
        return [one for one in super().vectors() if one.inputs["age"] < 100]


class Drifted(EquationModel):
    """No longer computes what it was published as."""

    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        return super().compute(columns, variant, targets) * 1.001


class Silent(EquationModel):
    """Does not say how it moves."""

    def __init__(self, equation: Equation) -> None:
        super().__init__(replace(equation, monotone=()))


class Bare(EquationModel):
    """A card without a field, and with one that is not on the list."""

    def __init__(self, equation: Equation) -> None:
        words = {name: text for name, text in equation.card.items() if name != "value"}
        super().__init__(replace(equation, card={**words, "motto": "Trust us."}))


class Careless(EquationModel):
    """Does not say how long its results hold."""

    def __init__(self, equation: Equation) -> None:
        super().__init__(replace(equation, shelf_life_days=0, stake="some"))


@pytest.mark.parametrize(
    ("build", "finding"),
    [
        (Careless, "shelf_life_days is not at least a day"),
        (Careless, "stake 'some' is not one of low, high"),
        (OtherUnit, "input creatinine is in umol/L, a twin has it in mg/dL"),
        (Unitless, "outcome egfr has no unit"),
        (Bare, r"card of ckd-epi-2021: fill \['value'\]; remove \['motto'\]"),
        (Unproven, "2 reference values in `vectors`; give at least 3"),
        (OnePerson, "names no source.*is the same in all reference values: give it low and high"),
        (Sheltered, r"has_reference_values_at_its_edges: no reference value at age = 120\.0"),
        (Drifted, r"reproduces_them: \S+: egfr is [\d.]+, its source says [\d.]+.*and \d+ more"),
        (Silent, "say in `monotone` what rises or falls with an input, or in `not_monotone` why"),
        (Curious, "read the column race, which is not among its inputs"),
        (Random, "is_deterministic"),
        (AcrossRows, "answers_singly_as_in_a_batch"),
        (Upside, "moves_as_declared"),
        (Greedy, "reads_only_what_it_declares"),
        (Boundless, "refuses_at_its_edges"),
        (Vandal, "leaves_its_columns_alone"),
    ],
)
def test_what_breaks_the_contract_is_found(build: Callable[[object], Model], finding: str) -> None:
    with pytest.raises(ConformanceError, match=finding):
        check_model(build(KIDNEY))


# -- cards -------------------------------------------------------------------------------------


def test_the_generated_pages_are_current() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    for elsewhere in (
        "writing-a-model.md",
        "what-if.md",
        "agreement.md",
        "coverage.md",
        "coverage-synthea.md",
        "validation.md",
    ):
        there.pop(elsewhere, None)
    assert there == dict(pages()), "run: python -m twin_engine.models.docs docs/models"


def test_a_card_digest_follows_the_card_and_the_coefficients() -> None:
    one = EquationModel(KIDNEY)
    other_words = EquationModel(replace(KIDNEY, card={**KIDNEY.card, "value": "Another."}))
    other_numbers = EquationModel(replace(KIDNEY, content={"coefficients.csv": "sha256:0"}))
    assert card_digest(one) == card_digest(equation_model("ckd-epi-2021"))
    assert len({card_digest(m) for m in (one, other_words, other_numbers)}) == 3


def test_a_card_for_a_page_is_escaped() -> None:
    hostile = EquationModel(replace(KIDNEY, card={**KIDNEY.card, "value": "<script>x</script>"}))
    assert card(hostile)["fields"]["value"] == "<script>x</script>"
    assert "<" not in str(html_card(hostile))


@pytest.mark.parametrize(
    ("model_id", "sentence"),
    [
        (
            "prevent",
            "Higher systolic-bp never lowers heart-failure (from 110 mm[Hg]; variant base).",
        ),
        (
            "prevent",
            "Yes to smoking-current never lowers total-cvd, ascvd, heart-failure (10 years).",
        ),
        ("kfre", "Higher egfr-ckdepi-2021 never raises kidney-failure."),
        ("bcrat", "Higher first-degree-relatives never lowers breast-cancer."),
        ("news2", "No outcome only rises or only falls. Most of its measurements score on both"),
    ],
)
def test_a_card_says_how_the_model_moves(model_id: str, sentence: str) -> None:
    model = get(model_id)
    assert f"- {sentence}" in markdown(model)
    assert any(one.startswith(sentence) for one in html_card(model)["movements"])


def test_how_it_moves_stands_beside_the_card_that_assessments_name() -> None:
    (rule, *_) = KIDNEY.monotone
    other = EquationModel(replace(KIDNEY, monotone=({**rule, "to": 2},)))
    assert movements(other) == ["Higher creatinine never raises egfr (up to 2 mg/dL)."]
    assert card_digest(other) == card_digest(EquationModel(KIDNEY))


def test_every_movement_of_every_card_is_said_once() -> None:
    for model in all_models().values():
        said = movements(model)
        assert len(set(said)) == max(1, len(model.monotone)), model.id


def test_a_card_has_all_source_attributes() -> None:
    assert {int(f.attribute) for f in card_fields() if f.attribute} == set(range(1, 32))


def test_the_documented_example_of_a_foreign_model_conforms() -> None:
    text = DOCS.joinpath("writing-a-model.md").read_text(encoding="utf-8")
    code = text.split("```python\n", 1)[1].split("```", 1)[0]
    namespace: dict[str, Any] = {}
    exec(compile(code, "writing-a-model.md", "exec"), namespace)
    (model,) = namespace["models"]()
    check_model(model)
    (found,) = assess(state(), [model])
    assert found["answer"] == "given"
    assert found["results"][0]["interval"]["kind"] == "if-measured-again"

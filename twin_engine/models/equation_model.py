"""A published equation, run through the model contract."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from twin_engine.equations.evaluator import Evaluator
from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import Derivation, Equation, Target, library
from twin_engine.models.contract import Columns, Model
from twin_engine.models.vectors import Vector, read_vectors

# HL7 AI Transparency on FHIR, code system AIdeviceTypeCS: fixed coefficients, no learning.
AI_KINDS = ("Rule-Based-Systems", "Deterministic-AI")


class EquationModel(Model):
    """Everything it declares and computes comes from the equation's folder."""

    def __init__(self, equation: Equation) -> None:
        self.equation = equation
        self.id, self.version, self.title = equation.id, equation.version, equation.title
        self.kind, self.card = equation.kind, equation.card
        self.inputs, self.outcomes = equation.inputs, equation.outcomes
        self.variants, self.aliases = equation.variants, equation.aliases
        self.choices, self.on_request = equation.choices, equation.on_request
        self.exclusions, self.inclusions = equation.exclusions, equation.inclusions
        self.rows_only = equation.rows_only
        self.monotone, self.not_monotone = equation.monotone, equation.not_monotone
        self.shelf_life_days, self.stake = equation.shelf_life_days, equation.stake
        self.codings, self.ai_kinds = equation.codings, AI_KINDS
        self.derivations, self.content = equation.derivations, equation.content
        self.requires_all, self.predictor_scale = equation.requires_all, equation.predictor_scale
        self._evaluator = Evaluator(equation)
        self._needs: dict[tuple[str, Target], frozenset[str]] = {}

    def compute(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        return self._evaluator.evaluate(columns, variant, targets)

    def predictor(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        return self._evaluator.predictor(columns, variant, targets)

    def needs(self, variant: str, target: Target) -> frozenset[str]:
        key = (variant, target)
        if key not in self._needs:
            self._needs[key] = self.equation.needs(variant, target)
        return self._needs[key]

    def vectors(self) -> Sequence[Vector]:
        return read_vectors(self.equation.vectors, self.inputs, self.targets())

    def category(
        self, target: Target, value: float, row: Mapping[str, float]
    ) -> tuple[str, str] | None:
        return self.equation.category(target, value, row)

    def derive(self, columns: dict[str, FloatArray]) -> dict[str, FloatArray]:
        for derivation in self.equation.derivations:
            given = columns[derivation.input]
            if np.isnan(given).any():
                computed = self._derived(derivation, columns)
                columns[derivation.input] = np.where(np.isnan(given), computed, given)
        return columns

    def _derived(self, derivation: Derivation, columns: Columns) -> FloatArray:
        if derivation.expression is not None:
            symbols = {self.inputs[name].symbol: columns[name] for name in derivation.of}
            with np.errstate(all="ignore"):
                return np.asarray(derivation.expression(symbols))
        other = equation_model(derivation.model)
        own = {name: columns[name] for name in derivation.of}
        return np.asarray(other.predict(own, variant=derivation.variant).values[0])


@cache
def equation_model(equation_id: str) -> EquationModel:
    return EquationModel(library()[equation_id])


def shipped_equations() -> Mapping[str, EquationModel]:
    return {equation_id: equation_model(equation_id) for equation_id in library()}

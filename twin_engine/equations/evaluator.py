"""One vectorised evaluator for every equation: linear predictor, then link.

Sums are accumulated term by term in the order of the coefficient table rather than through a
matrix product: the same row gives the same bits whatever batch it comes in, on any machine.
Rows are taken in blocks that stay in the processor's cache.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twin_engine.equations.expression import Environment, Expression, FloatArray
from twin_engine.equations.library import Equation, Target, choice_name

BLOCK = 8192
Columns = Mapping[str, FloatArray]


@dataclass(frozen=True)
class _Sum:
    """One target in one stratum: which terms, with which weights; and its constants."""

    terms: tuple[tuple[str, float], ...]
    constants: Mapping[str, float]


class Evaluator:
    """Runs one equation over columns of complete, usable values (see `EquationModel` for masks)."""

    def __init__(self, equation: Equation) -> None:
        self._equation = equation
        self._symbols = {v.symbol: name for name, v in equation.inputs.items()}
        self._choices = {
            choice_name(choice): float(index)
            for variable in equation.inputs.values()
            for index, choice in enumerate(variable.choices)
        }
        self._sums = {key: _sum(row, equation.terms) for key, row in equation.table.items()}
        self._orders: dict[tuple[str, str, tuple[Target, ...]], tuple[str, ...]] = {}

    def predictor(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        """Linear predictors, one row per target; NaN where no stratum of the equation applies."""
        return self._run(columns, variant, tuple(targets), linked=False)

    def evaluate(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        """Outcomes, one row per target; NaN where no stratum of the equation applies."""
        return self._run(columns, variant, tuple(targets), linked=True)

    def _run(
        self, columns: Columns, variant: str, targets: tuple[Target, ...], *, linked: bool
    ) -> FloatArray:
        rows = len(next(iter(columns.values())))
        result = np.full((len(targets), rows), np.nan)
        with np.errstate(all="ignore"):
            for start in range(0, rows, BLOCK):
                block = slice(start, min(start + BLOCK, rows))
                part = {symbol: columns[name][block] for symbol, name in self._symbols.items()}
                self._block(part, variant, targets, result[:, block], linked=linked)
        return result

    def _block(
        self,
        part: dict[str, FloatArray],
        variant: str,
        targets: tuple[Target, ...],
        out: FloatArray,
        *,
        linked: bool,
    ) -> None:
        for stratum, belongs in self._equation.strata.items():
            here = np.asarray(belongs({**self._choices, **part})) > 0
            if not here.any():
                continue
            rows = slice(None) if here.all() else np.flatnonzero(here)
            own = {symbol: values[rows] for symbol, values in part.items()}
            out[:, rows] = self._stratum(own, variant, stratum, targets, linked=linked)

    def _stratum(
        self,
        own: dict[str, FloatArray],
        variant: str,
        stratum: str,
        targets: tuple[Target, ...],
        *,
        linked: bool,
    ) -> FloatArray:
        found = [self._sums.get((variant, stratum, target)) for target in targets]
        size = len(next(iter(own.values())))
        environment = {**self._choices, **own}
        for one in found:
            environment.update(one.constants if one else {})
        values = self._terms(environment, self._order(variant, stratum, targets))
        out = np.full((len(targets), size), np.nan)
        finish = self._equation.link if linked else self._equation.predictor
        for index, one in enumerate(found):
            if one is not None:
                x = _weighted(one.terms, values, size)
                out[index] = finish({**environment, **one.constants, "x": x})
        return out

    def _terms(self, environment: Environment, order: tuple[str, ...]) -> Environment:
        values = dict(environment)
        for name in order:
            values[name] = self._equation.terms[name](values)
        return values

    def _order(self, variant: str, stratum: str, targets: tuple[Target, ...]) -> tuple[str, ...]:
        """The terms these targets need, in the order in which the equation defines them."""
        key = (variant, stratum, targets)
        if key not in self._orders:
            sums = (self._sums.get((variant, stratum, target)) for target in targets)
            wanted = {name for one in sums if one for name, _ in one.terms}
            self._orders[key] = _in_order(wanted, self._equation.terms)
        return self._orders[key]


def _sum(row: Mapping[str, float], terms: Mapping[str, Expression]) -> _Sum:
    return _Sum(
        tuple((name, value) for name, value in row.items() if name in terms),
        {name: value for name, value in row.items() if name not in terms},
    )


def _in_order(wanted: set[str], terms: Mapping[str, Expression]) -> tuple[str, ...]:
    needed = set(wanted)
    for name in reversed(list(terms)):  # a term only reads earlier ones
        if name in needed:
            needed |= terms[name].names & terms.keys()
    return tuple(name for name in terms if name in needed)


def _weighted(terms: tuple[tuple[str, float], ...], values: Environment, size: int) -> FloatArray:
    total = np.zeros(size)
    for name, weight in terms:
        total += weight * values[name]
    return total

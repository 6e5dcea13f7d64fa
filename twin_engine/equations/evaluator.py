"""One vectorised evaluator for every equation: linear predictor, then link.

The same row gives the same bits whatever batch it comes in. Rows are taken stratum by stratum, in
blocks that stay in the processor's cache. The sums of a block are matrix products of tiles that all
have one shape: a linear algebra library may add up in another order only where the shape differs,
and whether it treats all columns of a tile alike is tried out before it is used.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin_engine.equations.expression import Environment, Expression, FloatArray
from twin_engine.equations.library import Equation, Target, choice_name

TILE = 256
BLOCK = 32 * TILE
Columns = Mapping[str, FloatArray]
Rows = NDArray[np.intp]
_Asked = tuple[str, str, tuple[Target, ...]]  # variant, stratum, targets


@dataclass(frozen=True)
class _Plan:
    """What is computed for some targets in one stratum."""

    symbols: tuple[str, ...]  # of the inputs that are read
    terms: tuple[str, ...]  # those that are summed and those they are made of, these first
    sums: "_Sums"  # of all targets of the equation: asking for fewer changes no bit
    rows: slice | NDArray[np.intp]  # of those asked for
    constants: Mapping[str, FloatArray | float]  # of several targets each targets x 1
    known: NDArray[np.bool_]  # targets x 1: the equation has it in this stratum
    all_known: bool
    apart: "tuple[_Plan, ...]"  # target by target, where a term reads a constant of its own


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
        self._plans: dict[_Asked, _Plan] = {}

    def predictor(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        """Linear predictors, one row per target; NaN where no stratum of the equation applies."""
        return self._run(columns, variant, tuple(targets), linked=False)

    def evaluate(self, columns: Columns, variant: str, targets: Sequence[Target]) -> FloatArray:
        """Outcomes, one row per target; NaN where no stratum of the equation applies."""
        return self._run(columns, variant, tuple(targets), linked=True)

    def _run(
        self, columns: Columns, variant: str, targets: tuple[Target, ...], *, linked: bool
    ) -> FloatArray:
        size = len(next(iter(columns.values())))
        given = {symbol: columns[name] for symbol, name in self._symbols.items()}
        result = np.empty((len(targets), size))
        with np.errstate(all="ignore"):
            members = self._members(given, size)
            if sum(map(len, members.values())) < size:
                result[:] = np.nan
            for stratum, rows in members.items():
                plan = self._plan(variant, stratum, targets)
                room = np.empty((len(plan.terms), min(BLOCK, _in_tiles(len(rows)))))
                for here, number in _blocks(rows, size):
                    own = {symbol: _picked(given[symbol], here) for symbol in plan.symbols}
                    result[:, here] = self._stratum(own, plan, room, number, linked=linked)
        return result

    def _members(self, given: Columns, size: int) -> dict[str, Rows]:
        """The positions of the rows that belong to each stratum that has any."""
        environment = {**self._choices, **given}
        found = {}
        for name, condition in self._equation.strata.items():
            belong = np.asarray(condition(environment)) > 0
            rows = (belong if belong.shape else np.broadcast_to(belong, size)).nonzero()[0]
            if rows.size:
                found[name] = rows
        return found

    def _stratum(
        self,
        own: dict[str, FloatArray],
        plan: _Plan,
        room: FloatArray,
        size: int,
        *,
        linked: bool,
    ) -> FloatArray:
        """Outcomes of one block. `room` is for its terms: new memory costs more than they do."""
        if plan.apart:
            each = (self._stratum(own, one, room, size, linked=linked) for one in plan.apart)
            return np.vstack(tuple(each))
        environment = {**self._choices, **own, **plan.constants}
        terms = room[: len(plan.terms), : _in_tiles(size)]
        terms[:, size:] = 0.0  # what fills the last tile
        self._terms(environment, plan, terms[:, :size])
        x = plan.sums(terms)[plan.rows, :size]
        finish = self._equation.link if linked else self._equation.predictor
        found = np.asarray(finish({**environment, "x": x}))
        if found.shape != x.shape:
            found = np.broadcast_to(found, x.shape)
        return found if plan.all_known else np.where(plan.known, found, np.nan)

    def _terms(self, environment: Environment, plan: _Plan, terms: FloatArray) -> None:
        """The terms, one row each."""
        values = dict(environment)
        for name, row in zip(plan.terms, terms, strict=True):
            self._equation.terms[name].into(values, row)
            values[name] = row

    def _plan(self, variant: str, stratum: str, targets: tuple[Target, ...]) -> _Plan:
        key = (variant, stratum, targets)
        if key not in self._plans:
            self._plans[key] = _plan(self._equation, key, self._symbols)
        return self._plans[key]


def _blocks(rows: Rows, size: int) -> Iterator[tuple[slice | Rows, int]]:
    """Which rows to take at a time, and how many; all there are, one after the other, as slices."""
    for start in range(0, len(rows), BLOCK):
        here = rows[start : start + BLOCK]
        whole = len(rows) == size
        yield slice(start, start + len(here)) if whole else here, len(here)


def _picked(column: FloatArray, here: slice | Rows) -> FloatArray:
    """In one piece: what is computed of it is then the same whichever way it was picked."""
    return np.ascontiguousarray(column[here])


def _in_tiles(size: int) -> int:
    return -(-size // TILE) * TILE


def _plan(equation: Equation, asked: _Asked, symbols: Mapping[str, str]) -> _Plan:
    variant, stratum, targets = asked
    everything = equation.targets()
    table = {t: equation.table.get((variant, stratum, t)) or {} for t in everything}
    rows = [table[target] for target in targets]
    given = {name for row in table.values() for name in row}
    terms = _in_order(given & equation.terms.keys(), equation.terms)
    constants = given - equation.terms.keys()
    read = {name for term in terms for name in equation.terms[term].names}
    names = read.union(equation.link.names, equation.predictor.names)
    apart = len(targets) > 1 and not read.isdisjoint(constants)
    each = ((variant, stratum, (target,)) for target in targets)
    return _Plan(
        symbols=tuple(symbol for symbol in symbols if symbol in names),
        terms=terms,
        sums=_Sums(_table(list(table.values()), terms, 0.0)),
        rows=slice(None)
        if list(targets) == everything
        else np.array([everything.index(target) for target in targets]),
        constants={name: _constant(rows, name) for name in constants},
        known=np.array([[bool(row)] for row in rows]),
        all_known=all(rows),
        apart=tuple(_plan(equation, one, symbols) for one in each) if apart else (),
    )


def _table(rows: Sequence[Mapping[str, float]], names: Sequence[str], absent: float) -> FloatArray:
    return np.array([[row.get(name, absent) for name in names] for row in rows])


def _constant(rows: Sequence[Mapping[str, float]], name: str) -> FloatArray | float:
    return rows[0].get(name, np.nan) if len(rows) == 1 else _table(rows, (name,), np.nan)


def _in_order(wanted: set[str], terms: Mapping[str, Expression]) -> tuple[str, ...]:
    needed = set(wanted)
    for name in reversed(list(terms)):  # a term only reads earlier ones
        if name in needed:
            needed |= terms[name].names & terms.keys()
    return tuple(name for name in terms if name in needed)


class _Sums:
    """One sum per target and row: weights times terms."""

    def __init__(self, weights: FloatArray) -> None:
        self._weights = weights
        self._tiled = _treats_columns_alike(weights)

    def __call__(self, terms: FloatArray) -> FloatArray:
        """Of whole tiles. A term that a target does not have weighs nothing, which is no help where
        it is not finite: such rows are summed again, without it."""
        total = self._products(terms) if self._tiled else self._one_by_one(terms)
        if not np.isfinite(total).all():
            odd = ~np.isfinite(total).all(axis=0)
            total[:, odd] = self._one_by_one(terms[:, odd])
        return total

    def _products(self, terms: FloatArray) -> FloatArray:
        tiles = (-1, terms.shape[1] // TILE, TILE)
        total = np.empty((len(self._weights), terms.shape[1]))
        by_tile = total.reshape(tiles).transpose(1, 0, 2)
        np.matmul(self._weights, terms.reshape(tiles).transpose(1, 0, 2), out=by_tile)
        return total

    def _one_by_one(self, terms: FloatArray) -> FloatArray:
        total = np.zeros((len(self._weights), terms.shape[1]))
        for target, term in np.argwhere(self._weights):
            total[target] += self._weights[target, term] * terms[term]
        return total


def _treats_columns_alike(weights: FloatArray) -> bool:
    """Whether equal columns of a tile give equal bits, wherever in it they stand."""
    column = np.random.default_rng(0).normal(size=(weights.shape[1], 1))
    product = weights @ np.repeat(column, TILE, axis=1)
    return bool((product == product[:, :1]).all())

"""The range of an answer if its inputs were measured again.

Every measured input is moved by its published within-person and measurement variation, widened
with its age where a citation allows it, and the equation is run on each draw. The draws are a fixed
Latin hypercube: the levels are the quantiles of the normal distribution, their order for one input
follows from a digest of its name. The same inputs give the same range, on any machine, and two
scenarios compared see the same draws.

The range says nothing about the error of the model or its calibration.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.equations.library import choice_name
from twin_engine.models.contract import Columns, Model, Target
from twin_engine.models.equation_model import equation_model
from twin_engine.variation import Variation, variations

DRAWS = 512
LEVEL = 0.95
KIND = "if-measured-again"
NO_VARIATION = "no-citable-variation"
NOTHING_MEASURED = "nothing-measured"  # only coded answers and the like: nothing would vary
NEGLIGIBLE = 1e-9  # a share below this is rounding, not variation
EGFR = "egfr-ckdepi-2021"


@dataclass(frozen=True)
class Spread:
    """The range of one target for each row; `refused`: the input without a variation, or that
    no input was measured at all."""

    low: FloatArray
    high: FloatArray
    refused: str = ""


# -- draws -------------------------------------------------------------------------------------


@cache
def _levels() -> FloatArray:
    normal = NormalDist()
    return np.array([normal.inv_cdf((k + 0.5) / DRAWS) for k in range(DRAWS)])


@cache
def draws(name: str) -> FloatArray:
    """The standard-normal draws of one input: the same for every patient, model and run."""
    keys = [hashlib.sha256(f"{name}:{k}".encode()).digest() for k in range(DRAWS)]
    order = sorted(range(DRAWS), key=keys.__getitem__)
    return _levels()[order]


# -- spread of answers -------------------------------------------------------------------------


def spreads(
    model: Model,
    columns: Columns,
    variant: str,
    targets: Sequence[Target],
    points: FloatArray,
    ages: Mapping[str, int] | None = None,
) -> dict[Target, Spread]:
    """The range of every target, row by row. `ages`: days since each input was measured."""
    given = _given(columns)
    refused = {target: without_variation(model, variant, target, given) for target in targets}
    open_targets = [target for target in targets if not refused[target]]
    found = {target: Spread(np.empty(0), np.empty(0), refused[target]) for target in targets}
    if open_targets:
        sampled = respond(model, columns, variant, open_targets, given, ages or {})
        tails = np.quantile(sampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=2)
        for index, target in enumerate(open_targets):
            point = points[list(targets).index(target)]
            low, high = np.fmin(tails[0, index], point), np.fmax(tails[1, index], point)
            found[target] = Spread(low, high)
    return found


def shares(
    model: Model,
    columns: Columns,
    variant: str,
    targets: Sequence[Target],
    ages: Mapping[str, int] | None = None,
) -> dict[Target, dict[str, float]]:
    """For one patient: how much of each range each measured input is answerable for.

    The variance with one input moving alone, over the sum of these variances.
    """
    read_by = {target: influences(model, variant, target) for target in targets}
    read_at_all = frozenset().union(*read_by.values())
    given = [name for name in _given(columns) if not _is_fixed(model, name)]
    moving = [name for name in given if name in read_at_all]
    alone = _variances(model, columns, variant, targets, moving, ages or {})
    found: dict[Target, dict[str, float]] = {}
    for index, target in enumerate(targets):
        read = read_by[target]
        own = {name: v for name, v in zip(moving, alone[index], strict=True) if name in read}
        total = sum(own.values())
        found[target] = {name: v / total for name, v in own.items() if v > NEGLIGIBLE * total}
    return found


def _variances(
    model: Model,
    columns: Columns,
    variant: str,
    targets: Sequence[Target],
    moving: Sequence[str],
    ages: Mapping[str, int],
) -> list[list[float]]:
    """Of each target, with each of these inputs moving alone: all of it in one batch."""
    if not moving:
        return [[] for _ in targets]
    context = _context(model, columns)
    rows = len(moving)
    sampled = {name: np.full((rows, DRAWS), values[0]) for name, values in columns.items()}
    for row, name in enumerate(moving):
        sampled[name][row] = _sample(name, columns[name], context, ages.get(name, 0))
    batch = {name: values.reshape(-1) for name, values in sampled.items()}
    outcomes = model.respond(batch, variant, targets).reshape(len(targets), rows, DRAWS)
    variances: list[list[float]] = outcomes.var(axis=2).tolist()
    return variances


def influences(model: Model, variant: str, target: Target) -> frozenset[str]:
    """The inputs an outcome reads, and the parts its derived inputs are computed of."""
    needed = set(model.needs(variant, target))
    for derivation in model.derivations:
        if derivation.input in needed:
            needed |= set(derivation.of)
    return frozenset(needed)


def _given(columns: Columns) -> list[str]:
    return [name for name, values in columns.items() if not np.isnan(values).all()]


def _is_fixed(model: Model, name: str) -> bool:
    """A coded answer does not vary between measurements; a wrong one is an error, not a spread."""
    declared = model.inputs[name]
    rows = variations().get(name, ())
    return declared.flag or bool(declared.choices) or (bool(rows) and all(r.fixed for r in rows))


def without_variation(model: Model, variant: str, target: Target, given: Sequence[str]) -> str:
    read = influences(model, variant, target)
    moving = [name for name in given if name in read and not _is_fixed(model, name)]
    if not moving:
        return NOTHING_MEASURED
    return next((name for name in moving if name not in variations()), "")


def why_refused(spread: Spread) -> str:
    """Why an answer has no range, as an assessment says it."""
    return NOTHING_MEASURED if spread.refused == NOTHING_MEASURED else NO_VARIATION


def respond(
    model: Model,
    columns: Columns,
    variant: str,
    targets: Sequence[Target],
    moving: Sequence[str],
    ages: Mapping[str, int],
) -> FloatArray:
    """Outcomes as targets x rows x draws, with the inputs named in `moving` drawn again."""
    rows = len(next(iter(columns.values())))
    context = _context(model, columns)
    sampled = {
        name: _sample(name, values, context, ages.get(name, 0)) if name in moving
        else np.repeat(values, DRAWS)
        for name, values in columns.items()
    }  # fmt: skip
    return model.respond(sampled, variant, targets).reshape(len(targets), rows, DRAWS)


def _sample(
    name: str, values: FloatArray, context: Mapping[str, FloatArray | float], age_days: int
) -> FloatArray:
    sampled = np.repeat(values[:, None], DRAWS, axis=1)
    undecided = ~np.isnan(values)
    for row in variations().get(name, ()):
        here = undecided & _applies(row, context, len(values))
        if here.any():
            sampled[here] = _moved(row, name, values[here], age_days)
            undecided = undecided & ~here
    return sampled.reshape(-1)


def _moved(row: Variation, name: str, values: FloatArray, age_days: int) -> FloatArray:
    if row.fixed:
        return np.repeat(values[:, None], DRAWS, axis=1)
    step = row.spread(values, age_days)[:, None] * draws(name)[None, :]
    if row.kind == "log":
        return np.asarray(values[:, None] * np.exp(step))
    # A measured quantity is positive; only a wild value could be moved to zero and below.
    return np.maximum(values[:, None] + step, 1e-6)


def _applies(
    row: Variation, context: Mapping[str, FloatArray | float], rows: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    if row.when is None:
        return np.ones(rows, dtype=np.bool_)
    if not row.when.names <= context.keys():
        return np.zeros(rows, dtype=np.bool_)
    return np.asarray(row.when(context)) > 0


def _context(model: Model, columns: Columns) -> dict[str, FloatArray | float]:
    """What a row of the table may ask about: the inputs, and eGFR where it can be computed."""
    prepared = model.prepare(columns)
    known: dict[str, FloatArray | float] = {
        name.replace("-", "_"): values for name, values in prepared.items()
    }
    for declared in model.inputs.values():
        known.update({choice_name(c): float(i) for i, c in enumerate(declared.choices)})
    if EGFR not in prepared and {"age", "sex"} <= prepared.keys():
        filtration = equation_model("ckd-epi-2021").predict(prepared)
        known[EGFR.replace("-", "_")] = filtration.values[0]
    return known

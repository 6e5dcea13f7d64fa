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
from functools import cache, lru_cache
from statistics import NormalDist
from typing import NamedTuple

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
EGFR_ASKED = EGFR.replace("-", "_")  # as the conditions of the table call it
NOTHING: FloatArray = np.empty(0)


@dataclass(frozen=True)
class Spread:
    """The range of one target for each row; `refused`: the input without a variation, or that
    no input was measured at all."""

    low: FloatArray
    high: FloatArray
    refused: str = ""


class OnePatient(NamedTuple):
    """What is known of one patient: batches of one. `ages`: days since each input was measured."""

    columns: Columns  # as found
    prepared: Columns  # derived inputs filled in
    ages: Mapping[str, int]


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
    found = {target: Spread(NOTHING, NOTHING, refused[target]) for target in targets}
    if open_targets:
        sampled = respond(model, columns, variant, open_targets, given, ages or {})
        rows = [list(targets).index(target) for target in open_targets]
        low, high = _tails(sampled, points[rows])
        for index, target in enumerate(open_targets):
            found[target] = Spread(low[index], high[index])
    return found


def ranges(
    model: Model,
    case: OnePatient,
    variant: str,
    targets: Sequence[Target],
    points: FloatArray,
) -> tuple[dict[Target, Spread], dict[Target, dict[str, float]]]:
    """For one patient, in one batch: the range of every target, and how much of it each measured
    input is answerable for.

    That is the variance with one input moving alone, over the sum of these variances.
    """
    given = _given(case.columns)
    refused = {target: without_variation(model, variant, target, given) for target in targets}
    spread = {target: Spread(NOTHING, NOTHING, refused[target]) for target in targets}
    if all(refused.values()):
        return spread, {target: {} for target in targets}
    read = {target: influences(model, variant, target) for target in targets}
    read_at_all = frozenset().union(*read.values())
    moving = [name for name in given if name in read_at_all and not _is_fixed(model, name)]
    batch = _together_and_apart(model, case, variant, given, moving)
    outcomes = model.compute(batch, variant, targets).reshape(len(targets), -1, DRAWS)
    tails = _tails(outcomes[:, :1], points)
    alone = outcomes[:, 1:].var(axis=2).tolist()
    widths: dict[Target, dict[str, float]] = {}
    for index, target in enumerate(targets):
        own = {n: v for n, v in zip(moving, alone[index], strict=True) if n in read[target]}
        total = sum(own.values())
        widths[target] = {name: v / total for name, v in own.items() if v > NEGLIGIBLE * total}
        if not refused[target]:
            spread[target] = Spread(tails[0, index], tails[1, index])
    return spread, widths


def _together_and_apart(
    model: Model, case: OnePatient, variant: str, given: Sequence[str], moving: Sequence[str]
) -> dict[str, FloatArray]:
    """What `respond` would compute of draws in which all inputs move, then for each of `moving` of
    those in which it moves alone.

    Most of that batch is one number over and over. So the model settles few rows: the patient's
    own, the draws of all together, and of those alone that are not told from them.
    """
    moved = _moved_by(model, case, given)
    mixed = [names for names in moved.values() if len(names.intersection(moving)) > 1]
    apart = [name for name in moving if any(name in names for names in mixed)]
    settled = model.settle(_drawn(model, case, given, apart), variant)
    block = {name: 1 + apart.index(name) if name in apart else 0 for name in moving}
    batch = {}
    for name, values in settled.items():
        draws = values[1:].reshape(-1, DRAWS)
        column = values[:1].repeat((1 + len(moving)) * DRAWS).reshape(-1, DRAWS)
        column[0] = draws[0]
        for place, mover in enumerate(moving, 1):
            if mover in moved.get(name, ()):
                column[place] = draws[block[mover]]
        batch[name] = column.reshape(-1)
    return batch


def _moved_by(model: Model, case: OnePatient, given: Sequence[str]) -> dict[str, set[str]]:
    """By input: those of `given` that move it when they do. One of which a model does not say what
    it is computed of may be moved by all."""
    moved = {name: {name} for name in given}
    for rule in model.derivations:
        if rule.input not in given:
            parts = set().union(*(moved.get(part, ()) for part in rule.of))
            moved[rule.input] = moved.get(rule.input, set()) | parts
    for name, values in case.prepared.items():
        if name not in moved and not np.isnan(values[0]):
            moved[name] = set(given)
    return moved


def _drawn(
    model: Model, case: OnePatient, given: Sequence[str], apart: Sequence[str]
) -> dict[str, FloatArray]:
    """One row as it is, the draws of all inputs together, those of each of `apart` alone."""
    context = _context(model, case.prepared, given)
    rows = {}
    for name in given:
        value = case.columns[name]
        rows[name] = value.repeat(1 + DRAWS * (1 + len(apart)))
        if not _is_fixed(model, name):
            draws = rows[name][1:].reshape(-1, DRAWS)
            draws[0] = _sample(name, value, context, case.ages.get(name, 0))
            if name in apart:
                draws[1 + apart.index(name)] = draws[0]
    return rows


def _tails(sampled: FloatArray, points: FloatArray) -> FloatArray:
    """Low and high ends, targets x rows; a range always holds its point."""
    low, high = ends(sampled)
    return np.array([np.fmin(low, points), np.fmax(high, points)])


def ends(sampled: FloatArray) -> list[FloatArray]:
    """The two quantiles between which the draws of the last axis lie at our level: the numbers that
    `np.quantile` gives, which takes ten times as long to see that of so few it wants just these."""
    levels = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    places = [level * (DRAWS - 1) for level in levels]
    around = sorted({-1 % DRAWS, *(int(at) + k for at in places for k in (0, 1))})
    ordered = np.partition(sampled, around, axis=-1)
    unknown = np.isnan(ordered[..., -1])
    return [np.where(unknown, np.nan, _between(ordered, at)) for at in places]


def _between(ordered: FloatArray, at: float) -> FloatArray:
    """From whichever neighbour is nearer, so that equal neighbours give their own value."""
    low, high, part = ordered[..., int(at)], ordered[..., int(at) + 1], at - int(at)
    step = high - low
    return np.asarray(high - step * (1 - part) if part >= 0.5 else low + step * part)


@lru_cache(maxsize=4096)
def influences(model: Model, variant: str, target: Target) -> frozenset[str]:
    """The inputs an outcome reads, and the parts its derived inputs are computed of."""
    needed = set(model.needs(variant, target))
    for derivation in model.derivations:
        if derivation.input in needed:
            needed |= set(derivation.of)
    return frozenset(needed)


def _given(columns: Columns) -> list[str]:
    return [name for name, values in columns.items() if not np.isnan(values).all()]


@lru_cache(maxsize=4096)
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
    context = _context(model, model.prepare(columns), moving)
    sampled = {
        name: _sample(name, values, context, ages.get(name, 0)) if name in moving
        else np.repeat(values, DRAWS)
        for name, values in columns.items()
    }  # fmt: skip
    return model.respond(sampled, variant, targets).reshape(len(targets), rows, DRAWS)


def _sample(
    name: str, values: FloatArray, context: Mapping[str, FloatArray | float], age_days: int
) -> FloatArray:
    undecided = ~np.isnan(values)
    sampled: FloatArray | None = None
    for row in variations().get(name, ()):
        here = undecided & _applies(row, context, len(values))
        if here.all():  # one patient: the first row that applies is all there is to it
            return _moved(row, name, values, age_days).reshape(-1)
        if here.any():
            sampled = np.repeat(values[:, None], DRAWS, axis=1) if sampled is None else sampled
            sampled[here] = _moved(row, name, values[here], age_days)
            undecided = undecided & ~here
    return np.repeat(values, DRAWS) if sampled is None else sampled.reshape(-1)


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


def _context(
    model: Model, prepared: Columns, moving: Sequence[str]
) -> dict[str, FloatArray | float]:
    """What the rows for these inputs ask about: the inputs, and eGFR where it can be computed."""
    known: dict[str, FloatArray | float] = {
        name.replace("-", "_"): values for name, values in prepared.items()
    }
    for declared in model.inputs.values():
        known.update({choice_name(c): float(i) for i, c in enumerate(declared.choices)})
    asked = any(EGFR_ASKED in _asked_for(name) for name in moving)
    if asked and EGFR not in prepared and {"age", "sex"} <= prepared.keys():
        filtration = equation_model("ckd-epi-2021").predict(prepared)
        known[EGFR_ASKED] = filtration.values[0]
    return known


@cache
def _asked_for(name: str) -> frozenset[str]:
    """What the rows for one input ask about."""
    rows = variations().get(name, ())
    return frozenset().union(*(row.when.names for row in rows if row.when is not None))

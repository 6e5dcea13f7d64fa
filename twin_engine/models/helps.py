"""Which measurement would help most when an answer is refused.

One mendable gap: that one. Several: the one whose published range moves the refused outcomes most
while everything else stays as known (or, where unknown, at the reference person's value), because
knowing it narrows the answer most. Ties fall to the order in which the model declares its inputs.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.models.contract import REASONS, Columns, Input, Model, Target


def most_helpful(
    model: Model, variant: str, prepared: Columns, refusals: Sequence[Mapping[str, Any]]
) -> str:
    """The id of one input, or "" where no measurement would change the refusal."""
    mendable = [one for one in refusals if REASONS[one["reason"]].fixable]
    targets = [Target(one["outcome"], one.get("horizonYears")) for one in mendable]
    if any(one.get("input") not in model.inputs for one in mendable):
        return ""  # a fuller record is needed, not a measurement
    gaps = _gaps(model, variant, prepared, targets)
    if not gaps:
        return ""
    return _to_measure(model, prepared, _widest(model, variant, prepared, targets, gaps))


def _to_measure(model: Model, prepared: Columns, name: str) -> str:
    """An input that is computed first of all (eGFR) is measured by its part (creatinine)."""
    first = next(iter(model.inputs[name].sources), {})
    for rule in model.derivations:
        if rule.id == first.get("derived"):
            return next((part for part in rule.of if np.isnan(prepared[part][0])), name)
    return name


def _gaps(model: Model, variant: str, prepared: Columns, targets: Sequence[Target]) -> list[str]:
    needed = {name for target in targets for name in model.needs(variant, target)}
    return [
        name
        for name in model.names
        if name in needed and model.is_required(name, variant) and np.isnan(prepared[name][0])
    ]


def _widest(
    model: Model,
    variant: str,
    prepared: Columns,
    targets: Sequence[Target],
    gaps: Sequence[str],
) -> str:
    """The gap that moves the outcomes most as it crosses its published range, the others filled."""
    if len(gaps) == 1:
        return gaps[0]
    ends = [_ends(model.inputs[name]) for name in gaps]
    limits = np.cumsum([0, *map(len, ends)]).tolist()
    rows = {name: _filled(model, name, values, limits[-1]) for name, values in prepared.items()}
    for name, values, (start, end) in zip(gaps, ends, pairwise(limits), strict=True):
        rows[name][start:end] = values
    swing = model.respond(rows, variant, targets)
    moved = [np.ptp(swing[:, start:end], axis=1).max() for start, end in pairwise(limits)]
    return max(zip(gaps, moved, strict=True), key=lambda one: float(one[1]))[0]


def _ends(declared: Input) -> FloatArray:
    if declared.choices:
        return np.arange(len(declared.choices), dtype=np.float64)
    if declared.flag:
        return np.array([0.0, 1.0])
    low, high = declared.bounds or (0.0, 1.0)
    return np.linspace(low, high, 9)


def _filled(model: Model, name: str, values: FloatArray, rows: int) -> FloatArray:
    declared = model.inputs[name]
    value = values[0]
    if np.isnan(value) and not declared.optional and not declared.part:
        value = 0.0 if declared.reference is None else declared.reference
    return np.array([value], dtype=np.float64).repeat(rows)

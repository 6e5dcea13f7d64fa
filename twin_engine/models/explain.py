"""What each input contributed to an answer, against the model's stated reference person.

Contributions are Shapley values on the model's own scale (log-odds, a logarithm): averaged over all
orders in which the reference person's values could be exchanged for the patient's, so interactions
are divided fairly and the contributions add up to the whole difference. They describe the
equation; they are not effects of changing anything.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

from twin_engine.equations.expression import FloatArray
from twin_engine.models.contract import Columns, Model, Target

Subsets = NDArray[np.int64]  # of the inputs, a bit for each


def contributions(
    model: Model, columns: Columns, variant: str, targets: Sequence[Target]
) -> dict[Target, dict[str, float]]:
    """For one patient: amounts per input on the model's scale; none for one at its reference."""
    prepared = model.prepare(columns)
    reference = reference_person(model, prepared, variant)
    names = [name for name in reference if not _same(prepared[name][0], reference[name])]
    values = model.predictor(exchanged(prepared, reference, names), variant, targets)
    amounts = shapley(values, len(names))
    return {
        target: dict(zip(names, amounts[index].tolist(), strict=True))
        for index, target in enumerate(targets)
    }


def reference_person(model: Model, prepared: Columns, variant: str) -> Mapping[str, float]:
    """The reference values of the inputs this variant reads; sex stays the patient's own."""
    return {
        name: declared.reference
        for name, declared in model.inputs.items()
        if declared.reference is not None
        and not declared.part
        and (not declared.optional or name in model.variants[variant])
        and (not np.isnan(prepared[name][0]) or declared.optional)
    }


def _same(one: float, other: float) -> bool:
    return bool(abs(one - other) <= 1e-9 * max(1.0, abs(other)))


def exchanged(
    prepared: Columns, reference: Mapping[str, float], names: Sequence[str]
) -> dict[str, FloatArray]:
    """One row per subset of `names`: the patient's values inside it, the reference outside."""
    chosen = _chosen(len(names))
    size = 2 ** len(names)
    rows = {
        name: np.full(size, values[0]) for name, values in prepared.items() if name not in names
    }
    for name, inside in zip(names, chosen, strict=True):
        rows[name] = np.where(inside, prepared[name][0], reference[name])
    return rows


@lru_cache(maxsize=16)
def _chosen(count: int) -> list[NDArray[np.bool_]]:
    """For each input: which subsets it is in."""
    subsets = np.arange(2**count)
    return [(subsets >> position) & 1 == 1 for position in range(count)]


def shapley(values: FloatArray, count: int) -> FloatArray:
    """Targets x inputs, from targets x subsets of inputs."""
    amounts = np.empty((len(values), count))
    for position, (without, within, weights) in enumerate(_exchanges(count)):
        amounts[:, position] = ((values[:, within] - values[:, without]) * weights).sum(axis=1)
    return amounts


@lru_cache(maxsize=16)
def _exchanges(count: int) -> list[tuple[Subsets, Subsets, FloatArray]]:
    """For each input: the subsets without it, the same with it, and how much each pair weighs."""
    subsets = np.arange(2**count)
    sizes = np.bitwise_count(subsets)
    weights = np.array(
        [factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)]
    )
    found = []
    for position in range(count):
        without = subsets[(subsets >> position) & 1 == 0]
        found.append((without, without | (1 << position), weights[sizes[without]]))
    return found

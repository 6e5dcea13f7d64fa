"""What each input contributed to an answer, against the model's stated reference person.

Contributions are Shapley values on the model's own scale (log-odds, a logarithm): averaged over all
orders in which the reference person's values could be exchanged for the patient's, so interactions
are divided fairly and the contributions add up to the whole difference. They describe the
equation; they are not effects of changing anything.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import factorial, isnan

import numpy as np
from numpy.typing import NDArray

from twin_engine.equations.expression import FloatArray
from twin_engine.models.contract import Columns, Model, Target


def contributions(
    model: Model, prepared: Columns, variant: str, targets: Sequence[Target]
) -> dict[Target, dict[str, float]]:
    """For one patient: amounts per input on the model's scale; none for one at its reference."""
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
        and (not isnan(prepared[name][0]) or declared.optional)
    }


def _same(one: float, other: float) -> bool:
    return bool(abs(one - other) <= 1e-9 * max(1.0, abs(other)))


def exchanged(
    prepared: Columns, reference: Mapping[str, float], names: Sequence[str]
) -> dict[str, FloatArray]:
    """One row per subset of `names`: the patient's values inside it, the reference outside."""
    own = np.array([prepared[name][:1] for name in names]).reshape(-1, 1)
    other = np.array([reference[name] for name in names]).reshape(-1, 1)
    mixed = np.where(_chosen(len(names)), own, other)
    rows = {name: values.repeat(2 ** len(names)) for name, values in prepared.items()}
    return rows | dict(zip(names, mixed, strict=True))


@lru_cache(maxsize=16)
def _chosen(count: int) -> NDArray[np.bool_]:
    """Inputs x subsets: which subsets each input is in."""
    return np.asarray((np.arange(2**count) >> np.arange(count)[:, None]) & 1 == 1)


def shapley(values: FloatArray, count: int) -> FloatArray:
    """Targets x inputs, from targets x subsets of inputs."""
    amounts = np.empty((len(values), count))
    for position, weights in enumerate(_weights(count)):
        # subsets that differ in this input alone: every other run of so many of them
        pairs = values.reshape(len(values), -1, 2, 2**position)
        differences = (pairs[:, :, 1] - pairs[:, :, 0]).reshape(len(values), -1)
        amounts[:, position] = (differences * weights).sum(axis=1)
    return amounts


@lru_cache(maxsize=16)
def _weights(count: int) -> list[FloatArray]:
    """For each input: how much it weighs that it joins a subset, of all without it."""
    subsets = np.arange(2**count)
    sizes = np.bitwise_count(subsets)
    weights = np.array(
        [factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)]
    )
    return [weights[sizes[(subsets >> position) & 1 == 0]] for position in range(count)]

"""Whether a clinician's estimate and a model's answer say the same. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from twin_engine.models.contract import Model, Target

Json = Mapping[str, Any]


class Agreement(StrEnum):
    """The estimate against the answer: `below` means that the clinician thought less."""

    AGREES = "agrees"
    BELOW = "below"
    ABOVE = "above"
    NONE = "none"  # no estimate, or nothing to compare it by


def headline(assessment: Json, model: Model) -> Json:
    """The result that is estimated: the first outcome at its shortest horizon."""
    results: list[Json] = list(assessment["results"])
    order = list(model.outcomes)
    return min(
        results,
        key=lambda r: (r.get("horizonYears") or 0, order.index(r["outcome"])),
    )


def compare(estimate: float | None, result: Json, assessment: Json, model: Model) -> Agreement:
    """In the same published category, or inside the range if measured again, they agree."""
    if estimate is None:
        return Agreement.NONE
    bands = _bands(estimate, result, assessment, model)
    interval = result.get("interval")
    if bands is None and interval is None and estimate != result["value"]:
        return Agreement.NONE
    inside = interval is not None and interval["low"] <= estimate <= interval["high"]
    if inside or estimate == result["value"] or (bands is not None and bands[0] == bands[1]):
        return Agreement.AGREES
    return Agreement.BELOW if estimate < result["value"] else Agreement.ABOVE


def _bands(
    estimate: float, result: Json, assessment: Json, model: Model
) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """The category of both, where the model names categories for this person."""
    target = Target(result["outcome"], result.get("horizonYears"))
    row = _row(assessment["inputs"], model)
    own = model.category(target, estimate, row)
    its = model.category(target, result["value"], row)
    return None if own is None or its is None else (own, its)


def _row(inputs: Iterable[Json], model: Model) -> dict[str, float]:
    """The inputs as the model counts them: a word is its place in the list, yes is 1."""
    row = {}
    for used in inputs:
        declared, value = model.inputs.get(used["input"]), used.get("value")
        if declared is None or value is None:
            continue
        if isinstance(value, str):
            if value in declared.choices:
                row[declared.id] = float(declared.choices.index(value))
        else:
            row[declared.id] = float(value)
    return row


def warned(assessment: Json, past: bool) -> bool:
    """Whether the answer came with a reason for doubt: outcomes refused, inputs filled in, past
    its shelf life."""
    imputed = any(used["how"] == "imputed" for used in assessment["inputs"])
    return past or assessment["answer"] == "partial" or imputed

"""What moved an answer since an earlier version of the twin: which input, and how much of it.

Both answers are computed anew from the inputs recorded beside them. The difference on the model's
own scale is divided among the inputs that differ, fairly over all orders in which they could have
changed one by one (Shapley values, as `explain.contributions` does). It describes the equation and
two records, not what would have happened otherwise.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.models.contract import Input, Model, Target
from twin_engine.models.explain import exchanged, shapley
from twin_engine.models.registry import all_models

Json = Mapping[str, Any]
SHARE_DECIMALS = 6


def moved_between(older: Json, newer: Json) -> list[dict[str, Any]]:
    """The same for two versions of a twin, for every model that both asked and that is installed;
    answers that did not move are left out. Each entry names its `model`."""
    earlier = {one["model"]["id"]: one for one in older["assessments"]}
    found = []
    for after in newer["assessments"]:
        name = after["model"]["id"]
        if name in earlier and name in all_models():
            entries = moved(all_models()[name], earlier[name], after)
            found += [{"model": name, **one} for one in entries if one["before"] != one["after"]]
    return found


def moved(model: Model, before: Json, after: Json) -> list[dict[str, Any]]:
    """For every outcome that both assessments answer: both values, and what moved between them.

    `parts` are signed shares of the whole movement; their absolute values add up to 1. Without
    parts, `why` says why: another version or variant of the model answered.
    """
    pairs = list(_pairs(before, after))
    if not pairs:
        return []
    other = _other(model, before, after)
    if other:
        return [_pair(target, one, two) | {"why": other} for target, one, two in pairs]
    variant, targets = after["model"]["variant"], [target for target, _, _ in pairs]
    old, new = _columns(model, before), _columns(model, after)
    names = [name for name in model.inputs if _differs(model, name, old, new)]
    rows = exchanged(new, {name: float(old[name][0]) for name in old}, names)
    amounts = shapley(model.predictor(rows, variant, targets), len(names))
    return [
        _pair(target, one, two)
        | {"parts": _parts(model, dict(zip(names, amounts[i].tolist(), strict=True)), old, new)}
        for i, (target, one, two) in enumerate(pairs)
    ]


def _pairs(before: Json, after: Json) -> Iterator[tuple[Target, float, float]]:
    earlier = {_target(one): one["value"] for one in before["results"]}
    for one in after["results"]:
        if _target(one) in earlier:
            yield _target(one), earlier[_target(one)], one["value"]


def _target(one: Json) -> Target:
    return Target(one["outcome"], one.get("horizonYears"))


def _other(model: Model, before: Json, after: Json) -> str:
    versions = {before["model"]["version"], after["model"]["version"], model.version}
    if len(versions) > 1:
        return "other-version"
    same = before["model"].get("variant") == after["model"].get("variant")
    return "" if same else "other-variant"


def _pair(target: Target, before: float, after: float) -> dict[str, Any]:
    years = {} if target.horizon is None else {"horizonYears": target.horizon}
    return {"outcome": target.outcome, **years, "before": before, "after": after}


# -- inputs ------------------------------------------------------------------------------------


def _columns(model: Model, assessment: Json) -> dict[str, FloatArray]:
    """The recorded inputs as columns of one row; what was not recorded is unknown."""
    recorded = {one["input"]: one["value"] for one in assessment["inputs"]}
    return {
        name: np.array([_number(declared, recorded.get(name))])
        for name, declared in model.inputs.items()
    }


def _number(declared: Input, value: Any) -> float:
    if value is None or declared.part:
        return float("nan")
    if declared.choices:
        return float(declared.choices.index(value))
    return float(value)


def _differs(model: Model, name: str, old: Json, new: Json) -> bool:
    if model.inputs[name].part:
        return False
    one, two = float(old[name][0]), float(new[name][0])
    return one != two and not (np.isnan(one) and np.isnan(two))


def _parts(
    model: Model, amounts: Mapping[str, float], old: Json, new: Json
) -> list[dict[str, Any]]:
    total = sum(abs(amount) for amount in amounts.values())
    ranked = sorted(amounts.items(), key=lambda item: (-abs(item[1]), item[0]))
    return [
        {
            "input": name,
            "from": _shown(model.inputs[name], old[name]),
            "to": _shown(model.inputs[name], new[name]),
            **_unit(model.inputs[name]),
            "share": round(amount / total, SHARE_DECIMALS),
        }
        for name, amount in ranked
        if amount and np.isfinite(amount)
    ]


def _shown(declared: Input, column: FloatArray) -> Any:
    value = float(column[0])
    if np.isnan(value):
        return None
    if declared.choices:
        return declared.choices[int(value)]
    return value == 1 if declared.flag else value


def _unit(declared: Input) -> dict[str, str]:
    return {} if declared.choices or declared.flag else {"unit": declared.unit}

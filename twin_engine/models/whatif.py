"""What if: an equation with other inputs, or a treatment's effect as trials measured it.

The two are never mixed. An equation with another input is `association-only`: what it says for a
person with these values, never what would happen to this person. A treatment is `randomised`: a
ratio out of trials, applied to the risk predicted from the inputs as they are. Both use the same
draws before and after, so that the range of the difference is not widened by what both share.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.models import uncertainty
from twin_engine.models.assess import Case, Request, open_case, refusals_of
from twin_engine.models.cards import card_digest
from twin_engine.models.cells import parse_cell
from twin_engine.models.contract import Input, Model, Target
from twin_engine.models.effects import Effect, effects, treatments
from twin_engine.state import State

ASSOCIATION, RANDOMISED = "association-only", "randomised"
SAYS_ASSOCIATION = (
    "What the equation says for a person with these values. It is not what would happen to this "
    "person if the values changed."
)
SAYS_RANDOMISED = (
    "The ratio the trials measured, applied to the predicted risk. That the ratio is the same for "
    "this person as in the trials, and holds over the whole horizon, is an assumption."
)
# Predictions that do not allow for death of other causes overstate what a treatment saves.
WITHOUT_COMPETING_DEATH = frozenset({"kfre", "pce-2013"})
COMPETING = (
    "The predicted risk does not allow for death of other causes: in old or frail people the "
    "difference is overstated."
)


class WhatIfError(ValueError):
    """The question cannot be asked this way; the message says how it can."""


# -- other inputs ------------------------------------------------------------------------------


def what_if(state: State, asked: Request, changes: Mapping[str, str]) -> dict[str, Any]:
    """The model's answers with some inputs exchanged, beside those of the record.

    `changes` are cells as in a table of rows: input (or column) -> text in the canonical unit.
    """
    case = open_case(state, asked)
    stated = {_named(case.model, name): _read(case, name, cell) for name, cell in changes.items()}
    _check_read(case, stated)
    columns = dict(case.gathered.columns) | {n: np.array([v]) for n, v in stated.items()}
    return _head(case, ASSOCIATION, SAYS_ASSOCIATION) | {
        "changes": [_change(case, name, value) for name, value in stated.items()],
        **_compared(case, columns, stated),
    }


def exchangeable(state: State, asked: Request) -> tuple[list[dict[str, Any]], str]:
    """The inputs `what_if` would exchange, with the values in use, and the variant in use."""
    case = open_case(state, asked)
    read = _read_by(case)
    return [
        _described(case, declared)
        for name, declared in case.model.inputs.items()
        if name in read and not _only_medicines(declared)
    ], case.variant


def _described(case: Case, declared: Input) -> dict[str, Any]:
    kind = "choice" if declared.choices else "flag" if declared.flag else "number"
    described: dict[str, Any] = {
        "input": declared.id,
        "kind": kind,
        "value": _shown(declared, float(case.prepared[declared.id][0])),
    }
    if declared.choices:
        return described | {"choices": list(declared.choices)}
    if declared.flag:
        return described
    bounds = {"low": declared.bounds[0], "high": declared.bounds[1]} if declared.bounds else {}
    return described | {"unit": declared.unit, **bounds}


def _named(model: Model, name: str) -> str:
    for declared in model.inputs.values():
        if name in (declared.id, declared.column):
            return declared.id
    known = ", ".join(one.column for one in model.inputs.values())
    raise WhatIfError(f"{model.id} has no input {name!r}; it has: {known}")


def _read(case: Case, name: str, cell: str) -> float:
    declared = case.model.inputs[_named(case.model, name)]
    if _only_medicines(declared):
        raise _is_treatment(case.model, declared)
    value, problem = parse_cell(cell.strip(), declared) if cell.strip() else (np.nan, "empty")
    if problem:
        form = f"one of {', '.join(declared.choices)}" if declared.choices else "a number"
        raise WhatIfError(f"{declared.column}: give {form}")
    return value


def _only_medicines(declared: Input) -> bool:
    return bool(declared.sources) and all("medication" in source for source in declared.sources)


def _is_treatment(model: Model, declared: Input) -> WhatIfError:
    """People who were treated differ from those who were not: the coefficient is no effect."""
    offered = ", ".join(treatments(model.id))
    step = f"; ask for a treatment instead: {offered}" if offered else ""
    return WhatIfError(f"{declared.column} is a treatment, and its coefficient no effect{step}")


def _read_by(case: Case) -> set[str]:
    """The inputs that the variant in use reads; parts of an input that was given are idle."""
    targets = case.prediction.targets
    read: set[str] = set()
    read = read.union(*(uncertainty.influences(case.model, case.variant, t) for t in targets))
    for rule in case.model.derivations:
        if not np.isnan(case.gathered.columns[rule.input][0]):
            read -= {name for name in rule.of if case.model.inputs[name].part}
    return read


def _check_read(case: Case, stated: Mapping[str, float]) -> None:
    """Otherwise nothing would be compared."""
    read = _read_by(case)
    for name in stated:
        if name not in read:
            column = case.model.inputs[name].column
            raise WhatIfError(
                f"{column} is not read by variant {case.variant} with this record; "
                "name another variant or input"
            )


def _change(case: Case, name: str, value: float) -> dict[str, Any]:
    declared, before = case.model.inputs[name], float(case.prepared[name][0])
    change = {"input": name, "from": _shown(declared, before), "to": _shown(declared, value)}
    return change if declared.choices or declared.flag else change | {"unit": declared.unit}


def _shown(declared: Input, value: float) -> Any:
    if np.isnan(value):
        return None
    if declared.choices:
        return declared.choices[int(value)]
    return value == 1 if declared.flag else value


def _compared(
    case: Case, columns: Mapping[str, FloatArray], stated: Mapping[str, float]
) -> dict[str, Any]:
    """Both answers of every outcome that has both; what is refused on either side, and why."""
    model, targets = case.model, case.prediction.targets
    changed = model.predict(columns, variant=case.variant, targets=targets)
    refusals = {_key(one): one for one in refusals_of(case)}
    for index, target in enumerate(targets):
        reason, position = changed.reason(index, 0), int(changed.blame[index, 0])
        if reason and target not in refusals:
            about = {"input": model.names[position]} if position >= 0 else {}
            refusals[target] = {**_target(target), "reason": reason, **about}
    given = [index for index, target in enumerate(targets) if target not in refusals]
    open_targets = [targets[index] for index in given]
    ranges = _difference_ranges(case, columns, stated, open_targets)
    results = [
        _around(
            _pair(target, float(case.prediction.values[i, 0]), float(changed.values[i, 0])),
            ranges[target],
        )
        for target, i in zip(open_targets, given, strict=True)
    ]
    return {"results": results, "refusals": list(refusals.values())}


def _difference_ranges(
    case: Case,
    columns: Mapping[str, FloatArray],
    stated: Mapping[str, float],
    targets: list[Target],
) -> dict[Target, dict[str, Any]]:
    """Measured inputs are drawn again, alike on both sides; an exchanged one is exactly as said."""
    if not targets:
        return {}
    moving = _measured(case)
    before = _draws(case, case.gathered.columns, targets, moving)
    after = _draws(case, columns, targets, [name for name in moving if name not in stated])
    found = {}
    for index, target in enumerate(targets):
        refused = uncertainty.without_variation(case.model, case.variant, target, moving)
        found[target] = (
            {"intervalRefused": uncertainty.NO_VARIATION}
            if refused
            else {"interval": _interval(after[index, 0] - before[index, 0], uncertainty.KIND)}
        )
    return found


# -- treatments --------------------------------------------------------------------------------


def treat(state: State, asked: Request, treatment: str) -> dict[str, Any]:
    """One treatment's effect on the outcomes that trials of it measured; never two at a time."""
    model = asked.model
    fitting = [e for e in effects() if (e.model, e.treatment) == (model.id, treatment)]
    if not fitting:
        known = ", ".join(treatments(model.id)) or "none"
        raise WhatIfError(f"{model.id} meets no trial of {treatment!r}; it meets: {known}")
    wanted = tuple(t for t in model.targets() if any(t in effect.targets for effect in fitting))
    case = open_case(state, asked._replace(targets=wanted))
    barred = _barred(state, fitting)
    refusals = [
        {**_target(target), **barred} for target in case.prediction.targets
    ] if barred else refusals_of(case)  # fmt: skip
    refused = {_key(one) for one in refusals}
    results = [
        _treated(case, index, effect)
        for index, target in enumerate(case.prediction.targets)
        for effect in fitting
        if target in effect.targets and target not in refused
    ]
    limits = [COMPETING] if model.id in WITHOUT_COMPETING_DEATH else []
    return _head(case, RANDOMISED, SAYS_RANDOMISED) | {
        "treatment": treatment,
        "label": fitting[0].label,
        "results": results,
        "refusals": refusals,
        "harms": list(fitting[0].harms),
        "limits": limits,
    }


def _barred(state: State, fitting: Iterable[Effect]) -> dict[str, str]:
    """A risk predicted of somebody treated contains the effect already."""
    taken = state.medication(*{name for effect in fitting for name in effect.already})
    if taken.value is None:
        return {"reason": "absence-not-proven"}
    return {"reason": "already-treated"} if taken.value else {}


def _treated(case: Case, index: int, effect: Effect) -> dict[str, Any]:
    target = case.prediction.targets[index]
    risk = float(case.prediction.values[index, 0])
    with_treatment = float(effect.treated(np.array([risk]), effect.estimate)[0])
    pair = _pair(target, risk, with_treatment)
    return _around(pair, _treated_range(case, target, risk, effect)) | {
        "effect": {
            "id": effect.id,
            "measure": effect.measure,
            "estimate": effect.estimate,
            "low": effect.low,
            "high": effect.high,
            "level": effect.level,
            "evidence": effect.grade,
            "match": effect.match,
            "population": effect.population,
            "outcome": effect.trial_outcome,
            "source": effect.source,
        },
    }


def _treated_range(case: Case, target: Target, risk: float, effect: Effect) -> dict[str, Any]:
    """The trials' interval together with the range of the risk, where that is known."""
    ratio = effect.spread(uncertainty.draws(f"effect:{effect.id}"))
    moving = _measured(case)
    refused = uncertainty.without_variation(case.model, case.variant, target, moving)
    before = (
        np.full(uncertainty.DRAWS, risk)
        if refused
        else _draws(case, case.gathered.columns, [target], moving)[0, 0]
    )
    kind = "trial-interval" if refused else "trial-interval-if-measured-again"
    return {"interval": _interval(effect.treated(before, ratio) - before, kind)}


# -- shared ------------------------------------------------------------------------------------


def _head(case: Case, grade: str, says: str) -> dict[str, Any]:
    model = case.model
    named = {"id": model.id, "version": model.version, "variant": case.variant}
    return {"model": named | {"card": card_digest(model)}, "grade": grade, "says": says}


def _measured(case: Case) -> list[str]:
    return [n for n, values in case.gathered.columns.items() if not np.isnan(values[0])]


def _draws(
    case: Case, columns: Mapping[str, FloatArray], targets: list[Target], moving: list[str]
) -> FloatArray:
    ages = {name: one.age_days for name, one in case.gathered.found.items()}
    return uncertainty.respond(case.model, columns, case.variant, targets, moving, ages)


def _interval(differences: FloatArray, kind: str) -> dict[str, Any]:
    tails = [(1 - uncertainty.LEVEL) / 2, (1 + uncertainty.LEVEL) / 2]
    low, high = (float(end) for end in np.quantile(differences, tails))
    return {"low": low, "high": high, "level": uncertainty.LEVEL, "kind": kind}


def _around(pair: dict[str, Any], spread: dict[str, Any]) -> dict[str, Any]:
    """A range always holds its point: a median of draws may lie beside it."""
    if "interval" in spread:
        interval, point = spread["interval"], pair["difference"]
        low, high = min(interval["low"], point), max(interval["high"], point)
        spread = {"interval": {**interval, "low": low, "high": high}}
    return pair | spread


def _pair(target: Target, before: float, after: float) -> dict[str, Any]:
    numbers = {"before": before, "after": after, "difference": after - before}
    return {**_target(target), **numbers}


def _target(target: Target) -> dict[str, Any]:
    years = {} if target.horizon is None else {"horizonYears": target.horizon}
    return {"outcome": target.outcome, **years}


def _key(one: Mapping[str, Any]) -> Target:
    return Target(one["outcome"], one.get("horizonYears"))

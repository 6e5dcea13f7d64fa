"""The public conformance check: what every model promises, tried on the model itself.

Run it on your own model, as ours are: `check_model(model)` raises `ConformanceError` with the list
of everything that does not hold.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from mappings.vocabulary.concept_table import concepts
from twin_engine.equations.expression import FloatArray
from twin_engine.models.cards import CardError, check_card
from twin_engine.models.contract import STAKES, Input, Model, Target, Vector
from twin_engine.models.uncertainty import spreads

KINDS = ("probability", "quantity", "score", "recommendation")
ROWS = 200
SEED = 20240311
FEWEST = 3  # reference values
SHOWN = 3  # of those that are not reproduced
STEP = 1e-7  # relative distance from an edge on either side


UNITS = {concept.id: concept.unit for concept in concepts()}


class ConformanceError(AssertionError):
    """A model breaks the contract; the message lists every finding."""


def check_model(model: Model) -> None:
    """Raise with every finding; return when there is none."""
    found = findings(model)
    if found:
        raise ConformanceError(f"model {model.id}: " + "; ".join(found))


def findings(model: Model) -> list[str]:
    """Everything that does not hold: the name of the check, then what it saw."""
    return [f"{check.__name__[1:]}: {text}" for check in CHECKS for text in check(model)]


def sample(model: Model, rows: int = ROWS) -> dict[str, FloatArray]:
    """Deterministic rows inside every published range, optional inputs partly unknown."""
    random = np.random.RandomState(SEED)  # the legacy stream is frozen across numpy versions
    columns = {}
    for name, declared in model.inputs.items():
        if declared.part:
            columns[name] = np.full(rows, np.nan)
            continue
        columns[name] = _drawn(random, declared, rows)
        if declared.optional:
            columns[name][random.uniform(size=rows) < 0.3] = np.nan
    return columns


def _drawn(random: np.random.RandomState, declared: Input, rows: int) -> FloatArray:
    if declared.choices:
        return random.randint(0, len(declared.choices), rows).astype(np.float64)
    if declared.flag:
        return random.randint(0, 2, rows).astype(np.float64)
    low, high = declared.bounds or (0.0, 1.0)
    return random.uniform(low, high, rows)


# -- checks ------------------------------------------------------------------------------------


def _declares_what_it_is(model: Model) -> Iterator[str]:
    for attribute in ("id", "version", "title", "kind"):
        if not getattr(model, attribute, ""):
            yield f"{attribute} is empty"
    if model.kind not in KINDS:
        yield f"kind {model.kind!r} is not one of {', '.join(KINDS)}"
    if not model.outcomes or not model.reported():
        yield "no outcome is reported"
    if model.stake not in STAKES:
        yield f"stake {model.stake!r} is not one of {', '.join(STAKES)}"
    if model.shelf_life_days is not None and model.shelf_life_days < 1:
        yield "shelf_life_days is not at least a day"
    for declared in model.inputs.values():
        if not (declared.unit or declared.choices):
            yield f"input {declared.id} has no unit"
        yield from _units(declared)
    for outcome in model.outcomes.values():
        if not outcome.unit:
            yield f"outcome {outcome.id} has no unit"


def _units(declared: Input) -> Iterator[str]:
    """A twin holds a concept in one unit: to declare another is to read a wrong number."""
    for source in declared.sources:
        if not {"at_least", "above"} & source.keys() and source.get("concept") in UNITS:
            unit = UNITS[source["concept"]]
            if declared.unit != unit:
                yield f"input {declared.id} is in {declared.unit}, a twin has it in {unit}"


def _has_a_complete_card(model: Model) -> Iterator[str]:
    try:
        check_card(model)
    except CardError as error:
        yield str(error)


def _is_deterministic(model: Model) -> Iterator[str]:
    first, second = model.predict(sample(model)), model.predict(sample(model))
    if not np.array_equal(first.values, second.values, equal_nan=True):
        yield "the same batch gave two answers"


def _answers_singly_as_in_a_batch(model: Model) -> Iterator[str]:
    columns = sample(model, 25)
    whole = model.predict(columns)
    for row in range(25):
        one = model.predict({name: values[row : row + 1] for name, values in columns.items()})
        if not np.allclose(one.values[:, 0], whole.values[:, row], 1e-9, 1e-12, equal_nan=True):
            yield f"row {row} alone differs from itself in a batch"
            return


def _leaves_its_columns_alone(model: Model) -> Iterator[str]:
    columns, untouched = sample(model), sample(model)
    model.predict(columns)
    for name, values in columns.items():
        if not np.array_equal(values, untouched[name], equal_nan=True):
            yield f"predict changed the column {name}"


def _gives_a_number_or_a_reason(model: Model) -> Iterator[str]:
    prediction = model.predict(_with_holes(model))
    refused = prediction.reasons >= 0
    if not np.array_equal(refused, np.isnan(prediction.values)):
        yield "a row has both a number and a refusal, or neither"
    if model.kind == "probability":
        given = prediction.values[~refused]
        if given.size and not ((given >= 0) & (given <= 1)).all():
            yield "a probability lies outside 0 to 1"


def _with_holes(model: Model) -> dict[str, FloatArray]:
    columns = sample(model)
    for position, values in enumerate(columns.values()):
        values[position % ROWS :: 17] = np.nan
    return columns


def _refuses_at_its_edges(model: Model) -> Iterator[str]:
    for target in model.targets():
        for variant in model.variants:
            needed = model.needs(variant, target)
            for name in needed:
                yield from _edges(model, variant, target, model.inputs[name])


def _edges(model: Model, variant: str, target: Target, declared: Input) -> Iterator[str]:
    bounds = declared.range_at(target.horizon)
    if bounds is None or declared.choices or declared.flag:
        return
    for edge, outward in ((bounds[0], -1.0), (bounds[1], 1.0)):
        step = STEP * max(1.0, abs(edge))
        inside = _reason_at(model, variant, target, declared.id, edge)
        outside = _reason_at(model, variant, target, declared.id, edge + outward * step)
        if inside == "out-of-range":
            yield f"{declared.id} = {edge:g} refused for {target}, though inside"
        if outside != "out-of-range":
            yield f"{declared.id} beyond {edge:g} not refused for {target}"


def _reason_at(model: Model, variant: str, target: Target, name: str, value: float) -> str:
    row = _typical(model, variant, target) | {name: np.array([value])}
    return model.predict(row, variant=variant, targets=[target]).reason(0, 0)


def _typical(model: Model, variant: str, target: Target) -> dict[str, FloatArray]:
    """One answerable row: the reference person, or the middle of the range."""
    row = {}
    for name in model.needs(variant, target):
        declared = model.inputs[name]
        bounds = declared.range_at(target.horizon) or (0.0, 1.0)
        middle = 0.0 if declared.choices or declared.flag else (bounds[0] + bounds[1]) / 2
        row[name] = np.array([middle if declared.reference is None else declared.reference])
    return row


def _says_how_it_moves(model: Model) -> Iterator[str]:
    if not model.monotone and not model.not_monotone:
        yield "say in `monotone` what rises or falls with an input, or in `not_monotone` why not"
    for rule in model.monotone:
        if rule["input"] not in model.inputs:
            yield f"`monotone` names {rule['input']}, which is no input"


def _moves_as_declared(model: Model) -> Iterator[str]:
    for rule in model.monotone:
        if rule["input"] not in model.inputs:
            continue
        for target in model.targets():
            fits = target.outcome in rule["outcomes"]
            if fits and target.horizon in rule.get("horizons", (target.horizon,)):
                yield from _monotone(model, target, rule)


def _monotone(model: Model, target: Target, rule: Mapping[str, Any]) -> Iterator[str]:
    name, sign = str(rule["input"]), 1.0 if rule["direction"] == "rising" else -1.0
    for variant in model.variants:
        if variant not in rule.get("variants", model.variants):
            continue
        if name not in model.needs(variant, target):
            continue
        columns = sample(model)
        low, high = _span(model.inputs[name], target, rule)
        before, after = dict(columns), dict(columns)
        random = np.random.RandomState(SEED + 1)
        start = random.uniform(0, 0.9, ROWS)
        before[name] = low + (high - low) * start
        after[name] = low + (high - low) * np.minimum(start + 0.1, 1.0)
        if model.inputs[name].flag:
            before[name], after[name] = np.zeros(ROWS), np.ones(ROWS)
        moved = sign * (
            _values(model, after, variant, target) - _values(model, before, variant, target)
        )
        if (moved[np.isfinite(moved)] < 0).any():
            yield f"{target} of {variant} is not {rule['direction']} with {name}"


def _span(declared: Input, target: Target, rule: Mapping[str, Any]) -> tuple[float, float]:
    low, high = declared.range_at(target.horizon) or (0.0, 1.0)
    return float(rule.get("from", low)), float(rule.get("to", high))


def _values(
    model: Model, columns: Mapping[str, FloatArray], variant: str, target: Target
) -> FloatArray:
    return np.asarray(model.predict(columns, variant=variant, targets=[target]).values[0])


def _reads_only_what_it_declares(model: Model) -> Iterator[str]:
    for variant in model.variants:
        for target in model.targets():
            needed = model.needs(variant, target)
            columns = sample(model)
            bare = {
                name: v if name in needed else np.full(ROWS, np.nan) for name, v in columns.items()
            }
            with_all = _values(model, columns, variant, target)
            if not np.array_equal(with_all, _values(model, bare, variant, target), equal_nan=True):
                yield f"{target} of {variant} read an input it does not declare"


class _Watched(dict[str, FloatArray]):
    """Columns that remember which names were asked for."""

    def __init__(self, columns: Mapping[str, FloatArray]) -> None:
        super().__init__(columns)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> FloatArray:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)


def _asks_for_no_other_column(model: Model) -> Iterator[str]:
    columns = _Watched(sample(model, 2))
    model.predict(columns)
    for name in sorted(columns.asked - model.inputs.keys()):
        yield f"read the column {name}, which is not among its inputs"


def _has_reference_values(model: Model) -> Iterator[str]:
    found = model.vectors()
    if len(found) < FEWEST:
        yield f"{len(found)} reference values in `vectors`; give at least {FEWEST}"
        return
    for vector in found:
        if not vector.source:
            yield f"reference value {vector.id} names no source"
    for target in model.targets():
        if not any(target in vector.expected for vector in found):
            yield f"no reference value for {target.outcome}{_years(target)}"
    for name in model.inputs:
        values = {vector.inputs.get(name) for vector in found}
        if len(values) == 1 and values != {None}:
            yield f"{name} is the same in all reference values: give it low and high"


def _has_reference_values_at_its_edges(model: Model) -> Iterator[str]:
    """Where a range ends is where an equation is most easily wrong, and least often tried."""
    found = model.vectors()
    for name, declared in model.inputs.items():
        for bounds, targets in _ranges(model, declared).items():
            for edge in bounds:
                at = [vector for vector in found if vector.inputs.get(name) == edge]
                if not any(target in vector.expected for vector in at for target in targets):
                    yield f"no reference value at {name} = {edge!r}{_years(targets[0])}"


def _ranges(model: Model, declared: Input) -> dict[tuple[float, float], list[Target]]:
    """Its ranges, and the outcomes that are read within each."""
    found: dict[tuple[float, float], list[Target]] = {}
    for target in model.targets():
        bounds = declared.range_at(target.horizon)
        read = any(declared.id in model.needs(variant, target) for variant in model.variants)
        if read and bounds is not None and not (declared.choices or declared.flag):
            found.setdefault(bounds, []).append(target)
    return found


def _years(target: Target) -> str:
    return "" if target.horizon is None else f" at {target.horizon} years"


def _reproduces_them(model: Model) -> Iterator[str]:
    def alike(vector: Vector) -> tuple[str, str]:
        return vector.variant or "", str(list(vector.expected))

    wrong: list[str] = []
    for _, group in groupby(sorted(model.vectors(), key=alike), key=alike):
        wrong += _not_reproduced(model, list(group))
    yield from wrong[:SHOWN]
    if len(wrong) > SHOWN:
        yield f"and {len(wrong) - SHOWN} more"


def _not_reproduced(model: Model, vectors: Sequence[Vector]) -> Iterator[str]:
    """Of vectors of one variant that expect the same outcomes: asked in one batch."""
    columns = {
        name: np.array([vector.inputs.get(name, np.nan) for vector in vectors])
        for name in model.inputs
    }
    targets = list(vectors[0].expected)
    found = model.predict(columns, variant=vectors[0].variant, targets=targets)
    for row, vector in enumerate(vectors):
        for index, (target, expected) in enumerate(vector.expected.items()):
            value, reason = float(found.values[index, row]), found.reason(index, row)
            said = reason or _said(model, vector, target, value)
            if said != expected and not _close(said, expected, vector.tolerance):
                where = f"{target.outcome}{_years(target)}"
                yield f"{vector.id}: {where} is {said}, its source says {expected}"


def _said(model: Model, vector: Vector, target: Target, value: float) -> float | str:
    """The number; of a recommendation the code that stands for it."""
    if model.kind != "recommendation":
        return value
    band = model.category(target, value, vector.inputs)
    return "nothing" if band is None else band[1]


def _close(said: float | str, expected: float | str, tolerance: float) -> bool:
    if isinstance(said, str) or isinstance(expected, str):
        return False
    return abs(said - expected) <= tolerance


def _keeps_the_point_in_its_range(model: Model) -> Iterator[str]:
    columns = {name: values[:20] for name, values in sample(model).items()}
    for variant in model.variants:
        prediction = model.predict(columns, variant=variant)
        found = spreads(model, columns, variant, prediction.targets, prediction.values)
        for index, target in enumerate(prediction.targets):
            point, spread = prediction.values[index], found[target]
            given = np.isfinite(point)
            if spread.refused or not given.any():
                continue
            inside = (spread.low[given] <= point[given]) & (point[given] <= spread.high[given])
            if not inside.all():
                yield f"a value of {target} lies outside its own range"


CHECKS: tuple[Callable[[Model], Iterator[str]], ...] = (
    _declares_what_it_is,
    _has_a_complete_card,
    _is_deterministic,
    _answers_singly_as_in_a_batch,
    _leaves_its_columns_alone,
    _gives_a_number_or_a_reason,
    _refuses_at_its_edges,
    _says_how_it_moves,
    _moves_as_declared,
    _reads_only_what_it_declares,
    _asks_for_no_other_column,
    _has_reference_values,
    _has_reference_values_at_its_edges,
    _reproduces_them,
    _keeps_the_point_in_its_range,
)

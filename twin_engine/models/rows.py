"""Run a model over rows of a table: for researchers, and for anything larger than memory.

Columns are the model's declared column names in their canonical units; a column that the model does
not declare passes through. An empty cell is unknown. Rows come in and go out one by one, and are
computed in chunks; nothing is kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from twin_engine.equations.expression import FloatArray
from twin_engine.models.contract import Input, Model, Prediction, Target
from twin_engine.models.registry import get
from twin_engine.models.uncertainty import spreads

CHUNK = 4096
INTERVAL_CHUNK = 256  # each row becomes hundreds of draws
OUTPUT = (
    "model", "variant", "outcome", "horizon_years", "value", "unit", "low", "high", "refusal",
)  # fmt: skip

Row = Mapping[str, str]
# row of the chunk -> input -> why its cell is not a number
Unreadable = dict[int, dict[str, str]]


def run_rows(
    model_id: str,
    rows: Iterable[Row],
    *,
    variant: str | None = None,
    horizon: int | None = None,
    interval: bool = True,
) -> Iterator[dict[str, Any]]:
    """One output row per input row, outcome and horizon, in the order of the input."""
    model = get(model_id)
    variant = model.aliases.get(variant, variant) if variant else None
    if variant is not None and variant not in model.variants:
        raise LookupError(f"{model_id} has no variant {variant!r}: {', '.join(model.variants)}")
    targets = tuple(t for t in model.targets() if horizon is None or t.horizon == horizon)
    if not targets:
        raise LookupError(f"{model_id} has no outcome at {horizon} years")
    return _run(model, iter(rows), variant, targets, interval)


def _run(
    model: Model,
    rows: Iterator[Row],
    variant: str | None,
    targets: tuple[Target, ...],
    interval: bool,
) -> Iterator[dict[str, Any]]:
    size = INTERVAL_CHUNK if interval else CHUNK
    while chunk := list(islice(rows, size)):
        columns, unreadable = read(model, chunk)
        prediction = model.predict(columns, variant=variant, targets=targets)
        ranges = _ranges(model, columns, prediction) if interval else None
        yield from _written(model, chunk, prediction, ranges, unreadable, variant is None)


# -- in ----------------------------------------------------------------------------------------


def read(model: Model, chunk: Sequence[Row]) -> tuple[dict[str, FloatArray], Unreadable]:
    """Cells to columns of numbers; what cannot be read is unknown and remembered."""
    columns: dict[str, FloatArray] = {}
    unreadable: Unreadable = {}
    for name, declared in model.inputs.items():
        values = np.full(len(chunk), np.nan)
        for index, row in enumerate(chunk):
            cell = _cell(row, declared)
            if cell:
                value, problem = parse_cell(cell, declared)
                values[index] = value
                if problem:
                    unreadable.setdefault(index, {})[name] = problem
        columns[name] = values
    return columns, unreadable


def _cell(row: Row, declared: Input) -> str:
    return (row.get(declared.column) or row.get(declared.id) or "").strip()


def parse_cell(cell: str, declared: Input) -> tuple[float, str]:
    """The number, or NaN and the reason why there is none."""
    if declared.choices:
        word = declared.words.get(cell.lower(), cell.lower())
        known = word in declared.choices
        return (float(declared.choices.index(word)), "") if known else (np.nan, "no-equation")
    if cell[0] in "<>":
        return np.nan, "censored-input"
    try:
        value = float(cell)
    except ValueError:
        return np.nan, "unreadable-input"
    return (value, "") if np.isfinite(value) else (np.nan, "unreadable-input")


# -- out ---------------------------------------------------------------------------------------


def _ranges(model: Model, columns: Mapping[str, FloatArray], prediction: Prediction) -> FloatArray:
    """Low and high of every answer, NaN where there is none: 2 x targets x rows."""
    ranges = np.full((2, *prediction.values.shape), np.nan)
    order = list(model.variants)
    for index in np.unique(prediction.variants):
        rows = np.flatnonzero(prediction.variants == index)
        own = {name: values[rows] for name, values in columns.items()}
        points = prediction.values[:, rows]
        found = spreads(model, own, order[index], prediction.targets, points)
        for position, target in enumerate(prediction.targets):
            if not found[target].refused:
                ranges[0, position, rows] = found[target].low
                ranges[1, position, rows] = found[target].high
    ranges[:, np.isnan(prediction.values)] = np.nan
    return ranges


def _written(
    model: Model,
    chunk: Sequence[Row],
    prediction: Prediction,
    ranges: FloatArray | None,
    unreadable: Unreadable,
    chosen_by_rule: bool,
) -> Iterator[dict[str, Any]]:
    declared = {name for one in model.inputs.values() for name in (one.id, one.column)}
    called = {name: alias for alias, name in model.aliases.items()}
    order = list(model.variants)
    for row, cells in enumerate(chunk):
        passed = {name: cell for name, cell in cells.items() if name not in declared}
        variant = order[prediction.variants[row]]
        for index, target in enumerate(prediction.targets):
            refusal = _unread(model, variant, target, unreadable.get(row, {}), chosen_by_rule)
            refusal = refusal or _refusal(model, prediction, index, row)
            answered = not refusal
            yield passed | {
                "model": model.id,
                "variant": called.get(variant, variant),
                "outcome": target.outcome,
                "horizon_years": "" if target.horizon is None else target.horizon,
                "value": float(prediction.values[index, row]) if answered else "",
                "unit": model.outcomes[target.outcome].unit,
                "low": _bound(ranges, 0, index, row, answered),
                "high": _bound(ranges, 1, index, row, answered),
                "refusal": refusal,
            }


def _bound(ranges: FloatArray | None, end: int, index: int, row: int, answered: bool) -> Any:
    if ranges is None or not answered or np.isnan(ranges[end, index, row]):
        return ""
    return float(ranges[end, index, row])


def _refusal(model: Model, prediction: Prediction, index: int, row: int) -> str:
    reason, blamed = prediction.reason(index, row), int(prediction.blame[index, row])
    if not reason or blamed < 0:
        return reason
    return f"{reason}:{model.inputs[model.names[blamed]].column}"


def _unread(
    model: Model,
    variant: str,
    target: Target,
    problems: Mapping[str, str],
    chosen_by_rule: bool,
) -> str:
    """A cell that could not be read refuses what would have read it; it is never just unknown."""
    if not problems:
        return ""
    needed = model.needs(variant, target)
    for name, problem in problems.items():
        declared = model.inputs[name]
        if name in needed or (chosen_by_rule and declared.optional):
            return f"{problem}:{declared.column}"
    return ""

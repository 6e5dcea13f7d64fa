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
from twin_engine.models.cells import parse_cell
from twin_engine.models.contract import GIVEN, Input, Model, Prediction, Target
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
        cells = _cells(chunk, declared)
        plain = _plain_numbers(cells, declared)
        columns[name] = _one_by_one(cells, declared, unreadable) if plain is None else plain
    return columns, unreadable


def _cells(chunk: Sequence[Row], declared: Input) -> list[str]:
    column, other = declared.column, declared.id
    if column == other:
        return [row.get(column) or "" for row in chunk]
    return [row.get(column) or row.get(other) or "" for row in chunk]


def _plain_numbers(cells: list[str], declared: Input) -> FloatArray | None:
    """A column where every cell is a number or empty, which is nearly every column there is."""
    if declared.choices:
        return None
    try:
        values = np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return None
    known = np.count_nonzero(np.isfinite(values))
    return values if known + cells.count("") == len(cells) else None


def _one_by_one(cells: list[str], declared: Input, unreadable: Unreadable) -> FloatArray:
    values = np.full(len(cells), np.nan)
    known: dict[str, tuple[float, str]] = {"": (np.nan, "")}
    for index, cell in enumerate(cells):
        if cell not in known:
            known[cell] = parse_cell(cell.strip(), declared) if cell.strip() else known[""]
        values[index], problem = known[cell]
        if problem:
            unreadable.setdefault(index, {})[declared.id] = problem
    return values


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
    columns, passing = chunk[0].keys(), _passing(model, chunk[0])
    frames = _Frames(model, prediction.targets)
    order = list(model.variants)
    # Plain lists: taking single numbers out of an array is slow.
    values, reasons = prediction.values.tolist(), prediction.reasons.tolist()
    lows, highs = ([], []) if ranges is None else ranges.tolist()
    for row, cells in enumerate(chunk):
        if cells.keys() != columns:
            columns, passing = cells.keys(), _passing(model, cells)
        passed = {name: cells[name] for name in passing}
        variant = order[prediction.variants[row]]
        problems = unreadable.get(row, {})
        for index, frame in enumerate(frames.of(variant)):
            refusal = ""
            if problems:
                target = prediction.targets[index]
                refusal = _unread(model, variant, target, problems, chosen_by_rule)
            if not refusal and reasons[index][row] != GIVEN:
                refusal = _refusal(model, prediction, index, row)
            line = {**passed, **frame}
            if refusal:
                line["refusal"] = refusal
            else:
                line["value"] = values[index][row]
                if ranges is not None and lows[index][row] == lows[index][row]:  # not NaN
                    line["low"], line["high"] = lows[index][row], highs[index][row]
            yield line


def _passing(model: Model, row: Row) -> list[str]:
    """The columns that no input of the model declares."""
    declared = {name for one in model.inputs.values() for name in (one.id, one.column)}
    return [name for name in row if name not in declared]


class _Frames:
    """What is the same in every line of one variant and target."""

    def __init__(self, model: Model, targets: Sequence[Target]) -> None:
        self._model, self._targets = model, targets
        self._called = {name: alias for alias, name in model.aliases.items()}
        self._known: dict[str, list[dict[str, Any]]] = {}

    def of(self, variant: str) -> list[dict[str, Any]]:
        if variant not in self._known:
            self._known[variant] = [self._frame(variant, target) for target in self._targets]
        return self._known[variant]

    def _frame(self, variant: str, target: Target) -> dict[str, Any]:
        return dict.fromkeys(OUTPUT, "") | {
            "model": self._model.id,
            "variant": self._called.get(variant, variant),
            "outcome": target.outcome,
            "horizon_years": "" if target.horizon is None else target.horizon,
            "unit": self._model.outcomes[target.outcome].unit,
        }


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
